"""TCP segments without data, as scapy builds them."""

from __future__ import annotations

from scapy.layers.inet import IP, TCP

from sim.wire.address import Sock, format_address

FIN, SYN, RST, ACK = 1, 2, 4, 16


def tcp_segment(src: Sock, dst: Sock, flags: int) -> bytes:
    """A whole IPv4 packet, checksums and all."""
    addresses = IP(src=format_address(src[0]), dst=format_address(dst[0]))
    return bytes(addresses / TCP(sport=src[1], dport=dst[1], flags=flags))
