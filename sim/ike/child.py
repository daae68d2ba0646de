"""A Child SA as its IKE SA holds it: names and numbers, no packets (RFC 7296 2.9, 2.17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.ike.config import ChildConfig
from sim.ike.constants import ProtocolId
from sim.ike.proposals import EspSuite
from sim.wire.aggfrag import Requirement
from sim.wire.esp import Mode
from sim.wire.resource import Share
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa
    from sim.ike.tasks.child_rekey import RekeyChild, Rival


@dataclass(slots=True)
class ChildSa:
    """One pair of SAs; keys are (encryption key with its salt, integrity key).

    `deleting` is that our Delete is on its way (`delete_sent`) or waits, `replaced` that another one does its
    work now, `silent` that nothing is sent on it, `expired` that it is reported as down and used no more,
    `rekeying` our own rekeying that is not answered yet, `rival` the peer's. `cpi_in` and `cpi_out` are those
    of IPComp, 0 without it, `share` its part where there are several with its selectors; `aggfrag` is what
    the peer demands in AGGFRAG mode.
    """

    ike: IkeSa
    config: ChildConfig
    initiator: bool
    mode: Mode
    spi_in: int
    spi_out: int
    suite: EspSuite
    keys_in: tuple[bytes, bytes]
    keys_out: tuple[bytes, bytes]
    local_ts: tuple[Selector, ...]
    remote_ts: tuple[Selector, ...]
    deleting: bool = False
    delete_sent: bool = False
    replaced: bool = False
    silent: bool = False
    expired: bool = False
    rekeying: RekeyChild | None = None
    rival: Rival | None = None
    expires_at: int = 0
    fragments: bool = False
    cpi_in: int = 0
    cpi_out: int = 0
    share: Share | None = None
    original: tuple[bytes, bytes] | None = None
    """The peer's own address and ours as its traffic selectors had them before a NAT (RFC 7296 2.23.1)."""
    aggfrag: Requirement = Requirement.NONE
    ends: tuple[bytes, bytes] | None = None
    """In transport mode the addresses that it is for, ours first, which it cannot leave (RFC 4555 1.2)."""
    takes_no_padding: bool = False
    """Whether the peer has said ESP_TFC_PADDING_NOT_SUPPORTED (RFC 7296 1.3.1)."""

    @property
    def is_bound(self) -> bool:
        """Whether it is only for one resource of this host, beside another one for all (RFC 9611)."""
        return self.share is not None and self.share.is_bound

    @property
    def up(self) -> bool:
        """Whether its IKE SA still has it."""
        return self.ike.children.get(self.spi_in) is self

    @property
    def protocol(self) -> ProtocolId:
        """ESP or AH, as Deletes and notifications name it (RFC 7296 3.10, 3.11)."""
        return self.suite.protocol

    @property
    def soft_limit(self) -> tuple[int, int]:
        """How many octets and packets make a successor due; 0 for none."""
        config, spi = self.config, self.spi_in
        return (
            earlier(config.rekey_bytes, config.rand_bytes, spi),
            earlier(config.rekey_packets, config.rand_packets, spi),
        )

    def covers(self, packet: tuple[Selector, Selector] | None) -> bool:
        """Whether a packet with these selectors, this side's first, is inside; None is any packet."""
        if packet is None:
            return True
        sides = zip(packet, (self.local_ts, self.remote_ts), strict=True)
        return all(any(selector.contains(own) for selector in selectors) for own, selectors in sides)


def earlier(limit: int, spread: int, number: int) -> int:
    """A soft limit less a part of `spread` that `number`, an SPI of ours, decides: nobody foresees it."""
    return limit - number % (min(spread, limit) + 1)


def spi_octets(spi: int) -> bytes:
    return spi.to_bytes(4, "big")
