"""UDP (RFC 768) over IPv4 and IPv6 (RFC 8200 8.1).

    0 source port | 2 destination port | 4 length | 6 checksum | 8 data

UDP over IPv6 with a zero checksum (RFC 6935) is neither sent nor taken, but for ESP in UDP, which has an ICV:
see `sim.ipsec.engine`.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sim.wire import ip
from sim.wire.address import Sock
from sim.wire.buffer import Buf, WireError
from sim.wire.checksum import internet_checksum, pseudo_header_sum

UDP_HEADER_BYTES = 8

_HEAD = Struct(">HHHH")
_PORTS = Struct(">HH")


class UdpHeader(NamedTuple):
    """`length` counts header and data; a `checksum` of 0 means that the sender made none."""

    src_port: int
    dst_port: int
    length: int
    checksum: int


def parse(data: Buf, offset: int) -> UdpHeader:
    """The header at `offset` of a packet; its data are `data[offset + 8 : offset + header.length]`.

    WireError when the length is less than 8 or reaches beyond `data`. Octets after it are surplus that
    receivers ignore (RFC 9868).
    """
    if len(data) < offset + UDP_HEADER_BYTES:
        raise WireError(f"{max(len(data) - offset, 0)} octets are too few for a UDP header")
    header = UdpHeader._make(_HEAD.unpack_from(data, offset))
    if not UDP_HEADER_BYTES <= header.length <= len(data) - offset:
        raise WireError(f"UDP length {header.length}, but {len(data) - offset} octets")
    return header


def build(
    src: Sock,
    dst: Sock,
    payload: Buf,
    *,
    checksum: bool = True,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    df: bool = False,
) -> bytearray:
    """A whole IP packet with one datagram. Without `checksum` IPv4 carries zero; IPv6 always has one.

    ValueError when the payload does not fit.
    """
    length = UDP_HEADER_BYTES + len(payload)
    if length > ip.MAX_PACKET_BYTES:
        raise ValueError(f"{len(payload)} octets do not fit into a UDP datagram")
    total = 0
    if checksum or len(src[0]) == 16:
        words = pseudo_header_sum(src[0], dst[0], ip.Protocol.UDP, length) + src[1] + dst[1] + length
        total = internet_checksum(payload, words) or 0xFFFF
    datagram = _HEAD.pack(src[1], dst[1], length, total) + payload
    return ip.build(
        src[0], dst[0], ip.Protocol.UDP, datagram, ttl=ttl, tos=tos, identification=identification, df=df
    )


def checksum_ok(packet: Buf, upper_offset: int, header: UdpHeader | None = None) -> bool:
    """Whether an IP packet's datagram has a right checksum, or, in IPv4, none. WireError as `parse`.

    `header` is what `parse` gave, if that was asked already.
    """
    header = header or parse(packet, upper_offset)
    if header.checksum == 0:
        return packet[0] >> 4 == 4
    src, dst = ip.addresses(packet)
    words = pseudo_header_sum(src, dst, ip.Protocol.UDP, header.length)
    return internet_checksum(packet[upper_offset : upper_offset + header.length], words) == 0
