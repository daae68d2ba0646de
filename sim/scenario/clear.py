"""Traffic that passes both ends of a tunnel, but beside the tunnel: found by routes and policies.

It may be meant: a child with a network in its selectors says what it is for. A gateway's child without any
protects the gateway alone, and hardly anybody means that when other nodes' traffic goes the same way.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.reach import way_of
from sim.scenario.schema import Flow
from sim.scenario.world import World


def check_clear(world: World) -> None:
    """Put flows in clear among the world's warnings; ScenarioError where selectors are left out."""
    problems = []
    for index, flow in enumerate(world.scenario.traffic):
        for node, peer, connection in _passed(world, flow):
            end = _end_without_network(world, flow, node, peer, connection)
            if end is not None:
                problems.append(_problem(world, flow, end, connection))
            else:
                world.warnings.append(_warning(world, index, flow, (node, peer), connection))
    if problems:
        raise ScenarioError(list(dict.fromkeys(problems)))


def _passed(world: World, flow: Flow) -> Iterator[tuple[str, str, str]]:
    """The two ends, and the name of the connection, of every tunnel that the flow goes along in clear."""
    way = way_of(world, flow)
    for stretch in way.stretches:
        for node in stretch:
            if node in way.shunted:
                continue  # a policy says so
            for name, peer in _calls(world, node):
                if peer in stretch:
                    yield node, peer, name


def _calls(world: World, node: str) -> Iterator[tuple[str, str]]:
    """Whom a node's connections have as their peer."""
    stack = world.stacks.get(node)
    for connection in () if stack is None else stack.config.connections:
        addresses = map(world.meant_by, connection.remote_addrs)
        peers = dict.fromkeys(name for address in addresses for name in world.owners(address))
        yield from ((connection.name, name) for name in peers)


def _end_without_network(world: World, flow: Flow, node: str, peer: str, connection: str) -> str | None:
    """The end that passes the flow on, though none of its children says for which network."""
    ends = {flow.from_, flow.to.partition(":")[0]}
    for end in (node, peer):
        children = world.scenario.connections.get(end, {}).get(connection)
        if end not in ends and children and not any(c.local_ts for c in children.negotiated.values()):
            return end
    return None


def _problem(world: World, flow: Flow, end: str, connection: str) -> Problem:
    child = next(iter(world.scenario.connections[end][connection].negotiated))
    text = (
        f"names no network, so the tunnel protects only {end} itself there, and flow `{flow.name}` passes in "
        f"clear: name the network behind {end}, or {end}'s own address if that is meant"
    )
    return world.scenario.problem(("connections", end, connection, "children", child, "local_ts"), text)


def _warning(world: World, index: int, flow: Flow, ends: tuple[str, str], connection: str) -> Problem:
    text = f"flow `{flow.name}` goes from {ends[0]} to {ends[1]} in clear: no child of {connection} covers it"
    return world.scenario.problem(("traffic", index), text)
