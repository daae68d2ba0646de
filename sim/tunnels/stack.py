"""IPsec on a simulated node: the data plane in its packet path, IKEv2 on its UDP ports.

link -> IpNode.receive -> IpsecStack.inbound  -> Engine.inbound   -> the inner packet goes on
IpNode (sent or forwarded) -> IpsecStack.outbound -> Engine.outbound -> the outer packet leaves
UDP 500, 4500 -> IkeEndpoint -> events, datagrams -> as in `sim.tunnels.driver`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sim.ike.config import EndpointConfig
from sim.ike.endpoint import Datagram
from sim.ike.events import (
    ChildSaDown,
    ChildSaUp,
    Event,
    MessageSent,
    PathChanged,
    Rejected,
    VirtualIpAssigned,
    VirtualIpReleased,
)
from sim.ike.faults import Faults
from sim.ipsec.iptfs.items import Aggregate, Delivery, Departure, Queued
from sim.ipsec.pmtu import SaMtus
from sim.ipsec.sad import InboundSa
from sim.ipsec.traffic import has_flow
from sim.ipsec.verdict import BYPASS, Acquire, Drop, Reason, Verdict
from sim.ipsec.xfrm import arriving, leaving
from sim.net.node import Enter, IpNode
from sim.net.packet import Packet
from sim.net.port import Port
from sim.tunnels.convoy import load, unload
from sim.tunnels.driver import GONE, IpsecDriver
from sim.tunnels.fitting import Fitting
from sim.tunnels.lanes import Lanes
from sim.tunnels.postman import Postman
from sim.tunnels.trace import IkeTrace
from sim.wire import icmp, ip, udp
from sim.wire.address import Sock
from sim.wire.buffer import Buf, WireError
from sim.wire.esp import HEADER
from sim.wire.icmp import IcmpMessage
from sim.wire.ip import IpHeader
from sim.wire.selector import Selector

VIRTUAL_PORT = "(virtual)"
"""The name of the port that has a node's virtual IPs; no interface of a scenario can be called so."""

_BINDING = (ChildSaUp, ChildSaDown, VirtualIpAssigned, VirtualIpReleased)
_ICMP = (ip.Protocol.ICMP, ip.Protocol.ICMPV6)
_ESP_IN_UDP_AT = ip.IPV4_HEADER_BYTES + udp.UDP_HEADER_BYTES

Observer = Callable[[str, Event, int], None]
"""Called with a node's name, what its IKE endpoint reports, and the time (ns)."""


class IpsecStack(IpsecDriver[Packet]):
    """One node's IPsec, hooked into its packet path; it implements `sim.net.node.PacketHook`."""

    def __init__(
        self,
        node: IpNode,
        config: EndpointConfig,
        observe: Observer,
        callers: Mapping[str, tuple[Selector, ...]] | None = None,
        trace: IkeTrace | None = None,
        faults: Faults | None = None,
    ) -> None:
        sim = node.sim
        self.node = node
        rands = {kind: sim.rand(f"{kind}:{node.name}") for kind in ("ike", "esp")}
        super().__init__(
            config, ike_rand=rands["ike"], esp_rand=rands["esp"], callers=callers or {}, faults=faults
        )
        self._observe = observe
        self.faults = faults
        self._trace = trace or IkeTrace()
        self._postman = Postman(
            node, config.ike_port, self._trace, faults, self.endpoint.connection_of, self.observe
        )
        self._timer = sim.alarm(self.time_is_up)
        self._pacer = sim.alarm(self.tick)
        self.engine.alert = sim.alarm(self.drain_engine).arm
        self.mtus = SaMtus(self.engine.sad, node.path_mtus.rules)
        self._aging = sim.alarm(self._mtus_aged)
        self._fitting = Fitting(node, self.engine, self.mtus)
        self._virtual_port: Port | None = None
        self.engine.path_mtu = self._fitting.mtu
        self.engine.number = node.next_identification
        self._left = False
        self._ports_seen: list[tuple[str, bool, int, tuple[tuple[bytes, int], ...]]] | None = None
        self._passing: tuple[Packet, InboundSa | None] | None = None
        self.lanes = Lanes(self._unwrapped, self._drop_arriving, self._drop_leaving, self._settle)
        self.engine.changed = self.forget
        node.hook = self
        node.bind_udp(config.ike_port, self.receive)
        node.bind_udp(config.natt_port, self.receive)
        node.on_port_change.append(self._ports_changed)
        node.on_icmp.append(self._heard)

    def start(self, now: int) -> None:
        self._ports_changed(now)
        super().start(now)

    def receive(self, payload: Buf, src: Sock, dst: Sock, now: int) -> None:
        super().receive(payload, src, dst, now)
        self._trace.arriving = None

    # The packet path (sim.net.node.PacketHook)

    def outbound(self, packet: Packet, now: int) -> Packet | None:
        data = packet.data
        if len(data) > self._fitting.safe and not self._fitting.fits(data):
            self._send_in_pieces(packet, now)
            return None
        verdict = self.engine.outbound(data, now)
        if type(verdict) is bytearray:
            if len(verdict) > self._fitting.smallest and self._fitting.has_grown(data, verdict):
                self._send_in_pieces(packet, now)
                return None
            if self._left and self.node.would_stray(*ip.addresses(verdict)):
                self.xfrm["XfrmOutError"] += 1
                self.node.drop(packet, GONE, now)
                return None
            self._remember(packet, data)
            packet.data = verdict
            return packet
        if verdict is BYPASS:
            self._remember(packet, data)
            return packet
        assert isinstance(verdict, Verdict)
        self._keep(packet, verdict, now)
        return None

    def inbound(self, packet: Packet, now: int) -> Packet | None:
        data = packet.data
        verdict = self.engine.inbound(data, now)
        if type(verdict) is bytearray:
            opener = self._remember_opening(data)
            packet.data = verdict
            self._settle(now)
            if opener is None:
                self._passing = None
            else:
                self._came_out(packet, opener)
            return packet
        if verdict is BYPASS:
            self._passing = packet, None
            return packet
        if isinstance(verdict, Drop):
            if verdict.reason is not Reason.CLEAR_TEXT or not self._heard_in_clear(packet.data, now):
                self._drop_arriving(packet, verdict.reason, now)
            if verdict.reason is Reason.UNKNOWN_SPI:
                self.found_stray(data, now)
            self._settle(now)
        elif isinstance(verdict, Aggregate):
            verdict.tag = packet
            self._settle(now)
            self.flow(now)
        return None

    def send_dummies(self, connection: str, child: str | None, count: int, size: int | None, now: int) -> int:
        """Send dummies on the Child SAs of a connection, or on one; how many left (RFC 4303 2.6).

        `size` as for `Engine.dummy`. ValueError for SAs with AH.
        """
        left = 0
        for spi_in, (_, _, policy) in tuple(self.engine.sad.items()):
            if policy.connection != connection or child not in (None, policy.child):
                continue
            if policy not in self.engine.spd:
                continue  # it only receives any more
            for _ in range(count):
                sealed = self.engine.dummy(spi_in, now, size)
                if isinstance(sealed, bytearray):
                    self.node.transmit(Packet(sealed, now), now)
                    left += 1
                elif isinstance(sealed, Drop):
                    self.xfrm[leaving(sealed.reason)] += 1
        return left

    def entry(self, receive: Enter) -> Enter:
        return self.lanes.entry(receive)

    def forget(self) -> None:
        self.lanes.forget()
        self._fitting.changed()

    def source_for(self, dst: bytes) -> bytes | None:
        """An own address inside the selectors that protect `dst`, the routed one first."""
        routed = self.node.source_address(dst)
        own = (address for port in self._real_ports() for address, _ in port.addresses)
        return self.protecting_address(dst, (*(() if routed is None else (routed,)), *own))

    def supersedes(self, src: bytes, dst: bytes) -> bool:
        return self.is_superseded(src, dst)

    # IpsecDriver

    def transmit(self, datagram: Datagram, now: int) -> None:
        self._postman.send(datagram, now)

    def arm(self, at: int | None) -> None:
        self._timer.set(at)

    def apply(self, event: Event, now: int) -> None:
        super().apply(event, now)
        if isinstance(event, ChildSaUp) and event.replaces:
            self.mtus.inherit(event.replaces, event.spi_in)  # the same path (RFC 4301 8.2.1)
        elif isinstance(event, ChildSaDown):
            self._forget_mtus((event.spi_in,))
        elif isinstance(event, PathChanged):
            self._forget_mtus(event.spis_in)

    def observe(self, event: Event, now: int) -> None:
        if isinstance(event, MessageSent):
            self._postman.said(event)
        elif isinstance(event, Rejected):
            self._trace.rejected(event.reason)
        self._observe(self.node.name, event, now)
        if isinstance(event, _BINDING):
            for listener in tuple(self.node.on_binding_change):
                listener(now)

    def resend(self, packet: Packet, now: int) -> None:
        sealed = self.outbound(packet, now)
        if sealed is not None:
            self.node.transmit(sealed, now)

    def drop(self, packet: Packet, reason: str, now: int) -> None:
        self.node.drop(packet, reason, now)

    def depart(self, departure: Departure, now: int) -> None:
        outer = load(departure, now)
        if self._left and self.node.would_stray(*ip.addresses(outer.data)):
            self.xfrm["XfrmOutError"] += 1
            self.node.drop(outer, GONE, now)
        else:
            self.node.transmit(outer, now)

    def hand_out(self, delivery: Delivery, now: int) -> None:
        carrier = delivery.carrier.tag
        if delivery.index < 0 and isinstance(carrier, Packet) and delivery.reason is not None:
            self._drop_arriving(carrier, delivery.reason, now)
            return
        packet = unload(delivery, now)
        if delivery.reason is None:
            self.node.unwrapped(packet, now)
        else:
            self._drop_arriving(packet, delivery.reason, now)

    def pace(self, at: int, now: int) -> None:
        self._pacer.arm(max(at, now))

    def leads(self, local: bytes, remote: bytes) -> bool:
        return self.node.leads(local, remote)

    def routed(self, remote: bytes) -> bytes | None:
        return self.node.source_address(remote)

    def has_left(self, address: bytes) -> bool:
        return self.node.is_local(address) and self.node.has_left(address)

    def take_address(self, address: bytes, now: int) -> None:
        if self._virtual_port is None:
            self._virtual_port = self.node.add_port(VIRTUAL_PORT)
        self._virtual_port.add_address(address, 8 * len(address))

    def give_up_address(self, address: bytes, now: int) -> None:
        assert self._virtual_port is not None  # it has the address
        self._virtual_port.remove_address(address)

    # Helpers, in call order

    def _drop_leaving(self, packet: Packet, reason: Reason, now: int) -> None:
        self.xfrm[leaving(reason)] += 1
        self.node.drop(packet, reason, now)

    def _drop_arriving(self, packet: Packet, reason: Reason, now: int) -> None:
        self.xfrm[arriving(reason)] += 1
        self.node.drop(packet, reason, now)

    def _settle(self, now: int) -> None:
        if self.engine.events:
            self.drain_engine(now)

    def _unwrapped(self, packet: Packet, opener: InboundSa, now: int) -> None:
        """A packet that a lane opened and that has none of its own."""
        if opener.held_ipsec:
            opener.held_ipsec = False
            if self.node.is_local(ip.addresses(packet.data)[1]):
                self._reopen(packet, now)
                return
        self._came_out(packet, opener)
        self.node.unwrapped(packet, now)

    def _reopen(self, packet: Packet, now: int) -> None:
        """What came out of an SA is ESP or AH itself."""
        verdict = self.engine.open_again(packet.data, now)
        self.engine.reopened, self._passing = False, None
        if isinstance(verdict, Drop):
            self._drop_arriving(packet, verdict.reason, now)
        elif type(verdict) is bytearray:
            packet.data = verdict
            self.node.unwrapped(packet, now)
        self._settle(now)

    def _came_out(self, packet: Packet, opener: InboundSa) -> None:
        """Give the flow of an inner packet a lane now if it is for this node, else when it leaves."""
        self._passing = packet, opener
        data = packet.data
        if has_flow(data) and self.node.is_local(ip.addresses(data)[1]):
            self.lanes.deliver(data, self.node.deliver, opener)

    def _remember_opening(self, data: bytearray) -> InboundSa | None:
        """Give packets like this one, which an SA has opened, a lane; the SA if they have one."""
        if self.engine.reopened or self.engine.spd.nesting:
            self.engine.reopened = False
            return None
        if data[0] != 0x45 or data[9] == ip.Protocol.AH:
            return None
        in_udp = data[9] == ip.Protocol.UDP
        spi, _ = HEADER.unpack_from(data, _ESP_IN_UDP_AT if in_udp else ip.IPV4_HEADER_BYTES)
        sa = self.engine.openers[spi]
        if in_udp:
            self.lanes.open_in_udp(data, self.engine.openers)
        else:
            self.lanes.open(data, sa)
        return sa

    def _remember(self, packet: Packet, data: bytearray) -> None:
        """Give the flow of a packet that is being forwarded a lane."""
        if self._passing is None or self._passing[0] is not packet:
            return
        (_, opener), self._passing = self._passing, None
        if not has_flow(data):
            return
        spi_in = self.engine.protecting(data)
        if spi_in is not None and self.engine.spd.nesting:
            return
        if spi_in is None:
            send, longest = self.node.way(ip.addresses(data)[1])
            self.lanes.forward(data, send, longest, opener)
        else:
            sa = self.engine.sad[spi_in].outbound
            send, _ = self.node.way(sa.spec.remote[0])
            self.lanes.seal(data, sa.seal, send, self._fitting.longest(sa), opener)

    def _ports_changed(self, now: int) -> None:
        ports = self._real_ports()
        self._fitting.measure(min([port.mtu for port in ports]))
        state = [(port.name, port.up, port.mtu, tuple(port.addresses)) for port in ports]
        if state == self._ports_seen:
            return  # it was a virtual IP that came or went: no address to be reached at
        self._ports_seen = state
        self._left = not all(port.up for port in ports)
        self.engine.local_addresses = frozenset([address for port in ports for address, _ in port.addresses])
        self.endpoint.addresses_changed(self._usable_addresses(), now)
        self.pump(now)

    def _real_ports(self) -> list[Port]:
        return [port for port in self.node.ports.values() if port is not self._virtual_port]

    def _usable_addresses(self) -> list[bytes]:
        """The addresses of ports that are up; first those that the routes to the peers leave from."""
        up = [address for port in self._real_ports() if port.up for address, _ in port.addresses]
        peers = [remote for connection in self.config.connections for remote in connection.remote_addrs]
        preferred = [self.node.source_address(peer) for peer in peers] if len(up) > 1 else []
        return list(dict.fromkeys([address for address in preferred if address in up] + up))

    def _send_in_pieces(self, packet: Packet, now: int) -> None:
        verdict = self._fitting.send(packet, now)
        if verdict is not None:
            self._keep(packet, verdict, now)
        if self.engine.aggfrag:
            self.flow(now)

    def _keep(self, packet: Packet, verdict: Verdict, now: int) -> None:
        """What becomes of a packet that does not leave now."""
        if isinstance(verdict, Acquire):
            self.hold(packet, verdict, now)
        elif isinstance(verdict, Drop):
            self._drop_leaving(packet, verdict.reason, now)
        elif isinstance(verdict, Queued):
            verdict.tag = packet
            self.flow(now)

    def _heard(self, message: IcmpMessage, _header: IpHeader, now: int) -> None:
        """An ICMP message to this node: it may be about a packet that an SA has sent."""
        if self.mtus.hear(message, now):
            self._mtus_changed()

    def _heard_in_clear(self, data: bytearray, now: int) -> bool:
        """As `_heard`, of a packet that policy does not let in: routers on the way have no SA."""
        try:
            header = ip.parse(data)
            if header.protocol not in _ICMP or header.is_fragment or not self.node.is_local(header.dst):
                return False
            message = icmp.parse(data, header.upper_offset)
        except WireError:
            return False
        if not self.mtus.hear(message, now):
            return False
        self._mtus_changed()
        return True

    def _forget_mtus(self, spis_in: tuple[int, ...]) -> None:
        """These SAs have another path, or are no more."""
        known = len(self.mtus)
        for spi_in in spis_in:
            self.mtus.forget(spi_in)
        if len(self.mtus) < known:
            self._mtus_changed()

    def _mtus_changed(self) -> None:
        self._fitting.measure(min([port.mtu for port in self._real_ports()]))
        self.lanes.forget()
        self._aging.set(self.mtus.next_timer())

    def _mtus_aged(self, now: int) -> None:
        self.mtus.expire(now)
        self._mtus_changed()
