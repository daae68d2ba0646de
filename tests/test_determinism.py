"""The same scenario and seed give the same octets, in any process, whatever PYTHONHASHSEED is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sim

ROAD_WARRIOR = Path("topologies/road-warrior-mobike.yaml")
SITES = Path("topologies/site-to-site.yaml")
_RUN = """
import hashlib, json, sys, sim
result = sim.run(sys.argv[1], seed=int(sys.argv[2]), capture=True)
summary = {key: value for key, value in result.summary.items() if key not in ("build_s", "wall_s")}
tables = [table.to_csv() for table in (result.events, result.flows, result.sas)]
keys = result.world.keys
print(json.dumps([summary, [hashlib.sha256(t.encode()).hexdigest() for t in tables], keys.esp_sa()]))
"""


@pytest.mark.parametrize(
    "path", [ROAD_WARRIOR, SITES, Path("topologies/wrong-psk.yaml")], ids=lambda p: p.stem
)
def test_two_processes_with_other_hash_seeds_agree(path: Path) -> None:
    first, second = run(path, 7, hash_seed="0"), run(path, 7, hash_seed="4242")

    assert first == second
    assert first[0]["capture_sha256"] is not None


def test_another_seed_gives_other_octets() -> None:
    hashes = {sim.run(SITES, seed=seed, capture=True).summary["capture_sha256"] for seed in (1, 2, 3)}

    assert len(hashes) == 3


def test_a_second_run_in_one_process_is_the_same() -> None:
    one, two = (sim.run(SITES, seed=3, capture=True).summary["capture_sha256"] for _ in range(2))

    assert one == two


def test_watching_changes_nothing() -> None:
    """A capture draws no randomness and moves no packet."""
    watched, unwatched = (sim.run(ROAD_WARRIOR, seed=5, capture=capture) for capture in (True, False))

    assert watched.flows.equals(unwatched.flows)
    assert watched.events.equals(unwatched.events)


def test_a_new_node_does_not_shift_the_losses_of_others() -> None:
    plain = sim.load(SITES, ["links.1.loss=5 %"])
    data = plain.plain()
    data["nodes"]["idle"] = {"kind": "host", "interfaces": {"eth": ["172.31.0.2/30"]}}
    data["nodes"]["idler"] = {"kind": "host", "interfaces": {"eth": ["172.31.0.1/30"]}}
    data["links"].append({"ends": ["idle:eth", "idler:eth"], "loss": "50 %"})
    data["traffic"].append(
        {"name": "chatter", "kind": "ping", "from": "idle", "to": "idler", "interval": "50 ms"}
    )
    crowded = plain.rewritten(data, {})

    lost = [losses(sim.run(scenario, seed=2)) for scenario in (plain, crowded)]
    assert lost[0] == lost[1]
    assert lost[0]


def losses(result: sim.Result) -> list[int]:
    flow = result.flows[result.flows.flow == "backup"]
    return list(flow[flow.received_s.isna()].seq)


def run(path: Path, seed: int, *, hash_seed: str) -> tuple[dict[str, object], list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(path), str(seed)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    summary, tables, keys = json.loads(done.stdout)
    return summary, tables, keys
