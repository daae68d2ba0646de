"""What came through a Child SA was not what it is for: INVALID_SELECTORS (RFC 7296 3.10.1, RFC 4301 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.child import ChildSa, spi_octets
from sim.ike.constants import NotifyType
from sim.ike.payloads import NotifyPayload
from sim.ike.tasks.base import Outgoing, Task

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


class TellSelectors(Task):
    """Name the Child SA by the SPI of the packet, and quote how the packet begins."""

    def __init__(self, child: ChildSa, packet: bytes) -> None:
        self._child, self._packet = child, packet

    def needed(self, sa: IkeSa) -> bool:
        return self._child.up

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        spi = spi_octets(self._child.spi_in)
        out.add(NotifyPayload(NotifyType.INVALID_SELECTORS, self._packet, self._child.protocol, spi))
