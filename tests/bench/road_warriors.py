"""One gateway and any number of road warriors, each behind a link of its own to one access router.

    warrior 0 --\
    warrior 1 ---- access ---- moon
    ...       --/

The road warriors call one after another, so that few IKE SAs are half open at a time, and all stay up.

python -m tests.bench.road_warriors COUNT [TIMES] prints a Measured as JSON.
"""

from __future__ import annotations

import gc
import ipaddress
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from sim.scenario.build import build
from sim.scenario.load import load_plain
from sim.scenario.schema import Scenario
from sim.units import NS_PER_S

MOON = "198.51.100.1"
PROPOSAL = "aes128gcm16-prfsha256-x25519"
INTERVAL_NS = NS_PER_S // 1000
"""From one call to the next."""
_FIRST_NETWORK = int(ipaddress.ip_address("10.64.0.0"))
_SETTLE_NS = NS_PER_S
_ROOT = Path(__file__).parents[2]


class Measured(NamedTuple):
    """Seconds of processor time, and octets of memory as the operating system counts them.

    `pair_bytes` is what all that is established takes for each road warrior, both ends, the gateway's and
    the run's own records of it included: what the process has grown by since the world was built.
    """

    warriors: int
    make_s: float
    build_s: float
    run_s: float
    peak_bytes: int
    pair_bytes: int

    @property
    def rate(self) -> float:
        return self.warriors / self.run_s


def measure(count: int, times: int = 1) -> Measured:
    """Of a process of its own, so that nothing else counts; `run_s` is the mean of several worlds."""
    command = [sys.executable, "-m", "tests.bench.road_warriors", str(count), str(times)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_ROOT)
    return Measured(*json.loads(done.stdout))


def _measure(count: int, times: int = 1) -> Measured:
    began = time.process_time()
    scenario = road_warriors(count)
    made = time.process_time()
    world = build(scenario)
    built = time.process_time()
    gc.collect()
    before, run_s = _resident(), 0.0
    for turn in range(times):
        if turn:
            world = build(scenario)
            gc.collect()
        started = time.process_time()
        world.sim.run(scenario.duration)
        run_s += time.process_time() - started
        if len(world.stacks["moon"].engine.sad) != count:
            raise RuntimeError("not all road warriors came up")
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    pair_bytes = (_resident() - before) // count
    return Measured(count, made - began, built - made, run_s / times, peak, pair_bytes)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def road_warriors(count: int, *, virtual: bool = False) -> Scenario:
    """The scenario; it lasts until all must be up. With `virtual` each gets an address of a pool."""
    names = [f"w{number}" for number in range(count)]
    events = [
        {"at": f"{number * INTERVAL_NS} ns", "node": name, "do": "initiate", "connection": "rw"}
        for number, name in enumerate(names)
    ]
    calling = _connection({"remote_ts": ["10.1.0.0/16"]}) | {"remote_addrs": [MOON]}
    if virtual:
        calling["vips"] = ["0.0.0.0"]
    plain: dict[str, object] = {
        "name": f"road-warriors-{count}",
        "duration": f"{count * INTERVAL_NS + _SETTLE_NS} ns",
        "capture": [],
        "nodes": _nodes(names),
        "links": [
            {"ends": ["access:moon", "moon:wan"], "rate": "10 Gbit/s", "delay": "1 ms"},
            {"ends": ["moon:lan", "bob:eth"]},
            *({"ends": [f"{name}:eth", f"access:{name}"], "delay": "2 ms"} for name in names),
        ],
        "connections": {
            "moon": {
                "rw": _connection({"local_ts": ["10.1.0.0/16"]}) | ({"pools": ["vips"]} if virtual else {})
            },
            **{name: {"rw": calling | {"local_id": f"{name}@example.org"}} for name in names},
        },
        "pools": {"moon": {"vips": {"addrs": "10.128.0.0/16"}}} if virtual else {},
        "events": events,
    }
    return load_plain(plain)


def _nodes(names: list[str]) -> dict[str, object]:
    ports = {name: f"{_address(number, 1)}/30" for number, name in enumerate(names)}
    access = {"kind": "router", "interfaces": {"moon": "198.51.100.2/24"} | ports}
    moon = {"kind": "gateway", "interfaces": {"wan": f"{MOON}/24", "lan": "10.1.0.1/16"}}
    bob = {"kind": "host", "interfaces": {"eth": "10.1.0.10/16"}}
    hosts = {
        name: {"kind": "host", "interfaces": {"eth": f"{_address(number, 2)}/30"}}
        for number, name in enumerate(names)
    }
    return {"access": access, "moon": moon, "bob": bob, **hosts}


def _connection(child: dict[str, object]) -> dict[str, object]:
    return {"proposals": [PROPOSAL], "psk": "correct horse", "children": {"net": child}}


def _address(number: int, host: int) -> str:
    return str(ipaddress.ip_address(_FIRST_NETWORK + 4 * number + host))


if __name__ == "__main__":
    print(json.dumps(_measure(*map(int, sys.argv[1:]))))
