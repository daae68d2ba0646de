"""IPv6 through a box that swaps prefixes: NPTv6 at its inside and outside (RFC 6296).

Nothing but addresses changes, so fragments, ESP and everything else pass; only AH notices. In an ICMPv6 error
the packet that it quotes is swapped back, which leaves the message's own checksum as it was (RFC 6296 3.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.net.nptv6 import PrefixPair
from sim.net.packet import Packet
from sim.net.port import Port
from sim.wire import ip
from sim.wire.buffer import WireError
from sim.wire.icmp import ICMP_HEADER_BYTES, IcmpError, is_error_type
from sim.wire.ip import IPV6_HEADER_BYTES, Protocol

if TYPE_CHECKING:
    from sim.net.nat import NatBox

_SRC, _DST = 8, 24


class PrefixSwap:
    """The pairs of one box, the first that fits first."""

    def __init__(self, box: NatBox, pairs: tuple[PrefixPair, ...]) -> None:
        self._box = box
        self._pairs = pairs

    def outward(self, address: bytes) -> bytes | None:
        pair = next((pair for pair in self._pairs if pair.is_inside(address)), None)
        return None if pair is None else pair.outward(address)

    def inward(self, address: bytes) -> bytes | None:
        pair = next((pair for pair in self._pairs if pair.is_outside(address)), None)
        return None if pair is None else pair.inward(address)

    def swapped(self, packet: Packet, now: int, *, from_outside: bool) -> bool:
        """Whether a sound IPv6 packet was sent on with another address, or dropped for want of one."""
        box = self._box
        src, dst = ip.addresses(packet.data)
        pair = self._pair(src, dst, from_outside=from_outside)
        if pair is None:
            return False
        new = pair.inward(dst) if from_outside else pair.outward(src)
        if new is None:
            box.refuse(packet, "NPTv6 has no counterpart of this address", IcmpError.NET_UNREACHABLE, now)
            return True
        port = box.routes.lookup(new if from_outside else dst)
        if port is None:
            box.drop(packet, "no route", now)
        elif self._may_leave(packet, port, now):
            place, quoted = (_DST, _SRC) if from_outside else (_SRC, _DST)
            packet.data[place : place + 16] = new
            self._swap_quoted(packet.data, pair, quoted, from_outside=from_outside)
            box.transmit(packet, now)
        return True

    def _pair(self, src: bytes, dst: bytes, *, from_outside: bool) -> PrefixPair | None:
        """The pair that a packet crosses the border by; None when it stays on its side, or has none."""
        box = self._box
        if box.is_local(dst):
            return None
        if from_outside:
            return next((pair for pair in self._pairs if pair.is_outside(dst)), None)
        port = box.routes.lookup(dst)
        if port is None or port.name != box.outside:
            return None
        return next((pair for pair in self._pairs if pair.is_inside(src)), None)

    def _may_leave(self, packet: Packet, port: Port, now: int) -> bool:
        """Count the hop, and refuse what is too big, while its sender still knows the packet."""
        if len(packet.data) > port.mtu:
            self._box.refuse(packet, "packet too big", IcmpError.TOO_BIG, now, port.mtu)
        elif not ip.decrement_ttl(packet.data):
            self._box.refuse(packet, "TTL exceeded", IcmpError.TTL_EXCEEDED, now)
        else:
            return True
        return False

    def _swap_quoted(self, data: bytearray, pair: PrefixPair, place: int, *, from_outside: bool) -> None:
        at = _quoted_at(data)
        if at is None:
            return
        start = at + place
        address = bytes(data[start : start + 16])
        fits = pair.is_outside(address) if from_outside else pair.is_inside(address)
        new = (pair.inward(address) if from_outside else pair.outward(address)) if fits else None
        if new is not None:
            data[start : start + 16] = new


def _quoted_at(data: bytearray) -> int | None:
    """Where an ICMPv6 error quotes an IPv6 header; None when it is no error, or quotes less."""
    try:
        header = ip.parse(data)
    except WireError:
        return None
    at = header.upper_offset + ICMP_HEADER_BYTES
    if header.protocol != Protocol.ICMPV6 or header.fragment_offset or len(data) < at + IPV6_HEADER_BYTES:
        return None
    is_error = is_error_type(6, data[header.upper_offset])
    return at if is_error and data[at] >> 4 == 6 else None
