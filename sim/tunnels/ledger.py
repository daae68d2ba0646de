"""What has become of every IKE SA and Child SA of a node, kept after they are gone.

The endpoint and the engine forget an SA when it ends; a summary must not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sim.ike.constants import ProtocolId
from sim.ike.events import (
    ChildFailed,
    ChildSaDown,
    ChildSaRetired,
    ChildSaUp,
    Event,
    IkeKeysDerived,
    IkeSaDown,
    IkeSaUp,
    KeepaliveSent,
    MessageReceived,
    MessageSent,
    PathChanged,
    Reason,
    Rejected,
    VirtualIpAssigned,
)
from sim.ipsec.compress import Tally
from sim.ipsec.sad import Pair
from sim.wire.address import Sock
from sim.wire.resource import Share
from sim.wire.selector import Selector


@dataclass(slots=True)
class CompressionRecord:
    """IPComp of one Child SA: packets that travelled compressed, and what all payloads were and became."""

    cpi_in: int
    cpi_out: int
    packets_in: int = 0
    packets_out: int = 0
    ratio_in: float | None = None
    ratio_out: float | None = None
    """Octets before compression to octets after it; None without a packet."""

    def count(self, inbound: Tally | None, outbound: Tally | None) -> None:
        if inbound is not None:
            self.packets_in, self.ratio_in = inbound.packets, inbound.ratio
        if outbound is not None:
            self.packets_out, self.ratio_out = outbound.packets, outbound.ratio


@dataclass(slots=True)
class ChildRecord:
    """One Child SA. The counters are those of its end; `Ledger.settle` fills them in while it lives."""

    name: str
    mode: str
    protocol: str
    encap: bool
    spi_in: int
    spi_out: int
    local_ts: tuple[Selector, ...]
    remote_ts: tuple[Selector, ...]
    state: str = "installed"
    reason: Reason = Reason.NONE
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    compression: CompressionRecord | None = None
    share: Share | None = None
    ecn_alarms: int = 0
    """Packets with congestion marks that nothing sound makes (RFC 6040 4.2)."""

    def count(self, pair: Pair) -> None:
        """Take the counters of the data plane: inner packets and their octets (RFC 4301 5.1).

        `packets_out` counts what was protected. If no route or no link takes it afterwards, it is among the
        drops of the node as well, and its sequence number is spent.
        """
        inbound, outbound, _ = pair
        self.packets_in, self.bytes_in = inbound.packets, inbound.bytes
        self.ecn_alarms = inbound.ecn_alarms
        self.packets_out, self.bytes_out = outbound.packets, outbound.bytes
        if self.compression is not None:
            self.compression.count(inbound.tally, outbound.tally)


@dataclass(slots=True)
class Keepalives:
    """What kept a mapping: keepalives, answered probes, octets of their IP packets, wake-ups of a radio.

    `until_at` is the last of them, in ns.
    """

    sent: int = 0
    probes: int = 0
    bytes: int = 0
    wakeups: int = 0
    until_at: int = -1


@dataclass(slots=True)
class IkeRecord:
    """One IKE SA, from the first message on, with the IKE SAs that replaced it when it was rekeyed.

    `state` is connecting, established, closed (ended after it was up) or failed (never came up). Times are
    ns, -1 for never; `reason_at` is that of the reason. `esp_remote` is where ESP goes, if IKE
    goes elsewhere. `sent`, `received` and `retransmits` count messages.
    `setup_` is what IKE_SA_INIT or IKE_SESSION_RESUME, IKE_INTERMEDIATE and IKE_AUTH took: answers to a first
    request, and all messages with their datagrams and octets from the IKE header on, repeated ones too.
    `vips` are the virtual IPs that it has or had, this host's or the peer's; `dns` came with this host's own.
    """

    ike_id: int
    connection: str = ""
    initiator: bool = False
    state: str = "connecting"
    reason: Reason = Reason.NONE
    text: str = ""
    reason_at: int = -1
    spi_i: bytes = b""
    spi_r: bytes = b""
    proposal: str = ""
    local: Sock | None = None
    remote: Sock | None = None
    esp_remote: Sock | None = None
    nat_local: bool = False
    nat_remote: bool = False
    encap: bool = False
    established_at: int = -1
    ended_at: int = -1
    sent: int = 0
    received: int = 0
    retransmits: int = 0
    rekeys: int = 0
    setup_round_trips: int = 0
    setup_messages: int = 0
    setup_datagrams: int = 0
    setup_bytes: int = 0
    ppk: bool = False
    resumed: bool = False
    keepalives: Keepalives = field(default_factory=Keepalives)
    vips: list[bytes] = field(default_factory=list)
    dns: tuple[bytes, ...] = ()
    failed_child: str = ""
    children: dict[int, ChildRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node made no IKE SA of a request, of which it keeps nothing else; `at` in ns."""

    at: int
    reason: Reason
    text: str


KEPT_REFUSALS = 1000


class Ledger:
    """The records of one node, by the endpoint's number for the SA, and its last refusals, by SPIi.

    `keep` bounds how many SAs that have ended are remembered, and how many Child SAs of each, the last ones;
    None keeps all.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.records: dict[int, IkeRecord] = {}
        self.refusals: dict[bytes, Refusal] = {}
        self._keep = keep
        self._ended: deque[int] = deque()
        self._newest = 0
        self._successors: dict[int, int] = {}

    def enter(self, event: Event, pair: Pair | None, now: int) -> None:
        """Note one event; `pair` is what the data plane has of a Child SA that goes down."""
        if isinstance(event, Rejected):
            self._refused(event, now)
            return
        enter = _ENTER.get(type(event))
        if enter is None:
            return
        if isinstance(event, IkeSaDown) and self._ends_unnoticed(event):
            return
        if isinstance(event, IkeSaUp) and event.replaces:
            self._succeed(event)
        record = self._record(event.ike_id)  # type: ignore[union-attr]
        if record is None:
            return
        enter(record, event, now)
        if pair is not None and isinstance(event, ChildSaDown):
            record.children[event.spi_in].count(pair)
        if self._keep is not None:
            self._prune(event, record, self._keep)

    def settle(self, sad: Callable[[int], Pair | None]) -> Iterable[IkeRecord]:
        """All records, with the present counters of the Child SAs that are installed."""
        for record in self.records.values():
            for child in record.children.values():
                if (pair := sad(child.spi_in)) is not None:
                    child.count(pair)
        return self.records.values()

    def _record(self, ike_id: int) -> IkeRecord | None:
        """The record, a new one for an SA never seen before; None for one that is forgotten, or for 0."""
        ike_id = self._successors.get(ike_id, ike_id)
        if ike_id > self._newest:
            self._newest = ike_id
            self.records[ike_id] = IkeRecord(ike_id)
        return self.records.get(ike_id)

    def _succeed(self, event: IkeSaUp) -> None:
        """A record goes on under the number of the IKE SA that has replaced its own."""
        old = self.records.pop(event.replaces, None)
        if old is None:
            return
        new = self.records.pop(event.ike_id, old)
        for name in ("sent", "received", "retransmits"):
            setattr(old, name, getattr(old, name) + getattr(new, name) * (new is not old))
        old.ike_id, old.rekeys = event.ike_id, old.rekeys + 1
        self.records[event.ike_id] = old
        before = [number for number, successor in self._successors.items() if successor == event.replaces]
        self._successors.update(dict.fromkeys([*before, event.replaces], event.ike_id))

    def _ends_unnoticed(self, event: IkeSaDown) -> bool:
        """Whether the connection goes on with another IKE SA; one that never served is forgotten."""
        if event.reason is Reason.REDUNDANT:
            self.records.pop(event.ike_id, None)
            return True
        return self._successors.pop(event.ike_id, None) is not None

    def _refused(self, event: Rejected, now: int) -> None:
        if event.why and event.spi_i:
            self.refusals.pop(event.spi_i, None)
            self.refusals[event.spi_i] = Refusal(now, event.why, event.text)
            if len(self.refusals) > KEPT_REFUSALS:
                del self.refusals[next(iter(self.refusals))]

    def _prune(self, event: Event, record: IkeRecord, keep: int) -> None:
        if isinstance(event, IkeSaDown):
            self._ended.append(event.ike_id)
            if len(self._ended) > keep:
                self.records.pop(self._ended.popleft(), None)
        elif isinstance(event, ChildSaDown):
            ended = [spi for spi, child in record.children.items() if child.state == "deleted"]
            for spi in ended[:-keep]:
                del record.children[spi]


def _keys(record: IkeRecord, event: IkeKeysDerived, _now: int) -> None:
    record.spi_i, record.spi_r = event.spi_i, event.spi_r


def _up(record: IkeRecord, event: IkeSaUp, now: int) -> None:
    record.connection, record.initiator, record.state = event.connection, event.initiator, "established"
    record.spi_i, record.spi_r, record.proposal = event.spi_i, event.spi_r, event.proposal
    record.local, record.remote, record.encap = event.local, event.remote, event.encap
    record.nat_local, record.nat_remote = event.nat_local, event.nat_remote
    record.ppk = event.ppk
    record.resumed = record.resumed or event.resumed
    if not event.replaces:
        record.established_at = now


def _down(record: IkeRecord, event: IkeSaDown, now: int) -> None:
    record.connection = event.connection
    record.state = "failed" if record.established_at < 0 else "closed"
    record.reason, record.text = event.reason, event.text
    record.reason_at = record.ended_at = now


def _path(record: IkeRecord, event: PathChanged, _now: int) -> None:
    record.local, record.remote = event.local, event.ike_remote or event.remote
    record.esp_remote = event.remote if event.ike_remote else None
    record.nat_local, record.nat_remote, record.encap = event.nat_local, event.nat_remote, event.encap
    for spi in event.spis_in:
        child = record.children[spi]
        child.encap = event.encap and child.protocol == ProtocolId.ESP.name


def _child_up(record: IkeRecord, event: ChildSaUp, _now: int) -> None:
    if record.failed_child == event.child:  # it did not work at first
        record.failed_child, record.reason, record.text = "", Reason.NONE, ""
    record.children[event.spi_in] = ChildRecord(
        event.child,
        event.mode.value,
        event.suite.protocol.name,
        event.encap,
        event.spi_in,
        event.spi_out,
        event.local_ts,
        event.remote_ts,
        compression=CompressionRecord(event.cpi_in, event.cpi_out) if event.cpi_in else None,
        share=event.share,
    )


def _child_down(record: IkeRecord, event: ChildSaDown, _now: int) -> None:
    child = record.children[event.spi_in]
    child.state, child.reason = "deleted", event.reason


def _child_retired(record: IkeRecord, event: ChildSaRetired, _now: int) -> None:
    record.children[event.spi_in].state = "rekeyed"


def _child_failed(record: IkeRecord, event: ChildFailed, now: int) -> None:
    record.reason, record.text, record.reason_at = event.reason, event.text, now
    record.failed_child = event.child


def _virtual_ip(record: IkeRecord, event: VirtualIpAssigned, _now: int) -> None:
    record.dns = event.dns
    if event.address not in record.vips:
        record.vips.append(event.address)


_SETUP = frozenset({"IKE_SA_INIT", "IKE_SESSION_RESUME", "IKE_INTERMEDIATE", "IKE_AUTH"})


def _count_setup(record: IkeRecord, event: MessageSent | MessageReceived) -> None:
    if event.exchange in _SETUP:
        record.setup_round_trips += event.response and not event.retransmission
        record.setup_messages += 1
        record.setup_datagrams += event.fragments
        record.setup_bytes += event.size


def _sent(record: IkeRecord, event: MessageSent, _now: int) -> None:
    record.sent += 1
    _count_setup(record, event)
    record.retransmits += bool(event.retransmission)
    if record.local is None:
        record.spi_i, record.local, record.remote = event.spi_i, event.src, event.dst


def _kept(record: IkeRecord, event: KeepaliveSent, now: int) -> None:
    count = record.keepalives
    count.sent += not event.probe
    count.probes += event.probe
    count.bytes += event.size
    count.wakeups += event.woke
    count.until_at = now


def _received(record: IkeRecord, event: MessageReceived, _now: int) -> None:
    record.received += 1
    _count_setup(record, event)
    if record.local is None:
        record.spi_i, record.local, record.remote = event.spi_i, event.dst, event.src


_ENTER: dict[type, Callable[[IkeRecord, Any, int], None]] = {
    IkeKeysDerived: _keys,
    IkeSaUp: _up,
    IkeSaDown: _down,
    PathChanged: _path,
    ChildSaUp: _child_up,
    ChildSaRetired: _child_retired,
    ChildSaDown: _child_down,
    ChildFailed: _child_failed,
    VirtualIpAssigned: _virtual_ip,
    KeepaliveSent: _kept,
    MessageSent: _sent,
    MessageReceived: _received,
}
