"""Why connections failed or ended, joined from what both ends know of one IKE SA.

An end knows its own reasons; of the other's it knows what a message told. Both have the initiator's SPI in
common. Texts that begin with the peer's address tell what the peer did; all others are the end's own view.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sim.experiment.ladder import other_end
from sim.ike.events import Reason
from sim.scenario.world import World
from sim.tunnels.driver import IpsecDriver
from sim.tunnels.ledger import IkeRecord, Refusal
from sim.tunnels.narrate import LogEntry
from sim.tunnels.trace import Passage

_PEER = re.compile(r"^\S+\[\d+\]")
_ENDINGS = frozenset(
    {
        *(Reason.DELETED, Reason.REPLACED, Reason.MOVED, Reason.CRASHED, Reason.REAUTHENTICATED),
        *(Reason.COOKIE2_MISMATCH, Reason.CRASH_DETECTED, Reason.REDIRECTED),
    }
)
_CLOSER = frozenset(Reason) - {Reason.INVALID_KE_PAYLOAD}
"""What a refusal may be while the initiator was told something else, or nothing."""
_SILENCE = frozenset({Reason.TIMEOUT, Reason.ABANDONED})
_VERBS = {"have": "has", "do": "does"}


@dataclass(frozen=True, slots=True)
class View:
    """What one end says, at what time (ns)."""

    at: int
    reason: Reason
    text: str

    @property
    def own(self) -> bool:
        """Whether the end decided itself, or else tells what its peer did or did not do."""
        return _PEER.match(self.text) is None and self.reason is not Reason.DELETED_BY_PEER


@dataclass(slots=True)
class Failure:
    """One IKE SA that failed, ended, or could not make a Child SA; `views` are by node, one or two."""

    spi_i: bytes
    initiator: str
    responder: str
    connection: str
    passages: list[Passage]
    views: dict[str, View] = field(default_factory=dict)

    @property
    def at(self) -> int:
        return max(view.at for view in self.views.values())

    @property
    def word(self) -> str:
        """What the events table calls it: one that somebody wanted to end has not failed."""
        wanted = any(view.reason in _ENDINGS for view in self.views.values())
        return "ended" if wanted else "failure"

    def other(self, node: str) -> str:
        return self.responder if node == self.initiator else self.initiator

    @property
    def explanation(self) -> str:
        """One sentence about both ends, by their names."""
        for node in (self.responder, self.initiator):
            view = self.views.get(node)
            if view is not None and view.own:
                did = "ended it with" if view.reason in _ENDINGS else "refused"
                return f"{node} {did} {self.other(node)}: {self._told(node, view.text)}"
        node, view = next(iter(self.views.items()))
        told = self._told(node, view.text)
        fates = _fates(self.passages, node) if view.reason in _SILENCE else ""
        return f"{told}; {fates}" if fates else told

    def _told(self, node: str, text: str) -> str:
        """A text of one end, told by somebody else."""
        peer = self.other(node)
        text = _PEER.sub(peer, text)
        for words, name in (("the initiator", self.initiator), ("the responder", self.responder)):
            text = text.replace(words, name)
        text = text.replace("the peer", peer).replace("this host", node)
        text = re.sub(r"\bwe (accept|allow|need|have|know|do)\b", lambda m: f"{node} {_third(m[1])}", text)
        text = re.sub(r"\bour\b", f"{node}'s", text)
        return re.sub(r"\b(we|us)\b", node, text)


def failures(world: World) -> dict[bytes, Failure]:
    """Every IKE SA of the run with a reason at either end, by SPIi, in the order in which they began."""
    records = _records(world)
    troubled = {spi for spi, own in records.items() if any(record.reason for record in own.values())}
    troubled.update(*(stack.ledger.refusals for stack in world.stacks.values()))
    found: dict[bytes, Failure] = {}
    for spi, group in world.trace.by_spi().items():
        if spi in troubled:
            failure = _failure(world, spi, group, records.get(spi, {}))
            if failure.views:
                found[spi] = failure
    return found


def failure_entries(world: World) -> Iterator[LogEntry]:
    """A row of the events table for each of them."""
    for stack in world.stacks.values():
        hear_doubts(stack, world.sim.now)
    for failure in failures(world).values():
        node, name = failure.initiator, failure.connection
        yield LogEntry(failure.at, node, failure.word, name, detail=failure.explanation)


def hear_doubts(stack: IpsecDriver[Any], now: int) -> None:
    """What an unauthenticated error says of an SA that still goes on trying (RFC 7296 2.21.1)."""
    for sa in stack.endpoint.sas:
        record = stack.ledger.records.get(sa.ike_id)
        if record is not None and record.state == "connecting" and sa.reason:
            record.reason, record.text, record.reason_at = sa.reason, sa.text, now


def _records(world: World) -> dict[bytes, dict[str, IkeRecord]]:
    found: dict[bytes, dict[str, IkeRecord]] = {}
    for node, stack in world.stacks.items():
        for record in stack.ledger.records.values():
            found.setdefault(record.spi_i, {})[node] = record
    return found


def _failure(world: World, spi: bytes, group: list[Passage], records: dict[str, IkeRecord]) -> Failure:
    first, other = group[0], other_end(world, group)
    failure = Failure(spi, first.node, other, first.connection, group)
    for node in {first.node: None, other: None}:
        record = records.get(node)
        if record is not None:
            if record.reason:
                failure.views[node] = View(record.reason_at, record.reason, record.text)
            continue
        refusal = world.stacks[node].ledger.refusals.get(spi) if node in world.stacks else None
        if refusal is not None and _matters(refusal, records.get(first.node)):
            failure.views[node] = View(refusal.at, refusal.reason, refusal.text)
    return failure


def _matters(refusal: Refusal, record: IkeRecord | None) -> bool:
    """Whether a refusal is why an attempt gets nowhere; asking for another group is only a detour."""
    if record is None or record.established_at >= 0:
        return False
    if refusal.reason is Reason.TOO_MANY_HALF_OPEN:
        return True  # of which the initiator hears nothing
    return bool(record.reason) and refusal.reason in (record.reason, *_CLOSER)


def _fates(passages: list[Passage], node: str) -> str:
    """What became of the request that a node got no answer to, and of the answers."""
    requests = [p for p in passages if p.node == node and not p.response]
    if not requests:
        return ""
    last = requests[-1]
    first = max((n for n, p in enumerate(requests) if not p.retransmission), default=0)
    mine = requests[first:]
    answers = [
        p for p in passages
        if p.response and p.node != node and (p.exchange, p.message_id) == (last.exchange, last.message_id)
    ]  # fmt: skip
    return ", ".join([*_counted("requests", mine), *_counted("answers", answers)])


def _counted(what: str, passages: list[Passage]) -> Iterator[str]:
    counts = Counter(filter(None, map(_fate, passages)))
    for fate, count in counts.items():
        yield f"{count} of {len(passages)} {what} {fate}"


def _fate(passage: Passage) -> str:
    if passage.lost:
        return f"lost at {passage.end} ({passage.lost})"
    if passage.rejected:
        return f"without effect at {passage.end} ({passage.rejected})"
    return "" if passage.ended_at >= 0 else "on the way at the end"


def _third(verb: str) -> str:
    return _VERBS.get(verb, f"{verb}s")
