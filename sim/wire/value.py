"""The class decorator of the many small values that each message makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A dataclass with slots that compares and hashes by its fields, and that nobody changes.

    The type checker refuses assignments; at run time nothing does, because a frozen dataclass takes three
    times as long to make, and a handshake makes a hundred.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
