"""Class decorators of what each message needs many of: small values, and enumerations."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A dataclass with slots that compares and hashes by its fields, and that nobody changes.

    The type checker refuses assignments; at run time nothing does, because a frozen dataclass takes three
    times as long to make, and a handshake makes a hundred.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


E = TypeVar("E", bound=Enum)


def quick(cls: type[E]) -> type[E]:
    """An enumeration whose members are plain attributes of the class, as they are from Python 3.12 on.

    Python 3.11 calls a function for each `Color.RED`, which a handshake does hundreds of times.
    """
    for name, member in cls.__members__.items():
        type.__setattr__(cls, name, member)
    return cls
