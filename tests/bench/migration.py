"""A thousand clients that set up, roam at once and are torn down, each behind an access link of its own.

python -m tests.bench.migration COUNT prints a Migrated as JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import sim
from sim.scenario.schema import Scenario

COUNT = 1000
_ROOT = Path(__file__).parents[2]
_TOPOLOGY = _ROOT / "topologies" / "mobike" / "mass-migration.yaml"
_EVENTS = [
    {"at": "0 s", "node": "alice", "do": "initiate", "connection": "rw", "spread": "10 s"},
    {"at": "14 s", "node": "alice", "do": "move", "from": "wlan", "to": "lte", "gap": "100 ms"},
    {"at": "16 s", "node": "alice", "do": "terminate", "connection": "rw"},
]


class Migrated(NamedTuple):
    """Seconds of wall time, and octets of memory as the operating system counts them; `moved` of how many."""

    clients: int
    load_s: float
    build_s: float
    run_s: float
    peak_bytes: int
    moved: int
    left: int


def measure(count: int = COUNT) -> Migrated:
    """Of a process of its own, so that nothing else counts."""
    command = [sys.executable, "-m", "tests.bench.migration", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_ROOT)
    return Migrated(*json.loads(done.stdout))


def scenario(count: int) -> Scenario:
    """The topology without traffic, whose clients hang up two seconds after their move."""
    changes = {"nodes.alice.count": count, "traffic": [], "checks": [], "events": _EVENTS}
    return sim.load(_TOPOLOGY, changes)


def _measure(count: int) -> Migrated:
    began = time.perf_counter()
    made = scenario(count)
    loaded = time.perf_counter()
    world = sim.build(made)
    built = time.perf_counter()
    world.sim.run(made.duration)
    ended = time.perf_counter()
    moved = {entry.detail for entry in world.log if (entry.node, entry.event) == ("moon", "path changed")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    left = len(world.stacks["moon"].engine.sad)
    return Migrated(count, loaded - began, built - loaded, ended - built, peak, len(moved), left)


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
