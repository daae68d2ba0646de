"""A thousand rows of a summary as one, where their nodes or flows come from one entry with a `count`.

Counts are sums, latencies the worst of all: `p95` says that no flow of them has a greater one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sim.scenario.crowds import Crowds

Row = dict[str, Any]
_MANY = 10
"""More IKE SAs of one connection at one node are not told one by one either."""
_SHOWN = 3


def by_crowd(rows: list[Row], crowds: Crowds) -> list[list[Row]]:
    """The rows of connections, those together that make one line, where the first of them stood."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((crowds.node(row["node"]), row["name"]), []).append(row)
    groups: list[list[Row]] = []
    for many in found.values():
        is_one = many[0]["node"] in crowds.nodes or len(many) > _MANY
        groups += [many] if is_one else [[row] for row in many]
    return groups


def joined_connection(rows: list[Row], crowds: Crowds) -> tuple[str, str, str, str, str]:
    """The cells of many connections: how many are in which state, since when, and what they carried."""
    states = Counter(row["state"] for row in rows)
    up = [row["established_s"] for row in rows if row["established_s"] is not None]
    suites = Counter(row["proposal"] for row in rows if row["proposal"])
    lines = [f"{suite}{_times(count, len(rows))}" for suite, count in suites.items()]
    nats = {"NAT here": "nat_local", "NAT there": "nat_remote"}
    behind = {words: sum(bool(row[key]) for row in rows) for words, key in nats.items()}
    lines += [f"{words}: {count}" for words, count in behind.items() if count]
    lines += _children(rows)
    node = crowds.node(rows[0]["node"])
    own = len({row["node"] for row in rows})
    return (
        f"{node} ({own})" if own > 1 else node,
        rows[0]["name"],
        "\n".join(f"{count} {state}" for state, count in states.items()),
        f"{min(up):.3f} s to {max(up):.3f} s" if up else "",
        "\n".join(lines),
    )


def _children(rows: list[Row]) -> list[str]:
    found: dict[tuple[str, str, bool, str], list[Row]] = {}
    for child in (child for row in rows for child in row["children"]):
        key = child["name"], child["mode"], child["encap"], child["state"]
        found.setdefault(key, []).append(child)
    lines = []
    for (name, mode, encap, state), many in found.items():
        there, out = (sum(child[key] for child in many) for key in ("packets_in", "packets_out"))
        gone = "" if state == "installed" else f", {state}"
        how = f"{mode}{' in UDP' if encap else ''}{gone}"
        lines.append(f"{len(many)} of {name}: {how}, {there} in, {out} out")
    return lines


def _times(count: int, of: int) -> str:
    return "" if count == of else f" ({count})"


def joined_flows(rows: list[Row], crowds: Crowds) -> list[Row]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(crowds.flow(row["name"]), []).append(row)
    return [_flow(name, many) if len(many) > 1 else many[0] for name, many in found.items()]


def _flow(name: str, rows: list[Row]) -> Row:
    counts = {key: sum(row[key] for row in rows) for key in ("sent", "received", "lost", "reordered")}
    rates = [row["goodput_bps"] for row in rows if row["goodput_bps"] is not None]
    latency = {
        key: max((row["latency_ms"][key] for row in rows if row["latency_ms"][key] is not None), default=None)
        for key in ("p50", "p95", "max")
    }
    named = {"name": f"{name} ({len(rows)})", "goodput_bps": sum(rates) if rates else None}
    return counts | named | {"latency_ms": latency}


def joined_drops(rows: list[Row], crowds: Crowds) -> list[Row]:
    found: Counter[tuple[str, str]] = Counter()
    for row in rows:
        found[crowds.node(row["node"]), row["reason"]] += row["packets"]
    return [{"node": node, "reason": reason, "packets": n} for (node, reason), n in found.items()]


def joined_counters(rows: list[Row], crowds: Crowds) -> list[Row]:
    found: dict[str, Row] = {}
    for row in rows:
        name = crowds.node(row["name"])
        sums = found.setdefault(name, {"name": name, "xfrm": Counter(), "ip": Counter()})
        for kind in ("xfrm", "ip"):
            sums[kind].update(row[kind])
    return list(found.values())


def joined_checks(rows: list[Row], crowds: Crowds) -> list[Row]:
    """What is asked of every client, once; the details are of those that do not hold, or of the first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(crowds.in_words(row["name"]) if crowds else str(len(found)), []).append(row)
    return [_check(name, many) if len(many) > 1 else _shortened(many[0]) for name, many in found.items()]


def _check(name: str, rows: list[Row]) -> Row:
    failed = [row for row in rows if not row["ok"]]
    shown = failed or rows
    details = [f"{row['name']}: {row['detail']}" for row in shown[:_SHOWN]]
    held = f"{len(rows) - len(failed)} of {len(rows)} hold"
    more = [f"and {len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
    return {"name": f"{name} ({len(rows)})", "ok": not failed, "detail": "; ".join([held, *details, *more])}


def _shortened(row: Row) -> Row:
    """Of a check that was asked of many nodes, some."""
    parts = row["detail"].split("; ")
    if len(parts) <= _MANY:
        return row
    detail = "; ".join([*parts[:_SHOWN], f"and {len(parts) - _SHOWN} more"])
    return row | {"detail": detail}
