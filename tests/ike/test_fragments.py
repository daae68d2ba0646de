"""IKE fragmentation between two endpoints, and fragments made by hand (RFC 7383)."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.crypto.cipher import Cipher, cipher
from sim.crypto.errors import IntegrityError
from sim.crypto.ids import EncryptionId, IntegrityId
from sim.crypto.suites import ENCRYPTION, INTEGRITY
from sim.ike.config import MIN_FRAGMENT_SIZE, ConnectionConfig, Fragmentation
from sim.ike.constants import ExchangeType, Flags, PayloadType
from sim.ike.events import MessageReceived, MessageSent, Rejected
from sim.ike.fragments import MAX_FRAGMENTS, Assembly, cut, fragment_of
from sim.ike.message import (
    Header,
    Message,
    ProtectedWireError,
    emit_message,
    emit_payloads,
    parse_message,
    seal_inside,
)
from sim.ike.payloads import EncryptedFragment, EncryptedPayload, NotifyPayload, Payload, VendorPayload
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from sim.wire.buffer import WireError
from tests.ike.pair import CONNECTION_A, CONNECTION_B, HOME, Pair, Sent, ike

SMALL = 200
HEADER = Header(b"\1" * 8, b"\2" * 8, ExchangeType.IKE_AUTH, Flags.INITIATOR, 1)
GCM = ENCRYPTION[EncryptionId.ENCR_AES_GCM_16, 128]
CBC = ENCRYPTION[EncryptionId.ENCR_AES_CBC, 128]
SHA256 = INTEGRITY[IntegrityId.AUTH_HMAC_SHA2_256_128]


# -- two endpoints -----------------------------------------------------------------------------------------


def test_c82_large_messages_are_cut_and_put_together_again() -> None:
    """a -> b HDR, SKF {...} as several datagrams; one event a message, with its size and their number."""
    pair = pair_with(SMALL).establish()

    sent, received = pair.a.all(MessageSent)[1], pair.b.all(MessageReceived)[1]
    parts = fragments(pair, "a")
    assert sent.payloads.startswith("HDR, SKF {IDi, ")
    assert sent.payloads == received.payloads
    assert sent.fragments == received.fragments == len(parts) > 1
    assert sent.size == received.size == sum(len(part.octets) for part in parts)
    assert len(pair.a.all(MessageSent)) == len(pair.b.all(MessageReceived)) == 2


@pytest.mark.parametrize("size", [200, 201, 215, 216, 240])
@pytest.mark.parametrize("suite", ["aes128gcm16-prfsha256-x25519", "aes256-sha256-x25519"])
def test_c83_no_datagram_is_larger_than_the_fragment_size(size: int, suite: str) -> None:
    """`fragment_size` is that of the IP packet: 20 octets of IPv4, 8 of UDP, 4 of non-ESP marker."""
    pair = pair_with(size, suite).establish()
    parts = fragments(pair, "a") + fragments(pair, "b")
    sizes = [20 + 8 + len(part.datagram.data) for part in parts]

    assert max(sizes) <= size
    assert max(sizes) > size - 16  # no more is left over than a block of the cipher


@pytest.mark.parametrize("ours", Fragmentation)
@pytest.mark.parametrize("theirs", Fragmentation)
def test_c82_nobody_cuts_unless_both_have_announced(ours: Fragmentation, theirs: Fragmentation) -> None:
    """`accept` announces and takes fragments but sends none; `no` does neither (RFC 7383 2.3)."""
    pair = Pair(with_size(CONNECTION_A, SMALL, ours), with_size(CONNECTION_B, SMALL, theirs)).establish()
    agreed = Fragmentation.NO not in (ours, theirs)

    for side, mode in (("a", ours), ("b", theirs)):
        assert bool(fragments(pair, side)) is (agreed and mode.sends)
    assert ("FRAGMENTATION" in pair.a.ladder[0]) is (ours is not Fragmentation.NO)
    assert ("FRAGMENTATION" in pair.b.ladder[0]) is agreed


def test_c82_ike_sa_init_is_never_cut() -> None:
    pair = pair_with(SMALL).establish()
    first = [sent for sent in pair.sent if sent.octets[18] == ExchangeType.IKE_SA_INIT]

    assert len(first) == 2
    assert all(len(sent.octets) > SMALL for sent in first)


def test_c82_skf_comes_last_and_the_first_one_carries_the_inner_type() -> None:
    pair = pair_with(SMALL).establish()
    closed = [parse_message(part.octets).payloads for part in fragments(pair, "a")]

    assert [len(payloads) for payloads in closed] == [1] * len(closed)
    numbered = [payload for (payload,) in closed if isinstance(payload, EncryptedFragment)]
    assert [f.first_type for f in numbered] == [PayloadType.ID_I, *[0] * (len(closed) - 1)]
    assert [(f.number, f.total) for f in numbered] == [(n, len(closed)) for n in range(1, len(closed) + 1)]


def test_c82_each_fragment_is_authenticated_alone() -> None:
    """A forged fragment has no effect, and the message completes when the true ones come again."""
    pair = pair_with(SMALL)
    pair.initiate()
    pair.rewrite = lambda datagram: (
        replace(datagram, data=datagram.data[:-1] + bytes((datagram.data[-1] ^ 1,)))
        if is_fragment(datagram.data, 2) and not pair.b.all(Rejected)
        else datagram
    )
    pair.drive(10 * NS_PER_S)

    assert [event.reason for event in pair.b.all(Rejected)] == ["integrity check failed"]
    assert pair.up
    assert pair.b.last(MessageReceived).retransmission == 0


def test_c82_fragments_that_were_not_agreed_on_are_refused() -> None:
    pair = pair_with(SMALL)
    pair.initiate()
    pair.drive(pair.latency)
    (sa,) = pair.b.endpoint._ctx.sas.values()
    sa.fragmentation = False
    pair.drive(NS_PER_S)

    assert not pair.up
    assert {event.reason for event in pair.b.all(Rejected)} == {"malformed message"}


def test_c01_c84_a_request_is_sent_again_with_all_its_fragments_octet_for_octet() -> None:
    pair = pair_with(SMALL)
    pair.drop(1, "a", after=2)
    pair.initiate()
    pair.drive(6 * NS_PER_S)

    octets = [part.octets for part in fragments(pair, "a")]
    half = len(octets) // 2
    assert octets[:half] == octets[half:]
    assert pair.up


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("lost", range(5))
def test_c84_any_one_fragment_may_be_lost(side: str, lost: int) -> None:
    pair = pair_with(SMALL)
    pair.drop(1, side, after=lost)
    pair.initiate()
    pair.drive(20 * NS_PER_S)

    assert pair.up
    assert len(pair.a.children) == len(pair.b.children) == 1


def test_c84_only_the_first_fragment_of_a_repeated_request_is_answered() -> None:
    """Each of the others is silently ignored, or every fragment would cost a whole response (2.6.1)."""
    pair = pair_with(SMALL).establish()
    request, response = fragments(pair, "a"), fragments(pair, "b")
    for part in request[1:]:
        pair.inject(pair.b, part.datagram.data, part.datagram.src, part.datagram.dst)
    assert len(fragments(pair, "b")) == len(response)
    first = request[0].datagram
    pair.inject(pair.b, first.data, first.src, first.dst)

    again = fragments(pair, "b")[len(response) :]
    assert [part.octets for part in again] == [part.octets for part in response]
    assert pair.b.last(MessageReceived).retransmission == 1
    assert pair.b.last(MessageReceived).size == sum(len(part.octets) for part in request)
    assert not pair.b.all(Rejected)


def test_c84_a_served_request_may_come_again_in_smaller_fragments() -> None:
    """The initiator looks for the path's MTU: its first fragment differs, but it is authentic (2.5.2)."""
    pair = pair_with(SMALL).establish()
    before = len(fragments(pair, "b"))
    (sa,) = pair.a.endpoint._ctx.sas.values()
    smaller = cut(replace(HEADER, spi_i=sa.spi_i, spi_r=sa.spi_r), chain(400), 130, own(sa), count(1000))
    src, dst = sa.path.local, sa.path.remote
    pair.inject(pair.b, bytes(4) + smaller[0], src, dst)
    assert len(fragments(pair, "b")) == 2 * before
    forged = smaller[0][:-1] + bytes((smaller[0][-1] ^ 1,))
    pair.inject(pair.b, bytes(4) + forged, src, dst)

    assert len(fragments(pair, "b")) == 2 * before
    assert pair.b.last(Rejected).reason == "integrity check failed"


def test_c83_smaller_fragments_take_the_place_of_larger_ones() -> None:
    """Of the first set one is missing; the second, with a higher Total Fragments, is complete (2.5.2)."""
    pair = pair_with(SMALL).establish()
    (sa,) = pair.a.endpoint._ctx.sas.values()
    header = Header(sa.spi_i, sa.spi_r, ExchangeType.INFORMATIONAL, Flags.INITIATOR, 2)
    large, small = (cut(header, chain(400), limit, own(sa), count(500 + limit)) for limit in (200, 130))
    for packet in (*large[:-1], *small[:2], large[-1], *small[2:]):
        pair.inject(pair.b, bytes(4) + packet, sa.path.local, sa.path.remote)

    assert pair.b.last(MessageReceived).fragments == len(small) > len(large)
    assert pair.b.last(MessageSent).message_id == 2


def test_c83_an_incomplete_message_is_forgotten_after_a_while() -> None:
    pair = pair_with(SMALL)
    pair.drop(100, "a", after=2)
    pair.initiate()
    pair.settle()
    (sa,) = pair.b.endpoint._ctx.sas.values()
    assert len(sa.channel._assemblies) == 1
    pair.drive(29 * NS_PER_S)
    assert len(sa.channel._assemblies) == 1
    pair.drive(2 * NS_PER_S)
    assert not sa.channel._assemblies
    assert len(pair.b.endpoint._ctx.timers) == 0


def test_c83_only_the_message_whose_turn_it_is_is_put_together() -> None:
    pair = pair_with(SMALL).establish()
    (sa,) = pair.a.endpoint._ctx.sas.values()
    for message_id in (3, 9, 2**32 - 1):
        header = Header(sa.spi_i, sa.spi_r, ExchangeType.INFORMATIONAL, Flags.INITIATOR, message_id)
        packet = cut(header, chain(400), 130, own(sa), count(700))[0]
        pair.inject(pair.b, bytes(4) + packet, sa.path.local, sa.path.remote)
    (theirs,) = pair.b.endpoint._ctx.sas.values()

    assert not theirs.channel._assemblies
    assert len(pair.b.all(Rejected)) == 3


def test_c82_a_rekeyed_ike_sa_goes_on_cutting() -> None:
    pair = pair_with(SMALL).establish()
    (sa,) = pair.a.endpoint.sas
    pair.command(pair.a, lambda end: end.rekey_ike(sa.ike_id, pair.now))
    pair.settle()
    before = len(fragments(pair, "a"))
    (spi,) = pair.a.children
    pair.command(pair.a, lambda end: end.rekey(spi, pair.now))
    pair.settle()

    assert len(fragments(pair, "a")) > before


def test_c82_over_ipv6_a_fragment_leaves_room_for_the_larger_header() -> None:
    six = pack_address("2001:db8::1")
    pair = pair_with(SMALL)
    pair.initiate()
    (sa,) = pair.a.endpoint._ctx.sas.values()
    four = sa.channel._limit()
    sa.path.local = (six, 500)
    assert four == SMALL - 20 - 8
    assert sa.channel._limit() == SMALL - 40 - 8
    sa.connection = replace(sa.connection, fragment_size=0)
    assert sa.channel._limit() == 1280 - 40 - 8
    sa.path.local = (HOME, 4500)
    assert sa.channel._limit() == 576 - 20 - 8 - 4


def test_a_fragment_size_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="199"):
        replace(CONNECTION_A, fragment_size=MIN_FRAGMENT_SIZE - 1)


# -- cutting and joining -----------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(MIN_FRAGMENT_SIZE - 52, 700), st.booleans(), st.randoms())
def test_whatever_is_cut_is_put_together_in_any_order(
    size: int, limit: int, aead: bool, order: object
) -> None:
    sealer, opener = ciphers(aead)
    packets = list(cut(HEADER, chain(size), limit, sealer, count()))
    order.shuffle(packets)  # type: ignore[attr-defined]
    assembly = Assembly()
    *others, last = [assembly.add(*parsed(packet), opener) for packet in packets]

    assert others == [None] * len(others)
    assert last is not None
    assert last.payloads == (VendorPayload(bytes(size)),)
    assert last.fragments == len(packets)
    assert len(last.raw) == sum(map(len, packets))
    assert max(map(len, packets)) <= limit or len(packets) == MAX_FRAGMENTS


@given(st.integers(1, 3000), st.integers(MIN_FRAGMENT_SIZE - 52, 700), st.booleans())
def test_fragments_are_emitted_again_octet_for_octet(size: int, limit: int, aead: bool) -> None:
    for packet in cut(HEADER, chain(size), limit, ciphers(aead)[0], count()):
        message = parse_message(packet)
        assert emit_message(message.header, message.payloads) == packet


def test_c82_the_icv_covers_number_and_total() -> None:
    sealer, opener = ciphers(True)
    packet = cut(HEADER, chain(500), 200, sealer, count())[0]
    for at in range(32, 36):
        octets = bytearray(packet)
        octets[at] ^= 4
        with pytest.raises((IntegrityError, WireError)):
            Assembly().add(*parsed(bytes(octets)), opener)


def test_c83_of_two_sets_that_mix_the_smaller_fragments_count() -> None:
    sealer, opener = ciphers(True)
    old, new = (cut(HEADER, chain(300), limit, sealer, count(limit)) for limit in (250, 180))
    assert len(old) == 2
    assert len(new) == 3
    for order in permutations([*old, *new]):
        assembly = Assembly()
        complete = [m for packet in order if (m := assembly.add(*parsed(packet), opener)) is not None]
        assert complete[-1].payloads == (VendorPayload(bytes(300)),)


def test_an_outer_payload_travels_with_the_first_fragment() -> None:
    """What is not encrypted stands before SKF, in the first fragment alone (RFC 7383 2.5)."""
    sealer, opener = ciphers(True)
    outer, inside = NotifyPayload(40000, b"outside"), chain(100)
    closed = EncryptedFragment(inside.first_type, 1, 2, bytes(8 + 60 + 1 + 16))
    octets = bytearray(emit_message(HEADER, [outer, closed]))
    sealed_at = len(octets) - len(closed.data)
    octets[sealed_at : sealed_at + 8] = iv = sealer.next_iv(1)
    with memoryview(octets)[sealed_at + 8 :] as out:
        sealer.seal_into(bytes(octets[:sealed_at]), iv, inside.data[:60] + b"\0", out)
    rest = seal_inside(HEADER, EncryptedFragment(0, 2, 2, inside.data[60:]), sealer, 2)
    assembly = Assembly()
    assert assembly.add(*parsed(rest), opener) is None
    whole = assembly.add(*parsed(bytes(octets)), opener)

    assert whole is not None
    assert whole.payloads == (outer, VendorPayload(bytes(100)))


def test_more_fragments_than_are_taken_are_refused_before_anything_is_decrypted() -> None:
    sealer, opener = ciphers(True)
    inside = EncryptedFragment(0, 2, MAX_FRAGMENTS + 1, b"x")
    with pytest.raises(WireError, match="129"):
        Assembly().add(*parsed(seal_inside(HEADER, inside, sealer, 1)), opener)


def test_no_message_becomes_larger_than_a_datagram() -> None:
    sealer, opener = ciphers(True)
    assembly = Assembly()
    packets = [seal_inside(HEADER, EncryptedFragment(0, n, 66, bytes(1000)), sealer, n) for n in range(1, 67)]
    for packet in packets[:-1]:
        assert assembly.add(*parsed(packet), opener) is None
    with pytest.raises(ProtectedWireError, match="65535"):
        assembly.add(*parsed(packets[-1]), opener)


def test_a_message_that_would_need_too_many_fragments_gets_larger_ones() -> None:
    packets = cut(HEADER, chain(60000), 148, ciphers(True)[0], count())
    assert len(packets) == MAX_FRAGMENTS


# -- helpers -----------------------------------------------------------------------------------------------


def with_size(
    connection: ConnectionConfig, size: int, mode: Fragmentation = Fragmentation.YES
) -> ConnectionConfig:
    return replace(connection, fragment_size=size, fragmentation=mode)


def pair_with(size: int, suite: str = "aes128gcm16-prfsha256-x25519") -> Pair:
    a, b = (replace(with_size(c, size), proposals=ike(suite)) for c in (CONNECTION_A, CONNECTION_B))
    return Pair(a, b)


def fragments(pair: Pair, side: str) -> list[Sent]:
    return [sent for sent in pair.sent if sent.side == side and sent.octets[16] == PayloadType.SKF]


def is_fragment(data: bytes, number: int) -> bool:
    octets = data[4:] if data[:4] == bytes(4) else data
    return octets[16] == PayloadType.SKF and octets[32:34] == number.to_bytes(2, "big")


def chain(size: int) -> EncryptedPayload:
    payloads: list[Payload] = [VendorPayload(bytes(size))]
    return EncryptedPayload(*emit_payloads(payloads))


def own(sa: object) -> Cipher:
    return sa.channel._own  # type: ignore[attr-defined, no-any-return]


def ciphers(aead: bool) -> tuple[Cipher, Cipher]:
    if aead:
        args = (GCM, None, bytes(GCM.keymat_bytes), b"", bytes)
    else:
        args = (CBC, SHA256, bytes(16), bytes(32), bytes)  # type: ignore[assignment]
    return cipher(*args), cipher(*args)


def parsed(packet: bytes) -> tuple[Message, EncryptedFragment]:
    message = parse_message(packet)
    fragment = fragment_of(message)
    assert fragment is not None
    return message, fragment
