"""A flow that passes both ends of a tunnel in clear is told before the run, or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sim
from sim.scenario.build import build
from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.load import load_text
from tests.scenario.base import line_of
from tests.tunnels.lab import SITES

TRAFFIC = "traffic: [{name: up, kind: cbr, from: alice, to: bob, size: 200 B, rate: 100 kbit/s}]\n"
BARE = SITES.replace("local_ts: [10.1.0.0/16], remote_ts: [10.2.0.0/16], ", "") + TRAFFIC
OWN = "local_ts: [192.0.2.1/32], remote_ts: [198.51.100.1/32], "
MEANT = SITES.replace("local_ts: [10.1.0.0/16], remote_ts: [10.2.0.0/16], ", OWN) + TRAFFIC
IN_CLEAR = "flow `up` goes from moon to sun in clear: no child of sites covers it"


def test_a_gateway_s_child_without_selectors_is_refused_when_traffic_goes_beside_it() -> None:
    problems = refused(BARE)
    assert len(problems) == 1
    where = f"lab.yaml:{line_of(BARE, 'lans:')}: tunnels.sites.children.lans.local_ts: "
    assert problems[0].startswith(where + "names no network, so the tunnel protects only moon itself there")


def test_the_end_that_leaves_its_network_out_is_named() -> None:
    """Only `local_ts` is there: the responder, for which it is mirrored, protects nothing but itself."""
    text = SITES.replace("remote_ts: [10.2.0.0/16], ", "") + TRAFFIC.replace("alice", "moon")
    problems = refused(text)
    (problem,) = problems
    assert (
        "tunnels.sites.children.lans.remote_ts: names no network, so the tunnel protects only sun" in problem
    )


def test_a_gateway_s_child_without_selectors_is_for_the_gateways_themselves() -> None:
    assert build(load_text(BARE, overrides=["traffic.0.from=moon", "traffic.0.to=sun:wan"])).warnings == []


def test_a_flow_beside_selectors_that_are_written_is_a_warning() -> None:
    world = build(load_text(MEANT, "lab.yaml"))
    assert list(map(str, world.warnings)) == [f"lab.yaml:{line_of(MEANT, 'name: up')}: traffic.0: {IN_CLEAR}"]


def test_the_protocol_of_a_flow_counts() -> None:
    """Selectors of a child may be for one protocol alone (RFC 4301 4.4.1.1)."""
    cbr = limited("[icmp]")
    assert [str(w).endswith(IN_CLEAR) for w in build(load_text(json.dumps(cbr))).warnings] == [True]
    ping = {**cbr, "traffic": [{"name": "up", "kind": "ping", "from": "alice", "to": "bob"}]}
    assert build(load_text(json.dumps(ping))).warnings == []


@pytest.mark.parametrize(("port", "beside"), [(53, True), (9, False)])
def test_the_port_of_a_flow_counts(port: int, beside: bool) -> None:
    """A constant rate goes to the discard port, 9; the selectors may be for another one."""
    plain = limited(f"[udp/{port}]")
    assert [str(w).endswith(IN_CLEAR) for w in build(load_text(json.dumps(plain))).warnings] == [
        True
    ] * beside


@pytest.mark.parametrize("path", sorted(Path("topologies").glob("*.yaml")), ids=lambda path: path.stem)
def test_no_shipped_topology_has_traffic_beside_its_tunnel(path: Path) -> None:
    assert build(sim.load(path)).warnings == []


def test_the_run_tells_its_warnings() -> None:
    result = sim.run(load_text(MEANT, "lab.yaml", ["duration=1 s"]))
    assert [IN_CLEAR in text for text in result.summary["warnings"]] == [True]
    assert IN_CLEAR in " ".join(result._repr_html_().replace("&#x27;", "'").split())


def test_validate_tells_warnings_and_is_content(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(MEANT)
    command = [sys.executable, "-m", "sim.cli", "validate", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == f"warning: {file}:{line_of(MEANT, 'name: up')}: traffic.0: {IN_CLEAR}\n"


def limited(suffix: str) -> dict[str, Any]:
    """Two sites that could reach each other in clear; what is for sun's site must fit the suffix, too."""
    plain = expand(load_text(SITES + TRAFFIC)).plain()
    plain["nodes"]["moon"]["routes"] = {"10.2.0.0/16": "wan"}
    plain["nodes"]["net"]["routes"] = {"10.2.0.0/16": "sun"}
    for node, key in (("moon", "remote_ts"), ("sun", "local_ts")):
        child = plain["connections"][node]["sites"]["children"]["lans"]
        child[key] = [f"{child[key][0]}{suffix}"]
    return plain


def refused(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        build(load_text(text, "lab.yaml"))
    return str(caught.value).splitlines()
