"""How long a NAT keeps an idle mapping, found out on the way, so that keepalives are as rare as they may be.

The search is that of RFC 5780 4.6: longer and longer idle times, then bisection between the longest that the
mapping has outlived and the shortest that it has not. Instead of asking a STUN server, a question in the IKE
SA tells by NAT_DETECTION_DESTINATION_IP whether the peer still sees us where it did (RFC 4555 3.8). What is
found is used less a sixteenth, for clocks and delays; then one keepalive in ten is a question as well, since
NATs change.

What this cannot see is a NAT that forgets a mapping and makes the same one again: such a one would be found
out by packets of the peer alone. So no time is tried that is longer than `limit`, by default below the two
minutes that every NAT has to keep a mapping (RFC 4787 REQ-5). And a time that is too long is paid for: until
the question is asked, nothing that the peer sends arrives.
"""

from __future__ import annotations

from sim.units import NS_PER_S

_FINEST = NS_PER_S
_CHECKED = 10
"""One in so many keepalives is a question, when nothing is left to be found out."""


class MappingLife:
    """What is known of a mapping's life; ns. `first` is taken for safe, as a fixed interval would be."""

    def __init__(self, first: int, limit: int) -> None:
        self._first, self._limit = first, max(first, limit)
        self._where: object = None
        self.reset()

    def reset(self) -> None:
        """Another NAT, or none: begin again."""
        self.outlived, self.lost_after = self._first, 0
        self._measurable = True
        self._kept = 0

    def at(self, where: object) -> None:
        """The addresses of the path; what was measured holds for these alone."""
        if where != self._where:
            self._where = where
            self.reset()

    @property
    def trial(self) -> int:
        """The idle time to try next; 0 when it is known well enough."""
        if not self._measurable:
            return 0
        if not self.lost_after:
            longer = min(2 * self.outlived, self._limit)
            return longer if longer > self.outlived else 0
        gap = self.lost_after - self.outlived
        return self.outlived + gap // 2 if gap > max(self.outlived // 8, _FINEST) else 0

    @property
    def interval(self) -> int:
        """How long to wait for the next keepalive or trial."""
        return self.trial or self.settled

    @property
    def settled(self) -> int:
        """What has been found to be safe so far."""
        return max(self._first, self.outlived - self.outlived // 16)

    def asks(self, *, known: bool) -> bool:
        """Whether to make the next keepalive a question; counts it. `known` is where the peer sees us."""
        self._kept += 1
        return self._measurable and (not known or bool(self.trial) or self._kept % _CHECKED == 0)

    def survived(self, idle: int) -> None:
        self.outlived = max(self.outlived, idle)
        if self.lost_after <= self.outlived:
            self.lost_after = 0  # it was lost for another reason

    def lost(self, idle: int) -> None:
        """What is lost after a time that it has outlived before is of another NAT, or of a restarted one."""
        if idle <= self.outlived:
            self.reset()
        else:
            self.lost_after = idle

    def give_up(self) -> None:
        """The peer does not say where it sees us."""
        self._measurable = False
