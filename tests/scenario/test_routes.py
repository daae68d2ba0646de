"""Who learns of which prefix, and through which interface packets to it leave."""

from __future__ import annotations

import pytest

from sim.net.node import IpNode
from sim.scenario.build import build
from sim.scenario.load import load_text
from sim.scenario.routes import RoutingNode, compute_routes, to_prefix
from sim.wire.address import pack_address
from tests.scenario.base import TEXT, changed
from tests.tunnels.lab import SITES

LAN_A, LAN_B = "10.1.0.10", "10.2.0.10"
RING = """\
name: ring
duration: 1 s
nodes:
  a: {kind: router, interfaces: {b: 10.0.1.1/24, d: 10.0.4.2/24, lan: 10.9.0.1/24}}
  b: {kind: router, interfaces: {a: 10.0.1.2/24, c: 10.0.2.1/24}}
  c: {kind: router, interfaces: {b: 10.0.2.2/24, d: 10.0.3.1/24}}
  d: {kind: router, interfaces: {c: 10.0.3.2/24, a: 10.0.4.1/24}}
  h: {kind: host, interfaces: {eth: 10.9.0.2/24}}
links:
  - {ends: [a:b, b:a]}
  - {ends: [b:c, c:b]}
  - {ends: [c:d, d:c]}
  - {ends: [d:a, a:d]}
  - {ends: [a:lan, h:eth]}
"""


def test_a_prefix_is_reached_along_the_fewest_links() -> None:
    assert way(RING, "b", "10.9.0.2") == "a"
    assert way(RING, "d", "10.9.0.2") == "a"
    assert way(RING, "a", "10.0.2.1") == "b"
    assert way(RING, "a", "10.0.3.1") == "d"


def test_of_two_ways_of_one_length_the_first_in_the_file_is_taken() -> None:
    assert way(RING, "c", "10.9.0.2") == "b"
    turned = RING.replace("{b: 10.0.2.2/24, d: 10.0.3.1/24}", "{d: 10.0.3.1/24, b: 10.0.2.2/24}")
    assert way(turned, "c", "10.9.0.2") == "d"


def test_a_protected_prefix_is_not_announced() -> None:
    """Without its tunnel, traffic must not find another way."""
    assert way(SITES, "net", LAN_A) is None
    assert way(SITES, "net", LAN_B) is None
    assert way(SITES, "sun", LAN_A) == "wan", "only by its default route, into the tunnel"


def test_without_a_tunnel_the_same_prefix_is_announced() -> None:
    assert way(SITES, "net", LAN_A, "tunnels={}") == "moon"
    assert way(SITES, "net", LAN_B, "tunnels={}") == "sun"


def test_only_what_the_selectors_cover_whole_is_hidden() -> None:
    """A prefix of which a part is protected must be reachable for the rest."""
    half = "tunnels.sites.children.lans.remote_ts=[10.2.0.0/17]"
    assert way(SITES, "net", LAN_B, half) == "sun"


def test_who_protects_a_prefix_knows_the_way_to_it_from_a_router_behind() -> None:
    """That router announces it to moon; moon tells nobody."""
    text = SITES.replace("10.1.0.10/16", "10.1.0.10/24").replace(
        "lan: 10.1.0.1/16", "lan: 10.1.0.1/24, low: 10.3.0.1/24"
    )
    text = text.replace(
        "  net:",
        "  inner: {kind: router, interfaces: {up: 10.3.0.2/24, deep: 10.1.128.1/24}}\n"
        "  eve: {kind: host, interfaces: {eth: 10.1.128.2/24}}\n  net:",
    ).replace("links:\n", "links:\n  - {ends: [moon:low, inner:up]}\n  - {ends: [inner:deep, eve:eth]}\n")
    assert way(text, "moon", "10.1.128.2") == "low"
    assert way(text, "net", "10.1.128.2") is None
    assert way(text, "net", "10.3.0.2") == "moon", "which no tunnel protects"


def test_the_inside_of_a_nat_is_not_known_outside() -> None:
    assert way(TEXT, "core", "192.168.1.10") is None
    assert way(TEXT, "core", "198.18.0.10") == "home"
    assert way(TEXT, "home", "192.168.1.10") == "lan"


def test_the_outside_is_known_inside_a_nat() -> None:
    text = changed(("  core:", "  inner: {kind: router, interfaces: {home: 192.168.2.2/24}}\n  core:"),
                   ("lan: 192.168.1.1/24,", "lan: 192.168.1.1/24, lan2: 192.168.2.1/24,"),
                   ("links:\n", "links:\n  - {ends: [inner:home, home:lan2]}\n"))  # fmt: skip
    assert way(text, "inner", "198.51.100.1") == "home"
    assert way(text, "inner", "203.0.113.77") == "home"


def test_a_host_announces_nothing() -> None:
    """alice knows both her networks, and passes neither on."""
    assert way(TEXT, "core", "192.168.1.1") is None


def test_a_host_s_default_is_its_first_interface_that_is_up() -> None:
    world = build(load_text(TEXT))
    alice = world.nodes["alice"]
    assert leaves(alice, "198.51.100.1") == "wlan"
    world.ports["alice:wlan"].set_up(False)
    assert leaves(alice, "198.51.100.1") is None, "the other one is down until the move"
    world.ports["alice:lte"].set_up(True)
    assert leaves(alice, "198.51.100.1") == "lte"
    world.ports["alice:wlan"].set_up(True)
    assert leaves(alice, "198.51.100.1") == "wlan"


def test_a_gateway_s_default_is_its_first_interface_and_a_nat_s_its_outside() -> None:
    assert way(TEXT, "moon", "8.8.8.8") == "wan"
    assert way(TEXT, "home", "8.8.8.8") == "wan"


def test_a_router_has_no_default() -> None:
    assert way(TEXT, "core", "8.8.8.8") is None


def test_a_default_is_there_for_both_ip_versions() -> None:
    assert way(TEXT, "moon", "2001:db8::1") == "wan"


@pytest.mark.parametrize(
    ("node", "route", "dst"),
    [
        ("core", "{198.18.0.0/24: cell}", "198.18.0.10"),  # before a connected one
        ("home", "{198.51.100.0/24: lan}", "198.51.100.1"),  # before a computed one
        ("alice", "{0.0.0.0/0: lte}", "8.8.8.8"),  # before a default
        ("alice", "{198.51.100.1/32: lte}", "198.51.100.1"),  # a longer prefix
    ],
)
def test_a_written_route_wins(node: str, route: str, dst: str) -> None:
    (interface,) = route.strip("{}").split(": ")[1:]
    still = "events=[]"
    assert way(TEXT, node, dst, still) != interface
    assert (
        way(TEXT, node, dst, still, f"nodes.{node}.routes={route}", "tunnels={}", "traffic=[]", "checks=[]")
        == interface
    )


def test_a_written_route_over_an_interface_that_is_down_is_skipped() -> None:
    world = build(load_text(TEXT, overrides=["nodes.alice.routes={198.51.100.0/24: lte}"]))
    assert leaves(world.nodes["alice"], "198.51.100.1") == "wlan"


def test_one_private_network_behind_two_nats_stays_apart() -> None:
    text = changed(
        ("  core:", "  away: {kind: nat, interfaces: {lan: 192.168.1.1/24, wan: 198.19.0.10/24}}\n"
         "  carol: {kind: host, interfaces: {eth: 192.168.1.10/24}}\n  core:"),
        ("{home: 198", "{away: 198.19.0.1/24, home: 198"),
        ("links:\n", "links:\n  - {ends: [carol:eth, away:lan]}\n  - {ends: [away:wan, core:away]}\n"),
    )  # fmt: skip
    assert way(text, "home", "192.168.1.10") == "lan"
    assert way(text, "away", "192.168.1.10") == "lan"
    assert way(text, "core", "192.168.1.10") is None


def test_routes_follow_announcements_only() -> None:
    """b keeps what it learns to itself, so c hears nothing of a."""
    quiet = nodes(b=False)
    links = [(("a", "x"), ("b", "x")), (("b", "y"), ("c", "y"))]
    assert [route for route in compute_routes(quiet, links) if route[0] == "c"] == []
    loud = list(compute_routes(nodes(b=True), links))
    assert ("c", to_prefix("10.0.1.0/24"), "y") in loud


def test_islands_have_no_routes_to_each_other() -> None:
    links = [(("a", "x"), ("b", "x"))]
    found = list(compute_routes(nodes(b=True), links))
    assert [route for route in found if route[0] == "c"] == []


def test_a_prefix_is_that_of_an_interface_s_address() -> None:
    assert to_prefix("192.0.2.77/28") == (pack_address("192.0.2.64"), 28)
    assert to_prefix("2001:db8::1:2/64") == (pack_address("2001:db8::"), 64)


def nodes(*, b: bool) -> list[RoutingNode]:
    near, far = (to_prefix("10.0.1.0/24"),), (to_prefix("10.0.2.0/24"),)
    return [
        RoutingNode("a", {"x": near}, lambda prefix, port: True),
        RoutingNode("b", {"x": near, "y": far}, lambda prefix, port: b),
        RoutingNode("c", {"y": far}, lambda prefix, port: True),
    ]


def leaves(node: IpNode, dst: str) -> str | None:
    port = node.routes.lookup(pack_address(dst))
    return port.name if port else None


def way(text: str, node: str, dst: str, *overrides: str) -> str | None:
    """The interface that packets to `dst` leave a node of a scenario by."""
    return leaves(build(load_text(text, overrides=overrides)).nodes[node], dst)
