"""Traffic that could never arrive is refused before the run, with the line and what to do."""

from __future__ import annotations

import json

import pytest

from sim.scenario.build import build
from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.load import load_text
from sim.units import NS_PER_S
from tests.scenario.base import TEXT, changed, line_of
from tests.tunnels.lab import SITES

BARE = ("tunnels={}", "checks=[]", "events=[]")


def test_traffic_into_a_nat_is_unroutable_without_a_tunnel() -> None:
    (problem,) = refused(TEXT, *BARE, "traffic.0.from=bob", "traffic.0.to=alice")
    assert problem.startswith("--set traffic.0.to=alice: traffic.0.to: unroutable: ")
    assert "core has no route to 192.168.1.10" in problem


def test_the_line_is_that_of_the_flow() -> None:
    text = changed(("from: alice, to: bob", "from: bob, to: alice"))
    (problem,) = refused(text, *BARE)
    assert problem.startswith(f"lab.yaml:{line_of(text, 'name: up')}: traffic.0.to: unroutable: ")


def test_a_way_out_is_named() -> None:
    (problem,) = refused(TEXT, *BARE, "traffic.0.from=bob", "traffic.0.to=alice")
    assert "add it under nodes.core.routes, or cover it by a tunnel" in problem


def test_routes_that_go_round_are_seen() -> None:
    text = changed(
        ("core: {kind: router,", "core: {kind: router, routes: {198.51.100.0/24: home},"),
        ("home: {kind: nat,", "home: {kind: nat, routes: {198.51.100.0/24: wan},"),
    )
    (problem,) = refused(text, *BARE, "traffic.0.to=moon:wan")
    assert "the routes go round in a circle" in problem


def test_a_host_in_the_middle_does_not_forward() -> None:
    text = changed(("core: {kind: router", "core: {kind: host"))
    (problem,) = refused(text, *BARE, "traffic.0.to=moon:wan")
    assert "core is a host, it does not forward to 198.51.100.1" in problem


def test_every_flow_that_cannot_arrive_is_told() -> None:
    text = changed(("traffic:\n", "traffic:\n  - {name: echo, kind: ping, from: bob, to: 'alice:wlan'}\n"))
    problems = refused(text, *BARE, "traffic.up.from=bob", "traffic.up.to=alice")
    assert ["traffic.0.to" in problems[0], "traffic.1.to" in problems[1]] == [True, True]


def test_a_tunnel_carries_what_it_covers() -> None:
    plain = expand(load_text(TEXT)).plain()
    build(load_text(json.dumps(plain)))
    plain["connections"]["alice"]["rw"]["children"]["net"]["remote_ts"] = ["10.7.0.0/16"]
    (problem,) = refused(json.dumps(plain))
    assert "core has no route to 10.1.0.10" in problem, "moon protects it, and so does not announce it"


def test_a_tunnel_is_taken_back_to_a_peer_whose_address_nobody_knows() -> None:
    """bob to alice: moon protects whatever the road warrior brings along."""
    build(load_text(TEXT, overrides=["traffic.0.from=bob", "traffic.0.to=alice"]))


def test_a_tunnel_for_everything_does_not_take_back_what_came_through_it() -> None:
    """Both sites send all traffic of their own into the tunnel; what comes out of it is not their own."""
    plain = expand(load_text(SITES)).plain()
    for node in ("moon", "sun"):
        plain["connections"][node]["sites"]["children"]["lans"]["remote_ts"] = ["0.0.0.0/0"]
    plain["connections"]["sun"]["sites"]["remote_addrs"] = ["192.0.2.1"]
    plain["traffic"] = [{"name": "echo", "kind": "ping", "from": "alice", "to": "bob"}]
    world = build(load_text(json.dumps(plain)))
    world.sim.run(3 * NS_PER_S)
    assert world.flows["echo"].record.received >= 2


def test_traffic_that_a_tunnel_is_not_for_does_not_take_it() -> None:
    """eve is behind moon, but no part of what the tunnel's selectors cover."""
    text = SITES.replace(
        "lan: 10.1.0.1/16, wan: 192.0.2.1/24", "wan: 192.0.2.1/24, lan: 10.1.0.1/16, x: 172.16.0.1/24"
    )
    text = text.replace("  net:", "  eve: {kind: host, interfaces: {eth: 172.16.0.2/24}}\n  net:")
    text = text.replace("links:\n", "links:\n  - {ends: [eve:eth, moon:x]}\n")
    (problem,) = refused(text + "traffic: [{name: echo, kind: ping, from: eve, to: bob}]\n")
    assert "net has no route to 10.2.0.10" in problem


def test_a_peer_that_cannot_be_reached_is_told_at_its_tunnel() -> None:
    text = changed(("core: {kind: router,", "core: {kind: router, routes: {198.51.100.0/24: cell},"))
    problems = refused(text)
    line = line_of(text, "rw:")
    peer = [problem for problem in problems if "cannot reach its peer" in problem]
    assert peer
    assert peer[0].startswith(f"lab.yaml:{line}: ")
    assert "alice cannot reach its peer" in peer[0]


@pytest.mark.parametrize("interface", ["wlan", "lte"])
def test_interfaces_that_come_up_later_count_as_there(interface: str) -> None:
    build(load_text(TEXT, overrides=[f"traffic.0.to=alice:{interface}", "traffic.0.from=bob"]))


def test_ends_without_a_common_ip_version_are_told() -> None:
    text = changed(
        ("eth: 10.1.0.10/16", "eth: '2001:db8::10/64'"), ("lan: 10.1.0.1/16", "lan: '2001:db8::1/64'")
    )
    (problem,) = refused(text, *BARE)
    assert (
        problem
        == f"lab.yaml:{line_of(text, 'name: up')}: traffic.0.to: alice and bob have no IP version in common"
    )


def refused(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        build(load_text(text, "lab.yaml", overrides))
    return str(caught.value).splitlines()
