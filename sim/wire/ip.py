"""IPv4 (RFC 791) and IPv6 (RFC 8200) headers.

    IPv4, offsets in octets                          IPv6
     0 version 4, IHL | DSCP, ECN | total length      0 version 6, traffic class, flow label
     4 identification | 0 DF MF, fragment offset      4 payload length | next header | hop limit
     8 TTL | protocol | header checksum               8 source
    12 source                                        24 destination
    16 destination                                   40 extension headers or upper layer
    20 options (IHL > 5)

Extension headers are skipped: Hop-by-Hop Options, Routing, Fragment and Destination Options. AH and ESP
end the walk, and so do Mobility, HIP and Shim6, which are upper layers here. Options are carried, not
interpreted; jumbograms (RFC 2675) are refused, because their payload length of zero contradicts the octets.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from sim.wire.buffer import Buf, WireError
from sim.wire.checksum import internet_checksum
from sim.wire.value import quick

IPV4_HEADER_BYTES = 20
IPV6_HEADER_BYTES = 40
MAX_PACKET_BYTES = 65535
MAX_V6_PACKET_BYTES = MAX_PACKET_BYTES + IPV6_HEADER_BYTES
"""Its length does not count the header, so this is the longest packet of all."""
IPV6_MIN_MTU = 1280

DF = 0x4000
MF = 0x2000
OFFSET_MASK = 0x1FFF

# For TTL, protocol and checksum as one number: a hop takes 1 from the TTL and adds 0x0100 to the checksum in
# one's complement (RFC 1624 equation 3), which carries from 0xfeff on.
TWO_HOPS = 2 << 24
ONE_HOP = 0x00FFFF00
ONE_HOP_CARRY = 0x0100FEFF

_V4 = Struct(">BBHHHBBH4s4s")
_V6 = Struct(">IHBB16s16s")
_V4_ADDRESSES = Struct("4s4s")
_V6_ADDRESSES = Struct("16s16s")
_FRAGMENT = Struct(">BBHI")  # next header, reserved, offset and M, identification (RFC 8200 4.5)


@quick
class Protocol(IntEnum):
    """IANA protocol numbers that this project names; any other stays a plain int."""

    IPV6_HOP = 0
    ICMP = 1
    IPV4 = 4
    TCP = 6
    UDP = 17
    IPV6 = 41
    IPV6_ROUTE = 43
    IPV6_FRAGMENT = 44
    ESP = 50
    AH = 51
    ICMPV6 = 58
    NO_NEXT = 59
    IPV6_DEST = 60
    IPCOMP = 108
    AGGFRAG = 144


_EXTENSIONS = frozenset(
    {Protocol.IPV6_HOP, Protocol.IPV6_ROUTE, Protocol.IPV6_FRAGMENT, Protocol.IPV6_DEST},
)


class IpHeader(NamedTuple):
    """What both versions' headers say. For the cold path: the forwarding path unpacks what it needs.

    `tos` is the whole octet, DSCP and ECN (RFC 2474, RFC 3168), in IPv6 the traffic class. `protocol` is that
    of the upper layer, which starts at `upper_offset`; `protocol_at` is the offset of the octet that names
    it, which IPv6 may keep in an extension header. `fragment_offset` is in octets, `total_length` counts the
    IP header. In an IPv6 packet `df` is true, and identification and `mf` are those of its fragment header.
    """

    version: int
    src: bytes
    dst: bytes
    ttl: int
    tos: int
    identification: int
    df: bool
    mf: bool
    fragment_offset: int
    total_length: int
    protocol: int
    protocol_at: int
    upper_offset: int

    @property
    def is_fragment(self) -> bool:
        return self.mf or self.fragment_offset > 0


def parse(data: Buf) -> IpHeader:
    """The header of exactly one packet.

    WireError when a length contradicts another or the octets at hand, when octets follow the packet, and when
    the IPv4 header checksum is wrong.
    """
    header = parse_quoted(data)
    if header.total_length != len(data):
        raise WireError(f"IP total length {header.total_length}, but {len(data)} octets")
    if header.version == 4 and internet_checksum(data[: header.upper_offset]):
        raise WireError("IPv4 header checksum is wrong")
    return header


def parse_quoted(data: Buf) -> IpHeader:
    """The header at the start of a packet that is cut short, as an ICMP error quotes it.

    Neither the octets after the headers nor the IPv4 header checksum are checked: routers on the way quote
    what they had already rewritten (RFC 1812 4.3.2.3).
    """
    if not data:
        raise WireError("an IP packet without octets")
    version = data[0] >> 4
    if version == 4:
        return _parse_v4(data)
    if version == 6:
        return _parse_v6(data)
    raise WireError(f"IP version {version}")


def build(
    src: bytes,
    dst: bytes,
    protocol: int,
    payload: Buf,
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    df: bool = False,
    flow_label: int = 0,
) -> bytearray:
    """One packet without options; the version follows from the size of `src`.

    `identification` and `df` are IPv4's and `flow_label` is IPv6's: the other version has no such field.
    ValueError for mixed families or more than 65535 octets.
    """
    if len(src) != len(dst):
        raise ValueError("source and destination are of different IP versions")
    if len(src) == 16:
        if len(payload) > MAX_PACKET_BYTES:
            raise ValueError(f"{len(payload)} octets do not fit into an IPv6 packet")
        first = 0x60000000 | tos << 20 | flow_label
        packet = bytearray(_V6.pack(first, len(payload), protocol, ttl, src, dst))
    else:
        total = IPV4_HEADER_BYTES + len(payload)
        if total > MAX_PACKET_BYTES:
            raise ValueError(f"{len(payload)} octets do not fit into an IPv4 packet")
        flags = DF if df else 0
        packet = bytearray(_V4.pack(0x45, tos, total, identification, flags, ttl, protocol, 0, src, dst))
        checksum = internet_checksum(packet)
        packet[10] = checksum >> 8
        packet[11] = checksum & 0xFF
    packet += payload
    return packet


def decrement_ttl(ip: bytearray) -> bool:
    """Take one from the TTL or hop limit, in place; False, and nothing changed, when it would reach zero.

    `ip` is a packet whose header is known to be sound.
    """
    if ip[0] >= 0x60:
        if ip[7] <= 1:
            return False
        ip[7] -= 1
        return True
    ttl = ip[8]
    if ttl <= 1:
        return False
    ip[8] = ttl - 1
    # The TTL is the high octet of its word, so RFC 1624 equation 3 adds 0x0100 to the checksum in one's
    # complement; below 0xfe00 that neither carries nor meets the negative zero.
    high = ip[10]
    if high < 0xFE:
        ip[10] = high + 1
    else:
        _add_0x0100(ip)
    return True


def addresses(ip: Buf) -> tuple[bytes, bytes]:
    """Source and destination of a packet whose header is known to be sound."""
    if ip[0] >= 0x60:
        return _V6_ADDRESSES.unpack_from(ip, 8)
    return _V4_ADDRESSES.unpack_from(ip, 12)


def dont_fragment(ip: Buf) -> bool:
    """Whether routers must not fragment a sound packet: IPv4 with DF, and all IPv6."""
    return ip[0] >= 0x60 or bool(ip[6] & 0x40)


def write_checksum(ip: bytearray) -> None:
    """Compute the IPv4 header checksum anew, in place; nothing to do in IPv6."""
    if ip[0] >= 0x60:
        return
    ip[10:12] = b"\0\0"
    ip[10:12] = internet_checksum(ip[: (ip[0] & 15) * 4]).to_bytes(2, "big")


def _add_0x0100(ip: bytearray) -> None:
    checksum = (ip[10] << 8 | ip[11]) + 0x0100
    if checksum >= 0xFFFF:
        checksum -= 0xFFFF
    ip[10] = checksum >> 8
    ip[11] = checksum & 0xFF


def _parse_v4(data: Buf) -> IpHeader:
    if len(data) < IPV4_HEADER_BYTES:
        raise WireError(f"{len(data)} octets are too few for an IPv4 header")
    first, tos, total, identification, flags, ttl, protocol, _, src, dst = _V4.unpack_from(data)
    size = (first & 15) * 4
    if size < IPV4_HEADER_BYTES:
        raise WireError(f"IPv4 header length {size}")
    if total < size:
        raise WireError(f"IPv4 total length {total} is less than its header length {size}")
    if len(data) < size:
        raise WireError(f"IPv4 header length {size}, but {len(data)} octets")
    df, mf, offset = flags & DF != 0, flags & MF != 0, (flags & OFFSET_MASK) * 8
    return IpHeader(4, src, dst, ttl, tos, identification, df, mf, offset, total, protocol, 9, size)


def _parse_v6(data: Buf) -> IpHeader:
    if len(data) < IPV6_HEADER_BYTES:
        raise WireError(f"{len(data)} octets are too few for an IPv6 header")
    first, payload, protocol, ttl, src, dst = _V6.unpack_from(data)
    end = min(len(data), IPV6_HEADER_BYTES + payload)
    at, offset, fragment, identification = 6, IPV6_HEADER_BYTES, 0, 0
    fragmented = False
    while protocol in _EXTENSIONS:
        size = _extension_bytes(data, protocol, offset, end)
        if protocol == Protocol.IPV6_FRAGMENT:
            if fragmented:
                raise WireError(f"a second fragment header at offset {offset}")
            fragmented = True
            _, _, fragment, identification = _FRAGMENT.unpack_from(data, offset)
        protocol, at, offset = data[offset], offset, offset + size
        if fragment & 0xFFF8:
            break  # what follows is from the middle of the original packet
    return IpHeader(
        version=6,
        src=src,
        dst=dst,
        ttl=ttl,
        tos=first >> 20 & 0xFF,
        identification=identification,
        df=True,
        mf=bool(fragment & 1),
        fragment_offset=fragment & 0xFFF8,
        total_length=IPV6_HEADER_BYTES + payload,
        protocol=protocol,
        protocol_at=at,
        upper_offset=offset,
    )


def _extension_bytes(data: Buf, protocol: int, offset: int, end: int) -> int:
    """The size of the extension header at `offset`, all of which lies before `end` (RFC 8200 4.2 to 4.6)."""
    if protocol == Protocol.IPV6_HOP and offset != IPV6_HEADER_BYTES:
        raise WireError(f"Hop-by-Hop Options at offset {offset} do not follow the IPv6 header")
    if offset + 8 > end:
        raise WireError(f"extension header {protocol} at offset {offset} is cut off")
    size = 8 if protocol == Protocol.IPV6_FRAGMENT else 8 + 8 * data[offset + 1]
    if offset + size > end:
        raise WireError(
            f"extension header {protocol} at offset {offset} is cut off after {end - offset} octets"
        )
    return size
