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
        self._data = memoryview(data)
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
        start = self._advance(size)
        return bytes(self._data[start : start + size])

    def rest(self) -> bytes:
        start = self.offset
        self.offset = self._end
        return bytes(self._data[start:])

    def sub(self, size: int) -> Reader:
        """A reader over the next `size` octets, all of which the body of a `with` over it must consume."""
        start = self._advance(size)
        return Reader(self._data[start : start + size], self.base + start)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            self.done()

    def done(self) -> None:
        if self.offset != self._end:
            raise WireError(f"{self.remaining} octets too many at offset {self.base + self.offset}")

    def _advance(self, size: int) -> int:
        start = self.offset
        if size < 0 or start + size > self._end:
            raise self._too_short(size)
        self.offset = start + size
        return start

    def _too_short(self, size: int) -> WireError:
        return WireError(
            f"{size} octets wanted at offset {self.base + self.offset}, {self.remaining} are left"
        )
