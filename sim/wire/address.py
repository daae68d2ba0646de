"""Addresses as the hot path holds them: packed octets, 4 for IPv4 and 16 for IPv6."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Sock = tuple[bytes, int]
"""A packed address and a UDP port."""


@lru_cache(4096)
def sock(address: bytes, port: int) -> Sock:
    """One and the same object for equal ones in a row: thousands of SAs and records keep theirs."""
    return address, port


def pack_address(text: str) -> bytes:
    """The packed form of a textual address; ValueError when it is none."""
    return ipaddress.ip_address(text).packed


def format_address(address: bytes) -> str:
    if len(address) == 4:
        return ".".join(map(str, address))
    return str(ipaddress.ip_address(address))


def format_sock(sock: Sock) -> str:
    """`192.0.2.1[4500]`, as strongSwan prints it."""
    return f"{format_address(sock[0])}[{sock[1]}]"
