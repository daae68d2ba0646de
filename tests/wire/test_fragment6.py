"""IPv6 fragmentation and reassembly, with scapy and what Linux sent as judges."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    defragment6,
)
from scapy.layers.inet6 import fragment6 as scapy_fragment6
from scapy.packet import Raw

from sim.units import NS_PER_S
from sim.wire import icmp, ip
from sim.wire.address import pack_address
from sim.wire.buffer import WireError
from sim.wire.fragment import DATAGRAM_COST, FRAGMENT_COST, TIMEOUT_NS, Reassembler
from sim.wire.fragment6 import FRAGMENT_HEADER_BYTES, FragmentHeader, fragment6, locate, parse_header
from sim.wire.ip import Protocol
from tests.wire.samples import packets

A, B = pack_address("2001:db8::1"), pack_address("2001:db8:1::1")
PATTERN = bytes(range(251)) * 300
HEADERS = {
    "none": (),
    "hop by hop": (IPv6ExtHdrHopByHop(),),
    "routing": (IPv6ExtHdrRouting(addresses=["2001:db8::7"]),),
    "all": (
        IPv6ExtHdrHopByHop(),
        IPv6ExtHdrDestOpt(),
        IPv6ExtHdrRouting(addresses=["2001:db8::7", "2001:db8::8"]),
        IPv6ExtHdrDestOpt(),
    ),
    "for the destination": (IPv6ExtHdrDestOpt(),),
}
IN_FRONT = {"none": 0, "hop by hop": 8, "routing": 24, "all": 56, "for the destination": 0}
"""Octets of extension headers that each fragment repeats (RFC 8200 4.5)."""
NAMED_AT = {"none": 6, "hop by hop": 40, "routing": 40, "all": 56, "for the destination": 6}
"""Where these name the next header."""


@given(st.integers(0, 0xFFFF), st.integers(0, 8191), st.booleans(), st.integers(0, 0xFFFFFFFF))
def test_the_header_is_scapys(next_header: int, units: int, more: bool, identification: int) -> None:
    ours = FragmentHeader(next_header & 0xFF, units * 8, more, identification)
    theirs = IPv6ExtHdrFragment(nh=next_header & 0xFF, offset=units, m=int(more), id=identification)
    assert ours.emit() == bytes(theirs)
    assert parse_header(b"x" + ours.emit() + b"x", 1) == ours


def test_a_header_that_is_cut_off_is_none() -> None:
    for size in range(FRAGMENT_HEADER_BYTES):
        with pytest.raises(WireError):
            parse_header(bytes(size), 0)
        packet = ip.build(A, B, Protocol.IPV6_FRAGMENT, bytes(size))
        assert locate(packet) is None
        assert Reassembler().add(packet, 0) is None


@given(st.integers(1300, 4000), st.integers(80, 1500))
def test_fragments_are_those_of_scapy(size: int, mtu: int) -> None:
    packet = _packet(size)
    if size <= mtu:
        assert fragment6(packet, mtu, 77) == [packet]
    else:
        assert [bytes(piece) for piece in fragment6(packet, mtu, 77)] == _cut_by_scapy(packet, 40, 6, 77, mtu)


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("mtu", [1280, 1492, 600])
def test_scapy_joins_our_fragments_whatever_headers_come_first(name: str, mtu: int) -> None:
    packet = _packet_with(name, 4000)
    pieces = fragment6(bytearray(packet), mtu, 5)
    assert all(len(piece) <= mtu for piece in pieces)
    assert all((len(piece) - 40) % 8 == 0 for piece in pieces[:-1])
    for piece in pieces:
        place = locate(piece)
        assert place is not None
        assert place.at == 40 + IN_FRONT[name]
    joined = defragment6([IPv6(bytes(piece)) for piece in reversed(pieces)])  # type: ignore[no-untyped-call]
    assert bytes(joined) == packet


@pytest.mark.parametrize("name", HEADERS)
def test_we_join_what_scapy_cut_whatever_headers_come_first(name: str) -> None:
    packet = _packet_with(name, 3000)
    pieces = _cut_by_scapy(packet, 40 + IN_FRONT[name], NAMED_AT[name], 9, 1280)
    assert len(pieces) == 3
    assert _join([bytearray(piece) for piece in pieces]) == [packet]


@given(st.integers(1, 5000), st.integers(64, 1500), st.sampled_from(sorted(HEADERS)), st.data())
def test_fragments_join_in_any_order(size: int, mtu: int, name: str, draw: st.DataObject) -> None:
    packet = _packet_with(name, size)
    try:
        pieces = fragment6(bytearray(packet), mtu, 1)
    except ValueError:
        assert mtu < 40 + 80 + 8 + 16, "all headers and the fragment header fit"
        return
    reassembler = Reassembler()
    results = [reassembler.add(piece, 0) for piece in draw.draw(st.permutations(pieces))]
    assert results[:-1] == [None] * (len(pieces) - 1)
    assert results[-1] == packet
    assert reassembler.next_timer() is None


def test_linuxs_fragments_join_to_echoes_that_parse() -> None:
    pieces = [p for p in packets("linux-icmp/a.pcap") if p[0] >> 4 == 6 and ip.parse(p).is_fragment]
    assert len(pieces) >= 2
    joined = _join([bytearray(p) for p in pieces])
    assert joined
    for whole in joined:
        message = icmp.parse(whole, ip.parse(whole).upper_offset)
        assert message.is_echo_request or message.is_echo_reply


def test_we_cut_linuxs_echoes_as_linux_did() -> None:
    pieces = [p for p in packets("linux-icmp/a.pcap") if p[0] >> 4 == 6 and ip.parse(p).is_fragment]
    by_id: dict[tuple[bytes, int], list[bytes]] = {}
    for piece in pieces:
        header = ip.parse(piece)
        by_id.setdefault((header.src, header.identification), []).append(piece)
    for (_, identification), theirs in by_id.items():
        (whole,) = _join([bytearray(p) for p in theirs])
        assert [bytes(p) for p in fragment6(whole, len(theirs[0]), identification)] == theirs


def test_what_cannot_be_cut_is_our_own_error() -> None:
    for piece in fragment6(_packet(3000), 1280, 1)[:2]:
        with pytest.raises(ValueError, match="already"):
            fragment6(piece, 600, 2)
    with pytest.raises(ValueError, match="no room"):
        fragment6(_packet(100), 55, 1)
    long_chain = _packet_with("all", 1000)
    with pytest.raises(ValueError, match="no room for the headers"):
        fragment6(bytearray(long_chain), 40 + 56 + 8 + 8, 1)  # 8 octets of options and 8 of UDP: one too few


def test_an_atomic_fragment_is_whole_beside_others_of_its_identification() -> None:
    """RFC 6946 4: it is handled in isolation, and those others are not disturbed."""
    reassembler = Reassembler()
    first, *rest = fragment6(_packet(3000), 1280, 7)
    assert reassembler.add(first, 0) is None
    payload = b"\x12\x34\x56\x78\x00\x0a\x00\x00hi"
    atom = ip.build(A, B, 44, FragmentHeader(17, 0, False, 7).emit() + payload)
    assert reassembler.add(atom, 0) == ip.build(A, B, 17, payload)
    assert [reassembler.add(piece, 0) for piece in rest][-1] == _packet(3000)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_overlapping_fragments_spoil_the_datagram(order: tuple[int, ...]) -> None:
    """RFC 5722 4, RFC 8200 4.5."""
    pieces = [_piece(0, 16, True), _piece(8, 16, True), _piece(24, 8, False)]
    reassembler = Reassembler()
    assert [reassembler.add(pieces[i], 0) for i in order] == [None] * 3
    assert reassembler.refused["overlapping fragment"] == 1


def test_an_exact_duplicate_is_ignored() -> None:
    """RFC 8200 4.5: it may be dropped alone."""
    reassembler = Reassembler()
    for _ in range(2):
        assert reassembler.add(_piece(0, 16, True), 0) is None
    assert reassembler.refused == {"duplicate fragment": 1}
    assert reassembler.add(_piece(16, 5, False), 0) is not None


def test_only_source_destination_and_identification_tell_datagrams_apart() -> None:
    """RFC 8200 4.5: the next header of the first fragment is the one that counts."""
    reassembler = Reassembler()
    for src, dst, identification in ((A, B, 1), (B, A, 1), (A, A, 1), (A, B, 2), (A, B, 1 << 31)):
        assert reassembler.add(_piece(0, 8, True, src, dst, 17, identification), 0) is None
    for src, dst, identification in ((A, B, 1), (B, A, 1), (A, A, 1), (A, B, 2), (A, B, 1 << 31)):
        whole = reassembler.add(_piece(8, 8, False, src, dst, 99, identification), 0)
        assert whole == ip.build(src, dst, 17, b"\x11" * 16)


@pytest.mark.parametrize(
    ("start", "size", "more", "protocol", "reason"),
    [
        (0, 0, True, 17, "empty fragment"),
        (16, 0, False, 17, "empty fragment"),
        (0, 12, True, 17, "fragment of no multiple of 8 octets"),
        (65528, 8, False, 17, "datagram of more than 65535 octets"),
        (0, 16, True, Protocol.TCP, "tiny fragment"),
    ],
)
def test_an_unfit_fragment_is_refused(start: int, size: int, more: bool, protocol: int, reason: str) -> None:
    reassembler = Reassembler()
    piece = _piece(start, size, more, protocol=protocol, filler=0)
    assert reassembler.add(piece, 0) is None
    assert reassembler.refused == {reason: 1}
    assert reassembler.next_timer() is None


def test_the_longest_datagram_joins() -> None:
    packet = _packet(65535 + 40)
    assert _join(fragment6(bytearray(packet), 1500, 1)) == [packet]


def test_time_is_over_and_the_first_fragment_is_returned() -> None:
    reassembler = Reassembler()
    first = _piece(0, 8, True, identification=1)
    reassembler.add(bytearray(first), 5)
    reassembler.add(_piece(8, 8, False, identification=2), 6)
    assert reassembler.next_timer() == 30 * NS_PER_S + 5
    assert reassembler.expire(30 * NS_PER_S + 6) == [first]
    assert reassembler.refused == {"reassembly time exceeded": 2}


def test_memory_is_bounded_and_the_oldest_datagram_is_given_up() -> None:
    reassembler = Reassembler(max_bytes=10_000 + 6 * (DATAGRAM_COST + FRAGMENT_COST))
    for identification in range(100):
        reassembler.add(_piece(0, 1400, True, identification=identification), identification)
    assert reassembler.refused == {"reassembly buffer full": 94}
    assert reassembler.next_timer() == TIMEOUT_NS + 94


def test_a_congestion_mark_on_any_fragment_survives() -> None:
    for marks in permutations((1, 3, 1)):
        pieces = fragment6(ip.build(A, B, 17, bytes(60), flow_label=0xABCDE), 72, 7)
        for piece, mark in zip(pieces, marks, strict=True):
            piece[1] |= mark << 4
        (whole,) = _join(pieces)
        assert whole[1] == 0x3A
        assert whole == ip.build(A, B, 17, bytes(60), flow_label=0xABCDE, tos=3)


PIECES = st.tuples(st.integers(0, 8), st.integers(0, 4), st.booleans(), st.integers(0, 2))


@given(st.lists(PIECES, max_size=12))
def test_arbitrary_fragments_never_join_to_octets_that_none_of_them_had(
    pieces: list[tuple[int, int, bool, int]],
) -> None:
    reassembler = Reassembler()
    for start, size, more, identification in pieces:
        packet = _piece(start * 8, size * 8, more, identification=identification, protocol=99, filler=start)
        whole = reassembler.add(packet, 0)
        if whole is not None:
            assert ip.parse(whole).protocol == 99
            for at in range(40, len(whole), 8):
                unit = bytes(whole[at : at + 8])
                assert any(s * 8 <= at - 40 < (s + n) * 8 and unit == bytes([s]) * 8 for s, n, *_ in pieces)


def _packet(size: int) -> bytearray:
    return ip.build(A, B, 17, PATTERN[: size - 40], flow_label=0x12345)


def _cut_by_scapy(packet: bytearray, front: int, named_at: int, identification: int, mtu: int) -> list[bytes]:
    """scapy wants the fragment header to be in place."""
    header = packet[:front]
    header[named_at] = Protocol.IPV6_FRAGMENT
    fragment = IPv6ExtHdrFragment(nh=packet[named_at], id=identification)
    whole = bytes(header) + bytes(fragment) + packet[front:]
    return [bytes(piece) for piece in scapy_fragment6(IPv6(whole), mtu)]  # type: ignore[no-untyped-call]


def _packet_with(name: str, size: int) -> bytearray:
    packet = IPv6(src="2001:db8::1", dst="2001:db8:1::1", fl=0x54321)
    for header in HEADERS[name]:
        packet = packet / header
    raw = bytes(packet / Raw(PATTERN[:size]))
    out = bytearray(raw)
    at, names = 40, 6
    for header in HEADERS[name]:
        names, at = at, at + len(bytes(header))
    out[names] = 17
    return out


def _piece(
    start: int,
    size: int,
    more: bool,
    src: bytes = A,
    dst: bytes = B,
    protocol: int = 17,
    identification: int = 7,
    filler: int = 0x11,
) -> bytearray:
    header = FragmentHeader(protocol, start, more, identification)
    return ip.build(src, dst, Protocol.IPV6_FRAGMENT, header.emit() + bytes([filler]) * size)


def _join(pieces: list[bytearray]) -> list[bytearray]:
    reassembler = Reassembler()
    whole = [reassembler.add(piece, 0) for piece in pieces]
    assert reassembler.next_timer() is None
    return [packet for packet in whole if packet is not None]
