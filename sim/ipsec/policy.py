"""What a security policy says about a packet (RFC 4301 4.4.1)."""

from __future__ import annotations

from enum import Enum

from sim.ipsec.traffic import Traffic, covers
from sim.wire.esp import Mode
from sim.wire.selector import Selector
from sim.wire.value import value


class Action(Enum):
    """RFC 4301 4.4.1: every packet meets one of these."""

    PROTECT = "protect"
    BYPASS = "bypass"
    DISCARD = "discard"


BYPASS_PRIORITY, PROTECT_PRIORITY, DISCARD_PRIORITY = 50_000, 150_000, 350_000
"""Where strongSwan puts policies without a `priority` of their own: below 100,000, 300,000, above that."""


@value
class Policy:
    """One SPD entry; `local_ts` is the near side whatever the direction of the packet.

    Those with a lower `priority` are looked at first.

    A PROTECT policy with `spi_in` 0 is a trap: it has no SA and asks for one. Otherwise `spi_in` names the
    pair of SAs that protects it (its inbound SPI, which is unique on this host).
    """

    name: str
    action: Action
    local_ts: tuple[Selector, ...]
    remote_ts: tuple[Selector, ...]
    connection: str = ""
    child: str = ""
    mode: Mode = Mode.TUNNEL
    spi_in: int = 0
    priority: int = PROTECT_PRIORITY

    def is_inside(self, other: Policy) -> bool:
        """Whether it covers a part, but not all, of what the other one covers."""
        sides = [(self.local_ts, other.local_ts), (self.remote_ts, other.remote_ts)]
        return all(_lie_in(own, wide) for own, wide in sides) and not all(
            _lie_in(wide, own) for own, wide in sides
        )

    def crosses(self, other: Policy) -> bool:
        """Whether each covers a part of what the other one covers, and something else."""
        sides = [(self.local_ts, other.local_ts), (self.remote_ts, other.remote_ts)]
        if not all(_meet(own, theirs) for own, theirs in sides):
            return False
        return not any(all(_lie_in(pair[at], pair[1 - at]) for pair in sides) for at in (0, 1))


def _meet(some: tuple[Selector, ...], others: tuple[Selector, ...]) -> bool:
    return any(one.intersect(other) is not None for one in some for other in others)


def _lie_in(parts: tuple[Selector, ...], wide: tuple[Selector, ...]) -> bool:
    return all(any(selector.contains(part) for selector in wide) for part in parts)


def covers_both(traffic: Traffic, src_ts: tuple[Selector, ...], dst_ts: tuple[Selector, ...]) -> bool:
    """Whether a packet's source and destination each lie inside one of the selectors for that end."""
    src, dst, protocol, src_port, dst_port = traffic
    return any(covers(ts, src, protocol, src_port) for ts in src_ts) and any(
        covers(ts, dst, protocol, dst_port) for ts in dst_ts
    )
