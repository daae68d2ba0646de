"""IKE_FOLLOWUP_KE: the further key exchanges of a new Child SA, or of a rekeying (RFC 9370 2.2.4).

    CREATE_CHILD_SA  SK {SA, Ni, KEi(0) ...}  -->
                              <--  SK {SA, Nr, KEr(0) ..., N(ADDITIONAL_KEY_EXCHANGE)(link1)}
    IKE_FOLLOWUP_KE  SK {KEi(1), N(ADDITIONAL_KEY_EXCHANGE)(link1)}  -->
                              <--  SK {KEr(1), N(ADDITIONAL_KEY_EXCHANGE)(link2)}
    IKE_FOLLOWUP_KE  SK {KEi(2), N(ADDITIONAL_KEY_EXCHANGE)(link2)}  -->
                              <--  SK {KEr(2)}

The last answer has no link: then both sides have all secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.crypto.errors import CryptoError
from sim.ike.constants import NotifyType
from sim.ike.errors import PeerError
from sim.ike.followups import Pending
from sim.ike.payloads import KePayload, NotifyPayload
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.ike.tasks.intermediate import ke_of, wrong

if TYPE_CHECKING:
    from sim.crypto.kex import KeyExchange
    from sim.ike.message import Message
    from sim.ike.sa import IkeSa


class Rounds:
    """What the initiator of a CREATE_CHILD_SA has to exchange yet; `complete` gets all secrets, joined."""

    def __init__(
        self, methods: tuple[KeyExchange, ...], message: Message, complete: Callable[[bytes, int], None]
    ) -> None:
        """PeerError when the response to CREATE_CHILD_SA does not say how to go on."""
        self._methods = methods
        self._complete = complete
        self._additional = b""
        self._link = _link_of(message)

    def build(self, sa: IkeSa, out: Outgoing) -> None:
        method = self._methods[0]
        self._pair = method.generate(sa.ctx.rand)
        out.add(KePayload(method.id, self._pair.public))
        out.add(NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, self._link))

    def process(self, message: Message, now: int) -> Step:
        """MORE until all are made; PeerError for a wrong answer."""
        try:
            self._additional += self._pair.agree(ke_of(message, self._methods[0]))
        except CryptoError as error:
            raise wrong(str(error)) from error
        self._methods = self._methods[1:]
        if self._methods:
            self._link = _link_of(message)
            return Step.MORE
        self._complete(self._additional, now)
        return Step.DONE


class RespondFollowUp(Task):
    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        link = received.message.notify(NotifyType.ADDITIONAL_KEY_EXCHANGE)
        pending = None if link is None else sa.followups.take(link.data)
        if pending is None:
            text = "a further key exchange for nothing that waits for one (RFC 9370 2.2.4)"
            raise PeerError(NotifyType.STATE_NOT_FOUND, text)
        self._pending = pending
        try:
            self._respond(sa, pending, received)
        except PeerError:
            pending.draft.give_up(sa)
            raise
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        pending = self._pending
        out.add(KePayload(pending.methods[0].id, self._public))
        pending.methods = pending.methods[1:]
        if pending.methods:
            out.add(sa.followups.expect(pending, now))
        else:
            pending.draft.complete(sa, pending.additional, out, now)

    def _respond(self, sa: IkeSa, pending: Pending, received: Inbound) -> None:
        pending.draft.check(sa)
        method = pending.methods[0]
        try:
            self._public, secret = method.respond(ke_of(received.message, method), sa.ctx.rand)
        except CryptoError as error:
            raise wrong(str(error)) from error
        pending.additional += secret


def _link_of(message: Message) -> bytes:
    link = message.notify(NotifyType.ADDITIONAL_KEY_EXCHANGE)
    if link is None:
        raise wrong("further key exchanges were agreed on, but there is no link to them (RFC 9370 2.2.4)")
    return link.data
