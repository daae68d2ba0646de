"""What joins IKEv2 to the data plane, whatever the world: a simulated node, a live host.

    Engine says Acquire  -> the packet waits, IkeEndpoint.acquire
    IkeEndpoint's events -> Engine (first), datagrams -> the world (then), packets that waited (last)

The order of the last line is what lets a responder receive on a new SA before its answer leaves
(RFC 7296 2.8).
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from typing import Generic, TypeVar

from sim.ike.config import EndpointConfig, StartAction
from sim.ike.constants import ProtocolId
from sim.ike.driver import IkeDriver
from sim.ike.endpoint import IkeEndpoint
from sim.ike.events import (
    ChildFailed,
    ChildSaDown,
    ChildSaRetired,
    ChildSaUp,
    Event,
    IkeSaDown,
    KeepaliveSent,
    MessageReceived,
    MessageSent,
    PathChanged,
    Reason,
    VirtualIpAssigned,
    VirtualIpReleased,
)
from sim.ike.faults import Faults
from sim.ike.recovery import action_after
from sim.ipsec.engine import Engine
from sim.ipsec.events import PeerMoved, ResourceWanted, SelectorMismatch, SequenceExhausted
from sim.ipsec.iptfs.items import Delivery, Departure
from sim.ipsec.policy import Action, Policy
from sim.ipsec.spec import ChildSpec
from sim.ipsec.verdict import Acquire
from sim.ipsec.xfrm import NO_STATE
from sim.tunnels.ledger import Ledger
from sim.tunnels.strays import stray
from sim.tunnels.traps import Callers, Trap, priority_of, shunt_policies, traps
from sim.tunnels.virtual import NO_VIP, NOT_VIRTUAL, VirtualIps
from sim.units import NS_PER_S
from sim.wire.address import Sock
from sim.wire.buffer import Buf
from sim.wire.ip import Protocol
from sim.wire.selector import Selector

HELD_PACKETS = 64
"""Packets that wait for one policy's SA; Linux holds far fewer, and a lab should see the bound."""

RETRY_AFTER = 10 * NS_PER_S
"""How long packets that need an SA are dropped at once after a negotiation that failed, before the next.

So long as well after a peer has refused a Child SA alone: a busy flow makes no exchange for each packet."""

RETRY_SOON = NS_PER_S
"""The same after a TEMPORARY_FAILURE: the peer rekeys, and will be ready in a moment (RFC 7296 2.25)."""

MAX_FLOW_SAS = 4096
"""The same of a child whose SAs take their selectors from packets (RFC 4301 4.4.1.2)."""

MAX_SAS = 32
"""Pairs of SAs that packets may ask for of one child whose peer narrows the selectors to single flows."""

_HARMLESS = frozenset({MessageSent, MessageReceived, KeepaliveSent})
"""Most events: nothing but the ledger and the observer care."""

RESTARTED = "lost in a restart"
NARROWED = "no SA covers it: the selectors agreed on leave it out"
GONE = "its outer address is no longer ours"
"""As Linux says EADDRNOTAVAIL: nothing of our own leaves from the address of an interface that is down."""

LEFT = "no SA covers it: it comes from an address that this host has left"

_SUCCEEDED = {
    *(Reason.MOVED, Reason.REKEYED, Reason.REDUNDANT, Reason.REAUTHENTICATED),
    Reason.REDIRECTED,
}
"""An IKE SA that ends for one of these has a successor with the same Child SAs, or one is on the way."""

Rand = Callable[[int], bytes]
P = TypeVar("P")
_Key = tuple[str, str]  # connection, child


class IpsecDriver(IkeDriver, Generic[P]):
    """One host's IPsec: SPD, SAD and IKE SAs. `P` is what a packet is in its world.

    A packet that needs an SA which does not exist yet starts a negotiation and waits; at most HELD_PACKETS
    wait for one policy, the oldest goes first. Where this side may not negotiate, the packet is dropped.
    `callers` is as in `sim.tunnels.traps`.
    """

    def __init__(
        self,
        config: EndpointConfig,
        *,
        ike_rand: Rand,
        esp_rand: Rand,
        callers: Callers | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.config = config
        self.engine = Engine(rand=esp_rand, ike_port=config.ike_port, natt_port=config.natt_port)
        usage, leads = self.engine.usage, self.leads
        routed = self.routed
        endpoint = IkeEndpoint(config, rand=ike_rand, usage=usage, faults=faults, leads=leads, routed=routed)
        super().__init__(endpoint)
        self.ledger = Ledger()
        self.xfrm: Counter[str] = Counter()
        """Dropped packets under the names of /proc/net/xfrm_stat: see `sim.ipsec.xfrm`."""
        self.callers = callers or {}
        self.virtual_ips = VirtualIps(config.connections)
        self._connections = {connection.name: connection for connection in config.connections}
        self._sas: Counter[_Key] = Counter()  # how many pairs of SAs a child has
        self._policies: dict[_Key, dict[int, Policy]] = {}  # those of its SAs, by inbound SPI
        self._traps: dict[_Key, Trap] = {}
        self._held: dict[_Key, deque[P]] = {}
        self._asked: dict[_Key, tuple[Selector, Selector]] = {}
        self._released: list[tuple[_Key, int]] = []
        self._failed: dict[_Key, tuple[int, str]] = {}
        self._detects_crashes = any(connection.qcd for connection in config.connections)
        self._away = False
        self._flowing = False

    @abstractmethod
    def observe(self, event: Event, now: int) -> None:
        """Record or show an event that has been applied."""

    @abstractmethod
    def resend(self, packet: P, now: int) -> None:
        """Send a packet that has waited: there is an SA now."""

    @abstractmethod
    def drop(self, packet: P, reason: str, now: int) -> None:
        """A packet ends here."""

    @abstractmethod
    def depart(self, departure: Departure, now: int) -> None:
        """Send an outer packet of an AGGFRAG SA."""

    @abstractmethod
    def hand_out(self, delivery: Delivery, now: int) -> None:
        """Pass on, or drop, an inner packet out of an AGGFRAG SA."""

    @abstractmethod
    def pace(self, at: int, now: int) -> None:
        """Call `tick` at `at`, and no longer at any time set before."""

    @abstractmethod
    def leads(self, local: bytes, remote: bytes) -> bool:
        """Whether packets from an address of this host can be sent to one of a peer."""

    def routed(self, remote: bytes) -> bytes | None:
        """Which address of this host the routes choose for packets to a peer, if that is known."""
        return None

    def has_left(self, address: bytes) -> bool:
        """Whether an address is this host's, but out of use because it has moved."""
        return False

    def take_address(self, address: bytes, now: int) -> None:
        """A virtual IP is this host's from now on."""

    def give_up_address(self, address: bytes, now: int) -> None:
        """A virtual IP is this host's no longer."""

    def held(self) -> Iterator[P]:
        """The packets that wait for an SA."""
        return (packet for queue in self._held.values() for packet in queue)

    def start(self, now: int) -> None:
        """Install the configured policies and begin what `start: at once` asks for.

        `Engine.local_addresses` and the endpoint's are set before.
        """
        for policy in shunt_policies(self.config.shunts):
            self.engine.spd.add(policy)
        if self.config.discard_by_default:
            self.engine.spd.default = Action.DISCARD
        for trap in traps(self.config.connections, self.engine.local_addresses, self.callers):
            self.engine.spd.add(trap.policy)
            self._traps[trap.policy.connection, trap.policy.child] = trap
        self.set_out(now)

    def set_out(self, now: int) -> None:
        """Begin what `start: at once` asks for, at the start or after a `crash`."""
        self._away = False
        for connection in self.config.connections:
            for child in connection.children:
                if child.start is StartAction.START:
                    self.endpoint.initiate(connection.name, child.name, now)
        self.pump(now)

    def crash(self, now: int) -> None:
        """Lose every SA, and whatever waits for one, as a host does that restarts; its policies come back.

        Until `set_out` no packet waits for an SA.
        """
        self._away = True
        self.endpoint.crash(now)
        self.pump(now)
        self._failed.clear()
        self._asked.clear()
        for queue in self._held.values():
            for packet in queue:
                self._drop_for_want(packet, RESTARTED, now)
        self._held.clear()

    def receive(self, payload: Buf, src: Sock, dst: Sock, now: int) -> None:
        """A datagram came to one of IKE's ports."""
        self.endpoint.receive_datagram(payload, src, dst, now)
        self.pump(now)

    def time_is_up(self, now: int) -> None:
        """The time that `arm` was told has come."""
        self.endpoint.handle_timer(now)
        self.pump(now)

    def hold(self, packet: P, verdict: Acquire, now: int) -> None:
        """Let a packet wait for the SA that it needs, or drop it where none is to be had."""
        if self._away:
            self._drop_for_want(packet, RESTARTED, now)
            return
        policy = verdict.policy
        key = (policy.connection, policy.child)
        trap = self._traps.get(key)
        if trap is not None and trap.mute:
            self._drop_for_want(packet, trap.mute, now)
            return
        retry_at, text = self._failed.get(key, (now, ""))
        if now < retry_at or self._sas[key] >= self._max_sas(key):
            reason = text if now < retry_at else NARROWED
            left = reason == NARROWED and self.has_left(verdict.local.start)
            self._drop_for_want(packet, LEFT if left else reason, now)
            return
        if self.virtual_ips.excludes(policy, verdict.local.start):
            self._await_vip(packet, verdict, now)
            return
        selectors = (verdict.local, verdict.remote)
        queue = self._held.get(key)
        if queue is None:
            queue = self._held[key] = deque()
            self._asked[key] = selectors
        if len(queue) == HELD_PACKETS:
            self._drop_for_want(queue.popleft(), "too many packets wait for an SA", now)
        queue.append(packet)
        self.endpoint.acquire(*key, selectors, now)
        self.pump(now)

    def _max_sas(self, key: _Key) -> int:
        child = self._connections[key[0]].child(key[1])
        return MAX_FLOW_SAS if child is not None and child.populate else MAX_SAS

    def _await_vip(self, packet: P, verdict: Acquire, now: int) -> None:
        """Drop a packet from another address: its sender must notice the virtual IP that we ask for."""
        policy = verdict.policy
        assigned = self.virtual_ips.of(policy.connection)
        self._drop_for_want(packet, NOT_VIRTUAL if assigned else NO_VIP, now)
        if not assigned:
            self.endpoint.acquire(policy.connection, policy.child, (verdict.local, verdict.remote), now)
            self.pump(now)

    def command(self, verb: str, connection: str, child: str | None, now: int) -> None:
        """Initiate, rekey, reauthenticate or terminate a connection, or one of its Child SAs."""
        endpoint = self.endpoint
        mine = [sa for sa in endpoint.sas if sa.connection == connection]
        if verb == "initiate":
            endpoint.initiate(connection, child, now)
        elif child is None:
            act = {"rekey": endpoint.rekey_ike, "reauthenticate": endpoint.reauthenticate}
            for sa in mine:
                act.get(verb, endpoint.delete)(sa.ike_id, now)
        else:
            act_on_child = endpoint.rekey if verb == "rekey" else endpoint.delete_child
            for spi in [view.spi_in for sa in mine for view in sa.children if view.child == child]:
                act_on_child(spi, now)
        self.pump(now)

    def redirect(self, connection: str, to: bytes, now: int) -> int:
        """Send those who have called us to another gateway; how many were told."""
        told = self.endpoint.redirect(connection, to, now)
        self.pump(now)
        return told

    def tick(self, now: int) -> None:
        """The time that `pace` was told has come."""
        self.engine.aggfrag.handle_timer(now)
        self.flow(now)

    def flow(self, now: int) -> None:
        """Carry out what AGGFRAG SAs have come up with: after every Queued and Aggregate, and each `tick`."""
        fleet = self.engine.aggfrag
        if self._flowing:
            return  # a packet that was handed out has led to another one
        self._flowing = True
        while fleet.departures or fleet.deliveries:
            if fleet.departures:
                self.depart(fleet.departures.popleft(), now)
            else:
                self.hand_out(fleet.deliveries.popleft(), now)
        self._flowing = False
        if (at := fleet.next_timer) is not None:
            self.pace(at, now)

    def found_stray(self, outer: Buf, now: int) -> None:
        """A packet with an unknown SPI was dropped: where crashes are detected, its sender is told."""
        if self._detects_crashes and (told := stray(outer, self.config)) is not None:
            self.endpoint.unknown_spi(*told, now)
            self.pump(now)

    def drain_engine(self, now: int) -> None:
        """Tell IKE what the data plane noticed; worth a call when `engine.events` is not empty."""
        while (event := self.engine.next_event()) is not None:
            if isinstance(event, PeerMoved):
                self.endpoint.esp_peer_moved(event.spi_in, event.src, now)
            elif isinstance(event, ResourceWanted):
                self.endpoint.add_resource(event.spi_in, event.cpu, now)
            elif isinstance(event, SelectorMismatch):
                self.endpoint.selectors_violated(event.spi_in, event.packet, now)
            else:
                hard = isinstance(event, SequenceExhausted) or event.hard
                self.endpoint.expire(event.spi_in, hard, now)
        self.pump(now)

    def protecting_address(self, dst: bytes, own: Iterable[bytes]) -> bytes | None:
        """The first of `own` inside the selectors that protect `dst`, as strongSwan's routes prefer it.

        A virtual IP of the connection comes before all others. So a flow that begins after a move still fits
        the SA, whose selectors did not move.
        """
        own = tuple(own)
        for policy in self.engine.spd.towards(dst):
            if policy.action is Action.PROTECT:
                candidates = (*self.virtual_ips.of(policy.connection), *own)
                fitting = [a for a in candidates if len(a) == len(dst) and _inside(a, policy.local_ts)]
                if fitting:
                    return fitting[0]
        return None

    def is_superseded(self, src: bytes, dst: bytes) -> bool:
        """Whether packets to `dst` should come from a virtual IP by now, and not from `src`."""
        if not self.virtual_ips:
            return False
        policy = next((p for p in self.engine.spd.towards(dst) if p.connection), None)
        if policy is None or not self.virtual_ips.excludes(policy, src):
            return False
        return any(len(vip) == len(dst) for vip in self.virtual_ips.of(policy.connection))

    # IkeDriver

    def apply(self, event: Event, now: int) -> None:
        if type(event) in _HARMLESS:
            self.ledger.enter(event, None, now)
        else:
            self._act(event, now)
        self.observe(event, now)

    def pump(self, now: int) -> None:
        super().pump(now)
        while self._released:
            self._release(*self._released.pop(0), now)
        if self.engine.aggfrag:
            self.flow(now)

    # Helpers, in call order

    def _act(self, event: Event, now: int) -> None:
        """Bring the data plane and the packets that wait in line with the SAs, and note the event."""
        pair = None
        if isinstance(event, ChildSaUp):
            bound = event.share is not None and event.share.is_bound
            self._failed.pop((event.connection, event.child), None)
            self._sas[event.connection, event.child] += not bound
            # Whoever asked for a rekeying may send at once; who agreed waits for a sign (RFC 7296 2.8).
            old = 0 if event.initiator else event.replaces
            self.engine.install(
                self._spec(event), now, self._special(event), successor_of=old, replaces=event.replaces
            )
            policies = self._policies.setdefault((event.connection, event.child), {})
            policies[event.spi_in] = self.engine.sad[event.spi_in].policy
            if not bound:
                self._released.append(((event.connection, event.child), event.spi_in))
        elif isinstance(event, ChildSaRetired):
            self.engine.retire(event.spi_in)
        elif isinstance(event, ChildSaDown):
            pair = self.engine.sad.get(event.spi_in)
            self.engine.remove(event.spi_in)
            self._policies.get((event.connection, event.child), {}).pop(event.spi_in, None)
            self._sas[event.connection, event.child] -= not (pair is not None and pair.is_bound)
            self._trap(event)
        elif isinstance(event, PathChanged):
            for spi in event.spis_in:
                self.engine.move(spi, event.local, event.remote, event.encap)
        elif isinstance(event, VirtualIpAssigned):
            if event.ours and self.virtual_ips.assigned(event):
                self.take_address(event.address, now)
        elif isinstance(event, VirtualIpReleased):
            if event.ours and self.virtual_ips.released(event):
                self.give_up_address(event.address, now)
        elif isinstance(event, ChildFailed) and event.initiator:
            self._refused((event.connection, event.child), event.reason, now)
        self.ledger.enter(event, pair, now)
        if isinstance(event, IkeSaDown):
            self._went_down(event, now)

    def _spec(self, event: ChildSaUp) -> ChildSpec:
        child = self._connections[event.connection].child(event.child)
        return replace(child_spec(event), priority=priority_of(child), fragments=event.fragments)

    def _special(self, event: ChildSaUp) -> list[Policy]:
        """The policies that a new SA does not stand before, as their order decides (RFC 4301 4.4.1).

        Those of children that stand before its own in the configuration: of their SAs, and where they can
        ask for one.
        """
        children = self._connections[event.connection].children
        earlier = takewhile(lambda name: name != event.child, (child.name for child in children))
        found: list[Policy] = []
        for key in ((event.connection, name) for name in earlier):
            found += self._policies.get(key, {}).values()
            trap = self._traps.get(key)
            found += [trap.policy] if trap is not None and not trap.mute else []
        return found

    def _trap(self, event: ChildSaDown) -> None:
        """From now on a packet may ask for this Child SA, if close_action or dpd_action is trap."""
        connection = self._connections[event.connection]
        child = connection.child(event.child)
        if child and connection.remote_addrs and action_after(child, event.reason) is StartAction.TRAP:
            key = (event.connection, event.child)
            if (trap := self._traps.get(key)) is not None:
                self._traps[key] = replace(trap, mute="")

    def _release(self, key: _Key, spi_in: int, now: int) -> None:
        """Send what has waited for a child; what its new SA is not for asks for another (RFC 7296 2.9).

        The first SA of a child may not be the answer to the packet that asked. Where a second is none, the
        peer does not want such packets.
        """
        asked = self._asked.pop(key, None)
        waiting = self._held.pop(key, ())
        pair = self.engine.sad.get(spi_in)
        if asked is not None and pair is not None and not _fits(asked, pair.outbound.spec):
            if self._sas[key] > 1:
                self._failed[key] = (now + RETRY_AFTER, NARROWED)
            self._drop_copy(key, spi_in, now)
        for packet in waiting:
            self.resend(packet, now)

    def _drop_copy(self, key: _Key, spi_in: int, now: int) -> None:
        """Delete an SA that was made for nothing: another one has its selectors already."""
        new = self.engine.sad[spi_in].outbound.spec
        others = (pair.outbound.spec for spi, pair in self.engine.sad.items() if spi != spi_in)
        wanted = (*key, new.local_ts, new.remote_ts)
        if any((old.connection, old.child, old.local_ts, old.remote_ts) == wanted for old in others):
            self.endpoint.delete_child(spi_in, now)
            self.pump(now)

    def _went_down(self, event: IkeSaDown, now: int) -> None:
        """Packets wait no longer; after a failed negotiation the next one does not start another at once."""
        if event.reason in _SUCCEEDED:
            return
        held = [key for key in self._held if key[0] == event.connection]
        for key in held:
            self._give_up(key, event.reason, now)
        if self.ledger.records[event.ike_id].state == "failed":
            self._failed.update(dict.fromkeys(held, (now + RETRY_AFTER, f"no SA: {event.reason}")))

    def _refused(self, key: _Key, reason: Reason, now: int) -> None:
        """The peer does not want a Child SA: ask again in a while, and not with every packet."""
        delay = RETRY_SOON if reason is Reason.TEMPORARY_FAILURE else RETRY_AFTER
        self._failed[key] = (now + delay, f"no SA: {reason}")
        self._give_up(key, reason, now)

    def _give_up(self, key: _Key, reason: Reason, now: int) -> None:
        self._asked.pop(key, None)
        for packet in self._held.pop(key, ()):
            self._drop_for_want(packet, f"no SA: {reason}", now)

    def _drop_for_want(self, packet: P, reason: str, now: int) -> None:
        """A packet ends here because there is no SA for it."""
        self.xfrm[NO_STATE] += 1
        self.drop(packet, reason, now)


def child_spec(event: ChildSaUp) -> ChildSpec:
    """What the data plane needs to know of a Child SA that IKEv2 has negotiated."""
    return ChildSpec(
        connection=event.connection,
        child=event.child,
        spi_in=event.spi_in,
        spi_out=event.spi_out,
        mode=event.mode,
        protocol=Protocol.AH if event.suite.protocol is ProtocolId.AH else Protocol.ESP,
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
        soft_limit=event.soft_limit,
        hard_limit=event.hard_limit,
        cpi_in=event.cpi_in,
        cpi_out=event.cpi_out,
        share=event.share,
        outer_fields=event.outer,
        df=event.handling.df,
        handling=event.handling,
        original=event.original,
        tracked=event.tracked,
        iptfs=event.iptfs,
        aggfrag=event.aggfrag,
    )


def _inside(address: bytes, selectors: tuple[Selector, ...]) -> bool:
    return any(
        selector.contains(Selector.host(address, selector.protocol, selector.ports)) for selector in selectors
    )


def _fits(packet: tuple[Selector, Selector], spec: ChildSpec) -> bool:
    """Whether an SA is for a packet with these selectors."""
    sides = zip(packet, (spec.local_ts, spec.remote_ts), strict=True)
    return all(any(selector.contains(own) for selector in selectors) for own, selectors in sides)
