"""Which tasks answer a request, by its exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.ike.constants import ExchangeType, NotifyType
from sim.ike.exchanges import State
from sim.ike.message import Message
from sim.ike.payloads import AuthPayload, TsPayload
from sim.ike.tasks.another_auth import RespondAnother
from sim.ike.tasks.auth import Establish, RespondAuth
from sim.ike.tasks.auth_lifetime import AnnounceLifetime, HeedLifetime
from sim.ike.tasks.base import Task
from sim.ike.tasks.child_rekey import RespondRekey
from sim.ike.tasks.child_respond import RespondChild
from sim.ike.tasks.configure import AssignConfiguration, RespondConfiguration
from sim.ike.tasks.crash_detection import PassToken, TakeToken
from sim.ike.tasks.delete import RespondDelete
from sim.ike.tasks.eap import RespondEap
from sim.ike.tasks.followup import RespondFollowUp
from sim.ike.tasks.ike_rekey import RespondIkeRekey
from sim.ike.tasks.intermediate import RespondIntermediate
from sim.ike.tasks.mobike import RespondMobike, SetUpMobike
from sim.ike.tasks.no_nats import RefuseNats
from sim.ike.tasks.redirect import FollowRedirect, RedirectOrServe
from sim.ike.tasks.resume import RespondResumedAuth
from sim.ike.tasks.ticket import OfferTicket
from sim.ike.tasks.uniqueness import KeepUnique

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

Choice = Callable[["IkeSa", Message], list[Task]]


def responder_tasks(sa: IkeSa, message: Message) -> list[Task]:
    return RESPONDERS[message.header.exchange](sa, message)


def _authenticate(sa: IkeSa, message: Message) -> list[Task]:
    """Whoever sends no AUTH wants EAP (RFC 7296 2.16)."""
    served = RedirectOrServe(AssignConfiguration(), OfferTicket(), RespondChild(ExchangeType.IKE_AUTH))
    if sa.alternatives.resumed is not None:
        return [RespondResumedAuth(), KeepUnique(), SetUpMobike(), Establish(), *_told(), served]
    by_eap = message.find(AuthPayload) is None
    return [
        *([RespondEap()] if by_eap else [RespondAuth(), RespondAnother()]),
        RefuseNats(),
        KeepUnique(),
        SetUpMobike(),
        Establish(),
        *_told(),
        served,
    ]


def _told() -> list[Task]:
    """What the initiator hears once it has proved itself."""
    return [AnnounceLifetime(), PassToken()]


def _inform(sa: IkeSa, message: Message) -> list[Task]:
    """From somebody who has not proved itself yet, only that it gives up."""
    if sa.state is State.HALF_OPEN:
        return [RespondDelete()]
    return [
        RespondMobike(),
        HeedLifetime(),
        TakeToken(),
        OfferTicket(),
        FollowRedirect(),
        RespondConfiguration(),
        RespondDelete(),
    ]


def _create(sa: IkeSa, message: Message) -> list[Task]:
    return _creators(message)


def _creators(message: Message) -> list[Task]:
    """CREATE_CHILD_SA makes a Child SA, or the successor of one or of the IKE SA (RFC 7296 1.3)."""
    if message.find(TsPayload) is None:
        return [RespondIkeRekey()]
    if message.notify(NotifyType.REKEY_SA) is not None:
        return [RespondRekey()]
    return [AssignConfiguration(), RespondChild(ExchangeType.CREATE_CHILD_SA)]


RESPONDERS: dict[int, Choice] = {
    ExchangeType.IKE_AUTH: _authenticate,
    ExchangeType.IKE_INTERMEDIATE: lambda sa, message: [RespondIntermediate()],
    ExchangeType.IKE_FOLLOWUP_KE: lambda sa, message: [RespondFollowUp()],
    ExchangeType.CREATE_CHILD_SA: _create,
    ExchangeType.INFORMATIONAL: _inform,
}
