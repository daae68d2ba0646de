"""What `ipsec-sim sweep` does with its arguments."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from sim.experiment.sweep import sweep
from sim.experiment.whole_file import check_writable, write_whole
from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.source import YamlReader

SUFFIXES = (".csv", ".parquet")


def run_sweep(
    topology: str | Path,
    vary: Iterable[str],
    seeds: int,
    overrides: Iterable[str],
    out: Path | None,
    jobs: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Sweeps, writes the table to `out`, and returns what to print: without `out` the table as CSV.

    Before anything runs: ScenarioError for arguments that mean nothing and for a variant that cannot run,
    OSError for a file that cannot be written.
    """
    if out is not None and out.suffix not in SUFFIXES:
        raise ScenarioError([Problem(f"--out {out}", "", f"must end in {' or '.join(SUFFIXES)}")])
    if out is not None:
        check_writable(out)
    varied = dict(map(read_vary, vary))
    fixed = {path: [values] for path, values in map(_fixed, overrides)}
    table = sweep(topology, {**fixed, **varied}, seeds, processes=jobs, progress=progress)
    table = _as_text(table.drop(columns=[path for path in fixed if path not in varied]))
    if out is None:
        return table.to_csv(index=False)
    _write(table, out)
    return f"{len(table)} runs, written to {out}\n"


def read_vary(text: str) -> tuple[str, list[object]]:
    """`links.0.delay=5 ms,50 ms` as a path and its values; a comma within brackets parts nothing."""
    path, equals, values = text.partition("=")
    label = f"--vary {text}"
    reader = YamlReader(label, lines=False)
    found = reader.read(f"[{values}]".encode(errors="surrogateescape")) if equals and path.strip() else None
    if reader.problems:
        raise ScenarioError(reader.problems)
    if not isinstance(found, list) or not found:
        raise ScenarioError(
            [Problem(label, "", "write PATH=VALUE,VALUE,..., such as links.0.delay=5 ms,50 ms")]
        )
    return path.strip(), found


def _fixed(text: str) -> tuple[str, object]:
    path, equals, value = text.partition("=")
    label = f"--set {text}"
    if not equals or not path.strip():
        raise ScenarioError([Problem(label, "", "write PATH=VALUE, such as links.0.delay=5 ms")])
    reader = YamlReader(label, lines=False)
    found = reader.read(value.encode(errors="surrogateescape"))
    if reader.problems:
        raise ScenarioError(reader.problems)
    return path.strip(), found


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """A value that is a list or a mapping has no column type of its own."""
    return table.map(lambda value: str(value) if isinstance(value, (list, dict)) else value)


def _write(table: pd.DataFrame, out: Path) -> None:
    octets = io.BytesIO()
    if out.suffix == ".csv":
        octets.write(table.to_csv(index=False).encode())
    else:
        table.to_parquet(octets, index=False)
    write_whole(out, octets.getvalue())
