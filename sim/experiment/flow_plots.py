"""Latency and loss of a run's flows over time, with what happened meanwhile."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.experiment.drawing import FAINT, FLOWS, INK, LOST, axes_for
from sim.experiment.result import Result

EVENTS = (
    *("move", "rebind", "up", "down", "flap", "reboot", "retime", "exhaust", "block", "unblock"),
    *("ike down", "child down", "child failed"),
)
"""What may explain a change: what the scenario does to nodes, and SAs that end."""
SIZE = (8.0, 3.6)


def latency(result: Result, flow: str | None = None, *, ax: Axes | None = None) -> Figure:
    """The latency of every packet over the time of its sending; of all flows, or of one.

    Latency is one way, of a ping the round trip. A cross at the bottom is a lost packet, a shaded span an
    outage, a vertical line an event. ValueError when there is no such flow.
    """
    names = _chosen(result, flow)
    figure, ax = axes_for(ax, *SIZE)
    for name, colour in names.items():
        packets = _settled(result, name)
        arrived = packets[packets.latency_ms.notna()]
        ax.plot(arrived.sent_s, arrived.latency_ms, ".", markersize=3, color=colour, label=name)
    _mark_lost(ax, result, names)
    _shade_outages(ax, result, names)
    _mark_events(ax, result)
    ax.set(xlabel="time (s)", ylabel="latency (ms)", xlim=(0, result.summary["duration_s"]))
    _finish(ax)
    return figure


def loss(
    result: Result, flow: str | None = None, *, interval_s: float = 1.0, ax: Axes | None = None
) -> Figure:
    """The share of packets that were lost, by the interval in which they were sent."""
    names = _chosen(result, flow)
    figure, ax = axes_for(ax, SIZE[0], SIZE[1] * 0.7)
    end = result.summary["duration_s"]
    edges = np.append(np.arange(0, end, interval_s), end)
    for name, colour in names.items():
        packets = _settled(result, name)
        sent, _ = np.histogram(packets.sent_s, edges)
        lost, _ = np.histogram(packets.sent_s[packets.latency_ms.isna()], edges)
        share = np.divide(100 * lost, sent, out=np.full(len(sent), np.nan), where=sent > 0)
        ax.stairs(share, edges, color=colour, linewidth=1.5, label=name)
    _mark_events(ax, result)
    ax.set(xlabel="time (s)", ylabel="lost (%)", xlim=(0, end))
    _finish(ax)
    return figure


def _chosen(result: Result, flow: str | None) -> dict[str, str]:
    """The flows to show, each with its colour, which does not depend on the choice."""
    colours = {name: FLOWS[index % len(FLOWS)] for index, name in enumerate(result.world.flows)}
    if flow is None:
        return colours
    if flow not in colours:
        raise ValueError(f"there is no flow {flow}; there is {', '.join(colours) or 'none at all'}")
    return {flow: colours[flow]}


def _settled(result: Result, name: str) -> pd.DataFrame:
    """A flow's packets without those that are still on their way."""
    packets = result.flows[result.flows.flow == name]
    world = result.world
    return packets[~world.flows[name].record.is_in_flight(world.under_way()[name])]


def _mark_lost(ax: Axes, result: Result, names: dict[str, str]) -> None:
    """Crosses in rows below the lowest latency, one row for each flow that lost something."""
    row = 0
    for name, colour in names.items():
        packets = _settled(result, name)
        lost = packets.sent_s[packets.latency_ms.isna()]
        if lost.empty:
            continue
        label = f"{name}: {len(lost)} of {len(packets)} lost"
        heights = np.full(len(lost), 0.03 + 0.045 * row)
        ax.plot(
            lost, heights, "x", transform=ax.get_xaxis_transform(), color=colour, markersize=5,
            markeredgewidth=1.2, label=label,
        )  # fmt: skip
        row += 1
    low, high = ax.get_ylim()
    ax.set_ylim(max(0.0, low) if not row else min(0.0, low) - 0.05 * (row - 1) * high, high)


def _shade_outages(ax: Axes, result: Result, names: dict[str, str]) -> None:
    for row in result.summary["flows"]:
        outages = row["outages"] if row["name"] in names else []
        lengths = [1000 * (outage["to_s"] - outage["from_s"]) for outage in outages]
        for index, outage in enumerate(outages):
            label = None if index else f"{row['name']}: {_counted(lengths)}"
            ax.axvspan(outage["from_s"], outage["to_s"], color=LOST, alpha=0.2, linewidth=0, label=label)


def _counted(lengths_ms: list[float]) -> str:
    longest = f"{max(lengths_ms):.0f} ms" if max(lengths_ms) < 1000 else f"{max(lengths_ms) / 1000:.1f} s"
    return f"outage of {longest}" if len(lengths_ms) == 1 else f"{len(lengths_ms)} outages, up to {longest}"


def _mark_events(ax: Axes, result: Result) -> None:
    events = result.events[result.events.event.isin(EVENTS)].drop_duplicates(["at", "event"])
    crowded, height, last_s = 0.15 * result.summary["duration_s"], 1.01, -np.inf
    for at_s, node, event in zip(events.at_s, events.node, events.event, strict=True):
        height = height + 0.06 if at_s - last_s < crowded and height < 1.2 else 1.01
        ax.axvline(at_s, color=FAINT, linewidth=1, linestyle="--", zorder=1)
        _note(ax, at_s, height, f"{node}: {event}")
        last_s = at_s


def _note(ax: Axes, x: float, height: float, text: str) -> None:
    """Text above a moment; it goes when the moment is outside the axes' limits."""
    inside, above = (x, 0.5), (x, height)
    transform = ax.get_xaxis_transform()
    ax.annotate(
        text, inside, above, xycoords=transform, textcoords=transform, annotation_clip=True,
        fontsize=8, color=INK, ha="center", va="bottom",
    )  # fmt: skip


def _finish(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", linewidth=0.5, alpha=0.5)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8, markerscale=1.5)
