"""When a flow stood still: times without arrivals, and the packets that were lost in them.

Packets that were lost in a row were due between the arrivals of their neighbours, and that is their outage.
Where packets overtake each other the neighbours say little. There a row was due anywhere from its first
sending plus the shortest delay to its last plus the longest, and its outage is the silence in there in which
most packets were due, one median delay after their sending. It is none, but loss alone, when that silence is
one that overtaking makes by itself: fewer than `OUTAGE_PACKETS` were due in it, or less than twice as many as
in a silence without a row, of the `LOOK_BACK` before it. What comes later has no say, except at the start of
a flow: there the first `AT_LEAST` silences tell what is usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

OUTAGE_PACKETS = 3
"""So many packets lost in a row are an outage; fewer are loss."""

LOOK_BACK = 1000
"""So many silences before a row are compared with the one in it."""

AT_LEAST = 100
"""So many are compared in any case: the first of the flow, where fewer have gone before."""

NEVER = -1
"""The arrival of a packet that has not arrived."""

Times = npt.NDArray[np.int64]


class Outage(NamedTuple):
    """A time in which nothing of a flow arrived although packets were due (ns).

    From the last arrival before it, or the sending of the flow's first packet when none had arrived, to the
    next arrival, or the end of the run. `packets` were lost in a row; `first` and `last` are their numbers.
    """

    from_at: int
    to_at: int
    packets: int
    first: int
    last: int


class _Row(NamedTuple):
    """Lost packets: positions [start, stop) among those whose fate is known."""

    start: int
    stop: int


def find_outages(numbers: Times, sent: Times, received: Times, begin: int, end: int) -> list[Outage]:
    """The outages of packets whose fate is known, given in the order of sending, in the order of time.

    `begin` is when the flow sent its first packet, `end` the end of the run.
    """
    finder = _Finder(sent, received, begin, end)
    found: dict[tuple[int, int], Outage] = {}
    for row in finder.rows:
        times = finder.outage(row)
        if times is not None:
            first, last = int(numbers[row.start]), int(numbers[row.stop - 1])
            before = found.get(times, Outage(*times, 0, first, last))
            found[times] = Outage(*times, before.packets + row.stop - row.start, before.first, last)
    return [found[times] for times in sorted(found)]


class _Finder:
    def __init__(self, sent: Times, received: Times, begin: int, end: int) -> None:
        self._sent = sent
        self._received = received
        lost = received == NEVER
        self.rows = list(_rows(lost))
        self._end = max(end, int(received.max(initial=begin)))
        self._edges = np.unique(np.concatenate(([begin], received[~lost], [self._end])))
        self._overtaken = _overtaken(received)
        delays = (received - sent)[~lost]
        self._shortest, self._longest = (int(delays.min()), int(delays.max())) if len(delays) else (0, 0)
        due_at = sent + (int(np.median(delays)) if len(delays) else 0)
        self._due = np.diff(np.searchsorted(due_at, self._edges))  # in each silence
        self._quiet = self._without_rows()

    def outage(self, row: _Row) -> tuple[int, int] | None:
        if not self._is_overtaking(row):
            return self._between_neighbours(row)
        first, after = self._reach(row)
        if first == after:
            return None
        lengths = np.diff(self._edges)
        index = max(range(first, after), key=lambda i: (self._due[i], lengths[i], -i))
        if self._due[index] < max(OUTAGE_PACKETS, 2 * self._usually_due(first)):
            return None
        return int(self._edges[index]), int(self._edges[index + 1])

    def _between_neighbours(self, row: _Row) -> tuple[int, int] | None:
        before_at = int(self._received[row.start - 1]) if row.start else int(self._edges[0])
        after_at = int(self._received[row.stop]) if row.stop < len(self._received) else self._end
        return (before_at, after_at) if before_at < after_at else None

    def _is_overtaking(self, row: _Row) -> bool:
        """Whether a packet was overtaken that was sent near enough to meet one of the row."""
        spread = self._longest - self._shortest
        near = self._sent[row.start] - spread, self._sent[row.stop - 1] + spread
        first, after = (
            np.searchsorted(self._sent, near[0], "left"),
            np.searchsorted(self._sent, near[1], "right"),
        )
        return bool(self._overtaken[first:after].any())

    def _reach(self, row: _Row) -> tuple[int, int]:
        """The silences [first, after) in which packets of the row may have been due."""
        low = self._sent[row.start] + self._shortest
        high = self._sent[row.stop - 1] + self._longest
        first = int(np.searchsorted(self._edges, low, "right")) - 1
        after = int(np.searchsorted(self._edges, high, "left"))
        return max(first, 0), min(after, len(self._edges) - 1)

    def _without_rows(self) -> Times:
        """The silences that no row can explain."""
        quiet = np.ones(len(self._due), np.bool_)
        for row in self.rows:
            first, after = self._reach(row)
            quiet[first:after] = False
        quiet[-1:] = False  # what was due at the end is under way
        return np.flatnonzero(quiet)

    def _usually_due(self, before: int) -> int:
        """The most packets that were due in one of the silences without a row that came before this one."""
        count = int(np.searchsorted(self._quiet, before))
        compared = self._quiet[max(0, count - LOOK_BACK) : max(count, AT_LEAST)]
        return int(self._due[compared].max(initial=0))


def _rows(lost: npt.NDArray[np.bool_]) -> Iterator[_Row]:
    edges = np.flatnonzero(np.diff(lost, prepend=False, append=False))
    for start, stop in edges.reshape(-1, 2).tolist():
        if stop - start >= OUTAGE_PACKETS:
            yield _Row(start, stop)


def _overtaken(received: Times) -> npt.NDArray[np.bool_]:
    """Of each packet whether it arrived after one that was sent later (RFC 4737 3)."""
    never = np.iinfo(np.int64).max
    arrivals = np.where(received == NEVER, never, received)
    earliest_later = np.append(np.minimum.accumulate(arrivals[::-1])[::-1][1:], never)
    overtaken: npt.NDArray[np.bool_] = (received != NEVER) & (received > earliest_later)
    return overtaken
