"""The reader that every codec parses with, and the one error it raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        self._data = memoryview(data)
        self._end = len(self._data)
        self.base = base
        self.offset = 0

    @property
    def remaining(self) -> int:
        return self._end - self.offset

    def unpack(self, layout: Struct) -> tuple[Any, ...]:
        start = self._advance(layout.size)
        return layout.unpack_from(self._data, start)

    def take(self, size: int) -> bytes:
        start = self._advance(size)
        return bytes(self._data[start : start + size])

    def rest(self) -> bytes:
        return self.take(self.remaining)

    @contextmanager
    def sub(self, size: int) -> Iterator[Reader]:
        """A reader over the next `size` octets, all of which the body of the `with` must consume."""
        start = self._advance(size)
        inner = Reader(self._data[start : start + size], self.base + start)
        yield inner
        inner.done()

    def done(self) -> None:
        if self.remaining:
            raise WireError(f"{self.remaining} octets too many at offset {self.base + self.offset}")

    def _advance(self, size: int) -> int:
        start = self.offset
        if size < 0 or start + size > self._end:
            raise WireError(f"{size} octets wanted at offset {self.base + start}, {self.remaining} are left")
        self.offset = start + size
        return start
