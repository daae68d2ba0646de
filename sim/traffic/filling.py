"""What payloads are filled with: it decides how well they compress."""

from __future__ import annotations

from collections.abc import Callable

RANDOM = "random"
COUNTING = bytes(range(256))


def filling(pattern: str | None, size: int, draw: Callable[[int], bytes]) -> bytes:
    """`size` octets: every value in turn, or octets in hex over and over, or drawn ones that never repeat."""
    if pattern == RANDOM:
        return draw(size)
    unit = COUNTING if pattern is None else bytes.fromhex(pattern)
    return (unit * (size // len(unit) + 1))[:size]
