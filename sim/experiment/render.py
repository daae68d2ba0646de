"""A summary as tables for people: on a terminal, and in a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.experiment.render_crowds import (
    by_crowd,
    joined_checks,
    joined_connection,
    joined_counters,
    joined_drops,
    joined_flows,
)
from sim.ipsec.verdict import Reason
from sim.scenario.crowds import Crowds
from sim.scenario.errors import printable
from sim.scenario.world import World
from sim.units import NS_PER_S

Row = dict[str, Any]

_HTML = '<pre style="font-family: monospace; line-height: 1.3; overflow-x: auto">{code}</pre>'
_STATE_STYLES = {"established": "green", "failed": "bold red", "closed": "yellow"}
_WIDTH = 132
_MAX_OUTAGES = 10
_MAX_FAILURES = 10
_MANY_LATE = 10
_SHORT_NAME = 20
_LONGEST_OUTAGES = 5
"""So many are told where there are more than `_MAX_OUTAGES`."""


def render(summary: Row, world: World) -> RenderableType:
    """Title, connections with why they failed, flows with why they stopped, drops, checks."""
    crowds = world.scenario.crowds
    parts: list[RenderableType] = [_title(summary)]
    parts += [_text(f"warning: {text}", "yellow") for text in summary["warnings"]]
    if summary["connections"]:
        parts += [_connections(summary["connections"], crowds), *_failures(summary["connections"])]
    if summary["flows"]:
        parts += [_flows(joined_flows(summary["flows"], crowds)), *_outages(world)]
    drops = joined_drops(summary["drops"], crowds)
    if drops:
        parts += [_drops(drops), *_late_packets(drops)]
    nodes = joined_counters(summary["nodes"], crowds)
    if any(row["xfrm"] or row["ip"] for row in nodes):
        parts.append(_counters(nodes))
    if summary["checks"]:
        parts.append(_checks(joined_checks(summary["checks"], crowds)))
    if "realtime" in summary:
        parts += _realtime(summary["realtime"])
    return Group(*parts)


def render_html(summary: Row, world: World) -> str:
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_jupyter=False)
    console.print(render(summary, world))
    return console.export_html(code_format=_HTML, inline_styles=True)


def _title(summary: Row) -> Text:
    wall_s, packets = summary["wall_s"], summary["packets"]
    title = _text(summary["name"], "bold")
    how = "in real time, of which the simulation took" if "realtime" in summary else "simulated in"
    title.append(f", seed {summary['seed']}: {summary['duration_s']:g} s {how} {wall_s:.2f} s", "not bold")
    if wall_s:
        title.append(f"\n{packets} packets on links, {packets / wall_s:,.0f} per second", "not bold")
    return title


def _connections(rows: list[Row], crowds: Crowds) -> Table:
    table = _table("Connections", "node", "name", "state", "up at", "path and suites")
    for many in by_crowd(rows, crowds):
        if len(many) > 1:
            table.add_row(*joined_connection(many, crowds))
            continue
        row = many[0]
        state = Text(row["state"], style=_STATE_STYLES.get(row["state"], ""))
        up_at = "" if row["established_s"] is None else f"{row['established_s']:.3f} s"
        table.add_row(row["node"], row["name"], state, up_at, "\n".join(_lines(row)))
    return table


_USUAL_ROUND_TRIPS = 2


def _lines(row: Row) -> list[str]:
    """Addresses, what was negotiated and who is behind a NAT, and a line for each Child SA."""
    lines = [f"{row['local']} - {row['remote']}"] if row["local"] else []
    if row["esp_remote"]:
        lines.append(f"ESP to {row['esp_remote']}")
    if row["proposal"]:
        nats = [
            word
            for word, behind in (("NAT here", row["nat_local"]), ("NAT there", row["nat_remote"]))
            if behind
        ]
        lines.append(", ".join([row["proposal"], *nats]))
    if row["setup_round_trips"] > _USUAL_ROUND_TRIPS or row["ppk"]:
        size = f"{row['setup_bytes']:,} octets in {row['setup_datagrams']} datagrams"
        ppk = ", with a PPK" if row["ppk"] else ""
        lines.append(f"set up in {row['setup_round_trips']} round trips, {size}{ppk}")
    if row["vips"]:
        dns = f", DNS {', '.join(row['dns'])}" if row["dns"] else ""
        lines.append(f"virtual IP {', '.join(row['vips'])}{dns}")
    for child in row["children"]:
        how = f"{child['mode']}{' in UDP' if child['encap'] else ''}"
        if child["per_cpu_sas"]:
            how += ", all CPUs" if child["cpu"] is None else f", CPU {child['cpu']}"
        gone = "" if child["state"] == "installed" else f", {child['state']}"
        lines.append(f"{child['name']}: {how}, {child['packets_in']} in, {child['packets_out']} out{gone}")
        if child["ipcomp"] is not None:
            lines.append(_compression(child["ipcomp"]))
    return lines


def _compression(found: Row) -> str:
    """How much shorter payloads became, and how many packets that concerned."""
    ways = [
        f"{found[f'packets_{way}']} {way}, {found[f'ratio_{way}']:.2f} to 1"
        for way in ("in", "out")
        if found[f"ratio_{way}"] is not None
    ]
    return f"IPComp {found['cpi_in']}/{found['cpi_out']}: {'; '.join(ways) or 'nothing sent'}"


def _failures(rows: list[Row]) -> list[Text]:
    """Each explanation once, and below it what either end says."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["explanation"]:
            found.setdefault((row["spi_i"] or row["name"], row["explanation"]), []).append(row)
    lines: list[Text] = []
    for number, ((_, explanation), both) in enumerate(found.items()):
        if number == _MAX_FAILURES:
            lines.append(_text(f"... and {len(found) - number} more", "red"))
            break
        lines.append(_text(f"{both[0]['name']}: {explanation}", "red"))
        lines += [_text(f"  {row['node']}: {row['text']}", "red") for row in both if row["text"]]
    return lines


def _flows(rows: list[Row]) -> Table:
    table = _table("Flows", "flow", "sent", "lost", "reordered", "goodput", "p50 ms", "p95 ms", "max ms")
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    if all(len(row["name"]) <= _SHORT_NAME for row in rows):
        table.columns[0].no_wrap, table.columns[2].no_wrap = True, False  # rather a share below its number
    for row in rows:
        share = f" ({100 * row['lost'] / (row['lost'] + row['received']):.3g} %)" if row["lost"] else ""
        counts = [str(row["sent"]), f"{row['lost']}{share}", str(row["reordered"])]
        latency = [_ms(row["latency_ms"][key]) for key in ("p50", "p95", "max")]
        table.add_row(row["name"], *counts, _rate(row["goodput_bps"]), *latency)
    return table


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _outages(world: World) -> list[Text]:
    """Each one with its cause, in the order of time; of many only the longest, and what the others were."""
    entries = [entry for entry in world.log if entry.event == "outage"]
    ranked = sorted(entries, key=lambda entry: (-entry.lasted, entry.at))
    count = len(entries) if len(entries) <= _MAX_OUTAGES else _LONGEST_OUTAGES
    told, others = sorted(ranked[:count], key=lambda entry: entry.at), ranked[count:]
    lines = [f"outage of {entry.detail}" for entry in told]
    if others:
        first = min(entry.at - entry.lasted for entry in others) / NS_PER_S
        last = max(entry.at for entry in others) / NS_PER_S
        longest = f"the longest of {others[0].lasted / NS_PER_S:.3f} s"
        lines.append(f"... and {len(others)} more, from {first:.3f} s to {last:.3f} s, {longest}")
    return [_text(line, "yellow") for line in lines]


def _drops(rows: list[Row]) -> Table:
    table = _table("Dropped packets", "node", "reason", "packets")
    table.columns[2].justify = "right"
    for row in rows:
        table.add_row(row["node"], row["reason"], str(row["packets"]))
    return table


def _late_packets(rows: list[Row]) -> Iterator[Text]:
    """Where many packets came too late, what would let them in."""
    for row in rows:
        if row["reason"] == Reason.LATE and row["packets"] >= _MANY_LATE:
            came = f"{row['packets']} packets came to {row['node']}"
            text = "behind its replay window: a child with a larger `replay_window` takes them"
            yield Text(f"{came} {text}", style="yellow")


def _counters(rows: list[Row]) -> Table:
    """The same drops by the names of `nstat` and /proc/net/xfrm_stat."""
    table = _table("As Linux counts", "node", "counter", "packets")
    table.columns[2].justify = "right"
    for row in rows:
        for name, count in {**row["xfrm"], **row["ip"]}.items():
            table.add_row(row["name"], name, str(count))
    return table


def _checks(rows: list[Row]) -> Table:
    table = _table("Checks", "", "check", "found")
    for row in rows:
        mark = Text("ok", style="green") if row["ok"] else Text("FAILED", style="bold red")
        table.add_row(mark, row["name"], _text(row["detail"]))  # it may quote a peer
    return table


def _realtime(row: Row) -> list[RenderableType]:
    """How well real time was kept, and what was not ours to run."""
    table = _table("Real time", "late", "number", "p50 ms", "p99 ms", "max ms", "> 1 ms", "> 10 ms")
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    table.add_row("events", *_late(row["events"]))
    texts = []
    for port in row["attached"]:
        table.add_row(f"from {port['node']}:{port['interface']}", *_late(port["from_host"]))
        table.add_row(f"to {port['node']}:{port['interface']}", *_late(port["to_host"]))
        if port["not_read"] or port["refused_by_host"]:
            unread = port["not_read"] or 0
            texts.append(
                f"{port['device']}: {unread} packets were not read in time and dropped by Linux, "
                f"{port['refused_by_host']} were refused by it"
            )
    if row["events"]["over_10_ms"]:
        late, worst = row["events"]["over_10_ms"], row["events"]["max_s"]
        texts.append(
            f"real time was not kept: of {row['events']['count']} instants {late} came more than 10 ms late, "
            f"the worst {worst:.3f} s; the end was {row['behind_s']:.3f} s behind the clock"
        )
    if row["left_out"]:
        texts.append(f"not run here, because a real host is in its place: {', '.join(row['left_out'])}")
    return [table, *(_text(text, "yellow") for text in texts)]


def _late(row: Row) -> list[str]:
    times = [f"{1000 * row[key]:.2f}" for key in ("p50_s", "p99_s", "max_s")]
    return [str(row["count"]), *times, str(row["over_1_ms"]), str(row["over_10_ms"])]


def _text(text: str, style: str = "") -> Text:
    """Words of a file or a peer, which a terminal must not obey."""
    return Text(printable(text), style=style)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _rate(bps: float | None) -> str:
    if bps is None:
        return "-"
    for size, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bps >= size:
            return f"{bps / size:.3g} {unit}"
    return f"{bps:.0f} bit/s"
