"""IPComp inside ESP or AH (RFC 3173, RFC 2394): the payload shrinks before it is protected.

    tunnel     outer IP | ESP | IPComp | compressed (inner IP | upper layer)
    transport  IP       | ESP | IPComp | compressed (upper layer)

A payload is sent as it is, and without the header, when it is short or would not shrink (RFC 3173 2.2); so a
receiver takes both forms. What it inflates is bounded by what an IP packet can hold. Level, window and memory
of DEFLATE are fixed, but which of many right streams comes out is zlib's choice and may differ from one
version of it to another, and with it the size of the packets.
"""

from __future__ import annotations

import zlib
from typing import Protocol as Shape

from sim.ipsec.transport import Wrapper
from sim.ipsec.verdict import PacketError, Reason
from sim.wire import ipcomp
from sim.wire.buffer import WireError
from sim.wire.esp import Mode
from sim.wire.ip import MAX_PACKET_BYTES, Protocol

THRESHOLD = 90
"""Shorter payloads are not worth the try; the number is that of Linux."""

_LEVEL, _MEMORY = 6, 8
_RAW_WINDOW = -15
_IPCOMP = int(Protocol.IPCOMP)
_NEXT_IPCOMP = bytes((_IPCOMP,))
_AS_IT_IS = frozenset({Protocol.IPCOMP, Protocol.NO_NEXT})
"""Once is enough (RFC 3173 2.1), and dummies are nothing."""


class Tally:
    """What one SA has compressed or inflated: octets of all payloads, and of those as they travelled.

    `packets` are those with an IPComp header; the others count the same on both sides.
    """

    __slots__ = ("_last", "full_bytes", "packets", "sent_bytes")

    def __init__(self) -> None:
        self.packets = self.full_bytes = self.sent_bytes = 0
        self._last = (0, 0)

    def count(self, full: int, sent: int) -> None:
        self._last = full, sent
        self.packets += sent != full
        self.full_bytes += full
        self.sent_bytes += sent

    @property
    def ratio(self) -> float | None:
        """How many times the octets that travelled all payloads are; None if nothing did."""
        return self.full_bytes / self.sent_bytes if self.sent_bytes else None

    def uncount(self) -> None:
        """The last packet has not left."""
        full, sent = self._last
        self._last = (0, 0)
        self.packets -= sent != full
        self.full_bytes -= full
        self.sent_bytes -= sent


class Unwraps(Shape):
    """What makes a packet of what ESP or AH held; `alarms` counts contradictions of ECN fields."""

    @property
    def alarms(self) -> int: ...

    def open(self, packet: bytearray, at: int, payload: bytearray, next_header: int) -> bytearray: ...


class CompressingSealer:
    """Compresses payloads on their way to what protects them; sizes are those of the worst case."""

    __slots__ = ("_cpi", "_inner", "_tally")

    def __init__(self, inner: Wrapper, cpi: int, tally: Tally) -> None:
        self._inner = inner
        self._cpi = cpi
        self._tally = tally

    def size(self, payload: int) -> int:
        return self._inner.size(payload)

    def max_payload(self, size: int) -> int:
        return self._inner.max_payload(size)

    def seal(self, room: int, payload: bytearray, next_header: bytes) -> bytearray:
        sent = self._compressed(payload, next_header[0])
        if sent is None:
            sent = payload
        else:
            next_header = _NEXT_IPCOMP
        sealed = self._inner.seal(room, sent, next_header)
        self._tally.count(len(payload), len(sent))
        return sealed

    def _compressed(self, payload: bytearray, next_header: int) -> bytearray | None:
        if len(payload) < THRESHOLD or next_header in _AS_IT_IS:
            return None
        out = bytearray(ipcomp.emit(next_header, self._cpi)) + compress(payload)
        return out if len(out) < len(payload) else None


class InflatingOpener:
    """Inflates what its SA held before the mode makes a packet of it."""

    __slots__ = ("_cpi", "_mode", "_tally", "_whole")

    def __init__(self, opener: Unwraps, cpi: int, mode: Mode, tally: Tally) -> None:
        """`cpi` is the one that this end has named to its peer."""
        self._mode = opener
        self._cpi = cpi
        self._tally = tally
        self._whole = mode is Mode.TUNNEL

    @property
    def alarms(self) -> int:
        return self._mode.alarms

    def open(self, packet: bytearray, at: int, payload: bytearray, next_header: int) -> bytearray:
        """As the mode's own; PacketError for what is no compressed payload of this SA."""
        sent = len(payload)
        if next_header == _IPCOMP:
            longest = MAX_PACKET_BYTES if self._whole else MAX_PACKET_BYTES - at
            next_header, payload = self._inflated(payload, longest)
        full = len(payload)
        inner = self._mode.open(packet, at, payload, next_header)
        self._tally.count(full, sent)
        return inner

    def _inflated(self, payload: bytearray, longest: int) -> tuple[int, bytearray]:
        try:
            next_header, cpi = ipcomp.parse(payload)
        except WireError:
            raise PacketError(Reason.COMPRESSION) from None
        if cpi != self._cpi:
            raise PacketError(Reason.UNKNOWN_CPI)
        if next_header == _IPCOMP:
            raise PacketError(Reason.COMPRESSION)  # RFC 3173 2.1: once is all
        return next_header, decompress(memoryview(payload)[ipcomp.HEADER_BYTES :], longest)


def compress(payload: bytearray) -> bytes:
    """One payload as a DEFLATE stream of its own: packets get lost and overtake each other (RFC 3173 2)."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_WINDOW, _MEMORY)
    return deflate.compress(payload) + deflate.flush()


def decompress(stream: memoryview, longest: int) -> bytearray:
    """What a stream held; what follows its end is padding. PacketError for one that is cut off or damaged.

    A stream that holds more than `longest` octets is not inflated any further.
    """
    inflate = zlib.decompressobj(_RAW_WINDOW)
    try:
        out = inflate.decompress(stream, longest + 1)
    except zlib.error:
        raise PacketError(Reason.COMPRESSION) from None
    if len(out) > longest or not inflate.eof:
        raise PacketError(Reason.COMPRESSION)
    return bytearray(out)
