"""One run from scenario to result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sim.experiment.recording import Recording
from sim.experiment.result import Result
from sim.net.engine import stopwatch
from sim.scenario.build import build
from sim.scenario.load import load
from sim.scenario.schema import Scenario
from sim.scenario.world import World

Progress = Callable[[int, int], None]
"""Called with the virtual time reached and the duration, in ns."""

_STEPS = 200


def run(
    scenario: Scenario | str | Path,
    seed: int = 1,
    until: int | None = None,
    *,
    out: str | Path | None = None,
    capture: bool | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run a scenario, or the file of one, to its end; `until` (ns) is used instead of its duration.

    `out` names a folder for manifest, summary, tables, capture and keys; nothing of it appears before the
    run has ended. `capture` says whether packets are captured at all; None: only when `out` is given. A
    capture without `out` is hashed and thrown away. ScenarioError when the scenario cannot be run.
    """
    elapsed = stopwatch()
    if not isinstance(scenario, Scenario):
        scenario = load(scenario)
    if until is not None:
        scenario = scenario.lasting(until)
    world = build(scenario, seed)
    build_s = elapsed()
    with Recording(world, out, capture) as recording:
        _advance(world, progress)
        return recording.finish(build_s)


def _advance(world: World, progress: Progress | None) -> None:
    end = world.scenario.duration
    for step in range(1, _STEPS + 1):
        world.sim.run(end * step // _STEPS)
        if progress is not None:
            progress(world.sim.now, end)
