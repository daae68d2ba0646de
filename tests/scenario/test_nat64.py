"""IPv6 hosts and IPv4 ones with a NAT64 between: flows and tunnels name nodes, and addresses follow."""

from __future__ import annotations

import pytest

from sim.scenario.build import build
from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.load import load_text

TEXT = """\
name: nat64
duration: 5 s
nodes:
  alice: {kind: host, interfaces: {eth: "2001:db8:1::10/64"}}
  edge:  {kind: router, interfaces: {down: "2001:db8:1::1/64", up: "2001:db8:2::1/64"}}
  plat:  {kind: nat, nat64: "64:ff9b::/96", interfaces: {lan: "2001:db8:2::2/64", wan: 203.0.113.10/24}}
  core:  {kind: router, interfaces: {plat: 203.0.113.1/24, bob: 198.51.100.254/24}}
  bob:   {kind: host, interfaces: {eth: 198.51.100.1/24}}
links:
  - {ends: [alice:eth, edge:down], delay: 1 ms}
  - {ends: [edge:up, plat:lan], delay: 1 ms}
  - {ends: [plat:wan, core:plat], delay: 1 ms}
  - {ends: [core:bob, bob:eth], delay: 1 ms}
traffic:
  - {name: echo, kind: ping, from: alice, to: bob, size: 1400 B, count: 3}
  - {name: data, kind: cbr, from: alice, to: bob, size: 1400 B, rate: 112 kbit/s, stop: 2 s}
"""


def test_flows_reach_an_ipv4_host_by_the_address_that_stands_for_it() -> None:
    world = build(load_text(TEXT))
    world.sim.run(world.scenario.duration)
    records = {name: flow.record for name, flow in world.flows.items()}
    assert (records["echo"].sent, records["echo"].received) == (3, 3)
    assert records["data"].sent == records["data"].received > 10


def test_a_tunnel_calls_that_address_and_looks_for_no_other() -> None:
    tunnel = "tunnels: {rw: {initiator: alice, responder: bob, auth: {psk: x}, children: {c: {}}}}\n"
    scenario = expand(load_text(TEXT.replace("traffic:\n", tunnel + "traffic:\n")))
    assert scenario.connections["alice"]["rw"].remote_addrs == ("64:ff9b::c633:6401",)


def test_nobody_outside_reaches_an_ipv6_host() -> None:
    text = TEXT.replace("from: alice, to: bob, size: 1400 B, count: 3", "from: bob, to: alice")
    with pytest.raises(ScenarioError, match="no IP version in common"):
        build(load_text(text))


def test_without_a_nat64_there_is_no_version_in_common() -> None:
    with pytest.raises(ScenarioError, match="no IP version in common"):
        build(load_text(TEXT.replace('nat64: "64:ff9b::/96", ', "")))
