"""The headers in front of ESP or AH: the outer IP header of tunnel mode, and UDP with NAT traversal.

RFC 4301 5.1.2.1 and 5.1.2.2 (which field comes from where), RFC 6040 4.1 (ECN), RFC 6864 (identification),
RFC 3948 2.1 (UDP). IPv4 options and IPv6 extension headers are never copied. The UDP checksum is 0 over IPv4;
over IPv6 it is a real one.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from sim.wire.address import Sock
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.ip import DF, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, Protocol
from sim.wire.udp import UDP_HEADER_BYTES

_PORTS = Struct(">HH")
_UDP_LENGTH_AT = IPV4_HEADER_BYTES + 4
_pack_v4, _pack_v4_udp = (Struct(f">BBHHHHH{size}s").pack_into for size in (8, 12))  # with what ends it
_pack_v6 = Struct(">IHH32s").pack_into
_pack_length = Struct(">H").pack_into
_pack_udp = Struct(">HHHH").pack_into


Number = Callable[[], int]
"""The next identification of a packet that may be fragmented. Fragments are told apart by it between two
addresses, whatever SA they are of, and so all SAs of a node share one (RFC 6864 4.3)."""


class Numbers:
    """Identifications in their order."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last = (self._last + 1) & 0xFFFF
        return self._last


class Outer4:
    """IPv4 in front of ESP or AH, with UDP if there are `ports`; what stays is packed and summed once."""

    __slots__ = ("_constant", "_ends", "_number", "_pack", "_ttl_protocol", "_udp", "size")

    def __init__(
        self,
        src: bytes,
        dst: bytes,
        ttl: int,
        number: Number,
        ports: tuple[int, int] | None = None,
        protocol: Protocol = Protocol.ESP,
    ) -> None:
        self._udp = ports is not None
        self._ends = src + dst + (_PORTS.pack(*ports) if ports else b"")
        self._pack = _pack_v4_udp if ports else _pack_v4
        self._ttl_protocol = ttl << 8 | (Protocol.UDP if ports else protocol)
        self._constant = 0x4500 + self._ttl_protocol + pseudo_header_sum(src, dst, 0, 0) % 0xFFFF
        self._number = number
        self.size = IPV4_HEADER_BYTES + (UDP_HEADER_BYTES if ports else 0)

    def write(self, packet: bytearray, tos: int, df: bool, _label: int = 0) -> None:
        """Fill in the headers, all zero as yet, of a packet that is complete behind them."""
        if df:
            identification, flags = 0, DF  # an atomic datagram: its ID means nothing (RFC 6864 4.1)
        else:
            identification, flags = self._number(), 0
        total = len(packet)
        # As internet_checksum: the sum is not zero, so its negative modulo 0xffff is the checksum.
        checksum = -(self._constant + tos + total + identification + flags) % 0xFFFF
        self._pack(
            packet, 0, 0x45, tos, total, identification, flags, self._ttl_protocol, checksum, self._ends
        )
        if self._udp:
            _pack_length(packet, _UDP_LENGTH_AT, total - IPV4_HEADER_BYTES)


class Outer6:
    """IPv6 around ESP or AH, and UDP if there are `ports`."""

    __slots__ = ("_addresses", "_next_hop_limit", "_ports", "size")

    def __init__(
        self,
        src: bytes,
        dst: bytes,
        ttl: int,
        ports: tuple[int, int] | None = None,
        protocol: Protocol = Protocol.ESP,
    ) -> None:
        self._addresses = src + dst
        self._next_hop_limit = (Protocol.UDP if ports else protocol) << 8 | ttl
        self._ports = ports
        self.size = IPV6_HEADER_BYTES + (UDP_HEADER_BYTES if ports else 0)

    def write(self, packet: bytearray, tos: int, _df: bool, label: int = 0) -> None:
        """As for IPv4, with a flow label; routers never fragment IPv6, so DF has nothing to say."""
        payload = len(packet) - IPV6_HEADER_BYTES
        _pack_v6(packet, 0, 0x60000000 | tos << 20 | label, payload, self._next_hop_limit, self._addresses)
        if self._ports:
            write_udp(packet, IPV6_HEADER_BYTES, *self._ports)


Outer = Outer4 | Outer6


def outer(
    local: Sock, remote: Sock, number: Number, *, encap: bool, ttl: int, protocol: Protocol = Protocol.ESP
) -> Outer:
    """The headers for tunnel mode between two addresses; ValueError when their families differ."""
    (src, _), (dst, _) = local, remote
    if len(src) != len(dst):
        raise ValueError("the ends of a tunnel are of different IP versions")
    ports = (local[1], remote[1]) if encap else None
    if len(src) == 4:
        return Outer4(src, dst, ttl, number, ports, protocol)
    return Outer6(src, dst, ttl, ports, protocol)


def write_udp(packet: bytearray, at: int, src_port: int, dst_port: int) -> None:
    """Fill in the UDP header at `at`, all else being complete; a checksum only over IPv6."""
    length = len(packet) - at
    checksum = 0
    if packet[0] >> 4 == 6:
        _pack_udp(packet, at, src_port, dst_port, length, 0)
        pseudo = pseudo_header_sum(packet[8:24], packet[24:40], Protocol.UDP, length)
        checksum = internet_checksum(memoryview(packet)[at:], pseudo) or 0xFFFF
    _pack_udp(packet, at, src_port, dst_port, length, checksum)
