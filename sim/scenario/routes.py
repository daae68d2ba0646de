"""Routes of a scenario, computed once: who can reach which prefix, and through which port.

Every prefix is announced from the link that it lies on, along the fewest links, ties in the order of the
file. Three things do not pass an announcement on: a host; a NAT from its inside to its outside; a gateway
for a prefix that one of its tunnels protects, so that traffic whose tunnel is missing is dropped instead
of leaking around it. The default route of a
host is its first interface that is up, in the order of the file, a gateway's the first that no tunnel of its
own protects, and a NAT's is its outside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import networkx as nx

Prefix = tuple[bytes, int]
Attachment = tuple[str, str]
"""A node's name and the name of one of its interfaces."""

_INSIDE = ""
_TUNNELS = "(tunnels)"


@dataclass(frozen=True, slots=True)
class RoutingNode:
    """What routing has to know of a node.

    `ports` maps an interface to its prefixes. `announces(prefix, port)` says whether the node tells its other
    neighbours of a prefix that it knows through `port`. `leased` are the networks of virtual IPs behind its
    tunnels; the node tells of them where it has something to protect.
    """

    name: str
    ports: dict[str, tuple[Prefix, ...]]
    announces: Callable[[Prefix, str], bool]
    leased: tuple[Prefix, ...] = ()

    @property
    def inside(self) -> list[str]:
        """The ports of the networks that it protects, of which it tells nobody else."""
        return [port for port, own in self.ports.items() if not all(self.announces(p, port) for p in own)]


def compute_routes(
    nodes: Iterable[RoutingNode], links: Iterable[tuple[Attachment, Attachment]]
) -> Iterator[tuple[str, Prefix, str]]:
    """(node, prefix, interface) of every route that is neither connected nor a default."""
    by_name = {node.name: node for node in nodes}
    ends = list(links)
    for prefix, sources in _announcements(by_name, ends).items():
        graph = _announcement_graph(prefix, by_name, ends)
        hops = nx.multi_source_dijkstra_path_length(graph, set(sources), weight="hops")
        paths = nx.multi_source_dijkstra_path(graph, set(sources), weight="hops")
        connected = {node for node, _ in sources}
        for node in by_name.values():
            if node.name not in connected:
                yield from _best_route(node, prefix, hops, paths)


def to_prefix(text: str) -> Prefix:
    """The network of `192.0.2.1/24`, packed, and its length."""
    network = ipaddress.ip_network(text, strict=False)
    return network.network_address.packed, network.prefixlen


def _announcements(
    nodes: dict[str, RoutingNode], links: list[tuple[Attachment, Attachment]]
) -> dict[Prefix, list[Attachment]]:
    """Which attachments lie on each prefix."""
    found: dict[Prefix, list[Attachment]] = {}
    for attachment in (end for link in links for end in link):
        for prefix in nodes[attachment[0]].ports[attachment[1]]:
            found.setdefault(prefix, []).append(attachment)
    for node in nodes.values():
        for prefix in node.leased:
            found.setdefault(prefix, []).append((node.name, _TUNNELS))
    return found


def _announcement_graph(
    prefix: Prefix, nodes: dict[str, RoutingNode], links: list[tuple[Attachment, Attachment]]
) -> nx.DiGraph[Attachment]:
    """How an announcement travels: over a link for one hop, and through the inside of a node for none."""
    graph: nx.DiGraph[Attachment] = nx.DiGraph()
    graph.add_nodes_from((node.name, _TUNNELS) for node in nodes.values())
    for a, b in links:
        graph.add_edge(a, b, hops=1)
        graph.add_edge(b, a, hops=1)
    for node in nodes.values():
        for port in node.ports:
            graph.add_edge((node.name, _INSIDE), (node.name, port), hops=0)
            if prefix in node.leased and port in node.inside:
                graph.add_edge((node.name, _TUNNELS), (node.name, port), hops=0)
            if node.announces(prefix, port):
                graph.add_edge((node.name, port), (node.name, _INSIDE), hops=0)
    return graph


def _best_route(
    node: RoutingNode,
    prefix: Prefix,
    hops: Mapping[Attachment, float],
    paths: dict[Attachment, list[Attachment]],
) -> Iterator[tuple[str, Prefix, str]]:
    """The port that the announcement reached over a link, not from inside, in the fewest hops."""
    arrived = [
        port
        for port in node.ports
        if (path := paths.get((node.name, port))) is not None and path[-2][0] != node.name
    ]
    if arrived:
        yield node.name, prefix, min(arrived, key=lambda port: hops[node.name, port])
