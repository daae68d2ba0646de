"""Whether a tunnel on which nobody speaks can be reached from outside, by the interval of its keepalives.

One scenario, `topologies/nat/idle-tunnel.yaml`: nobody speaks until somebody outside sends a single packet.
What is up to chance is how long before it the last keepalive was sent, which here takes `PHASES` values, and
whether keepalives were lost on their way to the NAT.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sim.experiment.drawing import FAINT, FLOWS, Drawing
from sim.experiment.interval import interval
from sim.experiment.sweep import sweep

NATS = ("home", "corporate", "cgn", "cloud", "mobile", "symmetric", "linux")
INTERVALS_S = (10, 20, 30, 60, 90, 120, 240, 360)
PHASES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of an interval, after the idle time."""
_MARGIN_S = 5


def variant(nat: str, keepalive_s: int, idle_s: int, loss: float, phase: float) -> dict[str, object]:
    """The overrides of one run; `keepalive_s` 0: none."""
    probe_ms = round(1000 * (idle_s + phase * keepalive_s))
    return {
        "duration": f"{probe_ms // 1000 + _MARGIN_S} s",
        "nodes.home.preset": nat,
        "tunnels.rw.keep_alive": f"{keepalive_s} s",
        "links.0.loss": {"up": f"{100 * loss:g} %", "down": "0 %"},
        "traffic.probe.start": f"{probe_ms} ms",
        "capture": [],
        "checks": [],
    }


def measure(result: Any) -> dict[str, Any]:
    """Whether the packet from outside arrived."""
    record = result.world.flows["probe"].record
    return {"reached": int(record.received > 0)}


def study(
    topology: str | Path,
    *,
    nats: Sequence[str] = NATS,
    intervals_s: Sequence[int] = INTERVALS_S,
    idle_s: Sequence[int] = (60, 900),
    losses: Sequence[float] = (0.0, 0.1),
    phases: Sequence[float] = PHASES,
    seeds: int = 4,
    processes: int | None = None,
) -> pd.DataFrame:
    """A row for each run: nat, keepalive_s, idle_s, loss, phase, seed, and `reached`, 1 or 0.

    Every phase has `seeds` seeds of its own, so that other packets are lost in it; one, where none are.
    """
    found = []
    for number, phase in enumerate(phases):
        for some in (False, True):
            cells = [
                {"nat": nat, "keepalive_s": keepalive, "idle_s": idle, "loss": loss, "phase": phase}
                for nat in nats for idle in idle_s for loss in losses for keepalive in intervals_s
                if (loss > 0) is some
            ]  # fmt: skip
            own = range(1 + number * seeds, 1 + (number + 1) * seeds) if some else [1]
            variants = [variant(**cell) for cell in cells]  # type: ignore[arg-type]
            if cells:
                found.append(
                    sweep(topology, variants, own, measure=measure, labels=cells, processes=processes)
                )
    return pd.concat(found, ignore_index=True)


def figure(table: pd.DataFrame) -> Figure:
    """P(reachable) over the keepalive interval: a panel for each idle time and loss, a curve for each NAT."""
    cells = sorted(set(zip(table.idle_s, table.loss, strict=True)))
    drawing = Drawing(figsize=(2.9 * len(cells) + 1.4, 3.3), dpi=100, layout="constrained")
    panels = drawing.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for ax, (idle, loss) in zip(panels, cells, strict=True):
        chosen = table[(table.idle_s == idle) & (table.loss == loss)]
        found = interval(chosen, "reached", by=["nat", "keepalive_s"])
        for index, (nat, rows) in enumerate(found.groupby("nat", sort=False)):
            style = "o-" if index < len(FLOWS) else "s--"
            colour = FLOWS[index % len(FLOWS)]
            ax.fill_between(rows.keepalive_s, rows.low, rows.high, color=colour, alpha=0.12, linewidth=0)
            ax.plot(
                rows.keepalive_s, rows["mean"], style, color=colour, markersize=3, linewidth=1.2, label=nat
            )
        ax.axvline(20, color=FAINT, linewidth=0.8, linestyle=":")
        ax.set(
            title=f"idle for {idle} s, loss {100 * loss:g} %", xlabel="keepalive interval (s)", xscale="log"
        )
        ticks = sorted(set(table.keepalive_s))
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7)
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("P(reachable from outside)")
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return drawing
