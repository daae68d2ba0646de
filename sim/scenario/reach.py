"""Whether the traffic of a scenario could arrive, before a single packet is sent.

Every way is walked with all interfaces up, from any address that the source may use, and back where somebody
answers: it finds what is missing in a file. What happens to a packet on its way is the simulation's affair.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.net.node import IpNode
from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.flows import runs_here, target_address
from sim.scenario.left_out import left_out
from sim.scenario.schema import CbrFlow, Flow, PingFlow
from sim.scenario.walk import Way, own_addresses, walk, walk_back
from sim.scenario.world import World
from sim.traffic.cbr import DISCARD_PORT
from sim.wire.ip import Protocol
from sim.wire.selector import ANY_PORTS, Selector

_PROTOCOLS: dict[type, tuple[int, int]] = {
    CbrFlow: (Protocol.UDP, Protocol.UDP),
    PingFlow: (Protocol.ICMP, Protocol.ICMPV6),
}
"""What a flow is made of, in IPv4 and IPv6; a replay may hold anything."""


def check_reachability(world: World) -> None:
    """ScenarioError for every flow and every tunnel whose packets could not arrive."""
    problems = [*_flow_problems(world), *_tunnel_problems(world)]
    if problems:
        raise ScenarioError(problems)


def _flow_problems(world: World) -> Iterator[Problem]:
    for index, flow in enumerate(world.scenario.traffic):
        if not runs_here(flow, world.scenario, world.attached):
            continue
        way = way_of(world, flow)
        if way.failure:
            failure = way.failure + left_out(world, way, target_address(world, flow))
        else:
            failure = _failure_back(world, flow, way)
        if failure:
            yield world.scenario.problem(("traffic", index, "to"), f"unroutable: {failure}")


def _tunnel_problems(world: World) -> Iterator[Problem]:
    for node, stack in world.stacks.items():
        for connection in stack.config.connections:
            for remote in connection.remote_addrs:
                failure = way_from(world, world.nodes[node], Selector.host(remote), tunnels=False).failure
                if failure:
                    path = ("connections", node, connection.name, "remote_addrs")
                    yield world.scenario.problem(path, f"{node} cannot reach its peer: {failure}")


def way_of(world: World, flow: Flow) -> Way:
    """The way of a flow's packets from its source."""
    return way_from(world, world.nodes[flow.from_], _target(world, flow))


def ways_back(world: World, flow: Flow, there: Way) -> Iterator[Way]:
    """The ways of what a flow's target sends, one for each source that the flow may have.

    A flow takes the first that fits, which may be another once an event has switched an interface.
    """
    source, target = world.nodes[flow.from_], _target(world, flow)
    switched = any(event.node == flow.from_ for event in world.scenario.events)
    for src in there.origin if switched else there.origin[:1]:
        way = walk(world, source, (src,), target)
        if not isinstance(flow, PingFlow):
            # Recorded answers go to the client's own address, not to where its packets seem to come from.
            way = Way((src,), (src,), jumps=way.jumps)
        yield walk_back(world, world.nodes[flow.to.partition(":")[0]], target, way, source)


def answers(world: World, flow: Flow) -> bool:
    """Whether the target of a flow sends anything back that is known here; real hosts route by themselves."""
    if isinstance(flow, CbrFlow) or world.attached:
        return False
    return isinstance(flow, PingFlow) or world.flows[f"{flow.name}.down"].has_packets


def _failure_back(world: World, flow: Flow, there: Way) -> str:
    """Why no answer arrives; empty when there is none, or when some source of the flow would get it."""
    back = list(ways_back(world, flow, there)) if answers(world, flow) else []
    if not back or not all(way.failure for way in back):
        return ""
    hint = left_out(world, back[0], there.origin[0]) or left_out(world, there, target_address(world, flow))
    return f"on the way back, {back[0].failure}{hint}"


def _target(world: World, flow: Flow) -> Selector:
    dst = target_address(world, flow)
    ports = (DISCARD_PORT, DISCARD_PORT) if isinstance(flow, CbrFlow) else ANY_PORTS
    return Selector.host(dst, _PROTOCOLS.get(type(flow), (0, 0))[len(dst) == 16], ports)


def way_from(world: World, start: IpNode, target: Selector, *, tunnels: bool = True) -> Way:
    """How a packet to `target` goes, with any of the addresses of `start`; that of the route comes first."""
    dst = target.start
    routed = start.source_address(dst)
    own = own_addresses(start, len(dst))
    own += tuple(address for address in world.expected_by(start.name) if len(address) == len(dst))
    sources = own if routed is None else tuple(dict.fromkeys((routed, *own)))
    return walk(world, start, sources or (bytes(len(dst)),), target, tunnels=tunnels)
