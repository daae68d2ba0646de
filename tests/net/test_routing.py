"""Longest prefix match against the naive walk over `ipaddress` networks."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.net.engine import Simulation
from sim.net.host import Host
from sim.net.port import Port
from sim.net.routing import RouteTable
from sim.wire.address import pack_address

Rule = tuple[bytes, int, int, int]  # prefix, length, which port, metric


def addresses(size: int) -> st.SearchStrategy[bytes]:
    """Close to one another, so that prefixes nest."""
    return st.lists(st.sampled_from([0, 1, 127, 128, 255]), min_size=size, max_size=size).map(bytes)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    size = draw(st.sampled_from([4, 16]))
    return (
        draw(addresses(size)),
        draw(st.integers(0, 8 * size)),
        draw(st.integers(0, 2)),
        draw(st.integers(-1, 2)),
    )


@given(
    st.lists(rules(), max_size=30),
    st.lists(st.one_of(addresses(4), addresses(16)), max_size=20),
    st.sets(st.integers(0, 2)),
)
def test_lookup_is_the_longest_prefix_through_a_port_that_is_up(
    table: list[Rule], targets: list[bytes], down: set[int]
) -> None:
    node, ports = ports_of_a_node()
    routes = RouteTable()
    for prefix, length, port, metric in table:
        routes.add(prefix, length, ports[port], metric)
    targets += [prefix for prefix, *_ in table]
    for target in targets:
        assert routes.lookup(target) is naive(table, target, ports, set())
    for index in down:
        ports[index].set_up(False)
    routes.flush()
    for target in targets * 2:  # the second time from the cache
        assert routes.lookup(target) is naive(table, target, ports, down)
    assert node.ports


@given(st.lists(rules(), min_size=1, max_size=20), st.data())
def test_removal_undoes_addition(table: list[Rule], data: st.DataObject) -> None:
    _, ports = ports_of_a_node()
    routes = RouteTable()
    for prefix, length, port, metric in table:
        routes.add(prefix, length, ports[port], metric)
        routes.lookup(prefix)
    order = data.draw(st.permutations(range(len(table))))
    kept = list(table)
    for index in order[: len(order) // 2]:
        prefix, length, port, _ = table[index]
        routes.remove(prefix, length, ports[port])
        kept.remove(first_removed(kept, table[index]))
    for prefix, *_ in table:
        assert routes.lookup(prefix) is naive(kept, prefix, ports, set())


def test_what_is_no_route_cannot_be_removed() -> None:
    _, ports = ports_of_a_node()
    routes = RouteTable()
    routes.add(pack_address("10.0.0.0"), 8, ports[0])
    for prefix, length, port in (("10.0.0.0", 9, 0), ("11.0.0.0", 8, 0), ("10.0.0.0", 8, 1)):
        with pytest.raises(ValueError, match="no such route"):
            routes.remove(pack_address(prefix), length, ports[port])


@pytest.mark.parametrize(
    ("prefix", "length"), [(bytes(4), 33), (bytes(4), -1), (bytes(16), 129), (b"abc", 8)]
)
def test_an_impossible_prefix_is_refused(prefix: bytes, length: int) -> None:
    _, ports = ports_of_a_node()
    with pytest.raises(ValueError, match="cannot have the length"):
        RouteTable().add(prefix, length, ports[0])


def naive(table: list[Rule], target: bytes, ports: list[Port], down: set[int]) -> Port | None:
    address = ipaddress.ip_address(target)
    fitting = [
        (-length, metric, index)
        for index, (prefix, length, port, metric) in enumerate(table)
        if len(prefix) == len(target)
        and address in ipaddress.ip_network((prefix, length), strict=False)
        and port not in down
    ]
    return ports[table[min(fitting)[2]][2]] if fitting else None


def first_removed(kept: list[Rule], rule: Rule) -> Rule:
    """What `remove` takes: of the routes to that prefix through that port the best, then the oldest."""
    network = ipaddress.ip_network((rule[0], rule[1]), strict=False)
    same = [
        other
        for other in kept
        if len(other[0]) == len(rule[0])
        and ipaddress.ip_network((other[0], other[1]), strict=False) == network
        and other[2] == rule[2]
    ]
    return min(same, key=lambda other: other[3])


def ports_of_a_node() -> tuple[Host, list[Port]]:
    node = Host(Simulation(), "node")
    return node, [node.add_port(name) for name in "abc"]
