"""What the bench measures of ours: the event loop of a chain of five hops, and of handshakes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from sim.crypto.ids import HashId
from sim.ike.proof import choose_signing
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


def handshakes(count: int, overrides: Mapping[str, object] | None = None) -> Sample:
    """IKE SAs with a Child SA each, both ends and the link between them included, building the world not."""
    scenario = load(HANDSHAKE, overrides)
    worlds = [build(scenario, seed) for seed in range(count)]
    for world in worlds:
        _use_keys(world)
    began = time.process_time()
    for world in worlds:
        world.sim.run(scenario.duration)
    seconds = time.process_time() - began
    return Sample(sum(map(_established, worlds)), seconds)


def _use_keys(world: World) -> None:
    """The first signature by an RSA key takes OpenSSL three times as long as all others."""
    for stack in world.stacks.values():
        for connection in stack.config.connections:
            signing = choose_signing(connection, frozenset({HashId.SHA2_256}))
            if signing is not None:
                signing.credential.key.sign(signing.scheme, b"")


def _established(world: World) -> bool:
    return all(len(stack.engine.sad) == 1 for stack in world.stacks.values())
