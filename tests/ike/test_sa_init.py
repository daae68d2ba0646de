"""IKE_SA_INIT: suites, groups, errors that nobody vouches for (RFC 7296 1.2, 2.7, 2.21.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.constants import ExchangeType, Flags, NotifyType
from sim.ike.events import IkeSaDown, IkeSaUp, MessageSent, Reason, Rejected
from sim.ike.message import NO_SPI, Header, emit_message, parse_message
from sim.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    UnknownPayload,
    VendorPayload,
)
from sim.units import NS_PER_S
from sim.wire.address import Sock
from tests.ike.pair import CONNECTION_A, CONNECTION_B, Pair, ike

MODP_AND_CURVE = ike("aes128gcm16-prfsha256-modp2048-x25519")


@pytest.mark.parametrize(
    "suite",
    [
        "aes128gcm16-prfsha256-x25519",
        "aes256-sha256-modp2048",
        "aes256-sha1-ecp256",
        "chacha20poly1305-prfsha512-x25519",
        "aes256gcm16-prfsha384-ecp256",
    ],
)
def test_every_suite_comes_up(suite: str) -> None:
    pair = Pair(replace(CONNECTION_A, proposals=ike(suite)), replace(CONNECTION_B, proposals=ike(suite)))
    pair.establish()

    assert pair.a.last(IkeSaUp).proposal == pair.b.last(IkeSaUp).proposal
    assert _keys(pair, "a") == _keys(pair, "b")


def test_c16_a_wrong_group_is_corrected_with_the_full_list_of_suites() -> None:
    """The retry offers everything again, so that nobody can take suites away."""
    pair = Pair(
        replace(CONNECTION_A, proposals=MODP_AND_CURVE),
        replace(CONNECTION_B, proposals=ike("aes128gcm16-prfsha256-x25519")),
    )
    pair.establish()
    # a -> b  SAi1, KEi(14), Ni;  b -> a  N(INVALID_KE_PAYLOAD);  a -> b  SAi1, KEi(31), Ni

    first, second = (
        parse_message(s.datagram.data) for s in pair.sent if s.side == "a" and s.datagram.src[1] == 500
    )
    refusal = parse_message(pair.sent[1].datagram.data).notify(NotifyType.INVALID_KE_PAYLOAD)
    assert refusal is not None
    assert refusal.data == bytes((0, 31))
    assert first.find(SaPayload) == second.find(SaPayload)
    assert [_group(first), _group(second)] == [14, 31]
    assert first.header.message_id == second.header.message_id == 0


def test_c16_a_group_that_was_not_offered_is_not_taken() -> None:
    pair = Pair()
    pair.drop(1)
    pair.initiate()
    pair.inject(
        pair.a, _answer(pair, NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, bytes((0, 14)))), *_back(pair)
    )
    pair.drive()

    assert pair.a.endpoint.counters["malformed message"] == 1
    assert pair.up


def test_c17_the_choice_is_one_transform_of_each_type_under_the_offered_number() -> None:
    offers = ike("aes256-sha256-modp2048", "aes256gcm16-aes128gcm16-prfsha256-x25519")
    pair = Pair(replace(CONNECTION_A, proposals=offers))
    pair.establish()
    # the first proposal's group comes first; b corrects it, and then chooses the second proposal

    answer = next(m for m in map(parse_message, _init_packets(pair, "b")) if m.find(SaPayload))
    chosen = answer.find(SaPayload)
    assert chosen is not None
    (proposal,) = chosen.proposals
    assert proposal.number == 2
    assert len(proposal.transforms) == len({t.type for t in proposal.transforms}) == 3


def test_c17_no_common_suite_is_told_and_explained_at_both_ends() -> None:
    pair = Pair(replace(CONNECTION_A, proposals=ike("aes256-sha256-modp2048")))
    pair.initiate()
    pair.settle()

    assert not pair.a.all(IkeSaDown)  # an unauthenticated error alone ends nothing (RFC 7296 2.21.1)
    assert [(event.reason, event.text) for event in pair.a.all(Rejected)] == [
        (
            "unauthenticated error",
            "NO_PROPOSAL_CHOSEN in answer to IKE_SA_INIT, which anyone can send: we go on trying",
        )
    ]
    assert not pair.a.endpoint.counters["malformed message"]
    pair.drive(60 * NS_PER_S)
    down = pair.a.last(IkeSaDown)
    assert down.reason is Reason.NO_PROPOSAL_CHOSEN
    assert down.text == (
        "198.51.100.1[500] refused IKE_SA_INIT: NO_PROPOSAL_CHOSEN; we offered aes256-sha256-modp2048"
    )
    assert pair.b.all(Rejected)[0].text == (
        "no IKE proposal in common: the initiator offered aes256-sha256-modp2048; "
        "we accept aes128gcm16-prfsha256-x25519"
    )
    assert pair.b.endpoint.sas == []


def test_c11_a_forged_refusal_does_not_stop_an_initiator() -> None:
    """The real response still comes within the time that the initiator is patient."""
    pair = Pair()
    pair.delay(2 * NS_PER_S, "b")
    pair.initiate()
    pair.inject(pair.a, _answer(pair, NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)), *_back(pair))
    pair.drive(20 * NS_PER_S)

    assert pair.up
    assert not pair.a.all(IkeSaDown)


def test_c22_a_higher_major_version_is_refused_by_name() -> None:
    pair = Pair()
    pair.drop(1)
    pair.initiate()
    sent = pair.sent[-1].datagram
    future = bytearray(sent.data)
    future[17] = 0x30
    pair.inject(pair.b, bytes(future), sent.src, sent.dst)

    answer = parse_message(pair.sent[-1].datagram.data)
    assert answer.notify(NotifyType.INVALID_MAJOR_VERSION) is not None
    assert answer.header.is_response
    assert pair.b.endpoint.sas == []


def test_c22_minor_version_and_reserved_bits_are_ignored() -> None:
    pair = Pair()
    pair.drop(1)
    pair.initiate()
    sent = pair.sent[-1].datagram
    odd = bytearray(sent.data)
    odd[17] |= 0x0F
    odd[19] |= 0x07
    pair.inject(pair.b, bytes(odd), sent.src, sent.dst)

    assert pair.b.all(MessageSent)[0].payloads.startswith("HDR, SAr1, KEr, Nr")


@pytest.mark.parametrize("critical", [True, False])
def test_c22_an_unknown_payload_is_refused_only_if_critical(critical: bool) -> None:
    pair = Pair()
    pair.drop(1)
    pair.initiate()
    sent = pair.sent[-1].datagram
    message = parse_message(sent.data)
    strange = UnknownPayload(200, b"what", critical=critical)
    pair.inject(pair.b, emit_message(message.header, [strange, *message.payloads]), sent.src, sent.dst)

    answer = parse_message(pair.sent[-1].datagram.data)
    refusal = answer.notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD)
    assert (refusal is not None and refusal.data == bytes((200,))) is critical


def test_c22_payloads_come_in_any_order() -> None:
    pair = Pair()
    pair.drop(1)
    pair.initiate()
    sent = pair.sent[-1].datagram
    message = parse_message(sent.data)
    pair.inject(pair.b, emit_message(message.header, message.payloads[::-1]), sent.src, sent.dst)

    assert pair.b.all(MessageSent)[0].payloads.startswith("HDR, SAr1, KEr, Nr")


def test_c17_a_responder_that_chooses_what_was_not_offered_is_ignored() -> None:
    pair = Pair()
    pair.drop(1, "b")
    pair.initiate()
    pair.settle()
    answer = pair.sent[-1].datagram
    message = parse_message(answer.data)
    (first,) = message.find_all(SaPayload)[0].proposals
    other = first._replace(transforms=ike("aes256gcm16-prfsha256-x25519")[0].transforms)
    forged = [SaPayload((other,)) if isinstance(p, SaPayload) else p for p in message.payloads]
    pair.inject(pair.a, emit_message(message.header, forged), answer.src, answer.dst)

    assert pair.a.endpoint.counters["malformed message"] == 1
    pair.drive()
    assert pair.up


def test_c20_a_key_exchange_value_outside_its_group_makes_no_state() -> None:
    """RFC 6989: the point of order one gives no secret."""
    pair = Pair()
    pair.drop(1)
    pair.initiate()
    sent = pair.sent[-1].datagram
    message = parse_message(sent.data)
    bad = [KePayload(31, bytes(32)) if isinstance(p, KePayload) else p for p in message.payloads]
    pair.inject(pair.b, emit_message(message.header, bad), sent.src, sent.dst)

    assert pair.b.endpoint.counters["invalid key exchange"] == 1
    assert pair.b.endpoint.sas == []


@pytest.mark.parametrize("side", ["a", "b"])
def test_c19_a_nonce_shorter_than_half_a_key_is_refused(side: str) -> None:
    """PRF-HMAC-SHA2-512 prefers 64 octets of key; a forged short nonce leaves no trace."""
    suite = ike("aes128gcm16-prfsha512-x25519")
    pair = Pair(replace(CONNECTION_A, proposals=suite), replace(CONNECTION_B, proposals=suite))
    pair.drop(1, side)
    pair.initiate()
    pair.settle()
    sent = pair.sent[-1].datagram
    message = parse_message(sent.data)
    short = [NoncePayload(bytes(16)) if isinstance(p, NoncePayload) else p for p in message.payloads]
    header = replace(message.header, spi_r=b"forged!!") if side == "b" else message.header
    pair.inject(pair.b if side == "a" else pair.a, emit_message(header, short), sent.src, sent.dst)

    end = pair.b if side == "a" else pair.a
    assert end.endpoint.counters["malformed message"] == 1
    pair.drive()
    assert pair.up


def test_c24_unknown_vendor_ids_are_ignored() -> None:
    pair = Pair()
    pair.drop(1)
    pair.initiate()
    sent = pair.sent[-1].datagram
    message = parse_message(sent.data)
    vendor = VendorPayload(b"some other implementation")
    pair.inject(pair.b, emit_message(message.header, [*message.payloads, vendor]), sent.src, sent.dst)

    assert pair.b.ladder[0].startswith("HDR, SAr1, KEr, Nr")


def test_a_half_open_sa_is_forgotten() -> None:
    pair = Pair()
    pair.drop(100, after=1)
    pair.initiate()
    pair.drive(29 * NS_PER_S)
    assert [view.state for view in pair.b.endpoint.sas] == ["half-open"]

    pair.drive(2 * NS_PER_S)
    down = pair.b.last(IkeSaDown)
    assert (down.reason, down.text) == (Reason.ABANDONED, "192.0.2.1[500] went no further than IKE_SA_INIT")
    assert pair.b.endpoint.next_timer() is None


def _keys(pair: Pair, side: str) -> tuple[object, ...]:
    """Child keys in the order of a's inbound, a's outbound."""
    end = pair.a if side == "a" else pair.b
    (child,) = end.children.values()
    keys = (child.keys_in, child.keys_out)
    return keys if side == "a" else keys[::-1]


def _group(message: object) -> int:
    ke = message.find(KePayload)  # type: ignore[attr-defined]
    assert isinstance(ke, KePayload)
    return ke.group


def _init_packets(pair: Pair, side: str) -> list[bytes]:
    return [s.datagram.data for s in pair.sent if s.side == side and s.datagram.src[1] == 500]


def _answer(pair: Pair, payload: Payload) -> bytes:
    """An unprotected response to a's last request, as anyone on the path can forge it."""
    request = parse_message(pair.sent[-1].datagram.data).header
    header = Header(request.spi_i, NO_SPI, ExchangeType.IKE_SA_INIT, Flags.RESPONSE, 0)
    return emit_message(header, [payload])


def _back(pair: Pair) -> tuple[Sock, Sock]:
    datagram = pair.sent[-1].datagram
    return datagram.dst, datagram.src
