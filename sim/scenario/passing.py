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


def note_courses(world: World, now: int) -> None:
    """Keep what the flows pass from now on; to be called when an event has switched an interface."""
    if not world.flows:
        return
    down = frozenset(label for label, port in world.ports.items() if not port.up)
    world.courses.note(now, down, lambda: _all_courses(world))


def _all_courses(world: World) -> dict[str, Course]:
    flows = (flow for flow in world.scenario.traffic if runs_here(flow, world.scenario, world.attached))
    return {name: course for flow in flows for name, course in _courses(world, flow)}


def _courses(world: World, flow: Flow) -> Iterator[tuple[str, Course]]:
    there = way_of(world, flow)
    ways = [there, *(ways_back(world, flow, there) if answers(world, flow) else ())]
    jumps = [jump for way in ways for jump in way.jumps]
    ports = {port for way in (*ways, *_outer_ways(world, jumps)) for port in way.ports}
    ends = {(node, jump.connection) for jump in jumps for node in (jump.entry, jump.exit)}
    for name in record_names(flow):
        yield name, Course(frozenset(ports), frozenset(ends))


def _outer_ways(world: World, jumps: list[Jump]) -> Iterator[Way]:
    """How the packets of tunnels go, from whichever end knows the address of the other."""
    for jump in jumps:
        for node, peer in ((jump.entry, jump.exit), (jump.exit, jump.entry)):
            connection = world.scenario.connections.get(node, {}).get(jump.connection)
            for remote in connection.remote_addrs if connection and peer else ():
                address = pack_address(remote)
                if peer in world.reached_at(address):
                    yield way_from(world, world.nodes[node], Selector.host(address), tunnels=False)
