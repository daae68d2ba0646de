"""What `ipsec-sim grid` does with its options."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sim.experiment.grid.errors import GridError
from sim.experiment.grid.study import Progress, grid, one_cell, row_of
from sim.experiment.whole_file import check_writable, write_whole
from sim.units import NS_PER_S, parse_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

_CHOICES = {"on": (True,), "off": (False,), "both": (True, False)}


@dataclass(frozen=True, slots=True)
class Request:
    """The options, as they were typed."""

    presets: list[str] | None
    keepalive: str
    mobike: str
    silence: str
    cell: tuple[str, str] | None
    out: Path | None
    html: Path | None
    seed: int
    jobs: int | None


def show(request: Request, *, as_json: bool, progress: Progress | None) -> RenderableType | str:
    """What to print; before anything runs GridError for options that make no sense, or not together.

    OSError, then as well, for a page that cannot be written.
    """
    keepalive = _chosen("--keepalive", request.keepalive)
    mobike = _chosen("--mobike", request.mobike)
    silence_s = _seconds(request.silence)
    if request.cell is not None:
        return _one(request, keepalive[0], mobike[0], silence_s, as_json=as_json)
    if request.out is not None:
        raise GridError("--out: a folder is for the captures of one cell: name it with --cell A B")
    if request.html is not None:
        check_writable(request.html)
    found = grid(
        request.presets,
        keepalive=keepalive,
        mobike=mobike,
        silence_s=silence_s,
        seed=request.seed,
        jobs=request.jobs,
        progress=progress,
    )
    if request.html is not None:
        write_whole(request.html, found.html().encode())
    if not as_json:
        return found.render()
    return json.dumps({"silence_s": silence_s, "seed": request.seed, "cells": found.rows()}, indent=2)


def _one(
    request: Request, keepalive: bool, mobike: bool, silence_s: int, *, as_json: bool
) -> RenderableType | str:
    from sim.experiment.grid.text import render_cell

    assert request.cell is not None
    if request.presets:
        raise GridError("--cell names its two presets itself: leave the others out")
    if request.html is not None:
        raise GridError("--html is a page of many cells: leave out --cell")
    result = one_cell(
        *request.cell,
        keepalive=keepalive,
        mobike=mobike,
        silence_s=silence_s,
        seed=request.seed,
        out=request.out,
    )
    return json.dumps(row_of(result), indent=2) if as_json else render_cell(result)


def _chosen(option: str, text: str) -> tuple[bool, ...]:
    if text not in _CHOICES:
        raise GridError(f"{option} {text}: write on, off or both")
    return _CHOICES[text]


def _seconds(text: str) -> int:
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise GridError(f"--silence: {error}") from None
    if duration < NS_PER_S or duration % NS_PER_S:
        raise GridError(f"--silence {text}: write whole seconds, at least 1 s")
    return duration // NS_PER_S
