"""IKE_AUTH's authentication: each side by its own method (RFC 7296 1.2, 2.15, 2.4 for INITIAL_CONTACT).

    HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, [N(INITIAL_CONTACT),] SAi2, TSi, TSr}  -->
                                  <--  HDR, SK {IDr, [CERT,] AUTH, SAr2, TSi, TSr}

Who authenticates by EAP is in `eap`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.certs import NOT_ASKED, Asked, cert_payloads, certreq_payloads, read_certreqs
from sim.ike.constants import NotifyType, PayloadType, name_of
from sim.ike.credentials import CLAIMS, Method, SendCert
from sim.ike.errors import PeerError, RefusedError, reason_of
from sim.ike.events import Reason
from sim.ike.exchanges import first_error
from sim.ike.identity import Identity
from sim.ike.message import Message
from sim.ike.payloads import AuthPayload, IdPayload, NotifyPayload
from sim.ike.ppk import accept_ppk, confirm_ppk, prove_with_ppk, settle_ppk
from sim.ike.proof import Signing, choose_signing, failed, kind_of, no_signing, prove, verify
from sim.ike.proposals import select
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.wire.address import format_sock

if TYPE_CHECKING:
    from sim.ike.config import ConnectionConfig
    from sim.ike.keymat import IkeKeys
    from sim.ike.sa import IkeSa


class InitiateAuth(Task):
    _plain: IkeKeys | None

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        connection = sa.connection
        sa.local_id = own_id(sa, connection)
        own = sa.local_id.payload(PayloadType.ID_I)
        out.add(own)
        signing = None
        if connection.local.method is Method.PUBKEY:
            signing = choose_signing(connection, sa.peer_hashes, sa.asked.authorities)
            add_certs(sa.asked, connection, signing, out)
        if connection.remote.method is Method.PUBKEY:
            out.add(*certreq_payloads((connection.remote,)))
        if connection.remote_id is not None and not connection.remote_id.is_pattern:
            out.add(connection.remote_id.payload(PayloadType.ID_R))
        self._plain = prove_with_ppk(sa, own, signing, out)
        if first_contact(sa):
            out.add_last(NotifyPayload(NotifyType.INITIAL_CONTACT))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        peer, proof = id_of(message, PayloadType.ID_R), message.find(AuthPayload)
        if peer is None or proof is None:
            raise refusal(sa, message)
        identity = expected_responder(sa, peer)
        settle_ppk(sa, message, self._plain)
        verify(sa, peer, message, proof, now)
        sa.remote_id = identity
        return Step.DONE


class RespondAuth(Task):
    _proof: OwnProof

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        peer, proof = id_of(message, PayloadType.ID_I), message.find(AuthPayload)
        assert peer is not None  # by the table of exchanges
        assert proof is not None  # or else it would be EAP's
        identity, wanted = Identity.of_payload(peer), id_of(message, PayloadType.ID_R)
        own = None if wanted is None else Identity.of_payload(wanted)
        another = announces_another(message)
        fitting = find_connections(sa, identity, own, kind_of(proof), another=another)
        verify_any(fitting, sa, peer, message, proof, now)
        sa.remote_id = identity
        sa.local_id = own or own_id(sa, sa.connection)
        self._proof = OwnProof(sa, message)
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        self._proof.add(sa, out)
        confirm_ppk(sa, out)


class OwnProof:
    """A responder's own proof: chosen by the first request, sent in the first response."""

    def __init__(self, sa: IkeSa, message: Message) -> None:
        """PeerError when the peer could not verify any."""
        self._asked = NOT_ASKED
        self._signing: Signing | None = None
        if sa.connection.local.method is not Method.PUBKEY:
            return
        self._asked = read_certreqs(message)
        self._signing = choose_signing(sa.connection, sa.peer_hashes, self._asked.authorities)
        if self._signing is None:
            raise failed(no_signing(sa.connection, sa.peer_hashes), Reason.NO_COMMON_SIGNATURE)

    def add(self, sa: IkeSa, out: Outgoing) -> None:
        """IDr, and unless EAP shall do for both, [CERT,] AUTH."""
        assert sa.local_id is not None
        own = sa.local_id.payload(PayloadType.ID_R)
        out.add(own)
        add_certs(self._asked, sa.connection, self._signing, out)
        if sa.connection.local.method is not Method.EAP:
            out.add(prove(sa, own, self._signing))


class Establish(Task):
    """Comes after whatever authenticates: both sides are who they say."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        sa.establish(now)
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        """A responder's answer is the last that needs what came before; an initiator hears it first."""
        if not sa.initiator:
            out.then.append(lambda _now: sa.forget_beginnings())


def expected_responder(sa: IkeSa, peer: IdPayload) -> Identity:
    """Who the responder says that it is; PeerError when we wanted somebody else."""
    identity, expected = Identity.of_payload(peer), sa.connection.remote_id
    if not identity.match(expected):
        text = f"the responder is {identity}, but {expected} was expected"
        raise failed(text, Reason.ID_NOT_ACCEPTED)
    return identity


def first_contact(sa: IkeSa) -> bool:
    """Whether this is the only IKE SA that we hold with this peer (RFC 7296 2.4), and we have a name."""
    named = sa.connection.local.method is not Method.NULL
    peer = sa.connection.remote_id
    other = sa.local_id is not None and peer is not None and sa.ctx.knows(sa.local_id, peer)
    return named and not other and len(sa.ctx.by_connection[sa.connection.name]) == 1


def verify_any(
    connections: list[ConnectionConfig],
    sa: IkeSa,
    peer: IdPayload,
    message: Message,
    proof: AuthPayload,
    now: int,
) -> None:
    """Let the SA be of the first connection that the proof is right for; if none, the first says why.

    Such as two that let in whoever knows the secret, each with a secret of its own.
    """
    refusals, keys = [], sa.keys
    for connection in connections:
        sa.connection, sa.keys, sa.ppk = connection, keys, False
        try:
            verify(sa, peer, message, accept_ppk(sa, message, proof), now)
        except PeerError as error:
            refusals.append(error)
        else:
            return
    sa.connection = connections[0]
    raise refusals[0]


def find_connections(
    sa: IkeSa, peer: Identity, own: Identity | None, method: Method | None, *, another: bool = False
) -> list[ConnectionConfig]:
    """Those for these identities that name the peer best: rather exactly than by a pattern, or any.

    One that wants the peer's method, and `another` round if it announces one, comes before others, which
    will say what they want instead. PeerError when there is none.
    """
    fitting = [
        c
        for c in sa.candidates
        if peer.match(c.remote_id)
        and (own is None or own.match(own_id(sa, c)))
        and (c is sa.candidates[0] or select((sa.chosen,), c.proposals) is not None)
    ]
    if not fitting:
        text = f"no connection is for a peer {peer}" + (f" that asks for {own}" if own else "")
        raise failed(text, Reason.ID_NOT_ACCEPTED)

    def rank(c: ConnectionConfig) -> tuple[bool, bool, int]:
        second = c.remote.second is not None
        return c.remote.method is not method, second is not another, -peer.match(c.remote_id)

    return [c for c in fitting if rank(c) == min(map(rank, fitting))]


def own_id(sa: IkeSa, connection: ConnectionConfig) -> Identity:
    """Who we are in this connection."""
    return connection.local_id or connection.local.default_id() or Identity.of_address(sa.path.local[0])


def add_certs(asked: Asked, connection: ConnectionConfig, signing: Signing | None, out: Outgoing) -> None:
    """Our certificate and those above it, in this order: the first one's key makes AUTH (RFC 7296 3.6)."""
    policy = connection.local.send_cert
    if signing is None or policy is SendCert.NEVER:
        return
    if policy is SendCert.ALWAYS or asked.wants(signing.credential):
        out.add(*cert_payloads(signing.credential))


def id_of(message: Message, kind: PayloadType) -> IdPayload | None:
    payload = message.of_type(kind)
    return payload if isinstance(payload, IdPayload) else None


def announces_another(message: Message) -> bool:
    """Whether the sender will prove itself once more (RFC 4739 2.2)."""
    return message.notify(NotifyType.ANOTHER_AUTH_FOLLOWS) is not None


def refusal(sa: IkeSa, message: Message, method: Method | None = None) -> Exception:
    """What the responder's error means for our proof, by `method` or else the connection's own."""
    error = first_error(message)
    if error is None:
        return failed("the responder goes on with EAP, which we did not ask for", Reason.WRONG_METHOD)
    reason = reason_of(error.type)
    peer = format_sock(sa.path.remote)
    if reason is Reason.UNEXPECTED_NAT_DETECTED:
        text = f"{peer} sees a NAT between us, and nat_traversal is off: UNEXPECTED_NAT_DETECTED"
        return RefusedError(reason, text)
    if reason is Reason.AUTHENTICATION_FAILED:
        claim = CLAIMS[method or sa.connection.local.method]
        doubt = ", or has not the same PPK" if sa.ppk else ""
        text = f"{peer} rejected {claim} {sa.local_id}{doubt}: AUTHENTICATION_FAILED"
    else:
        text = f"{peer} refused IKE_AUTH: {name_of(NotifyType, error.type)}"
    return RefusedError(reason, text)
