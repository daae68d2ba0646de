"""What follows from the look of a message, remembered: few shapes go back and forth (see `shape_of`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar, TypeVarTuple

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

Shape = tuple[int, ...]

LONGEST = 64
"""Payloads in a shape that is worth remembering; a flood of huge messages must not eat the memory."""


def remembered(answer: Callable[[Shape, *Ts], T]) -> Callable[[Shape, *Ts], T]:
    """The same function, whose first argument is a shape, with 256 of its answers kept."""
    known = lru_cache(256)(answer)

    @wraps(answer)
    def ask(shape: Shape, *others: *Ts) -> T:
        return known(shape, *others) if len(shape) <= LONGEST else answer(shape, *others)

    return ask
