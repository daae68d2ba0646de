"""The anti-replay window (RFC 4303 3.4.3) and the high half of extended sequence numbers (Appendix A).

          bottom = top - size + 1                  top
    too old | 1 0 1 1 1 0 1 1 1 1 1 1 1 1 0 1 1 1 1 |  newer: moves the window
                                          bitmap, bit 0 is the top

A jump of any width costs one shift of at most `size` bits, and a larger window hardly more: what the ring of
RFC 6479 is for, whose verdicts these are, but that the number `size` behind the top is too old, as RFC 4303
draws it. Re-synchronisation after the loss of 2^32 packets in a row (Appendix A3) is in `sim.ipsec.esp`.
"""

from __future__ import annotations

MIN_SIZE = 32
MAX_SIZE = 4096
_LOW = 0xFFFFFFFF
_BEYOND = 1 << 64


def check_size(size: int) -> None:
    """ValueError for what no replay window has."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"a replay window has {MIN_SIZE} to {MAX_SIZE} entries, not {size}")


class ReplayWindow:
    """Which sequence numbers an inbound SA has accepted, as far back as `size` allows.

    `recover` and `check` change nothing, so they may be asked about packets that nobody has authenticated;
    `accept` is for packets whose ICV holds. `seen` has a bit for each number from the top on downwards,
    `mask` one for each place.
    """

    __slots__ = ("_esn", "mask", "seen", "size", "top")

    def __init__(self, size: int, *, esn: bool = False) -> None:
        check_size(size)
        self.size = size
        self.top = 0
        self.seen = 0
        self.mask = (1 << size) - 1
        self._esn = esn

    def recover(self, low: int) -> int:
        """The whole sequence number of a packet that shows `low`; 0, which no packet has, if none fits."""
        return self._extend(low) if self._esn else low

    def check(self, seq: int) -> bool:
        """Whether a packet with this number would be new: not seen, not too old, not zero."""
        behind = self.top - seq
        if behind < 0:
            return True
        return seq > 0 and behind < self.size and not self.seen >> behind & 1

    def is_late(self, seq: int) -> bool:
        """Whether this number lies left of the window, so that nobody knows whether it was seen."""
        return 0 < seq <= self.top - self.size

    def accept(self, seq: int) -> bool:
        """Mark a number that `check` allowed as seen; True when it is the newest so far."""
        ahead = seq - self.top
        if ahead > 0:
            # A jump beyond the window clears it; shifting that far would only make a big integer.
            kept = self.seen << ahead & self.mask if ahead < self.size else 0
            self.seen = kept | 1
            self.top = seq
            return True
        self.seen |= 1 << -ahead
        return False

    def _extend(self, low: int) -> int:
        """RFC 4303 A2.1: the number that lies in the window or next above it."""
        high, top_low = self.top >> 32, self.top & _LOW
        bottom = top_low - self.size + 1
        if bottom >= 0:
            high += low < bottom
        else:
            # The window reaches back into the previous 2^32 numbers.
            high -= low >= bottom & _LOW
        seq = high << 32 | low
        return seq if 0 <= seq < _BEYOND else 0
