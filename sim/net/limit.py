"""A token bucket: at most a burst at once, at most a rate in the long run (RFC 4443 2.4 (f))."""

from __future__ import annotations

from sim.units import NS_PER_S


class TokenBucket:
    def __init__(self, rate_per_s: int, burst: int) -> None:
        self._cost = NS_PER_S // rate_per_s
        self._depth = burst * self._cost
        self._empty_at = -self._depth  # the bucket holds now - empty_at, at most its depth

    def take(self, now: int) -> bool:
        """Whether a token was there; it is gone now."""
        empty_at = max(self._empty_at, now - self._depth)
        if empty_at + self._cost > now:
            return False
        self._empty_at = empty_at + self._cost
        return True
