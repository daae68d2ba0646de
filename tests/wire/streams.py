"""What becomes of a TCP stream that comes in pieces."""

from __future__ import annotations

from collections.abc import Iterable

from sim.wire.buffer import WireError
from sim.wire.tcp_encap import Received, StreamReceiver


def fed(receiver: StreamReceiver, pieces: Iterable[bytes]) -> tuple[list[Received], str]:
    """What came, and why nothing more can come."""
    found: list[Received] = []
    try:
        for piece in pieces:
            found += receiver.feed(piece)
    except WireError as error:
        return found, str(error)
    return found, ""
