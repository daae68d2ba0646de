"""Who talks to whom in a packet of either IP version, as state tables of boxes on the way know it.

An endpoint is an address and a port; of an ICMP query it is the identifier, on the side that asked, and of
ESP and AH, which have no ports, 0 on both sides (RFC 6146 3.5, RFC 6092 3.2)."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sim.net.translate import UntranslatableError
from sim.wire import icmp, ip
from sim.wire.address import Sock
from sim.wire.buffer import Buf
from sim.wire.icmp import ICMP_HEADER_BYTES, IcmpType, Icmpv6Type
from sim.wire.ip import IpHeader, Protocol

_PORTS = Struct(">HH")
_IDENTIFIER = Struct(">H")
_PORTED = frozenset({Protocol.UDP, Protocol.TCP})
_PORTLESS = frozenset({Protocol.ESP, Protocol.AH})
_ICMP = {4: Protocol.ICMP, 6: Protocol.ICMPV6}
_REQUESTS = frozenset({IcmpType.ECHO_REQUEST, Icmpv6Type.ECHO_REQUEST})
_REPLIES = frozenset({IcmpType.ECHO_REPLY, Icmpv6Type.ECHO_REPLY})
_LEAST_BYTES: dict[int, int] = {Protocol.UDP: 8, Protocol.TCP: 20}
_QUOTED_BYTES = 8
_TCP_FLAGS_AT = 13


class Conversation(NamedTuple):
    """`protocol` is 1 for ICMP of both versions; `flags` are those of TCP, else 0."""

    protocol: int
    src: Sock
    dst: Sock
    flags: int
    asks: bool
    """Whether it may begin a conversation: an echo reply cannot."""


def is_error(data: Buf, header: IpHeader) -> bool:
    """Whether a sound whole packet is an ICMP error, at least long enough to have a header."""
    at = header.upper_offset
    if header.protocol != _ICMP[header.version] or len(data) < at + ICMP_HEADER_BYTES:
        return False
    return icmp.is_error_type(header.version, data[at])


def conversation(data: Buf, header: IpHeader) -> Conversation:
    """That of a sound packet that is no later fragment; UntranslatableError when there is none to follow."""
    if len(data) < header.upper_offset + _LEAST_BYTES.get(header.protocol, 0):
        raise UntranslatableError("too short for its protocol")
    found = _conversation(data, header, header.upper_offset)
    if header.protocol != Protocol.TCP:
        return found
    return found._replace(flags=data[header.upper_offset + _TCP_FLAGS_AT])


def quoted(data: Buf, header: IpHeader) -> tuple[IpHeader, Conversation, int]:
    """Header and conversation of the packet that an ICMP error is about, and where in `data` it starts.

    WireError and UntranslatableError when it is cut off, a later fragment, or has none.
    """
    at = header.upper_offset + ICMP_HEADER_BYTES
    rest = memoryview(data)[at:]
    inner = ip.parse_quoted(rest)
    if inner.version != header.version or inner.fragment_offset:
        raise UntranslatableError("ICMP error about a packet without ports")
    if len(rest) < inner.upper_offset + _QUOTED_BYTES:
        raise UntranslatableError("ICMP error that is cut short")
    return inner, _conversation(rest, inner, inner.upper_offset), at


def _conversation(data: Buf, header: IpHeader, at: int) -> Conversation:
    protocol, src, dst = header.protocol, header.src, header.dst
    if protocol in _PORTED:
        if len(data) < at + _PORTS.size:
            raise UntranslatableError("too short for its protocol")
        src_port, dst_port = _PORTS.unpack_from(data, at)
        return Conversation(protocol, (src, src_port), (dst, dst_port), 0, True)
    if protocol in _PORTLESS:
        return Conversation(protocol, (src, 0), (dst, 0), 0, True)
    if protocol != _ICMP[header.version]:
        raise UntranslatableError(f"protocol {protocol} has no ports")
    if len(data) < at + ICMP_HEADER_BYTES:
        raise UntranslatableError("too short for its protocol")
    kind = data[at]
    (identifier,) = _IDENTIFIER.unpack_from(data, at + 4)
    if kind in _REQUESTS and _of(kind, header):
        return Conversation(Protocol.ICMP, (src, identifier), (dst, 0), 0, True)
    if kind in _REPLIES and _of(kind, header):
        return Conversation(Protocol.ICMP, (src, 0), (dst, identifier), 0, False)
    raise UntranslatableError("ICMP type that is no query")


def _of(kind: int, header: IpHeader) -> bool:
    return (kind >= Icmpv6Type.ECHO_REQUEST) == (header.version == 6)
