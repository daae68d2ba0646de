"""Outer packets back in order, as far as that is worth waiting for (RFC 9347 2.2.3, 2.5).

expected    top
   | . x . x |       up to `size` numbers beyond the expected one; x has arrived and waits
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.ipsec.iptfs.items import Aggregate


class Reorder:
    """`size` later packets, each for `drop_time` ns at most, wait for a missing one; 0 waits for none."""

    __slots__ = ("_drop_time", "_expected", "_held", "_size", "_top")

    def __init__(self, size: int, drop_time: int) -> None:
        self._size = size
        self._drop_time = drop_time
        self._expected = 1  # RFC 4303 2.2: the first packet of an SA
        self._top = 0
        self._held: dict[int, Aggregate] = {}

    def put(self, packet: Aggregate) -> bool:
        """Take a packet; False when its turn is over. No number comes twice: ESP sees to that."""
        if packet.seq < self._expected:
            return False
        self._held[packet.seq] = packet
        self._top = max(self._top, packet.seq)
        return True

    def ready(self, now: int) -> Iterator[Aggregate | None]:
        """The packets whose turn it is; None stands for one or more in a row that are lost."""
        while self._held:
            packet = self._held.pop(self._expected, None)
            if packet is not None:
                self._expected += 1
                yield packet
                continue
            lowest = min(self._held)
            beyond = lowest if self._held[lowest].at + self._drop_time <= now else self._top - self._size
            if beyond <= self._expected:
                return
            self._expected = min(lowest, beyond)
            yield None

    @property
    def next_timer(self) -> int | None:
        """When the first of those that wait has waited long enough."""
        return self._held[min(self._held)].at + self._drop_time if self._held else None
