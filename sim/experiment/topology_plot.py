"""A scenario as a picture: nodes by kind, links with what they do to packets, tunnels across them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from sim.experiment.drawing import FAINT, INK, TUNNEL, axes_for
from sim.experiment.topology_layout import NODE, Arc, Place, node_of, node_places, tunnel_arc, tunnel_ends
from sim.scenario.expand import expand
from sim.scenario.schema import Jitter, Link, Scenario
from sim.units import format_duration, format_rate, format_ratio, format_size

PARALLEL = 0.5
"""Between several links of the same two nodes, in inches as all lengths here."""
LINE = 0.125
"""The height of a line of text."""
SMALL = 7.5
"""The size of a small font in points."""
WIDEST = 24
"""Characters in a line of a link's label."""

Vector = npt.NDArray[np.float64]


class Look(NamedTuple):
    marker: str
    colour: str
    scale: float


LOOKS = {
    "host": Look("s", "#2166ac", 0.95),
    "router": Look("o", "#6b6b6b", 1.0),
    "gateway": Look("h", TUNNEL, 1.15),
    "nat": Look("D", "#b35806", 0.85),
}


def topology(scenario: Scenario, *, ax: Axes | None = None) -> Figure:
    """Draw a scenario's network, on `ax` if given; the figure.

    Shape and colour tell a node's kind; below it stand its addresses. A link shows rate, delay, jitter,
    loss and the interfaces at its ends. A dashed arc is a tunnel. Text and nodes keep their size: axes of
    your own need about two inches for each node in a row.
    """
    scenario = expand(scenario)
    places = node_places(scenario)
    tunnels = [tunnel_arc(places, *ends) for ends in tunnel_ends(scenario)]
    left, right, low, high = _extent(scenario, places, tunnels)
    figure, ax = axes_for(ax, right - left, high - low)
    ax.set(xlim=(left, right), ylim=(low, high), aspect="equal")
    ax.axis("off")
    for link, offset in _links(scenario):
        _draw_link(ax, link, places, offset)
    for tunnel in tunnels:
        _draw_tunnel(ax, tunnel)
    _draw_nodes(ax, scenario, places)
    _draw_legend(ax, scenario, bool(tunnels))
    return figure


def _extent(
    scenario: Scenario, places: dict[str, Place], tunnels: list[Arc]
) -> tuple[float, float, float, float]:
    """Left, right, low, high: with room for addresses and legend below, and for the arcs above."""
    xs = [x for x, _ in places.values()]
    low = min(y - NODE / 2 - LINE * len(_addresses(scenario, name)) for name, (_, y) in places.items())
    high = max([*(y + NODE / 2 + 0.2 for _, y in places.values()), *(arc.top[1] + 0.35 for arc in tunnels)])
    return min(xs) - 0.7, max(xs) + 0.7, low - 0.45, high


# Links


def _links(scenario: Scenario) -> Iterator[tuple[Link, float]]:
    """Every link with how far it keeps from the straight line between its nodes."""
    groups: dict[frozenset[str], list[Link]] = {}
    for link in scenario.links:
        groups.setdefault(frozenset(map(node_of, link.ends)), []).append(link)
    for links in groups.values():
        for index, link in enumerate(links):
            yield link, (index - (len(links) - 1) / 2) * PARALLEL


def _draw_link(ax: Axes, link: Link, places: dict[str, Place], offset: float) -> None:
    ends = sorted(link.ends, key=lambda end: (places[node_of(end)][0], -places[node_of(end)][1]))
    a, b = (np.array(places[node_of(end)]) for end in ends)
    along = (b - a) / np.hypot(*(b - a))
    up = np.array([-along[1], along[0]])
    a, b = a + up * offset, b + up * offset
    ax.plot(*zip(a, b, strict=True), color=INK, linewidth=1.2, zorder=1)
    angle = float(np.degrees(np.arctan2(along[1], along[0])))
    label = _link_label(link, turned=ends[0] != link.ends[0])
    _text(ax, (a + b) / 2 + up * 0.05, label, angle, "center", "bottom", INK)
    inset, below = along * (NODE / 2 + 0.1), up * 0.04
    _text(ax, a + inset - below, ends[0].split(":")[1], angle, "left", "top", FAINT)
    _text(ax, b - inset - below, ends[1].split(":")[1], angle, "right", "top", FAINT)


def _text(ax: Axes, at: Vector, text: str, angle: float, ha: str, va: str, colour: str) -> None:
    ax.text(
        at[0], at[1], text, rotation=angle, rotation_mode="anchor", ha=ha, va=va,
        fontsize=SMALL, color=colour, linespacing=1.1, zorder=2,
    )  # fmt: skip


def _link_label(link: Link, turned: bool) -> str:
    """What the link does to packets; of unequal directions the arrow shows which is which."""
    ways = ("down", "up") if turned else ("up", "down")
    words = []
    if link.rate:
        words.append(_both([format_rate(getattr(link.rate, way)) for way in ways]))
    if link.delay.up or link.delay.down:
        words.append(_both([format_duration(getattr(link.delay, way)) for way in ways]))
    if link.jitter:
        words.append(_both([_jitter(getattr(link.jitter, way)) for way in ways]))
    if link.loss.up or link.loss.down:
        words.append(_both([f"{format_ratio(getattr(link.loss, way))} lost" for way in ways]))
    if link.mtu != Link.model_fields["mtu"].default:
        words.append(f"MTU {format_size(link.mtu)}")
    return _wrapped(words)


def _jitter(jitter: Jitter) -> str:
    return f"{_SPREADS[jitter.distribution]} {format_duration(jitter.scale)}"


_SPREADS = {"uniform": "±", "normal": "σ", "exponential": "+ exp."}


def _both(values: list[str]) -> str:
    there, back = values
    return there if there == back else f"→ {there} ← {back}"


def _wrapped(words: list[str]) -> str:
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}, {word}" if lines[-1] else word
        if len(longer) > WIDEST:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


# Tunnels


def _draw_tunnel(ax: Axes, arc: Arc) -> None:
    path = Path([arc.start, arc.control, arc.end], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
    ax.add_patch(PathPatch(path, fill=False, edgecolor=TUNNEL, linestyle="--", linewidth=1.8, zorder=1))
    x, y = arc.top
    ax.text(
        x, y + 0.08, arc.label, ha="center", va="bottom", fontsize=8.5, color=TUNNEL, zorder=2,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85},
    )  # fmt: skip


# Nodes and legend


def _draw_nodes(ax: Axes, scenario: Scenario, places: dict[str, Place]) -> None:
    for name, node in scenario.nodes.items():
        look = LOOKS[node.kind]
        size = (NODE * 72 * look.scale) ** 2
        ax.scatter(*places[name], s=size, marker=look.marker, color=look.colour, zorder=3, linewidths=0)
        lines = textwrap.wrap(name, 9)
        fontsize = min(8.5, 72 * NODE / (0.62 * max(map(len, lines))))
        ax.text(
            *places[name], "\n".join(lines), ha="center", va="center", fontsize=fontsize, color="white",
            fontweight="bold", zorder=4,
        )  # fmt: skip
        x, y = places[name]
        text = "\n".join(_addresses(scenario, name))
        below = y - NODE / 2 - 0.09
        ax.text(x, below, text, ha="center", va="top", fontsize=SMALL, color=FAINT, linespacing=1.1, zorder=2)


def _addresses(scenario: Scenario, name: str) -> list[str]:
    interfaces = scenario.nodes[name].interfaces
    return [f"{interface} {address}" for interface in interfaces for address in interfaces[interface]]


def _draw_legend(ax: Axes, scenario: Scenario, tunnels: bool) -> None:
    kinds = {node.kind for node in scenario.nodes.values()}
    entries = [
        Line2D([], [], marker=look.marker, color=look.colour, linestyle="", markersize=8, label=kind)
        for kind, look in LOOKS.items()
        if kind in kinds
    ]
    if tunnels:
        entries.append(Line2D([], [], color=TUNNEL, linestyle="--", label="IPsec tunnel"))
    ax.legend(
        handles=entries, loc="lower center", ncol=len(entries), frameon=False, fontsize=8,
        handletextpad=0.3, borderaxespad=0,
    )  # fmt: skip
