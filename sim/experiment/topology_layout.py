"""Where things are in the picture of a scenario: nodes in columns, tunnels as arcs over them.

One unit is one inch of a new figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import networkx as nx

from sim.scenario.schema import Connection, Scenario

COLUMN, ROW = 2.1, 1.8
NODE = 0.62
"""The height of a node."""

Place = tuple[float, float]


class Arc(NamedTuple):
    """A quadratic Bezier curve from `start` to `end`; its middle is `top`."""

    start: Place
    control: Place
    end: Place
    label: str

    @property
    def top(self) -> Place:
        (x0, y0), (x, y), (x1, y1) = self.start, self.control, self.end
        return (x0 + 2 * x + x1) / 4, (y0 + 2 * y + y1) / 4


def node_places(scenario: Scenario) -> dict[str, Place]:
    """Columns by the distance from one end of the longest way through the network."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(scenario.nodes)
    graph.add_edges_from((node_of(link.ends[0]), node_of(link.ends[1])) for link in scenario.links)
    places: dict[str, Place] = {}
    floor = 0.0
    for island in nx.connected_components(graph):
        columns = _columns(graph.subgraph(island), [name for name in scenario.nodes if name in island])
        tallest = max(map(len, columns))
        for x, column in enumerate(columns):
            for y, name in enumerate(column):
                places[name] = (x * COLUMN, floor + ((len(column) - tallest) / 2 - y) * ROW)
        floor -= tallest * ROW
    return places


def _columns(graph: nx.Graph[str], names: list[str]) -> list[list[str]]:
    start = max(names, key=lambda name: max(nx.single_source_shortest_path_length(graph, name).values()))
    columns: list[list[str]] = []
    height: dict[str, float] = {}
    for layer in nx.bfs_layers(graph, start):
        column = sorted(
            (name for name in names if name in layer), key=lambda name: _pull(graph, name, height)
        )
        columns.append(column)
        height |= {name: y - (len(column) - 1) / 2 for y, name in enumerate(column)}
    return columns


def _pull(graph: nx.Graph[str], name: str, height: dict[str, float]) -> float:
    """The mean height of the neighbours that are placed already, so that few links cross."""
    placed = [height[other] for other in graph[name] if other in height]
    return sum(placed) / len(placed) if placed else 0.0


def tunnel_ends(scenario: Scenario) -> Iterator[tuple[str, str, str]]:
    """(initiator, responder, label) of each connection that knows where its peer is."""
    owners = {
        address.split("/")[0]: name
        for name, node in scenario.nodes.items()
        for addresses in node.interfaces.values()
        for address in addresses
    }
    for node, connections in scenario.connections.items():
        for name, connection in connections.items():
            peers = dict.fromkeys(owners[text] for text in connection.remote_addrs if text in owners)
            for peer in peers:
                yield node, peer, f"{name}: {_children(connection)}"


def _children(connection: Connection) -> str:
    kinds = {
        f"{child.mode} mode, AH {child.ah_proposals[0]}"
        if child.ah_proposals
        else f"{child.mode} mode, {child.esp_proposals[0]}"
        for child in connection.negotiated.values()
    }
    return "; ".join(sorted(kinds))


def tunnel_arc(places: dict[str, Place], initiator: str, responder: str, label: str) -> Arc:
    """It passes over every node between its ends, or beside those of its column."""
    (x0, y0), (x1, y1) = places[initiator], places[responder]
    if x0 == x1:
        return Arc((x0, y0), (x0 + COLUMN, (y0 + y1) / 2), (x1, y1), label)
    rise = 0.3 * abs(x1 - x0) + 0.5
    for x, y in places.values():
        if min(x0, x1) < x < max(x0, x1):
            t = (x - x0) / (x1 - x0)
            line = y0 + t * (y1 - y0)
            rise = max(rise, (y + NODE / 2 + 0.45 - line) / (2 * t * (1 - t)))
    return Arc((x0, y0), ((x0 + x1) / 2, (y0 + y1) / 2 + rise), (x1, y1), label)


def node_of(end: str) -> str:
    """The node of a link's end, `node:interface`."""
    return end.split(":")[0]
