"""How long a tunnel stands still when its host changes its network, by what brings it back.

One scenario, `topologies/mobike/handover.yaml`; a mechanism is a set of overrides. The host is without any
network for `GAP_MS`, but for make before break. Dynamic update has no counterpart where the host itself
moves: only what a NAT changes goes unnoticed by the host (RFC 7296 2.23). There the host is at the new access
from the beginning, whose NAT goes away for `GAP_MS` and comes back with another address.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sim.experiment.drawing import FLOWS, Drawing
from sim.experiment.interval import interval
from sim.experiment.sweep import sweep
from sim.units import NS_PER_MS, NS_PER_S

Overrides = dict[str, object]

MOVE_S, GAP_MS = 2, 200
_MOVE = {"at": "2 s", "node": "alice", "do": "move", "from": "wlan", "to": "lte"}
_GAP: Overrides = {**_MOVE, "gap": f"{GAP_MS} ms"}
_AFTER = f"{1000 * MOVE_S + GAP_MS} ms"
MECHANISMS: dict[str, Overrides] = {
    "MOBIKE, return routability first": {"tunnels.rw.return_routability": "before", "events": [_GAP]},
    "MOBIKE, no test of the address": {"tunnels.rw.return_routability": "none", "events": [_GAP]},
    "make before break": {"tunnels.rw.return_routability": "before", "events": [{**_MOVE, "overlap": "1 s"}]},
    "dynamic update": {
        "tunnels.rw.mobike": False,
        "events": [
            {"at": "2 s", "node": "carrier", "do": "rebind", "address": "198.18.0.11/24"},
            {"at": "2 s", "node": "carrier", "do": "flap", "interface": "wan", "gap": f"{GAP_MS} ms"},
        ],
    },
    "reauthentication": {
        "tunnels.rw.mobike": False,
        "events": [_GAP, {"at": _AFTER, "node": "alice", "do": "reauthenticate", "connection": "rw"}],
    },
}
_LIVENESS: Overrides = {
    "tunnels.rw.mobike": False,
    "tunnels.rw.dpd_delay": "1 s",
    "tunnels.rw.children.net.dpd_action": "restart",
    "duration": "45 s",
    "events": [_GAP],
}
AFTER_LIVENESS: dict[str, Overrides] = {
    "liveness check, new IKE SA": _LIVENESS,
    "liveness check, resumption": {**_LIVENESS, "tunnels.rw.resumption": True},
}
"""What a host does that knows nothing of its move: it finds its peer dead, and calls it again, with a ticket
or without (RFC 5723). The timers of the liveness check decide, so they are not among the others."""
_BEFORE_MS, _AFTER_MS = 100, 1500
"""Around the move, in which the outage begins; make before break ends a second after it."""
NATS = ("home", "cgn", "symmetric", "linux")
_COLOURS = dict(zip(MECHANISMS, FLOWS, strict=False))


def variant(mechanism: str, delay_ms: float, loss: float, nat: str) -> Overrides:
    """The overrides of one cell; delay one way and loss are those of the access that the host comes to."""
    access = {"delay": f"{round(1000 * delay_ms)} us", "loss": f"{100 * loss:g} %"}
    return {
        **(MECHANISMS | AFTER_LIVENESS)[mechanism],
        "nodes.home.preset": nat,
        "nodes.carrier.preset": nat,
        **{f"links.1.{key}": value for key, value in access.items()},
        "capture": [],
        "checks": [],
    }


def measure(result: Any) -> dict[str, Any]:
    """Of each direction the outage that begins at the move, and the packets that were lost in it.

    An outage lasts from the last packet that arrived to the next; one that a run ends in lasts until then.
    """
    return {
        f"{name}_{key}": value
        for name in ("up", "down")
        for key, value in _handover(result.world, name).items()
    }


def _handover(world: Any, name: str) -> dict[str, float]:
    record = world.flows[name].record
    begin, end = (MOVE_S * NS_PER_S + ms * NS_PER_MS for ms in (-_BEFORE_MS, _AFTER_MS))
    near = [one for one in record.outages(world.sim.now) if one.to_at > begin and one.from_at < end]
    longest = max(near, key=lambda outage: outage.to_at - outage.from_at, default=None)
    if longest is None:
        return {"outage_ms": 0.0, "lost": 0}
    return {"outage_ms": (longest.to_at - longest.from_at) / NS_PER_MS, "lost": longest.packets}


def study(
    topology: str | Path,
    *,
    delays_ms: Sequence[float] = (10, 40, 150),
    losses: Sequence[float] = (0.0, 0.02, 0.1),
    nats: Sequence[str] = ("home",),
    mechanisms: Sequence[str] = tuple(MECHANISMS),
    seeds: int = 10,
    processes: int | None = None,
) -> pd.DataFrame:
    """A row for each run: mechanism, delay_ms, loss, nat, seed, and of both directions outage_ms and lost."""
    cells = [
        {"mechanism": mechanism, "delay_ms": delay, "loss": loss, "nat": nat}
        for nat in nats for mechanism in mechanisms for delay in delays_ms for loss in losses
    ]  # fmt: skip
    variants = [variant(**cell) for cell in cells]  # type: ignore[arg-type]
    return sweep(topology, variants, seeds, measure=measure, labels=cells, processes=processes)


def summary(means: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several tables of intervals below each other, what they are of beside the cell; to one decimal."""
    whole = pd.concat(means, ignore_index=True)
    whole[["mean", "low", "high"]] = whole[["mean", "low", "high"]].round(1)
    first = ["value", "mechanism", "nat", "delay_ms", "loss"]
    return whole[[*first, *(name for name in whole.columns if name not in first)]]


def figure(table: pd.DataFrame, value: str = "down_outage_ms") -> Figure:
    """Mean and confidence interval over the delay, a panel for each loss; of the first NAT in the table."""
    table = table[table.nat == table.nat.iloc[0]]
    losses = list(dict.fromkeys(table.loss))
    drawing = Drawing(figsize=(3.1 * len(losses) + 2.2, 3.4), dpi=100, layout="constrained")
    panels = drawing.subplots(1, len(losses), sharey=True, squeeze=False)[0]
    for ax, loss in zip(panels, losses, strict=True):
        found = interval(table[table.loss == loss], value, by=["mechanism", "delay_ms"])
        _panel(ax, found)
        ax.set(title=f"loss {100 * loss:g} %", xlabel="delay of the new access (ms)")
    panels[0].set_ylim(bottom=0)
    words = "outage (ms)" if value.endswith("outage_ms") else "packets lost"
    panels[0].set_ylabel(f"{words}, to the host" if value.startswith("down") else f"{words}, from the host")
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return drawing


def nat_figure(table: pd.DataFrame, value: str = "down_outage_ms") -> Figure:
    """The same by NAT preset, as bars."""
    found = interval(table, value, by=["nat", "mechanism"])
    nats = list(dict.fromkeys(found.nat))
    drawing = Drawing(figsize=(7.6, 3.2), dpi=100, layout="constrained")
    ax = drawing.subplots()
    width = 0.8 / found.mechanism.nunique()
    for index, (mechanism, rows) in enumerate(found.groupby("mechanism", sort=False)):
        at = [nats.index(nat) + width * (index + 0.5) - 0.4 for nat in rows.nat]
        errors = [rows["mean"] - rows.low, rows.high - rows["mean"]]
        ax.bar(at, rows["mean"], width, yerr=errors, color=_COLOURS.get(str(mechanism)), label=mechanism)
    ax.set_xticks(range(len(nats)), nats)
    ax.set(xlabel="NAT of both accesses", ylabel="outage (ms), to the host")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return drawing


def _panel(ax: Any, found: pd.DataFrame) -> None:
    for mechanism, rows in found.groupby("mechanism", sort=False):
        errors = [rows["mean"] - rows.low, rows.high - rows["mean"]]
        colour = _COLOURS.get(str(mechanism))
        ax.errorbar(
            rows.delay_ms, rows["mean"], yerr=errors, fmt="o-", markersize=3.5, capsize=2.5, linewidth=1.2,
            color=colour, label=mechanism,
        )  # fmt: skip
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", linewidth=0.5, alpha=0.5)
