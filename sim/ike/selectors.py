"""Traffic selectors on the wire (RFC 7296 3.13.1) and their narrowing (RFC 7296 2.9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from struct import Struct

from sim.ike.constants import TsType
from sim.wire.buffer import Reader, WireError
from sim.wire.selector import OPAQUE_PORTS, Selector
from sim.wire.value import value

#                      1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |   TS Type     |IP Protocol ID*|       Selector Length         |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |           Start Port*         |           End Port*           |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# ~                        Starting Address*                      ~
# ~                        Ending Address*                        ~
_HEAD = Struct(">BBH")
_RANGES = {TsType.IPV4_ADDR_RANGE: Struct(">HH4s4s"), TsType.IPV6_ADDR_RANGE: Struct(">HH16s16s")}
_WHOLE = {
    4: (int(TsType.IPV4_ADDR_RANGE), Struct(">BBHHH4s4s")),
    16: (int(TsType.IPV6_ADDR_RANGE), Struct(">BBHHH16s16s")),
}
"""Type and layout by the size of an address."""


MAX_SELECTORS = 255
"""What the Number of TSs field of a payload can count (RFC 7296 3.13)."""


@value
class UnknownSelector:
    """A selector of a type that is not an address range, such as TS_SECLABEL; it matches nothing."""

    type: int
    protocol: int
    data: bytes


WireSelector = Selector | UnknownSelector


# The same few lists of selectors go back and forth: they are read and written once.
@lru_cache(256)
def parse_selectors(octets: bytes, base: int, count: int) -> tuple[WireSelector, ...]:
    """`count` selectors that fill `octets`, which begin at `base` in the message."""
    r = Reader(octets, base)
    selectors = tuple([parse_selector(r) for _ in range(count)])
    r.done()
    return selectors


@lru_cache(256)
def emit_selectors(selectors: tuple[WireSelector, ...]) -> bytes:
    return b"".join([emit_selector(selector) for selector in selectors])


def parse_selector(r: Reader) -> WireSelector:
    kind, protocol, length = r.unpack(_HEAD)
    layout = _RANGES.get(kind)
    if layout is None:
        return UnknownSelector(kind, protocol, r.take(length - _HEAD.size))
    if length != _HEAD.size + layout.size:
        raise WireError(f"a traffic selector of type {kind} has length {length} (RFC 7296 3.13.1)")
    first, last, start, end = r.unpack(layout)
    if start > end or (first > last and (first, last) != OPAQUE_PORTS):
        raise WireError("a traffic selector's range ends before it starts (RFC 7296 3.13.1)")
    return Selector(start, end, protocol, (first, last))


def emit_selector(selector: WireSelector) -> bytes:
    if isinstance(selector, UnknownSelector):
        head = _HEAD.pack(selector.type, selector.protocol, _HEAD.size + len(selector.data))
        return head + selector.data
    start, end, protocol, (first, last) = selector
    kind, layout = _WHOLE[len(start)]
    return layout.pack(kind, protocol, layout.size, first, last, start, end)


def narrow(offered: Iterable[WireSelector], allowed: Sequence[Selector]) -> tuple[Selector, ...]:
    """What both sides allow of one direction's selectors; empty means TS_UNACCEPTABLE (RFC 7296 2.9).

    An initiator that a packet triggered puts that packet's own selector first. The answer keeps to it: the
    part that contains the first offer comes first, and what lies wholly inside another part is dropped. The
    result is never wider than `offered` nor than `allowed`, and fits into one payload.
    """
    parts = (
        part
        for theirs in offered
        if isinstance(theirs, Selector)
        for ours in allowed
        if (part := theirs.intersect(ours)) is not None
    )
    common = list(islice(parts, MAX_SELECTORS))
    if len(common) == 1:
        return (common[0],)
    return _covers_first(common, _without_covered(common))


def _without_covered(parts: Sequence[Selector]) -> list[Selector]:
    """The parts that no other one contains, each once, in order."""
    unique = list(dict.fromkeys(parts))
    return [part for part in unique if not any(o != part and o.contains(part) for o in unique)]


def _covers_first(common: Sequence[Selector], parts: list[Selector]) -> tuple[Selector, ...]:
    if not common:
        return ()
    return tuple(sorted(parts, key=lambda part: not part.contains(common[0])))
