"""Whether the traffic of a scenario could arrive, before a single packet is sent.

A walk from node to node by the routing tables, with every interface up, that takes a tunnel wherever a
connection's selectors could cover the packet. It finds what is missing in a file; what happens to a
packet on its way is the simulation's affair.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.ike.config import ConnectionConfig
from sim.net.node import IpNode
from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.flows import target_address
from sim.scenario.world import World
from sim.wire.address import format_address
from sim.wire.selector import Selector

_MAX_HOPS = 255


def check_reachability(world: World) -> None:
    """ScenarioError for every flow and every tunnel whose packets could not arrive."""
    problems = [*_flow_problems(world), *_tunnel_problems(world)]
    if problems:
        raise ScenarioError(problems)


def _flow_problems(world: World) -> Iterator[Problem]:
    for index, flow in enumerate(world.scenario.traffic):
        failure = _walk(world, world.nodes[flow.from_], target_address(world, flow))
        if failure:
            yield world.scenario.problem(("traffic", index, "to"), f"unroutable: {failure}")


def _tunnel_problems(world: World) -> Iterator[Problem]:
    for node, stack in world.stacks.items():
        for connection in stack.config.connections:
            for remote in connection.remote_addrs:
                failure = _walk(world, world.nodes[node], remote, tunnels=False)
                if failure:
                    path = ("connections", node, connection.name, "remote_addrs")
                    yield world.scenario.problem(path, f"{node} cannot reach its peer: {failure}")


def _walk(world: World, start: IpNode, dst: bytes, *, tunnels: bool = True) -> str | None:
    """Why a packet to `dst` gets stuck, or None when it arrives."""
    node, through = start, set[str]()
    own = [Selector.host(address) for port in start.ports.values() for address, _ in port.addresses]
    for _ in range(_MAX_HOPS):
        if node.is_local(dst):
            return None
        tunnel = _tunnel(world, node, own, dst) if tunnels and node.name not in through else None
        if tunnel is not None:
            through.add(node.name)
            peer = _owner(world, tunnel.remote_addrs)
            if peer is None:
                return None
            node = peer
            continue
        port = node.routes.lookup(dst)
        if port is None or port.link is None:
            hint = f"add it under nodes.{node.name}.routes, or cover it by a tunnel"
            return f"{node.name} has no route to {format_address(dst)} ({hint})"
        node = port.link.dst.node
        if not (node.forwarding or node.is_local(dst)):
            return f"{node.name} is a host, it does not forward to {format_address(dst)}"
    return f"{format_address(dst)} is not reached within {_MAX_HOPS} hops: the routes go round in a circle"


def _tunnel(world: World, node: IpNode, own: list[Selector], dst: bytes) -> ConnectionConfig | None:
    """The first connection of a node that could protect packets from one of `own` to `dst`."""
    stack = world.stacks.get(node.name)
    if stack is None:
        return None
    target = Selector.host(dst)
    for connection in stack.config.connections:
        for child in connection.children:
            remote = child.remote_ts or tuple(map(Selector.host, connection.remote_addrs))
            if _covers(remote, [target]) and _covers(child.local_ts, own):
                return connection
    return None


def _covers(selectors: tuple[Selector, ...], hosts: list[Selector]) -> bool:
    """Whether one of these hosts may be meant; no selectors are a peer's or an own address, yet unknown."""
    return not selectors or any(selector.contains(host) for selector in selectors for host in hosts)


def _owner(world: World, addresses: tuple[bytes, ...]) -> IpNode | None:
    """Who has one of these addresses; None when the peer may be anybody."""
    return next((node for node in world.nodes.values() if any(map(node.is_local, addresses))), None)
