"""What it costs in a month to keep an idle tunnel through a NAT: octets and packets on the host's own link.

One scenario, `topologies/nat/idle-tunnel.yaml`, in which nobody speaks. A long run less a short one is what
`HOURS` of idling take; a month has 30 days. Octets are of IP packets, in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sim.experiment.drawing import FLOWS, INK, Drawing
from sim.experiment.sweep import sweep

HOURS = 4
MONTH_H = 30 * 24
KEEPALIVE_S = 20
POLICIES = ("keepalives", "liveness checks", "liveness checks of both ends", "keepalives, liveness checks")
"""NAT keepalives (RFC 3948 4); liveness checks (RFC 7296 2.4) of the host alone, or of the gateway as well;
those of the host with keepalives every `KEEPALIVE_S`, as hosts come by default."""
INTERVALS_S = (10, 20, 30, 50, 60, 120, 240)
PROPOSALS = ("aes128gcm16-prfsha256-x25519", "aes128-sha256-modp2048")
PUBLISHED = (50, 16.0)
"""strongswan issue 292: an interval of liveness checks in seconds, and MB a month."""
_SHORT_S = 600


def variant(policy: str, interval_s: int, proposal: str, duration_s: int) -> dict[str, object]:
    """The overrides of one run. The tunnel is written as connections, because its ends differ."""
    keepalive_s = {POLICIES[0]: interval_s, POLICIES[3]: KEEPALIVE_S}.get(policy, 0)
    host = {"keep_alive": f"{keepalive_s} s", "dpd_delay": f"{interval_s if policy != POLICIES[0] else 0} s"}
    gateway = {"keep_alive": "0 s", "dpd_delay": f"{interval_s if policy == POLICIES[2] else 0} s"}
    shared = {"psk": "correct horse battery staple", "proposals": [proposal], "rekey_time": "0 s"}
    child: dict[str, object] = {"esp_proposals": ["aes128gcm16"], "rekey_time": "0 s"}
    calling = {"remote_ts": ["10.1.0.0/16"], "start_action": "start"}
    return {
        "duration": f"{duration_s} s",
        "nodes.home.preset": "full-cone",  # which forgets nothing within the longest interval
        "tunnels": {},
        "pools": {},
        "connections": {
            "alice": {
                "rw": {
                    **shared,
                    **host,
                    "remote_addrs": ["198.51.100.1"],
                    "children": {"net": child | calling},
                }
            },
            "moon": {"rw": {**shared, **gateway, "children": {"net": child | {"local_ts": ["10.1.0.0/16"]}}}},
        },
        "traffic": [],
        "capture": [],
        "checks": [],
    }


def measure(result: Any) -> dict[str, Any]:
    """What has gone over the host's link, both ways."""
    links = [result.world.ports[label].link for label in ("alice:wlan", "home:lan")]
    return {"octets": sum(link.bytes for link in links), "packets": sum(link.packets for link in links)}


def study(
    topology: str | Path,
    *,
    policies: Sequence[str] = POLICIES,
    intervals_s: Sequence[int] = INTERVALS_S,
    proposals: Sequence[str] = PROPOSALS,
    processes: int | None = None,
) -> pd.DataFrame:
    """A row for each policy, interval_s and proposal: mb_month and packets_month."""
    cells = [
        {"policy": policy, "interval_s": interval_s, "proposal": proposal, "duration_s": duration}
        for policy in policies for proposal in proposals for interval_s in intervals_s
        for duration in (_SHORT_S, _SHORT_S + 3600 * HOURS)
    ]  # fmt: skip
    variants = [variant(**cell) for cell in cells]  # type: ignore[arg-type]
    runs = sweep(topology, variants, measure=measure, labels=cells, processes=processes)
    grouped = runs.groupby(["policy", "proposal", "interval_s"], sort=False)[["octets", "packets"]]
    spent = (grouped.last() - grouped.first()).reset_index()
    months = MONTH_H / HOURS
    spent["mb_month"] = spent.octets * months / 1e6
    spent["packets_month"] = (spent.packets * months).round().astype(int)
    return spent.drop(columns=["octets", "packets"])


def figure(table: pd.DataFrame) -> Figure:
    """MB a month over the interval, with the published figure."""
    drawing = Drawing(figsize=(8.4, 3.6), dpi=100, layout="constrained")
    ax = drawing.subplots()
    styles = dict(zip(dict.fromkeys(table.proposal), ("-", "--", ":"), strict=False))
    colours = dict(zip(dict.fromkeys(table.policy), FLOWS, strict=False))
    for (policy, proposal), rows in table.groupby(["policy", "proposal"], sort=False):
        if policy == POLICIES[0] and proposal != table.proposal.iloc[0]:
            continue  # one octet without any protection, whatever the proposal
        label = policy if policy == POLICIES[0] else f"{policy} ({str(proposal).split('-')[0]})"
        style, colour = styles[str(proposal)], colours[str(policy)]
        ax.plot(rows.interval_s, rows.mb_month, f"o{style}", color=colour, markersize=3, label=label)
    ax.plot(*PUBLISHED, "x", color=INK, markersize=7, label="strongswan issue 292")
    ax.set(xlabel="interval (s)", ylabel="MB in 30 days", xscale="log", yscale="log")
    ticks = sorted(set(table.interval_s))
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", linewidth=0.5, alpha=0.5)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return drawing
