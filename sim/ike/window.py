"""Windows of more than one request: SET_WINDOW_SIZE (RFC 7296 2.3).

Each side says how many requests it takes before the first of them is answered. Until then, and in a new IKE
SA again, that is one; it never becomes less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.constants import INITIAL, ExchangeType, NotifyType
from sim.ike.message import Message
from sim.ike.payloads import NotifyPayload
from sim.ike.tasks.base import Outgoing

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

MAX_WINDOW = 64
"""However many a peer would take, we have no more requests outstanding."""

_BYTES = 4
_TOO_EARLY = (*INITIAL, ExchangeType.IKE_INTERMEDIATE)


def announce_window(sa: IkeSa, out: Outgoing, exchange: int) -> None:
    """Say once in an IKE SA what we take, if it is more than one request, in a protected message."""
    if sa.connection.window > 1 and sa.window == 1 and exchange not in _TOO_EARLY:
        sa.window = sa.connection.window
        size = sa.window.to_bytes(_BYTES, "big")
        out.add_last(NotifyPayload(NotifyType.SET_WINDOW_SIZE, size))


def heed_window(sa: IkeSa, message: Message) -> None:
    """Use what the peer says that it takes."""
    notify = message.notify(NotifyType.SET_WINDOW_SIZE)
    if notify is not None and len(notify.data) == _BYTES:
        size = min(int.from_bytes(notify.data, "big"), MAX_WINDOW)
        sa.requests.window = max(sa.requests.window, size)
