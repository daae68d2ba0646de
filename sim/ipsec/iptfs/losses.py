"""The receiver's loss event rate (RFC 5348 5, 6.3.1; RFC 9347 3.1, Appendix B).

    arrived  . . . . x . . x x . . . . . . . . x . . . .      x: lost, or marked by a router
    events           |<-- interval 2 --------->|<-- 0 -->
                       losses within one round trip of the first are one event

The loss interval, whose inverse is the rate, is a weighted mean over the last eight events, in packets.
"""

from __future__ import annotations

from collections import deque
from math import sqrt

from sim.units import NS_PER_S

_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2)
_KEPT = len(_WEIGHTS)
_HALVINGS = 60


def throughput(p: float, rtt: float) -> float:
    """Packets/s that a TCP would reach at loss event rate `p` and round trip `rtt` (s): RFC 9347 Appendix B.

    t_RTO is 4 round trips, b is 1 (RFC 5348 3.1).
    """
    return 1 / (rtt * (sqrt(2 * p / 3) + 12 * sqrt(3 * p / 8) * p * (1 + 32 * p * p)))


def loss_rate(rate: float, rtt: float) -> float:
    """The loss event rate at which `throughput` is `rate` packets/s: its inverse, between 1e-9 and 1."""
    low, high = 1e-9, 1.0
    for _ in range(_HALVINGS):
        middle = sqrt(low * high)
        if throughput(middle, rtt) > rate:
            low = middle
        else:
            high = middle
    return high


class LossHistory:
    """Tell it of every outer packet in order; what is missing between two numbers is lost."""

    __slots__ = ("_best", "_count", "_event_at", "_event_seq", "_intervals", "_since", "_top", "_top_at")

    def __init__(self) -> None:
        self._top = 0
        self._top_at = -1
        self._event_seq = 0
        self._event_at = 0
        self._intervals: deque[tuple[float, bool]] = deque(maxlen=_KEPT)  # newest first; by a mark?
        self._since = -1
        self._count = 0  # packets since then
        self._best = 0.0  # the highest receive rate so far, packets/s

    def arrived(self, seq: int, at: int, rtt: int, marked: bool) -> None:
        """Packet `seq` arrived at `at`; `rtt` is the sender's estimate. Both are ns; `rtt` 0 is unknown."""
        self._measure(at, rtt)
        if seq > self._top + 1 and self._top_at >= 0:
            self._missed(seq, at, rtt)
        if marked:
            self._lost(seq, at, rtt, True)
        self._top, self._top_at = seq, at

    @property
    def loss_interval(self) -> int:
        """1 / the loss event rate (RFC 5348 5.4); 0 as long as nothing was lost."""
        if not self._intervals:
            return 0
        closed = [length for length, _ in self._intervals]
        with_open = [float(self._top - self._event_seq + 1), *closed[: _KEPT - 1]]
        return max(1, round(max(_mean(closed), _mean(with_open[: len(closed)]))))

    @property
    def by_marks(self) -> bool:
        """Whether a congestion mark is part of it: the E bit (RFC 9347 3.1)."""
        return any(marked for _, marked in self._intervals)

    def _missed(self, seq: int, at: int, rtt: int) -> None:
        """The numbers before `seq`, each lost when it should have come (RFC 5348 5.2)."""
        step = (at - self._top_at) / (seq - self._top)
        missing = self._top + 1
        for _ in range(_KEPT):  # more events than are remembered make no difference
            if missing >= seq:
                return
            self._lost(missing, self._top_at + round((missing - self._top) * step), rtt, False)
            if not rtt:
                return
            missing = max(missing + 1, self._top + 1 + int((self._event_at + rtt - self._top_at) / step))

    def _lost(self, seq: int, at: int, rtt: int, marked: bool) -> None:
        if self._intervals and at <= self._event_at + rtt:
            return  # of the same event
        length = float(seq - self._event_seq) if self._intervals else self._first_interval(seq, rtt)
        self._intervals.appendleft((length, marked))
        self._event_seq, self._event_at = seq, at

    def _first_interval(self, seq: int, rtt: int) -> float:
        """What would have led to half the best rate so far, which is what slow start overshot (6.3.1)."""
        if not rtt or not self._best:
            return float(seq)
        return 1 / loss_rate(self._best / 2, rtt / NS_PER_S)

    def _measure(self, at: int, rtt: int) -> None:
        if self._since < 0:
            self._since = at
            return
        self._count += 1
        if rtt and at - self._since >= rtt:
            self._best = max(self._best, self._count * NS_PER_S / (at - self._since))
            self._since, self._count = at, 0


def _mean(intervals: list[float]) -> float:
    weights = _WEIGHTS[: len(intervals)]
    return sum(length * weight for length, weight in zip(intervals, weights, strict=True)) / sum(weights)
