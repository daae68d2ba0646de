"""IPsec on a simulated node: the data plane in its packet path, IKEv2 on its UDP ports.

    link -> IpNode.receive -> IpsecStack.inbound  -> Engine.inbound   -> the inner packet goes on
    IpNode (sent or forwarded) -> IpsecStack.outbound -> Engine.outbound -> the outer packet leaves
    UDP 500, 4500 -> IkeEndpoint -> events -> Engine (first), datagrams -> IpNode (then)

The order of the last line is what lets a responder receive on a new SA before its answer leaves
(RFC 7296 2.8).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from sim.ike.config import ConnectionConfig, EndpointConfig, StartAction
from sim.ike.driver import IkeDriver
from sim.ike.endpoint import Datagram, IkeEndpoint
from sim.ike.events import ChildFailed, ChildSaDown, ChildSaUp, Event, IkeSaDown, PathChanged, Reason
from sim.ipsec.engine import Engine
from sim.ipsec.events import PeerMoved
from sim.ipsec.policy import Action, Policy
from sim.ipsec.sad import MAX_FLOWS
from sim.ipsec.spec import ChildSpec
from sim.ipsec.traffic import FlowKey, flow_key, has_flow
from sim.ipsec.verdict import BYPASS, Acquire, Drop
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.tunnels.ledger import Ledger
from sim.units import NS_PER_S
from sim.wire import ip, udp
from sim.wire.address import Sock
from sim.wire.icmp import IcmpError
from sim.wire.selector import Selector

HELD_PACKETS = 64
"""Packets that wait for one policy's SA; Linux holds far fewer, and a lab should see the bound."""

RETRY_AFTER = 10 * NS_PER_S
"""How long packets that need an SA are dropped at once after a negotiation that failed, before the next."""

_Lane = tuple[Callable[[bytearray, int], bytearray | Drop] | None, Callable[[Packet, int], None], int]
"""What seals the packets of a forwarded flow (None: nothing), what sends them, how long they may be."""

Observer = Callable[[str, Event, int], None]
"""Called with a node's name, what its IKE endpoint reports, and the time (ns)."""


class IpsecStack(IkeDriver):
    """One node's IPsec: SPD, SAD and IKE SAs, hooked into its packet path.

    It implements `sim.net.node.PacketHook`. A packet that needs an SA which does not exist yet starts a
    negotiation and waits; at most HELD_PACKETS wait for one policy, the oldest goes first.
    """

    def __init__(self, node: IpNode, config: EndpointConfig, observe: Observer) -> None:
        sim = node.sim
        self.node = node
        self.config = config
        self.engine = Engine(
            rand=sim.rand(f"esp:{node.name}"), ike_port=config.ike_port, natt_port=config.natt_port
        )
        super().__init__(IkeEndpoint(config, rand=sim.rand(f"ike:{node.name}"), usage=self.engine.usage))
        self.ledger = Ledger()
        self._observe = observe
        self._timer = sim.alarm(self._time_is_up)
        self._held: dict[tuple[str, str], deque[Packet]] = {}
        self._released: list[tuple[str, str]] = []
        self._failed: dict[tuple[str, str], tuple[int, Reason]] = {}
        self._smallest_mtu = 0
        self._passing: tuple[Packet, bool] | None = None
        self._lanes: dict[bool, dict[FlowKey, _Lane]] = {False: {}, True: {}}
        self.engine.changed = self.forget
        node.hook = self
        node.bind_udp(config.ike_port, self._receive)
        node.bind_udp(config.natt_port, self._receive)
        node.on_port_change.append(self._ports_changed)

    def start(self, now: int) -> None:
        """Install the configured policies and begin what `start: at once` asks for."""
        self._ports_changed(now)
        for connection in self.config.connections:
            for policy in trap_policies(connection, self.engine.local_addresses):
                self.engine.spd.add(policy)
        for connection in self.config.connections:
            for child in connection.children:
                if child.start is StartAction.START:
                    self.endpoint.initiate(connection.name, child.name, now)
        self.pump(now)

    # The packet path (sim.net.node.PacketHook)

    def outbound(self, packet: Packet, now: int) -> Packet | None:
        verdict = self.engine.outbound(packet.data, now)
        if type(verdict) is bytearray:
            if len(verdict) > self._smallest_mtu and self._too_big(packet, verdict, now):
                return None
            self._remember(packet, packet.data)
            packet.data = verdict
            return packet
        if verdict is BYPASS:
            self._remember(packet, packet.data)
            return packet
        if isinstance(verdict, Acquire):
            self._hold(packet, verdict, now)
        elif isinstance(verdict, Drop):
            self.node.drop(packet, verdict.reason, now)
        return None

    def inbound(self, packet: Packet, now: int) -> Packet | None:
        engine = self.engine
        verdict = engine.inbound(packet.data, now)
        if type(verdict) is bytearray:
            packet.data = verdict
            if engine.events:
                self._drain_engine(now)
            self._passing = packet, True
            return packet
        if verdict is BYPASS:
            self._passing = packet, False
            return packet
        if isinstance(verdict, Drop):
            self.node.drop(packet, verdict.reason, now)
        return None

    def pass_on(self, packet: Packet, now: int, *, unwrapped: bool) -> bool:
        data = packet.data
        lane = self._lanes[unwrapped].get(flow_key(data))
        if lane is None:
            return False
        seal, send, longest = lane
        if len(data) > longest or not ip.decrement_ttl(data):
            return False
        if seal is not None:
            sealed = seal(data, now)
            if isinstance(sealed, Drop):
                self.node.drop(packet, sealed.reason, now)
                return True
            packet.data = sealed
        send(packet, now)
        return True

    def forget(self) -> None:
        self._lanes = {False: {}, True: {}}

    def source_for(self, dst: bytes) -> bytes | None:
        """An own address inside the selectors that protect `dst`, as strongSwan's routes prefer it.

        So a flow that begins after a move still fits the SA, whose selectors did not move.
        """
        routed = self.node.source_address(dst)
        own = [address for port in self.node.ports.values() for address, _ in port.addresses]
        for policy in self.engine.spd:
            if policy.action is Action.PROTECT and _inside(dst, policy.remote_ts):
                fitting = [a for a in (routed, *own) if a is not None and _inside(a, policy.local_ts)]
                if fitting:
                    return fitting[0]
        return None

    # IkeDriver

    def apply(self, event: Event, now: int) -> None:
        pair = None
        if isinstance(event, ChildSaUp):
            self.engine.install(child_spec(event), now)
            self._released.append((event.connection, event.child))
        elif isinstance(event, ChildSaDown):
            pair = self.engine.sad.get(event.spi_in)
            self.engine.remove(event.spi_in)
        elif isinstance(event, PathChanged):
            for spi in event.spis_in:
                self.engine.move(spi, event.local, event.remote, event.encap)
        elif isinstance(event, ChildFailed):
            self._give_up((event.connection, event.child), event.reason, now)
        self.ledger.enter(event, pair, now)
        if isinstance(event, IkeSaDown):
            self._went_down(event, now)
        self._observe(self.node.name, event, now)

    def transmit(self, datagram: Datagram, now: int) -> None:
        packet = udp.build(datagram.src, datagram.dst, datagram.data)
        self.node.transmit(Packet(packet, now), now)

    def arm(self, at: int | None) -> None:
        self._timer.set(at)

    def pump(self, now: int) -> None:
        super().pump(now)
        while self._released:
            self._release(self._released.pop(0), now)

    # Helpers, in call order

    def _receive(self, payload: bytes, src: Sock, dst: Sock, now: int) -> None:
        self.endpoint.receive_datagram(payload, src, dst, now)
        self.pump(now)

    def _remember(self, packet: Packet, data: bytearray) -> None:
        """Give the flow of a packet that is being forwarded a lane, so that the next one takes `pass_on`."""
        if self._passing is None or self._passing[0] is not packet:
            return
        (_, unwrapped), self._passing = self._passing, None
        if not has_flow(data):
            return
        spi_in = self.engine.protecting(data)
        if spi_in is None:
            send, longest = self.node.way(ip.addresses(data)[1])
            lane: _Lane = (None, send, longest)
        else:
            sa = self.engine.sad[spi_in].outbound
            send, mtu = self.node.way(sa.spec.remote[0])
            lane = (sa.seal, send, sa.max_inner(mtu))
        lanes = self._lanes[unwrapped]
        if len(lanes) >= MAX_FLOWS:
            lanes.clear()
        lanes[flow_key(data)] = lane

    def _time_is_up(self, now: int) -> None:
        self.endpoint.handle_timer(now)
        self.pump(now)

    def _ports_changed(self, now: int) -> None:
        ports = self.node.ports.values()
        self._smallest_mtu = min(port.mtu for port in ports)
        self.engine.local_addresses = frozenset(address for port in ports for address, _ in port.addresses)
        self.endpoint.addresses_changed(self._usable_addresses(), now)
        self.pump(now)

    def _usable_addresses(self) -> list[bytes]:
        """The addresses of ports that are up; first those that the routes to the peers leave from."""
        up = [address for port in self.node.ports.values() if port.up for address, _ in port.addresses]
        peers = (remote for connection in self.config.connections for remote in connection.remote_addrs)
        preferred = (self.node.source_address(peer) for peer in peers)
        return list(dict.fromkeys([*(address for address in preferred if address in up), *up]))

    def _hold(self, packet: Packet, verdict: Acquire, now: int) -> None:
        policy = verdict.policy
        key = (policy.connection, policy.child)
        if self._has_sa(key):
            self.node.drop(packet, "no SA covers it: the peer has narrowed the selectors", now)
            return
        retry_at, reason = self._failed.get(key, (now, Reason.NONE))
        if now < retry_at:
            self.node.drop(packet, f"no SA: {reason}", now)
            return
        queue = self._held.setdefault(key, deque())
        if len(queue) == HELD_PACKETS:
            self.node.drop(queue.popleft(), "too many packets wait for an SA", now)
        queue.append(packet)
        self.endpoint.acquire(*key, (verdict.local, verdict.remote), now)
        self.pump(now)

    def _release(self, key: tuple[str, str], now: int) -> None:
        for packet in self._held.pop(key, ()):
            sealed = self.outbound(packet, now)
            if sealed is not None:
                self.node.transmit(sealed, now)

    def _has_sa(self, key: tuple[str, str]) -> bool:
        """Whether the child that a trap asks for is up, so that nobody will make another (RFC 7296 2.9)."""
        specs = (pair.outbound.spec for pair in self.engine.sad.values())
        return any((spec.connection, spec.child) == key for spec in specs)

    def _went_down(self, event: IkeSaDown, now: int) -> None:
        """Packets wait no longer; after a failed negotiation the next one does not start another at once."""
        held = [key for key in self._held if key[0] == event.connection]
        for key in held:
            self._give_up(key, event.reason, now)
        if self.ledger.records[event.ike_id].state == "failed":
            self._failed.update(dict.fromkeys(held, (now + RETRY_AFTER, event.reason)))

    def _give_up(self, key: tuple[str, str], reason: Reason, now: int) -> None:
        for packet in self._held.pop(key, ()):
            self.node.drop(packet, f"no SA: {reason}", now)

    def _drain_engine(self, now: int) -> None:
        while (event := self.engine.next_event()) is not None:
            if isinstance(event, PeerMoved):
                self.endpoint.esp_peer_moved(event.spi_in, event.src, now)
        self.pump(now)

    def _too_big(self, packet: Packet, sealed: bytearray, now: int) -> bool:
        """Tell the inner source what fits when the sealed packet must not be fragmented (RFC 4301 8.2.1)."""
        port = self.node.routes.lookup(ip.addresses(sealed)[1])
        if port is None or len(sealed) <= port.mtu or not ip.dont_fragment(sealed):
            return False
        spi_in = self.engine.protecting(packet.data)
        assert spi_in is not None, "what was sealed a moment ago has an SA"
        self.engine.sad[spi_in].outbound.discount(len(packet.data))
        mtu = self.engine.max_inner(port.mtu, spi_in)
        self.node.refuse(packet, "packet too big", IcmpError.TOO_BIG, now, mtu)
        return True


def trap_policies(connection: ConnectionConfig, own: Iterable[bytes]) -> Iterator[Policy]:
    """The policies that stand before any SA exists: no packet of a child with a start action goes in clear.

    `own` are the node's addresses, which a dynamic local selector may become. A child whose remote selector
    depends on a peer that is not known yet (a road warrior, at the gateway) has no trap; its SA brings its
    own policy.
    """
    for child in connection.children:
        local = child.local_ts or _hosts(connection.local_addrs or sorted(own))
        remote = child.remote_ts or _hosts(connection.remote_addrs)
        if child.start is not StartAction.NONE and remote:
            yield Policy(
                f"{connection.name}/{child.name}",
                Action.PROTECT,
                local,
                remote,
                connection=connection.name,
                child=child.name,
                mode=child.mode,
            )


def child_spec(event: ChildSaUp) -> ChildSpec:
    """What the data plane needs to know of a Child SA that IKEv2 has negotiated."""
    return ChildSpec(
        connection=event.connection,
        child=event.child,
        spi_in=event.spi_in,
        spi_out=event.spi_out,
        mode=event.mode,
        encryption=event.suite.encryption,
        integrity=event.suite.integrity,
        keys_in=event.keys_in,
        keys_out=event.keys_out,
        local=event.local,
        remote=event.remote,
        encap=event.encap,
        local_ts=event.local_ts,
        remote_ts=event.remote_ts,
        replay_window=event.replay_window,
        esn=event.esn,
        copy_df=event.copy_df,
    )


def _inside(address: bytes, selectors: tuple[Selector, ...]) -> bool:
    return any(
        selector.contains(Selector.host(address, selector.protocol, selector.ports)) for selector in selectors
    )


def _hosts(addresses: Iterable[bytes]) -> tuple[Selector, ...]:
    return tuple(Selector.host(address) for address in addresses)
