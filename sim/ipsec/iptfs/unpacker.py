"""Inner packets out of a sequence of AGGFRAG payloads (RFC 9347 2.2.3, 2.5).

Payloads come in the order of their sequence numbers. Where one is missing, so is the rest of the inner packet
that was not complete; BlockOffset says where the next one begins. A payload that contradicts the one before
costs the packet that they share, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.ipsec.verdict import Reason
from sim.wire import aggfrag
from sim.wire.aggfrag import PADDING, Header
from sim.wire.buffer import WireError

Found = tuple[int, bytearray]
"""An inner packet, behind the how-manieth it is of those that end in its payload."""


class Unpacker:
    """`failed` is called with the reason for each inner packet that never becomes whole."""

    __slots__ = ("_failed", "_part")

    def __init__(self, failed: Callable[[Reason], None]) -> None:
        self._failed = failed
        self._part = bytearray()  # the beginning of a packet whose end is still to come

    def lose(self) -> None:
        """A payload is missing."""
        if self._part:
            self._give_up(Reason.PIECE_LOST)

    def take(self, payload: bytearray, header: Header) -> list[Found]:
        """The inner packets that end in a payload, whole ones, in order."""
        at, offset = header.size, header.offset
        if at == len(payload) or (not offset and payload[at] >> 4 == PADDING):
            return []  # empty, or all padding, which may stand between the pieces of a packet
        room = len(payload) - at
        found: list[Found] = []
        if self._part:
            self._join(payload[at : at + offset], offset - room, found)
        if offset < room:
            self._split(payload, at + offset, int(offset > 0), found)
        return found

    def _join(self, piece: bytearray, missing: int, found: list[Found]) -> None:
        """Add to the packet that is begun; `missing` octets, if that is positive, are still to come."""
        part = self._part
        part += piece
        try:
            whole = aggfrag.block_length(part)
        except WireError:
            whole = PADDING
        if piece and whole == len(part) and missing <= 0:
            found.append((0, part))
            self._part = bytearray()
        elif not piece or missing <= 0 or whole not in (None, len(part) + missing):
            self._give_up(Reason.MALFORMED_AGGFRAG)

    def _split(self, payload: bytearray, at: int, index: int, found: list[Found]) -> None:
        """Data blocks from `at` on, the first of which begins there."""
        end = len(payload)
        while at < end:
            try:
                length = aggfrag.block_length(payload, at)
            except WireError:
                self._failed(Reason.MALFORMED_AGGFRAG)
                return
            if length == PADDING:
                return
            if length is None or at + length > end:
                self._part = payload[at:]
                return
            found.append((index, payload[at : at + length]))
            index, at = index + 1, at + length

    def _give_up(self, reason: Reason) -> None:
        self._part = bytearray()
        self._failed(reason)
