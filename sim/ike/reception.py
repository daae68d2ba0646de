"""What arrives: which IKE SA a datagram is for, and what to do when it is for none.

RFC 7296 2.1 (repeated IKE_SA_INIT requests), 2.5 (versions), 2.6 (cookies), 2.21.4 (unknown SPIs). Nothing
here is authentic yet: answers are rate limited, and no state is kept before the limits were checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.crypto.errors import CryptoError
from sim.ike.config import ConnectionConfig, RedirectWhen
from sim.ike.constants import INITIAL, ExchangeType, Flags, NotifyType, name_of
from sim.ike.conversation import digest_of
from sim.ike.cookie import CookieJar
from sim.ike.errors import PeerError, reason_of
from sim.ike.events import MessageSent, Reason
from sim.ike.exchanges import check_request
from sim.ike.message import (
    MAJOR_VERSION,
    NO_SPI,
    Header,
    Message,
    emit_message,
    parse_header,
    parse_message,
)
from sim.ike.notation import notation
from sim.ike.path import Path
from sim.ike.payloads import NoncePayload, NotifyPayload, Payload, shape_of
from sim.ike.qcd import hear_hint, hear_of_crash, is_hint, shows_crash, tokens_for
from sim.ike.redirect import redirect_payload, redirected_at, takes_redirects
from sim.ike.sa import IkeSa
from sim.ike.tasks.base import Inbound, Outgoing
from sim.ike.tasks.resume import RespondResume, ResumeChoice, choose_session
from sim.ike.tasks.sa_init import Choice, RespondSaInit, choose
from sim.wire.address import Sock, format_sock
from sim.wire.buffer import Buf, WireError
from sim.wire.udp_encap import NON_ESP_MARKER, Kind, classify

if TYPE_CHECKING:
    from sim.ike.context import Context


class Reception:
    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        config = ctx.config
        self._cookies = CookieJar(ctx.rand, config.cookie_lifetime, config.cookie_secret_lifetime)
        self._by_remote: dict[bytes, list[ConnectionConfig]] = {}
        for connection in config.connections:
            for address in connection.remote_addrs or (b"",):
                self._by_remote.setdefault(address, []).append(connection)

    def receive(self, data: Buf, src: Sock, dst: Sock, now: int) -> None:
        ctx = self._ctx
        if dst[1] != ctx.config.ike_port:
            kind = classify(data)
            if kind is Kind.KEEPALIVE:
                ctx.counters["keepalives received"] += 1  # ignored, and no proof of life (RFC 3948 4)
                return
            if kind is not Kind.IKE:
                ctx.reject("not an IKE message", src, f"a datagram with {kind.value} on the port of IKE")
                return
            data = data[len(NON_ESP_MARKER) :]
        try:
            self._dispatch(data, src, dst, now)
        except WireError as error:
            ctx.reject("malformed message", src, str(error))

    def _dispatch(self, data: Buf, src: Sock, dst: Sock, now: int) -> None:
        header = parse_header(data)
        if header.major > MAJOR_VERSION and not header.is_response:
            text = f"major version {header.major} of IKE"
            self._refuse("unsupported version", NotifyType.INVALID_MAJOR_VERSION, text, header, src, dst, now)
            return
        message = parse_message(data, header)
        if header.exchange in INITIAL and not header.is_response:
            self._initial(message, src, dst, now)
            return
        sa = self._ctx.by_spi.get(header.spi_r if header.from_initiator else header.spi_i)
        if sa is not None and self._fits(sa, header):
            if shows_crash(message):
                hear_of_crash(sa, message, src, now)
            else:
                sa.conversation.receive(message, src, dst, now)
        elif is_hint(message):
            hear_hint(self._ctx, message, src, now)
        elif header.is_response:
            self._ctx.reject("unknown IKE SPI", src, "a response for no IKE SA")
        else:
            text = "a request for no IKE SA"
            self._refuse("unknown IKE SPI", NotifyType.INVALID_IKE_SPI, text, header, src, dst, now)

    @staticmethod
    def _fits(sa: IkeSa, header: Header) -> bool:
        """Whether the message comes from the other role, and names the other SPI once that is known."""
        if header.from_initiator == sa.initiator:
            return False
        if sa.initiator:
            return sa.spi_r in (NO_SPI, header.spi_r)
        return header.spi_i == sa.spi_i

    # -- IKE_SA_INIT requests ----------------------------------------------------------------------------

    def _initial(self, message: Message, src: Sock, dst: Sock, now: int) -> None:
        ctx, header = self._ctx, message.header
        if header.message_id or header.spi_r != NO_SPI or header.spi_i == NO_SPI or not header.from_initiator:
            raise WireError("a first request with a message ID, SPIr or no SPIi")
        # By the whole message: two peers behind one NAT may have chosen the same SPI (RFC 7296 2.1).
        digest = digest_of(message)
        known = ctx.by_init.get(digest)
        if known is not None:
            known.conversation.repeat(message, src, dst)
            return
        try:
            check_request(message)
            if self._admit(message, src, dst, now):
                candidates = self._candidates(src, dst)
                choice: Choice | ResumeChoice
                if header.exchange == ExchangeType.IKE_SESSION_RESUME:
                    choice = choose_session(candidates, message, ctx, now)
                else:
                    choice = choose(candidates, message, ctx)
                if not self._redirect(choice, message, src, dst):
                    self._accept(choice, digest, Inbound(message, src, dst), now)
        except PeerError as error:
            self._turn_away(error, header, src, dst, now)
        except CryptoError as error:
            ctx.reject("invalid key exchange", src, str(error), header.spi_i, Reason.INVALID_SYNTAX)

    def _admit(self, message: Message, src: Sock, dst: Sock, now: int) -> bool:
        """Whether the initiator may cost us state: it has shown its address, or there is no flood."""
        ctx, config = self._ctx, self._ctx.config
        from_there = ctx.half_open_from.get(src[0], 0)
        if config.block_threshold and from_there >= config.block_threshold:
            text, why = (
                f"{from_there} half-open IKE SAs from the initiator's address",
                Reason.TOO_MANY_HALF_OPEN,
            )
            ctx.reject("too many half-open SAs", src, text, message.header.spi_i, why)
            return False
        flood = 0 < config.cookie_threshold <= ctx.half_open
        forced = None
        if ctx.faults is not None:
            forced = ctx.faults.cookie(ctx, [c.name for c in self._candidates(src, dst)])
        if forced is None and not flood and not 0 < config.cookie_threshold_ip <= from_there:
            return True
        nonce, cookie = message.find(NoncePayload), message.notify(NotifyType.COOKIE)
        assert nonce is not None  # by the table of exchanges
        spi_i = message.header.spi_i
        good = cookie is not None and self._cookies.verify(cookie.data, nonce.data, spi_i, src, now)
        if good and forced is not False:
            return True
        if cookie is not None:
            text = "the initiator's cookie is not one that we made for it, or too old"
            ctx.reject("cookie refused", src, text, spi_i, Reason.COOKIE_REFUSED)
        # A wrong cookie counts as none (RFC 7296 2.6).
        ctx.counters["cookies demanded"] += 1
        made = self._cookies.make(nonce.data, spi_i, src, now)
        self._answer(message.header, (NotifyPayload(NotifyType.COOKIE, made),), src, dst)
        return False

    def _redirect(self, choice: Choice | ResumeChoice, message: Message, src: Sock, dst: Sock) -> bool:
        """Send the initiator elsewhere (RFC 5685 3), if it can be sent; nothing is kept of it."""
        to = redirected_at(choice.candidates[0], RedirectWhen.INIT, dst[0])
        if not to or not takes_redirects(message):
            return False
        self._ctx.counters["redirections"] += 1
        self._answer(message.header, (redirect_payload(to, choice.nonce),), src, dst)
        return True

    def _candidates(self, src: Sock, dst: Sock) -> tuple[ConnectionConfig, ...]:
        """The connections for these addresses, those that name the peer's first."""
        named, for_any = self._by_remote.get(src[0], []), self._by_remote.get(b"", [])
        return tuple(c for c in (*named, *for_any) if not c.local_addrs or dst[0] in c.local_addrs)

    def _accept(self, choice: Choice | ResumeChoice, digest: bytes, received: Inbound, now: int) -> None:
        """Make a half-open IKE SA; CryptoError leaves none."""
        ctx = self._ctx
        path = Path(received.dst, received.src)
        sa = IkeSa(ctx, choice.candidates, False, received.message.header.spi_i, path, now)
        task = RespondSaInit(choice) if isinstance(choice, Choice) else RespondResume(choice)
        out = Outgoing()
        try:
            task.process(sa, received, now)
        except (CryptoError, WireError):
            del ctx.sas[sa.ike_id]
            raise
        task.build(sa, out, now)
        sa.init_digest = digest
        ctx.by_init[digest] = ctx.by_spi[sa.spi_r] = sa
        sa.counted = True
        ctx.count_half_open(sa.started_from, 1)
        at = now + ctx.config.half_open_timeout
        ctx.timers.arm((sa.ike_id, "half-open"), at, lambda due: _give_up(sa, due))
        conversation = sa.conversation
        conversation.expected = conversation.first_protected = 1
        payloads = conversation.report(received)
        exchange = ExchangeType(received.message.header.exchange)
        response = conversation.channel.encode(exchange, 0, True, out.all())
        sa.init_r = response.packets[0]
        conversation.answer(received, payloads, response)

    # -- answers without state ---------------------------------------------------------------------------

    def _turn_away(self, error: PeerError, header: Header, src: Sock, dst: Sock, now: int) -> None:
        """Tell the initiator; that its message is malformed takes authentication (RFC 7296 3.10.1)."""
        if error.notify == NotifyType.INVALID_SYNTAX:
            self._ctx.reject("malformed message", src, error.text, header.spi_i, error.reason)
            return
        why = Reason.NONE if error.notify == NotifyType.TICKET_NACK else error.reason  # IKE_SA_INIT follows
        self._ctx.reject(error.notify.name, src, error.text, header.spi_i, why)
        if self._ctx.may_notify(now):
            self._answer(header, (error.payload(),), src, dst)

    def _refuse(
        self, reason: str, notify: NotifyType, text: str, header: Header, src: Sock, dst: Sock, now: int
    ) -> None:
        self._ctx.reject(reason, src, text, header.spi_i, reason_of(notify))
        if self._ctx.may_notify(now):
            proofs = tokens_for(self._ctx, header) if notify == NotifyType.INVALID_IKE_SPI else ()
            self._answer(header, (NotifyPayload(notify), *proofs), src, dst)

    def _answer(self, header: Header, payloads: tuple[Payload, ...], src: Sock, dst: Sock) -> None:
        """An unprotected response with the request's own SPIs, exchange and ID (RFC 7296 1.5, 2.6)."""
        flags = Flags.RESPONSE | (0 if header.from_initiator else Flags.INITIATOR)
        reply = Header(header.spi_i, header.spi_r, header.exchange, flags, header.message_id)
        message = emit_message(reply, payloads)
        self._ctx.transmit(message, dst, src)
        # In clear, whatever the exchange.
        told = notation(shape_of(payloads), ExchangeType.IKE_SA_INIT, True)
        name = name_of(ExchangeType, header.exchange)
        self._ctx.emit(
            MessageSent(0, name, header.message_id, True, told, len(message), dst, src, 0, 1, header.spi_i)
        )


def _give_up(sa: IkeSa, now: int) -> None:
    text = f"{format_sock(sa.path.remote)} went no further than IKE_SA_INIT"
    sa.end(Reason.ABANDONED, text, now)
