"""The `checks:` of a scenario, asked when the run is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import ge, le
from typing import Any

from sim.experiment.child_checks import Verdict, child_check_name, child_verdicts
from sim.ike.events import Reason
from sim.scenario.schema import Check, ChildCheck, ConnectionCheck, FlowCheck
from sim.scenario.world import World
from sim.tunnels.ledger import IkeRecord
from sim.units import NS_PER_S, format_duration, format_rate, format_ratio

Row = dict[str, Any]


def check_rows(world: World, connections: list[Row], flows: list[Row]) -> list[Row]:
    """One row for each check, in the order of the file; a check holds when all its conditions hold.

    What only a real host knows is not asked.
    """
    asked = (check for check in world.scenario.checks if is_ours(world, check))
    return [_row(check, list(_verdicts(world, check, connections, flows))) for check in asked]


def is_ours(world: World, check: Check) -> bool:
    """Whether the flow, or an end of the connection, is simulated."""
    if isinstance(check, FlowCheck):
        return check.flow in world.flows
    nodes = {node for node, own in world.scenario.connections.items() if check.connection in own}
    return bool((nodes if check.node is None else {check.node}) - world.attached)


def check_name(check: Check) -> str:
    """What a report calls it."""
    if isinstance(check, FlowCheck):
        return f"flow {check.flow}"
    if isinstance(check, ChildCheck):
        return child_check_name(check)
    by = f" by {format_duration(check.by)}" if check.by is not None else ""
    at = f" at {check.node}" if check.node else ""
    return f"{check.connection}{at} is {check.is_}{by}"


def _row(check: Check, verdicts: list[Verdict]) -> Row:
    failed = [verdict for verdict in verdicts if not verdict.ok]
    shown = failed or verdicts
    return {
        "name": check_name(check),
        "ok": bool(verdicts) and not failed,
        "detail": "; ".join(verdict.detail for verdict in shown) or "nothing to ask: no such connection",
    }


def _verdicts(world: World, check: Check, connections: list[Row], flows: list[Row]) -> Iterator[Verdict]:
    if isinstance(check, FlowCheck):
        flow = next(row for row in flows if row["name"] == check.flow)
        yield from _flow_verdicts(world, check, flow)
        return
    rows = [row for row in connections if row["name"] == check.connection]
    if check.node is not None:
        rows = [row for row in rows if row["node"] == check.node]
    if isinstance(check, ChildCheck):
        yield from child_verdicts(check, rows)
        return
    for row in rows:
        yield _state(world, check, row)
        yield from _properties(check, row)
        yield from _interval(check, row)


def _state(world: World, check: ConnectionCheck, row: Row) -> Verdict:
    node, found = row["node"], row["state"]
    if check.by is None:
        why = f" ({row['reason']}: {row['text']})" if row["reason"] else ""
        return Verdict(found == check.is_, f"{node}: {found}{why}")
    at = _reached(world, check, node)
    if at is None:
        return Verdict(False, f"{node}: never {check.is_}, {found} at the end")
    return Verdict(at <= check.by, f"{node}: {check.is_} at {at / NS_PER_S:.3f} s")


def _reached(world: World, check: ConnectionCheck, node: str) -> int | None:
    """When the connection first was in the wanted state at that node (ns)."""
    moment = _MOMENTS[check.is_]
    records = world.stacks[node].ledger.records.values()
    attempts = [record for record in records if record.connection == check.connection]
    times = [moment(record) for record in attempts if not _is_replaced(record, attempts, check.is_)]
    return min((at for at in times if at >= 0), default=None)


def _is_replaced(record: IkeRecord, attempts: list[IkeRecord], asked: str) -> bool:
    """Whether the end of this attempt says nothing of the connection, because another goes on in its place.

    So it is after a move, and when one that the peer did not go on with runs out while another is up. What
    was refused has failed all the same: a gateway has many callers.
    """
    if asked == "established":
        return False
    if record.reason is Reason.MOVED:
        return True
    if record.established_at >= 0 or record.reason not in (Reason.TIMEOUT, Reason.ABANDONED):
        return False
    others = (other for other in attempts if 0 <= other.established_at <= record.ended_at)
    return any(other.ended_at < 0 or other.ended_at > record.ended_at for other in others)


def _failed_at(record: IkeRecord) -> int:
    return record.ended_at if record.established_at < 0 else -1


def _closed_at(record: IkeRecord) -> int:
    return record.ended_at if record.established_at >= 0 else -1


_MOMENTS: dict[str, Callable[[IkeRecord], int]] = {
    "established": lambda record: record.established_at,
    "failed": _failed_at,
    "closed": _closed_at,
}


def _properties(check: ConnectionCheck, row: Row) -> Iterator[Verdict]:
    for key in ("reason", "nat_local", "nat_remote", "encap", "ppk", "resumed", "setup_round_trips"):
        wanted = getattr(check, key)
        if wanted is not None:
            yield Verdict(row[key] == wanted, f"{row['node']}: {key} {_word(row[key])}")


def _interval(check: ConnectionCheck, row: Row) -> Iterator[Verdict]:
    """Of NAT keepalives, at the ends that are behind a NAT."""
    seconds = row["keepalives"]["interval_s"]
    for limit, holds in ((check.min_keepalive, ge), (check.max_keepalive, le)):
        if limit is not None and row["nat_local"]:
            found = f"{row['node']}: a keepalive every {seconds:g} s"
            yield Verdict(holds(seconds, limit / NS_PER_S), found)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "none"


def _flow_verdicts(world: World, check: FlowCheck, row: Row) -> Iterator[Verdict]:
    if check.max_outage is not None:
        longest = max((out["to_s"] - out["from_s"] for out in row["outages"]), default=0.0)
        allowed = format_duration(check.max_outage)
        ok = longest * NS_PER_S <= check.max_outage
        yield Verdict(ok, f"longest outage {longest * 1000:.1f} ms of {allowed} allowed")
    if check.max_loss is not None:
        known = row["lost"] + row["received"]  # of what is still under way nobody knows
        share = row["lost"] / known if known else 1.0
        ok = share <= check.max_loss
        yield Verdict(ok, f"{share * 100:.2f} % lost of {format_ratio(check.max_loss)} allowed")
    if check.min_goodput is not None:
        bps, wanted = row["goodput_bps"], format_rate(check.min_goodput)
        found = "no goodput in a single moment" if bps is None else f"goodput {bps / 1e6:.3f} Mbit/s"
        yield Verdict(bps is not None and bps >= check.min_goodput, f"{found}, at least {wanted} wanted")
    if check.max_latency is not None:
        slowest = row["latency_ms"]["max"]
        ok = slowest is not None and slowest * 1e6 <= check.max_latency
        found = "nothing arrived" if slowest is None else f"highest latency {slowest:.3f} ms"
        yield Verdict(ok, f"{found}, {format_duration(check.max_latency)} allowed")
    if check.min_received is not None:
        ok = row["received"] >= check.min_received
        yield Verdict(ok, f"{row['received']} packets received, at least {check.min_received} wanted")
    if check.max_received is not None:
        ok = row["received"] <= check.max_received
        yield Verdict(ok, f"{row['received']} packets received, at most {check.max_received} allowed")
