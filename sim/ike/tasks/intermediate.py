"""Additional key exchanges before IKE_AUTH, each in an IKE_INTERMEDIATE (RFC 9242, RFC 9370 2.2.2).

    HDR, SAi1(.. ADDKE..), KEi(0), Ni, N(INTERMEDIATE_EXCHANGE_SUPPORTED)  -->
                              <--  HDR, SAr1(.. ADDKE..), KEr(0), Nr, N(INTERMEDIATE_EXCHANGE_SUPPORTED)
    HDR, SK {KEi(1)}  -->
                              <--  HDR, SK {KEr(1)}
               ... as many times as there are ADDKE transforms that are not NONE, then IKE_AUTH

Each secret goes into new keys as soon as both messages of its exchange are made. Left out: other uses of
IKE_INTERMEDIATE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.crypto.errors import CryptoError
from sim.ike.constants import NotifyType, name_of
from sim.ike.errors import PeerError, RefusedError, Scope, reason_of
from sim.ike.exchanges import first_error
from sim.ike.payloads import KePayload
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.wire.address import format_sock

if TYPE_CHECKING:
    from sim.crypto.kex import KeyExchange
    from sim.ike.message import Message
    from sim.ike.sa import IkeSa


class InitiateIntermediate(Task):
    """One exchange after the other, then IKE_AUTH."""

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        method = sa.additional[0]
        self._pair = method.generate(sa.ctx.rand)
        out.add(KePayload(method.id, self._pair.public))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        error = first_error(received.message)
        if error is not None:
            name, peer = name_of(NotifyType, error.type), format_sock(sa.path.remote)
            text = f"{peer} refused the key exchange by {sa.additional[0].name}: {name}"
            raise RefusedError(reason_of(error.type), text)
        data = ke_of(received.message, sa.additional[0])
        try:
            shared = self._pair.agree(data)
        except CryptoError as error:
            raise wrong(str(error)) from error
        sa.strengthen(shared)
        sa.additional = sa.additional[1:]
        if sa.additional:
            return Step.MORE
        sa.authenticate(now)
        return Step.DONE


class RespondIntermediate(Task):
    """The new keys are for what comes after the response."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        self._method = sa.additional[0]
        try:
            data = ke_of(received.message, self._method)
            self._public, self._shared = self._method.respond(data, sa.ctx.rand)
        except CryptoError as error:
            raise wrong(str(error)) from error
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(KePayload(self._method.id, self._public))
        out.then.append(lambda _: self._go_on(sa))

    def _go_on(self, sa: IkeSa) -> None:
        sa.strengthen(self._shared)
        sa.additional = sa.additional[1:]


def ke_of(message: Message, method: KeyExchange) -> bytes:
    """The value of an additional key exchange; PeerError when it is not of the method whose turn it is."""
    ke = message.find(KePayload)
    if ke is None or ke.group != method.id:
        found = "none" if ke is None else f"one of method {ke.group}"
        raise wrong(f"a key exchange by {method.name} is due, but there is {found}")
    return ke.data


def wrong(text: str) -> PeerError:
    return PeerError(NotifyType.INVALID_SYNTAX, text, Scope.IKE_SA)
