"""How a procedure ends early: the peer must be told, or the peer told us (RFC 7296 2.21)."""

from __future__ import annotations

from enum import Enum

from sim.ike.constants import NotifyType, ProtocolId
from sim.ike.events import Reason
from sim.ike.payloads import NotifyPayload, Payload
from sim.wire.value import quick


@quick
class Scope(Enum):
    """How far an error reaches."""

    MESSAGE = "message"
    IKE_SA = "IKE SA"


class PeerError(Exception):
    """The peer must be told `notify`; text and `reason` are for our own user and never sent."""

    def __init__(
        self,
        notify: NotifyType,
        text: str,
        scope: Scope = Scope.MESSAGE,
        data: bytes = b"",
        child_spi: tuple[ProtocolId, bytes] = (ProtocolId.NONE, b""),
        reason: Reason | None = None,
        before: tuple[Payload, ...] = (),
    ) -> None:
        super().__init__(text)
        self.notify = notify
        self.reason = reason or reason_of(notify)
        self.text = text
        self.scope = scope
        self.data = data
        self.child_spi = child_spi
        self.before = before

    def payload(self) -> NotifyPayload:
        return NotifyPayload(self.notify, self.data, *self.child_spi)

    def payloads(self) -> list[Payload]:
        """A response that holds nothing else: the notification, and what goes before it."""
        return [*self.before, self.payload()]


class RefusedError(Exception):
    """The peer refused our IKE SA, and said so in a message that it protected."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class SupersededError(Exception):
    """What is left of an exchange means nothing any more; whoever raises it has seen to everything."""


class UnprovenError(Exception):
    """The peer refused, and nobody vouches for who said so: remembered, not believed (RFC 7296 2.21.1)."""


def reason_of(notify: int) -> Reason:
    """The reason with the name of an error notify; PEER_ERROR for one that has none."""
    try:
        return Reason(NotifyType(notify).name)
    except ValueError:
        return Reason.PEER_ERROR
