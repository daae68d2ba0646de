"""Agreeing on IPComp with a Child SA (RFC 7296 2.22): each end names the index under which it inflates.

    HDR, SK {N(IPCOMP_SUPPORTED), SA, ...}  -->
                                <--  HDR, SK {N(IPCOMP_SUPPORTED), SA, ...}

An answer without it declines. DEFLATE is the only method here; offers of others are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct

from sim.ike.constants import NotifyType
from sim.ike.message import Message
from sim.ike.payloads import NotifyPayload
from sim.wire.ipcomp import NEGOTIATED, Transform, is_usable

_OFFER = Struct(">HB")
"""CPI and method; attributes of the method may follow, of which DEFLATE has none."""


class Cpis:
    """The CPIs of one endpoint, each for the Child SA with an inbound SPI: no two are alike."""

    def __init__(self) -> None:
        self._by_spi: dict[int, int] = {}
        self._taken: set[int] = set()

    def take(self, spi_in: int, rand: Callable[[int], bytes]) -> int:
        """A new CPI, until `release`; 0 when so many are taken that a free one would be hard to find."""
        if len(self._taken) >= len(NEGOTIATED) // 2:
            return 0
        while True:
            cpi = NEGOTIATED[int.from_bytes(rand(2), "big") % len(NEGOTIATED)]
            if cpi not in self._taken:
                self._by_spi[spi_in] = cpi
                self._taken.add(cpi)
                return cpi

    def release(self, spi_in: int) -> None:
        """The Child SA is gone; nothing happens if it had none."""
        self._taken.discard(self._by_spi.pop(spi_in, 0))


def notify(cpi: int) -> NotifyPayload:
    """What says that we inflate DEFLATE under this CPI."""
    return NotifyPayload(NotifyType.IPCOMP_SUPPORTED, _OFFER.pack(cpi, Transform.DEFLATE))


def named(message: Message) -> int:
    """The peer's CPI for DEFLATE; 0 if it offers none that we can use."""
    return next((cpi for cpi, method in _offers(message) if _is_ours(cpi, method)), 0)


def has_any(message: Message) -> bool:
    return message.notify(NotifyType.IPCOMP_SUPPORTED) is not None


def _offers(message: Message) -> Iterator[tuple[int, int]]:
    for payload in message.notifies(NotifyType.IPCOMP_SUPPORTED):
        if len(payload.data) >= _OFFER.size:
            cpi, method = _OFFER.unpack_from(payload.data)
            yield cpi, method


def _is_ours(cpi: int, method: int) -> bool:
    return method == Transform.DEFLATE and is_usable(cpi, method)
