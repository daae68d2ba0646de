"""What waits for its IKE_FOLLOWUP_KE exchanges: Child SAs and IKE SAs with more than one key exchange.

RFC 9370 2.2.4, as the responder of CREATE_CHILD_SA sees it. A link names what waits; each is used once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sim.ike.constants import NotifyType
from sim.ike.payloads import NotifyPayload

if TYPE_CHECKING:
    from sim.crypto.kex import KeyExchange
    from sim.ike.sa import IkeSa
    from sim.ike.tasks.base import Outgoing

_LINK_BYTES = 8


class Draft(Protocol):
    """An SA that is agreed on, and has no keys before the last key exchange is made."""

    def check(self, sa: IkeSa) -> None:
        """PeerError when it may not come into being any more."""

    def complete(self, sa: IkeSa, additional: bytes, out: Outgoing, now: int) -> None:
        """Make it; `additional` are all the secrets that came after that of CREATE_CHILD_SA."""

    def give_up(self, sa: IkeSa) -> None:
        """The peer did not go on."""


@dataclass(slots=True)
class Pending:
    draft: Draft
    methods: tuple[KeyExchange, ...]
    additional: bytes = b""


class FollowUps:
    def __init__(self, sa: IkeSa) -> None:
        self._sa = sa
        self._pending: dict[bytes, Pending] = {}

    def expect(self, pending: Pending, now: int) -> NotifyPayload:
        """Wait for the next key exchange, for a while; what to answer (RFC 9370 2.2.4)."""
        ctx = self._sa.ctx
        link = ctx.rand(_LINK_BYTES)
        self._pending[link] = pending
        ctx.timers.arm(self._key(link), now + ctx.config.followup_timeout, lambda _: self._expire(link))
        return NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)

    def take(self, link: bytes) -> Pending | None:
        """What waits under this link, and does so no more."""
        self._sa.ctx.timers.cancel(self._key(link))
        return self._pending.pop(link, None)

    def close(self) -> None:
        for link in list(self._pending):
            self._expire(link)

    def __len__(self) -> int:
        return len(self._pending)

    def _expire(self, link: bytes) -> None:
        pending = self.take(link)
        if pending is not None:
            pending.draft.give_up(self._sa)

    def _key(self, link: bytes) -> tuple[int, str, bytes]:
        return (self._sa.ike_id, "follow-up", link)
