"""Who will call a gateway that names no peer, as far as the file says: a real gateway cannot know.

A road warrior's address is in no setting of its gateway, so the gateway has no policy for it before its SA
is up (RFC 4301 4.4.1.1 leaves that to the name in the SPD). Here the file knows every caller. Its addresses
let the gateway drop what it should protect, instead of sending it in clear.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.scenario.schema import Connection
from sim.scenario.schema_pools import pool_range
from sim.scenario.world import World
from sim.wire.address import pack_address
from sim.wire.selector import Selector


def callers_of(world: World, node: str) -> dict[str, tuple[Selector, ...]]:
    """By connection of a node, the selectors that its callers may bring for their own side."""
    connections = world.scenario.connections[node]
    return {
        name: tuple(dict.fromkeys(_selectors(world, node, connection)))
        for name, connection in connections.items()
        if not connection.remote_addrs
    }


def _selectors(world: World, node: str, answering: Connection) -> Iterator[Selector]:
    for peer, connections in world.scenario.connections.items():
        for calling in connections.values():
            if peer != node and _calls(world, node, calling) and _is_expected(calling, answering):
                for child in calling.negotiated.values():
                    yield from child.local_ts or _dynamic(world, node, peer, calling, answering)


def answering(world: World, node: str, calling: Connection) -> Iterator[tuple[str, Connection]]:
    """The nodes that a connection of a node calls, and what they may answer with."""
    called = {peer for address in calling.remote_addrs for peer in world.reached_at(pack_address(address))}
    for peer in (
        (name for name in world.scenario.connections if name in called) if len(called) > 1 else called
    ):
        for connection in world.scenario.connections.get(peer, {}).values():
            if peer != node and not connection.remote_addrs and _is_expected(calling, connection):
                yield peer, connection


def _dynamic(
    world: World, node: str, peer: str, calling: Connection, answering: Connection
) -> Iterator[Selector]:
    """What a caller may have without selectors: a virtual IP, or one of its own addresses."""
    if not answering.pools:
        yield from _addresses(world, peer)
    elif calling.vips:
        for name in answering.pools:
            yield Selector(*pool_range(world.scenario.pools[node][name].addrs))


def _calls(world: World, node: str, calling: Connection) -> bool:
    return any(node in world.reached_at(pack_address(address)) for address in calling.remote_addrs)


def _is_expected(calling: Connection, answering: Connection) -> bool:
    """Whether the caller's identity may fit; one that is not written is an address, whichever."""
    return None in (answering.remote_id, calling.local_id) or calling.local_id == answering.remote_id


def _addresses(world: World, node: str) -> Iterator[Selector]:
    for port in world.nodes[node].ports.values():
        yield from (Selector.host(address) for address, _ in port.addresses)
