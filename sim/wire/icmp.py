"""ICMP (RFC 792, RFC 1122 3.2.2) and ICMPv6 (RFC 4443): echo and the errors that a packet can cause.

    0 type | 1 code | 2 checksum
    4 identifier, sequence number    echo
      0, next-hop MTU                fragmentation needed (RFC 1191 4)
      MTU                            packet too big
      pointer                        ICMPv6 parameter problem
      0                              other errors
    8 echo data, or the start of the packet in error

Neighbour discovery, redirects, source quench and the extensions of RFC 4884 are left out.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from struct import Struct
from typing import NamedTuple

from sim.wire import fragment6, ip
from sim.wire.buffer import Buf, WireError
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.ip import IpHeader, Protocol

ICMP_HEADER_BYTES = 8
ERROR_TOS = 0xC0
"""Errors travel with precedence "internetwork control" (RFC 1812 4.3.2.5)."""

_HEAD = Struct(">BBH4s")
_ECHO = Struct(">HH")
_V6_LENGTH_AT = 4
_OFFSET_AT = 2  # in a fragment header
_MAX_V4_ERROR_BYTES = 576  # RFC 1812 4.3.2.3


class IcmpType(IntEnum):
    ECHO_REPLY = 0
    DESTINATION_UNREACHABLE = 3
    SOURCE_QUENCH = 4
    REDIRECT = 5
    ECHO_REQUEST = 8
    TIME_EXCEEDED = 11
    PARAMETER_PROBLEM = 12


class Icmpv6Type(IntEnum):
    DESTINATION_UNREACHABLE = 1
    PACKET_TOO_BIG = 2
    TIME_EXCEEDED = 3
    PARAMETER_PROBLEM = 4
    ECHO_REQUEST = 128
    ECHO_REPLY = 129
    REDIRECT = 137


class UnreachableCode(IntEnum):
    """Codes of ICMP type 3 (RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1)."""

    NET = 0
    HOST = 1
    PROTOCOL = 2
    PORT = 3
    FRAGMENTATION_NEEDED = 4
    ADMIN_PROHIBITED = 13


class Unreachablev6Code(IntEnum):
    """Codes of ICMPv6 type 1 (RFC 4443 3.1)."""

    NO_ROUTE = 0
    ADMIN_PROHIBITED = 1
    ADDRESS = 3
    PORT = 4


class TimeExceededCode(IntEnum):
    """Codes of time exceeded in both versions."""

    TTL = 0
    REASSEMBLY = 1


class IcmpError(Enum):
    """What went wrong with a packet; each IP version has its own type and code for it."""

    NET_UNREACHABLE = "net unreachable"
    HOST_UNREACHABLE = "host unreachable"
    PROTOCOL_UNREACHABLE = "protocol unreachable"
    PORT_UNREACHABLE = "port unreachable"
    ADMIN_PROHIBITED = "administratively prohibited"
    TTL_EXCEEDED = "TTL exceeded"
    REASSEMBLY_EXCEEDED = "reassembly time exceeded"
    TOO_BIG = "packet too big"
    """Fragmentation needed and DF set, or ICMPv6's packet too big; the only kind with an MTU."""
    FRAGMENT_UNEVEN = "length of a fragment is no multiple of 8"
    """RFC 8200 4.5, as the next two (RFC 7112 5); IPv4 has no error for any of them."""
    FRAGMENT_TOO_FAR = "fragment ends beyond 65535 octets"
    HEADERS_INCOMPLETE = "first fragment without all headers"


_V4_ERRORS: dict[IcmpError, tuple[int, int]] = {
    IcmpError.NET_UNREACHABLE: (IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.NET),
    IcmpError.HOST_UNREACHABLE: (IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.HOST),
    IcmpError.PROTOCOL_UNREACHABLE: (IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.PROTOCOL),
    IcmpError.PORT_UNREACHABLE: (IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.PORT),
    IcmpError.ADMIN_PROHIBITED: (IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.ADMIN_PROHIBITED),
    IcmpError.TTL_EXCEEDED: (IcmpType.TIME_EXCEEDED, TimeExceededCode.TTL),
    IcmpError.REASSEMBLY_EXCEEDED: (IcmpType.TIME_EXCEEDED, TimeExceededCode.REASSEMBLY),
    IcmpError.TOO_BIG: (IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.FRAGMENTATION_NEEDED),
}
_V6_ERRORS: dict[IcmpError, tuple[int, int]] = {
    IcmpError.NET_UNREACHABLE: (Icmpv6Type.DESTINATION_UNREACHABLE, Unreachablev6Code.NO_ROUTE),
    IcmpError.HOST_UNREACHABLE: (Icmpv6Type.DESTINATION_UNREACHABLE, Unreachablev6Code.ADDRESS),
    IcmpError.PROTOCOL_UNREACHABLE: (Icmpv6Type.PARAMETER_PROBLEM, 1),  # unrecognized Next Header
    IcmpError.PORT_UNREACHABLE: (Icmpv6Type.DESTINATION_UNREACHABLE, Unreachablev6Code.PORT),
    IcmpError.ADMIN_PROHIBITED: (Icmpv6Type.DESTINATION_UNREACHABLE, Unreachablev6Code.ADMIN_PROHIBITED),
    IcmpError.TTL_EXCEEDED: (Icmpv6Type.TIME_EXCEEDED, TimeExceededCode.TTL),
    IcmpError.REASSEMBLY_EXCEEDED: (Icmpv6Type.TIME_EXCEEDED, TimeExceededCode.REASSEMBLY),
    IcmpError.TOO_BIG: (Icmpv6Type.PACKET_TOO_BIG, 0),
    IcmpError.FRAGMENT_UNEVEN: (Icmpv6Type.PARAMETER_PROBLEM, 0),  # erroneous header field
    IcmpError.FRAGMENT_TOO_FAR: (Icmpv6Type.PARAMETER_PROBLEM, 0),
    IcmpError.HEADERS_INCOMPLETE: (Icmpv6Type.PARAMETER_PROBLEM, 3),
}
_V4_ERROR_TYPES = frozenset(
    {
        IcmpType.DESTINATION_UNREACHABLE,
        IcmpType.SOURCE_QUENCH,
        IcmpType.REDIRECT,
        IcmpType.TIME_EXCEEDED,
        IcmpType.PARAMETER_PROBLEM,
    }
)
_PROTOCOLS = {4: Protocol.ICMP, 6: Protocol.ICMPV6}


class IcmpMessage(NamedTuple):
    """A message of either version; `rest` is octets 4 to 7, `body` what follows them."""

    version: int
    type: int
    code: int
    checksum: int
    rest: bytes
    body: bytes

    @property
    def is_error(self) -> bool:
        """Whether the message tells of a packet that went wrong, and so must not cause an error itself."""
        return is_error_type(self.version, self.type)

    @property
    def is_echo_request(self) -> bool:
        return self.type == (IcmpType.ECHO_REQUEST if self.version == 4 else Icmpv6Type.ECHO_REQUEST)

    @property
    def is_echo_reply(self) -> bool:
        return self.type == (IcmpType.ECHO_REPLY if self.version == 4 else Icmpv6Type.ECHO_REPLY)

    @property
    def identifier(self) -> int:
        """Of an echo message."""
        return int.from_bytes(self.rest[:2], "big")

    @property
    def sequence(self) -> int:
        """Of an echo message."""
        return int.from_bytes(self.rest[2:], "big")

    @property
    def mtu(self) -> int:
        """Of fragmentation needed or packet too big; 0 from a router older than RFC 1191."""
        return int.from_bytes(self.rest[2:] if self.version == 4 else self.rest, "big")

    @property
    def embedded(self) -> bytes | None:
        """The start of the packet in error, for `ip.parse_quoted`; None when this is no error."""
        return self.body if self.is_error else None


def parse(data: Buf, offset: int) -> IcmpMessage:
    """The message at `offset` of one whole IP packet.

    WireError when it is shorter than its header or its checksum is wrong. A type that is not known is kept.
    """
    if len(data) < offset + ICMP_HEADER_BYTES:
        raise WireError(f"{max(len(data) - offset, 0)} octets are too few for an ICMP header")
    version = data[0] >> 4
    body = bytes(data[offset:])
    if internet_checksum(body, _pseudo_header(version, *ip.addresses(data), len(body))):
        raise WireError("ICMP checksum is wrong")
    kind, code, checksum, rest = _HEAD.unpack_from(body)
    return IcmpMessage(version, kind, code, checksum, rest, body[ICMP_HEADER_BYTES:])


def echo_request(
    src: bytes,
    dst: bytes,
    identifier: int,
    sequence: int,
    payload: Buf = b"",
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    df: bool = False,
) -> bytearray:
    """A whole IP packet that asks `dst` to send `payload` back."""
    kind = IcmpType.ECHO_REQUEST if len(src) == 4 else Icmpv6Type.ECHO_REQUEST
    message = emit(src, dst, kind, 0, _ECHO.pack(identifier, sequence), payload)
    return ip.build(src, dst, _protocol(src), message, ttl=ttl, tos=tos, identification=identification, df=df)


def echo_reply_to(request: Buf, *, ttl: int = 64) -> bytearray:
    """The whole IP packet that answers an echo request sent to a unicast address.

    Addresses change places; TOS, identifier, sequence number and data return as they came (RFC 1122 3.2.2.6).
    The checksum of the request is the caller's to check, with `parse`. ValueError when `request` is no echo
    request; WireError when it is no IP packet.
    """
    header = ip.parse(request)
    asked, answered = _ECHO_TYPES[header.version]
    at = header.upper_offset
    if (
        header.protocol != _PROTOCOLS[header.version]
        or len(request) < at + ICMP_HEADER_BYTES
        or request[at] != asked
    ):
        raise ValueError("this packet is no echo request")
    src, dst = header.dst, header.src
    # RFC 1624 would do, were it not for a reply that is all zero: no update can find its checksum of 0xffff.
    message = emit(src, dst, answered, 0, bytes(request[at + 4 : at + 8]), request[at + 8 :])
    identification = header.identification & 0xFFFF
    return ip.build(
        src, dst, header.protocol, message, ttl=ttl, tos=header.tos, identification=identification
    )


_ECHO_TYPES = {
    4: (IcmpType.ECHO_REQUEST, IcmpType.ECHO_REPLY),
    6: (Icmpv6Type.ECHO_REQUEST, Icmpv6Type.ECHO_REPLY),
}


def error(original: Buf, src: bytes, kind: IcmpError, mtu: int = 0) -> bytearray | None:
    """A whole IP packet from `src` that tells the sender of `original` what went wrong.

    None where an error is forbidden: about an ICMP error, a packet to a multicast or broadcast address or
    from no single host, and a fragment that is not the first (RFC 1122 3.2.2, RFC 4443 2.4 (e)); and about
    octets that are no IP packet. Subnet broadcasts are the caller's to know. `mtu` belongs to TOO_BIG.
    """
    try:
        header = ip.parse(original)
    except WireError:
        return None
    errors = _V4_ERRORS if header.version == 4 else _V6_ERRORS
    if kind not in errors or _forbidden(header, original, kind):
        return None
    message_type, code = errors[kind]
    rest = _rest(header, original, kind, mtu)
    quote = original[: _quote_bytes(header)]
    message = emit(src, header.src, message_type, code, rest, quote)
    tos = ERROR_TOS if header.version == 4 else 0
    return ip.build(src, header.src, _protocol(src), message, tos=tos)


def _rest(header: IpHeader, original: Buf, kind: IcmpError, mtu: int) -> bytes:
    if kind is IcmpError.PROTOCOL_UNREACHABLE and header.version == 6:
        return header.protocol_at.to_bytes(4, "big")
    if kind is IcmpError.FRAGMENT_UNEVEN:
        return _V6_LENGTH_AT.to_bytes(4, "big")
    if kind is IcmpError.FRAGMENT_TOO_FAR:
        place = fragment6.locate(original)
        return (0 if place is None else place.at + _OFFSET_AT).to_bytes(4, "big")
    return (mtu if kind is IcmpError.TOO_BIG else 0).to_bytes(4, "big")


def _quote_bytes(header: IpHeader) -> int:
    """As much of the packet in error as fits (RFC 1812 4.3.2.3, RFC 4443 3.1)."""
    if header.version == 6:
        return ip.IPV6_MIN_MTU - ip.IPV6_HEADER_BYTES - ICMP_HEADER_BYTES
    return _MAX_V4_ERROR_BYTES - ip.IPV4_HEADER_BYTES - ICMP_HEADER_BYTES


def _forbidden(header: IpHeader, original: Buf, kind: IcmpError) -> bool:
    if header.protocol == _PROTOCOLS[header.version] and not _asks(header, original):
        return True
    if header.version == 6:
        source_is_one_host = any(header.src) and header.src[0] != 0xFF
        to_group = header.dst[0] == 0xFF and kind is not IcmpError.TOO_BIG  # RFC 4443 2.4 (e.3)
        return to_group or not source_is_one_host
    return (
        header.fragment_offset > 0
        or header.src[0] in (0, 127)
        or header.src[0] >= 224  # multicast, class E and limited broadcast
        or header.dst[0] >= 224
    )


def _asks(header: IpHeader, original: Buf) -> bool:
    """Whether an ICMP packet is visibly no error: a later fragment or a missing type is not visible."""
    if header.fragment_offset or header.upper_offset >= len(original):
        return False
    return not is_error_type(header.version, original[header.upper_offset])


def is_error_type(version: int, kind: int) -> bool:
    """Whether messages of a type tell of a packet that went wrong."""
    if version == 4:
        return kind in _V4_ERROR_TYPES
    return kind < 128 or kind == Icmpv6Type.REDIRECT  # RFC 4443 2.1 and 2.4 (e.2)


def emit(src: bytes, dst: bytes, kind: int, code: int, rest: bytes, body: Buf) -> bytes:
    """A message between two addresses, of the version that they are of, with its checksum."""
    version = 4 if len(src) == 4 else 6
    length = ICMP_HEADER_BYTES + len(body)
    words = _pseudo_header(version, src, dst, length) + int.from_bytes(_HEAD.pack(kind, code, 0, rest), "big")
    return _HEAD.pack(kind, code, internet_checksum(body, words), rest) + body


def _pseudo_header(version: int, src: bytes, dst: bytes, length: int) -> int:
    """ICMPv6 sums a pseudo-header (RFC 4443 2.3); ICMP does not."""
    return pseudo_header_sum(src, dst, Protocol.ICMPV6, length) if version == 6 else 0


def _protocol(src: bytes) -> Protocol:
    return Protocol.ICMP if len(src) == 4 else Protocol.ICMPV6
