"""Asking for a ticket, and making one (RFC 5723 4.1, 4.2).

    HDR, SK {IDi, AUTH, SAi2, TSi, TSr, N(TICKET_REQUEST)}  -->
                        <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr, N(TICKET_LT_OPAQUE)}

N(TICKET_NACK) instead means no, N(TICKET_ACK) not now: then, and after a rekeying, whose SK_d is another one,
the initiator asks in an INFORMATIONAL exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.constants import ExchangeType, NotifyType, PayloadType
from sim.ike.exchanges import State
from sim.ike.payloads import NotifyPayload
from sim.ike.resumption import keep_ticket, make_ticket
from sim.ike.tasks.auth import id_of
from sim.ike.tasks.base import Inbound, Job, Outgoing, Step, Task

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

_LIFETIME_BYTES = 4


class RequestTicket(Task):
    """The initiator's, in IKE_AUTH or in an exchange of its own; it asks once more after an ACK."""

    survives = True

    def __init__(self, *, again: bool = False) -> None:
        self._again = again

    def needed(self, sa: IkeSa) -> bool:
        return sa.state in (State.CONNECTING, State.ESTABLISHED)

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if sa.connection.resumption:
            if sa.state is State.CONNECTING and sa.local_id is not None:
                sa.alternatives.id_i = sa.alternatives.id_i or sa.local_id.payload(PayloadType.ID_I).emit()
            out.add_last(NotifyPayload(NotifyType.TICKET_REQUEST))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        if not sa.connection.resumption or sa.state is not State.ESTABLISHED:
            return Step.DONE
        message = received.message
        ticket = message.notify(NotifyType.TICKET_LT_OPAQUE)
        if ticket is not None:
            keep_ticket(sa, ticket.data, now)
        elif message.notify(NotifyType.TICKET_ACK) is not None and not self._again:
            ask_for_ticket(sa, now, again=True)
        return Step.DONE


class OfferTicket(Task):
    """The responder's: a ticket for who asks, if the connection is one that is resumed."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        asked = received.message.notify(NotifyType.TICKET_REQUEST) is not None
        said = id_of(received.message, PayloadType.ID_I)
        if said is not None:
            sa.alternatives.id_i = said.emit()
        self._wanted = asked and sa.connection.resumption and not sa.began
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if not self._wanted:
            return
        made = make_ticket(sa, now)
        if made is None:
            out.add_last(NotifyPayload(NotifyType.TICKET_NACK))
        else:
            seconds, ticket = made
            data = seconds.to_bytes(_LIFETIME_BYTES, "big") + ticket
            out.add_last(NotifyPayload(NotifyType.TICKET_LT_OPAQUE, data))


def ask_for_ticket(sa: IkeSa, now: int, *, again: bool = False) -> None:
    """Ask in an exchange of its own, if this side may."""
    if sa.connection.resumption and sa.began:
        sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [RequestTicket(again=again)]), now)
