"""The maximum segment size in a TCP SYN, made smaller on the way (RFC 9293 3.7.1, RFC 6691, RFC 4459 3.2).

    TCP header, offsets in octets           options from 20 on, up to the data offset
    12 data offset | 13 flags               0: end; 1: no operation; else kind, length, value
    16 checksum                             2, 4, MSS: maximum segment size

An MSS counts the data of a segment when neither IP nor TCP has options. A SYN without the option means 536
octets over IPv4 and 1220 over IPv6; it is left as it is.
"""

from __future__ import annotations

from sim.wire import ip
from sim.wire.buffer import WireError
from sim.wire.checksum import update
from sim.wire.ip import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, Protocol

TCP_HEADER_BYTES = 20
_SYN = 2
_MSS, _MSS_BYTES = 2, 4
_TCP = int(Protocol.TCP)


def largest_mss(packet_bytes: int, version: int) -> int:
    """The MSS whose segments make packets of so many octets."""
    header = IPV4_HEADER_BYTES if version == 4 else IPV6_HEADER_BYTES
    return packet_bytes - header - TCP_HEADER_BYTES


def mss_at(packet: bytearray) -> int:
    """Where the MSS of a SYN stands in a packet; 0 when the packet is no SYN, or has none.

    Takes any packet with a sound IP header.
    """
    at = _tcp_at(packet)
    if not at or len(packet) < at + TCP_HEADER_BYTES or not packet[at + 13] & _SYN:
        return 0
    end = min(at + (packet[at + 12] >> 4) * 4, len(packet))
    at += TCP_HEADER_BYTES
    while at < end and packet[at] != 0:
        size = 1 if packet[at] == 1 else packet[at + 1] if at + 1 < end else 0
        if size < 1 or (size == 1 and packet[at] != 1) or at + size > end:
            return 0
        if packet[at] == _MSS:
            return at + 2 if size == _MSS_BYTES else 0
        at += size
    return 0


def lower_mss(packet: bytearray, at: int, mss: int) -> None:
    """Write a smaller MSS at `at`, which `mss_at` found; the checksum changes with it (RFC 1624)."""
    old = packet[at] << 8 | packet[at + 1]
    if mss >= old:
        return
    tcp = _tcp_at(packet)
    checksum_at = tcp + 16
    before, after = (old, mss) if (at - tcp) % 2 == 0 else (_swapped(old), _swapped(mss))
    checksum = update(packet[checksum_at] << 8 | packet[checksum_at + 1], before, after)
    packet[checksum_at : checksum_at + 2] = checksum.to_bytes(2, "big")
    packet[at : at + 2] = mss.to_bytes(2, "big")


def _swapped(word: int) -> int:
    """An option may lie across two words of the sum: then its octets count the other way (RFC 1071 2)."""
    return (word & 0xFF) << 8 | word >> 8


def _tcp_at(packet: bytearray) -> int:
    """Where TCP begins; 0 where there is none, or a later fragment of it."""
    if packet[0] < 0x60:
        later = (packet[6] << 8 | packet[7]) & ip.OFFSET_MASK
        return 0 if packet[9] != _TCP or later else (packet[0] & 15) * 4
    if packet[6] == _TCP:
        return IPV6_HEADER_BYTES
    try:
        header = ip.parse_quoted(packet)
    except WireError:
        return 0
    return header.upper_offset if header.protocol == _TCP and not header.fragment_offset else 0
