"""What becomes of a packet whose protected form is longer than its path allows (RFC 4301 7, 8).

    inner packet          outer DF        what happens
    IPv4 with DF, IPv6    copied or set   dropped; its source is told the size that fits
    IPv4 with DF, IPv6    clear           sealed whole; the outer packet goes in fragments
    IPv4 without DF       set             fragmented, each piece sealed ("red-side", "pre-fragmentation")
    IPv4 without DF       copied, clear   as `fragment` says: each piece sealed, or the outer packet in pieces

The path's MTU is that of the interface, or less where ICMP has said so. No IPv6 source is told less than
1280 octets, no IPv4 source less than 68: what is not longer than that goes in outer fragments.
"""

from __future__ import annotations

from sim.ipsec.engine import Engine
from sim.ipsec.iptfs.items import Queued
from sim.ipsec.nesting import MAX_DEPTH
from sim.ipsec.pmtu import SaMtus, cuts_before
from sim.ipsec.sad import MAX_FLOWS, OutboundSa
from sim.ipsec.traffic import FlowKey, classify, flow_key, memorable
from sim.ipsec.verdict import Drop, Verdict
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.net.port import MIN_MTU
from sim.wire import ip
from sim.wire.buffer import WireError
from sim.wire.esp import Mode
from sim.wire.fragment import fragment
from sim.wire.icmp import IcmpError

TOO_BIG = "packet too big"
MOST_OVERHEAD = 160
"""More than protection makes any packet longer, unless padding is asked for."""


class Fitting:
    """Of one node. `changed` whenever an SA, a policy, a route or an MTU is another one."""

    def __init__(self, node: IpNode, engine: Engine, mtus: SaMtus) -> None:
        self._node = node
        self._engine = engine
        self._mtus = mtus
        self._longest: dict[FlowKey, int] = {}
        self.smallest = self.safe = 0
        """Outer packets of up to so many octets fit on every path, and inner ones whatever protects them."""

    def changed(self) -> None:
        self._longest.clear()
        self.safe = self.smallest - MOST_OVERHEAD * (MAX_DEPTH if self._engine.spd.nesting else 1)

    def measure(self, smallest_port_mtu: int) -> None:
        """An MTU is another one."""
        self.smallest = min(smallest_port_mtu, self._mtus.smallest)
        self.changed()

    def mtu(self, sa: OutboundSa) -> int:
        """The longest outer packet of an SA that its path takes, as far as is known.

        Of one that is inside another it is the longest for that one.
        """
        known = self._mtus.of(sa.spec.spi_in)
        if around := self._engine.around(sa.spec.spi_in):
            return min(self.longest(around[0].outbound), known)
        _, mtu = self._node.way(sa.spec.remote[0])
        return min(mtu, known)

    def longest(self, sa: OutboundSa) -> int:
        """The longest packet for an SA that fits."""
        return sa.max_inner(self.mtu(sa))

    def fits(self, data: bytearray) -> bool:
        """Whether the protected form of a packet that leaves surely fits; also if there is none."""
        longest = self._longest.get(flow_key(data))
        return len(data) <= (self._look(data) if longest is None else longest)

    def has_grown(self, data: bytearray, sealed: bytearray) -> bool:
        """Whether a packet does not fit although it seemed so: its size was not known before it was sealed.

        Then the SA counts it as not sent.
        """
        spi_in = self._engine.protecting(data)
        if spi_in is None:
            return False
        sa = self._engine.sad[spi_in].outbound
        if len(sealed) <= self._outermost_mtu(sa):
            return False
        sa.discount(len(data))
        return True

    def send(self, packet: Packet, now: int) -> Verdict | None:
        """Do with a packet that does not fit what is right; a verdict where no SA takes it, or not now."""
        data = packet.data
        spi_in = self._engine.protecting(data)
        assert spi_in is not None, "what is too long for an SA has one"
        sa = self._engine.sad[spi_in].outbound
        mtu = self.mtu(sa)
        longest = sa.max_inner(mtu)
        if sa.spec.mode is Mode.IPTFS:
            return self._queue(packet, sa, longest, now)
        if self._stays_whole(data, sa):
            return self._seal_whole(packet, sa, mtu, longest, now)
        if not ip.dont_fragment(data) and cuts_before(sa.spec) and longest >= (data[0] & 15) * 4 + 8:
            return self._seal_pieces(packet, fragment(data, longest), sa, now)
        return self._cut(packet, sa, mtu, now)

    def _outermost_mtu(self, sa: OutboundSa) -> int:
        around = self._engine.around(sa.spec.spi_in)
        return self.mtu(around[-1].outbound if around else sa)

    def _queue(self, packet: Packet, sa: OutboundSa, longest: int, now: int) -> Verdict | None:
        """An AGGFRAG SA whose peer takes no pieces (RFC 9347 2.2.6) itself cuts what may be cut."""
        if ip.dont_fragment(packet.data):
            self._node.refuse(packet, TOO_BIG, IcmpError.TOO_BIG, now, longest)
            return None
        verdict = sa.handler(packet.data, now)
        if isinstance(verdict, Queued):
            verdict.tag = packet
        return verdict if isinstance(verdict, Drop) else None

    def _look(self, data: bytearray) -> int:
        """The longest packet of the flow that a packet begins; what IPComp makes smaller shows only then."""
        spi_in = self._engine.protecting(data)
        longest = ip.MAX_PACKET_BYTES
        if spi_in is not None and not self._engine.sad[spi_in].outbound.spec.cpi_out:
            longest = self.longest(self._engine.sad[spi_in].outbound)
        try:
            key = memorable(data, *classify(data))
        except WireError:
            return longest
        if len(self._longest) >= MAX_FLOWS:
            self._longest.clear()
        self._longest[key] = longest
        return longest

    def _stays_whole(self, data: bytearray, sa: OutboundSa) -> bool:
        """Whether neither a packet nor its outer one may be fragmented.

        The source of IPv6 may cut what it sends, and so an outer packet around one of its own.
        """
        spec = sa.spec
        if data[0] >= 0x60 and len(spec.remote[0]) == 16 and self._node.is_local(ip.addresses(data)[0]):
            return spec.mode is Mode.TUNNEL and spec.df and not spec.copy_df
        return ip.dont_fragment(data) and (spec.copy_df or spec.df or spec.mode is Mode.TRANSPORT)

    def _seal_whole(self, packet: Packet, sa: OutboundSa, mtu: int, longest: int, now: int) -> Verdict | None:
        """Tell the source what fits, unless its packet is as short as any has to be taken."""
        data = packet.data
        least = MIN_MTU if data[0] < 0x60 else ip.IPV6_MIN_MTU
        if len(data) <= least:
            return self._cut(packet, sa, mtu, now)
        self._node.refuse(packet, TOO_BIG, IcmpError.TOO_BIG, now, max(longest, least))
        return None

    def _seal_pieces(
        self, packet: Packet, pieces: list[bytearray], sa: OutboundSa, now: int
    ) -> Verdict | None:
        for piece in pieces:
            sealed = self._engine.seal(sa.spec.spi_in, piece, now)
            if isinstance(sealed, Verdict):
                return sealed
            self._node.transmit(packet.derive(sealed), now)
        return None

    def _cut(self, packet: Packet, sa: OutboundSa, mtu: int, now: int) -> Verdict | None:
        """Seal a packet and send the outer one in fragments, which its receiver puts together again."""
        sealed = self._engine.seal(sa.spec.spi_in, packet.data, now)
        if isinstance(sealed, Verdict):
            return sealed
        mtu = self._outermost_mtu(sa)
        if sealed[0] < 0x60 and ip.dont_fragment(sealed):
            _clear_df(sealed, self._node)
        self._node.transmit_within(packet.derive(sealed), mtu, now)
        return None


def _clear_df(sealed: bytearray, node: IpNode) -> None:
    """The flags may change on the way whatever protects the packet, but AH covers its identification."""
    if sealed[9] != ip.Protocol.AH:
        sealed[4:6] = node.next_identification().to_bytes(2, "big")
    sealed[6] &= ~(ip.DF >> 8) & 0xFF
    ip.write_checksum(sealed)
