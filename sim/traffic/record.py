"""What became of the packets of one flow: RFC 4737 reordering, one-way delay, outages."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

OUTAGE_PACKETS = 3
"""So many packets lost in a row are an outage; fewer are loss."""

_NEVER = -1


class Outage(NamedTuple):
    """A time in which nothing got through (ns).

    From the arrival of the last packet before it, or the sending of its first packet when none had arrived,
    to the arrival of the next packet, or the end of the run.
    """

    from_at: int
    to_at: int
    packets: int


@dataclass(slots=True)
class FlowRecord:
    """Packets by sequence number, from 0. `period` is when the flow meant to send: [first, last) in ns."""

    name: str
    period: tuple[int, int] = (0, 0)
    sent_at: array[int] = field(default_factory=lambda: array("q"))
    received_at: array[int] = field(default_factory=lambda: array("q"))
    """-1 where a packet has not arrived."""
    received: int = 0
    reordered: int = 0
    """Arrivals with a sequence number below one that had arrived before (RFC 4737 3)."""
    duplicates: int = 0
    damaged: int = 0
    """Arrivals whose checksum or payload was not what had been sent; they count as lost."""
    octets_sent: int = 0
    octets_received: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Packets of a replayed capture that were not sent, by reason."""
    _next_expected: int = 0

    @property
    def sent(self) -> int:
        return len(self.sent_at)

    def send(self, now: int, size: int) -> int:
        """Note a packet of `size` octets that leaves now; its sequence number."""
        self.sent_at.append(now)
        self.received_at.append(_NEVER)
        self.octets_sent += size
        return len(self.sent_at) - 1

    def receive(self, seq: int, now: int, size: int) -> None:
        """Note the arrival of a packet that was sent."""
        if self.received_at[seq] != _NEVER:
            self.duplicates += 1
            return
        self.received_at[seq] = now
        self.received += 1
        self.octets_received += size
        if seq < self._next_expected:
            self.reordered += 1
        else:
            self._next_expected = seq + 1

    def latencies(self) -> npt.NDArray[np.int64]:
        """The delay of each packet that arrived, in the order of sending (ns); of a ping the round trip."""
        sent, received = np.array(self.sent_at, np.int64), np.array(self.received_at, np.int64)
        arrived = received != _NEVER
        latencies: npt.NDArray[np.int64] = received[arrived] - sent[arrived]
        return latencies

    def in_flight(self, end: int) -> int:
        """How many of the last packets may still arrive: sent no longer ago than the longest delay."""
        if not self.received:
            return 0
        longest = int(self.latencies().max())
        count = 0
        for sent, received in zip(reversed(self.sent_at), reversed(self.received_at), strict=True):
            if sent + longest < end or received != _NEVER:
                break
            count += 1
        return count

    def lost(self, end: int) -> int:
        """Sent, not arrived, and not in flight when the run ended."""
        return self.sent - self.received - self.in_flight(end)

    def goodput_bps(self) -> float:
        """Octets of whole IP packets that arrived, over the time in which the flow meant to send."""
        first, last = self.period
        return self.octets_received * 8e9 / (last - first) if last > first else 0.0

    def outages(self, end: int) -> list[Outage]:
        """Every run of at least `OUTAGE_PACKETS` packets lost in a row, in the order of sending."""
        found, first = [], None
        considered = self.sent - self.in_flight(end)
        for seq in range(considered + 1):
            if seq < considered and self.received_at[seq] == _NEVER:
                first = seq if first is None else first
                continue
            if first is not None and seq - first >= OUTAGE_PACKETS:
                found.append(self._outage(first, seq, end))
            first = None
        return found

    def _outage(self, first: int, after: int, end: int) -> Outage:
        start = self.received_at[first - 1] if first else self.sent_at[0]
        stop = self.received_at[after] if after < self.sent and self.received_at[after] != _NEVER else end
        return Outage(start, max(start, stop), after - first)
