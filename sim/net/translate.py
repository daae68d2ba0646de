"""Rewriting one endpoint of an IPv4 packet in place, with incremental checksums (RFC 1624, RFC 3022 4.1).

A wrong checksum stays wrong, a UDP checksum of zero stays zero (RFC 3022 4.1). The packet inside an ICMP
error may be cut short; what it still has is rewritten (RFC 5508 4).
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sim.wire import ip
from sim.wire.address import Sock
from sim.wire.checksum import update, update_field
from sim.wire.icmp import ICMP_HEADER_BYTES, IcmpType
from sim.wire.ip import IpHeader, Protocol

_PORT = Struct(">H")
_PORTS = Struct(">HH")
_QUERIES = frozenset({IcmpType.ECHO_REQUEST, IcmpType.ECHO_REPLY})
_ERRORS = frozenset({IcmpType.DESTINATION_UNREACHABLE, IcmpType.TIME_EXCEEDED, IcmpType.PARAMETER_PROBLEM})
_LEAST_BYTES: dict[int, int] = {Protocol.UDP: 8, Protocol.TCP: 20, Protocol.ICMP: 8}
_QUOTED_BYTES = 8  # what every ICMP error quotes of the upper layer (RFC 792)
_TCP = int(Protocol.TCP)
_CHECKSUM_AT: dict[int, int] = {Protocol.UDP: 6, Protocol.TCP: 16}


class End(NamedTuple):
    """An end of a packet: the offset of its address, and of its port after the start of the upper layer."""

    address_at: int
    port_at: int


SRC = End(12, 0)
DST = End(16, 2)


class UntranslatableError(Exception):
    """This packet has no endpoint to translate; the text is the reason to drop it."""


def is_icmp_error(data: bytearray) -> bool:
    """Of a sound IPv4 packet that is no fragment."""
    if data[9] != Protocol.ICMP:
        return False
    upper = upper_offset(data)
    return len(data) >= upper + ICMP_HEADER_BYTES and data[upper] in _ERRORS


def endpoints(data: bytearray) -> tuple[int, Sock, Sock]:
    """Protocol, source and destination of a sound IPv4 packet that is no fragment.

    The port of an ICMP query is its identifier, on the side that asked; the other side has 0.
    UntranslatableError when there are no ports.
    """
    upper, protocol = upper_offset(data), data[9]
    least = _LEAST_BYTES.get(protocol)
    if least is None:
        raise UntranslatableError(f"protocol {protocol} has no ports")
    if len(data) < upper + least:
        raise UntranslatableError("too short for its protocol")
    return _endpoints(data, upper, protocol)


def tcp_flags(data: bytearray, protocol: int) -> int:
    """The flags of TCP in a packet that `endpoints` understood; 0 for another protocol."""
    return data[upper_offset(data) + 13] if protocol == _TCP else 0


def is_later_fragment(data: bytearray) -> bool:
    """Whether a sound IPv4 packet is a fragment that does not hold the ports."""
    return bool(data[6] & 0x1F or data[7])


def is_echo(data: bytearray, kind: IcmpType) -> bool:
    """Whether a sound IPv4 packet that is no fragment is ICMP of that type."""
    if data[9] != Protocol.ICMP:
        return False
    upper = upper_offset(data)
    return len(data) > upper and data[upper] == kind


def rewrite_address(data: bytearray, end: End, new: bytes) -> None:
    """Replace an address of any sound IPv4 packet, or fragment of one; what it carries keeps its ports.

    The checksum of TCP and UDP follows, and in an ICMP error the packet that it quotes (RFC 5508 4).
    WireError and UntranslatableError for an error whose quotation cannot be read.
    """
    if not is_later_fragment(data):
        if is_icmp_error(data):
            _rewrite_quoted_address(data, DST if end is SRC else SRC, new)
        else:
            upper, protocol = upper_offset(data), data[9]
            _follow(data, upper, protocol, bytes(data[end.address_at : end.address_at + 4]), new)
    _rewrite_address(data, 0, end, new)


def rewrite(data: bytearray, end: End, new: Sock) -> None:
    """Replace an endpoint of a packet that `endpoints` understood."""
    _rewrite(data, 0, upper_offset(data), end, new)


def quoted_endpoints(data: bytearray) -> tuple[int, Sock, Sock]:
    """`endpoints` of the packet that an ICMP error is about."""
    inner, at = _quoted(data)
    return _endpoints(data, at + inner.upper_offset, inner.protocol, at)


def rewrite_error(data: bytearray, outer: End, address: bytes, quoted: End, new: Sock) -> None:
    """Replace an address of an ICMP error, and an endpoint of the packet that it is about."""
    inner, at = _quoted(data)
    upper = at + inner.upper_offset
    end = min(upper + 20, len(data) & ~1)
    before = bytes(data[at:end])
    _rewrite(data, at, upper, quoted, new)
    _update_field(data, upper_offset(data) + 2, before, data[at:end])
    _rewrite_address(data, 0, outer, address)


def _rewrite_quoted_address(data: bytearray, end: End, new: bytes) -> None:
    """Replace an address in the packet that an ICMP error is about; its checksums are no concern of ours."""
    at = upper_offset(data) + ICMP_HEADER_BYTES
    inner = ip.parse_quoted(memoryview(data)[at:])
    if inner.version != 4:
        raise UntranslatableError("ICMP error about a packet of another IP version")
    before = bytes(data[at : at + 20])
    _rewrite_address(data, at, end, new)
    _update_field(data, upper_offset(data) + 2, before, data[at : at + 20])


def _follow(data: bytearray, upper: int, protocol: int, old: bytes, new: bytes) -> None:
    """Bring a TCP or UDP checksum in line with a change of what it covers, if the packet has one."""
    checksum_at = upper + _CHECKSUM_AT.get(protocol, len(data))
    if checksum_at + 2 > len(data):
        return
    (checksum,) = _PORT.unpack_from(data, checksum_at)
    if protocol == Protocol.UDP and checksum == 0:
        return
    checksum = update_field(checksum, old, new)
    if protocol == Protocol.UDP and checksum == 0:
        checksum = 0xFFFF
    _PORT.pack_into(data, checksum_at, checksum)


def upper_offset(data: bytearray) -> int:
    return (data[0] & 15) * 4


def _quoted(data: bytearray) -> tuple[IpHeader, int]:
    """The header of the packet in an ICMP error, and where it starts.

    WireError or UntranslatableError when it is cut off, or has no ports.
    """
    at = upper_offset(data) + ICMP_HEADER_BYTES
    inner = ip.parse_quoted(memoryview(data)[at:])
    if inner.version != 4 or inner.fragment_offset or inner.protocol not in _LEAST_BYTES:
        raise UntranslatableError("ICMP error about a packet without ports")
    if len(data) < at + inner.upper_offset + _QUOTED_BYTES:
        raise UntranslatableError("ICMP error that is cut short")
    return inner, at


def _endpoints(data: bytearray, upper: int, protocol: int, at: int = 0) -> tuple[int, Sock, Sock]:
    src, dst = bytes(data[at + 12 : at + 16]), bytes(data[at + 16 : at + 20])
    if protocol != Protocol.ICMP:
        src_port, dst_port = _PORTS.unpack_from(data, upper)
        return protocol, (src, src_port), (dst, dst_port)
    if data[upper] not in _QUERIES:
        raise UntranslatableError("ICMP type that a NAT cannot translate")
    (identifier,) = _PORT.unpack_from(data, upper + 4)
    if data[upper] == IcmpType.ECHO_REQUEST:
        return protocol, (src, identifier), (dst, 0)
    return protocol, (src, 0), (dst, identifier)


def _rewrite(data: bytearray, at: int, upper: int, end: End, new: Sock) -> None:
    protocol = data[at + 9]
    address, port = new
    old = _rewrite_address(data, at, end, address)
    port_at = upper + (4 if protocol == Protocol.ICMP else end.port_at)
    (old_port,) = _PORT.unpack_from(data, port_at)
    _PORT.pack_into(data, port_at, port)
    if protocol == Protocol.ICMP:
        (checksum,) = _PORT.unpack_from(data, upper + 2)
        _PORT.pack_into(data, upper + 2, update(checksum, old_port, port))
        return
    _follow(data, upper, protocol, old + _PORT.pack(old_port), address + _PORT.pack(port))


def _rewrite_address(data: bytearray, at: int, end: End, address: bytes) -> bytes:
    """Replace an address and keep the header checksum right; the old address."""
    start = at + end.address_at
    old = bytes(data[start : start + 4])
    data[start : start + 4] = address
    _update_field(data, at + 10, old, address)
    return old


def _update_field(data: bytearray, checksum_at: int, old: bytes, new: bytes | bytearray) -> None:
    (checksum,) = _PORT.unpack_from(data, checksum_at)
    _PORT.pack_into(data, checksum_at, update_field(checksum, old, new))
