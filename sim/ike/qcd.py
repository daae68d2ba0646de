"""Tokens that prove a crash, and what is said about SPIs that nobody knows (RFC 6290 4.5, 5.1; RFC 7296 1.5).

    token = HMAC-SHA-256(QCD_SECRET, SPI-I | SPI-R)

Only a host that has lost the IKE SA may show its token: whoever sees it can end the SA. The secret outlives a
restart, as on a disk; the maker keeps nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest, digest
from typing import TYPE_CHECKING

from sim.ike.constants import ExchangeType, Flags, NotifyType, ProtocolId
from sim.ike.events import Reason
from sim.ike.exchanges import State
from sim.ike.message import NO_SPI, Header, Message, emit_message
from sim.ike.payloads import NotifyPayload
from sim.units import NS_PER_S
from sim.wire.address import Sock, format_sock

if TYPE_CHECKING:
    from sim.ike.context import Context
    from sim.ike.sa import IkeSa

_SECRET_BYTES = 32
_TOKEN_SIZES = range(16, 129)
"""RFC 6290 5: from 16 to 128 octets."""
_LOOKED_AT = 4
"""So many tokens of one message are compared; a host has few secrets at a time."""
_HINT_EVERY = 10 * NS_PER_S
_SPI_BYTES = 4


class TokenMaker:
    """Makes the same token of the same pair of SPIs; the secret is drawn for the first."""

    def __init__(self, rand: Callable[[int], bytes]) -> None:
        self._rand = rand
        self._secret = b""

    def make(self, spi_i: bytes, spi_r: bytes) -> bytes:
        self._secret = self._secret or self._rand(_SECRET_BYTES)
        return digest(self._secret, spi_i + spi_r, "sha256")


def token_payload(sa: IkeSa) -> NotifyPayload:
    """Our token of an IKE SA (RFC 6290 4.1)."""
    return _payload(sa.ctx, sa.spi_i, sa.spi_r)


def _payload(ctx: Context, spi_i: bytes, spi_r: bytes) -> NotifyPayload:
    return NotifyPayload(
        NotifyType.QUICK_CRASH_DETECTION, ctx.tokens.make(spi_i, spi_r), protocol=ProtocolId.IKE
    )


def take_token(sa: IkeSa, message: Message) -> None:
    """Remember the peer's token, if it sent one that is none too short or long; the last one counts (4.4)."""
    notify = message.notify(NotifyType.QUICK_CRASH_DETECTION)
    if sa.connection.qcd and notify is not None and len(notify.data) in _TOKEN_SIZES:
        sa.alternatives.crash_token = notify.data


# -- the maker, after a restart ------------------------------------------------------------------------------


def tokens_for(ctx: Context, header: Header) -> tuple[NotifyPayload, ...]:
    """What goes with INVALID_IKE_SPI: our token of these SPIs, if neither is of an IKE SA that there is.

    A token of a living IKE SA would end it, so no role that a stranger claims may call it forth (9.2).
    """
    known = header.spi_i in ctx.by_spi or header.spi_r in ctx.by_spi
    if known or NO_SPI in (header.spi_i, header.spi_r) or not ctx.detects_crashes:
        return ()
    return (_payload(ctx, header.spi_i, header.spi_r),)


def tell_invalid_spi(ctx: Context, spi: int, src: Sock, dst: Sock, now: int) -> None:
    """Tell the sender of an ESP packet, outside any IKE SA, that its SPI is none of ours (RFC 7296 1.5).

    It is only a hint, which makes a peer look after its IKE SA; so the token can follow.
    """
    if ctx.detects_crashes and ctx.may_notify(now, "invalid SPI"):
        header = Header(NO_SPI, NO_SPI, ExchangeType.INFORMATIONAL, Flags.INITIATOR, 0)
        payload = NotifyPayload(NotifyType.INVALID_SPI, spi.to_bytes(_SPI_BYTES, "big"))
        ctx.counters["invalid SPIs told"] += 1
        ctx.transmit(emit_message(header, [payload]), dst, src)


# -- the taker -----------------------------------------------------------------------------------------------


def shows_crash(message: Message) -> bool:
    """Whether an unprotected message claims that its sender has lost an IKE SA (RFC 6290 4.5)."""
    return (
        message.notify(NotifyType.INVALID_IKE_SPI) is not None
        and message.notify(NotifyType.QUICK_CRASH_DETECTION) is not None
    )


def hear_of_crash(sa: IkeSa, message: Message, src: Sock, now: int) -> None:
    """End an IKE SA at once if the token is the one that only its peer could make; else nothing happens."""
    own = sa.alternatives.crash_token
    shown = message.notifies(NotifyType.QUICK_CRASH_DETECTION)[:_LOOKED_AT]
    matches = [compare_digest(own, notify.data) for notify in shown]
    if not own or not any(matches) or sa.state is not State.ESTABLISHED:
        text = "a token that proves no crash of the peer" if own else "a token of a peer that gave us none"
        sa.ctx.reject("crash token refused", src, text)
        return
    sa.ctx.counters["crashes detected"] += 1
    text = f"{format_sock(src)} restarted and has forgotten it, as its token proves (RFC 6290)"
    sa.end(Reason.CRASH_DETECTED, text, now)


def is_hint(message: Message) -> bool:
    """Whether it is a word about ESP outside any IKE SA (RFC 7296 1.5)."""
    header = message.header
    return (
        header.exchange == ExchangeType.INFORMATIONAL
        and not header.is_response
        and header.spi_r == NO_SPI
        and message.notify(NotifyType.INVALID_SPI) is not None
    )


def hear_hint(ctx: Context, message: Message, src: Sock, now: int) -> None:
    """Ask the peer whose SPI it is about, if that is where the hint came from, and not too often (2.4)."""
    notify = message.notify(NotifyType.INVALID_SPI)
    assert notify is not None  # or it was no hint
    spi = int.from_bytes(notify.data, "big")
    if ctx.may_notify(now, "hint"):
        for child in ctx.children.values():
            path = child.ike.path
            if child.spi_out == spi and src[0] in (path.remote[0], (path.esp_remote or path.remote)[0]):
                _look_after(child.ike, now)
                return
    ctx.reject("invalid SPI told", src, f"the peer knows no SPI {spi:08x}, nor do we")


def _look_after(sa: IkeSa, now: int) -> None:
    known = sa.alternatives
    if known.hinted_at < 0 or now - known.hinted_at >= _HINT_EVERY:
        known.hinted_at = now
        sa.ctx.counters["hints followed"] += 1
        sa.watch.look_after(now)
