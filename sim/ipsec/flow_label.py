"""The flow label of an IPv6 header around a packet (RFC 6438 3, RFC 6437 3; RFC 4301 5.1.2.2).

Packets of one inner flow get one label, and others most probably another: 20 bits of a CRC over addresses,
protocol and ports, or over addresses and the label of an inner IPv6 packet that has one. Fragments of one
datagram stay together, as none of them is asked for its ports.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from sim.wire.ip import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, Protocol
from sim.wire.outer_fields import FlowLabel

_LABEL = 0xFFFFF
_PORTED = frozenset({Protocol.TCP, Protocol.UDP, 33, 132, 136})  # and DCCP, SCTP, UDP-Lite
_PORTS_BYTES = 4

Labeller = Callable[[bytearray], int]


def by_flow(packet: bytearray) -> int:
    """Of a sound packet; never 0, which would say that there is no label."""
    if packet[0] < 0x60:
        whole = not (packet[6] & 0x3F or packet[7])
        key = packet[9:10] + packet[12:IPV4_HEADER_BYTES]
        ports_at = (packet[0] & 15) * 4 if whole and packet[9] in _PORTED else 0
    elif packet[1] & 15 or packet[2] or packet[3]:
        key = bytearray((packet[1] & 15,)) + packet[2:4] + packet[8:IPV6_HEADER_BYTES]
        ports_at = 0
    else:
        key = packet[6:7] + packet[8:IPV6_HEADER_BYTES]
        ports_at = IPV6_HEADER_BYTES if packet[6] in _PORTED else 0
    if ports_at:
        key += packet[ports_at : ports_at + _PORTS_BYTES]
    return crc32(key) % _LABEL + 1


def copied(packet: bytearray) -> int:
    return 0 if packet[0] < 0x60 else int.from_bytes(packet[:4], "big") & _LABEL


def none(_packet: bytearray) -> int:
    return 0


LABELLERS: dict[FlowLabel, Labeller] = {
    FlowLabel.HASH: by_flow,
    FlowLabel.COPY: copied,
    FlowLabel.NONE: none,
}
