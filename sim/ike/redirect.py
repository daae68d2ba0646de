"""Redirection to another gateway: what is said about it, and whether to go there (RFC 5685).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    | GW Ident Type |  GW Ident Len |  gateway identity             ~
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ~  nonce data, in answers to IKE_SA_INIT alone                  ~
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

A gateway that is named by an FQDN is refused: there is no DNS here.
"""

from __future__ import annotations

from hmac import compare_digest
from struct import Struct
from typing import TYPE_CHECKING

from sim.ike.candidates import may_use
from sim.ike.config import RedirectWhen
from sim.ike.constants import NotifyType
from sim.ike.events import Reason
from sim.ike.path import Path, first_path
from sim.ike.payloads import NotifyPayload
from sim.units import NS_PER_S, format_duration
from sim.wire.address import format_address, format_sock
from sim.wire.buffer import WireError
from sim.wire.value import value

if TYPE_CHECKING:
    from sim.ike.config import ConnectionConfig
    from sim.ike.message import Message
    from sim.ike.sa import IkeSa

MAX_REDIRECTS = 5
REDIRECT_LOOP_DETECT_PERIOD = 300 * NS_PER_S
"""So many redirections are followed in such a time (RFC 5685 6)."""

_HEAD = Struct(">BB")
_TYPE_OF = {4: 1, 16: 2}
_ADDRESS_BYTES = {1: 4, 2: 16}
_FQDN = 3


class RedirectError(Exception):
    """We do not go where we are sent: `reason` and the text are for our user."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason, self.text = reason, text


@value
class Gateway:
    """The data of REDIRECT or REDIRECTED_FROM: a packed `address`, or else a `name`."""

    address: bytes
    nonce: bytes = b""
    name: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Gateway:
        """WireError when a length contradicts the type or the octets at hand."""
        if len(data) < _HEAD.size:
            raise WireError(f"a gateway identity of {len(data)} octets (RFC 5685 9)")
        kind, size = _HEAD.unpack_from(data)
        identity, nonce = data[_HEAD.size : _HEAD.size + size], data[_HEAD.size + size :]
        if len(identity) != size or not size:
            raise WireError(f"a gateway identity of {size} octets, of which {len(identity)} are there")
        if kind == _FQDN:
            return cls(b"", nonce, identity.decode("ascii", "backslashreplace"))
        if _ADDRESS_BYTES.get(kind) != size:
            raise WireError(f"a gateway identity of type {kind} with {size} octets (RFC 5685 9)")
        return cls(identity, nonce)

    def emit(self) -> bytes:
        return _HEAD.pack(_TYPE_OF[len(self.address)], len(self.address)) + self.address + self.nonce


def redirect_payload(to: bytes, nonce: bytes = b"") -> NotifyPayload:
    """`nonce` is that of the IKE_SA_INIT request which it answers."""
    return NotifyPayload(NotifyType.REDIRECT, Gateway(to, nonce).emit())


# -- the gateway ---------------------------------------------------------------------------------------------


def takes_redirects(message: Message) -> bool:
    """Whether an IKE_SA_INIT request says that its sender can be redirected (RFC 5685 3)."""
    return any(
        message.notify(kind) is not None
        for kind in (NotifyType.REDIRECT_SUPPORTED, NotifyType.REDIRECTED_FROM)
    )


def redirected_at(connection: ConnectionConfig, when: RedirectWhen, own: bytes) -> bytes:
    """Where a connection sends its peers at this point; never to the address that they have come to."""
    to = connection.redirect_to
    return to if connection.redirect_when is when and to != own else b""


# -- the client ----------------------------------------------------------------------------------------------


def redirect_payloads(sa: IkeSa) -> list[NotifyPayload]:
    """What an initiator says in its first message: that it can be redirected, or has been, and by whom."""
    origin = sa.alternatives.redirected_from
    if origin:
        return [NotifyPayload(NotifyType.REDIRECTED_FROM, Gateway(origin).emit())]
    return [NotifyPayload(NotifyType.REDIRECT_SUPPORTED)] if sa.connection.follow_redirects else []


def wanted_gateway(sa: IkeSa, message: Message) -> Gateway | None:
    """Where a message sends us, if it does and the connection lets it; WireError for octets without sense."""
    notify = message.notify(NotifyType.REDIRECT)
    if notify is None or not sa.connection.follow_redirects:
        return None
    return Gateway.parse(notify.data)


def check_nonce(sa: IkeSa, gateway: Gateway) -> None:
    """WireError unless who answers IKE_SA_INIT has seen our request (RFC 5685 3)."""
    if not compare_digest(gateway.nonce, sa.nonce_i):
        raise WireError("a redirection without the nonce of our request, which anyone could send")


def way_to(sa: IkeSa, gateway: Gateway, now: int) -> Path:
    """The path to another gateway, which counts as a redirection; RedirectError says why there is none."""
    here = format_sock(sa.path.remote)
    to = gateway.address
    if not to:
        text = f"{here} sends us to {gateway.name}, and names are not resolved here: an address is needed"
        raise RedirectError(Reason.REDIRECT_REFUSED, text)
    if to == sa.path.remote[0]:
        raise RedirectError(Reason.REDIRECT_REFUSED, f"{here} sends us to itself")
    ctx, connection = sa.ctx, sa.connection
    local = next((own for own in ctx.towards(to) if may_use(ctx, connection, own, to)), None)
    if local is None:
        text = f"{here} sends us to {format_address(to)}, where no address of this host leads"
        raise RedirectError(Reason.REDIRECT_REFUSED, text)
    _count(sa, to, now)
    return first_path(ctx.config, connection, local, to)


def _count(sa: IkeSa, to: bytes, now: int) -> None:
    """RedirectError when gateways send us about in a circle (RFC 5685 6)."""
    times = sa.ctx.redirects.setdefault(sa.connection.name, [])
    times[:] = [at for at in times if now - at < REDIRECT_LOOP_DETECT_PERIOD]
    if len(times) >= MAX_REDIRECTS:
        onward = f"{format_sock(sa.path.remote)} sends us on to {format_address(to)}"
        limit = f"{MAX_REDIRECTS} redirections in {format_duration(REDIRECT_LOOP_DETECT_PERIOD)}"
        text = f"{onward}, but {limit} are the limit: gateways may go in a circle (RFC 5685 6)"
        raise RedirectError(Reason.REDIRECT_LOOP, text)
    times.append(now)
