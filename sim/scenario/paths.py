"""Which interface a node is reached at: the links walked as packets would go, without any routing table."""

from __future__ import annotations

import ipaddress
from collections import deque

from sim.scenario.nats import prefix64, prefix_pairs
from sim.scenario.schema import HostNode, NatNode, Scenario

_IKE = {("udp", 500), ("udp", 4500)}


def responder_address(
    scenario: Scenario, initiator: str, responder: str, passed: tuple[str, ...] = ()
) -> str | None:
    """The address of `responder` where a packet of `initiator` comes in, or None when there is no way.

    The initiator's interfaces are tried in their order, then the fewest links count. The address is of a
    family that the initiator has at the interface it starts from, or one by which a NAT64 knows it. Where
    only a NAT's rule leads in, it is that of the NAT; `passed` are those further in.
    """
    for interface, own in scenario.nodes[initiator].interfaces.items():
        entry = _entry(scenario, (initiator, interface), responder)
        if entry is None:
            continue
        families = {_version(text) for text in own}
        for text in scenario.nodes[responder].interfaces[entry]:
            if _version(text) in families:
                return str(ipaddress.ip_interface(text).ip)
        if 6 in families:
            found = _through_nat64(scenario, (initiator, interface), responder, entry)
            if found is not None:
                return found
    return _let_in_by_nat(scenario, initiator, responder, (*passed, responder))


def _through_nat64(scenario: Scenario, start: tuple[str, str], responder: str, entry: str) -> str | None:
    """What stands for the IPv4 address of `responder` at its interface `entry`, inside a NAT64 on the way."""
    ipv4 = [ipaddress.ip_interface(text).ip for text in scenario.nodes[responder].interfaces[entry]]
    for name, nat in scenario.nodes.items():
        prefix = prefix64(nat) if isinstance(nat, NatNode) else None
        if prefix is None or not isinstance(nat, NatNode) or not ipv4 or ipv4[0].version != 4:
            continue
        inner = _entry(scenario, start, name)
        beyond = _entry(scenario, (name, nat.outside), responder)
        if inner not in (None, nat.outside) and beyond == entry:
            return str(ipaddress.ip_address(prefix.embed(ipv4[0].packed)))
    return None


def _let_in_by_nat(scenario: Scenario, initiator: str, responder: str, passed: tuple[str, ...]) -> str | None:
    """The outside address of a NAT with a rule that leads IKE, or everything, to `responder`."""
    model = scenario.nodes[responder]
    inside = {str(ipaddress.ip_interface(text).ip) for own in model.interfaces.values() for text in own}
    for name, nat in scenario.nodes.items():
        if not isinstance(nat, NatNode) or name in (initiator, *passed):
            continue
        for own, external in nat.one_to_one.items():
            if own in inside:
                return external
        swapped = _swapped(nat, inside)
        if swapped is not None:
            return swapped
        if any(rule.to in inside and (rule.protocol, rule.port) in _IKE for rule in nat.forward):
            return responder_address(scenario, initiator, name, passed)
    return None


def _swapped(nat: NatNode, inside: set[str]) -> str | None:
    """The outside address of a node behind NPTv6, which lets everything in."""
    for pair in prefix_pairs(nat):
        for own in (ipaddress.ip_address(text).packed for text in sorted(inside)):
            outside = pair.outward(own) if pair.is_inside(own) else None
            if outside is not None:
                return str(ipaddress.ip_address(outside))
    return None


def _entry(scenario: Scenario, start: tuple[str, str], goal: str) -> str | None:
    """The interface of `goal` where a packet that leaves at `start` arrives first."""
    peers = link_peers(scenario)
    waiting, seen = deque([start]), {start}
    while waiting:
        arrived = peers.get(waiting.popleft())
        if arrived is None:
            continue
        node, interface = arrived
        if node == goal:
            return interface
        exits = [(node, other) for other in _exits(scenario, node, interface) if (node, other) not in seen]
        waiting.extend(exits)
        seen.update(exits)
    return None


def link_peers(scenario: Scenario) -> dict[tuple[str, str], tuple[str, str]]:
    """(node, interface) to what is at the other end of its link, for both ends of every link."""
    peers = {}
    for link in scenario.links:
        (a, a_port), (b, b_port) = (end.split(":") for end in link.ends)
        peers[a, a_port] = (b, b_port)
        peers[b, b_port] = (a, a_port)
    return peers


def _exits(scenario: Scenario, node: str, entry: str) -> list[str]:
    """Where a packet that came in at `entry` may go on; a NAT lets nothing in that nobody asked for."""
    model = scenario.nodes[node]
    if isinstance(model, HostNode) or (isinstance(model, NatNode) and entry == model.outside):
        return []
    return [interface for interface in model.interfaces if interface != entry]


def _version(interface: str) -> int:
    return ipaddress.ip_interface(interface).version
