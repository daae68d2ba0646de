"""Why the source of packets that were too big went on sending them (RFC 2923 2.1)."""

from __future__ import annotations

from collections.abc import Iterable

from sim.net.icmp_filter import TOO_BIG, dropped
from sim.scenario.world import World
from sim.traffic.record import Drop
from sim.tunnels.fitting import TOO_BIG as TOO_LONG


def silence(world: World, drops: Iterable[Drop]) -> str:
    """Who kept a source from hearing what fits; empty where its packets were not too big, or nobody did."""
    if all(drop.reason != TOO_LONG for drop in drops):
        return ""
    filters = [name for name, node in world.nodes.items() if node.drops[dropped(TOO_BIG)]]
    if not filters:
        return ""
    return f"; nobody told the source what fits: {' and '.join(filters)} dropped the ICMP that says so"
