"""IKE_SESSION_RESUME and the IKE_AUTH that follows it (RFC 5723 4.3, 5).

    HDR(A,0), [N(COOKIE),] Ni, N(TICKET_OPAQUE)  -->
                        <--  HDR(A,B), Nr
    HDR, SK {IDi, AUTH, SAi2, TSi, TSr, ...}  -->
                        <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr, ...}

Instead of Nr there may come N(COOKIE), N(REDIRECT), or N(TICKET_NACK): then, and where half of the
retransmissions are not answered, IKE_SA_INIT follows at once. Nobody vouches for a NACK; all that it costs is
a key exchange. Identities and algorithms are those of the old IKE SA; everything else is negotiated anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING

from sim.ike.constants import AuthMethod, ExchangeType, NotifyType, PayloadType, name_of
from sim.ike.events import Reason
from sim.ike.exchanges import first_error
from sim.ike.identity import Identity
from sim.ike.keymat import ike_keys
from sim.ike.message import NO_SPI, Message
from sim.ike.payloads import AuthPayload, IdPayload, NoncePayload, NotifyPayload
from sim.ike.proof import failed
from sim.ike.proposals import ike_suite
from sim.ike.redirect import redirect_payloads, takes_redirects
from sim.ike.resumption import Held, Session, open_session, resumed_skeyseed
from sim.ike.tasks.auth import first_contact, id_of, refusal
from sim.ike.tasks.base import Inbound, Job, Outgoing, Step, Task
from sim.ike.tasks.childless import childless_payloads, heed_childless
from sim.ike.tasks.nat_detection import detect_nat, natd_payloads
from sim.ike.tasks.sa_init import (
    NONCE_BYTES,
    EchoesCookie,
    InitiateSaInit,
    announce_fragmentation,
    check_nonces,
    heed_fragmentation,
    redirected,
)
from sim.wire.address import format_sock
from sim.wire.buffer import WireError

if TYPE_CHECKING:
    from sim.ike.config import ConnectionConfig
    from sim.ike.context import Context
    from sim.ike.sa import IkeSa


class InitiateResume(EchoesCookie):
    """Show a ticket; whatever is said against it, go on with IKE_SA_INIT."""

    hasty = True

    def __init__(self, sa: IkeSa, held: Held) -> None:
        super().__init__()
        self._held = held
        self._answered = False
        sa.nonce_i = sa.ctx.rand(NONCE_BYTES)

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._cookie:
            out.add(NotifyPayload(NotifyType.COOKIE, self._cookie))
        out.add(NoncePayload(sa.nonce_i), NotifyPayload(NotifyType.TICKET_OPAQUE, self._held.ticket))
        if sa.connection.nat_traversal:
            out.add(*natd_payloads(sa, sa.spi_i, NO_SPI))
        out.add(*announce_fragmentation(sa), *redirect_payloads(sa))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message, self._answered = received.message, True
        cookie, error = message.notify(NotifyType.COOKIE), first_error(message)
        if message.notify(NotifyType.TICKET_NACK) is not None or error is not None:
            name = "TICKET_NACK" if error is None else name_of(NotifyType, error.type)
            sa.ctx.reject("ticket refused", received.src, f"{name}: a full IKE_SA_INIT follows")
            begin_anew(sa)
        elif cookie is not None:
            self._take_cookie(sa, cookie.data, now)
            return Step.MORE
        elif message.notify(NotifyType.REDIRECT) is not None:
            redirected(sa, message, now)
        else:
            self._agree(sa, received, now)
        return Step.DONE

    def abandon(self, sa: IkeSa) -> None:
        """A ticket that nobody has answered, as the network was away, may be shown another time."""
        if not self._answered:
            sa.ctx.tickets.setdefault(sa.connection.name, self._held)

    def _agree(self, sa: IkeSa, received: Inbound, now: int) -> None:
        message, session = received.message, self._held.session
        nonce, spi_r = message.find(NoncePayload), message.header.spi_r
        if nonce is None or spi_r == NO_SPI:
            raise WireError("an answer to IKE_SESSION_RESUME without a nonce or an SPI")
        check_nonces(ike_suite(session.proposal), sa.nonce_i, nonce.data)
        sa.spi_r, sa.nonce_r, sa.init_r = spi_r, nonce.data, message.raw
        take_up(sa, session)
        heed_fragmentation(sa, message)
        heed_childless(sa, message)
        detect_nat(sa, received)
        sa.float_port()
        sa.confirm(now)


def begin_anew(sa: IkeSa) -> None:
    """A key exchange after all, in the same IKE SA, as soon as the present answer is dealt with."""
    sa.ctx.counters["resumptions given up"] += 1
    sa.requests.postpone(Job(ExchangeType.IKE_SA_INIT, [InitiateSaInit(sa)]))


def take_up(sa: IkeSa, session: Session) -> None:
    """Keys from the SK_d of the old IKE SA, the new nonces and the new SPIs (RFC 5723 5.1)."""
    suite = ike_suite(session.proposal)
    nonces = sa.nonce_i, sa.nonce_r
    seed = resumed_skeyseed(suite.prf, session.sk_d, *nonces)
    sa.derive(session.proposal, suite, ike_keys(suite, seed, *nonces, sa.spi_i, sa.spi_r))
    sa.alternatives.resumed = session
    sa.lifetimes.authenticated_at = session.authenticated_at


@dataclass(slots=True)
class ResumeChoice:
    """What a responder takes of an IKE_SESSION_RESUME request."""

    candidates: tuple[ConnectionConfig, ...]
    session: Session
    ticket: bytes
    nonce: bytes


def choose_session(
    candidates: tuple[ConnectionConfig, ...], message: Message, ctx: Context, now: int
) -> ResumeChoice:
    """The session that the ticket stands for; PeerError is TICKET_NACK. Keeps no state."""
    nonce = message.find(NoncePayload)
    assert nonce is not None  # by the table of exchanges
    connection, session, ticket = open_session(candidates, message, ctx, now)
    return ResumeChoice((connection,), session, ticket, nonce.data)


class RespondResume(Task):
    """Answer a request that `choose_session` has accepted."""

    def __init__(self, choice: ResumeChoice) -> None:
        self._choice = choice

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        """WireError for a short nonce."""
        choice = self._choice
        check_nonces(ike_suite(choice.session.proposal), choice.nonce)
        sa.spi_r = sa.ctx.new_ike_spi()
        sa.init_i = received.message.raw
        sa.nonce_i, sa.nonce_r = choice.nonce, sa.ctx.rand(NONCE_BYTES)
        sa.alternatives.may_redirect = takes_redirects(received.message)
        sa.alternatives.ticket = choice.ticket
        heed_fragmentation(sa, received.message)
        detect_nat(sa, received)
        take_up(sa, choice.session)
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(NoncePayload(sa.nonce_r))
        if sa.path.natt:
            out.add(*natd_payloads(sa, sa.spi_i, sa.spi_r))
        if sa.fragmentation:
            out.add(NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED))
        out.add_last(*childless_payloads(sa))


# -- IKE_AUTH ------------------------------------------------------------------------------------------------


def resumed_proof(sa: IkeSa, *, by_initiator: bool) -> AuthPayload:
    """AUTH = prf(SK_px, the first message of that side) (RFC 5723 5.1)."""
    key, said = (sa.keys.sk_pi, sa.init_i) if by_initiator else (sa.keys.sk_pr, sa.init_r)
    return AuthPayload(AuthMethod.SHARED_KEY_MIC, sa.suite.prf(key, said))


def _check(sa: IkeSa, peer: IdPayload | None, proof: AuthPayload | None, wanted: bytes) -> None:
    """PeerError unless the peer is who it was, and has the keys (RFC 5723 4.3.3)."""
    session = sa.alternatives.resumed
    assert session is not None
    if peer is None or proof is None or peer.emit() != wanted:
        raise failed("the peer is not whom the ticket was made for", Reason.ID_NOT_ACCEPTED)
    expected = resumed_proof(sa, by_initiator=not sa.initiator)
    if proof.method != expected.method or not compare_digest(proof.data, expected.data):
        raise failed(f"{Identity.of_payload(peer)} did not prove that it holds the keys of its ticket")


class InitiateResumedAuth(Task):
    """No certificates, no EAP: the keys say who we are."""

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        session = sa.alternatives.resumed
        assert session is not None
        sa.local_id, sa.alternatives.id_i = session.proved, session.id_i
        out.add(session.initiator.payload(PayloadType.ID_I), resumed_proof(sa, by_initiator=True))
        if first_contact(sa):
            out.add_last(NotifyPayload(NotifyType.INITIAL_CONTACT))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        session, message = sa.alternatives.resumed, received.message
        assert session is not None
        peer, proof = id_of(message, PayloadType.ID_R), message.find(AuthPayload)
        if peer is None or proof is None:
            raise refusal(sa, message)
        _check(sa, peer, proof, session.id_r)
        sa.remote_id = session.responder
        return Step.DONE


class RespondResumedAuth(Task):
    """The old IKE SA goes without a word: its initiator has lost it (RFC 5723 4.3.3)."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        session, message = sa.alternatives.resumed, received.message
        assert session is not None
        _check(sa, id_of(message, PayloadType.ID_I), message.find(AuthPayload), session.id_i)
        called = id_of(message, PayloadType.ID_R)
        if called is not None and called.emit() != session.id_r:
            raise failed("the peer asks for another responder than its ticket", Reason.ID_NOT_ACCEPTED)
        sa.ctx.ticket_key.spend(sa.alternatives.ticket, session.expires_at)
        sa.remote_id, sa.local_id = session.proved, session.responder
        old = sa.ctx.by_spi.get(session.spi_r) or sa.ctx.by_spi.get(session.spi_i)
        if old is not None and (old.spi_i, old.spi_r) == (session.spi_i, session.spi_r):
            text = f"{format_sock(received.src)} has resumed it by its ticket (RFC 5723)"
            old.end(Reason.REPLACED, text, now)
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        assert sa.local_id is not None
        out.add(sa.local_id.payload(PayloadType.ID_R), resumed_proof(sa, by_initiator=False))
