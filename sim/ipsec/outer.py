"""The headers in front of ESP: the outer IP header of tunnel mode, and UDP with NAT traversal.

RFC 4301 5.1.2.1 and 5.1.2.2 (which field comes from where), RFC 6040 4.1 (ECN copied), RFC 3948 2.1 (UDP).
The outer TTL, identification and flow label are our own and options are never copied. The UDP checksum is 0
over IPv4; over IPv6 it must be a real one.
"""

from __future__ import annotations

from struct import Struct

from sim.wire.address import Sock
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.ip import DF, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, Protocol
from sim.wire.udp import UDP_HEADER_BYTES

_pack_v4 = Struct(">BBHHHHH8s").pack_into
_pack_v6 = Struct(">IHH32s").pack_into
_pack_udp = Struct(">HHHH").pack_into


class Outer4:
    """IPv4 around ESP. Whatever stays the same for an SA is packed and summed once."""

    __slots__ = ("_addresses", "_constant", "_identification", "_ttl_protocol", "size")

    def __init__(self, src: bytes, dst: bytes, ttl: int, protocol: int = Protocol.ESP) -> None:
        self.size = IPV4_HEADER_BYTES
        self._addresses = src + dst
        self._ttl_protocol = ttl << 8 | protocol
        self._constant = 0x4500 + self._ttl_protocol + pseudo_header_sum(src, dst, 0, 0) % 0xFFFF
        self._identification = 0

    def write(self, packet: bytearray, tos: int, df: bool) -> None:
        """Fill in the headers of a packet that is complete behind them."""
        if df:
            identification, flags = 0, DF  # an atomic datagram: its ID means nothing (RFC 6864 4.1)
        else:
            identification, flags = (self._identification + 1) & 0xFFFF, 0
            self._identification = identification
        total = len(packet)
        # As internet_checksum: the sum is not zero, so its negative modulo 0xffff is the checksum.
        checksum = -(self._constant + tos + total + identification + flags) % 0xFFFF
        _pack_v4(
            packet, 0, 0x45, tos, total, identification, flags, self._ttl_protocol, checksum, self._addresses
        )


class Outer4Udp(Outer4):
    """IPv4 and UDP around ESP."""

    __slots__ = ("_dst_port", "_src_port")

    def __init__(self, src: Sock, dst: Sock, ttl: int) -> None:
        super().__init__(src[0], dst[0], ttl, Protocol.UDP)
        self.size += UDP_HEADER_BYTES
        self._src_port, self._dst_port = src[1], dst[1]

    def write(self, packet: bytearray, tos: int, df: bool) -> None:
        super().write(packet, tos, df)
        length = len(packet) - IPV4_HEADER_BYTES
        _pack_udp(packet, IPV4_HEADER_BYTES, self._src_port, self._dst_port, length, 0)


class Outer6:
    """IPv6 around ESP."""

    __slots__ = ("_addresses", "_next_hop_limit", "size")

    def __init__(self, src: bytes, dst: bytes, ttl: int, protocol: int = Protocol.ESP) -> None:
        self.size = IPV6_HEADER_BYTES
        self._addresses = src + dst
        self._next_hop_limit = protocol << 8 | ttl

    def write(self, packet: bytearray, tos: int, df: bool) -> None:
        """As for IPv4; routers never fragment IPv6, so `df` has nothing to say."""
        payload = len(packet) - IPV6_HEADER_BYTES
        _pack_v6(packet, 0, 0x60000000 | tos << 20, payload, self._next_hop_limit, self._addresses)


class Outer6Udp(Outer6):
    """IPv6 and UDP around ESP."""

    __slots__ = ("_dst_port", "_src_port")

    def __init__(self, src: Sock, dst: Sock, ttl: int) -> None:
        super().__init__(src[0], dst[0], ttl, Protocol.UDP)
        self.size += UDP_HEADER_BYTES
        self._src_port, self._dst_port = src[1], dst[1]

    def write(self, packet: bytearray, tos: int, df: bool) -> None:
        super().write(packet, tos, df)
        write_udp(packet, IPV6_HEADER_BYTES, self._src_port, self._dst_port)


Outer = Outer4 | Outer6


def outer(local: Sock, remote: Sock, *, encap: bool, ttl: int) -> Outer:
    """The headers for tunnel mode between two addresses; ValueError when their families differ."""
    (src, _), (dst, _) = local, remote
    if len(src) != len(dst):
        raise ValueError("the ends of a tunnel are of different IP versions")
    if len(src) == 4:
        return Outer4Udp(local, remote, ttl) if encap else Outer4(src, dst, ttl)
    return Outer6Udp(local, remote, ttl) if encap else Outer6(src, dst, ttl)


def write_udp(packet: bytearray, at: int, src_port: int, dst_port: int) -> None:
    """Fill in the UDP header at `at`, all else being complete; a checksum only over IPv6."""
    length = len(packet) - at
    checksum = 0
    if packet[0] >> 4 == 6:
        _pack_udp(packet, at, src_port, dst_port, length, 0)
        pseudo = pseudo_header_sum(packet[8:24], packet[24:40], Protocol.UDP, length)
        checksum = internet_checksum(memoryview(packet)[at:], pseudo) or 0xFFFF
    _pack_udp(packet, at, src_port, dst_port, length, checksum)
