"""Does the peer see us where it did, after so long without a packet of ours (RFC 4555 3.8, RFC 5780 4.6)?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.events import KeepaliveSent
from sim.ike.tasks.base import Inbound, Outgoing, Step
from sim.ike.tasks.liveness import CheckLiveness
from sim.ike.tasks.nat_detection import natd_payloads, seen_as
from sim.wire.udp_encap import NON_ESP_MARKER

if TYPE_CHECKING:
    from sim.ike.mapping_life import MappingLife
    from sim.ike.sa import IkeSa

HEADERS = {4: 28, 16: 48}
"""Octets of IP and UDP around a keepalive or a message, by the size of an address."""


class ProbeMapping(CheckLiveness):
    """Stands for a keepalive after `idle`; `quiet` is that nothing came from the peer either."""

    def __init__(self, life: MappingLife, idle: int, *, quiet: bool, woke: bool) -> None:
        self._life, self._idle, self._quiet, self._woke = life, idle, quiet, woke

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        self._version = sa.path.version
        out.add(*natd_payloads(sa, sa.spi_i, sa.spi_r))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        # Both messages hold two hashes in the same suite, so both have one size.
        size = len(received.message.raw) + len(NON_ESP_MARKER) + HEADERS[len(received.src[0])]
        sa.ctx.emit(KeepaliveSent(sa.ike_id, sa.connection.name, 2 * size, self._woke, True))
        seen, before = seen_as(received), sa.seen_as
        if self._version == sa.path.version:
            self._learn(before, seen)
        step = super().process(sa, received, now)
        sa.seen_as = sa.seen_as if seen is None or self._version != sa.path.version else seen
        sa.watch.set_pace(now)
        return step

    def _learn(self, before: bytes | None, seen: bytes | None) -> None:
        if seen is None:
            self._life.give_up()
        elif before not in (None, seen):
            self._life.lost(self._idle)
        elif before is not None and self._quiet:
            self._life.survived(self._idle)
