"""The way of a packet from node to node by the routing tables, and the way of its answer.

A walk takes a tunnel wherever a policy could cover the packet, and is translated wherever it leaves a NAT by
its outside. Both are remembered, for an answer follows the mapping of a NAT, and may take a tunnel back.
Interfaces are as they are at the moment. Whether a tunnel is up and a mapping still lives is the simulation's
affair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sim.ike.config import ConnectionConfig
from sim.ipsec.policy import Action, Policy
from sim.net.nat import NatBox
from sim.net.node import IpNode
from sim.net.port import Port
from sim.scenario.world import Holder, World
from sim.tunnels.traps import shunt_policies, traps
from sim.tunnels.virtual import is_virtual
from sim.wire.address import format_address
from sim.wire.selector import ANY_PORTS, Selector

_MAX_HOPS = 255

Sources = tuple[bytes, ...]
"""The addresses that a packet may come from."""


@dataclass(frozen=True, slots=True)
class Jump:
    """Through a tunnel, from the node of one end to that of the other; `exit` is "" when nobody can tell."""

    connection: str
    entry: str
    exit: str
    sources: Sources


@dataclass(slots=True)
class Way:
    """Where packets pass. Between two stretches they are in a tunnel; `failure` is why they get stuck.

    `origin` are the sources that are left at the start, `sources` those that the last node sees. `ports` are
    `node:iface`, both ends of each link, without those that only the outer packet of a tunnel meets. `nats`
    translated it, each with the sources before.
    """

    origin: Sources
    sources: Sources
    stretches: list[list[str]] = field(default_factory=lambda: [[]])
    ports: list[str] = field(default_factory=list)
    nats: list[tuple[str, Sources]] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    failure: str = ""
    shunted: set[str] = field(default_factory=set)
    """Nodes whose policies bypass or discard it."""

    def narrow(self, sources: Sources) -> None:
        """A policy is for some of the sources alone."""
        self.sources = sources
        if not self.nats:
            self.origin = sources


def walk(world: World, start: IpNode, sources: Sources, target: Selector, *, tunnels: bool = True) -> Way:
    """The way of a packet that `start` sends to `target`, a host and perhaps its protocol and port."""
    way = Way(sources, sources)
    _Walker(world, way, target.protocol, target.ports, tunnels=tunnels).go(start, target.start)
    return way


def walk_back(world: World, start: IpNode, own: Selector, there: Way, asker: IpNode) -> Way:
    """The way of the answer that `start` sends from `own` to where the packet seemed to come from.

    `there` is the way of that packet, from one source; `asker` sent it.
    """
    way = Way((own.start,), (own.start,))
    _Walker(world, way, own.protocol, there=there, asker=asker).go(start, there.sources[0])
    return way


def own_addresses(node: IpNode, size: int | None = None) -> Sources:
    """The addresses of a node, of one family (4 or 16 octets) or of both."""
    own = (address for port in node.ports.values() for address, _ in port.addresses)
    return tuple(address for address in own if size in (None, len(address)))


class _Walker:
    def __init__(
        self,
        world: World,
        way: Way,
        protocol: int,
        ports: tuple[int, int] = ANY_PORTS,
        *,
        tunnels: bool = True,
        there: Way | None = None,
        asker: IpNode | None = None,
    ) -> None:
        self._world = world
        self._way = way
        self._protocol = protocol
        self._ports = ports
        self._tunnels = tunnels
        self._asker = asker
        self._mapped = list(there.nats) if there else []
        self._back = list(there.jumps) if there else []
        self._entered: set[str] = set()
        self._guessed = False

    def go(self, node: IpNode, dst: bytes) -> None:
        entry = ""
        for _ in range(_MAX_HOPS):
            self._way.stretches[-1].append(node.name)
            arrived = _is_at(self._world, node, dst)
            dst = _embedded(node, entry, dst)
            if self._mapped and self._mapped[-1][0] == node.name and _stands_for_others(node, dst):
                dst = self._mapped.pop()[1][0]
            elif (inside := self._let_in(node, entry, dst)) is not None:
                dst = inside
            elif arrived:
                self._fail(self._misdirected(node, entry, dst))
                return
            elif isinstance(node, NatBox) and entry == node.outside and len(dst) == 4:
                text = "lets in only what answers a packet that it translated"
                self._fail(f"{node.name} is a NAT and {text}, not what is for {format_address(dst)}")
                return
            jump = self._jump(node, dst)
            if jump is not None:
                self._enter(jump)
                if not jump.exit:
                    return
                node, entry = self._world.nodes[jump.exit], ""
                continue
            port = node.routes.lookup(dst)
            if port is None or port.link is None:
                hint = f"add it under nodes.{node.name}.routes, or cover it by a tunnel"
                self._fail(f"{node.name} has no route to {format_address(dst)} ({hint})")
                return
            self._leave(node, entry, port, len(dst))
            node, entry = port.link.dst.node, port.link.dst.name
            if not (node.forwarding or _is_at(self._world, node, dst)):
                self._fail(f"{node.name} is a host, it does not forward to {format_address(dst)}")
                return
        text = f"is not reached within {_MAX_HOPS} hops: the routes go round in a circle"
        self._fail(f"{format_address(dst)} {text}")

    def _let_in(self, node: IpNode, entry: str, dst: bytes) -> bytes | None:
        """Where a rule of a NAT leads what comes in uninvited."""
        if isinstance(node, NatBox) and entry == node.outside:
            return node.lets_in(dst, self._protocol, self._ports)
        return None

    def _fail(self, text: str) -> None:
        """Behind a peer that was guessed nothing is certain."""
        self._way.failure = "" if self._guessed else text

    def _misdirected(self, node: IpNode, entry: str, dst: bytes) -> str:
        """Why it is no use that an answer arrives here."""
        if self._asker is None:
            return ""
        if node is not self._asker:
            return f"{node.name} has {format_address(dst)} too, and gets it"
        if isinstance(node, NatBox) and entry == node.outside and len(dst) == 4:
            known = node.nat.profile.tracks_connections
            return "" if known else f"{node.name} is a NAT, which takes no answers for itself"
        return ""

    def _enter(self, jump: Jump) -> None:
        self._way.narrow(jump.sources)
        self._way.jumps.append(jump)
        self._way.stretches.append([])
        self._entered.add(jump.entry)

    def _leave(self, node: IpNode, entry: str, port: Port, family: int) -> None:
        assert port.link is not None
        self._way.ports += [repr(port), repr(port.link.dst)]
        if isinstance(node, NatBox) and entry and port.name == node.outside != entry:
            sources = node.nat.addresses if family == 4 else _swapped(node, self._way.sources)
            if sources:
                self._way.nats.append((node.name, self._way.sources))
                self._way.sources = sources

    def _jump(self, node: IpNode, dst: bytes) -> Jump | None:
        if not self._tunnels or node.name in self._entered:
            return None
        for jump in self._back:
            if jump.exit == node.name and dst in jump.sources:
                return Jump(jump.connection, jump.exit, jump.entry, self._way.sources)
        found = self._protecting(node, dst)
        if found is None:
            return None
        connection, sources = found
        peer = _owner(self._world, connection.remote_addrs)
        if peer is None or peer.name not in self._world.stacks:
            self._guessed = True
            peer = self._caller(node, dst)
        return Jump(connection.name, node.name, peer.name if peer else "", sources)

    def _protecting(self, node: IpNode, dst: bytes) -> tuple[ConnectionConfig, Sources] | None:
        """The first connection of a node that could protect the packet, and from which of its sources."""
        stack = self._world.stacks.get(node.name)
        if stack is None:
            return None
        connections = {connection.name: connection for connection in stack.config.connections}
        found = traps(stack.config.connections, own_addresses(node), stack.callers)
        before = shunt_policies(stack.config.shunts)
        for trap in found:
            while before and before[0].priority <= trap.policy.priority:
                if self._is_for(before.pop(0), node, dst):
                    return None
            if self._covers(trap.policy.remote_ts, dst, self._ports):
                sources = tuple(a for a in self._way.sources if self._covers(trap.policy.local_ts, a))
                connection = connections[trap.policy.connection]
                sources = self._as_assigned(node, connection, trap.policy.child, sources)
                if sources:
                    return connection, sources
        for policy in before:
            self._is_for(policy, node, dst)
        return None

    def _is_for(self, shunt: Policy, node: IpNode, dst: bytes) -> bool:
        """Whether a policy takes the packet past all tunnels here, or to its end, which is then meant."""
        sources = tuple(a for a in self._way.sources if self._covers(shunt.local_ts, a))
        if not sources or not self._covers(shunt.remote_ts, dst, self._ports):
            return False
        self._way.shunted.add(node.name)
        self._guessed |= shunt.action is Action.DISCARD
        return True

    def _as_assigned(
        self, node: IpNode, connection: ConnectionConfig, name: str, sources: Sources
    ) -> Sources:
        """Of the sources that may take a tunnel the virtual IPs alone, if any are expected."""
        child = connection.child(name)
        if child is None or not is_virtual(connection, child):
            return sources
        holder = Holder(node.name, connection.name)
        own = [a for a in self._world.expected_by(node.name) if self._world.virtual[a] == holder]
        return tuple(a for a in sources if a in own) if own else sources

    def _covers(
        self, selectors: Iterable[Selector], address: bytes, ports: tuple[int, int] = ANY_PORTS
    ) -> bool:
        """Whether some packet of that address, and one of these ports, is meant."""
        host = Selector.host(address, self._protocol, ports)
        return any(selector.intersect(host) is not None for selector in selectors)

    def _caller(self, node: IpNode, dst: bytes) -> IpNode | None:
        """Who may be at the other end of a connection that names no peer: best whoever has the address."""
        callers = [
            self._world.nodes[name]
            for name, stack in self._world.stacks.items()
            for connection in stack.config.connections
            if name != node.name
            and any(node.name in self._world.reached_at(a) for a in connection.remote_addrs)
        ]
        return min(callers, key=lambda caller: not _is_at(self._world, caller, dst), default=None)


def _embedded(node: IpNode, entry: str, dst: bytes) -> bytes:
    """Where a packet that came in by an interface goes from here: a NAT64 has others mean IPv4 by IPv6."""
    inside = isinstance(node, NatBox) and entry not in ("", node.outside)
    return (node.embedded(dst) or dst) if isinstance(node, NatBox) and inside else dst


def _stands_for_others(node: IpNode, dst: bytes) -> bool:
    """Whether an answer to an address is for somebody inside whose packet was translated here."""
    swapped = isinstance(node, NatBox) and len(dst) == 16 and node.lets_in(dst, 0, ANY_PORTS) is not None
    return node.is_local(dst) or swapped


def _swapped(node: NatBox, sources: Sources) -> Sources:
    """What NPTv6 makes of IPv6 sources; nothing when it leaves them alone."""
    found = (node.outward6(address) for address in sources)
    return tuple(address for address in found if address is not None)


def _is_at(world: World, node: IpNode, address: bytes) -> bool:
    """Whether a node has an address, or is expected to get it as its virtual IP."""
    holder = world.virtual.get(address)
    return node.is_local(address) if holder is None else holder.node == node.name


def _owner(world: World, addresses: tuple[bytes, ...]) -> IpNode | None:
    """Who has one of these addresses; None when the peer may be anybody."""
    reached = {name for address in addresses for name in world.reached_at(address)}
    names = reached if len(reached) == 1 else (name for name in world.nodes if name in reached)
    return next((world.nodes[name] for name in names), None)
