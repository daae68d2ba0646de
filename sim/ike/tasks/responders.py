"""Which tasks answer a request, by its exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.ike.constants import ExchangeType, NotifyType
from sim.ike.message import Message
from sim.ike.payloads import TsPayload
from sim.ike.tasks.auth import Establish, RespondAuth
from sim.ike.tasks.auth_lifetime import AnnounceLifetime, HeedLifetime
from sim.ike.tasks.base import Task
from sim.ike.tasks.child_rekey import RespondRekey
from sim.ike.tasks.child_respond import RespondChild
from sim.ike.tasks.delete import RespondDelete
from sim.ike.tasks.ike_rekey import RespondIkeRekey
from sim.ike.tasks.mobike import RespondMobike, SetUpMobike
from sim.ike.tasks.uniqueness import KeepUnique

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

RESPONDERS: dict[int, Callable[[], list[Task]]] = {
    ExchangeType.IKE_AUTH: lambda: [
        RespondAuth(),
        KeepUnique(),
        SetUpMobike(),
        Establish(),
        AnnounceLifetime(),
        RespondChild(ExchangeType.IKE_AUTH),
    ],
    ExchangeType.INFORMATIONAL: lambda: [RespondMobike(), HeedLifetime(), RespondDelete()],
}


def responder_tasks(sa: IkeSa, message: Message) -> list[Task]:
    exchange = message.header.exchange
    return [_creator(message)] if exchange == ExchangeType.CREATE_CHILD_SA else RESPONDERS[exchange]()


def _creator(message: Message) -> Task:
    """CREATE_CHILD_SA makes a Child SA, or the successor of one or of the IKE SA (RFC 7296 1.3)."""
    if message.find(TsPayload) is None:
        return RespondIkeRekey()
    if message.notify(NotifyType.REKEY_SA) is not None:
        return RespondRekey()
    return RespondChild(ExchangeType.CREATE_CHILD_SA)
