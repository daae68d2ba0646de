"""What follows when this host moved while IKE_AUTH was on its way (RFC 4555 3.3, 3.5).

The request has left from several addresses, and the responder keeps to that of the copy which came first.
With MOBIKE it is told; without, nothing could move it for certain, and NAT detection is of the old address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.events import Reason
from sim.ike.mobility import tell_move
from sim.ike.path import Path
from sim.ike.tasks.base import Inbound, Step, Task
from sim.wire.address import format_address

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


class ConfirmPath(Task):
    """The initiator's, behind the first Child SA of IKE_AUTH; `path` is how the request first leaves."""

    def __init__(self, path: Path) -> None:
        self._version = path.version
        self._before = (path.local, path.remote)

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        if sa.path.version == self._version:
            return Step.DONE
        if sa.mobike:
            tell_move(sa, self._before, now)
        else:
            local = sa.path.local[0]
            text = f"this host moved to {format_address(local)} meanwhile, and starts afresh from there"
            sa.start_over(local, now, Reason.MOVED, text)
        return Step.DONE
