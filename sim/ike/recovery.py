"""What follows when the peer closes an SA, or does not answer any more: close_action and dpd_action.

The names and meanings are swanctl.conf's. A trap is the driver's part: it waits for a packet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.ike.config import ChildConfig, StartAction
from sim.ike.events import Reason
from sim.ike.exchanges import State

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

_CLOSED = frozenset({Reason.DELETED_BY_PEER})
_DEAD = frozenset({Reason.TIMEOUT, Reason.CRASH_DETECTED})


def action_after(config: ChildConfig, reason: Reason) -> StartAction:
    """What is to be done with a Child SA that went down for this reason."""
    if reason in _CLOSED:
        return config.close_action
    return config.dpd_action if reason in _DEAD else StartAction.NONE


def restart_children(sa: IkeSa, configs: Iterable[ChildConfig], reason: Reason, now: int) -> None:
    """Create again, in the same IKE SA, the Child SAs that want it."""
    for config in configs:
        if action_after(config, reason) is StartAction.START and not sa.has_child(config, None):
            sa.wanted.append((config, None))
    if sa.state is State.ESTABLISHED:
        sa.create_wanted(now)
