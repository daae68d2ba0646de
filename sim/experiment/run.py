"""One run from scenario to result."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from pathlib import Path
from typing import SupportsIndex

from sim.experiment.recording import Recording
from sim.experiment.result import Result
from sim.net.engine import stopwatch
from sim.scenario.build import build
from sim.scenario.load import load
from sim.scenario.schema import Scenario
from sim.scenario.world import World
from sim.units import parse_duration

Progress = Callable[[int, int], None]
"""Called with the virtual time reached and the duration, in ns."""

_STEPS = 200


def run(
    scenario: Scenario | str | Path,
    seed: int = 1,
    until: int | str | None = None,
    *,
    out: str | Path | None = None,
    capture: bool | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run a scenario, or the file of one, to its end; `until` is used instead of its duration.

    `until` is text with a unit ("5 s") or a whole number of ns. `seed` is at least 0.
    `out` names a folder for manifest, summary, tables, capture and keys; nothing of it appears before the
    run has ended. `capture` says whether packets are captured at all; None: only when `out` is given. A
    capture without `out` is hashed and thrown away. ScenarioError when the scenario cannot be run, TypeError
    or ValueError when `seed` or `until` is nothing of that.
    """
    elapsed = stopwatch()
    if not isinstance(scenario, Scenario):
        scenario = load(scenario)
    if until is not None:
        scenario = scenario.lasting(_duration(until))
    world = build(scenario, seed)
    build_s = elapsed()
    with Recording(world, out, capture) as recording:
        _advance(world, progress)
        return recording.finish(build_s)


def _duration(until: object) -> int:
    if isinstance(until, str):
        return parse_duration(until)
    if isinstance(until, SupportsIndex) and not isinstance(until, bool):
        return index(until)
    raise TypeError(f"until={until!r}: write text with a unit such as until='5 s', or a whole number of ns")


def _advance(world: World, progress: Progress | None) -> None:
    end = world.scenario.duration
    for step in range(1, _STEPS + 1):
        world.sim.run(end * step // _STEPS)
        if progress is not None:
            progress(world.sim.now, end)
