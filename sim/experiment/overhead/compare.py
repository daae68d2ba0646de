"""Variants side by side, and sizes one below the other, as tables for people."""

from __future__ import annotations

from itertools import pairwise

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.experiment.overhead.card import card
from sim.experiment.overhead.study import Column, Limits, Study
from sim.units import format_rate

MANY = 40
"""More sizes than this are summed up; CSV, JSON and plots have each."""

_SHOWN_JUMPS = 3
_MARK = " *"
_NOTE = "* by its formula: the protocol itself is not simulated"


def show(study: Study, *, side_by_side: bool) -> RenderableType:
    """A card for each variant of one size, or tables where there are several sizes, or it is asked for."""
    if len(study.sizes) == 1 and not side_by_side:
        cards = [card(study, column, study.sizes[0]) for column in study.columns]
        return Group(*[part for one in cards for part in (one, Text())][:-1])
    parts: list[RenderableType] = [Text(_title(study), "bold")]
    if len(study.sizes) == 1:
        parts.append(_of_one_size(study, study.sizes[0]))
    elif len(study.sizes) <= MANY:
        parts += [_of_each_size(study), _limits(study)]
    else:
        parts += [
            _of_many_sizes(study),
            Text(f"{len(study.sizes)} sizes: --csv, --json or --plot tell each."),
        ]
    if any(column.variant.is_computed for column in study.columns):
        parts.append(Text(_NOTE))
    return Group(*parts)


def _title(study: Study) -> str:
    sizes, terms = study.sizes, study.terms
    what = f"{sizes[0]} bytes" if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)} bytes"
    framing = f" with {terms.framing} bytes of framing" if terms.framing else ""
    link = f"path MTU {terms.mtu}, {format_rate(terms.rate_bps)}{framing}"
    return f"{study.inner.name}, {what}{study.shared}; {link}"


def _of_one_size(study: Study, size: int) -> Table:
    table = _table("variant", "wire", "added", "%", "largest", "MSS v4/v6", "packets/s", "Mbit/s")
    for column in study.columns:
        cell, limits = column.cell(size), column.limits()
        table.add_row(
            _name(study, column),
            f"{cell.wire}" if cell.packets == 1 else f"{cell.wire} in {cell.packets}",
            str(cell.added),
            f"{cell.percent:.2f}",
            str(limits.largest or "none"),
            _mss(limits),
            f"{cell.packets_per_s:,.0f}",
            f"{cell.goodput_bps / 1e6:,.1f}",
        )
    return table


def _of_each_size(study: Study) -> Table:
    table = _table("added to", *(str(size) for size in study.sizes))
    for column in study.columns:
        cells = (column.cell(size) for size in study.sizes)
        table.add_row(_name(study, column), *(f"{cell.added} ({cell.percent:.1f} %)" for cell in cells))
    return table if len(study.sizes) <= len(study.columns) + 4 else _turned(study)


def _turned(study: Study) -> Table:
    table = _table("added to", *(_name(study, column) for column in study.columns))
    for size in study.sizes:
        cells = (column.cell(size) for column in study.columns)
        table.add_row(str(size), *(f"{cell.added} ({cell.percent:.1f} %)" for cell in cells))
    return table


def _limits(study: Study) -> Table:
    table = _table("variant", "largest", "MSS v4/v6")
    for column in study.columns:
        limits = column.limits()
        table.add_row(_name(study, column), str(limits.largest or "none"), _mss(limits))
    return table


def _of_many_sizes(study: Study) -> Table:
    first, last = min(study.sizes), max(study.sizes)
    table = _table("variant", "added", f"% at {first}", f"% at {last}", "jumps after", "largest", "MSS v4/v6")
    for column in study.columns:
        added = [column.cell(size).added for size in study.sizes]
        limits = column.limits()
        table.add_row(
            _name(study, column),
            str(min(added)) if min(added) == max(added) else f"{min(added)} to {max(added)}",
            f"{column.cell(first).percent:.1f}",
            f"{column.cell(last).percent:.1f}",
            _jumps(column, first, last),
            str(limits.largest or "none"),
            _mss(limits),
        )
    return table


def _jumps(column: Column, first: int, last: int) -> str:
    """After which sizes padding jumps."""
    jumps = column.jumps(first, last - 1)
    steps = {later - size for size, later in pairwise(jumps)}
    if len(steps) == 1:
        return f"{jumps[0]} + {steps.pop()}n"
    shown = ", ".join(str(size) for size in jumps[:_SHOWN_JUMPS])
    return f"{shown} ..." if len(jumps) > _SHOWN_JUMPS else shown or "never"


def _mss(limits: Limits) -> str:
    return "/".join("-" if size is None else str(size) for size in (limits.mss_v4, limits.mss_v6))


def _name(study: Study, column: Column) -> str:
    return study.label(column) + (_MARK if column.variant.is_computed else "")


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="", padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table
