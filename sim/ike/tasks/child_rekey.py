"""Rekeying a Child SA, from either side and from both at once (RFC 7296 1.3.3, 2.8, 2.8.1, 2.25.1).

    HDR, SK {N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr}  -->
                                    <--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}
    HDR, SK {D}  -->
                                    <--  HDR, SK {D}

When both sides begin, two Child SAs come of it: the redundant one is deleted by the side that asked for it,
the old one by the other side. A side that notices nothing of that kind is told by its peer's refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.ike.child import ChildSa, spi_octets
from sim.ike.collision import Nonces, is_redundant
from sim.ike.constants import ExchangeType, NotifyType, PayloadType, ProtocolId, name_of
from sim.ike.errors import PeerError, reason_of
from sim.ike.events import Reason, RekeyFailed
from sim.ike.payloads import NotifyPayload
from sim.ike.selectors import narrow
from sim.ike.tasks.base import Job, Outgoing
from sim.ike.tasks.child_initiate import InitiateChild
from sim.ike.tasks.child_respond import Option, RespondChild, Terms
from sim.ike.tasks.child_terms import natted_ah, ts_of
from sim.ike.tasks.delete import DeleteChild
from sim.ike.transport_nat import asks_through_nat, one_host, with_address
from sim.wire.address import format_sock
from sim.wire.esp import Mode
from sim.wire.resource import Share
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.message import Message
    from sim.ike.sa import IkeSa


@dataclass(slots=True)
class Rival:
    """What the peer's own rekeying of the same Child SA has made, or makes: `child` is None until then.

    It stands as well when it has been rekeyed since: what has come of it does its work.
    """

    nonces: Nonces
    child: ChildSa | None = None
    gone: bool = False

    @property
    def stands(self) -> bool:
        return not self.gone and (self.child is None or self.child.up or self.child.replaced)


class RekeyChild(InitiateChild):
    """We ask. The selectors are those in use, so that nothing becomes narrower (RFC 7296 2.9.2)."""

    def __init__(self, old: ChildSa) -> None:
        super().__init__(ExchangeType.CREATE_CHILD_SA, old.config)
        self.old = old
        self.rival: Rival | None = old.rival
        old.rekeying = self

    def needed(self, sa: IkeSa) -> bool:
        """Once the peer has agreed, its own rekeying no longer makes ours idle: the nonces decide."""
        replaced = self.old.replaced and self._rounds is None
        return self.old.up and not self.old.deleting and not replaced

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._rounds is None:
            self._name_the_old(out)
        super().build(sa, out, now)

    def _name_the_old(self, out: Outgoing) -> None:
        out.add(NotifyPayload(NotifyType.REKEY_SA, b"", self.old.protocol, spi_octets(self.old.spi_in)))

    def abandon(self, sa: IkeSa) -> None:
        super().abandon(sa)
        self.old.rekeying = None

    def _wanted_selectors(self, sa: IkeSa) -> tuple[tuple[Selector, ...], tuple[Selector, ...]]:
        return self.old.local_ts, self.old.remote_ts

    def _wants_transport(self, sa: IkeSa) -> bool:
        return self.old.mode is Mode.TRANSPORT

    def _wants_aggfrag(self, sa: IkeSa) -> bool:
        return self.old.mode is Mode.IPTFS

    def _resource(self) -> None:
        """What it is for does not change, and is not said again."""

    def _share(self, sa: IkeSa, message: Message) -> Share | None:
        return self.old.share

    def _made(self, sa: IkeSa, child: ChildSa, nonces: Nonces, now: int) -> None:
        old, rival = self.old, self.rival
        old.rekeying = None
        sa.add_child(child, now, replaces=old)
        if rival is not None and rival.stands and is_redundant(nonces, rival.nonces):
            _take_out(sa, child, Reason.REDUNDANT, "the peer rekeyed at the same time", now)
            return
        if rival is not None and rival.child is not None and rival.child.up:
            _set_aside(sa, rival.child)
        if old.deleting and not old.expired:
            _delete(sa, child, Reason.DELETED, "its predecessor was deleted by us", now)
        elif old.up and not old.deleting:
            _take_out(sa, old, Reason.REKEYED, "rekeyed by us", now)

    def _refused(self, sa: IkeSa, error: NotifyPayload | None, now: int) -> None:
        old = self.old
        self.abandon(sa)
        if (self.rival is not None and self.rival.stands) or not old.up or old.deleting:
            return  # the peer's rekeying came first, or a deletion: that it refuses ours is right
        kind = 0 if error is None else error.type
        name = "no Child SA in the response" if error is None else name_of(NotifyType, kind)
        text = f"{format_sock(sa.path.remote)} refused to rekey it: {name}; we offered {self._offer_text()}"
        text += natted_ah(sa, old.config)
        self._report(sa, reason_of(kind), text)
        if kind == NotifyType.CHILD_SA_NOT_FOUND:
            sa.remove_child(old, reason_of(kind), f"{format_sock(sa.path.remote)} does not know it")
            if not old.is_bound:
                sa.wanted.append((old.config, None))
                sa.create_wanted(now)
        elif kind == NotifyType.NO_ADDITIONAL_SAS:
            sa.reauthenticate(text, now)
        else:
            sa.lifetimes.retry_child(old, reason_of(kind), now)

    def _fail(self, sa: IkeSa, reason: Reason, text: str) -> None:
        self.abandon(sa)
        self._report(sa, reason, text)

    def _report(self, sa: IkeSa, reason: Reason, text: str) -> None:
        sa.ctx.emit(RekeyFailed(sa.ike_id, sa.connection.name, self.config.name, reason, text))


class RespondRekey(RespondChild):
    """The peer asks. The old Child SA stays until the peer deletes it (RFC 7296 2.8)."""

    says_resource = False

    def __init__(self) -> None:
        super().__init__(ExchangeType.CREATE_CHILD_SA)
        self._rival: Rival | None = None

    def _check_state(self, sa: IkeSa, message: Message) -> None:
        super()._check_state(sa, message)
        rekey = message.notify(NotifyType.REKEY_SA)
        assert rekey is not None  # by whoever chose this task
        self._old = _known(sa, rekey.protocol, rekey.spi)
        self._configs = (self._old.config,)

    def _options(self, sa: IkeSa, message: Message) -> list[Option]:
        old = self._old
        theirs, ours = ts_of(message, PayloadType.TS_I), ts_of(message, PayloadType.TS_R)
        through_nat = old.mode is Mode.TRANSPORT and asks_through_nat(sa, message)
        if through_nat and one_host(theirs) and one_host(ours):
            theirs = with_address(theirs, old.remote_ts[0].start)
            ours = with_address(ours, old.local_ts[0].start)
        remote, local = narrow(theirs, old.remote_ts), narrow(ours, old.local_ts)
        if not (_all_in(old.remote_ts, remote) and _all_in(old.local_ts, local)):
            text = "the peer wants to rekey a Child SA to less than what it is used for (RFC 7296 2.9.2)"
            raise PeerError(NotifyType.TS_UNACCEPTABLE, text)
        return [Option(old.config, remote, local, through_nat)]

    def _share(self, sa: IkeSa, terms: Terms, message: Message) -> Share | None:
        return self._old.share

    def _drafted(self, nonces: Nonces) -> None:
        self._announce(nonces)

    def _announce(self, nonces: Nonces) -> Rival:
        """Our own rekeying of the same Child SA, now or later, must know of it (RFC 7296 2.8.1)."""
        self._rival = self._old.rival = rival = Rival(nonces)
        if self._old.rekeying is not None:
            self._old.rekeying.rival = rival
        return rival

    def check(self, sa: IkeSa) -> None:
        super().check(sa)
        _check_alive(self._old)

    def give_up(self, sa: IkeSa) -> None:
        super().give_up(sa)
        if self._rival is not None:
            self._rival.gone = True
        if self._old.rival is self._rival:
            self._old.rival = None

    def _made(self, sa: IkeSa, child: ChildSa, nonces: Nonces, now: int) -> None:
        old = self._old
        old.replaced = True
        rival = self._rival or self._announce(nonces)
        rival.child = child
        sa.add_child(child, now, replaces=old)


def _known(sa: IkeSa, protocol: int, spi: bytes) -> ChildSa:
    """The Child SA to replace, by the SPI on which its peer receives (RFC 7296 1.3.3, 2.25.1)."""
    for child in sa.children.values():
        if (child.protocol, spi_octets(child.spi_out)) == (protocol, spi):
            _check_alive(child)
            return child
    if sa.requests.asked(InitiateChild):
        text = f"the Child SA {spi.hex()} may be one whose creation has not been answered yet"
        raise PeerError(NotifyType.TEMPORARY_FAILURE, text)
    text = f"there is no Child SA {spi.hex()} of {name_of(ProtocolId, protocol)} to rekey"
    named = ProtocolId.AH if protocol == ProtocolId.AH else ProtocolId.ESP
    raise PeerError(NotifyType.CHILD_SA_NOT_FOUND, text, child_spi=(named, spi))


def _check_alive(old: ChildSa) -> None:
    if old.deleting or not old.up:
        raise PeerError(NotifyType.TEMPORARY_FAILURE, "the Child SA to rekey is being deleted")


def _all_in(inner: tuple[Selector, ...], outer: tuple[Selector, ...]) -> bool:
    return all(any(wide.contains(narrow) for wide in outer) for narrow in inner)


def _take_out(sa: IkeSa, child: ChildSa, reason: Reason, text: str, now: int) -> None:
    """Another Child SA does its work: send nothing more on it, then delete it."""
    child.replaced = True
    sa.silence(child)
    _delete(sa, child, reason, text, now)


def _set_aside(sa: IkeSa, redundant: ChildSa) -> None:
    """The peer will delete its Child SA, which is redundant: until then it is neither used nor rekeyed."""
    redundant.replaced = True
    sa.silence(redundant)


def _delete(sa: IkeSa, child: ChildSa, reason: Reason, text: str, now: int) -> None:
    sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [DeleteChild(child, reason, text)]), now)
