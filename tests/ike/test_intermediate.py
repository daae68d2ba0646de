"""Additional key exchanges before IKE_AUTH: IKE_INTERMEDIATE (RFC 9242) and ADDKE (RFC 9370 2.2.2).

RFC 9370 has no vectors, and no peer at hand knows it. So one test computes everything again from what was on
the wire and the secrets alone, by the formulas of the RFCs, with nothing of `sim.ike` but the numbers.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sim.ike.constants import ExchangeType, Flags, NotifyType, PayloadType
from sim.ike.context import Datagram
from sim.ike.events import IkeKeysDerived, IkeSaDown, IkeSaUp, MessageReceived, MessageSent, Reason, Rejected
from sim.ike.keymat import skeyseed
from sim.ike.message import emit_message, parse_message
from sim.ike.payloads import NotifyPayload
from sim.ike.proposals import format_proposal
from sim.ike.sa import IkeSa
from sim.ike.tasks import sa_init
from sim.units import NS_PER_S
from tests.ike.pair import ALICE, CONNECTION_A, CONNECTION_B, LATENCY, MOON, Pair, Sent, ike

PLAIN = "aes128gcm16-prfsha256-x25519"
HYBRID = f"{PLAIN}-ke1_mlkem768"
DOUBLE = f"{PLAIN}-ke1_ecp256-ke2_ecp384"
MANY = f"{PLAIN}-ke1_ecp256-ke2_ecp384-ke3_ecp521-ke4_ecp256bp-ke5_curve448-ke6_mlkem768-ke7_mlkem1024"


@pytest.mark.parametrize(("suite", "more"), [(PLAIN, 0), (HYBRID, 1), (DOUBLE, 2), (MANY, 7)])
def test_c57_c58_set_up_takes_two_round_trips_and_one_for_each_additional_key_exchange(
    suite: str, more: int
) -> None:
    """(2 + k) RTT for k additional key exchanges, to the nanosecond (RFC 9242 1, RFC 9370 2.2.2)."""
    pair = pair_of(suite).establish()
    round_trip = 2 * LATENCY

    assert pair.a.times(IkeSaUp) == [(2 + more) * round_trip]
    assert pair.b.times(IkeSaUp) == [(2 + more) * round_trip - LATENCY]
    exchanges = [event.exchange for event in pair.a.all(MessageSent)]
    assert exchanges == ["IKE_SA_INIT", *["IKE_INTERMEDIATE"] * more, "IKE_AUTH"]
    assert [event.message_id for event in pair.a.all(MessageSent)] == list(range(2 + more))
    assert pair.a.last(IkeSaUp).proposal == format_proposal(ike(suite)[0])


@pytest.mark.parametrize(
    ("method", "request_bytes", "response_bytes"),
    [("mlkem768", 1184, 1088), ("mlkem1024", 1568, 1568), ("x448", 56, 56), ("ecp384", 96, 96)],
)
def test_c57_key_exchange_payloads_have_their_published_sizes(
    method: str, request_bytes: int, response_bytes: int
) -> None:
    """The KE payload adds 8 octets to the value: generic header, method, RESERVED (RFC 7296 3.4)."""
    pair = pair_of(f"{PLAIN}-ke1_{method}").establish()
    for end, ours, size in ((pair.a, 0, request_bytes), (pair.b, 1, response_bytes)):
        keys = pair.a.all(IkeKeysDerived)[0]
        sealed = [sent for sent in pair.sent if sent.octets[18] == ExchangeType.IKE_INTERMEDIATE]
        parts = [s for s in sealed if (s.side == "b") is bool(ours)]
        inner = plaintext(parts, keys.sk_er if ours else keys.sk_ei)
        assert end.all(MessageSent)[1].fragments == len(parts)
        assert len(inner) == int.from_bytes(inner[2:4], "big") == 8 + size


@pytest.mark.parametrize("size", [1280, 200])
@pytest.mark.parametrize("suite", [DOUBLE, HYBRID])
def test_c57_c58_keys_and_auth_are_as_the_rfcs_compute_them(
    suite: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr); IntAuth over the unfragmented, unencrypted messages."""
    secrets: list[bytes] = []
    watch(monkeypatch, secrets)
    pair = pair_of(suite, fragment_size=size).establish()
    (sa,) = pair.a.endpoint._ctx.sas.values()
    shared = secrets[::2]
    assert shared == secrets[1::2]  # each side has them

    ni, nr = sa.nonce_i, sa.nonce_r
    keys = ike_keys(prf(ni + nr, shared[0]), ni, nr, sa.spi_i, sa.spi_r)
    chain = {"a": b"", "b": b""}
    for number, secret in enumerate(shared[1:], 1):
        for side, sk_e, sk_p in (("a", keys[1], keys[3]), ("b", keys[2], keys[4])):
            parts = message_of(pair, side, number)
            whole = unprotected(parts, plaintext(parts, sk_e))
            chain[side] = prf(sk_p, chain[side] + whole)
        keys = ike_keys(prf(keys[0], secret + ni + nr), ni, nr, sa.spi_i, sa.spi_r)
    assert keys == (sa.keys.sk_d, sa.keys.sk_ei, sa.keys.sk_er, sa.keys.sk_pi, sa.keys.sk_pr)

    int_auth = chain["a"] + chain["b"] + len(shared).to_bytes(4, "big")
    padded = prf(CONNECTION_A.psk, b"Key Pad for IKEv2")
    for side, first, nonce, sk_e, sk_p, identity, role in (
        ("a", sa.init_i, nr, keys[1], keys[3], ALICE, PayloadType.ID_I),
        ("b", sa.init_r, ni, keys[2], keys[4], MOON, PayloadType.ID_R),
    ):
        inner = plaintext(message_of(pair, side, len(shared)), sk_e)
        assert identity is not None
        maced = prf(sk_p, identity.payload(role).emit())
        assert prf(padded, first + nonce + maced + int_auth) in inner


@pytest.mark.parametrize("side", ["a", "b"])
def test_c58_who_changes_an_intermediate_message_is_found_out_by_auth(side: str) -> None:
    """Even who broke the first key exchange cannot meddle with the others: AUTH covers them."""
    pair = pair_of(HYBRID)
    pair.initiate()
    pair.drive(3 * LATENCY)
    (sa,) = getattr(pair, side).endpoint._ctx.sas.values()
    assert sa.int_auth is not None
    sa.int_auth._chain[True] = bytes(32)
    pair.drive(NS_PER_S)

    assert pair.b.last(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED
    assert not pair.a.all(IkeSaUp)


@pytest.mark.parametrize("side", ["a", "b"])
def test_c58_intermediate_support_cannot_be_talked_away(side: str) -> None:
    """Without the notification no additional key exchange is chosen, and AUTH tells that it was removed."""
    both = (HYBRID, PLAIN)
    pair = pair_of(both)
    pair.rewrite = lambda d: without(d, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED, side == "b")
    pair.initiate()
    pair.drive(NS_PER_S)

    assert not pair.up
    if side == "a":
        assert "IKE_INTERMEDIATE" not in [event.exchange for event in pair.b.all(MessageReceived)]
        assert pair.b.last(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED
    else:
        assert "without IKE_INTERMEDIATE" in pair.a.last(Rejected).text


def test_c57_without_intermediate_what_needs_it_is_not_chosen() -> None:
    """Both are needed for additional key exchanges (RFC 9370 2.2.1); a method NONE makes them optional."""
    optional = f"{PLAIN}-ke1_mlkem768-ke1_none"
    pair = pair_of(optional)
    pair.rewrite = lambda d: without(d, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED, response=False)
    pair.initiate()
    pair.drive(2 * LATENCY)
    (sa,) = pair.a.endpoint._ctx.sas.values()
    assert sa.proposal == PLAIN
    assert not sa.additional

    pair = pair_of(HYBRID)
    pair.rewrite = lambda d: without(d, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED, response=False)
    pair.initiate()
    pair.drive(2 * LATENCY)
    assert pair.b.last(Rejected).reason == "NO_PROPOSAL_CHOSEN"


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"),
    [
        ((HYBRID, PLAIN), (PLAIN,), PLAIN),
        ((PLAIN,), (HYBRID, PLAIN), PLAIN),
        ((HYBRID, PLAIN), (HYBRID, PLAIN), HYBRID),
        ((f"{PLAIN}-ke1_mlkem768-ke1_none",), (PLAIN,), PLAIN),
        ((f"{PLAIN}-ke1_mlkem768-ke1_mlkem1024",), (f"{PLAIN}-ke1_mlkem1024",), f"{PLAIN}-ke1_mlkem1024"),
    ],
)
def test_c57_a_peer_without_additional_key_exchanges_gets_what_the_proposals_allow(
    ours: tuple[str, ...], theirs: tuple[str, ...], chosen: str
) -> None:
    pair = Pair(
        replace(CONNECTION_A, proposals=ike(*ours)), replace(CONNECTION_B, proposals=ike(*theirs))
    ).establish()

    assert pair.a.last(IkeSaUp).proposal == pair.b.last(IkeSaUp).proposal == chosen
    assert ("INTERMEDIATE" in pair.b.ladder[0]) is ("ke1" in chosen)


def test_c57_a_quantum_safe_proposal_alone_is_refused_by_who_has_none() -> None:
    pair = Pair(replace(CONNECTION_A, proposals=ike(HYBRID)), replace(CONNECTION_B, proposals=ike(PLAIN)))
    pair.initiate()
    pair.drive(30 * NS_PER_S)

    assert pair.a.last(IkeSaDown).reason is Reason.NO_PROPOSAL_CHOSEN
    assert "ke1_mlkem768" in pair.a.last(IkeSaDown).text


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("lost", range(7))
def test_c58_any_message_may_be_lost(side: str, lost: int) -> None:
    pair = pair_of(HYBRID)
    pair.drop(1, side, after=lost)
    pair.initiate()
    pair.drive(30 * NS_PER_S)

    assert pair.up
    assert len(pair.a.children) == len(pair.b.children) == 1


def test_c02_c58_a_repeated_intermediate_request_has_the_same_answer_under_the_old_keys() -> None:
    """The responder has new keys already when the request comes again."""
    pair = pair_of(DOUBLE)
    pair.drop(1, "b", after=1)
    pair.initiate()
    pair.drive(NS_PER_S)
    assert not pair.up
    pair.drive(5 * NS_PER_S)

    first, second = message_of(pair, "b", 1)
    assert first.octets == second.octets
    assert pair.up


def test_c57_ike_auth_is_not_served_before_all_key_exchanges_are_made() -> None:
    """Who skips one is ignored, and does not get through."""
    pair = pair_of(DOUBLE)
    pair.initiate()
    pair.drive(3 * LATENCY)
    (sa,) = pair.a.endpoint._ctx.sas.values()
    sa.additional = sa.additional[:1]
    pair.drive(NS_PER_S)

    assert not pair.up
    assert {event.reason for event in pair.b.all(Rejected)} == {"request out of place"}


def test_c58_an_intermediate_exchange_that_was_not_agreed_on_is_not_served() -> None:
    pair = pair_of(PLAIN)
    pair.initiate()
    pair.drive(LATENCY)
    for end in (pair.a, pair.b):
        for sa in end.endpoint._ctx.sas.values():
            if not sa.initiator:
                sa.additional = ()
    pair.rewrite = lambda d: as_exchange(d, ExchangeType.IKE_INTERMEDIATE)
    pair.drive(NS_PER_S)

    assert not pair.up
    assert "request out of place" in {event.reason for event in pair.b.all(Rejected)}


def test_c57_a_value_of_another_method_ends_it() -> None:
    pair = pair_of(DOUBLE)
    pair.initiate()
    pair.drive(LATENCY)
    (sa,) = pair.b.endpoint._ctx.sas.values()
    sa.additional = sa.additional[::-1]
    pair.drive(NS_PER_S)

    assert pair.b.last(IkeSaDown).reason is Reason.INVALID_SYNTAX
    assert "ECP_384 is due" in pair.b.last(IkeSaDown).text


def test_c57_sizes_and_times_of_a_run_with_ml_kem_repeat() -> None:
    runs = [pair_of(HYBRID).establish() for _ in range(2)]
    first, second = ([(at, len(s.octets)) for s in p.sent for at in (s.at,)] for p in runs)
    assert first == second


def test_c57_ml_kem_may_be_the_first_key_exchange() -> None:
    pair = pair_of("aes128gcm16-prfsha256-mlkem768").establish()
    assert pair.a.last(IkeSaUp).proposal.endswith("mlkem768")
    assert len(pair.sent[0].octets) > 1184


# -- helpers -----------------------------------------------------------------------------------------------


def pair_of(suites: str | tuple[str, ...], fragment_size: int = 1280) -> Pair:
    texts = (suites,) if isinstance(suites, str) else suites
    a, b = (
        replace(connection, proposals=ike(*texts), fragment_size=fragment_size)
        for connection in (CONNECTION_A, CONNECTION_B)
    )
    return Pair(a, b)


def watch(monkeypatch: pytest.MonkeyPatch, secrets: list[bytes]) -> None:
    """Note every shared secret, in the order in which the two sides have them."""
    monkeypatch.setattr(IkeSa, "forget_beginnings", lambda sa: None)  # the nonces are asked for afterwards
    first, later = skeyseed, IkeSa.strengthen

    def seed(prf_: object, ni: bytes, nr: bytes, shared: bytes) -> bytes:
        secrets.append(shared)
        return first(prf_, ni, nr, shared)  # type: ignore[arg-type]

    def strengthen(sa: IkeSa, shared: bytes) -> None:
        secrets.append(shared)
        later(sa, shared)

    monkeypatch.setattr(sa_init, "skeyseed", seed)
    monkeypatch.setattr(IkeSa, "strengthen", strengthen)


def message_of(pair: Pair, side: str, number: int) -> list[Sent]:
    """The datagrams of a side's message with this ID."""
    return [s for s in pair.sent if s.side == side and s.octets[20:24] == number.to_bytes(4, "big")]


def plaintext(parts: list[Sent], sk_e: bytes) -> bytes:
    """What the datagrams of one message hold, by AES-128-GCM alone (RFC 5282, RFC 7383 2.5)."""
    inner = b""
    for part in parts:
        octets = part.octets
        head = 36 if octets[16] == PayloadType.SKF else 32
        iv, sealed = octets[head : head + 8], octets[head + 8 :]
        plain = AESGCM(sk_e[:16]).decrypt(sk_e[16:] + iv, sealed, octets[:head])
        inner += plain[: len(plain) - 1 - plain[-1]]
    return inner


def unprotected(parts: list[Sent], inner: bytes) -> bytes:
    """IntAuth_*A | IntAuth_*P: a whole message with SK, whose lengths count the inner payloads alone."""
    octets = parts[0].octets
    header = octets[:16] + bytes((PayloadType.SK,)) + octets[17:24]
    return (
        header
        + (32 + len(inner)).to_bytes(4, "big")
        + octets[28:30]
        + (4 + len(inner)).to_bytes(2, "big")
        + inner
    )


def prf(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def ike_keys(seed: bytes, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes) -> tuple[bytes, ...]:
    """SK_d, SK_ei, SK_er, SK_pi, SK_pr of aes128gcm16-prfsha256 (RFC 7296 2.14)."""
    stream, block = b"", b""
    for number in range(1, 6):
        block = prf(seed, block + ni + nr + spi_i + spi_r + bytes((number,)))
        stream += block
    ends = (32, 52, 72, 104, 136)
    return tuple(stream[start:end] for start, end in zip((0, *ends), ends, strict=False))


def without(datagram: Datagram, kind: NotifyType, response: bool) -> Datagram:
    """An IKE_SA_INIT message of one direction without a notification."""
    if datagram.src[1] != 500 or bool(datagram.data[19] & Flags.RESPONSE) is not response:
        return datagram
    message = parse_message(datagram.data)
    kept = [p for p in message.payloads if not (isinstance(p, NotifyPayload) and p.type == kind)]
    return replace(datagram, data=emit_message(message.header, kept))


def as_exchange(datagram: Datagram, exchange: ExchangeType) -> Datagram:
    """A request of IKE_AUTH that pretends to be of another exchange."""
    at = 4 + 18
    if datagram.src[1] == 500 or datagram.data[at] != ExchangeType.IKE_AUTH:
        return datagram
    return replace(datagram, data=datagram.data[:at] + bytes((exchange,)) + datagram.data[at + 1 :])
