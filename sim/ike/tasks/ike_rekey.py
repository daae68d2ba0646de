"""Rekeying the IKE SA, from either side and from both at once (RFC 7296 1.3.2, 2.8.2, 2.18, 2.25.2).

    HDR, SK {SA, Ni, KEi}  -->
                           <--  HDR, SK {SA, Nr, KEr}
    HDR, SK {D}  -->                                     the last request of the old IKE SA
                           <--  HDR, SK {}

When both sides begin, two IKE SAs come of it. The redundant one is deleted by the side that asked for it and
never has a Child SA; the other's initiator deletes the old one. Until that is clear the Child SAs stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.crypto.errors import CryptoError
from sim.crypto.ids import KeyExchangeId
from sim.crypto.suites import KEY_EXCHANGE
from sim.ike.collision import Nonces, is_redundant
from sim.ike.constants import ExchangeType, NotifyType, name_of
from sim.ike.errors import PeerError, Scope, reason_of
from sim.ike.events import Reason, RekeyFailed
from sim.ike.exchanges import State, first_error
from sim.ike.followups import Pending
from sim.ike.payloads import KePayload, NoncePayload, NotifyPayload, SaPayload
from sim.ike.proposals import Proposal, additional_exchanges, format_proposal, is_choice_of, offer, select
from sim.ike.qcd import take_token, token_payload
from sim.ike.succession import inherit, succeed
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.ike.tasks.child_initiate import InitiateChild
from sim.ike.tasks.delete import DeleteChild
from sim.ike.tasks.followup import Rounds
from sim.ike.tasks.sa_init import NONCE_BYTES, groups_of
from sim.wire.address import format_sock

if TYPE_CHECKING:
    from sim.ike.message import Message
    from sim.ike.sa import IkeSa

_SPI_BYTES = 8


@dataclass(slots=True)
class Rival:
    """What the peer's own rekeying of the same IKE SA has made, or makes: `sa` is None until then."""

    nonces: Nonces
    sa: IkeSa | None = None
    gone: bool = False

    @property
    def stands(self) -> bool:
        return not self.gone and (self.sa is None or self.sa.state is not State.CLOSED)


class RekeyIke(Task):
    """We ask, with the group in use, which the peer is known to accept."""

    alone = True
    binding = True

    def __init__(self) -> None:
        self.rival: Rival | None = None
        self._spi = b""
        self._group = 0
        self._tried: set[int] = set()
        self._rounds: Rounds | None = None

    def needed(self, sa: IkeSa) -> bool:
        return sa.state is State.ESTABLISHED and not sa.standby

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._rounds is not None:
            self._rounds.build(sa, out)
            return
        sa.rekeying_ike = self
        self.rival = sa.rival
        self._spi = self._spi or sa.ctx.new_ike_spi()
        self._offered = offer(sa.connection.proposals, self._spi)
        if not self._group:
            self._use_group(_first_group(sa, self._offered))
        self._nonce = sa.ctx.rand(NONCE_BYTES)
        self._pair = KEY_EXCHANGE[KeyExchangeId(self._group)].generate(sa.ctx.rand)
        out.add(
            SaPayload(self._offered), NoncePayload(self._nonce), KePayload(self._group, self._pair.public)
        )

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = self._answer = received.message
        error = first_error(message)
        if sa.state is State.DELETING and self.rival is not None and self.rival.sa is not None:
            self.rival.sa.end_politely(sa.reason, sa.text, now)
        if error is not None:
            return self._refused(sa, error, now)
        if self._rounds is not None:
            return self._rounds.process(message, now)
        answer, nonce, ke = message.find(SaPayload), message.find(NoncePayload), message.find(KePayload)
        if answer is None or nonce is None or ke is None:
            raise _wrong("an answer to the rekeying of an IKE SA without SA, nonce or key exchange")
        return self._agree(sa, answer.proposals, (self._nonce, nonce.data), ke, message, now)

    def abandon(self, sa: IkeSa) -> None:
        if sa.rekeying_ike is self:
            sa.rekeying_ike = None

    def _use_group(self, group: int) -> None:
        self._group = group
        self._tried.add(group)

    def _agree(
        self,
        sa: IkeSa,
        answer: tuple[Proposal, ...],
        nonces: Nonces,
        ke: KePayload,
        message: Message,
        now: int,
    ) -> Step:
        """Make the new IKE SA, after its additional key exchanges if there are any."""
        if not is_choice_of(answer, self._offered) or len(answer[0].spi) != _SPI_BYTES:
            raise _wrong("the peer chose what was not offered for the new IKE SA (RFC 7296 2.7)")
        chosen = answer[0]
        if ke.group != self._group or groups_of((chosen,))[0] != self._group:
            raise _wrong("the key exchange of the new IKE SA is not of the group that was chosen")
        try:
            shared = self._pair.agree(ke.data)
        except CryptoError as error:
            raise _wrong(str(error)) from error

        def settle(additional: bytes, then: int) -> None:
            spis = (self._spi, chosen.spi)
            new = succeed(sa, True, spis, chosen, nonces, shared, then, additional)
            take_token(new, self._answer)
            self._settle(sa, new, nonces, then)

        methods = additional_exchanges(chosen)
        if not methods:
            settle(b"", now)
            return Step.DONE
        self._rounds = Rounds(methods, message, settle)
        self.continues_in = ExchangeType.IKE_FOLLOWUP_KE
        return Step.MORE

    def _settle(self, sa: IkeSa, new: IkeSa, nonces: Nonces, now: int) -> None:
        """Our exchange has made an IKE SA; perhaps the peer's has as well (RFC 7296 2.8.2)."""
        sa.rekeying_ike = None
        rival = self.rival
        if sa.state is State.DELETING:
            new.end_politely(sa.reason, sa.text, now)  # the peer has it, and what the old one had
        elif rival is not None and rival.stands and is_redundant(nonces, rival.nonces):
            new.end_politely(Reason.REDUNDANT, "the peer rekeyed at the same time", now)
            self._give_way(sa, rival, now)
        else:
            self._replace(sa, new, now)

    def _give_way(self, sa: IkeSa, rival: Rival, now: int) -> None:
        """The peer's is the one, and takes over as soon as it is there."""
        if rival.sa is not None:
            inherit(rival.sa, sa, now)

    def _replace(self, sa: IkeSa, new: IkeSa, now: int) -> None:
        inherit(new, sa, now)
        sa.end_politely(Reason.REKEYED, "rekeyed", now)

    def _refused(self, sa: IkeSa, error: NotifyPayload, now: int) -> Step:
        group = int.from_bytes(error.data, "big")
        if (
            error.type == NotifyType.INVALID_KE_PAYLOAD
            and group in set(groups_of(self._offered)) - self._tried
        ):
            self._use_group(group)
            return Step.MORE
        sa.rekeying_ike = None
        if sa.state is State.DELETING:
            return Step.DONE
        if self.rival is not None and self.rival.stands:
            self._give_way(sa, self.rival, now)  # the peer knows of no collision: its rekeying is the one
            return Step.DONE
        name = name_of(NotifyType, error.type)
        offered = ", ".join(map(format_proposal, self._offered))
        text = f"{format_sock(sa.path.remote)} refused to rekey the IKE SA: {name}; we offered {offered}"
        sa.ctx.emit(RekeyFailed(sa.ike_id, sa.connection.name, "", reason_of(error.type), text))
        if error.type == NotifyType.NO_ADDITIONAL_SAS:
            sa.reauthenticate(text, now)
        else:
            sa.lifetimes.retry_ike(reason_of(error.type), now)
        return Step.DONE


class RespondIkeRekey(Task):
    """The peer asks. The new IKE SA inherits at once, unless we have asked as well."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        _check_state(sa)
        offered, nonce, ke = message.find(SaPayload), message.find(NoncePayload), message.find(KePayload)
        if offered is None or nonce is None or ke is None:
            text = "a request to rekey the IKE SA without a key exchange (RFC 7296 1.3.2)"
            raise PeerError(NotifyType.INVALID_SYNTAX, text, Scope.IKE_SA)
        self._chosen = _choose(sa, offered.proposals, ke)
        self._ke_group = ke.group
        method = KEY_EXCHANGE[KeyExchangeId(ke.group)]
        try:
            self._public, shared = method.respond(ke.data, sa.ctx.rand)
        except CryptoError as error:
            raise PeerError(NotifyType.INVALID_SYNTAX, str(error)) from error
        self._nonce, self._spi = sa.ctx.rand(NONCE_BYTES), sa.ctx.new_ike_spi()
        self._shared = shared
        self._rival = sa.rival = Rival((nonce.data, self._nonce))
        if sa.rekeying_ike is not None:
            sa.rekeying_ike.rival = self._rival
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(SaPayload((self._chosen.with_spi(self._spi),)), NoncePayload(self._nonce))
        out.add(KePayload(self._ke_group, self._public))
        methods = additional_exchanges(self._chosen)
        if methods:
            out.add(sa.followups.expect(Pending(self, methods), now))
        else:
            self.complete(sa, b"", out, now)

    def check(self, sa: IkeSa) -> None:
        """Whether its additional key exchanges may go on."""
        _check_state(sa)

    def complete(self, sa: IkeSa, additional: bytes, out: Outgoing, now: int) -> None:
        """All key exchanges are made."""
        spis = (self._chosen.spi, self._spi)
        new = succeed(sa, False, spis, self._chosen, self._rival.nonces, self._shared, now, additional)
        if new.connection.qcd:
            out.add_last(token_payload(new))
        self._rival.sa = new
        if sa.rekeying_ike is None:
            out.then.append(lambda then: inherit(new, sa, then))

    def give_up(self, sa: IkeSa) -> None:
        """The peer does not go on with its additional key exchanges."""
        self._rival.gone = True
        if sa.rival is self._rival:
            sa.rival = None


def _check_state(sa: IkeSa) -> None:
    busy = [child for child in sa.children.values() if child.deleting]
    if sa.state is not State.ESTABLISHED or sa.standby:
        raise PeerError(NotifyType.TEMPORARY_FAILURE, "the IKE SA is being replaced or deleted already")
    if busy or sa.requests.asked(InitiateChild) or sa.requests.asked(DeleteChild):
        text = "a Child SA is being created, rekeyed or deleted (RFC 7296 2.25.2)"
        raise PeerError(NotifyType.TEMPORARY_FAILURE, text)


def _choose(sa: IkeSa, offered: tuple[Proposal, ...], ke: KePayload) -> Proposal:
    chosen = select(offered, sa.connection.proposals, ke.group)
    if chosen is None or len(chosen.spi) != _SPI_BYTES:
        theirs = ", ".join(map(format_proposal, offered))
        text = f"no IKE proposal in common to rekey the IKE SA with: {sa.remote_id} offered {theirs}"
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, text)
    group = groups_of((chosen,))[0]
    if group != ke.group:
        text = f"the peer must send a key exchange of group {group}, not {ke.group}"
        raise PeerError(NotifyType.INVALID_KE_PAYLOAD, text, data=group.to_bytes(2, "big"))
    return chosen


def _first_group(sa: IkeSa, offered: tuple[Proposal, ...]) -> int:
    in_use = groups_of((sa.chosen,))[0]
    groups = groups_of(offered)
    return in_use if in_use in groups else groups[0]


def _wrong(text: str) -> PeerError:
    return PeerError(NotifyType.INVALID_SYNTAX, text, Scope.IKE_SA)
