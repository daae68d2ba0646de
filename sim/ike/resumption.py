"""Tickets, by which an IKE SA that was lost is taken up again without a key exchange (RFC 5723).

A ticket by value: the gateway keeps nothing but its key, and finds in the ticket all that it needs.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |    version    |                   reserved                    |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                        IV (8 octets)                          |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ~  times, SPIs, identities, SAr, SK_d, sealed by AES-256-GCM    ~
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

Its format is the gateway's own affair (appendix A). The key outlives a restart, as on a disk, so that tickets
help above all after one. A client holds tickets, and the SK_d that makes them worth something, in memory:
its own restart loses them. Each ticket is good for one resumption, which brings the next one; it is
shown again only if nobody has answered.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING

from sim.crypto.cipher import Cipher, cipher
from sim.crypto.errors import CryptoError
from sim.crypto.ids import EncryptionId
from sim.crypto.prf import Prf
from sim.crypto.suites import ENCRYPTION
from sim.ike.constants import NotifyType, PayloadType
from sim.ike.errors import PeerError
from sim.ike.events import Reason
from sim.ike.identity import Identity
from sim.ike.payloads import IdPayload, SaPayload
from sim.ike.proposals import Proposal, select
from sim.units import NS_PER_S
from sim.wire.buffer import Reader, WireError
from sim.wire.value import value

if TYPE_CHECKING:
    from sim.ike.config import ConnectionConfig
    from sim.ike.context import Context
    from sim.ike.message import Message
    from sim.ike.sa import IkeSa

_PAD = b"Resumption"
_SUITE = ENCRYPTION[EncryptionId.ENCR_AES_GCM_16, 256]
_HEAD = Struct(">B3x")
_FIXED = Struct(">QQ8s8s")  # expires, authenticated (ns since 1970), SPIi, SPIr
_SIZE = Struct(">H")
_VERSION = 1
_LONGEST = 24 * 3600 * NS_PER_S
"""How long a ticket is good whose gateway limits neither the IKE SA nor the authentication."""
_LIFETIME_BYTES = 4
_KEEPS = frozenset({Reason.TIMEOUT, Reason.MOVED, Reason.CRASH_DETECTED, Reason.REKEYED, Reason.REDUNDANT})
"""The ends of an IKE SA after which a client may still resume it: nobody has wanted them (RFC 5723 4.2)."""


def resumed_skeyseed(prf: Prf, sk_d: bytes, nonce_i: bytes, nonce_r: bytes) -> bytes:
    """SKEYSEED = prf(SK_d (old), "Resumption" | Ni | Nr) (RFC 5723 5.1)."""
    return prf(sk_d, _PAD + nonce_i + nonce_r)


@value
class Session:
    """What both sides keep of an IKE SA: the bodies of its ID payloads, its SPIs, its suite and SK_d.

    `id_i` is who the initiator said that it was in IKE_AUTH, `caller` who it proved to be at last, as by EAP.

    `expires_at` and `authenticated_at` are ns of this host's clock.
    """

    expires_at: int
    authenticated_at: int
    spi_i: bytes
    spi_r: bytes
    id_i: bytes
    id_r: bytes
    caller: bytes
    proposal: Proposal
    sk_d: bytes

    def emit(self, epoch: int) -> bytes:
        fixed = _FIXED.pack(self.expires_at + epoch, self.authenticated_at + epoch, self.spi_i, self.spi_r)
        parts = (self.id_i, self.id_r, self.caller, SaPayload((self.proposal,)).emit(), self.sk_d)
        return fixed + b"".join(_SIZE.pack(len(part)) + part for part in parts)

    @classmethod
    def parse(cls, data: bytes, epoch: int) -> Session:
        """WireError for what `emit` has not made."""
        r = Reader(data)
        expires_at, authenticated_at, spi_i, spi_r = r.unpack(_FIXED)
        id_i, id_r, caller, sa, sk_d = (r.take(r.unpack(_SIZE)[0]) for _ in range(5))
        r.done()
        (proposal,) = SaPayload.parse(sa, PayloadType.SA, 0).proposals
        return cls(
            expires_at - epoch,
            authenticated_at - epoch,
            spi_i,
            spi_r,
            bytes(id_i),
            bytes(id_r),
            bytes(caller),
            proposal,
            bytes(sk_d),
        )

    @property
    def initiator(self) -> Identity:
        return _identity(self.id_i, PayloadType.ID_I)

    @property
    def proved(self) -> Identity:
        return _identity(self.caller, PayloadType.ID_I)

    @property
    def responder(self) -> Identity:
        return _identity(self.id_r, PayloadType.ID_R)


def _identity(body: bytes, kind: PayloadType) -> Identity:
    return Identity.of_payload(IdPayload.parse(body, kind, 0))


# -- the gateway ---------------------------------------------------------------------------------------------


class TicketKey:
    """A gateway's key, drawn when the first ticket is made, and the tickets that were used already."""

    def __init__(self, rand: Callable[[int], bytes], epoch: int) -> None:
        self._rand = rand
        self._epoch = epoch
        self._cipher: Cipher | None = None
        self._counters = count(1)
        self._used: dict[bytes, int] = {}

    def seal(self, session: Session, now: int) -> bytes:
        made = self._ready()
        self._used = {iv: expires_at for iv, expires_at in self._used.items() if expires_at > now}
        plain = session.emit(self._epoch)
        iv, head = made.next_iv(next(self._counters)), _HEAD.pack(_VERSION)
        sealed = bytearray(len(plain) + made.icv_bytes)
        made.seal_into(head, iv, plain, memoryview(sealed))
        return head + iv + bytes(sealed)

    def open(self, ticket: bytes, now: int) -> Session:
        """PeerError with TICKET_NACK for what we have not made, what is too old, and what was used before."""
        made = self._ready()
        at = _HEAD.size + made.iv_bytes
        if len(ticket) < at + made.icv_bytes or ticket[0] != _VERSION:
            raise refused("the ticket is none of ours")
        iv = ticket[_HEAD.size : at]
        try:
            session = Session.parse(made.open(ticket[: _HEAD.size], iv, ticket[at:]), self._epoch)
        except (CryptoError, WireError, ValueError) as error:
            raise refused("the ticket is none of ours, or its key is gone") from error
        if session.expires_at <= now:
            raise refused("the ticket has expired")
        if iv in self._used:
            raise refused("the ticket was used before")
        return session

    def spend(self, ticket: bytes, expires_at: int) -> None:
        """The ticket has brought an IKE SA back, and brings no other one."""
        at = _HEAD.size + self._ready().iv_bytes
        self._used[ticket[_HEAD.size : at]] = expires_at

    def forget(self) -> None:
        """A restart: the key is on a disk, the list of used tickets was in memory."""
        self._used.clear()

    def _ready(self) -> Cipher:
        if self._cipher is None:
            key = self._rand(_SUITE.keymat_bytes)
            self._cipher = cipher(_SUITE, None, key, b"", self._rand)
        return self._cipher


def refused(text: str) -> PeerError:
    return PeerError(NotifyType.TICKET_NACK, text, reason=Reason.NONE)


def open_session(
    candidates: tuple[ConnectionConfig, ...], message: Message, ctx: Context, now: int
) -> tuple[ConnectionConfig, Session, bytes]:
    """The connection that a ticket's IKE SA is of, what it was, and the ticket; PeerError is TICKET_NACK."""
    notify = message.notify(NotifyType.TICKET_OPAQUE)
    resumable = [connection for connection in candidates if connection.resumption]
    if notify is None or not resumable:
        raise refused("there is no ticket" if resumable else "no connection of this host is resumed")
    session = ctx.ticket_key.open(notify.data, now)
    for connection in resumable:
        if _fits(connection, session):
            return connection, session, notify.data
    raise refused(f"the policy for {session.initiator} has changed since the ticket was made")


def _fits(connection: ConnectionConfig, session: Session) -> bool:
    own = connection.local_id or connection.local.default_id()
    return (
        bool(session.initiator.match(connection.remote_id))
        and (own is None or bool(session.responder.match(own)))
        and select((session.proposal,), connection.proposals) is not None
    )


def make_ticket(sa: IkeSa, now: int) -> tuple[int, bytes] | None:
    """A ticket for an IKE SA and its lifetime in seconds; None where no time is left (RFC 5723 6.2)."""
    lifetime = _lifetime(sa, now)
    seconds = lifetime // NS_PER_S
    if seconds <= 0:
        return None
    return seconds, sa.ctx.ticket_key.seal(session_of(sa, now + seconds * NS_PER_S, now), now)


def _lifetime(sa: IkeSa, now: int) -> int:
    """The least of what the IKE SA and the authentication have: a resumption proves nothing anew."""
    config = sa.connection
    limit = config.rekey_time + config.over_time if config.rekey_time else _LONGEST
    if config.reauth_time:
        limit = min(limit, sa.lifetimes.authenticated_at + config.reauth_time - now)
    return min(limit, _LONGEST)


def session_of(sa: IkeSa, expires_at: int, now: int) -> Session:
    """What is to be known of an IKE SA that is up."""
    assert sa.local_id is not None
    assert sa.remote_id is not None  # both have proved who they are
    caller, called = (sa.local_id, sa.remote_id) if sa.began else (sa.remote_id, sa.local_id)
    proved = caller.payload(PayloadType.ID_I).emit()
    return Session(
        expires_at,
        max(0, sa.lifetimes.authenticated_at if sa.lifetimes.authenticated_at >= 0 else now),
        sa.spi_i,
        sa.spi_r,
        sa.alternatives.id_i or proved,
        called.payload(PayloadType.ID_R).emit(),
        proved,
        sa.chosen.with_spi(b""),
        sa.keys.sk_d,
    )


# -- the client ----------------------------------------------------------------------------------------------


@value
class Held:
    """A ticket of ours, the gateway that made it, and what it stands for."""

    ticket: bytes
    gateway: bytes
    session: Session


def keep_ticket(sa: IkeSa, data: bytes, now: int) -> None:
    """Keep what TICKET_LT_OPAQUE brought, instead of an older one; nothing if it is too short."""
    lifetime, ticket = int.from_bytes(data[:_LIFETIME_BYTES], "big"), data[_LIFETIME_BYTES:]
    if ticket and lifetime:
        session = session_of(sa, now + lifetime * NS_PER_S, now)
        sa.ctx.tickets[sa.connection.name] = Held(ticket, sa.path.remote[0], session)


def take_ticket(ctx: Context, config: ConnectionConfig, gateway: bytes, now: int) -> Held | None:
    """The ticket for a gateway, which is ours no longer: it is shown once (RFC 5723 4.3)."""
    held = ctx.tickets.get(config.name)
    if held is None or not config.resumption or held.gateway != gateway:
        return None
    del ctx.tickets[config.name]
    return held if held.session.expires_at > now else None


def drop_ticket(sa: IkeSa, reason: Reason) -> None:
    """An IKE SA that somebody has ended on purpose is not to come back by its ticket."""
    held = sa.ctx.tickets.get(sa.connection.name)
    if held is not None and reason not in _KEEPS and held.session.spi_i == sa.spi_i:
        del sa.ctx.tickets[sa.connection.name]
