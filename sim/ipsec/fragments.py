"""What became of first fragments, so that those without ports can share their way (RFC 4301 7.3, 7.4).

Only a first fragment shows the ports that a policy may ask for. While it is remembered, the later ones of the
same datagram have its decision. One that comes before its first has none.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from sim.units import NS_PER_S
from sim.wire.ip import IpHeader

KEPT_NS = 30 * NS_PER_S
"""As long as a datagram may take to be whole where it is joined: see `sim.wire.fragment`."""
KEPT = 1024

T = TypeVar("T")
_Key = tuple[bytes, bytes, int, int]


class FirstFragments(Generic[T]):
    """Decisions on datagrams that come in fragments, in bounded memory: the oldest goes first."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[_Key, tuple[int, T]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, header: IpHeader, decision: T, now: int) -> None:
        key = _key(header)
        self._kept.pop(key, None)
        if len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (now + KEPT_NS, decision)

    def find(self, header: IpHeader, now: int) -> T | None:
        """The decision on the datagram that a fragment is of, if its first one came and is remembered."""
        until, decision = self._kept.get(_key(header), (now, None))
        return decision if now < until else None

    def clear(self) -> None:
        self._kept.clear()


def _key(header: IpHeader) -> _Key:
    return header.src, header.dst, header.protocol, header.identification
