"""Traffic that could never arrive is refused before the run, with the line and what to do."""

from __future__ import annotations

import json
from pathlib import Path

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
        ("home: {kind: nat,", "home: {kind: router, routes: {198.51.100.0/24: wan},"),
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


LEFT_OUT = "names no network, so on that side the tunnel covers its own end alone"
CBR, PING = "kind: cbr, size: 500 B, rate: 1 Mbit/s", "kind: ping, interval: 1 s"


@pytest.mark.parametrize(
    ("side", "selectors", "flow", "way"),
    [
        ("local_ts", "local_ts: [10.1.0.0/16], ", f"from: alice, to: bob, {CBR}", ""),
        ("local_ts", "local_ts: [10.1.0.0/16], ", f"from: bob, to: alice, {PING}", "on the way back, "),
        ("remote_ts", "remote_ts: [10.2.0.0/16], ", f"from: bob, to: alice, {CBR}", ""),
    ],
)
def test_selectors_that_a_child_leaves_out_are_named(side: str, selectors: str, flow: str, way: str) -> None:
    """As the file calls them, whichever end of the tunnel the flow passes."""
    assert selectors in SITES
    text = f"{SITES.replace(selectors, '')}traffic:\n  - {{name: up, {flow}}}\n"
    (problem,) = refused(text)
    where = f"lab.yaml:{line_of(text, 'lans:')}"
    assert problem.startswith(f"lab.yaml:{line_of(text, 'name: up')}: traffic.0.to: unroutable: {way}")
    assert f"; tunnels.sites.children.lans.{side} ({where}) {LEFT_OUT}: name the network there" in problem


def test_the_selectors_that_a_road_warrior_leaves_out_are_named() -> None:
    text = changed(("net: {remote_ts: [10.1.0.0/16]}", "net: {}"), ("alice, to: bob", "bob, to: alice"))
    (problem,) = refused(text)
    assert "core has no route to 192.168.1.10" in problem
    assert f"; tunnels.rw.children.net.remote_ts (lab.yaml:{line_of(text, 'net: {}')}) {LEFT_OUT}" in problem


def test_selectors_that_are_no_cause_are_not_named() -> None:
    (problem,) = refused(
        TEXT,
        "tunnels.rw.children.net.remote_ts=[10.7.0.0/16]",
        "traffic.up.to=home:lan",
        "traffic.up.from=bob",
    )
    assert "unroutable" in problem
    assert "names no network" not in problem


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


ECHO = "traffic: [{name: echo, kind: ping, from: FROM, to: TO}]\n"
"""Appended to a text without traffic."""

DOUBLE_NAT = """\
name: double
duration: 3 s
nodes:
  alice: {kind: host, interfaces: {eth: 192.168.1.10/24}}
  home: {kind: nat, interfaces: {lan: 192.168.1.1/24, wan: 100.64.0.10/24}}
  cgn: {kind: nat, preset: cgn, interfaces: {lan: 100.64.0.1/24, wan: 203.0.113.10/24}}
  net: {kind: router, interfaces: {cgn: 203.0.113.1/24, moon: 198.51.100.254/24}}
  moon: {kind: gateway, interfaces: {wan: 198.51.100.1/24, lan: 10.1.0.1/16}}
  bob: {kind: host, interfaces: {eth: 10.1.0.10/16}}
links:
  - {ends: [alice:eth, home:lan]}
  - {ends: [home:wan, cgn:lan]}
  - {ends: [cgn:wan, net:cgn]}
  - {ends: [net:moon, moon:wan]}
  - {ends: [moon:lan, bob:eth]}
"""


def ping(text: str, source: str, target: str) -> str:
    return text + ECHO.replace("FROM", source).replace("TO", target)


def answered(text: str) -> int:
    """How many answers arrive; the scenario must be accepted."""
    world = build(load_text(text))
    world.sim.run(3 * NS_PER_S)
    return world.flows["echo"].record.received


def test_the_answer_to_a_ping_that_leaves_a_protected_network_is_unroutable() -> None:
    """moon protects 10.1.0.0/16 and tells nobody of it, so only what comes through the tunnel gets there."""
    text = SITES.replace("links:\n", "  eve: {kind: host, interfaces: {eth: 172.16.0.2/24}}\nlinks:\n", 1)
    text = text.replace(
        "  net: {kind: router, interfaces: {", "  net: {kind: router, interfaces: {eve: 172.16.0.1/24, "
    )
    text = text.replace("links:\n", "links:\n  - {ends: [eve:eth, net:eve]}\n", 1)
    (problem,) = refused(ping(text, "alice", "eve"))
    assert "traffic.0.to: unroutable: on the way back, net has no route to 10.1.0.10" in problem
    build(load_text(ping(text, "alice", "bob")))
    oneway = "traffic: [{name: out, kind: cbr, from: alice, to: eve, size: 100 B, rate: 8 kbit/s}]\n"
    build(load_text(text + oneway))


def test_the_answer_of_a_ping_takes_the_mappings_of_two_nats_back() -> None:
    assert answered(ping(DOUBLE_NAT, "alice", "moon:wan")) == 3
    assert answered(ping(DOUBLE_NAT, "alice", "bob")) == 3
    assert answered(ping(DOUBLE_NAT, "alice", "cgn:lan")) == 3


def test_nobody_pings_into_a_nat() -> None:
    text = DOUBLE_NAT.replace("net: {kind: router,", "net: {kind: router, routes: {192.168.1.0/24: cgn},")
    text = text.replace("cgn: {kind: nat,", "cgn: {kind: nat, routes: {192.168.1.0/24: lan},")
    (problem,) = refused(ping(text, "bob", "alice"))
    assert "cgn is a NAT and lets in only what answers a packet that it translated" in problem


def test_an_answer_follows_a_mapping_only_while_it_finds_the_nat() -> None:
    text = DOUBLE_NAT.replace("bob: {kind: host,", "bob: {kind: host, routes: {203.0.113.0/24: x},")
    text = text.replace("{eth: 10.1.0.10/16}", "{eth: 10.1.0.10/16, x: 192.0.2.1/24}")
    text = text.replace("links:\n", "  end: {kind: host, interfaces: {x: 192.0.2.2/24}}\nlinks:\n", 1)
    text = text.replace("links:\n", "links:\n  - {ends: [bob:x, end:x]}\n", 1)
    (problem,) = refused(ping(text, "alice", "bob:eth"))
    assert "on the way back, end is a host, it does not forward to 203.0.113.10" in problem


def test_a_nat_gets_no_answer_to_its_own_ping() -> None:
    (problem,) = refused(ping(DOUBLE_NAT, "cgn", "bob"))
    assert "on the way back, cgn is a NAT, which takes no answers for itself" in problem
    assert answered(ping(DOUBLE_NAT, "bob", "cgn:wan")) == 3


def test_an_answer_goes_back_through_the_tunnel_of_the_request() -> None:
    for source, target in (("alice", "bob"), ("bob", "alice")):
        build(load_text(TEXT, overrides=[f"traffic=[{{name: e, kind: ping, from: {source}, to: {target}}}]",
                                         "checks=[]"]))  # fmt: skip


def test_recorded_answers_need_a_way_to_the_client_itself() -> None:
    """A replay's other end knows nothing of a NAT: it cannot answer to a mapping."""
    capture = Path(__file__).parents[2] / "topologies" / "captures"
    (file,) = capture.glob("*.pcap*")
    flow = f"{{name: web, kind: replay, from: alice, to: 'moon:wan', file: {file}}}"
    (problem,) = refused(TEXT, *BARE, f"traffic=[{flow}]")
    assert "on the way back, core has no route to 192.168.1.10" in problem
    build(load_text(TEXT, overrides=["checks=[]", f"traffic=[{flow.replace('moon:wan', 'bob')}]"]))


def refused(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        build(load_text(text, "lab.yaml", overrides))
    return str(caught.value).splitlines()
