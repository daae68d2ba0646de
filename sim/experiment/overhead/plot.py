"""Figures of a study for papers: what is added over the size, or the octets of one packet as bars.

Colours stay apart in print and for most colour-blind readers (Wong, Nature Methods 8, 441, 2011). The same
study gives the same file, octet for octet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from textwrap import fill

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from sim.experiment.drawing import FAINT, INK, Drawing
from sim.experiment.overhead.errors import OverheadError
from sim.experiment.overhead.pieces import Piece
from sim.experiment.overhead.study import Column, Study
from sim.experiment.whole_file import write_whole

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8a8a")
LINES = ("-", "--", ":", "-.")
WIDTH = 7.0
"""Inches: the text of a page in two columns."""

PRINT_DPI = 300
_LEGEND_LETTERS = 110
_LEGEND_ROW, _LEGEND_ROWS = 0.16, 4  # inches, and how many rows the usual height has room for
_WIDE = 8
_TICKS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
FORMATS = ("png", "svg", "pdf")
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def figure(study: Study) -> Figure:
    """Lines over the sizes, or bars of one packet's added octets where there is a single size."""
    with _style():
        return _bars(study) if len(study.sizes) == 1 else _lines(study)


def check_format(path: str | Path) -> str:
    """The format that a file's name asks for; OverheadError when it is none of ours."""
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise OverheadError(f"{path}: a figure is written as {', '.join('.' + one for one in FORMATS)}")
    return kind


def save(drawn: Figure, path: str | Path) -> None:
    """Write a figure whole or not at all, in the format that the file's name says."""
    kind, octets = check_format(path), BytesIO()
    with _style():
        drawn.savefig(octets, format=kind, dpi=PRINT_DPI, metadata=_METADATA[kind])
    try:
        write_whole(Path(path), octets.getvalue())
    except OSError as error:
        raise OverheadError(f"{path}: {error.strerror}; give a file that can be written") from None


@contextmanager
def _style() -> Iterator[None]:
    """Small type, text that stays text in SVG and PDF, and ids that do not change."""
    with matplotlib.rc_context():
        matplotlib.rc("font", size=8)
        matplotlib.rc("axes", titlesize=9)
        matplotlib.rc("legend", fontsize=7)
        matplotlib.rc("svg", hashsalt="ipsec-sim", fonttype="none")
        matplotlib.rc("pdf", fonttype=42)
        yield


def _lines(study: Study) -> Figure:
    sizes = sorted(study.sizes)
    distinct = [(fill(label, _LEGEND_LETTERS), column) for label, column in _distinct(study, sizes)]
    ncols, rows = _legend([label for label, _ in distinct])
    height = 4.6 + _LEGEND_ROW * max(0, rows - _LEGEND_ROWS)
    drawing = Drawing(figsize=(WIDTH, height), dpi=100, layout="constrained")
    added, percent = drawing.subplots(2, 1, sharex=True)
    for number, (label, column) in enumerate(distinct):
        colour = COLOURS[number % len(COLOURS)]
        line = LINES[number // len(COLOURS) % len(LINES)]
        cells = [column.cell(size) for size in sizes]
        style = {"color": colour, "linestyle": line, "linewidth": 0.8}
        steps = {"drawstyle": "steps-mid"} if _is_dense(sizes) else {"marker": ".", "markersize": 4}
        added.plot(sizes, [cell.added for cell in cells], label=label, **style, **steps)
        percent.plot(sizes, [cell.percent for cell in cells], **style, **steps)
    added.set(ylabel="added (bytes)", title=f"{study.inner.name}{study.shared}")
    grows = all(column.cell(size).added > 0 for column in study.columns for size in sizes)
    scale = "log" if grows else "linear"
    percent.set(xlabel="inner packet (bytes)", ylabel="added (% of it)", yscale=scale)
    percent.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _scale(percent, sizes)
    for ax in (added, percent):
        _clean(ax)
        _mark_mtu(ax, study, sizes)
    drawing.legend(loc="outside lower center", ncols=ncols, frameon=False)
    return drawing


def _legend(labels: list[str]) -> tuple[int, int]:
    """How many columns and rows the labels take: two columns, if each fits into half the width."""
    if any(len(label) > _LEGEND_LETTERS // 2 for label in labels):
        return 1, sum(label.count("\n") + 1 for label in labels)
    return 2, -(-len(labels) // 2)


def _distinct(study: Study, sizes: list[int]) -> list[tuple[str, Column]]:
    """Variants that cost the same at every size share a line."""
    found: dict[tuple[int, ...], tuple[str, Column]] = {}
    for column in study.columns:
        costs = tuple([column.wire(size) for size in sizes])
        before = found.get(costs)
        label = study.label(column) if before is None else f"{before[0]} = {study.label(column)}"
        found[costs] = label, column if before is None else before[1]
    return list(found.values())


def _scale(ax: Axes, sizes: list[int]) -> None:
    """Small packets, where overhead weighs most, get their share of a wide axis."""
    low, high = sizes[0], sizes[-1]
    ax.set_xlim(low, high)
    if high > _WIDE * low:
        ax.set_xscale("log")
        ticks = sorted({low, high, *(size for size in _TICKS if low * 1.2 < size < high / 1.2)})
        ax.set_xticks(ticks, [str(size) for size in ticks])
        ax.xaxis.set_minor_locator(NullLocator())


def _is_dense(sizes: list[int]) -> bool:
    return len(sizes) > 2 and sizes[-1] - sizes[0] < 3 * len(sizes)


def _mark_mtu(ax: Axes, study: Study, sizes: list[int]) -> None:
    if sizes[0] < study.terms.mtu < sizes[-1]:
        ax.axvline(study.terms.mtu, color=FAINT, linewidth=0.8, linestyle=":")


def _bars(study: Study) -> Figure:
    """One bar a variant: what is added, from the outside in."""
    height = 1.1 + 0.32 * len(study.columns)
    drawing = Drawing(figsize=(WIDTH, height), dpi=100, layout="constrained")
    ax = drawing.subplots()
    parts = [_parts(column, study.sizes[0]) for column in study.columns]
    names = list(dict.fromkeys(name for part in parts for name in part))
    names.sort(key=lambda name: _ORDER.index(name))
    left = [0] * len(parts)
    labels = [study.label(column) for column in study.columns]
    for name in names:
        widths = [part.get(name, 0) for part in parts]
        bars = ax.barh(labels, widths, left=left, color=_PART_COLOURS[name], label=name, height=0.7)
        ax.bar_label(
            bars, [str(width or "") for width in widths], label_type="center", color="white", fontsize=6
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for row, total in enumerate(left):
        ax.text(total + 0.6, row, str(total), va="center", color=INK, fontsize=7)
    ax.invert_yaxis()
    ax.set(xlabel="added (bytes)", title=f"{study.sizes[0]} bytes of {study.inner.name}{study.shared}")
    ax.margins(x=0.08, y=0.01)
    _clean(ax)
    drawing.legend(loc="outside lower center", ncols=min(len(names), 6), frameon=False)
    return drawing


_IP, _UDP, _AROUND, _ID, _IV, _PAD, _END, _ICV = (
    "outer IP",
    "UDP, TCP",
    "headers inside",
    "SPI, number, header",
    "IV",
    "padding",
    "pad length, next header",
    "ICV",
)
_ORDER = (_IP, _UDP, _ID, _IV, _AROUND, _PAD, _END, _ICV)
_PART_COLOURS = dict(
    zip(
        _ORDER,
        ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#8a8a8a", "#d55e00", "#000000", "#cc79a7"),
        strict=True,
    )
)
_BY_FIELD = {"IV": _IV, "padding": _PAD, "TFC padding": _PAD, "ICV": _ICV, "tag": _ICV}
_BY_LAYER = {
    **dict.fromkeys(("IP", "delivery IP"), _IP),
    **dict.fromkeys(("UDP", "TCP", "UDP in ESP"), _UDP),
    **dict.fromkeys(("GRE", "L2TP", "PPP", "AGGFRAG", "IPComp"), _AROUND),
    "ESP trailer": _END,
}


def _parts(column: Column, size: int) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for piece in column.byte_map(size):
        if piece.added and piece.octets:
            found[_part(piece)] += piece.octets
    return found


def _part(piece: Piece) -> str:
    return _BY_FIELD.get(piece.field) or _BY_LAYER.get(piece.layer, _ID)


def _clean(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="#e6e6e6", linewidth=0.5)
    ax.set_axisbelow(True)
