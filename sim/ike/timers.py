"""All deadlines of an endpoint in one heap; what was re-armed or cancelled is dropped when it surfaces."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush

Fire = Callable[[int], None]

_SLACK = 64


class Timers:
    """Deadlines by key: arming a key again replaces its deadline. O(log n) of the deadlines armed."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Hashable]] = []
        self._armed: dict[Hashable, tuple[int, int, Fire]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._armed)

    def arm(self, key: Hashable, at: int, fire: Fire) -> None:
        self._count += 1
        self._armed[key] = (at, self._count, fire)
        heappush(self._heap, (at, self._count, key))
        if len(self._heap) > 2 * len(self._armed) + _SLACK:
            self._compact()

    def cancel(self, key: Hashable) -> None:
        self._armed.pop(key, None)

    def next(self) -> int | None:
        """The earliest deadline; valid until a timer is armed, cancelled or fired."""
        heap = self._heap
        while heap:
            at, count, key = heap[0]
            armed = self._armed.get(key)
            if armed is not None and armed[1] == count:
                return at
            heappop(heap)
        return None

    def fire_due(self, now: int) -> None:
        """Fire what is due, in order of deadline, then of arming; a timer may arm and cancel others."""
        while (at := self.next()) is not None and at <= now:
            key = heappop(self._heap)[2]
            fire = self._armed.pop(key)[2]
            fire(now)

    def _compact(self) -> None:
        self._heap = [(at, count, key) for key, (at, count, _) in self._armed.items()]
        heapify(self._heap)
