"""A second round of the initiator's authentication, such as a user's after her machine's (RFC 4739 2).

    HDR, SAi1, KEi, Ni  -->
                  <--  HDR, SAr1, KEr, Nr, N(MULTIPLE_AUTH_SUPPORTED)
    HDR, SK {IDi, AUTH, SAi2, TSi, TSr, N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS)}  -->
                  <--  HDR, SK {IDr, AUTH}
    HDR, SK {IDi}  -->
                  <--  HDR, SK {EAP}                   as often as the method wants, at last EAP-Success
    HDR, SK {EAP}  -->
    HDR, SK {AUTH}  -->
                  <--  HDR, SK {AUTH, SAr2, TSi, TSr}

From then on the initiator is whom it proved to be last. Left out: a second round of the responder's, one
after EAP, one by anything but EAP with a password, and a third round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.constants import NotifyType, PayloadType
from sim.ike.credentials import SecondAuth
from sim.ike.eap.methods import make_peer, make_server
from sim.ike.events import Reason
from sim.ike.identity import Identity
from sim.ike.payloads import AuthPayload, NotifyPayload, SaPayload
from sim.ike.proof import failed
from sim.ike.tasks.auth import announces_another, id_of
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.ike.tasks.eap import InitiateEap, RespondEap

if TYPE_CHECKING:
    from sim.ike.eap.peer import EapPeer
    from sim.ike.message import Message
    from sim.ike.sa import IkeSa


def initiate_another(sa: IkeSa) -> list[Task]:
    """What follows the first round: nothing with a responder that has not announced that it could."""
    second = sa.connection.local.second
    return [InitiateAnother(second)] if second is not None and sa.peer_takes_more else []


class InitiateAnother(InitiateEap):
    """We announce it in the first round, and begin when the responder has proved itself there."""

    def __init__(self, second: SecondAuth) -> None:
        super().__init__()
        self._second = second
        self._begun = False

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._begun:
            super().build(sa, out, now)
            return
        for kind in (NotifyType.MULTIPLE_AUTH_SUPPORTED, NotifyType.ANOTHER_AUTH_FOLLOWS):
            out.add_last(NotifyPayload(kind))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        if self._begun:
            return super().process(sa, received, now)
        self._check_first(sa, received.message)
        self._begun = True
        return Step.MORE

    def _check_first(self, sa: IkeSa, message: Message) -> None:
        if announces_another(message):
            raise failed(
                "the responder wants to prove itself twice, and we take one proof", Reason.WRONG_METHOD
            )
        if message.find(SaPayload) is not None:
            raise failed("the responder does not wait for our second proof", Reason.WRONG_METHOD)

    def _open(self, sa: IkeSa, out: Outgoing) -> None:
        sa.local_id = self._second.id or Identity.of_address(sa.path.local[0])
        self._own = sa.local_id.payload(PayloadType.ID_I)
        out.add(self._own)

    def _meet(self, sa: IkeSa, message: Message, now: int) -> EapPeer:
        assert sa.local_id is not None
        assert sa.remote_id is not None  # proved in the first round
        self._peer = sa.remote_id.payload(PayloadType.ID_R)
        return make_peer(sa, self._second, sa.local_id, sa.remote_id)


class RespondAnother(RespondEap):
    """The initiator must announce a second round where the connection wants one, and only there."""

    _begun = False

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        if self._begun:
            return super().process(sa, received, now)
        self._begun = True
        return Step.MORE if self._is_due(sa, received.message) else Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._met:
            super().build(sa, out, now)

    def _is_due(self, sa: IkeSa, message: Message) -> bool:
        """PeerError when one side wants a second round without the other."""
        wanted, announced = sa.connection.remote.second is not None, announces_another(message)
        if wanted is not announced:
            has, wants = ("once", "a second proof") if wanted else ("twice", "one proof")
            text = f"{sa.remote_id} proves itself {has}, but connection {sa.connection.name} wants {wants}"
            raise failed(text, Reason.WRONG_METHOD)
        return wanted

    def _meet(self, sa: IkeSa, message: Message) -> None:
        peer, second = id_of(message, PayloadType.ID_I), sa.connection.remote.second
        assert second is not None
        if peer is None or message.find(AuthPayload) is not None or announces_another(message):
            text = f"{sa.remote_id} does not go on with EAP, which connection {sa.connection.name} wants"
            raise failed(text, Reason.WRONG_METHOD)
        identity = Identity.of_payload(peer)
        if not identity.match(second.id):
            text = (
                f"the second proof is of {identity}, but connection {sa.connection.name} is for {second.id}"
            )
            raise failed(text, Reason.ID_NOT_ACCEPTED)
        self._peer, self._eap, self._met = peer, make_server(sa, second, identity), True
        self._request = self._eap.begin()
