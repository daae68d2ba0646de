"""AH in a network: all four combinations of IP versions, both modes, and packets that are too big."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim

TEXT = """
name: six
duration: 5 s
nodes:
  alice: {{kind: host, interfaces: {{eth: "{a}10/{bits}"}}}}
  moon: {{kind: gateway, interfaces: {{lan: "{a}1/{bits}", wan: {moon}}}}}
  sun: {{kind: gateway, interfaces: {{wan: {sun}, lan: "{b}1/{bits}"}}}}
  bob: {{kind: host, interfaces: {{eth: "{b}10/{bits}"}}}}
links:
  - {{ends: [alice:eth, moon:lan], rate: 100 Mbit/s, delay: 1 ms}}
  - {{ends: [moon:wan, sun:wan], rate: 100 Mbit/s, delay: 1 ms}}
  - {{ends: [sun:lan, bob:eth], rate: 100 Mbit/s, delay: 1 ms}}
tunnels:
  sites:
    initiator: moon
    responder: sun
    auth: {{psk: secret, local_id: moon, remote_id: sun}}
    children:
      lans: {{local_ts: ["{a}0/{bits}"], remote_ts: ["{b}0/{bits}"], ah_proposals: [{suite}]}}
      ends: {{mode: transport, ah_proposals: [{suite}], start: trap}}
traffic:
  - {{name: hosts, kind: ping, from: alice, to: bob, interval: 100 ms, start: 1 s, count: 20}}
  - {{name: big, kind: cbr, from: alice, to: bob, size: 1500 B, rate: 1 Mbit/s, start: 1 s, stop: 4 s}}
  - {{name: gateways, kind: ping, from: moon, to: sun, interval: 100 ms, start: 1 s, count: 20}}
checks:
  - {{flow: hosts, min_received: 20}}
  - {{flow: gateways, min_received: 20}}
"""
OUTSIDE = {4: ("192.0.2.1/24", "192.0.2.2/24"), 6: ('"2001:db8::1/64"', '"2001:db8::2/64"')}
INSIDE = {4: ("10.1.0.", "10.2.0.", 16), 6: ("fd01::", "fd02::", 64)}


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("suite", ["sha256", "aes128gmac-esn"])
def test_c89_all_combinations_of_ip_versions(outer: int, inner: int, suite: str, tmp_path: Path) -> None:
    moon, sun = OUTSIDE[outer]
    a, b, bits = INSIDE[inner]
    path = tmp_path / "ah.yaml"
    path.write_text(TEXT.format(moon=moon, sun=sun, a=a, b=b, bits=bits, suite=suite))
    result = sim.run(path, seed=2)

    assert result.ok, result.summary["checks"]
    children = [child for row in result.summary["connections"] for child in row["children"]]
    assert {(child["name"], child["protocol"]) for child in children} == {("lans", "AH"), ("ends", "AH")}
    (big,) = (flow for flow in result.summary["flows"] if flow["name"] == "big")
    told = sum(row["packets"] for row in result.summary["drops"] if row["reason"] == "packet too big")
    assert big["received"] == big["sent"] - told > 100
    assert told <= 1
