"""One run from scenario to result, and the folder that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from fnmatch import fnmatchcase
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from sim.experiment.capture import CaptureRecorder, HashingStream
from sim.experiment.flows import outage_entries
from sim.experiment.output import OutputFolder
from sim.experiment.result import Result
from sim.experiment.summary import summarise
from sim.net.engine import stopwatch
from sim.scenario.build import build
from sim.scenario.load import load
from sim.scenario.schema import Scenario
from sim.scenario.world import World

if TYPE_CHECKING:
    import pandas as pd

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
    with ExitStack() as stack:
        folder = stack.enter_context(OutputFolder(out)) if out is not None else None
        recorder = _recorder(world, folder) if capture or (capture is None and folder) else None
        _advance(world, progress)
        world.log.extend(outage_entries(world))
        world.log.sort(key=lambda entry: entry.at)
        result = Result(summarise(world, build_s, recorder.hexdigest() if recorder else None), world)
        if folder is not None:
            _write(folder, result)
    return result


def _recorder(world: World, folder: OutputFolder | None) -> HashingStream | None:
    """Taps what the scenario wants captured; None when that is nothing."""
    patterns = world.scenario.capture
    ports = {
        label: port
        for label, port in world.ports.items()
        if any(fnmatchcase(label, pattern) for pattern in patterns)
    }
    if not ports:
        return None
    stream = HashingStream(folder.open("capture.pcapng") if folder else None)
    CaptureRecorder(cast(BinaryIO, stream), ports)
    return stream


def _advance(world: World, progress: Progress | None) -> None:
    end = world.scenario.duration
    for step in range(1, _STEPS + 1):
        world.sim.run(end * step // _STEPS)
        if progress is not None:
            progress(world.sim.now, end)


def _write(folder: OutputFolder, result: Result) -> None:
    world = result.world
    folder.write("summary.json", _json(result.summary))
    if result.summary["capture_sha256"] is None:
        folder.discard("capture.pcapng")  # an older run's does not belong to these tables
    _write_table(folder, "flows.parquet", result.flows)
    _write_table(folder, "events.parquet", result.events)
    folder.write("keys/esp_sa", world.keys.esp_sa())
    folder.write("keys/ikev2_decryption_table", world.keys.ikev2_decryption_table())
    manifest = {
        "scenario": world.scenario.name,
        "scenario_sha256": world.scenario.hash,
        "seed": world.seed,
        "version": version("ipsec-sim"),
        "capture_sha256": result.summary["capture_sha256"],
        "wall_s": result.summary["wall_s"],
    }
    folder.write("manifest.json", _json(manifest))


def _write_table(folder: OutputFolder, name: str, table: pd.DataFrame) -> None:
    octets = BytesIO()
    table.to_parquet(octets, index=False)
    folder.open(name).write(octets.getvalue())


def _json(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
