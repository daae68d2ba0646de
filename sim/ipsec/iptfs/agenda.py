"""When which SA has something to do: many deadlines that move often, one that is next."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K")


class Agenda(Generic[K]):
    """Each key has one deadline (ns) or none; what was said last counts."""

    __slots__ = ("_at", "_count", "_heap")

    def __init__(self) -> None:
        self._at: dict[K, int] = {}
        self._heap: list[tuple[int, int, K]] = []
        self._count = 0  # among equal deadlines the first that was set comes first

    def set(self, key: K, at: int | None) -> None:
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            self._count += 1
            heappush(self._heap, (at, self._count, key))

    @property
    def next_timer(self) -> int | None:
        heap = self._heap
        while heap and self._at.get(heap[0][2]) != heap[0][0]:
            heappop(heap)  # that deadline was moved
        return heap[0][0] if heap else None

    def due(self, now: int) -> Iterator[K]:
        """Those whose deadline has come, each once; it is taken away."""
        while (at := self.next_timer) is not None and at <= now:
            _, _, key = heappop(self._heap)
            del self._at[key]
            yield key
