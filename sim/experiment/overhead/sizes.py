"""Sizes of inner packets as people write them: "1400", "64,576,1400", "40..1500", "40..1500:20"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sim.experiment.overhead.errors import OverheadError
from sim.wire.ip import MAX_PACKET_BYTES

MAX_SIZES = 100_000
_ITEM = re.compile(r"(\d+)(?:\.\.(\d+)(?::(\d+))?)?")
_REMEDY = "write a size, a list or a range with or without a step: 1400, 64,576,1400, 40..1500, 40..1500:20"


def parse_sizes(text: str) -> tuple[int, ...]:
    """The sizes in the order given, each once; OverheadError says what to write."""
    sizes = tuple(dict.fromkeys(size for item in text.split(",") for size in _item(item.strip(), text)))
    if len(sizes) > MAX_SIZES:
        raise OverheadError(f"{text!r} are {len(sizes)} sizes: at most {MAX_SIZES} at a time")
    return sizes


def sizes_of(value: int | str | Iterable[int]) -> tuple[int, ...]:
    """What Python callers give: one size, text as above, or any sizes."""
    if isinstance(value, str):
        return parse_sizes(value)
    if isinstance(value, int):
        return (value,)
    sizes = tuple(dict.fromkeys(int(size) for size in value))
    if not sizes:
        raise OverheadError("no size at all: give at least one")
    return sizes


def _item(item: str, text: str) -> Iterable[int]:
    found = _ITEM.fullmatch(item)
    if found is None:
        raise OverheadError(f"{text!r} are no sizes: {_REMEDY}")
    first, last, step = (int(number) if number is not None else None for number in found.groups())
    assert first is not None
    if last is None:
        return (first,)
    if last < first or step == 0:
        what = "its step is 0" if step == 0 else "it ends before it begins"
        raise OverheadError(f"{item!r} has no sizes, as {what}: {_REMEDY}")
    if last > MAX_PACKET_BYTES:
        raise OverheadError(f"{item!r} goes too far: an IP packet has at most {MAX_PACKET_BYTES} bytes")
    return range(first, last + 1, step or 1)
