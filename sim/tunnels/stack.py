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
    Rejected,
    VirtualIpAssigned,
    VirtualIpReleased,
)
from sim.ike.faults import Faults
from sim.ipsec.sad import InboundSa
from sim.ipsec.spec import ChildSpec
from sim.ipsec.traffic import has_flow
from sim.ipsec.verdict import BYPASS, Acquire, Drop, Reason
from sim.ipsec.xfrm import arriving, leaving
from sim.net.node import Enter, IpNode
from sim.net.packet import Packet
from sim.net.port import Port
from sim.tunnels.driver import GONE, IpsecDriver
from sim.tunnels.lanes import Lanes
from sim.tunnels.postman import Postman
from sim.tunnels.trace import IkeTrace
from sim.wire import ip, udp
from sim.wire.address import Sock
from sim.wire.buffer import Buf
from sim.wire.esp import HEADER
from sim.wire.icmp import IcmpError
from sim.wire.selector import Selector

VIRTUAL_PORT = "(virtual)"
"""The name of the port that has a node's virtual IPs; no interface of a scenario can be called so."""

_BINDING = (ChildSaUp, ChildSaDown, VirtualIpAssigned, VirtualIpReleased)
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
        self.engine.alert = sim.alarm(self.drain_engine).arm
        self._smallest_mtu = 0
        self._virtual_port: Port | None = None
        self._left = False
        self._ports_seen: list[tuple[str, bool, int, tuple[tuple[bytes, int], ...]]] | None = None
        self._passing: tuple[Packet, InboundSa | None] | None = None
        self.lanes = Lanes(self._unwrapped, self._drop_arriving, self._drop_leaving, self._settle)
        self.engine.changed = self.forget
        node.hook = self
        node.bind_udp(config.ike_port, self.receive)
        node.bind_udp(config.natt_port, self.receive)
        node.on_port_change.append(self._ports_changed)

    def start(self, now: int) -> None:
        self._ports_changed(now)
        super().start(now)

    def receive(self, payload: Buf, src: Sock, dst: Sock, now: int) -> None:
        super().receive(payload, src, dst, now)
        self._trace.arriving = None

    # The packet path (sim.net.node.PacketHook)

    def outbound(self, packet: Packet, now: int) -> Packet | None:
        verdict = self.engine.outbound(packet.data, now)
        if type(verdict) is bytearray:
            if len(verdict) > self._smallest_mtu and self._too_big(packet, verdict, now):
                return None
            if self._left and self.node.would_stray(*ip.addresses(verdict)):
                self.xfrm["XfrmOutError"] += 1
                self.node.drop(packet, GONE, now)
                return None
            self._remember(packet, packet.data)
            packet.data = verdict
            return packet
        if verdict is BYPASS:
            self._remember(packet, packet.data)
            return packet
        if isinstance(verdict, Acquire):
            self.hold(packet, verdict, now)
        elif isinstance(verdict, Drop):
            self._drop_leaving(packet, verdict.reason, now)
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
            self._drop_arriving(packet, verdict.reason, now)
            self._settle(now)
        return None

    def entry(self, receive: Enter) -> Enter:
        return self.lanes.entry(receive)

    def forget(self) -> None:
        self.lanes.forget()

    def source_for(self, dst: bytes) -> bytes | None:
        """An own address inside the selectors that protect `dst`, the routed one first."""
        routed = self.node.source_address(dst)
        own = (address for port in self._real_ports() for address, _ in port.addresses)
        return self.protecting_address(dst, (*(() if routed is None else (routed,)), *own))

    def supersedes(self, src: bytes, dst: bytes) -> bool:
        return self.is_superseded(src, dst)

    def may_report(self, about: bytearray, error: bytearray) -> bool:
        """What answers protected traffic is protected, too (RFC 4301 6.2; only by an SA that fits it)."""
        return not self.engine.protects_answers(about) or self.engine.protects(error)

    # IpsecDriver

    def transmit(self, datagram: Datagram, now: int) -> None:
        self._postman.send(datagram, now)

    def arm(self, at: int | None) -> None:
        self._timer.set(at)

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

    def leads(self, local: bytes, remote: bytes) -> bool:
        return self.node.leads(local, remote)

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
        self._came_out(packet, opener)
        self.node.unwrapped(packet, now)

    def _came_out(self, packet: Packet, opener: InboundSa) -> None:
        """Give the flow of an inner packet a lane now if it is for this node, else when it leaves."""
        self._passing = packet, opener
        data = packet.data
        if has_flow(data) and self.node.is_local(ip.addresses(data)[1]):
            self.lanes.deliver(data, self.node.deliver, opener)

    def _remember_opening(self, data: bytearray) -> InboundSa | None:
        """Give packets like this one, which an SA has opened, a lane; the SA if they have one."""
        if data[0] != 0x45:
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
        if spi_in is None:
            send, longest = self.node.way(ip.addresses(data)[1])
            self.lanes.forward(data, send, longest, opener)
        else:
            sa = self.engine.sad[spi_in].outbound
            send, mtu = self.node.way(sa.spec.remote[0])
            self.lanes.seal(data, sa.seal, send, sa.max_inner(mtu), opener)

    def _ports_changed(self, now: int) -> None:
        ports = self._real_ports()
        self._smallest_mtu = min([port.mtu for port in ports])
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

    def _too_big(self, packet: Packet, sealed: bytearray, now: int) -> bool:
        """Tell the inner source what fits when the sealed packet must not be fragmented (RFC 4301 8.2.1)."""
        port = self.node.routes.lookup(ip.addresses(sealed)[1])
        if port is None or len(sealed) <= port.mtu or not ip.dont_fragment(sealed):
            return False
        spi_in = self.engine.protecting(packet.data)
        assert spi_in is not None, "what was sealed a moment ago has an SA"
        if sealed[0] >= 0x60 and self._may_fragment(packet.data, self.engine.sad[spi_in].outbound.spec):
            return False
        self.engine.sad[spi_in].outbound.discount(len(packet.data))
        mtu = self.engine.max_inner(port.mtu, spi_in)
        self.node.refuse(packet, "packet too big", IcmpError.TOO_BIG, now, mtu)
        return True

    def _may_fragment(self, inner: bytearray, spec: ChildSpec) -> bool:
        """Whether this node, the source of the IPv6 packet around `inner`, may send that in fragments.

        As if the outer header had a DF bit (RFC 4301 8.1), but what this node sends it may cut.
        """
        if spec.copy_df:
            own = inner[0] >= 0x60 and self.node.is_local(ip.addresses(inner)[0])
            return own or not ip.dont_fragment(inner)
        return not spec.df
