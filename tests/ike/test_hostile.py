"""What nobody authenticated changes nothing: a counter goes up, and that is all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.ike.config import EndpointConfig
from sim.ike.constants import ExchangeType, Flags, NotifyType
from sim.ike.events import MessageReceived, MessageSent, Rejected
from sim.ike.message import Header, emit_message, parse_message
from sim.ike.payloads import NotifyPayload
from sim.ike.view import SaView
from sim.units import NS_PER_S
from sim.wire.address import Sock
from tests.ike.pair import HOME, A, B, End, NatBox, Pair, Sent

HARMLESS = (Rejected, MessageSent, MessageReceived)
EVIL = (bytes((203, 0, 113, 66)), 4500)


def state(end: End) -> tuple[list[SaView], dict[int, object], list[object]]:
    """All that a message could have changed, but for counts of messages."""
    events = [event for _, event in end.events if not isinstance(event, HARMLESS)]
    rows = [replace(row, sent=0, received=0, retransmits=0) for row in end.endpoint.sas]
    return rows, dict(end.children), list(events)


def recorded() -> tuple[Pair, list[Sent]]:
    """A session with every kind of message: set-up, liveness, deletion, creation, update and its proof."""
    pair = Pair(a_addr=HOME)
    nat = NatBox(pair)
    pair.establish()
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    pair.settle()
    pair.command(pair.b, lambda end: end.check_liveness(1, pair.now))
    pair.settle()
    (spi,) = pair.a.children
    pair.command(pair.a, lambda end: end.delete_child(spi, pair.now))
    pair.settle()
    pair.command(pair.a, lambda end: end.initiate("rw", "net", pair.now))
    pair.settle()
    nat.outside = bytes((203, 0, 113, 20))
    nat.rebind()
    pair.a_addr = bytes((192, 168, 7, 7))
    pair.settle()
    return pair, list(pair.sent)


@pytest.fixture(scope="module")
def session() -> tuple[Pair, list[Sent]]:
    return recorded()


def target(pair: Pair, sent: Sent) -> tuple[End, Sock, Sock]:
    """The receiver of a recorded message, and addresses as a forger would use them."""
    end = pair.b if sent.side == "a" else pair.a
    return end, sent.datagram.src, (end.addresses[0], sent.datagram.dst[1])


def test_replayed_messages_change_nothing(session: tuple[Pair, list[Sent]]) -> None:
    pair, messages = session
    before = state(pair.a), state(pair.b)
    for sent in messages:
        end, src, dst = target(pair, sent)
        for source in (src, EVIL):
            pair.inject(end, sent.datagram.data, source, dst)

    assert (state(pair.a), state(pair.b)) == before


def test_truncated_messages_change_nothing(session: tuple[Pair, list[Sent]]) -> None:
    pair, messages = session
    before = state(pair.a), state(pair.b)
    for sent in messages:
        end, src, dst = target(pair, sent)
        for size in range(len(sent.datagram.data)):
            pair.inject(end, sent.datagram.data[:size], src, dst)

    assert (state(pair.a), state(pair.b)) == before


def test_messages_with_one_bit_flipped_change_nothing(session: tuple[Pair, list[Sent]]) -> None:
    """To peers that have moved on; what a flipped bit does to a message that is waited for is below."""
    pair, messages = session
    before = state(pair.a), state(pair.b)
    for sent in messages[2:]:
        end, src, dst = target(pair, sent)
        for octet in range(len(sent.datagram.data)):
            data = bytearray(sent.datagram.data)
            data[octet] ^= 1 << octet % 8
            pair.inject(end, bytes(data), src, dst)

    assert (state(pair.a), state(pair.b)) == before


@pytest.mark.parametrize("number", [1, 3])
def test_a_flipped_bit_in_a_response_that_is_waited_for(number: int) -> None:
    """No flip in a protected response is believed or ends anything: the true one still completes the set-up.

    One in the first response may be believed until IKE_AUTH, where keys or AUTH do not fit.
    """
    reference = Pair()
    reference.initiate()
    reference.settle()
    true = [sent for sent in reference.sent if sent.side == "b"][number // 2].datagram
    for octet in range(len(true.data)):
        pair = Pair()
        pair.drop(1, "b", after=number // 2)
        pair.initiate()
        pair.settle()
        data = bytearray(true.data)
        data[octet] ^= 1 << octet % 8
        pair.inject(pair.a, bytes(data), true.src, true.dst)
        if number == 3:
            assert pair.a.endpoint.sas[0].state == "connecting"
            pair.inject(pair.a, true.data, true.src, true.dst)
            assert pair.up
        else:
            assert not pair.up


@settings(max_examples=60, deadline=None)
@given(flip=st.integers(0, 8 * 200 - 1))
def test_a_flipped_bit_in_the_first_request_never_comes_up(flip: int) -> None:
    pair = Pair()
    changed: list[bool] = []

    def mangle(datagram):  # type: ignore[no-untyped-def]
        if changed or datagram.src[0] != A:
            return datagram
        changed.append(True)
        data = bytearray(datagram.data)
        data[flip // 8 % len(data)] ^= 1 << flip % 8
        return type(datagram)(bytes(data), datagram.src, datagram.dst)

    pair.rewrite = mangle
    pair.initiate()
    pair.settle()

    assert not pair.up


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=400), port=st.sampled_from([500, 4500]), connected=st.booleans())
def test_arbitrary_octets_change_nothing(data: bytes, port: int, connected: bool) -> None:
    pair = QUIET_UP if connected else QUIET_NEW
    before = state(pair.a), state(pair.b)
    for end in (pair.a, pair.b):
        pair.inject(end, data, EVIL, (end.addresses[0], port))

    assert (state(pair.a), state(pair.b)) == before


@settings(max_examples=100, deadline=None)
@given(
    exchange=st.integers(0, 255),
    flags=st.integers(0, 255),
    message_id=st.integers(0, 5),
    body=st.binary(max_size=120),
    first=st.integers(0, 60),
)
def test_arbitrary_messages_with_the_right_spis_change_nothing(
    exchange: int, flags: int, message_id: int, body: bytes, first: int
) -> None:
    pair = QUIET_UP
    before = state(pair.a), state(pair.b)
    row = pair.a.endpoint.sas[0]
    header = Header(row.spi_i, row.spi_r, exchange, flags, message_id)
    octets = bytearray(emit_message(header, []) + body)
    octets[16] = first
    octets[24:28] = len(octets).to_bytes(4, "big")
    for end in (pair.a, pair.b):
        pair.inject(end, bytes(4) + bytes(octets), EVIL, (end.addresses[0], 4500))

    assert (state(pair.a), state(pair.b)) == before


def test_c23_an_unknown_spi_gets_an_unprotected_notify_with_a_rate_limit() -> None:
    pair = Pair()
    header = Header(b"initiate", b"responds", ExchangeType.INFORMATIONAL, Flags.INITIATOR, 7)
    for _ in range(50):
        pair.inject(pair.b, emit_message(header, []), (A, 500), (B, 500))

    answers = [parse_message(octets) for octets in pair.octets("b")]
    assert len(answers) == 10
    assert pair.b.endpoint.counters["unknown IKE SPI"] == 50
    reply = answers[0].header
    assert (reply.spi_i, reply.spi_r, reply.message_id, reply.exchange) == (
        b"initiate",
        b"responds",
        7,
        ExchangeType.INFORMATIONAL,
    )
    assert reply.is_response
    assert answers[0].notify(NotifyType.INVALID_IKE_SPI) is not None
    assert pair.b.endpoint.sas == []
    pair.drive(NS_PER_S)
    pair.inject(pair.b, emit_message(header, []), (A, 500), (B, 500))
    assert len(pair.octets("b")) == 11


def test_c23_a_response_with_an_unknown_spi_gets_no_answer() -> None:
    pair = Pair()
    header = Header(b"initiate", b"responds", ExchangeType.INFORMATIONAL, Flags.RESPONSE, 7)
    pair.inject(pair.b, emit_message(header, []), (A, 500), (B, 500))

    assert pair.sent == []


@pytest.mark.parametrize(
    "error", [NotifyType.INVALID_IKE_SPI, NotifyType.AUTHENTICATION_FAILED, NotifyType.INVALID_SYNTAX]
)
def test_c11_an_unprotected_error_does_not_touch_an_sa(error: NotifyType) -> None:
    pair = Pair().establish()
    pair.drop(1)
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    row = pair.a.endpoint.sas[0]
    header = Header(row.spi_i, row.spi_r, ExchangeType.INFORMATIONAL, Flags.RESPONSE, 2)
    forged = bytes(4) + emit_message(header, [NotifyPayload(error)])
    pair.inject(pair.a, forged, (B, 4500), (A, 4500))

    assert pair.a.endpoint.sas[0].state == "established"
    assert pair.a.endpoint.counters["malformed message"] == 1
    pair.drive()
    assert pair.a.all(MessageReceived)[-1].response


def test_nat_detection_cannot_be_stripped_from_the_first_response() -> None:
    """AUTH covers the whole first message (RFC 7296 2.15)."""
    pair = Pair()

    def strip(datagram):  # type: ignore[no-untyped-def]
        if datagram.src != (B, 500):
            return datagram
        message = parse_message(datagram.data)
        kept = [p for p in message.payloads if not isinstance(p, NotifyPayload)]
        return type(datagram)(emit_message(message.header, kept), datagram.src, datagram.dst)

    pair.rewrite = strip
    pair.initiate()
    pair.settle()
    assert not pair.a.endpoint.sas[0].established_at >= 0


def test_half_open_state_is_bounded() -> None:
    """A flood from many addresses, none of which answers a cookie."""
    gateway = Pair(b_config=EndpointConfig(cookie_threshold=30))
    for number in range(300):
        flooder = Pair(seed=f"{number}")
        flooder.drop(1)
        flooder.initiate()
        src = (bytes((10, 99, number >> 8, number & 255)), 500)
        gateway.inject(gateway.b, flooder.sent[0].datagram.data, src, (B, 500))

    assert len(gateway.b.endpoint.sas) == 30
    gateway.drive(40 * NS_PER_S)
    context = gateway.b.endpoint._ctx
    assert gateway.b.endpoint.next_timer() is None
    assert (context.half_open, dict(context.half_open_from)) == (0, {})
    assert not context.sas
    assert not context.by_spi
    assert not context.by_init


QUIET_UP = Pair().establish()
QUIET_NEW = Pair()
