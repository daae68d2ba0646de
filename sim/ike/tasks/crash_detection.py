"""Passing the token that will prove a crash (RFC 6290 4.2 to 4.4).

    HDR, SK {IDi, AUTH, N(QUICK_CRASH_DETECTION), SAi2, TSi, TSr}  -->
                        <--  HDR, SK {IDr, AUTH, N(QUICK_CRASH_DETECTION), SAr2, TSi, TSr}

A rekeyed IKE SA has other SPIs, so it needs other tokens: the responder's comes with its last answer, the
initiator's in an exchange of the new IKE SA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.constants import ExchangeType
from sim.ike.qcd import take_token, token_payload
from sim.ike.tasks.base import Inbound, Job, Outgoing, Step, Task

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


class PassToken(Task):
    """Either side's part in IKE_AUTH, behind the authentication; or our own INFORMATIONAL request."""

    survives = True

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if sa.connection.qcd:
            out.add(token_payload(sa))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        take_token(sa, received.message)
        return Step.DONE


class TakeToken(Task):
    """The peer's INFORMATIONAL request may bring a new token."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        take_token(sa, received.message)
        return Step.DONE


def renew_token(sa: IkeSa, now: int) -> None:
    """After we have rekeyed an IKE SA: pass the new one's token."""
    if sa.connection.qcd and sa.initiator:
        sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [PassToken()]), now)
