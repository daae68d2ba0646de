"""UDP, with scapy and captured datagrams as judges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from sim.wire import ip, udp
from sim.wire.address import format_address, pack_address
from sim.wire.buffer import WireError
from sim.wire.udp import UdpHeader
from tests.wire.samples import PAIRS, PAYLOADS, WORDS, captured

A, B = pack_address("192.0.2.1"), pack_address("192.0.2.2")
A6, B6 = pack_address("2001:db8::1"), pack_address("2001:db8::2")


@given(PAIRS, WORDS, WORDS, PAYLOADS)
def test_datagram_is_that_of_scapy(pair: tuple[bytes, bytes], sport: int, dport: int, payload: bytes) -> None:
    src, dst = map(format_address, pair)
    head = IP(src=src, dst=dst, id=0) if len(pair[0]) == 4 else IPv6(src=src, dst=dst)
    theirs = head / UDP(sport=sport, dport=dport) / Raw(payload)
    assert udp.build((pair[0], sport), (pair[1], dport), payload) == bytes(theirs)


@given(PAIRS, WORDS, WORDS, PAYLOADS)
def test_a_built_datagram_parses_to_its_values(
    pair: tuple[bytes, bytes], sport: int, dport: int, payload: bytes
) -> None:
    packet = udp.build((pair[0], sport), (pair[1], dport), payload)
    offset = ip.parse(packet).upper_offset
    header = udp.parse(packet, offset)
    assert header[:3] == (sport, dport, 8 + len(payload))
    assert packet[offset + 8 : offset + header.length] == payload
    assert udp.checksum_ok(packet, offset)


def test_captured_datagrams_are_built_again_octet_for_octet() -> None:
    seen = 0
    for packet in captured():
        h = ip.parse(packet)
        if h.version != 4 or h.protocol != ip.Protocol.UDP or not udp.checksum_ok(packet, h.upper_offset):
            continue  # a host that leaves the checksum to its network card is captured before it is made
        u = udp.parse(packet, h.upper_offset)
        payload = packet[h.upper_offset + 8 : h.upper_offset + u.length]
        built = udp.build(
            (h.src, u.src_port),
            (h.dst, u.dst_port),
            payload,
            checksum=u.checksum != 0,
            ttl=h.ttl,
            tos=h.tos,
            identification=h.identification,
            df=h.df,
        )
        assert built == packet
        seen += 1
    assert seen == 27  # those of isakmp4500.pcap; BSD left the checksums of ikev2four.pcap wrong


def test_a_checksum_that_comes_out_as_zero_is_sent_as_ffff() -> None:
    """Zero means none (RFC 768); the last word of the payload makes the sum come out so."""
    probe = udp.build((A, 500), (B, 500), b"\0\0")
    payload = udp.parse(probe, 20).checksum.to_bytes(2, "big")
    packet = udp.build((A, 500), (B, 500), payload)
    assert udp.parse(packet, 20).checksum == 0xFFFF
    assert udp.checksum_ok(packet, 20)


def test_no_checksum_is_right_in_ipv4_only() -> None:
    packet = udp.build((A, 1), (B, 2), b"data", checksum=False)
    assert udp.parse(packet, 20) == UdpHeader(1, 2, 12, 0)
    assert udp.checksum_ok(packet, 20)

    packet6 = udp.build((A6, 1), (B6, 2), b"data", checksum=False)
    assert packet6 == udp.build((A6, 1), (B6, 2), b"data")
    packet6[46:48] = b"\0\0"
    assert not udp.checksum_ok(packet6, 40)


def test_every_flipped_bit_of_the_datagram_spoils_its_checksum() -> None:
    packet = udp.build((A6, 500), (B6, 4500), b"some data")
    for bit in range(40 * 8, len(packet) * 8):
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not _is_sound(damaged)


def test_truncation_at_every_length_is_an_error() -> None:
    packet = udp.build((A, 500), (B, 500), b"some data")
    for size in range(20, len(packet)):
        with pytest.raises(WireError):
            udp.parse(packet[:size], 20)


def test_a_length_below_eight_is_an_error() -> None:
    packet = udp.build((A, 500), (B, 500), b"some data")
    packet[24:26] = b"\0\x07"
    with pytest.raises(WireError, match="UDP length 7"):
        udp.parse(packet, 20)


def test_octets_behind_the_datagram_are_surplus() -> None:
    """RFC 9868: the IP payload may be longer than the UDP length."""
    packet = udp.build((A6, 500), (B6, 500), b"some data") + b"surplus"
    assert udp.parse(packet, 40).length == 17
    assert udp.checksum_ok(packet, 40)


def test_a_payload_that_does_not_fit_is_our_own_error() -> None:
    for a, b in ((A, B), (A6, B6)):
        with pytest.raises(ValueError, match="do not fit"):
            udp.build((a, 1), (b, 2), bytes(65528))


@given(st.binary(max_size=40), st.integers(0, 45))
def test_arbitrary_octets_give_a_header_or_a_wire_error(data: bytes, offset: int) -> None:
    try:
        header = udp.parse(data, offset)
    except WireError:
        return
    assert offset + header.length <= len(data)


def _is_sound(packet: bytearray) -> bool:
    try:
        return udp.checksum_ok(packet, 40)
    except WireError:
        return False
