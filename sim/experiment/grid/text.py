"""The grid on a terminal: a letter for everything that a cell survives, and the reasons below."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from string import ascii_uppercase
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sim.experiment.grid.cell import CellResult, Outcome

if TYPE_CHECKING:
    from sim.experiment.grid.study import Grid

_LETTERS = {"idle": "i", "rebind": "r", "reboot": "b"}
_CODE_WIDTH = 4
_SHORT = {"port-restricted-cone": "port-cone", "restricted-cone": "addr-cone"}
LEGEND = (
    "U: up, ESP in UDP; P: up, plain ESP; -: not up. i: reached from outside after {silence} s of silence; "
    "r, b: goes on after the near box gave other ports, or restarted; '.' where not; ' ' nothing to try."
)


def render(grid: Grid) -> Group:
    parts: list[Table | Text] = []
    for settings, cells in groupby(grid.cells, key=lambda result: result.cell.settings):
        title = Text(f"{settings}: the near box down, the far box across")
        parts += [title, _table(list(cells)), Text("")]
    parts.append(Text(LEGEND.format(silence=grid.silence_s)))
    reasons = _reasons(grid)
    if reasons.row_count:
        parts += [Text(""), reasons]
    return Group(*parts)


def render_cell(result: CellResult) -> Table:
    """One cell in words."""
    cell = result.cell
    table = Table(title=f"{cell.near} against {cell.far}, {cell.settings}", box=None, title_justify="left")
    table.add_column("")
    table.add_column("")
    up = f"{result.how} in {result.setup_ms:.1f} ms, {result.seen}" if result.up else f"no: {result.reason}"
    table.add_row("comes up", up, style=result.colour)
    for name, trial in result.trials.items():
        outage = f", outage {trial.outage_s:.3f} s" if trial.outage_s else ""
        reason = f": {trial.reason}" if trial.reason else ""
        table.add_row(name, f"{trial.outcome}{outage}{reason}")
    return table


def code(result: CellResult) -> str:
    """Four characters."""
    if not result.up:
        return "-   "
    marks = {Outcome.LOST: ".", Outcome.NOTHING: " "}
    trials = (marks.get(trial.outcome, _LETTERS[name]) for name, trial in result.trials.items())
    return result.how[0].upper() + "".join(trials)


def _table(cells: list[CellResult]) -> Table:
    """A column is a letter, which its row explains: so twelve of them fit into 80 characters."""
    far = list(dict.fromkeys(result.cell.far for result in cells))
    letters = dict(zip(far, ascii_uppercase, strict=False))
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in far:
        table.add_column(letters[name], no_wrap=True, min_width=_CODE_WIDTH)
    for near, row in groupby(cells, key=lambda result: result.cell.near):
        head = f"{letters.get(near, ' ')} {_short(near)}"
        table.add_row(head, *(Text(code(result), style=result.colour) for result in row))
    return table


def _short(name: str) -> str:
    return _SHORT.get(name, name)


def _reasons(grid: Grid) -> Table:
    """How often which reason, the commonest first."""
    counts: Counter[tuple[str, str]] = Counter()
    for result in grid.cells:
        if result.reason:
            counts["set up", result.reason] += 1
        for name, trial in result.trials.items():
            if trial.outcome is Outcome.LOST:
                counts[name, trial.reason] += 1
    table = Table(title="Why not", title_justify="left")
    for column in ("trial", "cells", "reason"):
        table.add_column(column)
    for (name, reason), count in counts.most_common(20):
        table.add_row(name, str(count), reason)
    return table
