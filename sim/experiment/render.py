"""A summary as tables for people: on a terminal, and in a notebook."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.scenario.world import World

Row = dict[str, Any]

_HTML = '<pre style="font-family: monospace; line-height: 1.3; overflow-x: auto">{code}</pre>'
_STATE_STYLES = {"established": "green", "failed": "bold red", "closed": "yellow"}
_WIDTH = 132


def render(summary: Row, world: World) -> RenderableType:
    """Title, connections with why they failed, flows with why they stopped, drops, checks."""
    parts: list[RenderableType] = [_title(summary)]
    if summary["connections"]:
        parts += [_connections(summary["connections"]), *_failures(summary["connections"])]
    if summary["flows"]:
        parts += [_flows(summary["flows"]), *_outages(world)]
    if summary["drops"]:
        parts.append(_drops(summary["drops"]))
    if summary["checks"]:
        parts.append(_checks(summary["checks"]))
    return Group(*parts)


def render_html(summary: Row, world: World) -> str:
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_jupyter=False)
    console.print(render(summary, world))
    return console.export_html(code_format=_HTML, inline_styles=True)


def _title(summary: Row) -> Text:
    wall_s, packets = summary["wall_s"], summary["packets"]
    title = Text(summary["name"], style="bold")
    title.append(
        f", seed {summary['seed']}: {summary['duration_s']:g} s simulated in {wall_s:.2f} s", "not bold"
    )
    if wall_s:
        title.append(f", {packets} packets on links ({packets / wall_s:,.0f} per second)", "not bold")
    return title


def _connections(rows: list[Row]) -> Table:
    table = _table(
        "Connections", "node", "name", "state", "local - remote", "ESP", "NAT", "up at s", "proposal"
    )
    for row in rows:
        state = Text(row["state"], style=_STATE_STYLES.get(row["state"], ""))
        up_at = "" if row["established_s"] is None else f"{row['established_s']:.3f}"
        path = f"{row['local']} - {row['remote']}" if row["local"] else ""
        table.add_row(row["node"], row["name"], state, path, _esp(row), _nat(row), up_at, _suites(row))
    return table


def _esp(row: Row) -> str:
    """How ESP travels now, and how many packets did, in and out."""
    kinds = {(child["mode"], child["encap"]) for child in row["children"] if child["state"] == "installed"}
    words = [f"{mode}{', in UDP' if encap else ''}" for mode, encap in sorted(kinds)]
    counts = [f"{child['packets_in']} in {child['packets_out']} out" for child in row["children"]]
    return "\n".join(words + counts)


def _nat(row: Row) -> str:
    return " ".join(
        word for word, behind in (("here", row["nat_local"]), ("there", row["nat_remote"])) if behind
    )


def _suites(row: Row) -> str:
    return str(row["proposal"])


def _failures(rows: list[Row]) -> list[Text]:
    return [
        Text(f"{row['node']}: {row['reason']}: {row['text']}", style="red") for row in rows if row["reason"]
    ]


def _flows(rows: list[Row]) -> Table:
    table = _table(
        "Flows", "flow", "sent", "received", "lost", "reordered", "goodput", "latency ms", "outages"
    )
    for column in table.columns[1:6]:
        column.justify = "right"
    for row in rows:
        lost = row["lost"]
        share = f" ({100 * lost / row['sent']:.2f} %)" if lost else ""
        table.add_row(
            row["name"],
            str(row["sent"]),
            str(row["received"]),
            f"{lost}{share}",
            str(row["reordered"]),
            _rate(row["goodput_bps"]),
            _latency(row["latency_ms"]),
            _longest(row["outages"]),
        )
    table.columns[6].header = "latency ms: min / p50 / p95 / p99 / max"
    return table


def _latency(latency: dict[str, float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.2f}" for value in latency.values())


def _longest(outages: list[Row]) -> str:
    if not outages:
        return "none"
    longest = max(outage["to_s"] - outage["from_s"] for outage in outages)
    return (
        f"{len(outages)}, longest {longest * 1000:.0f} ms"
        if len(outages) > 1
        else f"1, {longest * 1000:.0f} ms"
    )


def _outages(world: World) -> list[Text]:
    return [
        Text(f"outage of {entry.detail}", style="yellow") for entry in world.log if entry.event == "outage"
    ]


def _drops(rows: list[Row]) -> Table:
    table = _table("Dropped packets", "node", "reason", "packets")
    table.columns[2].justify = "right"
    for row in rows:
        table.add_row(row["node"], row["reason"], str(row["packets"]))
    return table


def _checks(rows: list[Row]) -> Table:
    table = _table("Checks", "", "check", "found")
    for row in rows:
        mark = Text("ok", style="green") if row["ok"] else Text("FAILED", style="bold red")
        table.add_row(mark, row["name"], Text(row["detail"]))  # it may quote a peer
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _rate(bps: float) -> str:
    for size, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bps >= size:
            return f"{bps / size:.3g} {unit}"
    return f"{bps:.0f} bit/s"
