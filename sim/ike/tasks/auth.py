"""IKE_AUTH's authentication with a shared key (RFC 7296 1.2, 2.15, 2.4 for INITIAL_CONTACT).

    HDR, SK {IDi, [IDr,] AUTH, [N(INITIAL_CONTACT),] SAi2, TSi, TSr}  -->
                                  <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr}

Certificates and EAP are not here yet; EAP's further rounds are what Step.MORE is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.auth import psk_auth, verify_psk_auth
from sim.ike.constants import AuthMethod, NotifyType, PayloadType, name_of
from sim.ike.errors import PeerError, RefusedError, Scope, reason_of
from sim.ike.events import Reason
from sim.ike.exchanges import first_error
from sim.ike.identity import Identity
from sim.ike.message import Message
from sim.ike.payloads import AuthPayload, IdPayload, NotifyPayload
from sim.ike.proposals import select
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.wire.address import format_sock

if TYPE_CHECKING:
    from sim.ike.config import ConnectionConfig
    from sim.ike.sa import IkeSa


class InitiateAuth(Task):
    def build(self, sa: IkeSa, out: Outgoing, now: int) -> Step:
        sa.local_id = sa.connection.local_id or Identity.of_address(sa.path.local[0])
        own = sa.local_id.payload(PayloadType.ID_I)
        out.add(own)
        wanted = sa.connection.remote_id
        if wanted is not None and not wanted.is_pattern:
            out.add(wanted.payload(PayloadType.ID_R))
        out.add(_prove(sa, sa.connection, own))
        if self._first_contact(sa):
            out.add_last(NotifyPayload(NotifyType.INITIAL_CONTACT))
        return Step.DONE

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        peer, proof = _id_of(message, PayloadType.ID_R), message.find(AuthPayload)
        if peer is None or proof is None:
            raise _refusal(sa, message)
        identity = Identity.of_payload(peer)
        expected = sa.connection.remote_id
        if not identity.match(expected):
            raise _failed(f"the responder is {identity}, but {expected} was expected")
        if not _verify(sa, sa.connection, peer, proof):
            raise _failed(f"{identity} did not prove that it knows our pre-shared key")
        sa.remote_id = identity
        return Step.DONE

    def _first_contact(self, sa: IkeSa) -> bool:
        """Whether this is the only IKE SA that we hold with this peer (RFC 7296 2.4)."""
        return len(sa.ctx.by_connection[sa.connection.name]) == 1


class RespondAuth(Task):
    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        peer, proof = _id_of(message, PayloadType.ID_I), message.find(AuthPayload)
        assert peer is not None  # by the table of exchanges
        identity, wanted = Identity.of_payload(peer), _id_of(message, PayloadType.ID_R)
        own = None if wanted is None else Identity.of_payload(wanted)
        if proof is None:
            raise _failed(f"{identity} wants to authenticate by EAP, which is not supported")
        sa.connection = self._connection(sa, identity, own)
        if not _verify(sa, sa.connection, peer, proof):
            raise _failed(f"{identity} did not prove that it knows our pre-shared key")
        sa.remote_id = identity
        sa.local_id = own or sa.connection.local_id or Identity.of_address(sa.path.local[0])
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> Step:
        assert sa.local_id is not None
        own = sa.local_id.payload(PayloadType.ID_R)
        out.add(own, _prove(sa, sa.connection, own))
        return Step.DONE

    def _connection(self, sa: IkeSa, peer: Identity, own: Identity | None) -> ConnectionConfig:
        """The connection for these identities: rather one that names the peer than a pattern or any."""
        address = Identity.of_address(sa.path.local[0])
        fitting = [
            c
            for c in sa.candidates
            if peer.match(c.remote_id)
            and (own is None or own.match(c.local_id or address))
            and (c is sa.candidates[0] or select((sa.chosen,), c.proposals) is not None)
        ]
        for connection in sorted(fitting, key=lambda c: -peer.match(c.remote_id)):
            return connection
        raise _failed(f"no connection is for a peer {peer}" + (f" that asks for {own}" if own else ""))


class Establish(Task):
    """Comes after whatever authenticates: both sides are who they say."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        sa.establish(now)
        return Step.DONE


def _prove(sa: IkeSa, connection: ConnectionConfig, own: IdPayload) -> AuthPayload:
    keys, prf = sa.keys, sa.suite.prf
    if sa.initiator:
        data = psk_auth(prf, connection.psk, sa.init_i, sa.nonce_r, keys.sk_pi, own.emit())
    else:
        data = psk_auth(prf, connection.psk, sa.init_r, sa.nonce_i, keys.sk_pr, own.emit())
    return AuthPayload(AuthMethod.SHARED_KEY_MIC, data)


def _verify(sa: IkeSa, connection: ConnectionConfig, peer: IdPayload, proof: AuthPayload) -> bool:
    if proof.method != AuthMethod.SHARED_KEY_MIC:
        method = name_of(AuthMethod, proof.method)
        raise _failed(f"the peer authenticates by {method}, which is not supported")
    keys, prf = sa.keys, sa.suite.prf
    if sa.initiator:
        return verify_psk_auth(
            proof.data, prf, connection.psk, sa.init_r, sa.nonce_i, keys.sk_pr, peer.emit()
        )
    return verify_psk_auth(proof.data, prf, connection.psk, sa.init_i, sa.nonce_r, keys.sk_pi, peer.emit())


def _id_of(message: Message, kind: PayloadType) -> IdPayload | None:
    payload = message.of_type(kind)
    return payload if isinstance(payload, IdPayload) else None


def _failed(text: str) -> PeerError:
    return PeerError(NotifyType.AUTHENTICATION_FAILED, text, Scope.IKE_SA)


def _refusal(sa: IkeSa, message: Message) -> Exception:
    error = first_error(message)
    assert error is not None  # by the table of exchanges
    reason = reason_of(error.type)
    peer = format_sock(sa.path.remote)
    if reason is Reason.AUTHENTICATION_FAILED:
        text = f"{peer} rejected our pre-shared key or identity {sa.local_id}: AUTHENTICATION_FAILED"
    else:
        text = f"{peer} refused IKE_AUTH: {name_of(NotifyType, error.type)}"
    return RefusedError(reason, text)
