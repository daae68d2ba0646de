"""Nodes with a `count` as so many nodes, and with them their links, tunnels, traffic, events and checks.

Works on the plain form of a scenario that has been validated, so that the result is what a file with all of
them would load to. A link to a node that is there once becomes one link for each client:

    alice:lte (10.64.0.2/16) - core:cell (10.64.0.1/16)        alice: {count: 3}

    alice-1:lte (10.64.0.2/31) - core:cell-1 (10.64.0.3/31)
    alice-2:lte (10.64.0.4/31) - core:cell-2 (10.64.0.5/31)
    alice-3:lte (10.64.0.6/31) - core:cell-3 (10.64.0.7/31)

Addresses count up from the client's, within the network that both ends share, two for each link: that is what
a link between two nodes needs (RFC 3021 and RFC 6164). The other end has no address besides. A link between
two nodes with the same count joins them one by one and keeps its addresses: each pair is a network of its
own, such as a home behind its NAT.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sim.scenario.crowds import Crowds, called, member, members
from sim.scenario.errors import Path, Problem, ScenarioError
from sim.scenario.expand import both_ends, origins_of
from sim.scenario.multiply_uses import Uses, multiply_uses
from sim.scenario.schema import Scenario
from sim.scenario.source import original

Plain = dict[str, Any]
End = tuple[str, str]
_PER_LINK = 2


def multiply(scenario: Scenario) -> tuple[Scenario, list[Problem]]:
    """The scenario with every `count` carried out, and what is wrong with how it is used.

    One without any is returned as it is.
    """
    counts = {name: node.count for name, node in scenario.nodes.items() if node.count > 1}
    if not counts:
        return scenario, []
    return _Multiplier(scenario, counts).result()


class _Multiplier:
    def __init__(self, scenario: Scenario, counts: dict[str, int]) -> None:
        self._scenario = scenario
        self._counts = counts
        self._plain = scenario.plain()
        self._moved: dict[Path, Path] = {}
        self._problems: list[Problem] = []
        self._ports: dict[End, int] = {}
        """How often an interface of a node that is there once is needed."""
        self._addresses: dict[tuple[str, str, int], list[str]] = {}
        """Of (node, interface, number), where they are not those of the file."""
        self._became: dict[str, tuple[str, list[str]]] = {}
        """Of an address at the other end of clients' links: their entry, and what each has there instead."""

    def result(self) -> tuple[Scenario, list[Problem]]:
        self._links()
        self._tunnels()
        self._nodes()
        for section in ("connections", "pools"):
            self._plain[section] = self._copied((section,), self._plain[section])
        if self._plain.get("pki"):
            self._plain["pki"]["nodes"] = self._copied(("pki", "nodes"), self._plain["pki"].get("nodes", {}))
        uses = Uses(self._scenario, self._counts, self._ports, self._shifts())
        flows = multiply_uses(uses, self._plain, self._moved, self._problem)
        nodes = {own: name for name, count in self._counts.items() for own in members(name, count)}
        if self._problems:
            return self._scenario, self._problems
        return self._scenario.multiplied(self._plain, self._moved, Crowds(nodes, flows)), []

    def _links(self) -> None:
        """One link for each client; the interface at its other end is there as often."""
        links: list[Plain] = []
        for index, link in enumerate(self._plain["links"]):
            ends: list[End] = [(node, name) for node, _, name in (end.partition(":") for end in link["ends"])]
            counts = [self._counts.get(node, 1) for node, _ in ends]
            if min(counts) > 1 and counts[0] != counts[1]:
                text = f"joins {counts[0]} nodes to {counts[1]}: both counts must be equal, or one of them 1"
                self._problem(("links", index, "ends"), text)
                continue
            if min(counts) == 1 < max(counts):
                crowd = counts.index(max(counts))
                self._ports[ends[1 - crowd]] = max(counts)
                self._divide(ends[crowd], ends[1 - crowd], max(counts))
            for number in range(1, max(counts) + 1):
                self._moved["links", len(links)] = "links", index
                links.append(link | {"ends": [self._end(end, number) for end in ends]})
        self._plain["links"] = links

    def _end(self, end: End, number: int) -> str:
        node, name = end
        own = member(node, number) if node in self._counts else node
        return f"{own}:{member(name, number) if end in self._ports else name}"

    def _divide(self, client: End, other: End, count: int) -> None:
        """Two addresses for each link, from the client's on."""
        theirs = self._interfaces(other)
        networks = {address.network: str(address.ip) for address in theirs}
        for number in range(1, count + 1):
            self._addresses[*other, number] = []
            self._addresses[*client, number] = []
        for address in self._interfaces(client):
            shared = address.network in networks
            step = _PER_LINK if shared else 1
            length = address.network.max_prefixlen - 1 if shared else address.network.prefixlen
            last = int(address.ip) + step * (count - 1) | (1 if shared else 0)
            if last > int(address.network.broadcast_address):
                self._too_small(client, address, step, count)
                return
            kind = type(address.ip)
            if shared:
                became = [str(kind(int(address.ip) + step * number ^ 1)) for number in range(count)]
                self._became[networks[address.network]] = client[0], became
            for number in range(1, count + 1):
                own = int(address.ip) + step * (number - 1)
                self._addresses[*client, number].append(f"{kind(own)}/{length}")
                if shared:
                    self._addresses[*other, number].append(f"{kind(own ^ 1)}/{length}")
        for address in theirs:
            if address.network not in {own.network for own in self._interfaces(client)}:
                self._addresses[*other, 1].append(str(address))

    def _too_small(
        self, end: End, address: ipaddress.IPv4Interface | ipaddress.IPv6Interface, step: int, count: int
    ) -> None:
        left = int(address.network.broadcast_address) - int(address.ip) + 1
        text = (
            f"{address.network} has addresses for {max(0, left // step)} from {address.ip} on, {step} for "
            f"each, and count is {count}: write a wider network at both ends, or a lower first address"
        )
        self._problem(("nodes", end[0], "interfaces", end[1]), text)

    def _interfaces(self, end: End) -> list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
        node = self._scenario.nodes.get(end[0])
        return [ipaddress.ip_interface(text) for text in node.interfaces.get(end[1], ())] if node else []

    def _shifts(self) -> dict[End, int]:
        """By how much the addresses of a client's interface differ from those of the one before."""
        return {(node, name): _PER_LINK for node, name, number in self._addresses if node in self._counts}

    def _nodes(self) -> None:
        nodes: Plain = {}
        for name, node in self._plain["nodes"].items():
            count = self._counts.get(name)
            made = members(name, count) if count else [name]
            for number, own in enumerate(made, 1):
                if own in nodes or (own != name and own in self._scenario.nodes):
                    self._problem(("nodes", name, "count"), f"makes {own}, and there is a node of that name")
                nodes[own] = self._node(name, own, node, number)
        self._plain["nodes"] = nodes

    def _node(self, name: str, own: str, node: Plain, number: int) -> Plain:
        interfaces: Plain = {}
        place: Path = ("nodes", own, "interfaces")
        for interface, addresses in node["interfaces"].items():
            there: Path = ("nodes", name, "interfaces", interface)
            if (name, interface) in self._ports:
                for port in range(1, self._ports[name, interface] + 1):
                    made = member(interface, port)
                    if made in node["interfaces"]:
                        self._problem(there, f"is there for each client as {made}, and so is another one")
                    interfaces[made] = self._addresses[name, interface, port]
                    self._moved[*place, made] = there
            else:
                interfaces[interface] = self._addresses.get((name, interface, number), addresses)
        if own != name:
            self._moved["nodes", own] = "nodes", name
        for prefix, interface in node.get("routes", {}).items():
            if (name, interface) in self._ports:
                text = f"leads to {interface}, which there is for each client: routes follow from addresses"
                self._problem(("nodes", name, "routes", prefix), text)
        return {key: value for key, value in node.items() if key != "count"} | {"interfaces": interfaces}

    def _tunnels(self) -> None:
        """The tunnels of clients as connections: one of each client, and one that answers all of them."""
        for name, tunnel in self._scenario.tunnels.items():
            if tunnel.responder in self._counts:
                text = f"is {self._counts[tunnel.responder]} nodes: a node with `count` can only be initiator"
                self._problem(("tunnels", name, "responder"), text)
            elif tunnel.initiator in self._counts and tunnel.responder in self._scenario.nodes:
                self._tunnel(name)

    def _tunnel(self, name: str) -> None:
        tunnel = self._scenario.tunnels[name]
        try:
            ends = both_ends(self._scenario, name, tunnel)
        except ScenarioError as error:
            self._problems += error.problems
            return
        connections = self._plain["connections"]
        for node, connection in ends.items():
            if name in connections.get(node, {}):
                self._problem(("tunnels", name), f"{node} has a connection of that name already")
            connections.setdefault(node, {})[name] = connection
            self._moved |= origins_of(name, tunnel, node)
        answering = ends[tunnel.responder]
        own_id = ends[tunnel.initiator].get("local_id")
        if own_id is not None and answering.get("remote_id") == own_id:
            del answering["remote_id"]  # whoever of them it is
        eap_id = answering["remote"].get("eap_id")
        if eap_id is not None and called(eap_id, tunnel.initiator, "") is not None:
            answering["remote"]["eap_id"] = "%any"
        secrets = answering.get("eap_secrets", {})
        for user in list(secrets):
            made = self._called(tunnel.initiator, user)
            if made:
                secret = secrets.pop(user)
                secrets.update(dict.fromkeys(made, secret))
        del self._plain["tunnels"][name]

    def _called(self, name: str, text: str) -> list[str]:
        """An identity of each client; none, if the name of the entry is not in it."""
        found = [called(text, name, own) for own in members(name, self._counts[name])]
        return [each for each in found if each is not None]

    def _copied(self, place: Path, table: Plain) -> Plain:
        """A table of nodes with what every client has."""
        made: Plain = {}
        for name, value in table.items():
            clients = members(name, self._counts[name]) if name in self._counts else []
            for number, own in enumerate(clients, 1):
                self._move_below((*place, name), (*place, own))
                made[own] = self._renamed(name, own, number, value) if place == ("connections",) else value
            if name not in self._counts:
                made[name] = value
        return made

    def _move_below(self, old: Path, new: Path) -> None:
        """What lies below a place that has come from elsewhere has come from there, too."""
        below = [path for path in self._moved if path[: len(old)] == old and len(path) > len(old)]
        for path in below:
            self._moved[*new, *path[len(old) :]] = self._moved[path]
        self._moved[new] = old

    def _renamed(self, name: str, own: str, number: int, connections: Plain) -> Plain:
        """A client's connections: it has an identity of its own, and may have a peer that shares its link."""
        return {
            connection: self._own_connection(name, own, number, connection, model)
            for connection, model in connections.items()
        }

    def _own_connection(self, name: str, own: str, number: int, connection: str, model: Plain) -> Plain:
        changed = dict(model)
        if "remote_addrs" in model:
            changed["remote_addrs"] = [
                self._peer_address(name, text, number) for text in model["remote_addrs"]
            ]
        if model.get("local_id") is not None:
            changed["local_id"] = self._own_id(name, own, connection, model["local_id"])
        local = model.get("local", {})
        if local.get("eap_id") is not None:
            eap_id = self._own_id(name, own, connection, local["eap_id"])
            changed["local"] = local | {"eap_id": eap_id}
        if model.get("eap_secrets"):
            secrets = model["eap_secrets"]
            changed["eap_secrets"] = {called(user, name, own) or user: key for user, key in secrets.items()}
        return changed

    def _own_id(self, name: str, own: str, connection: str, text: str) -> str:
        found = called(text, name, own)
        if found is None:
            words = f"is one identity for all of {name}: write its name in it, such as {name}@example.org"
            if own == member(name, 1):
                self._problem(("connections", own, connection, "local_id"), words)
            return text
        return found

    def _peer_address(self, name: str, text: str, number: int) -> str:
        """Where a client reaches a peer, which may be the other end of its own link."""
        client, became = self._became.get(text, ("", []))
        return text if not became else became[number - 1 if client == name else 0]

    def _problem(self, path: Path, text: str) -> None:
        self._problems.append(self._scenario.problem(original(self._moved, path), text))
