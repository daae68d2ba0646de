"""Which addresses an IKE SA uses when those of this host change (RFC 4555 3.5, 3.6; RFC 7296 2.23).

The initiator decides: the one of the first IKE SA, whoever rekeyed it since (RFC 4555 3.1). Without MOBIKE
an established IKE SA stays where it is, and one that is coming up starts afresh: what NAT detection has found
is of the old address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.candidates import peers, usable
from sim.ike.constants import ExchangeType
from sim.ike.events import Reason
from sim.ike.exchanges import State
from sim.ike.tasks.base import Job
from sim.ike.tasks.mobike import AnnounceAddresses, UpdateAddresses, additional
from sim.wire.address import Sock, format_address

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

_ENDING = frozenset({State.DELETING, State.REKEYED})
_UNKNOWN = (b"",)


def reconsider(sa: IkeSa, now: int) -> None:
    """This host's addresses changed, or the peer's did: move if need be, tell the peer what it may use."""
    if sa.state is State.CONNECTING:
        _set_out_again(sa, now)
    elif sa.state is State.ESTABLISHED and sa.mobike:
        if sa.began:
            _choose_again(sa, now)
        else:
            _leave_dead_address(sa, now)
        _announce(sa, now)
    elif sa.state in _ENDING and sa.mobike:
        _finish_elsewhere(sa, now)


def start_update(sa: IkeSa, local: Sock, remote: Sock, now: int) -> None:
    """Move to these addresses and tell the responder; a pending update is superseded (RFC 4555 3.5).

    The Child SAs move at once: that the responder is at its address needs no new proof.
    """
    before = (sa.path.local, sa.path.remote)
    _relocate(sa, local, remote)
    sa.moved(now)
    sa.requests.resend(now)
    tell_move(sa, before, now)


def tell_move(sa: IkeSa, before: tuple[Sock, Sock], now: int) -> None:
    """Tell the responder where the IKE SA is, unless that is about to be said."""
    if not sa.requests.queued(UpdateAddresses):
        sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [UpdateAddresses(before)]), now, first=True)


def _relocate(sa: IkeSa, local: Sock, remote: Sock) -> None:
    sa.path.move(local, remote)
    if not sa.path.encap:
        sa.path.suspect_nat()


def _set_out_again(sa: IkeSa, now: int) -> None:
    """The address of an IKE SA that is coming up is gone.

    IKE_AUTH goes on from another one if MOBIKE can tell afterwards (RFC 4555 3.3: the responder has taken
    the address of the copy that it answered). Everything before starts afresh, hashes of addresses and all;
    so does an IKE_AUTH that holds its addresses because no NAT may change them (3.9).
    """
    path = sa.path
    address = _way_out(sa)
    if not address:
        return
    if sa.channel.protected and sa.connection.mobike and path.natt:
        _relocate(sa, (address, path.local[1]), path.remote)
        sa.requests.resend(now)
    else:
        text = f"this host moved to {format_address(address)} meanwhile, and starts afresh from there"
        sa.start_over(address, now, Reason.MOVED, text)


def _choose_again(sa: IkeSa, now: int) -> None:
    path = sa.path
    for remote in peers(sa):
        for local in usable(sa, remote)[:1]:
            if (local, remote) != (path.local[0], path.remote[0]):
                start_update(sa, (local, path.local[1]), (remote, path.remote[1]), now)
            return


def _leave_dead_address(sa: IkeSa, now: int) -> None:
    """A responder may move alone only if its own source address dies (RFC 4555 3.5)."""
    path = sa.path
    if address := _way_out(sa):
        path.move((address, path.local[1]), path.remote)
        sa.announced = _UNKNOWN  # the announcement shows the new one, even if there are no others
        sa.moved(now)
        sa.requests.resend(now)


def _finish_elsewhere(sa: IkeSa, now: int) -> None:
    """Its last request, or the answer to the peer's, goes by another address."""
    if sa.heir is not None and sa.heir.state is State.ESTABLISHED:
        _tell_here_as_well(sa, sa.heir, now)
        return
    path = sa.path
    for remote in peers(sa) if path.local[0] not in sa.ctx.local else ():
        for local in usable(sa, remote)[:1]:
            path.move((local, path.local[1]), (remote, path.remote[1]))
            sa.requests.resend(now)
            return


def _tell_here_as_well(sa: IkeSa, heir: IkeSa, now: int) -> None:
    """The peer may not know yet that its rekeying was answered: the new IKE SA's update means nothing to it.

    What it repeats goes on to where we were, unless it is told in the old one, too.
    """
    reconsider(heir, now)
    if heir.requests.tasks(UpdateAddresses):
        sa.requests.resend(now)
        if not sa.requests.busy:
            tell_move(sa, (sa.path.local, sa.path.remote), now)


def _way_out(sa: IkeSa) -> bytes:
    """The address to go on from when the present one is gone; none while it is there, or no other leads."""
    if sa.path.local[0] in sa.ctx.local:
        return b""
    return next(iter(usable(sa)), b"")


def _announce(sa: IkeSa, now: int) -> None:
    waiting = sa.requests.queued(AnnounceAddresses) or sa.requests.queued(UpdateAddresses)
    if usable(sa) and additional(sa) != sa.announced and not waiting:
        sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [AnnounceAddresses()]), now)
