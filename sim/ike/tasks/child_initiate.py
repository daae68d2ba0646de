"""Creating a Child SA, as the one who asks: in IKE_AUTH or in CREATE_CHILD_SA (RFC 7296 1.2, 1.3.1).

    HDR, SK {[N(USE_TRANSPORT_MODE),] SA, [Ni, [KEi],] TSi, TSr}  -->
                                <--  HDR, SK {[N(USE_TRANSPORT_MODE),] SA, [Nr, [KEr],] TSi, TSr}

A failure concerns the Child SA alone (RFC 7296 2.21.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.crypto.errors import CryptoError
from sim.crypto.ids import KeyExchangeId
from sim.crypto.kex import KeyExchange, KeyPair
from sim.crypto.suites import KEY_EXCHANGE
from sim.ike import aggfrag, compression, resource
from sim.ike.child import ChildSa, spi_octets
from sim.ike.config import ChildConfig
from sim.ike.constants import ExchangeType, NotifyType, PayloadType, ProtocolId, TransformType, name_of
from sim.ike.errors import PeerError, reason_of
from sim.ike.events import ChildFailed, Reason
from sim.ike.exchanges import first_error
from sim.ike.message import Message
from sim.ike.payloads import DeletePayload, KePayload, NoncePayload, NotifyPayload, SaPayload, TsPayload
from sim.ike.populate import local_flags, populated, remote_flags
from sim.ike.proposals import Proposal, additional_exchanges, is_choice_of, offer
from sim.ike.recovery import restart_children
from sim.ike.tasks.base import Inbound, Job, Outgoing, Step, Task
from sim.ike.tasks.child_terms import (
    FRAGMENTS_ALSO,
    NO_TFC,
    PacketSelectors,
    finish,
    join,
    local_selectors,
    natted_ah,
    proposals_for,
    refuses_padding,
    remote_selectors,
    suites,
    takes_fragments,
    ts_of,
)
from sim.ike.tasks.followup import Rounds
from sim.ike.transport_nat import asks_through_nat, one_host, with_address
from sim.wire.address import format_sock
from sim.wire.aggfrag import Requirement
from sim.wire.esp import Mode
from sim.wire.resource import Share
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

_NONCE_BYTES = 32
_NO_GROUP = 0
_PASSING = (Reason.TEMPORARY_FAILURE, Reason.STATE_NOT_FOUND)


class InitiateChild(Task):
    """`packet` are the selectors of the packet that made us ask; they go first (RFC 7296 2.9).

    `further` is that it comes beside another Child SA that is up and serves the same traffic.
    """

    further = False

    def __init__(
        self, exchange: ExchangeType, config: ChildConfig, packet: PacketSelectors | None = None
    ) -> None:
        self.config = config
        self._exchange = exchange
        self.packet = packet
        self._spi_in = self._cpi_in = 0
        self._nonce = b""
        self._pair: KeyPair | None = None
        self._group = _first_group(proposals_for(exchange, config.suites))
        self._tried = {self._group}
        self._rounds: Rounds | None = None
        self.deleted: set[int] = set()
        """SPIs that the peer has deleted since we asked: perhaps that of an answer which is still to come."""

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._rounds is not None:
            self._rounds.build(sa, out)
            return
        config = self.config
        self._spi_in = self._spi_in or sa.ctx.new_child_spi()
        self._offered = offer(proposals_for(self._exchange, config.suites), spi_octets(self._spi_in))
        self._ours, self._theirs = self._wanted_selectors(sa)
        self._transport = self._wants_transport(sa)
        if self._transport:
            out.add(NotifyPayload(NotifyType.USE_TRANSPORT_MODE), NO_TFC)
        elif config.fragments:
            out.add(FRAGMENTS_ALSO)
        self._aggregate = self._wants_aggfrag(sa)
        if self._aggregate:
            out.add(aggfrag.notify(config))
        self._offer_compression(sa, out)
        if (data := self._resource()) is not None:
            out.add(resource.notify(data))
        out.add(SaPayload(self._offered))
        if self._exchange == ExchangeType.CREATE_CHILD_SA:
            self._add_fresh_values(sa, out)
        out.add(TsPayload(PayloadType.TS_I, self._ours), TsPayload(PayloadType.TS_R, self._theirs))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        error = first_error(message)
        if self._rounds is not None:
            step = self._followed(sa, self._rounds, message, error, now)
        elif error is not None and self._another_group(error):
            step = Step.MORE
        else:
            step = self._conclude(sa, message, error, now)
        if step is Step.DONE and self._exchange == ExchangeType.CREATE_CHILD_SA:
            sa.settled(now)
        return step

    def _conclude(self, sa: IkeSa, message: Message, error: NotifyPayload | None, now: int) -> Step:
        answer = message.find(SaPayload)
        if answer is None:
            self._refused(sa, error, now)
            return Step.DONE
        problem = self._problem(sa, answer, message)
        if problem:
            self._reject(sa, problem, now)
            return Step.DONE
        return self._agree(sa, answer.proposals[0], message, now)

    def _followed(
        self, sa: IkeSa, rounds: Rounds, message: Message, error: NotifyPayload | None, now: int
    ) -> Step:
        """The answer to one of the additional key exchanges."""
        if error is not None:
            self._refused(sa, error, now)
            return Step.DONE
        try:
            return rounds.process(message, now)
        except PeerError as problem:
            self._reject(sa, problem.text, now)
            return Step.DONE

    def abandon(self, sa: IkeSa) -> None:
        sa.ctx.release_spi(self._spi_in)

    def _wanted_selectors(self, sa: IkeSa) -> tuple[tuple[Selector, ...], tuple[Selector, ...]]:
        config = self.config
        ours, theirs = self.packet or (None, None)
        if ours is not None and sa.connection.vips and not config.local_ts and not sa.has_vip(ours.start):
            ours = None  # the packet will have to come from the virtual IP
        local, remote = local_selectors(sa, config), remote_selectors(sa, config)
        if config.populate and ours is not None:
            local = populated(local_flags(config.populate), ours, local) or local
        if config.populate and theirs is not None:
            remote = populated(remote_flags(config.populate), theirs, remote) or remote
        return _proposed(ours, config.local_ts, local), _proposed(theirs, config.remote_ts, remote)

    def _wants_transport(self, sa: IkeSa) -> bool:
        through_nat = sa.path.encap and not (one_host(self._ours) and one_host(self._theirs))
        return self.config.mode is Mode.TRANSPORT and not through_nat

    def _wants_aggfrag(self, sa: IkeSa) -> bool:
        return self.config.mode is Mode.IPTFS

    def _resource(self) -> bytes | None:
        """What SA_RESOURCE_INFO holds; None without it (RFC 9611)."""
        return b"" if resource.is_wanted(self.config) else None

    def _share(self, sa: IkeSa, message: Message) -> Share | None:
        """Its part among several, if the peer's answer says that there may be some."""
        agreed = resource.is_wanted(self.config) and resource.is_told(message)
        return resource.share_of(sa, self.config) if agreed else None

    def _offer_compression(self, sa: IkeSa, out: Outgoing) -> None:
        if self.config.ipcomp:
            self._cpi_in = self._cpi_in or sa.ctx.cpis.take(self._spi_in, sa.ctx.rand)
        if self._cpi_in:
            out.add(compression.notify(self._cpi_in))

    def _add_fresh_values(self, sa: IkeSa, out: Outgoing) -> None:
        self._nonce = sa.ctx.rand(_NONCE_BYTES)
        out.add(NoncePayload(self._nonce))
        if self._group != _NO_GROUP:
            self._pair = KEY_EXCHANGE[KeyExchangeId(self._group)].generate(sa.ctx.rand)
            out.add(KePayload(self._group, self._pair.public))

    def _another_group(self, error: NotifyPayload) -> bool:
        """Whether the responder wants another group, of those on offer that we have not tried."""
        group = int.from_bytes(error.data, "big")
        known = {t.id for proposal in self._offered for t in proposal.of_type(TransformType.KE)}
        if error.type != NotifyType.INVALID_KE_PAYLOAD or group in self._tried or group not in known:
            return False
        self._group = group
        self._tried.add(group)
        return True

    def _refused(self, sa: IkeSa, error: NotifyPayload | None, now: int) -> None:
        name = "no Child SA in the response" if error is None else name_of(NotifyType, error.type)
        text = f"{format_sock(sa.path.remote)} refused it: {name}; we offered {self._offer_text()}"
        text += natted_ah(sa, self.config)
        reason = reason_of(0 if error is None else error.type)
        self._fail(sa, reason, text)
        if reason in _PASSING and self.packet is None:
            sa.lifetimes.retry_create(self.config, reason, now)  # a packet will ask again by itself

    def _offer_text(self) -> str:
        return f"{suites(self._offered)} for {join(self._ours)} === {join(self._theirs)}"

    def _problem(self, sa: IkeSa, answer: SaPayload, message: Message) -> str:
        """What is wrong with the responder's choice, or nothing."""
        transport = message.notify(NotifyType.USE_TRANSPORT_MODE) is not None
        if sa.lacks_vips and not self.config.local_ts:
            return "it assigned no virtual IP"
        if not is_choice_of(answer.proposals, self._offered) or len(answer.proposals[0].spi) != 4:
            return "it chose a suite that was not offered"
        if problem := natted_ah(sa, self.config):
            return f"it agreed to AH{problem}"
        if transport and not self._transport:
            return "it chose transport mode, which was not offered"
        if aggfrag.has_any(message) and (not self._aggregate or aggfrag.demanded(message) is None):
            return "it chose AGGFRAG mode, which was not offered, or demands what we do not know"
        if compression.has_any(message) and not (self._cpi_in and compression.named(message)):
            return "it chose an IPComp that was not offered"
        ours, theirs = self._answered(sa, message)
        if not _within(ours, self._ours):
            return "it widened our traffic selectors"
        if not _within(theirs, self._theirs):
            return "it widened its traffic selectors"
        return ""

    def _answered(self, sa: IkeSa, message: Message) -> tuple[tuple[object, ...], tuple[object, ...]]:
        """The selectors of the answer; those of transport mode through a NAT with the addresses seen here."""
        ours, theirs = ts_of(message, PayloadType.TS_I), ts_of(message, PayloadType.TS_R)
        if asks_through_nat(sa, message) and one_host(ours) and one_host(theirs):
            return with_address(ours, self._ours[0].start), with_address(theirs, self._theirs[0].start)
        return ours, theirs

    def _agree(self, sa: IkeSa, chosen: Proposal, message: Message, now: int) -> Step:
        """Install the Child SA, after its additional key exchanges if there are any."""
        nonces, shared = (sa.nonce_i, sa.nonce_r), b""
        if self._exchange == ExchangeType.CREATE_CHILD_SA:
            nonce, ke = message.find(NoncePayload), message.find(KePayload)
            nonces = (self._nonce, nonce.data if nonce is not None else b"")
            group = _first_group((chosen,))
            if group != _NO_GROUP:
                if ke is None or ke.group != group or self._pair is None or group != self._group:
                    self._reject(sa, "its key exchange is not of the chosen group", now)
                    return Step.DONE
                try:
                    shared = self._pair.agree(ke.data)
                except CryptoError as error:
                    self._reject(sa, str(error), now)
                    return Step.DONE

        def install(additional: bytes, then: int) -> None:
            self._install(sa, chosen, message, nonces, (shared, additional), then)

        return self._go_on(sa, additional_exchanges(chosen), message, install, now)

    def _go_on(
        self,
        sa: IkeSa,
        methods: tuple[KeyExchange, ...],
        message: Message,
        install: Callable[[bytes, int], None],
        now: int,
    ) -> Step:
        if not methods:
            install(b"", now)
            return Step.DONE
        try:
            self._rounds = Rounds(methods, message, install)
        except PeerError as error:
            self._reject(sa, error.text, now)
            return Step.DONE
        self.continues_in = ExchangeType.IKE_FOLLOWUP_KE
        return Step.MORE

    def _install(
        self,
        sa: IkeSa,
        chosen: Proposal,
        message: Message,
        nonces: tuple[bytes, bytes],
        secrets: tuple[bytes, bytes],
        now: int,
    ) -> None:
        transport = message.notify(NotifyType.USE_TRANSPORT_MODE) is not None
        ours, theirs = self._answered(sa, message)
        child = finish(
            sa,
            self.config,
            True,
            aggfrag.agreed_mode(Mode.TRANSPORT if transport else Mode.TUNNEL, self.config, message),
            (self._spi_in, int.from_bytes(chosen.spi, "big")),
            chosen,
            nonces,
            secrets[0],
            (_selectors(ours), _selectors(theirs)),
            secrets[1],
        )
        child.takes_no_padding = refuses_padding(message)
        child.fragments = takes_fragments(self.config, child.mode, message)
        child.aggfrag = aggfrag.demanded(message) or Requirement.NONE
        if cpi_out := compression.named(message):
            child.cpi_in, child.cpi_out = self._cpi_in, cpi_out
        child.share = self._share(sa, message)
        self._spi_in = self._cpi_in = 0  # the Child SA's from now on
        self._made(sa, child, nonces, now)
        if child.spi_out in self.deleted:
            peer_deleted(sa, child, f"{format_sock(sa.path.remote)} deleted it before its answer came", now)

    def _made(self, sa: IkeSa, child: ChildSa, nonces: tuple[bytes, bytes], now: int) -> None:
        """The exchange is over and has made a Child SA; `nonces` are ours, the peer's."""
        sa.add_child(child, now)

    def _reject(self, sa: IkeSa, problem: str, now: int) -> None:
        """The responder has installed what we do not accept: it must delete that again."""
        self._fail(sa, Reason.INVALID_SYNTAX, f"{format_sock(sa.path.remote)} answered wrongly: {problem}")
        sa.requests.submit(
            Job(ExchangeType.INFORMATIONAL, [_DeleteUnused(self.config.protocol, self._spi_in)]), now
        )

    def _fail(self, sa: IkeSa, reason: Reason, text: str) -> None:
        sa.ctx.release_spi(self._spi_in)
        sa.ctx.emit(ChildFailed(sa.ike_id, sa.connection.name, self.config.name, reason, text, True))


def peer_deleted(sa: IkeSa, child: ChildSa, text: str, now: int) -> None:
    """The peer has deleted a Child SA, and knows it no more."""
    sa.remove_child(child, Reason.DELETED_BY_PEER, text)
    if not child.is_bound:
        restart_children(sa, [child.config], Reason.DELETED_BY_PEER, now)


class CreateWanted(Task):
    """Comes last in IKE_AUTH: the other Child SAs follow, each in an exchange of its own."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        sa.forget_beginnings()
        sa.create_wanted(now)
        sa.settled(now)
        return Step.DONE


class _DeleteUnused(Task):
    survives = True

    def __init__(self, protocol: ProtocolId, spi_in: int) -> None:
        self._protocol, self._spi_in = protocol, spi_in

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(DeletePayload(self._protocol, (spi_octets(self._spi_in),)))


def _first_group(proposals: tuple[Proposal, ...]) -> int:
    groups = [t.id for proposal in proposals for t in proposal.of_type(TransformType.KE)]
    return groups[0] if groups else _NO_GROUP


def _proposed(
    packet: Selector | None, configured: tuple[Selector, ...], selectors: tuple[Selector, ...]
) -> tuple[Selector, ...]:
    """The packet's own selector first, then what policy allows (RFC 7296 2.9).

    The packet may have another address than the IKE SA, which a dynamic selector stands for, too: one that
    this host had before a move. Then policy allows all that goes from there, not only this packet.
    """
    if packet is None:
        return selectors
    host = () if configured else (Selector.host(packet.start),)
    return tuple(dict.fromkeys((packet, *host, *selectors)))


def _selectors(offered: tuple[object, ...]) -> tuple[Selector, ...]:
    return tuple(selector for selector in offered if isinstance(selector, Selector))


def _within(answer: tuple[object, ...], offered: tuple[Selector, ...]) -> bool:
    """Whether the answer names something, and nothing beyond one of the offers (RFC 7296 2.9)."""
    narrowed = _selectors(answer)
    return (
        bool(narrowed)
        and len(narrowed) == len(answer)
        and all(any(wide.contains(narrow) for wide in offered) for narrow in narrowed)
    )
