"""Creating a Child SA, as the one who is asked: in IKE_AUTH or in CREATE_CHILD_SA (RFC 7296 1.2, 1.3).

    HDR, SK {SA, [Ni, [KEi,]] TSi, TSr}  -->
                                <--  HDR, SK {SA, [Nr, [KEr,]] TSi, TSr}

Refusals stay inside the response and leave the IKE SA alone (2.21.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sim.crypto.errors import CryptoError
from sim.crypto.ids import KeyExchangeId
from sim.crypto.suites import KEY_EXCHANGE
from sim.ike import aggfrag, compression, resource, transport_nat
from sim.ike.child import ChildSa, spi_octets
from sim.ike.config import ChildConfig, Childless
from sim.ike.constants import ExchangeType, NotifyType, PayloadType, TransformType
from sim.ike.errors import PeerError, Scope
from sim.ike.events import ChildFailed, ResourceRefused
from sim.ike.exchanges import State
from sim.ike.followups import Pending
from sim.ike.message import Message
from sim.ike.payloads import KePayload, NoncePayload, NotifyPayload, SaPayload, TsPayload
from sim.ike.populate import is_of_one_packet, local_flags, names_one_host, populated, remote_flags
from sim.ike.proposals import Proposal, additional_exchanges, select
from sim.ike.selectors import narrow
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.ike.tasks.child_terms import (
    FRAGMENTS_ALSO,
    NO_TFC,
    finish,
    is_inner_host,
    join,
    local_selectors,
    natted_ah,
    natted_selectors,
    other_holder,
    proposals_for,
    refuses_padding,
    remote_selectors,
    suites,
    takes_fragments,
    ts_of,
)
from sim.ike.transport_nat import admits, asks_through_nat, one_host, with_address
from sim.wire.address import format_address
from sim.wire.aggfrag import Requirement
from sim.wire.esp import Mode
from sim.wire.resource import ALL, Share
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa
    from sim.ike.selectors import WireSelector

_NONCE_BYTES = 32


@dataclass(slots=True)
class Terms:
    """What was agreed on: the initiator's proposal cut down to our choice, and narrowed selectors.

    `more` is that another Child SA would serve other parts of what the initiator asked for.
    """

    config: ChildConfig
    chosen: Proposal
    local_ts: tuple[Selector, ...]
    remote_ts: tuple[Selector, ...]
    more: bool
    substituted: bool


@dataclass(slots=True)
class ChildDraft:
    """A Child SA that is agreed on; `shared` is the secret of CREATE_CHILD_SA's own key exchange.

    `cpis` are those of IPComp, ours and the peer's, or zeros; `share` is its part among several; `aggfrag` is
    what the peer demands.
    """

    config: ChildConfig
    mode: Mode
    spi_in: int
    local_ts: tuple[Selector, ...]
    remote_ts: tuple[Selector, ...]
    nonces: tuple[bytes, bytes]
    shared: bytes
    answer: tuple[tuple[Selector, ...], tuple[Selector, ...]]
    cpis: tuple[int, int] = (0, 0)
    share: Share | None = None
    takes_no_padding: bool = False
    fragments: bool = False
    aggfrag: Requirement = Requirement.NONE


class Option(NamedTuple):
    """A configured Child SA and what it allows of the selectors on offer, the peer's side first.

    `substituted` is that they have the addresses seen here, for transport mode through a NAT.
    """

    config: ChildConfig
    remote: tuple[Selector, ...]
    local: tuple[Selector, ...]
    substituted: bool = False


class RespondChild(Task):
    says_resource = True
    """Whether an answer says which resource it is for, where there are several (RFC 9611)."""

    def __init__(self, exchange: ExchangeType) -> None:
        self._exchange = exchange
        self._error: PeerError | None = None
        self._draft: ChildDraft | None = None
        self._nonce = b""
        self._public = b""
        self._asked = True

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        self._asked = message.find(SaPayload) is not None
        self._configs = sa.connection.children
        try:
            self._check_state(sa, message)
            if self._asked:
                self._create(sa, message, now)
        except PeerError as error:
            if error.scope is Scope.IKE_SA:
                raise
            self._error = error
            self._tell(sa, error)
        return Step.DONE

    def _tell(self, sa: IkeSa, error: PeerError) -> None:
        if error.notify == NotifyType.TS_MAX_QUEUE:
            name = self._configs[0].name
            sa.ctx.emit(
                ResourceRefused(sa.ike_id, sa.connection.name, name, ALL, False, error.reason, error.text)
            )
            return
        name = next((config.name for config in self._configs), "")
        sa.ctx.emit(ChildFailed(sa.ike_id, sa.connection.name, name, error.reason, error.text, False))

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        draft = self._draft
        if self._error is not None:
            out.add(self._error.payload())
        elif draft is not None:
            if draft.mode is Mode.TRANSPORT:
                out.add(NotifyPayload(NotifyType.USE_TRANSPORT_MODE), NO_TFC)
            if draft.fragments:
                out.add(FRAGMENTS_ALSO)
            if draft.mode is Mode.IPTFS:
                out.add(aggfrag.notify(draft.config))
            if draft.cpis[0]:
                out.add(compression.notify(draft.cpis[0]))
            if draft.share is not None and self.says_resource:
                out.add(resource.notify(resource.octets(draft.share.cpu)))
            if self._more:
                out.add_last(NotifyPayload(NotifyType.ADDITIONAL_TS_POSSIBLE))
            out.add(SaPayload((self._chosen.with_spi(spi_octets(draft.spi_in)),)))
            if self._nonce:
                out.add(NoncePayload(self._nonce))
            if self._public:
                out.add(KePayload(self._group, self._public))
            out.add(
                TsPayload(PayloadType.TS_I, draft.answer[0]), TsPayload(PayloadType.TS_R, draft.answer[1])
            )
            methods = additional_exchanges(self._chosen)
            if methods:
                out.add_last(sa.followups.expect(Pending(self, methods), now))

    def check(self, sa: IkeSa) -> None:
        """Whether its additional key exchanges may go on; a rekeying that we have begun can wait."""
        if sa.state is not State.ESTABLISHED:
            raise PeerError(NotifyType.TEMPORARY_FAILURE, "the IKE SA is being replaced or deleted")

    def complete(self, sa: IkeSa, additional: bytes, out: Outgoing, now: int) -> None:
        """The last of its key exchanges is made."""
        self._install(sa, additional, now)

    def give_up(self, sa: IkeSa) -> None:
        """The peer does not go on with its additional key exchanges."""
        if self._draft is not None:
            sa.ctx.release_spi(self._draft.spi_in)

    def _check_state(self, sa: IkeSa, message: Message) -> None:
        if self._exchange == ExchangeType.CREATE_CHILD_SA:
            check_child_may_change(sa)
        elif self._asked and sa.connection.childless is Childless.FORCE:
            text = "a Child SA may only follow IKE_AUTH (childless = force)"
            raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, text)
        elif not self._asked and sa.connection.childless is Childless.NEVER:
            text = "IKE_AUTH without a Child SA, which was not announced (childless = never)"
            raise PeerError(NotifyType.INVALID_SYNTAX, text, Scope.IKE_SA)

        if self._asked and sa.cp_problem is not None:
            raise sa.cp_problem

    def _options(self, sa: IkeSa, message: Message) -> list[Option]:
        """What each configured Child SA allows of the selectors on offer."""
        theirs, ours = ts_of(message, PayloadType.TS_I), ts_of(message, PayloadType.TS_R)
        through_nat = asks_through_nat(sa, message)
        return [
            (_substituted(sa, config, theirs, ours) if through_nat else None)
            or Option(config, *_narrowed(sa, config, theirs, ours))
            for config in self._configs
        ]

    def _create(self, sa: IkeSa, message: Message, now: int) -> None:
        terms = agree(sa, self._options(sa, message), self._exchange, message)
        share = self._share(sa, terms, message)
        nonces, shared = (sa.nonce_i, sa.nonce_r), b""
        if self._exchange == ExchangeType.CREATE_CHILD_SA:
            nonces, shared = self._fresh_values(sa, terms.chosen, message)
        self._chosen, self._more = terms.chosen, terms.more
        mode, spi_in = self._mode(sa, terms, message), sa.ctx.new_child_spi()
        mode = aggfrag.agreed_mode(mode, terms.config, message)
        answer = _as_asked(message, terms) if terms.substituted else (terms.remote_ts, terms.local_ts)
        self._draft = ChildDraft(
            terms.config, mode, spi_in, terms.local_ts, terms.remote_ts, nonces, shared, answer
        )
        self._draft.takes_no_padding = refuses_padding(message)
        self._draft.fragments = takes_fragments(terms.config, mode, message)
        if mode is Mode.IPTFS:
            self._draft.aggfrag = aggfrag.demanded(message) or Requirement.NONE
        elif terms.config.ipcomp and (cpi_out := compression.named(message)):
            cpi_in = sa.ctx.cpis.take(spi_in, sa.ctx.rand)
            self._draft.cpis = (cpi_in, cpi_out) if cpi_in else (0, 0)
        self._draft.share = share
        if additional_exchanges(terms.chosen):
            self._drafted(nonces)
        else:
            self._install(sa, b"", now)

    def _share(self, sa: IkeSa, terms: Terms, message: Message) -> Share | None:
        """Its part among several; PeerError where there are too many."""
        if not (resource.is_wanted(terms.config) and resource.is_told(message)):
            return None
        return resource.assigned(sa, terms.config, terms.local_ts, terms.remote_ts)

    def _drafted(self, nonces: tuple[bytes, bytes]) -> None:
        """There will be a Child SA, once the additional key exchanges are made."""

    def _install(self, sa: IkeSa, additional: bytes, now: int) -> None:
        draft = self._draft
        assert draft is not None
        child = finish(
            sa,
            draft.config,
            False,
            draft.mode,
            (draft.spi_in, int.from_bytes(self._chosen.spi, "big")),
            self._chosen,
            draft.nonces,
            draft.shared,
            (draft.local_ts, draft.remote_ts),
            additional,
        )
        child.cpi_in, child.cpi_out = draft.cpis
        child.original = transport_nat.original(child, *draft.answer)
        child.share = draft.share
        child.takes_no_padding = draft.takes_no_padding
        child.fragments = draft.fragments
        child.aggfrag = draft.aggfrag
        self._made(sa, child, draft.nonces, now)

    def _made(self, sa: IkeSa, child: ChildSa, nonces: tuple[bytes, bytes], now: int) -> None:
        """There is a Child SA to answer with; `nonces` are the peer's, ours."""
        sa.add_child(child, now)

    def _mode(self, sa: IkeSa, terms: Terms, message: Message) -> Mode:
        """Transport if both want it and no NAT stands against it; else tunnel mode (RFC 7296 1.3.1)."""
        asked = message.notify(NotifyType.USE_TRANSPORT_MODE) is not None
        possible = terms.substituted or not sa.path.encap
        return Mode.TRANSPORT if asked and possible and terms.config.mode is Mode.TRANSPORT else Mode.TUNNEL

    def _fresh_values(
        self, sa: IkeSa, chosen: Proposal, message: Message
    ) -> tuple[tuple[bytes, bytes], bytes]:
        """Nonces and, if the suite has a group, the shared secret (RFC 7296 1.3, 2.17)."""
        peer, ke = message.find(NoncePayload), message.find(KePayload)
        assert peer is not None  # by the table of exchanges
        groups = [t.id for t in chosen.of_type(TransformType.KE) if t.id]
        shared = b""
        if groups:
            self._group = groups[0]
            if ke is None or ke.group != self._group:
                text = f"the initiator must send a key exchange of group {self._group}"
                raise PeerError(NotifyType.INVALID_KE_PAYLOAD, text, data=self._group.to_bytes(2, "big"))
            method = KEY_EXCHANGE[KeyExchangeId(self._group)]
            try:
                self._public, shared = method.respond(ke.data, sa.ctx.rand)
            except CryptoError as error:
                raise PeerError(NotifyType.INVALID_SYNTAX, str(error)) from error
        self._nonce = sa.ctx.rand(_NONCE_BYTES)
        return (peer.data, self._nonce), shared


def check_child_may_change(sa: IkeSa) -> None:
    """Whether the peer may create or rekey a Child SA now; PeerError if not (RFC 7296 2.25.2)."""
    if sa.state is State.DELETING:
        raise PeerError(NotifyType.TEMPORARY_FAILURE, "the IKE SA is being deleted (RFC 7296 2.25.2)")
    if sa.state is State.REKEYED or sa.rekeying_ike is not None:
        raise PeerError(NotifyType.TEMPORARY_FAILURE, "the IKE SA is being rekeyed (RFC 7296 2.25.2)")


def agree(sa: IkeSa, options: list[Option], exchange: ExchangeType, message: Message) -> Terms:
    """The first of the configured Child SAs that fits selectors and suite; PeerError says what did not.

    One that allows the initiator's first selectors, which may be a packet's, comes before one that allows
    only others (RFC 7296 2.9).
    """
    offered = message.find(SaPayload)
    theirs, ours = ts_of(message, PayloadType.TS_I), ts_of(message, PayloadType.TS_R)
    ke = message.find(KePayload)
    assert offered is not None  # by the caller
    possible = [option for option in options if option.remote and option.local]
    possible.sort(
        key=lambda option: not (_has_first(option.remote, theirs) and _has_first(option.local, ours))
    )
    for config, remote, local, substituted in possible:
        if natted_ah(sa, config):
            continue
        accepted = proposals_for(exchange, config.suites)
        chosen = select(
            proposals_for(exchange, offered.proposals), accepted, None if ke is None else ke.group
        )
        if chosen is not None and len(chosen.spi) == 4:
            more = any(not _lies_in((option.remote, option.local), (remote, local)) for option in possible)
            return Terms(config, chosen, local, remote, more, substituted)
    configs = [option.config for option in options]
    raise _no_suite(sa, configs, offered) if possible else _no_selectors(sa, configs, theirs, ours)


def _narrowed(
    sa: IkeSa, config: ChildConfig, theirs: tuple[WireSelector, ...], ours: tuple[WireSelector, ...]
) -> tuple[tuple[Selector, ...], tuple[Selector, ...]]:
    """What a configured Child SA allows of the peer's side and of this one."""
    far, near = remote_selectors(sa, config), local_selectors(sa, config)
    natted = natted_selectors(sa, config, theirs)
    if config.populate:
        far, near, natted = (
            _of_packet(remote_flags(config.populate), theirs, far),
            _of_packet(local_flags(config.populate), ours, near),
            _of_packet(remote_flags(config.populate), theirs, natted),
        )
    remote = tuple([s for s in narrow(theirs, far) if not is_inner_host(s) or other_holder(sa, s) is None])
    return remote or narrow(theirs, natted), narrow(ours, near)


def _of_packet(
    flags: frozenset[str], offered: tuple[WireSelector, ...], allowed: tuple[Selector, ...]
) -> tuple[Selector, ...]:
    """What the policy allows for the packet that the peer's first selector describes."""
    first = offered[0] if is_of_one_packet(flags, offered) else None
    return populated(flags, first, allowed) if isinstance(first, Selector) else ()


def _substituted(
    sa: IkeSa, config: ChildConfig, theirs: tuple[WireSelector, ...], ours: tuple[WireSelector, ...]
) -> Option | None:
    """The same for transport mode through a NAT, if that is possible (RFC 7296 2.23.1)."""
    if config.mode is not Mode.TRANSPORT or not (one_host(theirs) and one_host(ours)):
        return None
    remote = narrow(with_address(theirs, sa.path.remote[0]), remote_selectors(sa, config))
    local = narrow(with_address(ours, sa.path.local[0]), local_selectors(sa, config))
    if not (remote and local) or not admits(sa, config, remote, local):
        return None
    return Option(config, remote, local, True)


def _as_asked(message: Message, terms: Terms) -> tuple[tuple[Selector, ...], tuple[Selector, ...]]:
    """What was agreed on, with the addresses that the initiator has given."""
    first_i, first_r = ts_of(message, PayloadType.TS_I)[0], ts_of(message, PayloadType.TS_R)[0]
    assert isinstance(first_i, Selector)
    assert isinstance(first_r, Selector)
    return with_address(terms.remote_ts, first_i.start), with_address(terms.local_ts, first_r.start)


def _lies_in(sides: tuple[tuple[Selector, ...], ...], others: tuple[tuple[Selector, ...], ...]) -> bool:
    pairs = zip(sides, others, strict=True)
    return all(any(wide.contains(part) for wide in other) for side, other in pairs for part in side)


def _has_first(narrowed: tuple[Selector, ...], offered: tuple[WireSelector, ...]) -> bool:
    first = offered[0]
    return isinstance(first, Selector) and any(selector.contains(first) for selector in narrowed)


def _no_suite(sa: IkeSa, configs: list[ChildConfig], offered: SaPayload) -> PeerError:
    accepted = [proposal for config in configs for proposal in config.suites]
    protocols = " or ".join(dict.fromkeys(config.protocol.name for config in configs))
    text = (
        f"no {protocols} proposal in common: {sa.remote_id} offered {suites(offered.proposals)}; "
        f"we accept {suites(accepted)}"
    )
    if all(natted := [natted_ah(sa, config) for config in configs]):
        text = f"AH is refused{natted[0]}"
    return PeerError(NotifyType.NO_PROPOSAL_CHOSEN, text)


def _needs_one_pair(config: ChildConfig, theirs: tuple[object, ...], ours: tuple[object, ...]) -> bool:
    far, near = remote_flags(config.populate), local_flags(config.populate)
    return not (names_one_host(far, theirs) and names_one_host(near, ours))


def _no_selectors(
    sa: IkeSa, configs: list[ChildConfig], theirs: tuple[object, ...], ours: tuple[object, ...]
) -> PeerError:
    allowed = join(
        f"{join(remote_selectors(sa, config))} === {join(local_selectors(sa, config))}" for config in configs
    )
    if configs and all(_needs_one_pair(config, theirs, ours) for config in configs):
        text = f"{sa.remote_id} must ask for a single pair of addresses, of a packet, not for {join(theirs)}"
        return PeerError(NotifyType.SINGLE_PAIR_REQUIRED, f"{text} === {join(ours)}; we allow {allowed}")
    text = (
        f"no traffic selectors in common: {sa.remote_id} offered {join(theirs)} === {join(ours)}; "
        f"we allow {allowed}{_taken(sa, theirs)}"
    )
    return PeerError(NotifyType.TS_UNACCEPTABLE, text)


def _taken(sa: IkeSa, theirs: tuple[object, ...]) -> str:
    """Who has the private address that a peer behind a NAT wants."""
    for selector in filter(is_inner_host, theirs):
        if (holder := other_holder(sa, selector)) is not None:
            address = format_address(selector.start)
            return f"; {address} is {holder.ike.remote_id}'s, behind another NAT (RFC 3948 5.1)"
    return ""
