"""Upper-layer checksums behind a NAT that changed the addresses they cover (RFC 3948 3.1.2, transport mode).

               field at  covers                               without the original addresses
    TCP        16        all                                  made anew
    UDP         6        what its length says; 0 is none      made anew
    UDP-Lite    6        what its coverage says (RFC 3828)    made anew
    DCCP        6        what CsCov says (RFC 4340 9)         made anew
    ICMPv6      2        all                                  made anew
    SCTP                 no addresses (RFC 9260 6.8)          left alone

With the original addresses, which IKE has from the traffic selectors (RFC 7296 2.23.1), the field is updated
by RFC 1624: what was wrong when it was sealed stays wrong. An absent UDP checksum stays absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sim.wire.checksum import internet_checksum, pseudo_header_sum, update_field
from sim.wire.ip import Protocol, addresses

_DCCP, _UDP_LITE = 33, 136
_UDP_BYTES = 8
_DCCP_BYTES = 12

Addresses = tuple[bytes, bytes]
"""Source and destination of a packet where its checksums were made."""

Span = tuple[int, int]
"""How many octets a checksum covers, and the length in its pseudo-header."""


def _all(upper: memoryview) -> Span:
    return len(upper), len(upper)


def _udp(upper: memoryview) -> Span | None:
    """Octets behind the length are no part of the datagram (RFC 9868)."""
    length = int.from_bytes(upper[4:6], "big")
    return (length, length) if _UDP_BYTES <= length <= len(upper) else None


def _udp_lite(upper: memoryview) -> Span | None:
    coverage = int.from_bytes(upper[4:6], "big") or len(upper)
    return (coverage, len(upper)) if _UDP_BYTES <= coverage <= len(upper) else None


def _dccp(upper: memoryview) -> Span | None:
    """The header, and with n > 0 the first n - 1 words behind it (RFC 4340 9.2)."""
    if len(upper) < _DCCP_BYTES:
        return None
    header, partial = upper[4] * 4, upper[5] & 15
    covered = header + (partial - 1) * 4 if partial else len(upper)
    return min(covered, len(upper)), len(upper)


class _Field(NamedTuple):
    at: int
    span: Callable[[memoryview], Span | None]
    zero_is_none: bool = False
    zero_is_ones: bool = False


_FIELDS: dict[int, _Field] = {
    Protocol.TCP: _Field(16, _all),
    Protocol.UDP: _Field(6, _udp, zero_is_none=True, zero_is_ones=True),
    _UDP_LITE: _Field(6, _udp_lite, zero_is_ones=True),
    _DCCP: _Field(6, _dccp),
    Protocol.ICMPV6: _Field(2, _all),
}


def fix_checksum(packet: bytearray, at: int, protocol: int, original: Addresses | None) -> None:
    """Make the upper layer at `at` fit the addresses that the packet has now, in place.

    What is too short for its checksum, or contradicts itself, stays as it is: its receiver refuses it.
    """
    field = _FIELDS.get(protocol)
    if field is None or len(packet) < at + field.at + 2:
        return
    now, where = addresses(packet), at + field.at
    found = int.from_bytes(packet[where : where + 2], "big")
    if (field.zero_is_none and not found) or original == now:
        return
    if original is None:
        made = _made_anew(packet, at, protocol, field, now)
    else:
        made = update_field(found, b"".join(original), b"".join(now))
    if made is not None:
        packet[where : where + 2] = (made or (0xFFFF if field.zero_is_ones else 0)).to_bytes(2, "big")


def _made_anew(packet: bytearray, at: int, protocol: int, field: _Field, now: Addresses) -> int | None:
    upper = bytearray(packet[at:])
    span = field.span(memoryview(upper))
    if span is None:
        return None
    covered, length = span
    upper[field.at : field.at + 2] = b"\0\0"
    return internet_checksum(upper[:covered], pseudo_header_sum(*now, protocol, length))
