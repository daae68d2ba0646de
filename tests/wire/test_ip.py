"""IPv4 and IPv6 headers, with scapy and captured packets as judges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)

from sim.wire import ip
from sim.wire.address import format_address, pack_address
from sim.wire.buffer import WireError
from sim.wire.checksum import internet_checksum
from sim.wire.ip import IpHeader, Protocol
from tests.wire.samples import OCTETS, PAIRS, PAYLOADS, V4, WORDS, captured, packets

A, B = pack_address("192.0.2.1"), pack_address("198.51.100.7")
A6, B6 = pack_address("2001:db8::1"), pack_address("2001:db8:ffff::7")


@given(V4, V4, OCTETS, PAYLOADS, OCTETS, OCTETS, WORDS, st.booleans())
def test_ipv4_packet_is_that_of_scapy(
    src: bytes, dst: bytes, protocol: int, payload: bytes, ttl: int, tos: int, identification: int, df: bool
) -> None:
    theirs = IP(
        src=format_address(src),
        dst=format_address(dst),
        proto=protocol,
        ttl=ttl,
        tos=tos,
        id=identification,
        flags="DF" if df else 0,
    )
    ours = ip.build(src, dst, protocol, payload, ttl=ttl, tos=tos, identification=identification, df=df)
    assert ours == bytes(theirs / payload)


@given(st.tuples(OCTETS, OCTETS), PAYLOADS, st.integers(0, 0xFFFFF))
def test_ipv6_packet_is_that_of_scapy(octets: tuple[int, int], payload: bytes, flow_label: int) -> None:
    tos, ttl = octets
    theirs = IPv6(src="2001:db8::1", dst="2001:db8:ffff::7", nh=59, hlim=ttl, tc=tos, fl=flow_label) / payload
    assert ip.build(A6, B6, 59, payload, ttl=ttl, tos=tos, flow_label=flow_label) == bytes(theirs)


@given(PAIRS, st.integers(100, 255), PAYLOADS, OCTETS, OCTETS, WORDS)
def test_a_built_header_parses_to_its_values(
    pair: tuple[bytes, bytes], protocol: int, payload: bytes, ttl: int, tos: int, identification: int
) -> None:
    packet = ip.build(*pair, protocol, payload, ttl=ttl, tos=tos, identification=identification)
    v4 = len(pair[0]) == 4
    assert ip.parse(packet) == IpHeader(
        version=4 if v4 else 6,
        src=pair[0],
        dst=pair[1],
        ttl=ttl,
        tos=tos,
        identification=identification if v4 else 0,
        df=not v4,
        mf=False,
        fragment_offset=0,
        total_length=len(packet),
        protocol=protocol,
        protocol_at=9 if v4 else 6,
        upper_offset=20 if v4 else 40,
    )


def test_captured_ipv4_packets_are_built_again_octet_for_octet() -> None:
    plain = [p for p in captured() if p[0] == 0x45 and not ip.parse(p).is_fragment]
    assert len(plain) > 50
    for packet in plain:
        h = ip.parse(packet)
        built = ip.build(
            h.src,
            h.dst,
            h.protocol,
            packet[h.upper_offset :],
            ttl=h.ttl,
            tos=h.tos,
            identification=h.identification,
            df=h.df,
        )
        assert built == packet


def test_captured_options_shift_the_upper_layer() -> None:
    with_options = [p for p in packets("linux-icmp/a.pcap") if p[0] == 0x4F]
    assert with_options
    for packet in with_options:
        assert ip.parse(packet).upper_offset == 60


def test_captured_ipv6_extension_headers_are_skipped() -> None:
    """Linux sent Hop-by-Hop and Destination Options before a UDP datagram to port 33434."""
    header, packet = next(
        (ip.parse(p), p) for p in packets("linux-icmp/a.pcap") if p[0] >> 4 == 6 and p[6] == 0
    )
    assert (header.protocol, header.upper_offset, header.protocol_at) == (Protocol.UDP, 56, 48)
    assert packet[header.upper_offset + 2 :][:2] == (33434).to_bytes(2, "big")


def test_captured_ipv6_fragments_show_their_place() -> None:
    whole = [ip.parse(p) for p in packets("linux-icmp/a.pcap") if p[0] >> 4 == 6]
    fragments = [h for h in whole if h.is_fragment and h.src == pack_address("2001:db8:1::1")]
    assert [(h.fragment_offset, h.mf, h.protocol, h.upper_offset) for h in fragments] == [
        (0, True, Protocol.ICMPV6, 48),
        (1352, True, Protocol.ICMPV6, 48),
        (2704, False, Protocol.ICMPV6, 48),
    ]
    assert len({h.identification for h in fragments}) == 1


def test_all_four_kinds_of_extension_header_are_skipped() -> None:
    theirs = (
        IPv6(src="2001:db8::1", dst="2001:db8::2")
        / IPv6ExtHdrHopByHop()
        / IPv6ExtHdrDestOpt()
        / IPv6ExtHdrRouting(addresses=["2001:db8::3"])
        / IPv6ExtHdrFragment(id=0x01020304, m=1)
        / IPv6ExtHdrDestOpt(nh=50)
        / bytes(16)
    )
    packet = bytes(theirs)
    header = ip.parse(packet)
    assert (header.protocol, header.upper_offset) == (Protocol.ESP, len(packet) - 16)
    assert (header.identification, header.mf, header.fragment_offset) == (0x01020304, True, 0)
    assert packet[header.protocol_at] == Protocol.ESP


def test_a_later_ipv6_fragment_ends_the_walk_at_its_fragment_header() -> None:
    """What follows is data from the middle, whatever the next header says."""
    theirs = (
        IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(nh=60, offset=3) / bytes(range(16))
    )
    header = ip.parse(bytes(theirs))
    assert (header.protocol, header.upper_offset, header.fragment_offset) == (Protocol.IPV6_DEST, 48, 24)


def test_hop_by_hop_options_must_come_first() -> None:
    theirs = (
        IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / bytes(8)
    )
    with pytest.raises(WireError, match="Hop-by-Hop"):
        ip.parse(bytes(theirs))


@pytest.mark.parametrize("kind", [0, 43, 60])
def test_an_extension_header_must_end_inside_the_packet(kind: int) -> None:
    """Its length octet counts 8-octet units after the first (RFC 8200 4.3 to 4.6)."""
    for units in range(4):
        header = bytes([59, units]) + bytes(6)
        ip.parse(ip.build(A6, B6, kind, header + bytes(8 * units)))
        for missing in range(1, 8 * units + 8):
            with pytest.raises(WireError, match="cut off"):
                ip.parse(ip.build(A6, B6, kind, (header + bytes(8 * units))[:-missing]))


def test_a_second_fragment_header_is_refused() -> None:
    first = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(m=1)
    with pytest.raises(WireError, match="second fragment header"):
        ip.parse(bytes(first / IPv6ExtHdrFragment(nh=59)))


def test_truncation_at_every_length_is_an_error() -> None:
    for packet in captured():
        for size in range(min(len(packet), 80)):
            with pytest.raises(WireError):
                ip.parse(packet[:size])


def test_octets_after_the_packet_are_an_error() -> None:
    for packet in (ip.build(A, B, 17, b"12345678"), ip.build(A6, B6, 17, b"12345678")):
        with pytest.raises(WireError, match="octets"):
            ip.parse(packet + b"\0")


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [
        (0, 0x44, "header length 16"),
        (0, 0x55, "version 5"),
        (3, 19, "less than its header"),
        (10, 0xFF, "checksum"),
    ],
)
def test_inconsistent_ipv4_header_is_an_error(at: int, value: int, problem: str) -> None:
    packet = ip.build(A, B, 17, bytes(8))
    packet[at] = value
    with pytest.raises(WireError, match=problem):
        ip.parse(packet)


def test_a_quoted_packet_may_be_cut_off_and_have_an_old_checksum() -> None:
    packet = ip.build(A, B, 17, bytes(100))
    packet[8] -= 1
    header = ip.parse_quoted(packet[:28])
    assert (header.src, header.dst, header.total_length, header.upper_offset) == (A, B, 120, 20)


@given(st.binary(max_size=120) | st.binary(min_size=40, max_size=120).map(lambda data: b"\x60" + data))
def test_arbitrary_octets_give_a_header_or_a_wire_error(data: bytes) -> None:
    for parse in (ip.parse, ip.parse_quoted):
        try:
            header = parse(data)
        except WireError:
            continue
        assert 0 < header.protocol_at < header.upper_offset <= len(data)


@given(st.lists(st.sampled_from([0, 43, 44, 60, 17, 50]), max_size=5), st.data())
def test_arbitrary_extension_headers_never_lead_beyond_the_packet(
    kinds: list[int], draw: st.DataObject
) -> None:
    chain = b"".join(bytes([kind]) + draw.draw(st.binary(min_size=7, max_size=15)) for kind in kinds)
    packet = ip.build(A6, B6, kinds[0] if kinds else 59, chain)
    try:
        header = ip.parse(packet)
    except WireError:
        return
    assert header.upper_offset <= len(packet)


@given(PAIRS, OCTETS, OCTETS, WORDS)
def test_decrement_leaves_the_header_that_is_built_with_one_less(
    pair: tuple[bytes, bytes], ttl: int, tos: int, identification: int
) -> None:
    packet = ip.build(*pair, 17, b"data", ttl=ttl, tos=tos, identification=identification)
    before = bytes(packet)
    if ip.decrement_ttl(packet):
        assert packet == ip.build(*pair, 17, b"data", ttl=ttl - 1, tos=tos, identification=identification)
    else:
        assert ttl <= 1
        assert packet == before


def test_decrement_is_right_for_every_checksum() -> None:
    """The identification drives the header checksum through all its values, both zeros among them."""
    for identification in range(0x10000):
        packet = ip.build(A, B, 17, b"", identification=identification)
        assert ip.decrement_ttl(packet)
        assert internet_checksum(packet) == 0
        assert packet[10:12] != b"\xff\xff"


def test_addresses_are_those_of_the_header() -> None:
    for packet in captured():
        header = ip.parse(packet)
        assert ip.addresses(packet) == (header.src, header.dst)
        assert ip.addresses(memoryview(bytearray(packet))) == (header.src, header.dst)


def test_ipv6_and_ipv4_with_df_are_not_fragmented_by_routers() -> None:
    for packet in captured():
        assert ip.dont_fragment(packet) == ip.parse(packet).df


def test_write_checksum_restores_the_captured_one() -> None:
    for packet in captured():
        damaged = bytearray(packet)
        if packet[0] >> 4 == 4:
            damaged[10:12] = b"\xa5\xa5"
        ip.write_checksum(damaged)
        assert damaged == packet


def test_what_does_not_fit_or_mixes_families_is_our_own_error() -> None:
    with pytest.raises(ValueError, match="versions"):
        ip.build(A, B6, 17, b"")
    with pytest.raises(ValueError, match="IPv4"):
        ip.build(A, B, 17, bytes(65516))
    with pytest.raises(ValueError, match="IPv6"):
        ip.build(A6, B6, 17, bytes(65536))
    assert len(ip.build(A, B, 17, bytes(65515))) == 65535
