"""What all plots share: a figure that a notebook shows once, and colours that stay apart when printed."""

from __future__ import annotations

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 100
INK = "#333333"
FAINT = "#8a8a8a"
TUNNEL = "#1b7837"
LOST = "#b2182b"
FLOWS = ("#2166ac", "#e08214", "#542788", "#1b7837", "#8c510a", "#01665e")


class Drawing(Figure):
    """A figure that needs no pyplot: nothing global keeps it, and the last line of a cell shows it."""

    def _repr_png_(self) -> bytes:
        octets = BytesIO()
        self.savefig(octets, format="png", bbox_inches="tight", metadata={"Software": None})
        return octets.getvalue()


def axes_for(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The caller's axes, or those of a new drawing of `width` by `height` inches."""
    if ax is None:
        figure: Figure = Drawing(figsize=(width, height), dpi=DPI, layout="constrained")
        return figure, figure.subplots()
    whole = ax.get_figure(root=True)
    assert whole is not None, "axes that were removed from their figure"
    return whole, ax
