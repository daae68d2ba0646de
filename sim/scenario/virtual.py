"""Virtual IPs before there are any: who will be asked for one, what it may be, and which flows go to it.

Before the run every caller is expected to get the first address that is left, in the order of the file. That
is only for judging whether traffic could arrive; in the run a flow asks its target what it is called by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sim.ike.pool import PoolConfig
from sim.scenario.callers import answering
from sim.scenario.pools import pool_config
from sim.scenario.schema import Connection, Flow, Scenario
from sim.scenario.world import Holder, World
from sim.wire.address import pack_address
from sim.wire.selector import Selector


def expect_addresses(world: World) -> dict[bytes, Holder]:
    """What the callers of a scenario would get, one after the other."""
    expected: dict[bytes, Holder] = {}
    fresh: dict[tuple[PoolConfig, ...], Iterator[bytes]] = {}
    for node in world.scenario.connections:
        for holder, calling in _asking(world.scenario, node):
            pools = tuple(_pools(world, holder))
            for size in map(len, map(pack_address, calling.vips)):
                fitting = tuple(pool for pool in pools if len(pool.first) == size)
                left = fresh.setdefault(fitting, _addresses(fitting, size))
                address = next((address for address in left if address not in expected), None)
                if address is not None:
                    expected[address] = holder
    return expected


def virtual_target(world: World, flow: Flow) -> tuple[Holder, int] | None:
    """Whose virtual IP a flow goes to, and how many octets it has; None when it goes to a real address.

    It does so when it comes from where the target's tunnel leads to, and names no interface.
    """
    if flow.to in world.attached:
        return None
    for holder, calling in _asking(world.scenario, flow.to):
        sources = list(_names(world, flow.from_))
        for size in dict.fromkeys(len(pack_address(vip)) for vip in calling.vips):
            if any(_leads_to(calling, src) for src in sources if len(src.start) == size):
                return holder, size
    return None


def expected_address(world: World, holder: Holder, size: int) -> bytes:
    """What a flow's target is expected to get; of pools that are used up, what somebody else gets."""
    expected = world.expected_by(holder.node)
    own = (address for address in expected if world.virtual[address] == holder and len(address) == size)
    return next(own, None) or next(_addresses(_pools(world, holder), size), bytes(size))


def finder(world: World, holder: Holder, size: int) -> Callable[[], bytes | None]:
    """What tells the virtual IP at any moment of the run."""

    def find() -> bytes | None:
        assigned = world.stacks[holder.node].virtual_ips.of(holder.connection)
        return next((address for address in assigned if len(address) == size), None)

    return find


def _asking(scenario: Scenario, node: str) -> Iterator[tuple[Holder, Connection]]:
    """The connections of a node that ask for virtual IPs."""
    for name, connection in scenario.connections.get(node, {}).items():
        if connection.vips:
            yield Holder(node, name), connection


def _pools(world: World, holder: Holder) -> list[PoolConfig]:
    """The pools of whoever answers a connection."""
    calling = world.scenario.connections[holder.node][holder.connection]
    return [
        pool_config(name, world.scenario.pools[peer][name])
        for peer, connection in answering(world, holder.node, calling)
        for name in connection.pools
    ]


def _addresses(pools: Iterable[PoolConfig], size: int) -> Iterator[bytes]:
    for pool in pools:
        if len(pool.first) == size:
            for number in range(int.from_bytes(pool.first, "big"), int.from_bytes(pool.last, "big") + 1):
                yield number.to_bytes(size, "big")


def _names(world: World, node: str) -> Iterator[Selector]:
    """What a node may be called: its addresses, and those of the pools that it asks."""
    for port in world.nodes[node].ports.values():
        yield from (Selector.host(address) for address, _ in port.addresses)
    for holder, _ in _asking(world.scenario, node):
        yield from (Selector(pool.first, pool.last) for pool in _pools(world, holder))


def _leads_to(calling: Connection, src: Selector) -> bool:
    """Whether a tunnel is for what comes from an address; without selectors it is for its other end alone."""
    peers = tuple(Selector.host(pack_address(address)) for address in calling.remote_addrs)
    return any(
        selector.intersect(src._replace(protocol=selector.protocol, ports=selector.ports)) is not None
        for child in calling.negotiated.values()
        for selector in child.remote_ts or peers
        if not child.local_ts
    )
