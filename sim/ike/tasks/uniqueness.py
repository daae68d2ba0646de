"""What a new IKE SA means for those that there are with the same peer (RFC 7296 2.4, swanctl's `unique`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.config import Unique
from sim.ike.constants import NotifyType
from sim.ike.credentials import Method
from sim.ike.errors import PeerError, Scope
from sim.ike.events import Reason
from sim.ike.tasks.base import Inbound, Step, Task

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


class KeepUnique(Task):
    """The responder's, once it knows for certain who its peer is."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        if sa.connection.remote.method is Method.NULL:
            return Step.DONE  # nobody in particular: such peers are not one and the same (RFC 7619 2.2)
        policy = sa.connection.unique
        # What came up since this peer began is not left over: both sides may have initiated at once.
        others = [other for other in sa.ctx.of_peer(sa) if other.followed_by <= sa.ike_id]
        if policy is not Unique.NEVER and received.message.notify(NotifyType.INITIAL_CONTACT) is not None:
            for other in others:
                other.end(Reason.REPLACED, f"{sa.remote_id} started afresh (INITIAL_CONTACT)", now)
        elif policy is Unique.REPLACE:
            for other in others:
                other.end_politely(
                    Reason.REPLACED, f"{sa.remote_id} has a new IKE SA (unique = replace)", now
                )
        elif policy is Unique.KEEP and not all(_may_replace(sa, other) for other in others):
            text = f"{sa.remote_id} has an IKE SA already (unique = keep)"
            raise PeerError(NotifyType.AUTHENTICATION_FAILED, text, Scope.IKE_SA)
        return Step.DONE


def _may_replace(sa: IkeSa, other: IkeSa) -> bool:
    """Whether it may be a reauthentication, make before break: by who has called before, from there."""
    return not other.began and other.path.remote == sa.path.remote
