"""Virtual IPs in a scenario: who gets which, what flows do with them, and what never leaves in clear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sim
from sim.scenario.configs import endpoint_config
from sim.scenario.errors import ScenarioError
from sim.scenario.load import load_text
from sim.scenario.peer_file import read_peer
from tests.scenario.base import TEXT, changed, line_of, problems

LABS = Path("topologies")
VIPS = changed(
    ("    children:\n", "    vips: [0.0.0.0]\n    pools: [rw]\n    children:\n"),
    ("tunnels:\n", "pools:\n  moon: {rw: {addrs: 10.3.0.0/24, dns: [10.1.0.20]}}\ntunnels:\n"),
)
DOWN = "  - {name: down, kind: cbr, from: bob, to: alice, size: 500 B, rate: 400 kbit/s, start: 500 ms}\n"
BOTH = VIPS.replace("events:\n", DOWN + "events:\n")
BY_HAND = "tunnels.rw.children.net.start=none"


def run(text: str, *overrides: str) -> sim.Result:
    return sim.run(load_text(text, overrides=overrides), capture=True)


def flow(result: sim.Result, name: str) -> dict[str, Any]:
    return next(row for row in result.summary["flows"] if row["name"] == name)


def commands(*steps: tuple[str, str]) -> str:
    """What alice's user does, and when."""
    listed = ", ".join(f"{{at: {at}, node: alice, do: {do}, connection: rw}}" for at, do in steps)
    return f"events=[{listed}]"


def drops(result: sim.Result) -> dict[tuple[str, str], int]:
    return {(row["node"], row["reason"]): row["packets"] for row in result.summary["drops"]}


def events(result: sim.Result, word: str) -> list[str]:
    return [f"{e.node}: {e.detail}" for e in result.events.itertuples() if e.event == word]


def test_c31_flows_use_the_virtual_ip_on_both_ways_and_over_a_move() -> None:
    """alice moves from one network to another; what she is called inside stays (RFC 4555)."""
    result = run(BOTH)
    rows = result.summary["connections"]
    assert [(row["node"], row["vips"], row["dns"]) for row in rows] == [
        ("alice", ["10.3.0.1"], ["10.1.0.20"]),
        ("moon", ["10.3.0.1"], []),
    ]
    assert rows[0]["children"][0]["local_ts"] == ["10.3.0.1/32"]
    assert 0 < flow(result, "up")["received"] == rows[1]["children"][0]["packets_in"]
    assert 0 < flow(result, "down")["received"] <= rows[1]["children"][0]["packets_out"]
    assert events(result, "virtual ip assigned") == [
        "moon: 10.3.0.1 is leased to 192.168.1.10",
        "alice: 10.3.0.1 is ours, from 198.51.100.1, DNS 10.1.0.20",
    ]


def test_c31_a_packet_before_the_virtual_ip_is_dropped_with_its_reason() -> None:
    """Whoever sends it, on both ways; and the flow that waits goes on by itself."""
    early = BOTH.replace("start: 500 ms", "start: 1 ms")
    result = run(early, "events=[]")
    dropped = drops(result)
    assert dropped["alice", "no virtual IP yet"] > 0
    assert dropped["bob", "no virtual IP yet: the target has none"] > 0
    for name in ("up", "down"):
        row = flow(result, name)
        assert row["lost"] < 10 < row["received"]
    assert set(dropped) <= {("alice", "no virtual IP yet"), ("bob", "no virtual IP yet: the target has none")}


def test_c31_the_first_packet_asks_for_a_virtual_ip_where_the_child_is_a_trap() -> None:
    result = run(VIPS, "tunnels.rw.children.net.start=trap", "events=[]")
    assert result.summary["connections"][0]["vips"] == ["10.3.0.1"]
    assert flow(result, "up")["received"] > 10
    assert len(events(result, "child up")) == 2


def test_c31_nothing_goes_in_clear_when_the_virtual_ip_is_gone() -> None:
    result = run(BOTH, BY_HAND, commands(("100 ms", "initiate"), ("1500 ms", "terminate")), "checks=[]")
    assert events(result, "virtual ip released") == [
        "alice: 10.3.0.1 is ours no longer",
        "moon: 10.3.0.1 is free again, 192.168.1.10 had it",
    ]
    rows = result.summary["connections"]
    assert flow(result, "up")["received"] == rows[1]["children"][0]["packets_in"]
    assert drops(result)["alice", "no SA: its start_action is none"] > 100


def test_c31_a_flow_finds_its_target_again() -> None:
    steps = commands(("100 ms", "initiate"), ("1 s", "terminate"), ("2 s", "initiate"))
    result = run(BOTH, BY_HAND, steps, "checks=[]")
    for name in ("up", "down"):
        (outage,) = flow(result, name)["outages"]
        assert (round(outage["from_s"], 1), round(outage["to_s"], 1)) == (1.0, 2.0)
    assert drops(result)["bob", "no virtual IP yet: the target has none"] > 50


def test_c31_an_interface_by_name_is_not_the_virtual_ip() -> None:
    with pytest.raises(ScenarioError, match="unroutable"):
        run(BOTH.replace("to: alice, size", "to: 'alice:wlan', size"))


def test_c31_routers_behind_the_gateway_know_the_way_to_virtual_ips() -> None:
    text = BOTH.replace("eth: 10.1.0.10/16", "eth: 10.9.0.10/24")
    text = text.replace(
        "moon: {kind: gateway",
        "inner: {kind: router, interfaces: {up: 10.1.0.2/16, down: 10.9.0.1/24}}\n  moon: {kind: gateway",
    )
    text = text.replace(
        "  - {ends: [moon:lan, bob:eth]}\n",
        "  - {ends: [moon:lan, inner:up]}\n  - {ends: [inner:down, bob:eth]}\n",
    )
    text = text.replace("remote_ts: [10.1.0.0/16]", "remote_ts: [10.1.0.0/16, 10.9.0.0/24]")
    result = run(text)
    assert flow(result, "down")["received"] > 100


HUB = """\
name: hub
duration: 3 s
nodes:
  alice: {kind: host, interfaces: {eth: 192.0.2.10/24}}
  carol: {kind: host, interfaces: {eth: 192.0.3.10/24}}
  core: {kind: router, interfaces: {alice: 192.0.2.1/24, carol: 192.0.3.1/24, moon: 198.51.100.254/24}}
  moon: {kind: gateway, interfaces: {wan: 198.51.100.1/24, lan: 10.1.0.1/16}}
  bob: {kind: host, interfaces: {eth: 10.1.0.10/16}}
links:
  - {ends: [alice:eth, core:alice]}
  - {ends: [carol:eth, core:carol]}
  - {ends: [core:moon, moon:wan]}
  - {ends: [moon:lan, bob:eth]}
pools: {moon: {p: {addrs: 10.3.0.0/24}}}
tunnels:
  a:
    {initiator: alice, responder: moon, auth: {psk: x, local_id: a@x}, vips: [0.0.0.0], pools: [p],
     children: {net: {remote_ts: [0.0.0.0/0]}}}
  c:
    {initiator: carol, responder: moon, auth: {psk: x, local_id: c@x}, vips: [0.0.0.0], pools: [p],
     children: {net: {remote_ts: [0.0.0.0/0]}}}
traffic:
  - {name: hosts, kind: ping, from: alice, to: carol, start: 1 s}
  - {name: inside, kind: ping, from: bob, to: carol, start: 1 s}
  - {name: gateway, kind: ping, from: moon, to: carol, start: 1 s}
  - {name: whole, kind: ping, from: carol, to: "core:alice", start: 1 s}
"""


def test_c31_two_virtual_ips_reach_each_other_where_everything_goes_through_the_tunnel() -> None:
    result = run(HUB)
    for name in ("hosts", "inside", "gateway"):
        assert (flow(result, name)["lost"], flow(result, name)["received"]) == (0, 2)
    outside = result.summary["connections"][0]["children"][0]
    assert outside["packets_out"] == 2, "alice's pings, and no packet of IKE or ESP"


def test_c70_two_hosts_with_the_same_private_address_keep_apart() -> None:
    result = sim.run(LABS / "virtual-ip.yaml")
    vips = {row["node"]: row["vips"] for row in result.summary["connections"] if row["node"] != "moon"}
    assert vips == {
        "alice": ["10.3.0.1", "fd00:3::1"],
        "carol": ["10.3.0.2", "fd00:3::2"],
        "dave": ["10.3.0.3", "fd00:3::3"],
    }
    assigned = [line for line in events(result, "virtual ip assigned") if "leased to alice" in line]
    assert [line.split()[1] for line in assigned] == ["10.3.0.1", "fd00:3::1"] * 2


def test_c28_the_exhausted_pool_is_explained_at_both_ends() -> None:
    result = sim.run(LABS / "pool-exhausted.yaml")
    failed = events(result, "child failed")
    assert any(
        line.startswith("moon: INTERNAL_ADDRESS_FAILURE: no virtual IP is left for carol") for line in failed
    )
    assert any(line.startswith("carol: INTERNAL_ADDRESS_FAILURE") for line in failed)
    assert drops(result)["carol", "no SA: INTERNAL_ADDRESS_FAILURE"] == 5
    assert all(check["ok"] for check in result.summary["checks"])


def test_a_pool_that_there_is_not_is_an_error_with_its_line() -> None:
    text = VIPS.replace("pools: [rw]", "pools: [rv]")
    (found,) = problems(text)
    line = line_of(text, "pools: [rv]")
    assert found == f"lab.yaml:{line}: tunnels.rw.pools: there is no pool of moon `rv`; known: rw"


@pytest.mark.parametrize(
    ("addrs", "words"),
    [
        ("10.3.0.9-10.3.0.1", "lowest first"),
        ("10.3.0.1-fd00::1", "lowest first"),
        ("10.3.0.1/24", "has host bits set"),
        ("nothing", "write 10.3.0.0/24"),
    ],
)
def test_what_is_no_range_of_addresses_is_refused(addrs: str, words: str) -> None:
    (found,) = problems(VIPS.replace("10.3.0.0/24", addrs))
    assert words in found
    assert "pools.moon.rw.addrs" in found


def test_pools_of_a_node_do_not_overlap() -> None:
    text = VIPS.replace("dns: [10.1.0.20]}", "dns: [10.1.0.20]}, more: {addrs: 10.3.0.200-10.3.1.9}")
    assert ["overlaps 10.3.0.0/24 of rw" in found for found in problems(text)] == [True]


PEER = "connections: {rw: {psk: a, pools: [p], children: {c: {}}}}\n"


def test_a_live_peer_has_pools_beside_its_connections(tmp_path: Path) -> None:
    path = tmp_path / "peer.yaml"
    path.write_text(PEER + "pools: {p: {addrs: 10.3.0.0/24}}\n")
    settings = read_peer(path)
    assert endpoint_config(settings.connections, settings.pools).pools[0].name == "p"
    path.write_text(VIPS)
    assert list(read_peer(path, "moon").pools) == ["rw"]
    assert not read_peer(path, "alice").pools
    path.write_text(PEER)
    with pytest.raises(ScenarioError, match=r"peer.yaml:1: connections.rw.pools: there is no pool `p`"):
        read_peer(path)


def test_virtual_ips_need_somebody_to_ask() -> None:
    text = TEXT.replace(
        "tunnels:\n", "connections: {moon: {x: {psk: a, vips: ['::'], children: {c: {}}}}}\ntunnels:\n"
    )
    assert ["nobody to ask" in found for found in problems(text)] == [True]
