"""Whether the addresses and links of a scenario make a network.

A NAT separates two realms, and a host that is in both does not join them: the same private network may be in
many realms, but within one realm an address has one owner and a network lies on one link.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterator

from sim.scenario.errors import Path
from sim.scenario.schema import HostNode, NatNode, Node, Scenario

Found = Iterator[tuple[Path, str]]
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
End = tuple[str, str]
"""A node and one of its interfaces."""

IPV6_MIN_MTU = 1280  # RFC 8200 5


def check_addresses(scenario: Scenario) -> Found:
    """One owner for each address of a realm, and of a node; none that stands for a network."""
    realms = _realms(scenario)
    owners: dict[tuple[object, object], End] = {}
    for end, address in _addresses(scenario):
        path = _path(end)
        for scope in (realms[end], end[0]):
            owner = owners.setdefault((scope, address.ip), end)
            if owner != end:
                yield path, f"{address.ip} is the address of {':'.join(owner)} already"
        network = address.network
        if address.version == 4 and network.prefixlen < 31:
            if address.ip == network.network_address:
                yield path, f"{address.ip} stands for the network {network} itself: choose another address"
            elif address.ip == network.broadcast_address:
                yield path, f"{address.ip} is the broadcast address of {network}: choose another address"


def check_links(scenario: Scenario) -> Found:
    """Links join known interfaces, every interface is linked once, and both ends share a network."""
    linked: dict[str, int] = {}
    for index, link in enumerate(scenario.links):
        path: Path = ("links", index, "ends")
        problems = [text for end in link.ends for text in _end_problems(scenario, end)]
        for end in link.ends:
            if end in linked:
                problems.append(f"{end} is at the end of {_link_name(linked[end], index)} already")
            linked.setdefault(end, index)
        yield from ((path, text) for text in problems or _network_problems(scenario, link.ends))
        if link.mtu < IPV6_MIN_MTU and any(_has_ipv6(scenario, end) for end in link.ends):
            yield ("links", index, "mtu"), f"IPv6 needs at least {IPV6_MIN_MTU} B (RFC 8200 5)"
    for node, model in scenario.nodes.items():
        for name in model.interfaces:
            if f"{node}:{name}" not in linked:
                yield ("nodes", node, "interfaces", name), f"no link ends at {node}:{name}"


def check_networks(scenario: Scenario) -> Found:
    """Within a realm, networks of different links do not overlap."""
    realms = _realms(scenario)
    placed: list[tuple[int, Network, int]] = []
    for index, link in enumerate(scenario.links):
        ends = [end for end in map(_split, link.ends) if end in realms]
        here = {(realms[end], address.network) for end in ends for address in _of(scenario, end)}
        placed += [(realm, network, index) for realm, network in sorted(here, key=str)]
    for later, earlier in sorted(_overlaps(placed)):
        (_, network, index), (_, other, other_index) = placed[later], placed[earlier]
        other_link = " - ".join(scenario.links[other_index].ends)
        yield ("links", index, "ends"), f"{network} overlaps {other} of the link {other_link}"


def _overlaps(placed: list[tuple[int, Network, int]]) -> Iterator[tuple[int, int]]:
    """The positions of networks of two links that overlap, the later one first.

    Of two networks that overlap one lies inside the other: in the order of their first addresses, the wider
    one first, those around a network are found on a stack.
    """

    def place(position: int) -> tuple[int, int, int, int]:
        realm, network, _ = placed[position]
        return realm, network.version, int(network.network_address), network.prefixlen

    around: list[int] = []
    for position in sorted(range(len(placed)), key=place):
        realm, network, index = placed[position]
        while around and not _contains(placed[around[-1]], realm, network):
            around.pop()
        for other in around:
            if placed[other][2] != index:
                yield max(position, other), min(position, other)
        around.append(position)


def _contains(placed: tuple[int, Network, int], realm: int, network: Network) -> bool:
    wide = placed[1]
    return placed[0] == realm and wide.version == network.version and network.network_address in wide


def _realms(scenario: Scenario) -> dict[End, int]:
    """The number of the realm that each interface lies in."""
    ends = [(node, name) for node, model in scenario.nodes.items() for name in model.interfaces]
    above = {end: end for end in ends}
    pairs = [(_split(a), _split(b)) for a, b in (link.ends for link in scenario.links)]
    for node, model in scenario.nodes.items():
        joined = _joined(model)
        pairs += [((node, joined[0]), (node, other)) for other in joined[1:]]
    for a, b in pairs:
        if a in above and b in above:
            above[_top(above, b)] = _top(above, a)
    numbers = {end: number for number, end in enumerate(ends)}
    return {end: numbers[_top(above, end)] for end in ends}


def _top(above: dict[End, End], end: End) -> End:
    """The end that stands for all of its realm; the way there becomes shorter each time."""
    while above[end] != end:
        above[end] = above[above[end]]
        end = above[end]
    return end


def _joined(model: Node) -> list[str]:
    """The interfaces between which packets pass with their addresses unchanged."""
    if isinstance(model, HostNode):
        return []
    outside = model.outside if isinstance(model, NatNode) else None
    return [name for name in model.interfaces if name != outside]


def _end_problems(scenario: Scenario, end: str) -> Iterator[str]:
    node, name = _split(end)
    if node not in scenario.nodes:
        yield f"there is no node `{node}`{_hint(node, list(scenario.nodes))}"
    elif name not in scenario.nodes[node].interfaces:
        yield f"{node} has no interface `{name}`{_hint(name, list(scenario.nodes[node].interfaces))}"


def _network_problems(scenario: Scenario, ends: tuple[str, str]) -> Iterator[str]:
    if ends[0] == ends[1]:
        yield f"both ends are {ends[0]}"
        return
    first, second = ({address.network for address in _of(scenario, _split(end))} for end in ends)
    if not first & second:
        texts = (" and ".join(map(str, sorted(networks, key=str))) for networks in (first, second))
        yield "its ends are not in one network: {} has {}, {} has {}".format(
            *(word for pair in zip(ends, texts, strict=True) for word in pair)
        )


def _addresses(scenario: Scenario) -> Iterator[tuple[End, Interface]]:
    for node, model in scenario.nodes.items():
        for name in model.interfaces:
            for address in _of(scenario, (node, name)):
                yield (node, name), address


def _of(scenario: Scenario, end: End) -> list[Interface]:
    return [ipaddress.ip_interface(text) for text in scenario.nodes[end[0]].interfaces[end[1]]]


def _has_ipv6(scenario: Scenario, end: str) -> bool:
    node, name = _split(end)
    return node in scenario.nodes and any(":" in a for a in scenario.nodes[node].interfaces.get(name, ()))


def _split(end: str) -> End:
    node, _, name = end.partition(":")
    return node, name


def _path(end: End) -> Path:
    return "nodes", end[0], "interfaces", end[1]


def _link_name(other: int, index: int) -> str:
    return "this link" if other == index else f"links.{other}"


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(known)}"
