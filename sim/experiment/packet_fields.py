"""Header fields by name, for people: IPv4, IPv6, UDP, TCP, ICMP and ICMPv6 as tables.

RFC 791, RFC 8200, RFC 768, RFC 9293, RFC 792, RFC 4443. Options and extension headers stay in one piece.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sim.wire import ip
from sim.wire.ip import Protocol


@dataclass(frozen=True, slots=True)
class Field:
    """Some octets of a packet in a row. `plain` is empty unless they are encrypted and the keys are known."""

    offset: int
    octets: bytes
    layer: str
    name: str
    value: str
    source: str
    plain: bytes = b""


def field(packet: bytes, at: int, end: int, layer: str, name: str, value: str, source: str) -> Field:
    """The octets from `at` up to `end`; `source` is where the field is defined."""
    return Field(at, packet[at:end], layer, name, value, source)


def rest(packet: bytes, at: int, layer: str, name: str, source: str) -> Field:
    """Everything from `at` on."""
    return field(packet, at, len(packet), layer, name, f"{len(packet) - at} octets", source)


def protocol_name(number: int) -> str:
    known = {int(item): item.name for item in Protocol}
    return f"{number} ({known[number]})" if number in known else str(number)


def ip_fields(packet: bytes, header: ip.IpHeader, layer: str) -> Iterator[Field]:
    """Everything before the upper layer."""
    layout, (name, source) = (_IPV4, _OPTIONS) if header.version == 4 else (_IPV6, _EXTENSIONS)
    yield from _header(packet, 0, layer, layout)
    at = _size(layout)
    if header.upper_offset > at:
        size = f"{header.upper_offset - at} octets"
        yield field(packet, at, header.upper_offset, layer, name, size, source)


def transport_fields(packet: bytes, at: int, protocol: int, prefix: str = "") -> Iterator[Field]:
    """The upper layer at `at`: its header when all of it is there, and what it carries."""
    name, layout = _TRANSPORTS.get(protocol, (protocol_name(protocol), ()))
    layer = prefix + name
    if len(packet) >= at + _size(layout):
        yield from _header(packet, at, layer, layout)
        start, at = at, at + _size(layout)
        if protocol == Protocol.TCP:
            end = min(start + _tcp_size(packet[start + 12]), len(packet))
            if end > at:
                yield field(packet, at, end, layer, "options", f"{end - at} octets", "RFC 9293 3.2")
                at = end
    if at < len(packet):
        yield rest(packet, at, layer, "data", "")


def _header(packet: bytes, at: int, layer: str, layout: _Layout) -> Iterator[Field]:
    for name, size, show, source in layout:
        yield field(packet, at, at + size, layer, name, show(packet[at : at + size]), source)
        at += size


_Show = Callable[[bytes], str]
_Layout = tuple[tuple[str, int, _Show, str], ...]
"""Name, octets, how to show them, where they are defined."""


def _size(layout: _Layout) -> int:
    return sum(size for _, size, _, _ in layout)


def _number(octets: bytes) -> str:
    return str(int.from_bytes(octets, "big"))


def _hex(octets: bytes) -> str:
    return f"0x{octets.hex()}"


def _address(octets: bytes) -> str:
    return str(ipaddress.ip_address(octets))


def _protocol(octets: bytes) -> str:
    return protocol_name(octets[0])


def _version(octets: bytes) -> str:
    return f"{octets[0] >> 4}, {(octets[0] & 15) * 4} octets"


def _traffic_class(octets: bytes) -> str:
    return f"DSCP {octets[0] >> 2}, ECN {octets[0] & 3}"


def _fragment(octets: bytes) -> str:
    word = int.from_bytes(octets, "big")
    names = [name for bit, name in ((ip.DF, "DF"), (ip.MF, "MF")) if word & bit]
    return ", ".join([*names, f"offset {(word & ip.OFFSET_MASK) * 8}"])


def _udp_checksum(octets: bytes) -> str:
    return _hex(octets) if any(octets) else "none"


def _tcp_size(octet: int) -> int:
    return (octet >> 4) * 4


def _tcp_flags(octets: bytes) -> str:
    names = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
    return " ".join(name for bit, name in enumerate(names) if octets[0] >> bit & 1)


_OPTIONS = ("options", "RFC 791 3.1")
_EXTENSIONS = ("extension headers", "RFC 8200 4")

_IPV4: _Layout = (
    ("version, header length", 1, _version, "RFC 791 3.1"),
    ("type of service", 1, _traffic_class, "RFC 2474 3, RFC 3168 5"),
    ("total length", 2, _number, "RFC 791 3.1"),
    ("identification", 2, _hex, "RFC 791 3.1"),
    ("flags, fragment offset", 2, _fragment, "RFC 791 3.1"),
    ("time to live", 1, _number, "RFC 791 3.1"),
    ("protocol", 1, _protocol, "RFC 791 3.1"),
    ("header checksum", 2, _hex, "RFC 791 3.1"),
    ("source", 4, _address, "RFC 791 3.1"),
    ("destination", 4, _address, "RFC 791 3.1"),
)
_IPV6: _Layout = (
    ("version, traffic class, flow label", 4, _hex, "RFC 8200 3"),
    ("payload length", 2, _number, "RFC 8200 3"),
    ("next header", 1, _protocol, "RFC 8200 3"),
    ("hop limit", 1, _number, "RFC 8200 3"),
    ("source", 16, _address, "RFC 8200 3"),
    ("destination", 16, _address, "RFC 8200 3"),
)
_UDP: _Layout = (
    ("source port", 2, _number, "RFC 768"),
    ("destination port", 2, _number, "RFC 768"),
    ("length", 2, _number, "RFC 768"),
    ("checksum", 2, _udp_checksum, "RFC 768"),
)
_TCP: _Layout = (
    ("source port", 2, _number, "RFC 9293 3.1"),
    ("destination port", 2, _number, "RFC 9293 3.1"),
    ("sequence number", 4, _number, "RFC 9293 3.1"),
    ("acknowledgment number", 4, _number, "RFC 9293 3.1"),
    ("data offset", 1, lambda octets: f"{_tcp_size(octets[0])} octets", "RFC 9293 3.1"),
    ("flags", 1, _tcp_flags, "RFC 9293 3.1"),
    ("window", 2, _number, "RFC 9293 3.1"),
    ("checksum", 2, _hex, "RFC 9293 3.1"),
    ("urgent pointer", 2, _number, "RFC 9293 3.1"),
)
_ICMP: _Layout = (
    ("type", 1, _number, "RFC 792"),
    ("code", 1, _number, "RFC 792"),
    ("checksum", 2, _hex, "RFC 792"),
    ("rest of the header", 4, _hex, "RFC 792"),
)
_ICMPV6: _Layout = (
    ("type", 1, _number, "RFC 4443 2.1"),
    ("code", 1, _number, "RFC 4443 2.1"),
    ("checksum", 2, _hex, "RFC 4443 2.1"),
    ("rest of the header", 4, _hex, "RFC 4443 2.1"),
)
_TRANSPORTS: dict[int, tuple[str, _Layout]] = {
    Protocol.UDP: ("UDP", _UDP),
    Protocol.TCP: ("TCP", _TCP),
    Protocol.ICMP: ("ICMP", _ICMP),
    Protocol.ICMPV6: ("ICMPv6", _ICMPV6),
}
