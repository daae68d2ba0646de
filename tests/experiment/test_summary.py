"""The summary's keys are a contract with everybody who reads `--json`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import sim
from sim.scenario.load import load_text
from tests.scenario.base import TEXT

# design.md section 5, and what it leaves to us: capture_sha256 and the connections' text.
TOP = {
    *("name", "seed", "duration_s", "build_s", "wall_s", "packets", "capture_sha256"),
    *("warnings", "checks", "connections", "flows", "drops", "nodes"),
}
CHECK = {"name", "ok", "detail"}
CONNECTION = {
    *("node", "name", "state", "reason", "text", "spi_i", "spi_r", "proposal", "local", "remote"),
    "esp_remote",
    *(
        "nat_local",
        "nat_remote",
        "encap",
        "established_s",
        "sent",
        "received",
        "retransmits",
        "rekeys",
        "setup_round_trips",
        "setup_messages",
        "setup_datagrams",
        "setup_bytes",
        "ppk",
        "resumed",
        "keepalives",
        "vips",
        "dns",
        "children",
    ),
    *("peer_reason", "peer_text", "explanation"),
}
CHILD = {
    *("name", "state", "mode", "protocol", "encap", "spi_in", "spi_out", "packets_in", "packets_out"),
    *("bytes_in", "bytes_out", "ecn_alarms", "local_ts", "remote_ts", "per_cpu_sas", "cpu", "ipcomp"),
}
IPCOMP = {"cpi_in", "cpi_out", "packets_in", "packets_out", "ratio_in", "ratio_out"}
FLOW = {"name", "sent", "received", "lost", "reordered", "goodput_bps", "latency_ms", "outages"}
LATENCY = {"min", "p50", "p95", "p99", "max"}
OUTAGE = {"from_s", "to_s"}
DROP = {"node", "reason", "packets"}
NODE = {"name", "xfrm", "ip"}


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """alice moves from behind a NAT to another network, with loss enough for every list to hold something."""
    overrides = ["links.4.loss=5 %", "events.0.gap=300 ms"]
    return sim.run(load_text(TEXT, overrides=overrides), seed=3, capture=True).summary


def test_the_keys_are_those_of_the_contract(summary: dict[str, Any]) -> None:
    assert set(summary) == TOP
    rows = {"checks": CHECK, "connections": CONNECTION, "flows": FLOW, "drops": DROP, "nodes": NODE}
    for name, keys in rows.items():
        assert summary[name]
        assert all(set(row) == keys for row in summary[name]), name
    children = [child for row in summary["connections"] for child in row["children"]]
    assert [set(child) for child in children] == [CHILD, CHILD]
    (flow,) = summary["flows"]
    assert set(flow["latency_ms"]) == LATENCY
    assert [set(outage) for outage in flow["outages"]] == [OUTAGE]


def test_a_child_that_compresses_says_how_well() -> None:
    summary = sim.run("topologies/ipcomp.yaml").summary
    ends = [child["ipcomp"] for row in summary["connections"] for child in row["children"]]
    assert all(set(found) == IPCOMP for found in ends)
    assert [(found["packets_in"], found["packets_out"]) for found in ends] == [(1, 101), (101, 1)]
    assert ends[0]["cpi_in"] == ends[1]["cpi_out"]
    assert ends[0]["ratio_out"] == ends[1]["ratio_in"] > 10


def test_the_readme_lists_the_keys_of_the_contract() -> None:
    _, _, rest = Path("README.md").read_text().partition("\n### The summary\n")
    listed = rest.partition("`. `wall_s` is")[0].partition("which stay: `")[2]
    words = set(re.findall(r"[a-z]\w*", listed)) - set(re.findall(r"[a-z]\w*", "` (put on any link)`"))

    assert words == TOP | CHECK | CONNECTION | CHILD | IPCOMP | FLOW | LATENCY | OUTAGE | DROP | NODE


def test_it_is_json_without_nan(summary: dict[str, Any]) -> None:
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_it_is_json_without_nan_when_nothing_arrives_and_nothing_is_captured() -> None:
    overrides = ["links.0.loss=100 %", "events=[]"]
    summary = sim.run(load_text(TEXT, overrides=overrides)).summary
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    (flow,) = summary["flows"]
    assert flow["latency_ms"] == dict.fromkeys(LATENCY)
    assert (flow["received"], flow["goodput_bps"], summary["capture_sha256"]) == (0, 0.0, None)


def test_it_is_json_without_traffic_tunnels_and_checks() -> None:
    overrides = ["traffic=[]", "tunnels={}", "checks=[]", "events=[]"]
    summary = sim.run(load_text(TEXT, overrides=overrides)).summary
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert (summary["flows"], summary["connections"], summary["checks"], summary["packets"]) == (
        [],
        [],
        [],
        0,
    )


def test_it_says_what_was_run(summary: dict[str, Any]) -> None:
    assert (summary["name"], summary["seed"], summary["duration_s"]) == ("base", 3, 3.0)
    assert summary["wall_s"] > 0
    assert summary["build_s"] > 0


def test_both_ends_tell_of_one_sa(summary: dict[str, Any]) -> None:
    alice, moon = summary["connections"]
    assert (alice["node"], moon["node"]) == ("alice", "moon")
    assert alice["name"] == moon["name"] == "rw"
    for key in ("spi_i", "spi_r", "proposal", "state", "encap"):
        assert alice[key] == moon[key]
    (a,), (m,) = alice["children"], moon["children"]
    assert (a["spi_in"], a["spi_out"]) == (m["spi_out"], m["spi_in"])
    assert (
        (a["local_ts"], a["remote_ts"])
        == (m["remote_ts"], m["local_ts"])
        == (["192.168.1.10/32"], ["10.1.0.0/16"])
    )
    nowhere = sum(row["packets"] for row in summary["drops"] if row["node"] == "alice")
    assert 0 <= a["packets_out"] - nowhere - m["packets_in"] <= 2, "two are on their way when the run ends"
    assert m["bytes_in"] == 500 * m["packets_in"]
    assert (a["mode"], a["protocol"], a["state"]) == ("tunnel", "ESP", "installed")


def test_spis_are_written_as_wireshark_does(summary: dict[str, Any]) -> None:
    connection = summary["connections"][0]
    assert len(connection["spi_i"]) == len(connection["spi_r"]) == 16
    assert int(connection["spi_i"], 16)
    assert len(connection["children"][0]["spi_in"]) == 8


def test_flows_add_up(summary: dict[str, Any]) -> None:
    (flow,) = summary["flows"]
    assert 0 <= flow["sent"] - flow["received"] - flow["lost"] <= 3, "the last ones may be in flight"
    assert flow["sent"] == 250, "400 kbit/s in packets of 500 octets, for 2.5 s"
    assert flow["goodput_bps"] == pytest.approx(flow["received"] * 500 * 8 / 2.5)
    values = [flow["latency_ms"][key] for key in ("min", "p50", "p95", "p99", "max")]
    assert values == sorted(values)
    assert values[0] >= 8, "2 + 5 + 1 ms of links"


def test_packets_counts_what_is_put_on_links() -> None:
    one_link = """\
name: pair
duration: 1 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  b: {kind: host, interfaces: {eth: 192.0.2.2/24}}
links: [{ends: [a:eth, b:eth]}]
traffic: [{name: echo, kind: ping, from: a, to: b, interval: 100 ms}]
"""
    assert sim.run(load_text(one_link)).summary["packets"] == 20, "requests and answers"


def test_drops_are_summed_by_node_and_reason(summary: dict[str, Any]) -> None:
    reasons = [(row["node"], row["reason"]) for row in summary["drops"]]
    assert len(reasons) == len(set(reasons))
    assert {("alice", "no route"), ("moon", "lost on link")} <= set(reasons)
    assert all(row["packets"] > 0 for row in summary["drops"])
    lost = sum(row["packets"] for row in summary["drops"])
    assert lost >= summary["flows"][0]["lost"], "every loss has a place and a reason"


def test_a_connection_that_was_never_tried_is_idle() -> None:
    overrides = ["tunnels.rw.children.net.start=none", "traffic=[]", "checks=[]"]
    rows = sim.run(load_text(TEXT, overrides=overrides)).summary["connections"]
    assert [(row["state"], row["established_s"], row["children"]) for row in rows] == [("idle", None, [])] * 2


def test_a_connection_on_its_way_is_connecting_under_its_name() -> None:
    """Before it is up only the endpoint knows which connection an SA belongs to."""
    overrides = ["links.3.loss=100 %", "traffic=[]", "checks=[]", "events=[]"]
    alice, moon = sim.run(load_text(TEXT, overrides=overrides)).summary["connections"]
    assert (alice["name"], alice["state"], alice["sent"]) == ("rw", "connecting", 1)
    assert (alice["local"], alice["remote"]) == ("192.168.1.10[500]", "198.51.100.1[500]")
    assert moon["state"] == "idle"


def test_the_failure_of_a_wrong_secret_is_told_in_plain_words() -> None:
    summary = sim.run("topologies/wrong-psk.yaml", seed=7).summary
    moon, sun = summary["connections"]
    for row in (moon, sun):
        assert (row["state"], row["reason"], row["established_s"]) == (
            "failed",
            "AUTHENTICATION_FAILED",
            None,
        )
        assert "pre-shared key" in row["text"]


def test_a_row_is_the_living_sa_and_says_why_the_one_before_failed() -> None:
    """moon tries, fails, and is trying again when the run ends."""
    text = Path("topologies/wrong-psk.yaml").read_text()
    overrides = ["traffic.0.start=4985 ms", "traffic.0.count=1", "checks=[]"]
    moon, _ = sim.run(load_text(text, overrides=overrides)).summary["connections"]
    assert (moon["state"], moon["reason"], moon["established_s"]) == (
        "connecting",
        "AUTHENTICATION_FAILED",
        None,
    )
    assert "pre-shared key" in moon["text"]


@pytest.mark.parametrize("mobike", ["true", "false"])
@pytest.mark.parametrize("moved_at", ["4 ms", "12 ms"])
def test_what_a_move_leaves_half_open_is_no_second_row(moved_at: str, mobike: str) -> None:
    """It runs out after 30 s; until then the connection is the SA that is up (RFC 7296 2.4)."""
    overrides = [f"events.0.at={moved_at}", f"tunnels.rw.mobike={mobike}", "traffic=[]", "checks=[]"]
    result = sim.run(load_text(TEXT, overrides=overrides))
    alice, moon = result.summary["connections"]
    assert len(result.world.stacks["moon"].ledger.records) == 2
    assert (alice["state"], moon["state"]) == ("established", "established")
    assert moon["remote"].startswith("203.0.113.77")


def test_esp_that_has_followed_a_nat_is_told_apart_from_ike() -> None:
    """Without liveness checks nobody tells the responder where IKE is now (RFC 4555 3.8)."""
    overrides = ["events=[{at: 2 s, node: home, do: rebind}]", "checks=[]"]
    result = sim.run(load_text(TEXT, overrides=overrides))
    alice, moon = result.summary["connections"]
    assert alice["esp_remote"] == ""
    assert moon["remote"].startswith("198.18.0.10[")
    assert moon["esp_remote"].startswith("198.18.0.10[")
    assert moon["esp_remote"] != moon["remote"]
    sas = result.sas
    assert set(sas[sas["node"] == "moon"]["remote"]) == {moon["esp_remote"]}
    (entry,) = [entry for entry in result.world.log if entry.node == "moon" and entry.event == "path changed"]
    assert entry.detail.endswith(f"IKE still goes to {moon['remote']}")


def test_of_several_that_are_half_open_the_last_is_shown() -> None:
    """alice begins anew from another address, and hears nothing of either answer."""
    overrides = ["events.0.at=4 ms", "links.3.loss={up: 0 %, down: 100 %}", "traffic=[]", "checks=[]"]
    result = sim.run(load_text(TEXT, overrides=overrides))
    _, moon = result.summary["connections"]
    assert len(result.world.stacks["moon"].ledger.records) == 2
    assert (moon["state"], moon["remote"]) == ("connecting", "203.0.113.77[500]")


def test_an_sa_that_came_up_at_last_has_no_reason() -> None:
    """The first attempt fails for want of an answer, the one after the network is back succeeds."""
    overrides = [
        *("duration=50 s", "tunnels.rw.retransmit=libreswan", "tunnels.rw.mobike=false"),
        "events=[{at: 40 s, node: core, do: up, interface: moon}]",
        *("traffic.0.start=45 s", "checks=[]"),
    ]
    alice, moon = sim.run(load_text(TEXT, overrides=overrides)).summary["connections"]
    for row in (alice, moon):
        assert (row["state"], row["reason"], row["text"]) == ("established", "", "")
        assert row["established_s"] > 45


def test_an_sa_that_still_tries_says_what_it_was_told() -> None:
    """An unauthenticated refusal does not end the attempt at once, but the summary tells of it."""
    sites = sim.load("topologies/site-to-site.yaml", ["duration=2 s", "traffic=[]", "checks=[]"])
    plain = sim.expand(sites).plain()
    plain["connections"]["sun"]["sites"]["proposals"] = ["aes128gcm16-prfsha256-x25519"]
    result = sim.run(sites.rewritten(plain, {}), seed=1)
    row = next(row for row in result.summary["connections"] if row["node"] == "moon")

    assert (row["state"], row["reason"]) == ("connecting", "NO_PROPOSAL_CHOSEN")
    assert "aes256-sha256-modp2048" in row["text"]
