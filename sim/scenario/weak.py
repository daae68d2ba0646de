"""Warnings of algorithms that RFC 8247 and RFC 8221 advise against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sim.ike.constants import ProtocolId
from sim.ike.proposals import parse_proposal
from sim.ike.status import weak_algorithms
from sim.scenario.errors import Path, Problem
from sim.scenario.schema import Connection, Scenario, Tunnel

Locate = Callable[[Path, str], Problem]


def weak_suites(scenario: Scenario, node: str | None = None) -> list[Problem]:
    """What a scenario as it was written, with its tunnels, should not use: all of it, or one node."""
    tunnels = {
        name: tunnel
        for name, tunnel in scenario.tunnels.items()
        if node in (None, tunnel.initiator, tunnel.responder)
    }
    found = list(_of_all(tunnels, ("tunnels",), scenario.problem))
    for name, connections in scenario.connections.items():
        if node in (None, name):
            found += weak_connections(connections, ("connections", name), scenario.problem)
    return found


def weak_connections(connections: Mapping[str, Connection], path: Path, locate: Locate) -> list[Problem]:
    """What connections, whose mapping stands at `path`, should not use."""
    return list(_of_all(connections, path, locate))


def _of_all(
    connections: Mapping[str, Connection] | Mapping[str, Tunnel], path: Path, locate: Locate
) -> Iterator[Problem]:
    for name, connection in connections.items():
        place = (*path, name, "proposals")
        yield from _of_list(connection.proposals, ProtocolId.IKE, place, locate)
        for child, model in connection.children.items():
            here = (*path, name, "children", child)
            yield from _of_list(model.esp_proposals, ProtocolId.ESP, (*here, "esp_proposals"), locate)
            yield from _of_list(model.ah_proposals, ProtocolId.AH, (*here, "ah_proposals"), locate)


def _of_list(
    proposals: tuple[str, ...], protocol: ProtocolId, path: Path, locate: Locate
) -> Iterator[Problem]:
    for index, text in enumerate(proposals):
        for sentence in weak_algorithms(parse_proposal(text, protocol)):
            yield locate((*path, index), sentence)
