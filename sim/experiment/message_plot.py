"""A message ladder as a matplotlib figure."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.experiment.drawing import FAINT, INK, LOST, TUNNEL, axes_for
from sim.experiment.ladder import Ladder, facts, ladder, remarks, seconds
from sim.experiment.result import Result
from sim.tunnels.trace import Passage

WIDTH = 8.0
LINE = 0.17
"""The height of a line of text in inches."""
WRAP = 96
MOST = 40
"""More messages than this make no picture; the first ones are shown."""
RIGHT = WIDTH - 2.5
"""Where the responder's line is; the initiator's is at 0."""


def messages(result: Result, connection: str | None = None, *, ax: Axes | None = None) -> Figure:
    """Draw the messages of a connection, of the only one when `connection` is None; time runs downwards.

    Each arrow has the message's exchange, its size from the IKE header on, its payloads, and the times
    of sending and of arrival; the distance between arrows means nothing. A message that never arrived ends
    half way. ValueError as for `sim.experiment.ladder.ladder`.
    """
    return draw_ladder(ladder(result.world, connection), ax)


def draw_ladder(ladder: Ladder, ax: Axes | None = None) -> Figure:
    shown = ladder.passages[:MOST]
    rest = len(ladder.passages) - MOST
    texts = [_below(passage) for passage in shown]
    heights = [(len(lines) + 2.8) * LINE for lines in texts]
    total = sum(heights) + 0.75
    figure, ax = axes_for(ax, WIDTH, total)
    ax.set(xlim=(-1.25, WIDTH - 1.25), ylim=(-total + 0.45, 0.3))
    ax.axis("off")
    _draw_lines(ax, (ladder.left, ladder.right), -total + 0.55)
    y = -0.15
    for passage, lines, height in zip(shown, texts, heights, strict=True):
        _draw(ax, ladder, passage, lines, y)
        y -= height
    if rest > 0:
        ax.text(RIGHT / 2, y, f"... and {rest} more", ha="center", fontsize=8, color=FAINT)
    return figure


def _below(passage: Passage) -> list[str]:
    """What stands below an arrow."""
    texts = (passage.payloads, facts(passage).partition(", ")[2], *remarks(passage))
    return [line for text in texts for line in textwrap.wrap(text, WRAP, break_long_words=False)]


def _draw_lines(ax: Axes, names: tuple[str, str], bottom: float) -> None:
    for x, name in zip((0.0, RIGHT), names, strict=True):
        ax.plot([x, x], [0.0, bottom], color=INK, linewidth=1.2)
        ax.text(x, 0.08, name, ha="center", va="bottom", fontsize=10, fontweight="bold", color=INK)


def _draw(ax: Axes, ladder: Ladder, passage: Passage, below: list[str], y: float) -> None:
    """One arrow: title above it, payloads and addresses below it, times at its ends."""
    start, end = (0.0, RIGHT) if ladder.outward(passage) else (RIGHT, 0.0)
    title, base = y - 0.5 * LINE, y - 1.25 * LINE
    slope = 0.35 * LINE
    arrived = passage.received_at >= 0
    colour = TUNNEL if arrived else LOST
    stop = end if arrived else (start + end) / 2
    ax.annotate(
        "", (stop, base - slope), (start, base),
        arrowprops={"arrowstyle": "-|>" if arrived else "-", "color": colour, "shrinkA": 0,
                    "shrinkB": 0, "linewidth": 1.4},
    )  # fmt: skip
    if not arrived:
        ax.plot(stop, base - slope, "x", color=LOST, markersize=8, markeredgewidth=2)
    head = f"{ladder.title(passage)}: {passage.size} octets"
    ax.text(RIGHT / 2, title, head, ha="center", va="center", fontsize=8.5, color=INK)
    ax.text(RIGHT / 2, base - 0.8 * LINE, "\n".join(below), ha="center", va="top", fontsize=7.5, color=FAINT)
    _time(ax, seconds(passage.at), start, base)
    if arrived:
        _time(ax, seconds(passage.received_at), end, base - slope)


def _time(ax: Axes, text: str, x: float, y: float) -> None:
    ha, gap = ("right", -0.1) if x == 0 else ("left", 0.1)
    ax.text(x + gap, y, text, ha=ha, va="center", fontsize=7.5, color=INK)
