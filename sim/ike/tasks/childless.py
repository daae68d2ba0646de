"""IKE_AUTH without a Child SA (RFC 6023).

HDR, SAi1, KEi, Ni  -->
                    <--  HDR, SAr1, KEr, Nr, N(CHILDLESS_IKEV2_SUPPORTED)
HDR, SK {IDi, AUTH}  -->
                     <--  HDR, SK {IDr, AUTH}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.config import Childless
from sim.ike.constants import NotifyType
from sim.ike.message import Message
from sim.ike.payloads import NotifyPayload

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


def childless_payloads(sa: IkeSa) -> list[NotifyPayload]:
    """What a responder adds to its answer to IKE_SA_INIT."""
    supported = sa.connection.childless is not Childless.NEVER
    return [NotifyPayload(NotifyType.CHILDLESS_IKEV2_SUPPORTED)] if supported else []


def heed_childless(sa: IkeSa, message: Message) -> None:
    """Note whether the responder does without a Child SA."""
    sa.peer_is_childless = message.notify(NotifyType.CHILDLESS_IKEV2_SUPPORTED) is not None


def wants_childless(sa: IkeSa) -> bool:
    """Whether the initiator leaves the Child SA for later."""
    return sa.peer_is_childless and sa.connection.childless in (Childless.PREFER, Childless.FORCE)


def childless_problem(sa: IkeSa) -> str:
    """Why an initiator cannot go on to IKE_AUTH, or nothing (RFC 6023 3)."""
    if sa.peer_is_childless:
        return ""
    if sa.connection.childless is Childless.FORCE:
        return "it does not support an IKE SA without a Child SA (childless = force)"
    return "" if sa.wanted else "it does not support an IKE SA without a Child SA, and none is configured"
