"""How late things were, counted in buckets: memory stays flat however long a run lasts."""

from __future__ import annotations

from typing import Any

from sim.units import NS_PER_MS, NS_PER_S

_STEPS = 16  # buckets for each doubling, so a percentile is at most 1/16 too high
_LIMITS = {"over_1_ms": NS_PER_MS, "over_10_ms": 10 * NS_PER_MS}


class Lateness:
    """Durations in ns, of which the largest, the percentiles and the numbers above two limits are known."""

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0
        self._buckets: dict[int, int] = {}
        self._over = dict.fromkeys(_LIMITS, 0)

    def add(self, late: int) -> None:
        """Note one duration; negative ones count as 0."""
        late = max(0, late)
        self.count += 1
        self.largest = max(self.largest, late)
        bucket = _bucket(late)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        if late > NS_PER_MS:
            for name, limit in _LIMITS.items():
                self._over[name] += late > limit

    def percentile(self, share: float) -> int:
        """What `share` (0 to 1) of the durations do not exceed (ns)."""
        wanted, seen = share * self.count, 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(_top(bucket), self.largest)
        return 0

    def row(self) -> dict[str, Any]:
        """For a summary: times in seconds."""
        shares = {
            f"p{round(100 * share)}_s": self.percentile(share) / NS_PER_S for share in (0.5, 0.95, 0.99)
        }
        return {"count": self.count, **shares, "max_s": self.largest / NS_PER_S, **self._over}


def _bucket(late: int) -> int:
    """Numbers below 2 * _STEPS have a bucket each, then every doubling has _STEPS."""
    shift = max(0, late.bit_length() - _STEPS.bit_length())
    return shift * _STEPS + (late >> shift)


def _top(bucket: int) -> int:
    """The largest number in a bucket."""
    if bucket < 2 * _STEPS:
        return bucket
    shift = bucket // _STEPS - 1
    return ((bucket - shift * _STEPS + 1) << shift) - 1
