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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Prefix = tuple[bytes, int]
Attachment = tuple[str, str]
"""A node's name and the name of one of its interfaces."""

_TUNNELS = "(tunnels)"


@dataclass(frozen=True, slots=True)
class RoutingNode:
    """What routing has to know of a node.

    `ports` maps an interface to its prefixes. `announces(prefix, port)` says whether the node tells its other
    neighbours of a prefix that it knows through `port`. `leased` are the networks of virtual IPs behind its
    tunnels; the node tells of them where it has something to protect. A node that does not learn has no
    routes but its default, and passes nothing on. `translated` are told by the box alone.
    """

    name: str
    ports: dict[str, tuple[Prefix, ...]]
    announces: Callable[[Prefix, str], bool]
    leased: tuple[Prefix, ...] = ()
    learns: bool = True
    translated: tuple[tuple[str, Prefix], ...] = ()
    """Ports, and prefixes that lie there for others though nothing has an address of them."""

    @property
    def inside(self) -> list[str]:
        """The ports of the networks that it protects, of which it tells nobody else."""
        return [port for port, own in self.ports.items() if not all(self.announces(p, port) for p in own)]


def compute_routes(
    nodes: Iterable[RoutingNode], links: Iterable[tuple[Attachment, Attachment]]
) -> Iterator[tuple[str, Prefix, str]]:
    """(node, prefix, interface) of every route that is neither connected nor a default.

    The time grows with the number of prefixes times the number of nodes that learn.
    """
    by_name = {node.name: node for node in nodes}
    peers = {end: other for a, b in links for end, other in ((a, b), (b, a))}
    spread = _Spread(by_name, peers)
    for prefix, sources in _announcements(by_name, peers).items():
        for name, arrived in spread.arrivals(prefix, sources).items():
            ports = by_name[name].ports
            yield name, prefix, min((port for port in ports if port in arrived), key=arrived.__getitem__)


def to_prefix(text: str) -> Prefix:
    """The network of `192.0.2.1/24`, packed, and its length."""
    network = ipaddress.ip_network(text, strict=False)
    return network.network_address.packed, network.prefixlen


def _announcements(
    nodes: dict[str, RoutingNode], ends: Iterable[Attachment]
) -> dict[Prefix, list[Attachment]]:
    """Which attachments lie on each prefix."""
    found: dict[Prefix, list[Attachment]] = {}
    for attachment in ends:
        for prefix in nodes[attachment[0]].ports[attachment[1]]:
            found.setdefault(prefix, []).append(attachment)
    for node in nodes.values():
        for port, prefix in node.translated:
            found.setdefault(prefix, []).append((node.name, port))
        for prefix in node.leased:
            found.setdefault(prefix, []).append((node.name, _TUNNELS))
    return found


class _Spread:
    """How announcements travel: over a link for one hop, and through the inside of a node for none."""

    def __init__(self, nodes: dict[str, RoutingNode], peers: dict[Attachment, Attachment]) -> None:
        self._nodes = nodes
        self._told = {end: other for end, other in peers.items() if nodes[other[0]].learns}
        self._ends: dict[str, list[Attachment]] = {}
        for end in self._told:
            self._ends.setdefault(end[0], []).append(end)

    def arrivals(self, prefix: Prefix, sources: list[Attachment]) -> dict[str, dict[str, int]]:
        """By node that is not connected to a prefix, after how many hops word of it came to which port."""
        connected = {name for name, _ in sources}
        arrived: dict[str, dict[str, int]] = {}
        know: set[str] = set()
        begin = [end for source in sources for end in self._told_by(source)]
        leaving = [*begin, *self._passed_on(prefix, begin, know)]
        hops = 0
        while leaving:
            hops += 1
            reached = [self._told[end] for end in leaving if end in self._told]
            for name, port in reached:
                if name not in connected:
                    arrived.setdefault(name, {}).setdefault(port, hops)
            leaving = self._passed_on(prefix, reached, know)
        return arrived

    def _told_by(self, source: Attachment) -> list[Attachment]:
        name, port = source
        return [(name, inside) for inside in self._nodes[name].inside] if port == _TUNNELS else [source]

    def _passed_on(self, prefix: Prefix, reached: list[Attachment], know: set[str]) -> list[Attachment]:
        """Where word leaves nodes that had not heard it before, or not from where they pass it on."""
        leaving: list[Attachment] = []
        for name, port in reached:
            if name not in know and self._nodes[name].announces(prefix, port):
                know.add(name)
                leaving += self._ends.get(name, ())
        return leaving
