"""TCP segments without data, as scapy builds them."""

from __future__ import annotations

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from sim.wire.address import Sock, format_address

FIN, SYN, RST, ACK = 1, 2, 4, 16


def tcp_segment(src: Sock, dst: Sock, flags: int) -> bytes:
    """A whole packet of the version of its addresses, checksums and all."""
    kind = IP if len(src[0]) == 4 else IPv6
    addresses = kind(src=format_address(src[0]), dst=format_address(dst[0]))
    return bytes(addresses / TCP(sport=src[1], dport=dst[1], flags=flags))
