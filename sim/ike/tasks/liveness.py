"""Is the peer still there (RFC 7296 2.4), and does a NAT still map us to the same address (RFC 4555 3.8)?

HDR, SK {[N(NAT_DETECTION_*) x 2]}  -->
                                    <--  HDR, SK {[N(NAT_DETECTION_*) x 2]}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.mobility import start_update
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.ike.tasks.nat_detection import natd_payloads, seen_as

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


class CheckLiveness(Task):
    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        self._version = sa.path.version
        if sa.mobike and sa.path.natt and sa.began:
            out.add(*natd_payloads(sa, sa.spi_i, sa.spi_r))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        seen = seen_as(received)
        if seen is None or self._version != sa.path.version or not sa.mobike:
            return Step.DONE
        before, sa.seen_as = sa.seen_as, seen
        if before not in (None, seen):
            start_update(sa, sa.path.local, sa.path.remote, now)
        return Step.DONE
