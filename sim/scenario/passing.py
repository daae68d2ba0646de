"""What the flows of a running world pass at this moment."""

from __future__ import annotations

from collections.abc import Iterator

from sim.scenario.courses import Course
from sim.scenario.flows import runs_here
from sim.scenario.reach import answers, way_from, way_of, ways_back
from sim.scenario.schema import Flow, record_names
from sim.scenario.walk import Jump, Way
from sim.scenario.world import World
from sim.wire.address import pack_address
from sim.wire.selector import Selector


def note_courses(world: World, node: str, now: int) -> None:
    """Keep what the flows pass from now on; to be called when an event has switched interfaces of a node."""
    if not world.flows:
        return
    interfaces = world.scenario.nodes[node].interfaces
    own = [f"{node}:{name}" for name in interfaces]
    labels = [*own, *(world.link_peers[label] for label in own if label in world.link_peers)]
    states = [(label, world.ports[label].up) for label in labels]
    world.courses.note(now, states, lambda name: _course(world, world.flow_models[name]))


def begin_courses(world: World, now: int) -> None:
    """The same for the first time, and for all of them."""
    flows = [flow for flow in world.scenario.traffic if runs_here(flow, world.scenario, world.attached)]
    world.flow_models = {name: flow for flow in flows for name in record_names(flow)}
    world.link_peers = {one: other for link in world.scenario.links for one, other in _both_ways(link.ends)}
    ends = {flow.name: frozenset((flow.from_, flow.to.partition(":")[0])) for flow in flows}
    courses = {flow.name: _course(world, flow) for flow in flows}
    made = [(name, ends[flow.name], courses[flow.name]) for name, flow in world.flow_models.items()]
    world.courses.begin(now, [(label, port.up) for label, port in world.ports.items()], made)


def _both_ways(ends: tuple[str, str]) -> tuple[tuple[str, str], tuple[str, str]]:
    return ends, (ends[1], ends[0])


def _course(world: World, flow: Flow) -> Course:
    there = way_of(world, flow)
    ways = [there, *(ways_back(world, flow, there) if answers(world, flow) else ())]
    jumps = [jump for way in ways for jump in way.jumps]
    ports = {port for way in (*ways, *_outer_ways(world, jumps)) for port in way.ports}
    ends = {(node, jump.connection) for jump in jumps for node in (jump.entry, jump.exit)}
    return Course(frozenset(ports), frozenset(ends))


def _outer_ways(world: World, jumps: list[Jump]) -> Iterator[Way]:
    """How the packets of tunnels go, from whichever end knows the address of the other."""
    for jump in jumps:
        for node, peer in ((jump.entry, jump.exit), (jump.exit, jump.entry)):
            connection = world.scenario.connections.get(node, {}).get(jump.connection)
            for remote in connection.remote_addrs if connection and peer else ():
                address = pack_address(remote)
                if peer in world.reached_at(address):
                    yield way_from(world, world.nodes[node], Selector.host(address), tunnels=False)
