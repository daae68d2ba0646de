"""A gateway behind NPTv6 is called by the address that its own one becomes outside (RFC 6296 5)."""

from __future__ import annotations

import sim
from sim.scenario.expand import expand
from sim.scenario.load import load_text

TEXT = """\
name: nptv6
duration: 5 s
nodes:
  alice:  {kind: host,    interfaces: {eth: "2001:db8:5::10/64"}}
  core:   {kind: router,  interfaces: {alice: "2001:db8:5::1/64", border: "2001:db8:f::1/64"}}
  border: {kind: nat, nptv6: {"fd00:1::/48": "2001:db8:100::/48"},
           interfaces: {lan: "fd00:1:0:1::1/64", wan: "2001:db8:f::10/64"}}
  moon:   {kind: gateway, interfaces: {wan: "fd00:1:0:1::2/64", lan: "fd00:2::1/64"}}
  bob:    {kind: host,    interfaces: {eth: "fd00:2::10/64"}}
links:
  - {ends: [alice:eth, core:alice], delay: 1 ms}
  - {ends: [core:border, border:wan], delay: 1 ms}
  - {ends: [border:lan, moon:wan], delay: 1 ms}
  - {ends: [moon:lan, bob:eth], delay: 1 ms}
tunnels:
  rw: {initiator: alice, responder: moon, auth: {psk: x}, children: {net: {remote_ts: ["fd00:2::/64"]}}}
traffic:
  - {name: echo, kind: ping, from: alice, to: bob, start: 1 s, count: 3}
checks:
  - {connection: rw, is: established, by: 1 s, encap: true}
  - {connection: rw, node: alice, nat_local: false, nat_remote: true}
  - {flow: echo, max_loss: 0 %}
"""


def test_a_gateway_behind_nptv6_is_called_by_its_outside_address() -> None:
    scenario = load_text(TEXT)
    (address,) = expand(scenario).connections["alice"]["rw"].remote_addrs
    assert address.startswith("2001:db8:100:")
    result = sim.run(scenario)
    assert [check for check in result.summary["checks"] if not check["ok"]] == []
