"""Which tasks answer a request, by its exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.ike.constants import ExchangeType
from sim.ike.message import Message
from sim.ike.tasks.auth import Establish, RespondAuth
from sim.ike.tasks.base import Task
from sim.ike.tasks.child_respond import RespondChild
from sim.ike.tasks.delete import RespondDelete
from sim.ike.tasks.mobike import RespondMobike, SetUpMobike

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

RESPONDERS: dict[int, Callable[[], list[Task]]] = {
    ExchangeType.IKE_AUTH: lambda: [
        RespondAuth(),
        SetUpMobike(),
        Establish(),
        RespondChild(ExchangeType.IKE_AUTH),
    ],
    ExchangeType.CREATE_CHILD_SA: lambda: [RespondChild(ExchangeType.CREATE_CHILD_SA)],
    ExchangeType.INFORMATIONAL: lambda: [RespondMobike(), RespondDelete()],
}


def responder_tasks(sa: IkeSa, message: Message) -> list[Task]:
    return RESPONDERS[message.header.exchange]()
