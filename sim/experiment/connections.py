"""The connections of a run as rows: one for each IKE SA that matters, at each end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sim.experiment.failures import Failure, failures, hear_doubts
from sim.experiment.keepalive import MONTH_S
from sim.ike.events import Reason
from sim.ike.exchanges import State
from sim.scenario.world import World
from sim.tunnels.driver import IpsecDriver
from sim.tunnels.ledger import ChildRecord, CompressionRecord, IkeRecord
from sim.units import NS_PER_S
from sim.wire.address import Sock, format_address, format_sock
from sim.wire.resource import ALL

Row = dict[str, Any]


def connection_rows(world: World) -> list[Row]:
    """For every connection of every node its living IKE SAs, else the last that ended, else an empty row.

    A half-open one is left out beside others. Seconds count from the start of the run; `spi_i` and `spi_r`
    are hexadecimal; `reason` is empty while nothing went wrong. While an SA is connecting, it says why the
    last attempt failed. `peer_reason` and `peer_text` are the other end's view of the same attempt,
    `explanation` joins both.
    """
    rows = []
    for stack in world.stacks.values():
        hear_doubts(stack, world.sim.now)
    found = failures(world)
    for node, stack in world.stacks.items():
        for row, spi_i in _rows(node, stack):
            failure = found.get(spi_i) or _turned_away(found, node, row, len(stack.config.connections) == 1)
            rows.append(row | _both_views(node, row, failure))
    return rows


def driver_rows(node: str, stack: IpsecDriver[Any]) -> list[Row]:
    """The rows of one host, without its peer's view."""
    hear_doubts(stack, -1)
    return [row for row, _ in _rows(node, stack)]


def _rows(node: str, stack: IpsecDriver[Any]) -> Iterator[tuple[Row, bytes]]:
    """Each with the SPIi of the IKE SA that explains it."""
    records = list(stack.ledger.settle(stack.engine.sad.get))
    half_open = {sa.ike_id for sa in stack.endpoint.sas if sa.state == State.HALF_OPEN.value}
    for connection in stack.config.connections:
        name = connection.name
        mine = [record for record in records if _name(stack, record) == name]
        for record in _worth_showing(mine, half_open) or [_idle(stack, name)]:
            explained = _explained(record, mine)
            row = _row(node, name, record, explained) | {"keepalives": _keepalives(stack, record)}
            yield row, explained.spi_i


def _idle(stack: IpsecDriver[Any], name: str) -> IkeRecord:
    if name not in stack.endpoint.waiting:
        return IkeRecord(0, name, state="idle")
    text = "this host has no address, of an interface that is up, to call from"
    return IkeRecord(0, name, state="idle", reason=Reason.NO_ADDRESS, text=text)


def _turned_away(found: dict[bytes, Failure], node: str, row: Row, only: bool) -> Failure | None:
    """The last attempt that a responder has refused without keeping anything, on an idle connection."""
    mine = [
        failure for failure in found.values()
        if node == failure.responder and node in failure.views and (only or failure.connection == row["name"])
    ]  # fmt: skip
    return mine[-1] if mine and row["state"] == "idle" else None


def _both_views(node: str, row: Row, failure: Failure | None) -> Row:
    if failure is None:
        return {"peer_reason": "", "peer_text": "", "explanation": row["text"] and f"{node}: {row['text']}"}
    own, peer = failure.views.get(node), failure.views.get(failure.other(node))
    views = {
        "peer_reason": str(peer.reason) if peer else "",
        "peer_text": peer.text if peer else "",
        "explanation": failure.explanation,
    }
    if own is not None and not row["reason"]:
        views |= {"reason": str(own.reason), "text": own.text}
    return views


def _name(stack: IpsecDriver[Any], record: IkeRecord) -> str:
    """An SA that has neither come up nor failed is known to the endpoint alone."""
    if record.connection:
        return record.connection
    return next((sa.connection for sa in stack.endpoint.sas if sa.ike_id == record.ike_id), "")


def _worth_showing(records: list[IkeRecord], half_open: Collection[int]) -> list[IkeRecord]:
    """Those that live, or the last one; of half-open ones the last, and none beside one that is up.

    A peer that moves before it is authenticated begins anew and leaves one behind, and anybody can make one.
    They run out by themselves (RFC 7296 2.4).
    """
    living = [record for record in records if record.state in ("connecting", "established")]
    begun = [record for record in living if record.ike_id in half_open]
    shown = [record for record in living if record not in begun]
    return shown or begun[-1:] or records[-1:]


def _explained(record: IkeRecord, attempts: list[IkeRecord]) -> IkeRecord:
    """Which attempt says why this one is not up: itself, or while it goes on the last that ended."""
    ended = [attempt for attempt in attempts if attempt.ended_at >= 0]
    return ended[-1] if record.state == "connecting" and not record.reason and ended else record


def _row(node: str, connection: str, record: IkeRecord, explained: IkeRecord) -> Row:
    return {
        "node": node,
        "name": connection,
        "state": record.state,
        "reason": str(explained.reason),
        "text": explained.text,
        "spi_i": record.spi_i.hex(),
        "spi_r": record.spi_r.hex(),
        "proposal": record.proposal,
        "local": _sock(record.local),
        "remote": _sock(record.remote),
        "esp_remote": _sock(record.esp_remote),
        "nat_local": record.nat_local,
        "nat_remote": record.nat_remote,
        "encap": record.encap,
        "established_s": record.established_at / NS_PER_S if record.established_at >= 0 else None,
        "sent": record.sent,
        "received": record.received,
        "retransmits": record.retransmits,
        "rekeys": record.rekeys,
        "setup_round_trips": record.setup_round_trips,
        "setup_messages": record.setup_messages,
        "setup_datagrams": record.setup_datagrams,
        "setup_bytes": record.setup_bytes,
        "ppk": record.ppk,
        "resumed": record.resumed,
        "vips": [format_address(vip) for vip in record.vips],
        "dns": [format_address(server) for server in record.dns],
        "children": [_child_row(child) for child in _children_worth_showing(record.children.values())],
    }


def _keepalives(stack: IpsecDriver[Any], record: IkeRecord) -> Row:
    """What kept the mapping; `per_month` is thirty days like the time that it was measured in."""
    count = record.keepalives
    span = count.until_at - record.established_at
    scale = MONTH_S * NS_PER_S / span if count.until_at >= 0 and span > 0 else 0.0
    values = {"sent": count.sent, "probes": count.probes, "bytes": count.bytes, "wakeups": count.wakeups}
    interval = stack.endpoint.keepalive_interval(record.ike_id)
    month = {key: round(value * scale) for key, value in values.items()}
    return {**values, "interval_s": interval / NS_PER_S, "per_month": month}


def _children_worth_showing(children: Iterable[ChildRecord]) -> Iterator[ChildRecord]:
    """Installed ones; of those that are gone only the last of each name, and CPU, that has none installed."""
    by_name: dict[tuple[str, int], list[ChildRecord]] = {}
    for child in children:
        cpu = ALL if child.share is None else child.share.cpu
        by_name.setdefault((child.name, cpu), []).append(child)
    for same in by_name.values():
        yield from [child for child in same if child.state == "installed"] or same[-1:]


def _child_row(child: ChildRecord) -> Row:
    return {
        "name": child.name,
        "state": child.state,
        "mode": child.mode,
        "protocol": child.protocol,
        "encap": child.encap,
        "spi_in": f"{child.spi_in:08x}",
        "spi_out": f"{child.spi_out:08x}",
        "packets_in": child.packets_in,
        "packets_out": child.packets_out,
        "bytes_in": child.bytes_in,
        "bytes_out": child.bytes_out,
        "ecn_alarms": child.ecn_alarms,
        "local_ts": [str(selector) for selector in child.local_ts],
        "remote_ts": [str(selector) for selector in child.remote_ts],
        "per_cpu_sas": child.share is not None,
        "cpu": child.share.cpu if child.share is not None and child.share.is_bound else None,
        "ipcomp": None if child.compression is None else _ipcomp(child.compression),
    }


def _ipcomp(found: CompressionRecord) -> Row:
    return {
        "cpi_in": f"{found.cpi_in:04x}",
        "cpi_out": f"{found.cpi_out:04x}",
        "packets_in": found.packets_in,
        "packets_out": found.packets_out,
        "ratio_in": found.ratio_in,
        "ratio_out": found.ratio_out,
    }


def _sock(sock: Sock | None) -> str:
    return "" if sock is None else format_sock(sock)
