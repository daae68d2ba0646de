"""Whether the traffic of a scenario could arrive, before a single packet is sent.

A walk from node to node by the routing tables, with every interface up, that takes a tunnel wherever a
connection's selectors could cover the packet. It finds what is missing in a file; what happens to a
packet on its way is the simulation's affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sim.ike.config import ConnectionConfig
from sim.net.node import IpNode
from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.flows import runs_here, target_address
from sim.scenario.schema import CbrFlow, Flow, PingFlow
from sim.scenario.world import World
from sim.tunnels.traps import traps
from sim.wire.address import format_address
from sim.wire.ip import Protocol
from sim.wire.selector import Selector

_MAX_HOPS = 255
_PROTOCOLS: dict[type, tuple[int, int]] = {
    CbrFlow: (Protocol.UDP, Protocol.UDP),
    PingFlow: (Protocol.ICMP, Protocol.ICMPV6),
}
"""What a flow is made of, in IPv4 and IPv6; a replay may hold anything."""


@dataclass(slots=True)
class Way:
    """Where packets pass. Between two stretches they are in a tunnel; `failure` is why they get stuck."""

    stretches: list[list[str]] = field(default_factory=lambda: [[]])
    failure: str = ""

    def fails(self, why: str) -> Way:
        self.failure = why
        return self


def check_reachability(world: World) -> None:
    """ScenarioError for every flow and every tunnel whose packets could not arrive."""
    problems = [*_flow_problems(world), *_tunnel_problems(world)]
    if problems:
        raise ScenarioError(problems)


def _flow_problems(world: World) -> Iterator[Problem]:
    for index, flow in enumerate(world.scenario.traffic):
        if not runs_here(flow, world.scenario, world.attached):
            continue
        failure = way_of(world, flow).failure
        if failure:
            yield world.scenario.problem(("traffic", index, "to"), f"unroutable: {failure}")


def _tunnel_problems(world: World) -> Iterator[Problem]:
    for node, stack in world.stacks.items():
        for connection in stack.config.connections:
            for remote in connection.remote_addrs:
                failure = _walk(world, world.nodes[node], Selector.host(remote), tunnels=False).failure
                if failure:
                    path = ("connections", node, connection.name, "remote_addrs")
                    yield world.scenario.problem(path, f"{node} cannot reach its peer: {failure}")


def way_of(world: World, flow: Flow) -> Way:
    """The way of a flow's packets from its source."""
    dst = target_address(world, flow)
    protocol = _PROTOCOLS.get(type(flow), (0, 0))[len(dst) == 16]
    return _walk(world, world.nodes[flow.from_], Selector.host(dst, protocol))


def _walk(world: World, start: IpNode, target: Selector, *, tunnels: bool = True) -> Way:
    """How a packet to `target` goes, with any of the addresses of `start`."""
    node, dst, through, way = start, target.start, set[str](), Way()
    own = [Selector.host(address, target.protocol) for address in _addresses(start)]
    for _ in range(_MAX_HOPS):
        way.stretches[-1].append(node.name)
        if node.is_local(dst):
            return way
        tunnel = _tunnel(world, node, own, target) if tunnels and node.name not in through else None
        if tunnel is not None:
            through.add(node.name)
            way.stretches.append([])
            peer = _owner(world, tunnel.remote_addrs)
            if peer is None:
                return way
            node = peer
            continue
        port = node.routes.lookup(dst)
        if port is None or port.link is None:
            hint = f"add it under nodes.{node.name}.routes, or cover it by a tunnel"
            return way.fails(f"{node.name} has no route to {format_address(dst)} ({hint})")
        node = port.link.dst.node
        if not (node.forwarding or node.is_local(dst)):
            return way.fails(f"{node.name} is a host, it does not forward to {format_address(dst)}")
    text = f"{format_address(dst)} is not reached within {_MAX_HOPS} hops: the routes go round in a circle"
    return way.fails(text)


def _tunnel(world: World, node: IpNode, own: list[Selector], target: Selector) -> ConnectionConfig | None:
    """The first connection of a node that could protect packets from one of `own` to `target`."""
    stack = world.stacks.get(node.name)
    if stack is None:
        return None
    connections = {connection.name: connection for connection in stack.config.connections}
    for trap in traps(stack.config.connections, _addresses(node), stack.callers):
        if _covers(trap.policy.remote_ts, [target]) and _covers(trap.policy.local_ts, own):
            return connections[trap.policy.connection]
    return None


def _covers(selectors: tuple[Selector, ...], hosts: list[Selector]) -> bool:
    """Whether some packet of one of these hosts is meant."""
    return any(selector.intersect(host) is not None for selector in selectors for host in hosts)


def _addresses(node: IpNode) -> list[bytes]:
    return [address for port in node.ports.values() for address, _ in port.addresses]


def _owner(world: World, addresses: tuple[bytes, ...]) -> IpNode | None:
    """Who has one of these addresses; None when the peer may be anybody."""
    return next((node for node in world.nodes.values() if any(map(node.is_local, addresses))), None)
