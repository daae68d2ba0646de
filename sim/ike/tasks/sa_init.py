"""IKE_SA_INIT: suites, nonces, key exchange, NAT detection (RFC 7296 1.2, 2.6, 2.7, 2.23).

HDR(A,0), SAi1, KEi, Ni  -->
                         <--  HDR(A,0), N(COOKIE)                   a stateless responder in need
HDR(A,0), N(COOKIE), SAi1, KEi, Ni  -->
                         <--  HDR(A,0), N(INVALID_KE_PAYLOAD)       another group, please
HDR(A,0), N(COOKIE), SAi1, KEi', Ni  -->
                         <--  HDR(A,B), SAr1, KEr, Nr
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.crypto.ids import KeyExchangeId
from sim.crypto.kex import KeyPair
from sim.crypto.suites import KEY_EXCHANGE
from sim.ike.algorithms import ADDITIONAL
from sim.ike.certs import certreq_payloads, read_certreqs
from sim.ike.config import Fragmentation
from sim.ike.constants import NotifyType, TransformType, name_of
from sim.ike.credentials import Method
from sim.ike.errors import PeerError, UnprovenError, reason_of
from sim.ike.events import Reason
from sim.ike.exchanges import first_error
from sim.ike.intermediate import IntAuth
from sim.ike.keymat import ike_keys, skeyseed
from sim.ike.message import NO_SPI, Message
from sim.ike.payloads import KePayload, NoncePayload, NotifyPayload, SaPayload
from sim.ike.ppk import heed_ppk
from sim.ike.proof import announced_hashes, choose_signing, hashes_payload, no_signing
from sim.ike.proposals import (
    IkeSuite,
    Proposal,
    additional_are_required,
    additional_exchanges,
    format_proposal,
    ike_suite,
    is_choice_of,
    offer,
    offers_additional,
    select,
)
from sim.ike.redirect import (
    RedirectError,
    check_nonce,
    redirect_payloads,
    takes_redirects,
    wanted_gateway,
    way_to,
)
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.ike.tasks.childless import childless_payloads, childless_problem, heed_childless
from sim.ike.tasks.nat_detection import detect_nat, natd_payloads
from sim.wire.address import format_sock
from sim.wire.buffer import WireError

if TYPE_CHECKING:
    from sim.ike.config import ConnectionConfig
    from sim.ike.context import Context
    from sim.ike.sa import IkeSa

NONCE_BYTES = 32
_MAX_COOKIES = 3
_COOKIE_BYTES = range(1, 65)


class EchoesCookie(Task):
    """An initiator's first request, which a responder in need may want again with a cookie (2.6)."""

    def __init__(self) -> None:
        self._cookie = b""
        self._cookies = 0

    def _take_cookie(self, sa: IkeSa, cookie: bytes, now: int) -> None:
        if len(cookie) not in _COOKIE_BYTES:
            raise WireError(f"a cookie of {len(cookie)} octets (RFC 7296 2.6)")
        if self._cookies == _MAX_COOKIES or cookie == self._cookie:
            text = "the responder goes on asking for cookies"
            _remember(
                sa, Reason.COOKIE_REFUSED, f"{format_sock(sa.path.remote)} takes no cookie: {text}", now
            )
            raise WireError(text)
        self._cookies += 1
        self._cookie = cookie


class InitiateSaInit(EchoesCookie):
    """Ask until the responder agrees; its answers are not authentic before IKE_AUTH."""

    def __init__(self, sa: IkeSa) -> None:
        super().__init__()
        sa.offered = offer(sa.connection.proposals)
        sa.nonce_i = sa.ctx.rand(NONCE_BYTES)
        self._groups = groups_of(sa.offered)
        faults = sa.ctx.faults
        first = self._groups[0] if faults is None else faults.guess(sa, self._groups)
        self._pair = self._generate(sa, first)
        self._tried = {first}

    def _generate(self, sa: IkeSa, group: int) -> KeyPair:
        self._group = group
        return KEY_EXCHANGE[KeyExchangeId(group)].generate(sa.ctx.rand)

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        # The cookie comes first, and nothing else changes with it (RFC 7296 2.6). All suites are offered
        # again with a new group, so that nobody can talk us into a weaker one (1.2).
        if self._cookie:
            out.add(NotifyPayload(NotifyType.COOKIE, self._cookie))
        out.add(SaPayload(sa.offered), KePayload(self._group, self._pair.public), NoncePayload(sa.nonce_i))
        if sa.connection.nat_traversal:
            out.add(*natd_payloads(sa, sa.spi_i, NO_SPI))
        out.add(*_announcements(sa))
        out.add(*redirect_payloads(sa))
        if sa.connection.signs:
            out.add(hashes_payload())

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        error = first_error(message)
        cookie = message.notify(NotifyType.COOKIE)
        if error is not None and error.type == NotifyType.INVALID_KE_PAYLOAD:
            self._another_group(sa, error.data, now)
        elif error is not None:
            self._doubt(sa, error, now)
        elif cookie is not None:
            self._take_cookie(sa, cookie.data, now)
        elif message.notify(NotifyType.REDIRECT) is not None:
            redirected(sa, message, now)
            return Step.DONE
        else:
            self._agree(sa, received, now)
            return Step.DONE
        return Step.MORE

    def _another_group(self, sa: IkeSa, data: bytes, now: int) -> None:
        group = int.from_bytes(data, "big")
        if len(data) != 2 or group not in self._groups or group in self._tried:
            text = f"the responder asks for group {group}, not offered or sent already"
            _remember(sa, Reason.INVALID_KE_PAYLOAD, f"{text}; we offered {_list(sa.offered)}", now)
            raise WireError(text)
        self._tried.add(group)
        self._pair = self._generate(sa, group)

    def _doubt(self, sa: IkeSa, error: NotifyPayload, now: int) -> None:
        """Anyone can send this error: keep on trying for a while (RFC 7296 2.21.1)."""
        name = name_of(NotifyType, error.type)
        text = f"{format_sock(sa.path.remote)} refused IKE_SA_INIT: {name}; we offered {_list(sa.offered)}"
        _remember(sa, reason_of(error.type), text, now)
        raise UnprovenError(f"{name} in answer to IKE_SA_INIT, which anyone can send: we go on trying")

    def _agree(self, sa: IkeSa, received: Inbound, now: int) -> None:
        message = received.message
        chosen, ke, nonce = _agreed(message)
        if not is_choice_of(chosen, sa.offered):
            raise WireError("the responder chose what was not offered (RFC 7296 2.7)")
        if ke.group != self._group or _group_of(chosen[0]) != self._group:
            raise WireError("the responder's key exchange is not of the group that it chose")
        spi_r = message.header.spi_r
        if spi_r == NO_SPI:
            raise WireError("the responder chose no SPI")
        suite = ike_suite(chosen[0])
        announced = message.notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) is not None
        if additional_exchanges(chosen[0]) and not announced:
            raise WireError(
                "the responder chose additional key exchanges without IKE_INTERMEDIATE (RFC 9370)"
            )
        check_nonces(suite, sa.nonce_i, nonce.data)
        self._take_announcements(sa, message, now)
        self._insist_on_ppk(sa, message, now)
        shared = self._pair.agree(ke.data)
        sa.spi_r, sa.nonce_r, sa.init_r = spi_r, nonce.data, message.raw
        _derive(sa, chosen[0], suite, shared)
        _learn(sa, message, chosen[0])
        sa.ctx.timers.cancel((sa.ike_id, "patience"))
        sa.doubt(Reason.NONE, "")
        detect_nat(sa, received)
        heed_childless(sa, message)
        sa.peer_takes_more = message.notify(NotifyType.MULTIPLE_AUTH_SUPPORTED) is not None
        sa.float_port()
        problem = childless_problem(sa)
        if problem:
            sa.end(Reason.CHILDLESS_UNSUPPORTED, f"{format_sock(sa.path.remote)}: {problem}", now)
        else:
            sa.confirm(now)

    def _insist_on_ppk(self, sa: IkeSa, message: Message, now: int) -> None:
        """UnprovenError when a PPK must be used and the responder has none (RFC 8784 3)."""
        if sa.connection.ppk_required and message.notify(NotifyType.USE_PPK) is None:
            text = f"{format_sock(sa.path.remote)} does not use PPKs, and we insist on one (ppk_required)"
            _remember(sa, Reason.PPK_REQUIRED, text, now)
            raise UnprovenError(text)

    def _take_announcements(self, sa: IkeSa, message: Message, now: int) -> None:
        """What the responder verifies and trusts; UnprovenError when we could not sign for it."""
        connection = sa.connection
        if connection.local.method is not Method.PUBKEY:
            return
        hashes = announced_hashes(message)
        sa.asked, sa.peer_hashes = read_certreqs(message), hashes
        if choose_signing(connection, hashes) is None:
            text = no_signing(connection, hashes)
            _remember(sa, Reason.NO_COMMON_SIGNATURE, text, now)
            raise UnprovenError(text)


def redirected(sa: IkeSa, message: Message, now: int) -> None:
    """Begin anew with another gateway; this one keeps no state (RFC 5685 3)."""
    gateway = wanted_gateway(sa, message)
    if gateway is None:
        raise WireError("a redirection, and we have not said that we follow any (RFC 5685 3)")
    check_nonce(sa, gateway)
    here = format_sock(sa.path.remote)
    try:
        path = way_to(sa, gateway, now)
    except RedirectError as error:
        if error.reason is Reason.REDIRECT_LOOP:
            sa.end(error.reason, error.text, now)
            return
        _remember(sa, error.reason, error.text, now)
        raise UnprovenError(error.text) from error
    sa.go_to(path, sa.all_wanted(), now)
    to = format_sock(path.remote)
    sa.end(Reason.REDIRECTED, f"{here} redirected us to {to} in answer to IKE_SA_INIT (RFC 5685)", now)


@dataclass(slots=True)
class Choice:
    """What a responder takes of an IKE_SA_INIT request."""

    candidates: tuple[ConnectionConfig, ...]
    proposal: Proposal
    ke: KePayload
    nonce: bytes


def choose(candidates: tuple[ConnectionConfig, ...], message: Message, ctx: Context) -> Choice:
    """The first connection's choice of suite; PeerError says what must change. Keeps no state."""
    offered, ke, nonce = _agreed(message)
    if not candidates:
        text = "no connection is for a peer with the initiator's address"
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, text, reason=Reason.UNKNOWN_PEER)
    possible = _offered_to_us(message, offered)
    for index, connection in enumerate(candidates):
        proposal = select(possible, connection.proposals, ke.group)
        if proposal is None:
            continue
        group = _group_of(proposal)
        if ctx.faults is not None:
            common = [g for g in groups_of(connection.proposals) if g in groups_of(offered)]
            forced = ctx.faults.ask(ctx, connection.name, common, ke.group)
            if forced is not None:
                raise _another(forced, ke.group)
        if group != ke.group:
            raise _another(group, ke.group)
        return Choice(candidates[index:], proposal, ke, nonce.data)
    ours = _list(tuple(proposal for connection in candidates for proposal in connection.proposals))
    text = f"no IKE proposal in common: the initiator offered {_list(offered)}; we accept {ours}"
    raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, text)


def _another(group: int, sent: int) -> PeerError:
    text = f"the initiator must send a key exchange of group {group}, not {sent}"
    return PeerError(NotifyType.INVALID_KE_PAYLOAD, text, data=group.to_bytes(2, "big"))


class RespondSaInit(Task):
    """Answer a request that `choose` has accepted."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        """CryptoError for a value that is no member of its group (RFC 6989), WireError for a short nonce."""
        rand, choice = sa.ctx.rand, self._choice
        suite = ike_suite(choice.proposal)
        check_nonces(suite, choice.nonce)
        self._public, shared = suite.kex.respond(choice.ke.data, rand)
        sa.spi_r = sa.ctx.new_ike_spi()
        sa.init_i = received.message.raw
        sa.nonce_i, sa.nonce_r = choice.nonce, rand(NONCE_BYTES)
        sa.alternatives.may_redirect = takes_redirects(received.message)
        if any(connection.signs for connection in sa.candidates):
            sa.peer_hashes = announced_hashes(received.message)
        detect_nat(sa, received)
        _learn(sa, received.message, choice.proposal)
        _derive(sa, choice.proposal, suite, shared)
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        proposal = self._choice.proposal.with_spi(b"")
        out.add(SaPayload((proposal,)), KePayload(self._choice.ke.group, self._public))
        out.add(NoncePayload(sa.nonce_r))
        if sa.path.natt:
            out.add(*natd_payloads(sa, sa.spi_i, sa.spi_r))
        if any(connection.signs for connection in sa.candidates):
            out.add(hashes_payload())
        wanted = [c.remote for c in sa.candidates if c.remote.method is Method.PUBKEY]
        if wanted:
            out.add(*certreq_payloads(wanted))
        out.add(*_answers(sa))
        out.add_last(*childless_payloads(sa))


def _announcements(sa: IkeSa) -> list[NotifyPayload]:
    """What an initiator can do beyond RFC 7296 (RFC 7383 2.3, RFC 9242 3.1)."""
    wanted = []
    if any(map(offers_additional, sa.connection.proposals)):
        wanted.append(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)
    if sa.connection.uses_ppk:
        wanted.append(NotifyType.USE_PPK)
    return [*announce_fragmentation(sa), *(NotifyPayload(kind) for kind in wanted)]


def announce_fragmentation(sa: IkeSa) -> list[NotifyPayload]:
    """That we can join fragments (RFC 7383 2.3)."""
    if sa.connection.fragmentation is Fragmentation.NO:
        return []
    return [NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)]


def heed_fragmentation(sa: IkeSa, message: Message) -> None:
    """Use fragments if both sides can join them."""
    announced = message.notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) is not None
    sa.fragmentation = announced and sa.connection.fragmentation is not Fragmentation.NO


def _answers(sa: IkeSa) -> list[NotifyPayload]:
    """What a responder says that it can do as well."""
    wanted = [NotifyType.IKEV2_FRAGMENTATION_SUPPORTED] if sa.fragmentation else []
    if sa.additional:
        wanted.append(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)
    if sa.use_ppk:
        wanted.append(NotifyType.USE_PPK)
    if any(connection.remote.second is not None for connection in sa.candidates):
        wanted.append(NotifyType.MULTIPLE_AUTH_SUPPORTED)
    return [NotifyPayload(kind) for kind in wanted]


def _learn(sa: IkeSa, message: Message, chosen: Proposal) -> None:
    """What both sides can do, and which key exchanges they have to make yet."""
    heed_fragmentation(sa, message)
    heed_ppk(sa, message)
    sa.additional = additional_exchanges(chosen)
    if sa.additional:
        sa.int_auth = IntAuth()


def _offered_to_us(message: Message, offered: tuple[Proposal, ...]) -> tuple[Proposal, ...]:
    """Without IKE_INTERMEDIATE there is no room for additional key exchanges (RFC 9370 2.2.1)."""
    if message.notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) is not None:
        return offered
    if not any(map(offers_additional, offered)):
        return offered
    return tuple([p.without(*ADDITIONAL) for p in offered if not additional_are_required(p)])


def _remember(sa: IkeSa, reason: Reason, text: str, now: int) -> None:
    """What nobody vouches for, but will be the reason when patience ends."""
    if sa.reason is Reason.NONE:
        at = now + sa.ctx.config.error_patience
        sa.ctx.timers.arm((sa.ike_id, "patience"), at, lambda due: sa.end(sa.reason, sa.text, due))
    sa.doubt(reason, text)


def _list(proposals: tuple[Proposal, ...]) -> str:
    return ", ".join(map(format_proposal, proposals))


def groups_of(proposals: tuple[Proposal, ...]) -> list[int]:
    """The key exchange methods on offer, in order of preference."""
    return list(dict.fromkeys(t.id for p in proposals for t in p.of_type(TransformType.KE)))


def _group_of(chosen: Proposal) -> int:
    return groups_of((chosen,))[0]


def _agreed(message: Message) -> tuple[tuple[Proposal, ...], KePayload, NoncePayload]:
    sa, ke, nonce = message.find(SaPayload), message.find(KePayload), message.find(NoncePayload)
    assert sa is not None
    assert ke is not None
    assert nonce is not None  # all three by the table of exchanges
    return sa.proposals, ke, nonce


def check_nonces(suite: IkeSuite, *nonces: bytes) -> None:
    if any(2 * len(nonce) < suite.prf.key_bytes for nonce in nonces):
        raise WireError("a nonce is shorter than half a key of the PRF (RFC 7296 2.10)")


def _derive(sa: IkeSa, chosen: Proposal, suite: IkeSuite, shared: bytes) -> None:
    seed = skeyseed(suite.prf, sa.nonce_i, sa.nonce_r, shared)
    keys = ike_keys(suite, seed, sa.nonce_i, sa.nonce_r, sa.spi_i, sa.spi_r)
    sa.derive(chosen, suite, keys)
