"""What the bench measures of ours: the event loop of a chain of five hops, and of handshakes."""

from __future__ import annotations

import time
from pathlib import Path

from sim.scenario.build import build
from sim.scenario.load import load
from sim.scenario.world import World
from sim.units import NS_PER_S
from tests.bench.measure import INTERVAL_NS, Sample

CHAIN = Path(__file__).with_name("chain.yaml")
HANDSHAKE = Path(__file__).with_name("handshake.yaml")
_FLIGHT_NS = 100_000_000  # far more than the five hops take


def chain(packets: int) -> Sample:
    """Packets through the tunnel; the handshake comes before and is not counted."""
    stop = NS_PER_S + packets * INTERVAL_NS
    scenario = load(CHAIN, {"duration": f"{stop + _FLIGHT_NS} ns", "traffic.udp.stop": f"{stop} ns"})
    world = build(scenario, seed=1)
    world.sim.run(NS_PER_S)
    began = time.process_time()
    world.sim.run(scenario.duration)
    return Sample(world.flows["udp"].record.received, time.process_time() - began)


def handshakes(count: int) -> Sample:
    """IKE SAs with a Child SA each, both ends and the link between them included, building the world not."""
    scenario = load(HANDSHAKE)
    worlds = [build(scenario, seed) for seed in range(count)]
    began = time.process_time()
    for world in worlds:
        world.sim.run(scenario.duration)
    seconds = time.process_time() - began
    return Sample(sum(map(_established, worlds)), seconds)


def _established(world: World) -> bool:
    return all(len(stack.engine.sad) == 1 for stack in world.stacks.values())
