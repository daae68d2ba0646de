"""All cells on all cores, as one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sim.experiment.grid.cell import KINDS, NO_NAT, Cell, CellResult, Pace, Terms
from sim.experiment.grid.errors import GridError
from sim.experiment.grid.trials import run_cell

if TYPE_CHECKING:
    from rich.console import RenderableType

SILENCE_S = 600
"""Longer than every preset keeps a silent mapping of UDP."""

Progress = Callable[[int, int], None]
"""(cells done, cells in all)"""


@dataclass(frozen=True)
class Grid:
    """`cells` in the order of keepalive, MOBIKE, near box and far box. `silence_s` and `seed` made them."""

    cells: tuple[CellResult, ...]
    silence_s: int
    seed: int

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row per cell: near, far, keepalive, mobike, up, how, seen, reason, setup_ms, colour, and of each
        trial its outcome, outage in s, and reason."""
        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """The cells as plain values."""
        return [row_of(result) for result in self.cells]

    def cell(self, near: str, far: str, *, keepalive: bool = True, mobike: bool = True) -> CellResult:
        """One of them; KeyError when it was not run."""
        wanted = Cell(near, far, keepalive, mobike)
        for result in self.cells:
            if result.cell == wanted:
                return result
        raise KeyError(f"no cell {near} against {far} with {wanted.settings}")

    def render(self) -> RenderableType:
        """The tables that `ipsec-sim grid` prints."""
        from sim.experiment.grid.text import render

        return render(self)

    def html(self) -> str:
        """A page of its own, with the reason in each cell."""
        from sim.experiment.grid.page import page

        return page(self)

    def _repr_html_(self) -> str:
        return self.html()


def grid(
    presets: Iterable[str] | None = None,
    *,
    keepalive: Sequence[bool] = (True, False),
    mobike: Sequence[bool] = (True, False),
    silence_s: int = SILENCE_S,
    seed: int = 1,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Grid:
    """Try every NAT preset against every one, or those named; `jobs` None uses all cores.

    GridError for what is no preset, for no cells, and for a silence or a number of jobs that is not above 0.
    """
    kinds = _checked(presets)
    if not keepalive or not mobike:
        raise GridError("nothing to try: keepalive and mobike each need at least one of True and False")
    _check_above_0(silence_s, 1 if jobs is None else jobs)
    cells = [Cell(a, b, ka, mob) for ka, mob, a, b in product(keepalive, mobike, kinds, kinds)]
    results = _on_all_cores(cells, silence_s, seed, jobs or os.cpu_count() or 1, progress)
    return Grid(tuple(results), silence_s, seed)


def one_cell(
    near: str,
    far: str,
    *,
    keepalive: bool = True,
    mobike: bool = True,
    silence_s: float = SILENCE_S,
    seed: int = 1,
    out: str | Path | None = None,
    pace: Pace | None = None,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> CellResult:
    """Run one cell; `out` gets a folder for each trial, with capture and keys. GridError as for `grid`.

    `changes` are keys of a topology for the boxes "near" and "far", such as {"near": {"udp_timeout": "2 s"}};
    ScenarioError for those that a NAT does not have, GridError for a box that is not there.
    """
    near, far = _checked([near])[0], _checked([far])[0]
    for box in changes or {}:
        if {"near": near, "far": far}.get(box, NO_NAT) == NO_NAT:
            raise GridError(f"no box {box!r} to change here: near is {near}, far is {far}")
    _check_above_0(silence_s)
    terms = Terms(silence_s, pace or Pace(), **dict(changes or {}))
    return run_cell(Cell(near, far, keepalive, mobike), terms, seed, None if out is None else Path(out))


def _on_all_cores(
    cells: list[Cell], silence_s: int, seed: int, jobs: int, progress: Progress | None
) -> list[CellResult]:
    work = partial(run_cell, terms=Terms(silence_s), seed=seed)
    results = []
    # Forking a process that has threads, as one in Jupyter has, can hang: start afresh.
    with ProcessPoolExecutor(min(jobs, len(cells)), get_context("spawn")) as pool:
        for result in pool.map(work, cells, chunksize=4):
            results.append(result)
            if progress is not None:
                progress(len(results), len(cells))
    return results


def _check_above_0(silence_s: float, jobs: int = 1) -> None:
    if silence_s <= 0 or jobs <= 0:
        raise GridError("the silence, in s, and the number of jobs are above 0")


def _checked(presets: Iterable[str] | None) -> tuple[str, ...]:
    kinds = KINDS if presets is None else tuple(dict.fromkeys(presets))
    for kind in kinds:
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(KINDS)}"
            raise GridError(f"{kind!r} is no NAT preset: {hint}")
    if not kinds:
        raise GridError(f"no preset to try: name some of {', '.join(KINDS)}")
    return kinds


def row_of(result: CellResult) -> dict[str, Any]:
    """One cell as plain values."""
    cell = result.cell
    row: dict[str, Any] = {
        "near": cell.near,
        "far": cell.far,
        "keepalive": cell.keepalive,
        "mobike": cell.mobike,
        "up": result.up,
        "how": result.how,
        "seen": result.seen,
        "reason": result.reason,
        "setup_ms": result.setup_ms,
        "colour": result.colour,
    }
    for name, trial in result.trials.items():
        row |= {name: trial.outcome.value, f"{name}_outage_s": trial.outage_s, f"{name}_reason": trial.reason}
    return row
