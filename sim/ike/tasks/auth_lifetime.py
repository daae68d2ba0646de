"""How long an authentication holds: AUTH_LIFETIME (RFC 4478 2, 3).

HDR, SK {IDi, ..., TSi, TSr}  -->
                              <--  HDR, SK {IDr, ..., N(AUTH_LIFETIME)}
                              <--  HDR, SK {N(AUTH_LIFETIME)}            any time later
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.constants import NotifyType
from sim.ike.payloads import NotifyPayload
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.units import NS_PER_S

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

_BYTES = 4


class AnnounceLifetime(Task):
    """The responder's, where its peer must authenticate again because it alone can call."""

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        lifetime = sa.connection.reauth_time
        if lifetime and not sa.connection.remote_addrs:
            left = sa.lifetimes.authenticated_at + lifetime - now
            seconds = max(1, left // NS_PER_S).to_bytes(_BYTES, "big")
            out.add_last(NotifyPayload(NotifyType.AUTH_LIFETIME, seconds))


class HeedLifetime(Task):
    """The initiator's, in IKE_AUTH and whenever the responder says it anew."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        notify = received.message.notify(NotifyType.AUTH_LIFETIME)
        if notify is not None and len(notify.data) == _BYTES and sa.connection.remote_addrs:
            sa.lifetimes.limit_authentication(int.from_bytes(notify.data, "big") * NS_PER_S, now)
        return Step.DONE
