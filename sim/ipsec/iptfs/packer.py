"""The sending queue of an AGGFRAG SA, cut into the data blocks of outer packets (RFC 9347 2.2).

    queue    [--750--][--750--][60][-240-][--3000----------------------]
    payloads |     1400     |      1400      |      1400      | 600 ...
             offset 0       offset 100       offset 2000      offset 600

Inner packets leave in the order in which they came, each right behind the one before. Where the peer takes no
pieces, one that does not fit any more begins the next payload.
"""

from __future__ import annotations

from collections import deque

from sim.ipsec.iptfs.items import Queued


class Packer:
    """Holds `limit` octets at most. `whole` is that inner packets are not cut."""

    __slots__ = ("_limit", "_queue", "_sent", "_whole", "octets")

    def __init__(self, limit: int, *, whole: bool) -> None:
        self._limit = limit
        self._whole = whole
        self._queue: deque[tuple[bytearray, Queued]] = deque()
        self._sent = 0  # how much of the first one has left
        self.octets = 0
        """How much waits."""

    def put(self, data: bytearray, item: Queued) -> bool:
        """Queue a packet, or one of several that `item` stands for; False where there is no room for it."""
        size = len(data)
        if self.octets + size > self._limit:
            return False
        self._queue.append((data, item))
        self.octets += size
        return True

    def pull(self, room: int) -> tuple[int, bytearray, tuple[object, ...]]:
        """BlockOffset, at most `room` octets of data blocks, and the tags of the packets that end there."""
        queue, blocks, tags = self._queue, bytearray(), []
        offset = len(queue[0][0]) - self._sent if self._sent else 0
        while queue and len(blocks) < room:
            data, item = queue[0]
            piece = memoryview(data)[self._sent : self._sent + room - len(blocks)]
            if self._whole and len(piece) < len(data):
                break
            blocks += piece
            self._sent += len(piece)
            if self._sent == len(data):
                queue.popleft()
                tags.append(item.tag)
                self._sent = 0
        self.octets -= len(blocks)
        return offset, blocks, tuple(tags)

    def clear(self) -> int:
        """Forget what waits, and say how many packets that were."""
        waiting = len(self._queue)
        self._queue.clear()
        self._sent = self.octets = 0
        return waiting
