"""IP headers, ICMP and checksums from one IP version to the other (RFC 7915 4 and 5); whole packets only.

    IPv6 -> IPv4   20 octets less; DF and no identification above 1260 octets, else one and no DF
    IPv4 -> IPv6   20 octets more; without DF in fragments of at most 1280 octets where it is longer

Addresses and ports are the caller's to choose: this is the half of a NAT64 without memory. IPv4 options and
IPv6 extension headers are left behind (RFC 7915 4.1 and 5.1). Left out: multicast, the extensions of RFC
4884."""

from __future__ import annotations

from struct import Struct

from sim.net.translate import UntranslatableError
from sim.wire import icmp, ip
from sim.wire.address import Sock
from sim.wire.checksum import internet_checksum, pseudo_header_sum, update_field
from sim.wire.icmp import IcmpMessage, IcmpType, Icmpv6Type, UnreachableCode, Unreachablev6Code
from sim.wire.ip import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, IPV6_MIN_MTU, IpHeader, Protocol

GROWTH = IPV6_HEADER_BYTES - IPV4_HEADER_BYTES
LONGEST_WITHOUT_DF = IPV6_MIN_MTU - GROWTH

_CHECKSUM_AT: dict[int, int] = {Protocol.UDP: 6, Protocol.TCP: 16}
_PORTS = Struct(">HH")
_WORD = Struct(">H")
_ICMP_CHECKSUM_AT, _ICMP_ID_AT = 2, 4
_PSEUDO = Struct(">16s16sII")
_PARAMETER_PROBLEM_V4, _PARAMETER_PROBLEM_V6 = IcmpType.PARAMETER_PROBLEM, Icmpv6Type.PARAMETER_PROBLEM

_TO_V6_ECHO: dict[int, int] = {
    IcmpType.ECHO_REQUEST: Icmpv6Type.ECHO_REQUEST,
    IcmpType.ECHO_REPLY: Icmpv6Type.ECHO_REPLY,
}
_TO_V4_ECHO: dict[int, int] = {six: four for four, six in _TO_V6_ECHO.items()}

_NO_ROUTE, _PROHIBITED = Unreachablev6Code.NO_ROUTE, Unreachablev6Code.ADMIN_PROHIBITED
_UNREACHABLE_TO_V6 = {
    **dict.fromkeys((0, 1, 5, 6, 7, 8, 11, 12), _NO_ROUTE),
    UnreachableCode.PORT: Unreachablev6Code.PORT,
    **dict.fromkeys((9, 10, 13, 15), _PROHIBITED),
}
"""RFC 7915 4.2; codes 2 and 4 become other types."""
_UNREACHABLE_TO_V4 = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}
"""RFC 7915 5.2."""
_POINTER_TO_V6 = {
    0: 0,
    1: 1,
    2: 4,
    3: 4,
    8: 7,
    9: 6,
    **dict.fromkeys(range(12, 16), 8),
    **dict.fromkeys(range(16, 20), 24),
}
_POINTER_TO_V4 = {
    0: 0,
    1: 1,
    4: 2,
    5: 2,
    6: 9,
    7: 8,
    **dict.fromkeys(range(8, 24), 12),
    **dict.fromkeys(range(24, 40), 16),
}
_PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)  # RFC 1191 7


def to_v4(
    data: bytearray, header: IpHeader, src: Sock, dst: Sock, identification: int | None, fresh: int
) -> bytearray:
    """An IPv6 packet as an IPv4 one. `identification` is that of its fragments, if it came in some.

    `fresh` is one for a packet that came whole and may yet be fragmented.
    """
    upper = bytearray(data[header.upper_offset :])
    _renumber(upper, header, src, dst)
    df = identification is None and IPV4_HEADER_BYTES + len(upper) > LONGEST_WITHOUT_DF
    number = 0 if df else (fresh if identification is None else identification) & 0xFFFF
    protocol = Protocol.ICMP if header.protocol == Protocol.ICMPV6 else header.protocol
    return ip.build(
        src[0], dst[0], protocol, upper, ttl=header.ttl, tos=header.tos, identification=number, df=df
    )


def to_v6(data: bytearray, header: IpHeader, src: Sock, dst: Sock) -> bytearray:
    """An IPv4 packet as an IPv6 one, whole. A UDP checksum that it lacks is made (RFC 7915 4.5)."""
    upper = bytearray(data[header.upper_offset :])
    absent = header.protocol == Protocol.UDP and not any(upper[6:8])
    _renumber(upper, header, src, dst)
    protocol = Protocol.ICMPV6 if header.protocol == Protocol.ICMP else header.protocol
    if absent:
        words = pseudo_header_sum(src[0], dst[0], Protocol.UDP, len(upper))
        _WORD.pack_into(upper, 6, internet_checksum(upper, words) or 0xFFFF)
    return ip.build(src[0], dst[0], protocol, upper, ttl=header.ttl, tos=header.tos)


def error_to_v4(
    message: IcmpMessage, quote: bytes, src: bytes, dst: bytes, mtus: tuple[int, int], tos: int, ttl: int
) -> bytearray:
    """An ICMPv6 error as an ICMP one about `quote`, the translated start of a packet.

    `mtus` are those of the next hops in IPv4 and IPv6. UntranslatableError for what has no counterpart.
    """
    kind, code, rest = _error_to_v4(message, *mtus)
    body = icmp.emit(src, dst, kind, code, rest, quote)
    return ip.build(src, dst, Protocol.ICMP, body, tos=tos, ttl=ttl)


def error_to_v6(
    message: IcmpMessage, quote: bytes, src: bytes, dst: bytes, mtus: tuple[int, int], tos: int, ttl: int
) -> bytearray:
    """The other way; `mtus` in the same order. What would make it longer than 1280 octets is cut off."""
    kind, code, rest = _error_to_v6(message, quote, *mtus)
    most = IPV6_MIN_MTU - IPV6_HEADER_BYTES - icmp.ICMP_HEADER_BYTES
    body = icmp.emit(src, dst, kind, code, rest, quote[:most])
    return ip.build(src, dst, Protocol.ICMPV6, body, tos=tos, ttl=ttl)


def quote_to_v4(quote: bytes, inner: IpHeader, src: Sock, dst: Sock) -> bytes:
    """The start of an IPv6 packet as that of the IPv4 packet that it was or would be (RFC 7915 5.3)."""
    upper = bytearray(quote[inner.upper_offset :])
    _renumber(upper, inner, src, dst)
    protocol = Protocol.ICMP if inner.protocol == Protocol.ICMPV6 else inner.protocol
    packet = ip.build(src[0], dst[0], protocol, upper, ttl=inner.ttl, tos=inner.tos)
    total = min(IPV4_HEADER_BYTES + inner.total_length - inner.upper_offset, ip.MAX_PACKET_BYTES)
    _WORD.pack_into(packet, 2, total)
    df = not inner.mf and total > LONGEST_WITHOUT_DF
    _WORD.pack_into(packet, 6, ip.DF if df else 0)
    ip.write_checksum(packet)
    return bytes(packet)


def quote_to_v6(quote: bytes, inner: IpHeader, src: Sock, dst: Sock) -> bytes:
    """The other way (RFC 7915 4.3)."""
    upper = bytearray(quote[inner.upper_offset :])
    _renumber(upper, inner, src, dst)
    protocol = Protocol.ICMPV6 if inner.protocol == Protocol.ICMP else inner.protocol
    packet = ip.build(src[0], dst[0], protocol, upper, ttl=inner.ttl, tos=inner.tos)
    _WORD.pack_into(packet, 4, inner.total_length - inner.upper_offset)
    return bytes(packet)


def _renumber(upper: bytearray, header: IpHeader, src: Sock, dst: Sock) -> None:
    """New ports, or type and identifier, and a checksum that follows; what is cut off has none."""
    if header.protocol in (Protocol.ICMP, Protocol.ICMPV6):
        _renumber_echo(upper, header, src, dst)
        return
    old = header.src + header.dst + upper[:4]
    _PORTS.pack_into(upper, 0, src[1], dst[1])
    at = _CHECKSUM_AT[header.protocol]
    if len(upper) < at + 2:
        return
    (checksum,) = _WORD.unpack_from(upper, at)
    if header.protocol == Protocol.UDP and checksum == 0:
        return
    checksum = _adjust(checksum, old, src[0] + dst[0] + upper[:4])
    _WORD.pack_into(upper, at, checksum or (0xFFFF if header.protocol == Protocol.UDP else 0))


def _renumber_echo(upper: bytearray, header: IpHeader, src: Sock, dst: Sock) -> None:
    """Of source and destination one has the identifier, the other 0. ICMPv6 sums addresses, ICMP does not."""
    length = header.total_length - header.upper_offset
    old = bytes(upper[:2] + upper[_ICMP_ID_AT : _ICMP_ID_AT + 2])
    upper[0] = (_TO_V4_ECHO if header.version == 6 else _TO_V6_ECHO)[upper[0]]
    _WORD.pack_into(upper, _ICMP_ID_AT, src[1] or dst[1])
    new = bytes(upper[:2] + upper[_ICMP_ID_AT : _ICMP_ID_AT + 2])
    if header.version == 6:
        old = _PSEUDO.pack(header.src, header.dst, length, Protocol.ICMPV6) + old
    else:
        new = _PSEUDO.pack(src[0], dst[0], length, Protocol.ICMPV6) + new
    (checksum,) = _WORD.unpack_from(upper, _ICMP_CHECKSUM_AT)
    _WORD.pack_into(upper, _ICMP_CHECKSUM_AT, _adjust(checksum, old, new))


def _adjust(checksum: int, old: bytes, new: bytes) -> int:
    """RFC 1624 for fields of different sizes, both of whole words: zeros in front add nothing."""
    size = max(len(old), len(new))
    return update_field(checksum, old.rjust(size, b"\0"), new.rjust(size, b"\0"))


def _error_to_v4(message: IcmpMessage, mtu4: int, mtu6: int) -> tuple[int, int, bytes]:
    kind, code, none = message.type, message.code, bytes(4)
    if kind == Icmpv6Type.DESTINATION_UNREACHABLE and code in _UNREACHABLE_TO_V4:
        return IcmpType.DESTINATION_UNREACHABLE, _UNREACHABLE_TO_V4[code], none
    if kind == Icmpv6Type.PACKET_TOO_BIG:
        mtu = max(min(message.mtu - GROWTH, mtu4, mtu6 - GROWTH), 68)
        return IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.FRAGMENTATION_NEEDED, mtu.to_bytes(4, "big")
    if kind == Icmpv6Type.TIME_EXCEEDED:
        return IcmpType.TIME_EXCEEDED, code, none
    if kind == _PARAMETER_PROBLEM_V6 and code == 1:
        return IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.PROTOCOL, none
    pointer = _POINTER_TO_V4.get(int.from_bytes(message.rest, "big"))
    if kind == _PARAMETER_PROBLEM_V6 and code == 0 and pointer is not None:
        return IcmpType.PARAMETER_PROBLEM, 0, bytes((pointer, 0, 0, 0))
    raise UntranslatableError("ICMP error that IPv4 has not")


def _error_to_v6(message: IcmpMessage, quote: bytes, mtu4: int, mtu6: int) -> tuple[int, int, bytes]:
    kind, code, none = message.type, message.code, bytes(4)
    if kind == IcmpType.TIME_EXCEEDED:
        return Icmpv6Type.TIME_EXCEEDED, code, none
    if kind == IcmpType.DESTINATION_UNREACHABLE:
        if code == UnreachableCode.FRAGMENTATION_NEEDED:
            told = message.mtu or _plateau(int.from_bytes(quote[4:6], "big") + IPV4_HEADER_BYTES)
            mtu = max(IPV6_MIN_MTU, min(told + GROWTH, mtu6, mtu4 + GROWTH))
            return Icmpv6Type.PACKET_TOO_BIG, 0, mtu.to_bytes(4, "big")
        if code == UnreachableCode.PROTOCOL:
            return _PARAMETER_PROBLEM_V6, 1, (6).to_bytes(4, "big")
        if code in _UNREACHABLE_TO_V6:
            return Icmpv6Type.DESTINATION_UNREACHABLE, _UNREACHABLE_TO_V6[code], none
    pointer = _POINTER_TO_V6.get(message.rest[0])
    if kind == _PARAMETER_PROBLEM_V4 and code in (0, 2) and pointer is not None:
        return _PARAMETER_PROBLEM_V6, 0, pointer.to_bytes(4, "big")
    raise UntranslatableError("ICMP error that IPv6 has not")


def _plateau(size: int) -> int:
    """What a router older than RFC 1191 may have meant (RFC 7915 4.2)."""
    return next((mtu for mtu in _PLATEAUS if mtu < size), _PLATEAUS[-1])
