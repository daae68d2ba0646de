"""The flows of a run as rows, and why they had outages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sim.experiment.causes import explain
from sim.scenario.world import World
from sim.traffic.record import FlowRecord
from sim.tunnels.narrate import LogEntry
from sim.units import NS_PER_MS, NS_PER_S


def flow_rows(world: World) -> list[dict[str, Any]]:
    """One row for each flow, a replay has two. Latency is one way, for a ping the round trip."""
    under_way = world.under_way()
    return [_row(flow.record, world.sim.now, under_way[name]) for name, flow in world.flows.items()]


def outage_entries(world: World) -> Iterator[LogEntry]:
    """A row of the events table for every outage, with what explains it; `at` is when the outage ends."""
    under_way = world.under_way()
    for name, flow in world.flows.items():
        for outage in flow.record.outages(world.sim.now, under_way[name]):
            cause = explain(world, name, outage)
            detail = (
                f"{flow.name}: nothing arrived from {outage.from_at / NS_PER_S:.3f} s to "
                f"{outage.to_at / NS_PER_S:.3f} s, {outage.packets} packets lost; {cause}"
            )
            lasted = outage.to_at - outage.from_at
            yield LogEntry(outage.to_at, flow.source.name, "outage", detail=detail, lasted=lasted)


def _row(record: FlowRecord, end: int, under_way: set[int]) -> dict[str, Any]:
    return {
        "name": record.name,
        "sent": record.sent,
        "received": record.received,
        "lost": record.lost(under_way),
        "reordered": record.reordered,
        "goodput_bps": record.goodput_bps(),
        "latency_ms": _latency(record),
        "outages": [
            {"from_s": outage.from_at / NS_PER_S, "to_s": outage.to_at / NS_PER_S}
            for outage in record.outages(end, under_way)
        ],
    }


def _latency(record: FlowRecord) -> dict[str, float | None]:
    """Every number is None when nothing arrived."""
    latencies = record.latencies() / NS_PER_MS
    if not len(latencies):
        return dict.fromkeys(("min", "p50", "p95", "p99", "max"))
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99))
    values = (latencies.min(), p50, p95, p99, latencies.max())
    return dict(zip(("min", "p50", "p95", "p99", "max"), map(float, values), strict=True))
