"""IKE_AUTH with EAP (RFC 7296 2.16), perhaps without any other proof (RFC 5998).

    HDR, SK {IDi, [CERTREQ,] [IDr,] SAi2, TSi, TSr}  -->
                                <--  HDR, SK {IDr, [CERT,] AUTH, EAP}     no CERT, AUTH with EAP alone
    HDR, SK {EAP}  -->
                                <--  HDR, SK {EAP}                        as often as the method wants
    HDR, SK {EAP}  -->
                                <--  HDR, SK {EAP (success)}
    HDR, SK {AUTH}  -->
                                <--  HDR, SK {AUTH, SAr2, TSi, TSr}

What the first request asks for is answered in the last response: until then the other tasks wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.certs import certreq_payloads
from sim.ike.constants import NotifyType, PayloadType
from sim.ike.credentials import Method
from sim.ike.eap.method import EapError
from sim.ike.eap.methods import eap_identity, eap_name, make_peer, make_server, only_eap
from sim.ike.errors import PeerError, RefusedError
from sim.ike.events import Reason
from sim.ike.exchanges import first_error
from sim.ike.identity import Identity
from sim.ike.message import Message
from sim.ike.payloads import AuthPayload, EapPayload, IdPayload, NotifyPayload
from sim.ike.proof import check_session_proof, failed, session_proof, verify
from sim.ike.redirect import wanted_gateway
from sim.ike.tasks.auth import (
    OwnProof,
    expected_responder,
    find_connections,
    first_contact,
    id_of,
    own_id,
    refusal,
)
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.wire.address import format_sock
from sim.wire.buffer import WireError

if TYPE_CHECKING:
    from sim.ike.eap.peer import EapPeer
    from sim.ike.eap.server import EapServer
    from sim.ike.sa import IkeSa

MAX_ROUNDS = 256
"""Enough for the longest TLS message in small fragments; a responder waits for `half_open_timeout`."""

_ONLY = NotifyType.EAP_ONLY_AUTHENTICATION


class InitiateEap(Task):
    """We prove by EAP who we are."""

    _own: IdPayload
    _peer: IdPayload

    def __init__(self) -> None:
        self._eap: EapPeer | None = None
        self._answer: bytes | None = None
        self._rounds = 0

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._eap is None:
            self._open(sa, out)
        elif self._answer is not None:
            out.add(EapPayload(self._answer))
        else:
            out.add(session_proof(sa, self._own, self._eap.msk, by_initiator=True))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        payload = message.find(EapPayload)
        if payload is None and first_error(message) is not None:
            raise refusal(sa, message, Method.EAP)
        if self._eap is None:
            self._eap = self._meet(sa, message, now)
            if payload is None and message.find(AuthPayload) and wanted_gateway(sa, message):
                return Step.DONE  # it has proved itself, and sends us elsewhere (RFC 5685 4)
        elif self._answer is None:
            self._conclude(sa, message, self._eap.msk)
            return Step.DONE
        if payload is None:
            raise failed("the responder does not go on with EAP", Reason.EAP_FAILURE)
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise failed(
                f"the responder has not come to an end after {MAX_ROUNDS} rounds", Reason.EAP_FAILURE
            )
        self._answer = self._take(sa, self._eap, payload.data, now)
        return Step.MORE

    def _open(self, sa: IkeSa, out: Outgoing) -> None:
        connection = sa.connection
        sa.local_id = own_id(sa, connection)
        self._own = sa.local_id.payload(PayloadType.ID_I)
        out.add(self._own)
        if connection.remote.method is Method.PUBKEY:
            out.add(*certreq_payloads((connection.remote,)))
        if connection.remote_id is not None and not connection.remote_id.is_pattern:
            out.add(connection.remote_id.payload(PayloadType.ID_R))
        if first_contact(sa):
            out.add_last(NotifyPayload(NotifyType.INITIAL_CONTACT))
        if only_eap(connection):
            out.add_last(NotifyPayload(_ONLY))

    def _meet(self, sa: IkeSa, message: Message, now: int) -> EapPeer:
        """Who the responder is, and its proof unless EAP shall be the only one."""
        peer, proof = id_of(message, PayloadType.ID_R), message.find(AuthPayload)
        if peer is None:
            raise refusal(sa, message)
        assert sa.local_id is not None
        identity = expected_responder(sa, peer)
        if proof is not None:
            verify(sa, peer, message, proof, now)
        elif not only_eap(sa.connection):
            wanted = sa.connection.remote.method.value
            text = f"{identity} proves nothing but by EAP, and connection {sa.connection.name} wants {wanted}"
            raise failed(text, Reason.WRONG_METHOD)
        self._peer = peer
        return make_peer(sa, sa.connection.local, sa.local_id, identity)

    def _take(self, sa: IkeSa, eap: EapPeer, octets: bytes, now: int) -> bytes | None:
        try:
            return eap.receive(octets, now)
        except WireError as error:
            raise failed(f"the responder's EAP message is malformed: {error}", Reason.EAP_FAILURE) from error
        except EapError as error:
            if eap.failed:
                raise RefusedError(error.reason, _told(sa, error)) from error
            raise failed(error.text, error.reason) from error

    def _conclude(self, sa: IkeSa, message: Message, msk: bytes) -> None:
        proof = message.find(AuthPayload)
        if proof is None:
            raise failed("the responder goes on with EAP after its success", Reason.EAP_FAILURE)
        check_session_proof(sa, self._peer, proof, msk, by_initiator=False)
        sa.remote_id = Identity.of_payload(self._peer)


class RespondEap(Task):
    """The initiator proves by EAP who it is, once we have proved who we are."""

    _peer: IdPayload
    _eap: EapServer
    _proof: OwnProof | None = None
    _request: bytes | None = None
    _met = False

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        if not self._met:
            self._meet(sa, message)
            return Step.MORE
        if self._eap.succeeded:
            self._conclude(sa, message)
            return Step.DONE
        payload = message.find(EapPayload)
        if payload is None:
            raise failed("the initiator wants to be believed before EAP is over", Reason.EAP_FAILURE)
        self._request = self._take(sa, payload.data, now)
        refusal = self._eap.refusal
        sa.refusal = None if refusal is None else (refusal.reason, _told(sa, refusal))
        return Step.MORE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        assert sa.local_id is not None
        if self._proof is not None:
            self._proof.add(sa, out)
            self._proof = None
        if self._request is not None:
            out.add(EapPayload(self._request))
        else:
            own = sa.local_id.payload(PayloadType.ID_R)
            out.add(session_proof(sa, own, self._eap.msk, by_initiator=False))

    def _meet(self, sa: IkeSa, message: Message) -> None:
        peer, wanted = id_of(message, PayloadType.ID_I), id_of(message, PayloadType.ID_R)
        assert peer is not None  # by the table of exchanges
        identity = Identity.of_payload(peer)
        own = None if wanted is None else Identity.of_payload(wanted)
        connection = sa.connection = find_connections(sa, identity, own, Method.EAP)[0]
        if connection.remote.method is not Method.EAP:
            method = connection.remote.method.value
            text = f"{identity} wants to authenticate by EAP, but connection {connection.name} wants {method}"
            raise failed(text, Reason.WRONG_METHOD)
        if only_eap(connection) and message.notify(_ONLY) is None:
            text = f"{identity} wants a proof of us besides EAP, which connection {connection.name} has not"
            raise failed(text, Reason.WRONG_METHOD)
        sa.local_id = own or own_id(sa, connection)
        self._proof = OwnProof(sa, message)
        self._peer, self._eap, self._met = peer, make_server(sa, connection.remote, identity), True
        self._request = self._eap.begin()

    def _take(self, sa: IkeSa, octets: bytes, now: int) -> bytes:
        try:
            return self._eap.receive(octets, now)
        except WireError as error:
            raise self._failure(Reason.EAP_FAILURE, f"an EAP message is malformed: {error}") from error
        except EapError as error:
            raise self._failure(error.reason, _told(sa, error)) from error

    def _failure(self, reason: Reason, text: str) -> PeerError:
        """EAP says that it failed, IKE that this is the end (RFC 7296 2.21.2)."""
        before = (EapPayload(self._eap.failure()),)
        return PeerError(NotifyType.AUTHENTICATION_FAILED, text, reason=reason, before=before)

    def _conclude(self, sa: IkeSa, message: Message) -> None:
        """The peer is who it proved to be, whatever IDi says (RFC 7296 2.16)."""
        proof, name = message.find(AuthPayload), self._eap.user
        if proof is None:
            raise failed("the initiator goes on with EAP after its success", Reason.EAP_FAILURE)
        check_session_proof(sa, self._peer, proof, self._eap.msk, by_initiator=True)
        self._request = None
        claimed = Identity.of_payload(self._peer)
        sa.remote_id = claimed if eap_name(claimed) == name else eap_identity(name)


def _told(sa: IkeSa, error: EapError) -> str:
    return error.told(format_sock(sa.path.remote), sa.local_id)
