"""Cookies (RFC 7296 2.6): demanded under load, stateless, bound to the request, changed with time."""

from __future__ import annotations

import random
from dataclasses import replace

from sim.ike.config import EndpointConfig
from sim.ike.constants import NotifyType
from sim.ike.cookie import CookieJar
from sim.ike.events import MessageSent
from sim.ike.message import NO_SPI, emit_message, parse_message
from sim.ike.payloads import NotifyPayload
from sim.units import NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, A, B, Pair, ike

ALWAYS = EndpointConfig(cookie_threshold=1, cookie_threshold_ip=0, block_threshold=0)
NONCE, SPI = bytes(32), bytes(range(8))
SRC = (A, 500)


def test_c14_a_responder_under_load_demands_a_cookie_and_keeps_no_state() -> None:
    pair = _loaded()
    before = len(pair.b.endpoint.sas)
    pair.initiate()
    pair.settle()
    # a -> b  SAi1, KEi, Ni;  b -> a  N(COOKIE);  a -> b  N(COOKIE), SAi1, KEi, Ni

    requests = list(map(parse_message, pair.octets("a")[:2]))
    answer = parse_message(next(s.datagram.data for s in pair.sent if s.side == "b"))
    cookie = answer.notify(NotifyType.COOKIE)
    assert cookie is not None
    assert 1 <= len(cookie.data) <= 64
    assert answer.header.spi_r == NO_SPI
    assert requests[1].payloads == (cookie, *requests[0].payloads)
    assert requests[1].header == requests[0].header
    assert pair.up
    assert len(pair.b.endpoint.sas) == before + 1


def test_c14_a_wrong_cookie_counts_as_none() -> None:
    pair = _loaded()
    pair.drop(1)
    pair.initiate()
    sent = pair.sent[-1].datagram
    message = parse_message(sent.data)
    wrong = NotifyPayload(NotifyType.COOKIE, bytes(37))
    pair.inject(pair.b, emit_message(message.header, [wrong, *message.payloads]), sent.src, sent.dst)

    assert parse_message(pair.sent[-1].datagram.data).notify(NotifyType.COOKIE) is not None
    assert pair.b.endpoint.counters["cookies demanded"] == 1


def test_c14_cookies_begin_at_three_half_open_sas_from_one_address() -> None:
    gateway = Pair()
    for number in range(5):
        _half_open(gateway, seed=f"{number}")

    answers = [event.payloads for event in gateway.b.all(MessageSent)]
    assert [payloads == "HDR, N(COOKIE)" for payloads in answers] == [False] * 3 + [True] * 2
    assert gateway.b.endpoint.counters["cookies demanded"] == 2


def test_too_many_half_open_sas_from_one_address_are_refused_in_silence() -> None:
    gateway = Pair(b_config=EndpointConfig(cookie_threshold=0, cookie_threshold_ip=0))
    for number in range(8):
        _half_open(gateway, seed=f"{number}")

    assert len(gateway.sent) == 5
    assert gateway.b.endpoint.counters["too many half-open SAs"] == 3
    gateway.drive(31 * NS_PER_S)
    _half_open(gateway, seed="later")
    assert len(gateway.sent) == 6


def test_c15_the_retry_with_another_group_includes_the_cookie() -> None:
    """The shorter exchange of RFC 7296 2.6.1: three round trips become two and a half."""
    pair = _loaded(
        a=replace(CONNECTION_A, proposals=ike("aes128gcm16-prfsha256-modp2048-x25519")),
    )
    pair.establish()
    # b -> a  N(COOKIE);  a -> b  N(COOKIE), KEi;  b -> a  N(INVALID_KE_PAYLOAD);  a -> b  N(COOKIE), KEi'

    requests = map(parse_message, pair.octets("a")[:3])
    cookies = [request.notify(NotifyType.COOKIE) for request in requests]
    assert cookies[0] is None
    assert cookies[1] is not None
    assert cookies[1] == cookies[2]
    assert [event.payloads for event in pair.a.all(MessageSent) if "KEi" in event.payloads] == [
        event.payloads for event in pair.a.all(MessageSent) if event.exchange == "IKE_SA_INIT"
    ]


def test_c15_an_initiator_that_leaves_the_cookie_out_is_asked_again() -> None:
    pair = _loaded()
    pair.initiate()
    pair.settle()
    bare = next(s.datagram for s in pair.sent if s.side == "a")
    other = bytes((9,)) + bare.data[1:]  # another SPI: not a repetition
    pair.inject(pair.b, other, bare.src, bare.dst)

    assert parse_message(pair.sent[-1].datagram.data).notify(NotifyType.COOKIE) is not None


def test_c14_a_cookie_is_for_one_nonce_spi_and_source() -> None:
    jar = _jar()
    cookie = jar.make(NONCE, SPI, SRC, 0)

    assert jar.verify(cookie, NONCE, SPI, SRC, NS_PER_S)
    assert not jar.verify(cookie, bytes((1,)) + NONCE[1:], SPI, SRC, NS_PER_S)
    assert not jar.verify(cookie, NONCE, SPI[::-1], SRC, NS_PER_S)
    assert not jar.verify(cookie, NONCE, SPI, (B, 500), NS_PER_S)
    assert not jar.verify(cookie, NONCE, SPI, (A, 501), NS_PER_S)
    assert not jar.verify(cookie[:-1], NONCE, SPI, SRC, NS_PER_S)
    assert not jar.verify(b"", NONCE, SPI, SRC, NS_PER_S)


def test_c14_a_cookie_expires_but_survives_one_change_of_secret() -> None:
    jar = _jar()
    jar.make(NONCE, SPI, SRC, 0)
    cookie = jar.make(NONCE, SPI, SRC, 119 * NS_PER_S)
    changed = jar.make(NONCE, SPI, SRC, 121 * NS_PER_S)

    assert cookie[0] != changed[0]
    assert jar.verify(cookie, NONCE, SPI, SRC, 122 * NS_PER_S)
    assert not jar.verify(cookie, NONCE, SPI, SRC, 130 * NS_PER_S)


def _jar() -> CookieJar:
    return CookieJar(random.Random(1).randbytes, 10 * NS_PER_S, 120 * NS_PER_S)


def _loaded(a: object = CONNECTION_A) -> Pair:
    """A pair whose b holds one half-open SA, from somewhere else, already."""
    pair = Pair(a, CONNECTION_B, b_config=ALWAYS)  # type: ignore[arg-type]
    _half_open(pair, seed="other")
    pair.sent.clear()
    pair.b.events.clear()
    return pair


def _half_open(pair: Pair, seed: str) -> None:
    other = Pair(seed=seed)
    other.drop(1)
    other.initiate()
    sent = other.sent[0].datagram
    pair.inject(pair.b, sent.data, (bytes((203, 0, 113, 99)), 500), sent.dst)
