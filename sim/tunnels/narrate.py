"""What an IKE endpoint reports, as rows of the events table: a word for filtering, a sentence for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim.ike.events import (
    ChildFailed,
    ChildSaDown,
    ChildSaRetired,
    ChildSaUp,
    Event,
    FaultApplied,
    IkeSaDown,
    IkeSaUp,
    MessageReceived,
    MessageSent,
    NatShared,
    PathChanged,
    Rejected,
    RekeyFailed,
    ResourceRefused,
    VirtualIpAssigned,
    VirtualIpReleased,
)
from sim.wire.address import format_address, format_sock

NAT_SHARED, ANSWERS_STOLEN = "nat shared", "answers stolen"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One row of the events table.

    `at` is in ns. `event` is one of the words that this module and the scenario's actions use. `src`, `dst`
    and `size` (octets of the UDP payload) are set for IKE messages and rejected datagrams. `lasted` (ns) is
    set for what ends here and took its time: an outage. `switched` are the node's interfaces that
    went up or down.
    """

    at: int
    node: str
    event: str
    connection: str = ""
    child: str = ""
    detail: str = ""
    src: str = ""
    dst: str = ""
    size: int = 0
    lasted: int = 0
    switched: tuple[tuple[str, bool], ...] = ()


def narrate(node: str, event: Event, at: int) -> LogEntry | None:
    """The row for an event; None for one that only carries keys."""
    tell = _TELL.get(type(event))
    return tell(node, event, at) if tell else None


def _ike_up(node: str, event: IkeSaUp, at: int) -> LogEntry:
    nat = {(True, True): "both ends", (True, False): "this end", (False, True): "the peer"}
    behind = nat.get((event.nat_local, event.nat_remote))
    up = "rekeyed" if event.replaces else "resumed" if event.resumed else "up"
    detail = (
        f"IKE SA {up}: {event.local_id} {format_sock(event.local)} - {format_sock(event.remote)} "
        f"{event.remote_id}, {event.proposal}"
    )
    return _row(node, event, at, "ike up", f"{detail}, {behind} behind a NAT" if behind else detail)


def _ike_down(node: str, event: IkeSaDown, at: int) -> LogEntry:
    return _row(node, event, at, "ike down", f"{event.reason}: {event.text}")


def _child_up(node: str, event: ChildSaUp, at: int) -> LogEntry:
    local, remote = (", ".join(map(str, ts)) for ts in (event.local_ts, event.remote_ts))
    how = "in UDP" if event.encap else "plain"
    if event.share is not None:
        how += f", for CPU {event.share.cpu}" if event.share.is_bound else ", for all CPUs"
    how += f", IPComp in {event.cpi_in:04x} out {event.cpi_out:04x}" if event.cpi_in else ""
    up = "rekeyed" if event.replaces else "up"
    kind = f"{event.mode.value} mode, {event.suite.protocol.name} {how}"
    detail = f"Child SA {up}, {kind}, in {event.spi_in:08x} out {event.spi_out:08x}"
    return _row(node, event, at, "child up", f"{detail}: {local} === {remote}")


def _child_retired(node: str, event: ChildSaRetired, at: int) -> LogEntry:
    detail = f"Child SA in {event.spi_in:08x} out {event.spi_out:08x} was replaced and only receives now"
    return _row(node, event, at, "child retired", detail)


def _rekey_failed(node: str, event: RekeyFailed, at: int) -> LogEntry:
    return _row(node, event, at, "rekey failed", f"{event.reason}: {event.text}")


def _resource_refused(node: str, event: ResourceRefused, at: int) -> LogEntry:
    whose = f"no Child SA for CPU {event.cpu}" if event.initiator else "the peer gets no further Child SA"
    return _row(node, event, at, "resource refused", f"{whose}: {event.reason}: {event.text}")


def _child_down(node: str, event: ChildSaDown, at: int) -> LogEntry:
    return _row(node, event, at, "child down", f"{event.reason}: {event.text}")


def _child_failed(node: str, event: ChildFailed, at: int) -> LogEntry:
    return _row(node, event, at, "child failed", f"{event.reason}: {event.text}")


def _vip_assigned(node: str, event: VirtualIpAssigned, at: int) -> LogEntry:
    address = format_address(event.address)
    if not event.ours:
        return _row(node, event, at, "virtual ip assigned", f"{address} is leased to {event.peer}")
    dns = f", DNS {', '.join(map(format_address, event.dns))}" if event.dns else ""
    return _row(node, event, at, "virtual ip assigned", f"{address} is ours, from {event.peer}{dns}")


def _vip_released(node: str, event: VirtualIpReleased, at: int) -> LogEntry:
    address = format_address(event.address)
    detail = f"{address} is ours no longer" if event.ours else f"{address} is free again, {event.peer} had it"
    return _row(node, event, at, "virtual ip released", detail)


def _path(node: str, event: PathChanged, at: int) -> LogEntry:
    how = "ESP in UDP" if event.encap else "plain ESP"
    between = f"{format_sock(event.local)} - {format_sock(event.remote)}"
    detail = f"SAs now run {between}, {how}"
    if event.ike_remote is not None:
        detail = f"Child SAs now run {between}, {how}; IKE still goes to {format_sock(event.ike_remote)}"
    return _row(node, event, at, "path changed", detail)


def _sent(node: str, event: MessageSent, at: int) -> LogEntry:
    again = " (again)" if event.retransmission else ""
    return _message(node, event, at, "ike sent", again)


def _received(node: str, event: MessageReceived, at: int) -> LogEntry:
    return _message(node, event, at, "ike received", "")


def _message(node: str, event: MessageSent | MessageReceived, at: int, word: str, suffix: str) -> LogEntry:
    kind = "response" if event.response else "request"
    detail = f"{event.exchange} {kind} {event.message_id} {{ {event.payloads} }}{suffix}"
    src, dst = format_sock(event.src), format_sock(event.dst)
    return LogEntry(at, node, word, detail=detail, src=src, dst=dst, size=event.size)


def _rejected(node: str, event: Rejected, at: int) -> LogEntry:
    return LogEntry(at, node, "rejected", detail=f"{event.reason}: {event.text}", src=format_sock(event.src))


def _fault(node: str, event: FaultApplied, at: int) -> LogEntry:
    return LogEntry(at, node, "fault", event.connection, detail=event.text)


def _nat_shared(node: str, event: NatShared, at: int) -> LogEntry:
    return _row(node, event, at, ANSWERS_STOLEN if event.stolen else NAT_SHARED, event.text)


def _row(node: str, event: Any, at: int, word: str, detail: str) -> LogEntry:
    return LogEntry(at, node, word, event.connection, getattr(event, "child", ""), detail)


_TELL: dict[type, Callable[[str, Any, int], LogEntry]] = {
    IkeSaUp: _ike_up,
    IkeSaDown: _ike_down,
    ChildSaUp: _child_up,
    ChildSaRetired: _child_retired,
    ChildSaDown: _child_down,
    ChildFailed: _child_failed,
    PathChanged: _path,
    MessageSent: _sent,
    MessageReceived: _received,
    Rejected: _rejected,
    RekeyFailed: _rekey_failed,
    ResourceRefused: _resource_refused,
    FaultApplied: _fault,
    NatShared: _nat_shared,
    VirtualIpAssigned: _vip_assigned,
    VirtualIpReleased: _vip_released,
}
