"""The grid as a page of HTML: coloured cells, each with what happened and why."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from sim.experiment.grid.cell import CellResult, Outcome

if TYPE_CHECKING:
    from sim.experiment.grid.study import Grid

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; margin-bottom: 2em; }
th, td { border: 1px solid #bbb; padding: 4px 6px; vertical-align: top; text-align: left; }
td { max-width: 13em; font-size: 12px; }
td.green { background: #d9f2d9; } td.yellow { background: #fff3c4; } td.red { background: #f8d0d0; }
.why { color: #555; }
"""


def page(grid: Grid) -> str:
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>NAT grid</title>",
        f"<style>{_STYLE}</style><h1>IPsec behind every NAT</h1>",
        "<p>Rows: the box in front of the initiator. Columns: that in front of the responder, whose rules "
        f"lead UDP 500 and 4500 to it. Idle: reached from outside after {grid.silence_s} s of silence. "
        f"Rebind, reboot: what happens to the box in front of the initiator. Seed {grid.seed}.</p>",
    ]
    for settings, cells in groupby(grid.cells, key=lambda result: result.cell.settings):
        parts.append(f"<h2>{escape(settings)}</h2>{_table(list(cells))}")
    return "\n".join([*parts, "</html>\n"])


def _table(cells: list[CellResult]) -> str:
    far = dict.fromkeys(result.cell.far for result in cells)
    head = "".join(f"<th>{escape(name)}</th>" for name in far)
    rows = [
        f"<tr><th>{escape(near)}</th>{''.join(map(_cell, row))}</tr>"
        for near, row in groupby(cells, key=lambda result: result.cell.near)
    ]
    return f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _cell(result: CellResult) -> str:
    if not result.up:
        return f"<td class='red'>not up<br><span class='why'>{escape(result.reason)}</span></td>"
    lines = [f"{result.how}, {result.setup_ms:.0f} ms<br><span class='why'>{escape(result.seen)}</span>"]
    for name, trial in result.trials.items():
        if trial.outcome is Outcome.NOTHING:
            continue
        outage = f", {trial.outage_s:.3f} s" if trial.outage_s else ""
        why = f" <span class='why'>{escape(trial.reason)}</span>" if trial.reason else ""
        lines.append(f"{name}: {trial.outcome}{outage}{why}")
    return f"<td class='{result.colour}'>{'<br>'.join(lines)}</td>"
