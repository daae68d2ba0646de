"""The sender's rate (TCP Friendly Rate Control: RFC 5348 4, as RFC 9347 2.4.2 and Appendix B apply it).

The packet size is fixed, so the rate counts packets. X_recv is the sender's own rate, as Appendix B allows:
the tunnel always sends as much as it may. Oscillation prevention (RFC 5348 4.5) is left out.
"""

from __future__ import annotations

from sim.ipsec.iptfs.losses import throughput
from sim.units import NS_PER_S

_OLD_SHARE = 0.9
"""How much of the round trip estimate an answer leaves (RFC 5348 4.3)."""
_SLOWEST = 1 / 64
"""Packets/s: one each t_mbi (RFC 5348 4.3)."""
_FIRST = 1.0
"""Packets/s before a round trip is known (RFC 5348 4.2)."""
_SILENCE = 4
"""Round trips without a word of the peer that halve the rate."""


class RateControl:
    """`highest` is what was configured, packets/s; `size` the octets of a packet."""

    __slots__ = (
        *("_changed_at", "_heard_at", "_highest", "_initial_packets", "_loss_interval", "_measured"),
        *("rate", "rtt"),
    )

    def __init__(self, highest: float, size: int) -> None:
        self._highest = highest
        self._initial_packets = min(4.0, max(2.0, 4380 / size))
        self.rate = min(highest, _FIRST)
        """Packets/s."""
        self.rtt = 0
        """The round trip, ns; 0 as long as it is not known."""
        self._measured = 0  # the smoothed round trip of the path alone
        self._loss_interval = 0
        self._changed_at = self._heard_at = -1

    @property
    def interval(self) -> int:
        """From one packet to the next, ns."""
        return max(1, round(NS_PER_S / self.rate))

    def heard(self, sample: int, loss_interval: int, now: int, least: int = 0) -> None:
        """The peer's word: a round trip (ns), and 1 / its loss event rate, 0 for no loss.

        `least` is what both ends' intervals of sending add up to, below which no round trip counts (RFC 9347
        3). It is known and not measured, so it is not smoothed: slow start is as fast as packets leave.
        """
        first = not self.rtt
        measured = sample if first else round(_OLD_SHARE * self._measured + (1 - _OLD_SHARE) * sample)
        self._measured = max(1, measured)
        self.rtt = max(self._measured, least)
        worse = 0 < loss_interval < (self._loss_interval or loss_interval + 1)
        self._loss_interval, self._heard_at = loss_interval, now
        if not first and not worse and now - self._changed_at < self.rtt:
            return  # once a round trip, but at once if there was a loss event (RFC 5348 6.2)
        self._changed_at = now
        if first:
            self._set(self._initial_packets * NS_PER_S / self.rtt)
        elif loss_interval:
            self._set(min(throughput(1 / loss_interval, self.rtt / NS_PER_S), 2 * self.rate))
        else:
            self._set(max(2 * self.rate, self._initial_packets * NS_PER_S / self.rtt))

    def inherit(self, before: RateControl) -> None:
        """Go on at the rate of the SA that this one's SA succeeds: the path is the same."""
        self.rate, self.rtt, self._measured = min(self._highest, before.rate), before.rtt, before._measured
        self._changed_at, self._heard_at = before._changed_at, before._heard_at

    @property
    def silent_at(self) -> int | None:
        """When the peer has been silent for too long; None before it has said anything."""
        if self._heard_at < 0:
            return None
        return self._heard_at + max(_SILENCE * self.rtt, round(2 * NS_PER_S / self.rate))

    def check_silence(self, now: int) -> None:
        """Halve the rate if it is so (RFC 5348 4.4)."""
        at = self.silent_at
        if at is not None and now >= at:
            self._heard_at = now
            self._set(self.rate / 2)

    def _set(self, rate: float) -> None:
        self.rate = min(self._highest, max(rate, _SLOWEST))
