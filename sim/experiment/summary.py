"""The summary of a run: the dict behind `summary.json` and `ipsec-sim run --json`.

Its keys are a contract; they are listed in the README.
"""

from __future__ import annotations

from typing import Any

from sim.experiment.checks import check_rows
from sim.experiment.connections import connection_rows
from sim.experiment.flows import flow_rows
from sim.ipsec.xfrm import in_order
from sim.net.snmp import snmp_counters
from sim.scenario.faults import never_applied
from sim.scenario.world import World
from sim.tunnels.narrate import ANSWERS_STOLEN, NAT_SHARED
from sim.units import NS_PER_S


def summarise(world: World, build_s: float, capture_sha256: str | None) -> dict[str, Any]:
    """What happened up to now. `wall_s` is the event loop alone, `build_s` what came before it.

    `packets` counts every packet put on any link. `capture_sha256` is None when nothing was captured.
    """
    connections, flows = connection_rows(world), flow_rows(world)
    return {
        "name": world.scenario.name,
        "seed": world.seed,
        "duration_s": world.sim.now / NS_PER_S,
        "build_s": build_s,
        "wall_s": world.sim.wall_s,
        "packets": sum(port.link.packets for port in world.ports.values() if port.link is not None),
        "capture_sha256": capture_sha256,
        "warnings": [*map(str, world.warnings), *map(str, never_applied(world)), *_shared_nats(world)],
        "checks": check_rows(world, connections, flows),
        "connections": connections,
        "flows": flows,
        "drops": _drop_rows(world),
        "nodes": _node_rows(world),
    }


def _shared_nats(world: World) -> list[str]:
    """What became of clients that a responder could not tell apart by their addresses."""
    return [
        f"{entry.node}: {entry.detail}" for entry in world.log if entry.event in (NAT_SHARED, ANSWERS_STOLEN)
    ]


def _drop_rows(world: World) -> list[dict[str, Any]]:
    """Every reason at every node, most frequent first within a node."""
    return [
        {"node": name, "reason": str(reason), "packets": count}
        for name, node in world.nodes.items()
        for reason, count in sorted(node.drops.items(), key=lambda item: (-item[1], item[0]))
    ]


def _node_rows(world: World) -> list[dict[str, Any]]:
    """What Linux would count at every node, under its names; zeros are left out."""
    return [
        {
            "name": name,
            "xfrm": in_order(world.stacks[name].xfrm) if name in world.stacks else {},
            "ip": snmp_counters(node.drops),
        }
        for name, node in world.nodes.items()
    ]
