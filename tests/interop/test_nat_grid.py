"""The grid's cells that Linux can reproduce, in namespaces: what came of each is what the simulator says.

Both go by the same clock, in which time-outs of conntrack are 2 s. All cells run at once: they only wait.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest

from sim.experiment.grid.cell import Cell, CellResult, Outcome, Pace
from sim.experiment.grid.study import one_cell
from tests.interop.linux_grid import PUBLIC_ALICE, LinuxCell, Seen
from tests.interop.netns import Lab

pytestmark = [pytest.mark.peers, pytest.mark.slow]  # half a minute: three trials by the clock

TIMEOUTS = {"udp_timeout": 2, "udp_timeout_stream": 2}
BOX = {"udp_timeout": "2 s", "udp_stream_timeout": "2 s"}
PACE = Pace(keepalive=0.8, liveness=1.7, speak=1, event=2, end=7)
"""Liveness checks, at 1.7 s and 3.4 s, are far from when the box changes, at 2 s, or is back, at 3 s."""
SILENCE_S = 3.5
TOLERANCE_S = 0.45
"""Scheduling, and packets that leave every 100 ms; the simulated way is 40 ms longer."""
NEAR: dict[str, tuple[str, dict[str, Any]]] = {
    "": ("none", {}),
    "masquerade": ("linux", BOX),
    "masquerade random": ("linux", BOX | {"port_assignment": "random"}),
    "masquerade fully-random": ("linux", BOX | {"port_assignment": "random"}),
}
"""What nftables is told, the preset and what is changed in it."""
FAR = {"": "none", "masquerade": "linux"}
"""The box of a responder has rules for 500 and 4500 besides."""
SWITCHES = (True, False)
"""Keepalives and MOBIKE, both on and both off."""


def test_linux_agrees_with_the_grid(lab: Lab) -> None:
    cells = {
        (near, far, on): LinuxCell(lab, near, far, TIMEOUTS)
        for near in NEAR
        for far in FAR
        for on in SWITCHES
    }
    with ThreadPoolExecutor(len(cells)) as together:
        trials = {at: together.submit(all_trials, cell, *at) for at, cell in cells.items()}
    simulated = {at: simulate(*at) for at in cells}
    differing = [
        line for at, trial in trials.items() for line in differences(at, trial.result(), simulated[at])
    ]
    assert not differing, "\n".join(differing)
    shown = {(name, trial.outcome) for cell in simulated.values() for name, trial in cell.trials.items()}
    assert {(name, outcome) for name, outcome in shown if outcome is not Outcome.NOTHING} == {
        *product(("idle", "rebind", "reboot"), (Outcome.SURVIVED, Outcome.LOST))
    }, "there is something to agree on"


def all_trials(real: LinuxCell, near: str, far: str, on: bool) -> dict[str, Seen]:
    cell = Cell(NEAR[near][0], FAR[far], on, on)
    found = {"idle": real.idle(cell, PACE, SILENCE_S)}
    return found | ({"rebind": real.rebind(cell, PACE), "reboot": real.reboot(cell, PACE)} if near else {})


def differences(at: tuple[str, str, bool], found: dict[str, Seen], simulated: CellResult) -> list[str]:
    """What the two say differently, in words."""
    told: list[tuple[str, object, object]] = []
    for name, seen in found.items():
        trial = simulated.trials[name]
        told.append((f"{name} how", seen.how, simulated.how))
        told.append((f"{name} address", seen.remote[0], PUBLIC_ALICE))
        told.append((f"{name}", seen.outcome, trial.outcome))
        if trial.outcome is Outcome.SURVIVED and abs(seen.outage_s - trial.outage_s) > TOLERANCE_S:
            told.append((f"{name} outage", f"{seen.outage_s:.3f} s", f"{trial.outage_s:.3f} s"))
        if name == "idle":
            told.append(("port kept", seen.remote[1] == 4500, simulated.seen.endswith("[4500]")))
            told.append(("idle back", seen.back, "and stays so" not in trial.reason))
    return [f"{at} {what}: Linux {real}, grid {ours}" for what, real, ours in told if real != ours]


def simulate(near: str, far: str, on: bool) -> CellResult:
    preset, change = NEAR[near]
    changes = ({"near": change} if near else {}) | ({"far": BOX} if far else {})
    return one_cell(
        *(preset, FAR[far]), keepalive=on, mobike=on, silence_s=SILENCE_S, pace=PACE, changes=changes
    )
