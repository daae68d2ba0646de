"""What is kept of a run while it goes on, and the folder that it leaves."""

from __future__ import annotations

import json
from contextlib import ExitStack
from fnmatch import fnmatchcase
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from sim.experiment.capture import CaptureRecorder, HashingStream
from sim.experiment.failures import failure_entries
from sim.experiment.flows import outage_entries
from sim.experiment.output import OutputFolder
from sim.experiment.result import Result
from sim.experiment.summary import summarise
from sim.scenario.world import World

if TYPE_CHECKING:
    import pandas as pd


class Recording:
    """A context manager around a run: captures packets, and in the end makes the result and the files.

    `out` names a folder for manifest, summary, tables, capture and keys; nothing of it appears before
    `finish` was called and the context has been left without an exception. `capture` says whether packets are
    captured at all; None: only when `out` is given. A capture without `out` is hashed and thrown away.
    """

    def __init__(self, world: World, out: str | Path | None, capture: bool | None) -> None:
        self._world = world
        self._folder = OutputFolder(out) if out is not None else None
        self._wants_capture = bool(capture or (capture is None and self._folder))
        self._capture: HashingStream | None = None
        self._open = ExitStack()

    def __enter__(self) -> Recording:
        with ExitStack() as begun:
            if self._folder is not None:
                begun.enter_context(self._folder)
            if self._wants_capture:
                self._capture = _tap(self._world, self._folder)
            self._open = begun.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def finish(self, build_s: float, **more: Any) -> Result:
        """The result of the run so far; `more` are further parts of its summary."""
        world = self._world
        world.log.extend(outage_entries(world))
        world.log.extend(failure_entries(world))
        world.log.sort(key=lambda entry: entry.at)
        digest = self._capture.hexdigest() if self._capture else None
        result = Result(summarise(world, build_s, digest) | more, world)
        if self._folder is not None:
            _write(self._folder, result)
        return result


def _tap(world: World, folder: OutputFolder | None) -> HashingStream | None:
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
