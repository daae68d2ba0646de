"""What became of the packets of one flow: RFC 4737 reordering, one-way delay, outages."""

from __future__ import annotations

from array import array
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sim.traffic.outages import NEVER, Outage, find_outages


class Drop(NamedTuple):
    """When (ns), where and why a packet was dropped."""

    at: int
    node: str
    reason: str


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
    _dropped: array[int] = field(default_factory=lambda: array("q"))  # seq, time and place of each, in a row
    _places: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        return len(self.sent_at)

    def send(self, now: int, size: int) -> int:
        """Note a packet of `size` octets that leaves now; its sequence number."""
        self.sent_at.append(now)
        self.received_at.append(NEVER)
        self.octets_sent += size
        return len(self.sent_at) - 1

    def receive(self, seq: int, now: int, size: int) -> None:
        """Note the arrival of a packet that was sent."""
        if self.received_at[seq] != NEVER:
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
        arrived = received != NEVER
        latencies: npt.NDArray[np.int64] = received[arrived] - sent[arrived]
        return latencies

    def drop(self, seq: int, now: int, node: str, reason: str) -> None:
        """Note that a node dropped a packet, or a part of it."""
        place = self._places.setdefault((node, reason), len(self._places))
        self._dropped.extend((seq, now, place))

    def in_flight(self, under_way: Collection[int] = ()) -> int:
        """How many packets may still arrive. `under_way`: the numbers of those that the network still has."""
        return int(np.count_nonzero(self.is_in_flight(under_way)))

    def is_in_flight(self, under_way: Collection[int] = ()) -> npt.NDArray[np.bool_]:
        """Of each packet whether it may still arrive: it has not arrived, and no part of it was dropped."""
        found = np.zeros(self.sent, np.bool_)
        found[list(under_way)] = True
        found[self._drop_rows()[:, 0]] = False
        found[np.array(self.received_at, np.int64) != NEVER] = False
        return found

    def lost(self, under_way: Collection[int] = ()) -> int:
        """Sent, and neither arrived nor in flight."""
        return self.sent - self.received - self.in_flight(under_way)

    def goodput_bps(self) -> float | None:
        """Octets of whole IP packets that arrived, over the time in which the flow meant to send.

        None where that is a single moment, as of a replay of one packet.
        """
        first, last = self.period
        if last - first > 1:
            return self.octets_received * 8e9 / (last - first)
        return None if self.octets_received else 0.0

    def outages(self, end: int, under_way: Collection[int] = ()) -> list[Outage]:
        """The times in which the flow stood still, in a run until `end`; see `sim.traffic.outages`."""
        settled = np.flatnonzero(~self.is_in_flight(under_way))
        sent, received = (
            np.array(self.sent_at, np.int64)[settled],
            np.array(self.received_at, np.int64)[settled],
        )
        return find_outages(settled, sent, received, self.sent_at[0], end) if len(settled) else []

    def drops(self, outage: Outage) -> list[Drop]:
        """What the network dropped of the packets that an outage lost, in the order of time."""
        rows = self._drop_rows()
        places = list(self._places)
        chosen = rows[(rows[:, 0] >= outage.first) & (rows[:, 0] <= outage.last)]
        return sorted(Drop(at, *places[place]) for _, at, place in chosen.tolist())

    def _drop_rows(self) -> npt.NDArray[np.int64]:
        """A row (seq, time, place) for each."""
        return np.array(self._dropped, np.int64).reshape(-1, 3)
