"""Sending a peer to another gateway, and going there (RFC 5685 3 to 6).

    HDR, SAi1, KEi, Ni, N(REDIRECT_SUPPORTED)  -->
                        <--  HDR, N(REDIRECT, gateway, Ni)           at once, without state
    HDR, SK {IDi, AUTH, SAi2, TSi, TSr}  -->
                        <--  HDR, SK {IDr, AUTH, N(REDIRECT, gateway)}        no Child SA
                        <--  HDR, SK {N(REDIRECT, gateway)}          any time later
    HDR, SK {}  -->
    HDR, SK {D}  -->                                                 once the new gateway serves us

The new gateway must prove the identity that the connection names, as the old one had to. Left out: that the
initiator of an IKE SA sends its responder elsewhere (10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.config import RedirectWhen
from sim.ike.constants import ExchangeType
from sim.ike.errors import SupersededError
from sim.ike.events import Reason
from sim.ike.exchanges import State
from sim.ike.redirect import Gateway, RedirectError, redirect_payload, redirected_at, wanted_gateway, way_to
from sim.ike.tasks.base import Inbound, Job, Outgoing, Step, Task
from sim.wire.address import format_address, format_sock
from sim.wire.buffer import WireError

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa, Wanted


class RedirectOrServe(Task):
    """The responder's part of IKE_AUTH behind the authentication: send the peer on, or do what `tasks` do."""

    def __init__(self, *tasks: Task) -> None:
        self._tasks = tasks
        self._to = b""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        if sa.alternatives.may_redirect:
            self._to = redirected_at(sa.connection, RedirectWhen.AUTH, sa.path.local[0])
        if self._to:
            await_departure(sa, self._to, now)
            return Step.DONE
        for task in self._tasks:
            task.process(sa, received, now)
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._to:
            out.add_last(redirect_payload(self._to))
            return
        for task in self._tasks:
            task.build(sa, out, now)


class FollowInAuth(Task):
    """The initiator's part, once it knows whom it hears; `first` is the Child SA that was asked for."""

    def __init__(self, first: Wanted | None) -> None:
        self._first = [] if first is None else [first]

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        try:
            gateway = wanted_gateway(sa, received.message)
            if gateway is None:
                return Step.DONE
            text = _told(sa, gateway)
            sa.go_to(way_to(sa, gateway, now), [*self._first, *sa.all_wanted()], now)
        except (RedirectError, WireError) as error:
            refused = error if isinstance(error, RedirectError) else None
            reason = Reason.REDIRECT_REFUSED if refused is None else refused.reason
            sa.end_politely(reason, str(error), now)
        else:
            sa.end_politely(Reason.REDIRECTED, text, now)
        raise SupersededError


class RedirectPeer(Task):
    """Ask the peer of an IKE SA that is up to go elsewhere (RFC 5685 5)."""

    survives = True

    def __init__(self, to: bytes) -> None:
        self._to = to

    def needed(self, sa: IkeSa) -> bool:
        return sa.state is State.ESTABLISHED

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(redirect_payload(self._to))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        await_departure(sa, self._to, now)
        return Step.DONE


class FollowRedirect(Task):
    """The peer's INFORMATIONAL request: go where it sends us, and leave it when we are served there."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        self._source = received.src
        self._gateway: Gateway | None = None
        if sa.began and sa.state is State.ESTABLISHED:
            try:
                self._gateway = wanted_gateway(sa, received.message)
            except WireError as error:
                sa.ctx.reject("redirection refused", received.src, str(error))
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._gateway is not None:
            out.then.append(lambda then: self._go(sa, then))

    def _go(self, sa: IkeSa, now: int) -> None:
        assert self._gateway is not None
        if sa.ctx.sas.get(sa.successor) is not None:
            return  # it is on its way already
        try:
            path = way_to(sa, self._gateway, now)
        except RedirectError as error:
            sa.ctx.reject("redirection refused", self._source, error.text)
            return
        new = sa.go_to(path, sa.all_wanted(), now)
        sa.successor, new.breaks = new.ike_id, sa.ike_id
        new.alternatives.breaks_why = Reason.REDIRECTED, _told(sa, self._gateway)


def redirect_peer(sa: IkeSa, to: bytes, now: int) -> bool:
    """Send the peer to another gateway, if it has said that it can be sent; whether it has."""
    able = sa.state is State.ESTABLISHED and not sa.began and sa.alternatives.may_redirect
    if able:
        sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [RedirectPeer(to)]), now)
    return able


def await_departure(sa: IkeSa, to: bytes, now: int) -> None:
    """A peer that was sent on deletes the IKE SA itself; if not, we do (RFC 5685 4, 5)."""
    text = f"{format_sock(sa.path.remote)} was sent to {format_address(to)} and did not go"

    def give_up(due: int) -> None:
        last = sa
        while last.heir is not None:
            last = last.heir
        last.end_politely(Reason.REDIRECTED, text, due)

    sa.ctx.timers.arm((sa.ike_id, "redirected"), now + sa.ctx.config.half_open_timeout, give_up)


def _told(sa: IkeSa, gateway: Gateway) -> str:
    where = format_address(gateway.address) if gateway.address else gateway.name
    return f"{format_sock(sa.path.remote)} redirected us to {where} (RFC 5685)"
