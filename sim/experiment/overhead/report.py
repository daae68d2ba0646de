"""A study in the form that was asked for."""

from __future__ import annotations

from pathlib import Path

from rich.console import RenderableType

from sim.experiment.overhead.compare import show
from sim.experiment.overhead.errors import OverheadError
from sim.experiment.overhead.study import Study
from sim.experiment.overhead.tables import to_csv, to_json


def report(
    study: Study, *, as_json: bool, as_csv: bool, side_by_side: bool, plot: Path | None
) -> str | RenderableType:
    """Text to print as it is, or tables for people; a figure is written first."""
    if as_json and as_csv:
        raise OverheadError("JSON and CSV are two answers: take --json or --csv")
    if plot is not None:
        _draw(study, plot)
    if as_json:
        return to_json(study) + "\n"
    return to_csv(study) if as_csv else show(study, side_by_side=side_by_side)


def _draw(study: Study, path: Path) -> None:
    from sim.experiment.overhead.plot import figure, save

    save(figure(study), path)
