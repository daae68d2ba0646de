"""IPv4 fragmentation and reassembly, with scapy and what Linux sent as judges."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet import fragment as scapy_fragment

from sim.units import NS_PER_S
from sim.wire import icmp, ip
from sim.wire.address import pack_address
from sim.wire.buffer import WireError
from sim.wire.fragment import DATAGRAM_COST, FRAGMENT_COST, TIMEOUT_NS, Reassembler, fragment
from sim.wire.ip import Protocol
from tests.wire.samples import packets

A, B = pack_address("192.0.2.1"), pack_address("198.51.100.1")
PATTERN = bytes(range(251)) * 300


@given(st.integers(0, 4000), st.integers(28, 1500))
def test_fragments_are_those_of_scapy(size: int, mtu: int) -> None:
    packet = _packet(size)
    if size + 20 > mtu:
        theirs = _fragment_by_scapy(packet, (mtu - 20) // 8 * 8)
        assert [bytes(piece) for piece in fragment(packet, mtu)] == theirs
    else:
        assert fragment(packet, mtu)[0] is packet


def test_fragments_are_those_that_linux_made() -> None:
    """A router between an MTU of 1500 and one of 1400 cut what the host had cut already, options included."""
    src = pack_address("192.0.2.1")
    arrived = [p for p in packets("linux-icmp/a.pcap") if _is_fragment_from(p, src)]
    left = [p for p in packets("linux-icmp/b.pcapng") if _is_fragment_from(p, src)]
    assert len(arrived) == 5
    ours = []
    for packet in map(bytearray, arrived):
        _record_route(packet, pack_address("198.51.100.254"))
        assert ip.decrement_ttl(packet)
        ours += [bytes(piece) for piece in fragment(packet, 1400)]
    assert [_comparable(piece) for piece in ours] == [_comparable(piece) for piece in left]


def test_captured_fragments_join_to_an_echo_that_parses() -> None:
    joined = _join([bytearray(p) for p in packets("linux-icmp/b.pcapng") if p[0] >> 4 == 4])
    whole = [p for p in joined if len(p) > 1400]
    assert [len(p) for p in whole] == [3029, 3029, 2068, 2068]
    for packet in whole:
        message = icmp.parse(packet, ip.parse(packet).upper_offset)
        assert message.is_echo_request or message.is_echo_reply


@given(st.integers(1, 3000), st.integers(28, 600), st.data())
def test_fragments_join_in_any_order(size: int, mtu: int, draw: st.DataObject) -> None:
    packet = _packet(size)
    pieces = draw.draw(st.permutations(fragment(bytearray(packet), mtu)))
    reassembler = Reassembler()
    results = [reassembler.add(piece, 0) for piece in pieces]
    assert results[:-1] == [None] * (len(pieces) - 1)
    assert results[-1] == packet
    assert reassembler.next_timer() is None


def test_fragments_of_fragments_join() -> None:
    packet = _packet(3000)
    pieces = [small for piece in fragment(bytearray(packet), 1500) for small in fragment(piece, 576)]
    assert _join(pieces) == [packet]


@pytest.mark.parametrize("df", [False, True])
def test_fields_of_the_first_fragment_are_the_datagrams(df: bool) -> None:
    packet = ip.build(A, B, 50, PATTERN[:3000], ttl=9, tos=0xB8, identification=77, df=df)
    assert _join(fragment(bytearray(packet), 1500)) == [packet]


def test_only_options_with_the_copied_bit_reach_later_fragments() -> None:
    """RFC 791 3.1: source route and router alert (RFC 2113) are copied, record route and padding not."""
    no_operation, end = "01", "00"
    source_route, record_route, alert = "8307040a000001", "07070400000000", "94040000"
    options = bytes.fromhex(no_operation + source_route + record_route + alert + end)
    packet = _packet_with(options, 100)
    first, second, *_ = fragment(bytearray(packet), 48)
    assert first[20:40] == options
    assert second[20 : (second[0] & 15) * 4] == bytes.fromhex(source_route + alert + end)
    assert _join(fragment(bytearray(packet), 80)) == [packet]


@pytest.mark.parametrize("options", ["83ff0400", "8301ffff", "000000ff", "01010183"])
def test_options_of_impossible_length_end_what_is_copied(options: str) -> None:
    packet = _packet_with(bytes.fromhex(options), 100)
    for piece in fragment(packet, 80)[1:]:
        assert piece[0] == 0x45
        ip.parse(piece)


def test_every_fragment_fits_and_all_but_the_last_carry_multiples_of_eight() -> None:
    for mtu in range(28, 300):
        pieces = fragment(_packet(1000), mtu)
        assert all(len(piece) <= mtu for piece in pieces)
        headers = [ip.parse(piece) for piece in pieces]
        assert all((len(piece) - 20) % 8 == 0 for piece in pieces[:-1])
        assert [h.mf for h in headers] == [True] * (len(pieces) - 1) + [False]


def test_what_cannot_be_fragmented_is_our_own_error() -> None:
    with pytest.raises(ValueError, match="no room"):
        fragment(_packet(100), 27)
    with pytest.raises(ValueError, match="IPv6"):
        fragment(ip.build(bytes(16), bytes(16), 59, bytes(100)), 68)
    with pytest.raises(WireError):
        fragment(bytearray(100), 68)


def test_a_whole_packet_passes_untouched() -> None:
    packet = _packet(100)
    assert Reassembler().add(packet, 0) is packet


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_overlapping_fragment_spoils_the_datagram(order: tuple[int, ...]) -> None:
    overlapping = [_piece(0, 16, True), _piece(8, 16, True), _piece(24, 8, False)]
    reassembler = Reassembler()
    results = [reassembler.add(overlapping[i], 0) for i in order]
    assert results == [None] * 3
    assert reassembler.refused["overlapping fragment"] == 1


def test_a_fragment_inside_another_overlaps_it() -> None:
    for start, size in ((0, 8), (8, 8), (16, 16)):
        reassembler = Reassembler()
        assert reassembler.add(_piece(0, 32, True), 0) is None
        assert reassembler.add(_piece(start, size, True, filler=0x5A), 0) is None
        assert reassembler.refused == {"overlapping fragment": 1}
        assert reassembler.next_timer() is None


def test_a_duplicate_is_ignored() -> None:
    first, last = _piece(0, 16, True), _piece(16, 5, False)
    reassembler = Reassembler()
    assert reassembler.add(bytearray(first), 0) is None
    assert reassembler.add(bytearray(first), 0) is None
    assert reassembler.refused == {"duplicate fragment": 1}
    assert reassembler.add(last, 0) is not None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_fragment_beyond_the_end_spoils_the_datagram(order: tuple[int, int]) -> None:
    for beyond in (_piece(32, 8, True), _piece(32, 8, False)):
        pieces = [_piece(8, 8, False), beyond]
        reassembler = Reassembler()
        assert [reassembler.add(bytearray(pieces[i]), 0) for i in order] == [None, None]
        assert reassembler.refused == {"fragment beyond the end": 1}


@pytest.mark.parametrize(
    ("start", "size", "more", "protocol", "reason"),
    [
        (0, 0, True, 17, "empty fragment"),
        (16, 0, False, 17, "empty fragment"),
        (0, 12, True, 17, "fragment of no multiple of 8 octets"),
        (65528, 8, False, 17, "datagram of more than 65535 octets"),
        (0, 8, True, Protocol.TCP, "tiny fragment"),
        (8, 8, True, Protocol.TCP, "tiny fragment"),
    ],
)
def test_an_unfit_fragment_is_refused(start: int, size: int, more: bool, protocol: int, reason: str) -> None:
    reassembler = Reassembler()
    assert reassembler.add(_piece(start, size, more, protocol=protocol), 0) is None
    assert reassembler.refused == {reason: 1}
    assert reassembler.next_timer() is None


def test_the_longest_datagram_joins() -> None:
    packet = _packet(65515)
    assert _join(fragment(bytearray(packet), 1500)) == [packet]


def test_datagrams_that_differ_in_one_field_of_the_key_stay_apart() -> None:
    """RFC 791 3.2: source, destination, protocol and identification."""
    reassembler = Reassembler()
    variants = [(A, B, 17, 1), (B, A, 17, 1), (A, A, 17, 1), (A, B, 50, 1), (A, B, 17, 2)]
    for src, dst, protocol, identification in variants:
        assert reassembler.add(_piece(0, 8, True, src, dst, protocol, identification), 0) is None
    for src, dst, protocol, identification in variants:
        whole = reassembler.add(_piece(8, 8, False, src, dst, protocol, identification), 0)
        assert whole == ip.build(src, dst, protocol, b"\x11" * 16, identification=identification)


def test_time_is_over_after_thirty_seconds_and_the_first_fragment_is_returned() -> None:
    reassembler = Reassembler()
    with_first, without = _piece(0, 8, True, identification=1), _piece(8, 8, False, identification=2)
    reassembler.add(bytearray(with_first), 5)
    reassembler.add(without, 6)
    assert reassembler.next_timer() == 30 * NS_PER_S + 5
    assert reassembler.expire(30 * NS_PER_S + 4) == []
    assert reassembler.expire(30 * NS_PER_S + 6) == [with_first]
    assert reassembler.refused == {"reassembly time exceeded": 2}
    assert reassembler.next_timer() is None


def test_a_late_fragment_does_not_join_one_whose_time_is_over() -> None:
    reassembler = Reassembler()
    reassembler.add(_piece(0, 8, True), 0)
    assert reassembler.add(_piece(8, 8, False), TIMEOUT_NS) is None
    assert reassembler.refused == {"reassembly time exceeded": 1}
    assert reassembler.next_timer() == 2 * TIMEOUT_NS


def test_memory_is_bounded_and_the_oldest_datagram_is_given_up() -> None:
    reassembler = Reassembler(max_bytes=10_000 + 7 * (DATAGRAM_COST + FRAGMENT_COST))
    for identification in range(100):
        reassembler.add(_piece(0, 1400, True, identification=identification), identification)
    assert reassembler.refused == {"reassembly buffer full": 93}
    assert reassembler.next_timer() == TIMEOUT_NS + 93


def test_a_congestion_mark_on_any_fragment_survives() -> None:
    """RFC 3168 5.3."""
    for marks in permutations((1, 3, 1)):
        pieces = fragment(ip.build(A, B, 17, bytes(60), identification=7), 44)
        for piece, mark in zip(pieces, marks, strict=True):
            piece[1] |= mark
            ip.write_checksum(piece)
        (whole,) = _join(pieces)
        assert whole[1] == 3
        ip.parse(whole)


def test_a_congestion_mark_beside_a_fragment_without_ecn_spoils_the_datagram() -> None:
    reassembler = Reassembler()
    first, second = fragment(ip.build(A, B, 17, bytes(40), identification=7), 44)
    second[1] |= 3
    ip.write_checksum(second)
    assert reassembler.add(first, 0) is None
    assert reassembler.add(second, 0) is None
    assert reassembler.refused == {"ECN of fragments contradicts": 1}


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_arbitrary_octets_are_refused(datagrams: list[bytes]) -> None:
    reassembler = Reassembler()
    assert [reassembler.add(bytearray(data), 0) for data in datagrams] == [None] * len(datagrams)
    assert reassembler.refused.total() == len(datagrams)


PIECES = st.tuples(st.integers(0, 8), st.integers(0, 4), st.booleans(), st.integers(0, 2))


@given(st.lists(PIECES, max_size=12))
def test_arbitrary_fragments_join_as_a_naive_model_says(pieces: list[tuple[int, int, bool, int]]) -> None:
    """The model keeps octets in a dict and knows nothing of neighbours."""
    reassembler, model = Reassembler(), _Model()
    for start, size, more, identification in pieces:
        packet = _piece(start * 8, size * 8, more, identification=identification, filler=start)
        data = bytes(packet[20:])
        expected = model.add(identification, start * 8, data, more, bytes(packet))
        assert reassembler.add(packet, 0) == expected


class _Model:
    def __init__(self) -> None:
        self.held: dict[int, tuple[dict[int, int], set[tuple[int, bytes]], set[int]]] = {}

    def add(self, key: int, start: int, data: bytes, more: bool, packet: bytes) -> bytes | None:
        if not more and start == 0:
            return packet
        if not data:
            return None
        octets, pieces, ends = self.held.setdefault(key, ({}, set(), set()))
        if (start, data) in pieces:
            return None
        if not more:
            ends.add(start + len(data))
        fresh = dict(enumerate(data, start))
        clash = octets.keys() & fresh.keys()
        octets.update(fresh)
        pieces.add((start, data))
        if clash or len(ends) > 1 or (ends and max(octets) >= min(ends)):
            del self.held[key]
            return None
        if not ends or set(octets) != set(range(min(ends))):
            return None
        del self.held[key]
        return bytes(ip.build(A, B, 17, bytes(octets[i] for i in sorted(octets)), identification=key))


def _packet(size: int) -> bytearray:
    return ip.build(A, B, 17, PATTERN[:size], identification=0x1234)


def _fragment_by_scapy(packet: bytearray, size: int) -> list[bytes]:
    pieces = scapy_fragment(IP(bytes(packet)), size)  # type: ignore[no-untyped-call]
    return [bytes(piece) for piece in pieces]


def _packet_with(options: bytes, size: int) -> bytearray:
    packet = ip.build(A, B, 17, options + PATTERN[:size])
    packet[0] = 0x45 + len(options) // 4
    ip.write_checksum(packet)
    return packet


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
    packet = ip.build(src, dst, protocol, bytes([filler]) * size, identification=identification)
    packet[6:8] = ((ip.MF if more else 0) | start // 8).to_bytes(2, "big")
    ip.write_checksum(packet)
    return packet


def _join(pieces: list[bytearray]) -> list[bytearray]:
    reassembler = Reassembler()
    whole = [reassembler.add(piece, 0) for piece in pieces]
    assert reassembler.next_timer() is None
    return [packet for packet in whole if packet is not None]


def _is_fragment_from(packet: bytes, src: bytes) -> bool:
    return packet[0] >> 4 == 4 and packet[12:16] == src and ip.parse(packet).is_fragment


def _record_route(packet: bytearray, address: bytes) -> None:
    """What a router does to a record route option at the front of the options (RFC 791 3.1)."""
    at = packet.find(7, 20, 22)
    if packet[0] == 0x45 or at < 0:
        return
    pointer = at + packet[at + 2] - 1
    packet[pointer : pointer + 4] = address
    packet[at + 2] += 4
    ip.write_checksum(packet)


def _comparable(packet: bytes) -> bytes:
    """Without options that are all no operations: Linux blanks what it does not copy, we cut it out."""
    size = (packet[0] & 15) * 4
    if size == 20 or set(packet[20:size]) != {1}:
        return packet
    short = bytearray(packet[:20] + packet[size:])
    short[0] = 0x45
    short[2:4] = len(short).to_bytes(2, "big")
    ip.write_checksum(short)
    return bytes(short)
