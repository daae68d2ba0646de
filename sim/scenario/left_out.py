"""Which selectors that a file leaves out keep a flow from its tunnel.

A side without selectors stands for the tunnel's own end there (`dynamic`), and that is easily forgotten for
a gateway: then what is for the network behind it wanders through the clear until nobody knows a route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sim.ike.config import ConnectionConfig
from sim.scenario.errors import Path
from sim.scenario.walk import Way, own_addresses
from sim.scenario.world import World
from sim.tunnels.traps import Trap, traps
from sim.wire.selector import Selector


def left_out(world: World, way: Way, dst: bytes) -> str:
    """What to write for the packets of a way that fails, and where; empty when selectors are not the cause.

    That is so where it passes an end of a tunnel, and one side fits the packet while the other one is empty.
    """
    for path in _empty_sides(world, way, dst):
        at = world.scenario.problem(path, "")
        text = "names no network, so on that side the tunnel covers its own end alone: name the network there"
        return f"; {at.key} ({at.where}) {text}"
    return ""


def _empty_sides(world: World, way: Way, dst: bytes) -> Iterator[Path]:
    for node in dict.fromkeys(node for stretch in way.stretches for node in stretch):
        stack = world.stacks.get(node)
        if stack is None:
            continue
        for trap in traps(stack.config.connections, own_addresses(world.nodes[node]), stack.callers):
            side = _empty_side(stack.config.connections, trap, way.origin, dst)
            if side:
                policy = trap.policy
                yield "connections", node, policy.connection, "children", policy.child, side


def _empty_side(
    connections: Iterable[ConnectionConfig], trap: Trap, sources: Iterable[bytes], dst: bytes
) -> str:
    connection = next(one for one in connections if one.name == trap.policy.connection)
    child = connection.child(trap.policy.child)
    assert child is not None, "a trap is made of a child"
    local = any(_covers(trap.policy.local_ts, src) for src in sources)
    remote = _covers(trap.policy.remote_ts, dst)
    if remote and not local and not child.local_ts:
        return "local_ts"
    return "remote_ts" if local and not remote and not child.remote_ts else ""


def _covers(selectors: Iterable[Selector], address: bytes) -> bool:
    """Whether some packet with this address is meant."""
    return any(one.intersect(Selector.host(address, one.protocol, one.ports)) for one in selectors)
