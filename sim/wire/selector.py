"""Traffic selectors as plain values: what IKEv2 negotiates and what the SPD matches.

RFC 7296 3.13.1 (the octets are in `sim.ike.selectors`), RFC 4301 4.4.1.1.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from sim.wire.address import format_address

ANY_PORTS = (0, 65535)
OPAQUE_PORTS = (65535, 0)
"""A selector for packets whose ports cannot be seen, such as later fragments (RFC 7296 3.13.1)."""

ICMP = frozenset({1, 58})
"""Protocols whose type and code stand for a port."""


class Selector(NamedTuple):
    """A range of addresses, an upper-layer protocol (0 is any) and a range of ports.

    `start` and `end` are packed addresses of one family, both inside the range. For ICMP and ICMPv6 a port
    is the type in its high and the code in its low octet (RFC 7296 3.13.1).
    """

    start: bytes
    end: bytes
    protocol: int = 0
    ports: tuple[int, int] = ANY_PORTS

    @classmethod
    def from_prefix(cls, prefix: str, protocol: int = 0, ports: tuple[int, int] = ANY_PORTS) -> Selector:
        """The selector of a CIDR prefix or a single address; ValueError when it is neither."""
        network = ipaddress.ip_network(prefix, strict=False)
        return cls(network.network_address.packed, network.broadcast_address.packed, protocol, ports)

    @classmethod
    def host(cls, address: bytes, protocol: int = 0, ports: tuple[int, int] = ANY_PORTS) -> Selector:
        return cls(address, address, protocol, ports)

    def matches(self, address: bytes, protocol: int, port: int) -> bool:
        """Whether a packet's address, protocol and port lie inside; the ports of OPAQUE match nothing."""
        return (
            len(address) == len(self.start)
            and self.start <= address <= self.end
            and self.protocol in (0, protocol)
            and self.ports[0] <= port <= self.ports[1]
        )

    def contains(self, other: Selector) -> bool:
        return self == other or self.intersect(other) == other

    def intersect(self, other: Selector) -> Selector | None:
        """What both allow, or None; the narrowing of RFC 7296 2.9."""
        if len(self.start) != len(other.start):
            return None
        if self.protocol and other.protocol and self.protocol != other.protocol:
            return None
        ports = self._common_ports(other)
        start, end = max(self.start, other.start), min(self.end, other.end)
        if start > end or ports is None:
            return None
        return Selector(start, end, self.protocol or other.protocol, ports)

    def _common_ports(self, other: Selector) -> tuple[int, int] | None:
        if self.ports == other.ports:
            return self.ports
        if OPAQUE_PORTS in (self.ports, other.ports):
            # ANY encompasses OPAQUE (RFC 7296 3.13.1); no narrower range does.
            return OPAQUE_PORTS if ANY_PORTS in (self.ports, other.ports) else None
        low, high = max(self.ports[0], other.ports[0]), min(self.ports[1], other.ports[1])
        return (low, high) if low <= high else None

    def __str__(self) -> str:
        text = self._address_text()
        if self.protocol == 0 and self.ports == ANY_PORTS:
            return text
        named = {ANY_PORTS: "any", OPAQUE_PORTS: "opaque"}
        port = named.get(self.ports) or (self._types_text() if self.protocol in ICMP else self._ports_text())
        return f"{text}[{self.protocol or 'any'}/{port}]"

    def _ports_text(self) -> str:
        low, high = self.ports
        return f"{low}-{high}" if low != high else str(low)

    def _types_text(self) -> str:
        """`8` is a type with code 0, `3(4)` one with its code, as strongSwan prints them."""
        low, high = self.ports
        if low == high:
            return f"{low >> 8}({low & 255})" if low & 255 else str(low >> 8)
        return f"{low >> 8}({low & 255})-{high >> 8}({high & 255})"

    def _address_text(self) -> str:
        first, last = ipaddress.ip_address(self.start), ipaddress.ip_address(self.end)
        networks = list(ipaddress.summarize_address_range(first, last))
        if len(networks) == 1:
            return str(networks[0])
        return f"{format_address(self.start)}-{format_address(self.end)}"
