"""The reader that every codec parses with, and the one error it raises."""

from __future__ import annotations

from struct import Struct
from typing import Any

Buf = bytes | bytearray | memoryview


class WireError(Exception):
    """These octets are not the message that they claim to be; the text says which field is wrong."""


class Reader:
    """A cursor over octets that never reads past its end.

    Every method raises WireError when too few octets are left. `base` is the offset of `data` inside the
    whole message, so that an error names a position that a user finds in a capture.
    """

    __slots__ = ("_data", "_end", "base", "offset")

    def __init__(self, data: Buf, base: int = 0) -> None:
        self._data = bytes(data)
        self._end = len(self._data)
        self.base = base
        self.offset = 0

    @property
    def remaining(self) -> int:
        return self._end - self.offset

    def unpack(self, layout: Struct) -> tuple[Any, ...]:
        start = self.offset
        end = start + layout.size
        if end > self._end:
            raise self._too_short(layout.size)
        self.offset = end
        return layout.unpack_from(self._data, start)

    def take(self, size: int) -> bytes:
        start = self.offset
        end = start + size
        if size < 0 or end > self._end:
            raise self._negative(size) if size < 0 else self._too_short(size)
        self.offset = end
        return self._data[start:end]

    def rest(self) -> bytes:
        start = self.offset
        self.offset = self._end
        return self._data[start : self._end]

    def done(self) -> None:
        if self.offset != self._end:
            raise WireError(f"{self.remaining} octets too many at offset {self.base + self.offset}")

    def _negative(self, size: int) -> WireError:
        """A length that counts what was read already is smaller than that."""
        return WireError(f"a length is {-size} octets too small before offset {self.base + self.offset}")

    def _too_short(self, size: int) -> WireError:
        return too_short(size, self.base + self.offset, self.remaining)


def too_short(wanted: int, offset: int, left: int) -> WireError:
    """What to raise when fewer octets are left at an offset of the message than are wanted there."""
    return WireError(f"{wanted} octets wanted at offset {offset}, {left} are left")
