"""MOBIKE's exchanges: support, address updates, return routability (RFC 4555 3.2 to 3.7).

    initiator                                             responder
    HDR, SK {N(UPDATE_SA_ADDRESSES),
             N(NAT_DETECTION_*) x 2}  -->                 moves its IKE SA
                                      <--  HDR, SK {N(NAT_DETECTION_*) x 2}
                                      <--  HDR, SK {N(COOKIE2)}
    HDR, SK {N(COOKIE2)}  -->                             moves its Child SAs

Where no NAT is allowed NO_NATS_ALLOWED stands for NAT detection: see `no_nats`. Which addresses work is found
out by `path_test`.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

from sim.ike.candidates import acceptable, peer_may_use, worth_telling
from sim.ike.config import ReturnRoutability
from sim.ike.constants import ExchangeType, NotifyType
from sim.ike.errors import reason_of
from sim.ike.events import Reason
from sim.ike.exchanges import State
from sim.ike.payloads import NotifyPayload
from sim.ike.tasks.base import Inbound, Job, Outgoing, Step, Task
from sim.ike.tasks.nat_detection import detect_nat, has_natd, natd_payloads, seen_as
from sim.ike.tasks.no_nats import may_try_again, names_addresses, prohibition, refused, unexpected_nat
from sim.ike.tasks.replace_bound import replace_bound
from sim.wire.address import Sock, format_sock

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

_COOKIE2_BYTES = 16
_COOKIE2_SIZES = range(8, 65)
_ADDITIONAL = {4: NotifyType.ADDITIONAL_IP4_ADDRESS, 16: NotifyType.ADDITIONAL_IP6_ADDRESS}


class SetUpMobike(Task):
    """Either side's part in IKE_AUTH; comes before the IKE SA is reported as up."""

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        # A responder answers a peer that asked; an initiator asks.
        if sa.connection.mobike and (sa.initiator or sa.mobike):
            out.add_last(NotifyPayload(NotifyType.MOBIKE_SUPPORTED), *_address_payloads(sa))
            if sa.initiator:
                out.add_last(*prohibition(sa))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        message = received.message
        sa.mobike = sa.connection.mobike and message.notify(NotifyType.MOBIKE_SUPPORTED) is not None
        if sa.mobike:
            sa.announced_from = received.src[0]
            _store_addresses(sa, received)
        sa.path.proven = sa.path.remote[0]
        return Step.DONE


class UpdateAddresses(Task):
    """The initiator's announcement that its IKE SA has moved already; `before` is where it was."""

    survives = True

    def __init__(self, before: tuple[Sock, Sock], refusals: int = 0) -> None:
        self._before, self._refusals = before, refusals

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        self._version = sa.path.version
        out.add(NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES))
        out.add(*(natd_payloads(sa, sa.spi_i, sa.spi_r) if sa.path.natt else prohibition(sa)))
        if additional(sa) != sa.announced:
            out.add(*_address_payloads(sa, always=True))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        if self._version != sa.path.version or sa.state is not State.ESTABLISHED:
            return Step.DONE  # a newer change made this answer void, or the IKE SA's successor has its own
        if refused(received):
            self._insist(sa, now)
        elif received.message.notify(NotifyType.UNACCEPTABLE_ADDRESSES) is not None:
            own = format_sock(sa.path.local)
            text = f"{format_sock(self._before[1])} does not accept our address {own}: UNACCEPTABLE_ADDRESSES"
            self._go_back(sa, NotifyType.UNACCEPTABLE_ADDRESSES, text, now)
        else:
            sa.seen_as = seen_as(received)
            if detect_nat(sa, received):
                sa.moved(now)
            replace_bound(sa, now)
        return Step.DONE

    def _insist(self, sa: IkeSa, now: int) -> None:
        """Whoever changed one packet does not keep us from a path; a NAT does (RFC 4555 3.9)."""
        refusals = self._refusals + 1
        if may_try_again(sa, refusals):
            again = UpdateAddresses(self._before, refusals)
            sa.requests.postpone(Job(ExchangeType.INFORMATIONAL, [again]))
            return
        peer, kind = format_sock(sa.path.remote), NotifyType.UNEXPECTED_NAT_DETECTED
        text = f"{peer} sees a NAT between us, {refusals} times, and nat_traversal is off: {kind.name}"
        self._go_back(sa, kind, text, now)

    def _go_back(self, sa: IkeSa, why: NotifyType, text: str, now: int) -> None:
        """The responder stays where it was; so do we if we still can (RFC 4555 3.5)."""
        local, remote = self._before
        if (local, remote) == (sa.path.local, sa.path.remote) or local[0] not in sa.ctx.local:
            sa.end_politely(reason_of(why), text, now, NotifyPayload(why))
        else:
            sa.path.move(local, remote)
            sa.moved(now)


class AnnounceAddresses(Task):
    """The addresses that the peer may use from now on, instead of those announced before (RFC 4555 3.6)."""

    survives = True

    def __init__(self, refusals: int = 0) -> None:
        self._refusals = refusals

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(*_address_payloads(sa, always=True), *prohibition(sa))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        refusals = self._refusals + 1
        if refused(received) and may_try_again(sa, refusals):
            sa.requests.postpone(Job(ExchangeType.INFORMATIONAL, [AnnounceAddresses(refusals)]))
        return Step.DONE


class ProveRoute(Task):
    """Return routability: only who receives at the new address can echo the cookie (RFC 4555 3.7)."""

    survives = True

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        self._version = sa.path.version
        self._cookie = sa.ctx.rand(_COOKIE2_BYTES)
        out.add(NotifyPayload(NotifyType.COOKIE2, self._cookie))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        echo = received.message.notify(NotifyType.COOKIE2)
        path = sa.path
        if echo is None or not compare_digest(echo.data, self._cookie):
            text = f"{format_sock(path.remote)} did not return the cookie that proves its address"
            sa.end_politely(Reason.COOKIE2_MISMATCH, text, now)
        elif self._version == path.version:
            path.proven = path.remote[0]
            if sa.connection.return_routability is ReturnRoutability.BEFORE:
                sa.moved(now)
        elif path.proven != path.remote[0]:
            # The request has been at several addresses, which proves none of them.
            sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [ProveRoute()]), now, first=True)
        return Step.DONE


class RespondMobike(Task):
    """The peer's INFORMATIONAL request: an update, a route to prove, NAT detection, other addresses."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        self._request = received
        message = received.message
        self._refused = self._natted = False
        if sa.mobike and sa.state is State.DELETING:
            self._follow_to_delete(sa, received, now)
        if not sa.mobike or sa.state is not State.ESTABLISHED:
            return Step.DONE
        if names_addresses(message) and (problem := unexpected_nat(received)):
            self._natted = True
            sa.ctx.reject(NotifyType.UNEXPECTED_NAT_DETECTED.name, received.src, problem)
            return Step.DONE
        announced = _store_addresses(sa, received)
        if sa.began:
            if announced:
                self._follow(sa, received, now)
        elif message.notify(NotifyType.UPDATE_SA_ADDRESSES) is not None:
            self._update(sa, received, now)
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        request = self._request
        cookie = request.message.notify(NotifyType.COOKIE2)
        if self._natted:
            out.add(NotifyPayload(NotifyType.UNEXPECTED_NAT_DETECTED))
        elif self._refused:
            out.add(NotifyPayload(NotifyType.UNACCEPTABLE_ADDRESSES))
        elif sa.path.natt and has_natd(request):
            out.add(*natd_payloads(sa, sa.spi_i, sa.spi_r, request.dst, request.src))
        if cookie is not None and len(cookie.data) in _COOKIE2_SIZES:
            out.add(NotifyPayload(NotifyType.COOKIE2, cookie.data))

    def _follow(self, sa: IkeSa, received: Inbound, now: int) -> None:
        """Leave an address that the responder has lost for the one that it speaks from (RFC 4555 3.6)."""
        old, new = sa.path.remote[0], received.src[0]
        if new != old and old not in sa.peer_addresses and peer_may_use(sa, new):
            sa.move_to(received.dst, received.src, now)

    def _follow_to_delete(self, sa: IkeSa, received: Inbound, now: int) -> None:
        """The peer has moved: our Delete, which it does not know of yet, goes where it is now."""
        if received.src != sa.path.remote and sa.reason is not Reason.REKEYED:
            sa.path.move(received.dst, received.src)
            sa.requests.resend(now)

    def _update(self, sa: IkeSa, received: Inbound, now: int) -> None:
        path, message_id = sa.path, received.message.header.message_id
        if message_id < sa.updated_by:
            return  # a newer one has overtaken it (RFC 4555 3.5)
        if not acceptable(sa, received.src[0]):
            self._refused = True
            return
        sa.updated_by = message_id
        moves = (path.local, path.remote) != (received.dst, received.src) or path.esp_remote is not None
        if moves:
            path.move(received.dst, received.src)
        changed = detect_nat(sa, received)
        policy = sa.connection.return_routability
        if policy is ReturnRoutability.NONE:
            path.proven = path.remote[0]
        proven = path.proven == path.remote[0]
        if not proven:
            _start_proof(sa, now)
        if (moves or changed) and (proven or policy is ReturnRoutability.AFTER):
            sa.moved(now)
        if moves:
            sa.requests.resend(now)


def _start_proof(sa: IkeSa, now: int) -> None:
    if not sa.requests.tasks(ProveRoute):
        sa.requests.postpone(Job(ExchangeType.INFORMATIONAL, [ProveRoute()]))


def additional(sa: IkeSa) -> tuple[bytes, ...]:
    """What to announce beside the address in the IP header (RFC 4555 3.4)."""
    return tuple(address for address in worth_telling(sa) if address != sa.path.local[0])


def _address_payloads(sa: IkeSa, *, always: bool = False) -> list[NotifyPayload]:
    """What `additional` says, which from now on counts as announced; `always` says "none" as well."""
    sa.announced = additional(sa)
    payloads = [NotifyPayload(_ADDITIONAL[len(address)], address) for address in sa.announced]
    if always and not payloads:
        payloads.append(NotifyPayload(NotifyType.NO_ADDITIONAL_ADDRESSES))
    return payloads


def _store_addresses(sa: IkeSa, received: Inbound) -> bool:
    """Whether the peer announced addresses; each announcement replaces the one before (RFC 4555 3.6)."""
    message = received.message
    found = tuple(
        notify.data
        for size, kind in _ADDITIONAL.items()
        for notify in message.notifies(kind)
        if len(notify.data) == size
    )
    announced = bool(found) or message.notify(NotifyType.NO_ADDITIONAL_ADDRESSES) is not None
    if not announced or (not message.header.is_response and message.header.message_id < sa.announced_by):
        return False  # or a newer one has overtaken it
    if not message.header.is_response:
        sa.announced_by = message.header.message_id
    sa.peer_addresses, sa.announced_from = found, received.src[0]
    return True
