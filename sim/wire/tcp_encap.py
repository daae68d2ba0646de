"""IKE and ESP in a TCP stream (RFC 9329 3): framing alone, whatever brings the octets.

    "IKETCP"                                once, first, from the end that opened the connection

    0  length of this message, these two octets included
    2  0 0 0 0 | IKE header ...             an IKE message behind the non-ESP marker
    2  SPI (not zero) | sequence | ...      an ESP packet
    2  0xff                                 a keepalive of NATs, which TCP does not need: never sent, ignored

What stands behind the length is what a datagram on UDP's port 4500 holds, so `sim.wire.udp_encap` tells what
it is. A stream that breaks these rules cannot be read any further: its connection is to be closed (3).
"""

from __future__ import annotations

from struct import Struct

from sim.wire.buffer import Buf, WireError
from sim.wire.udp_encap import NON_ESP_MARKER, Kind, classify

PREFIX = b"IKETCP"
MAX_PAYLOAD = 0xFFFF - 2
"""What a frame holds at most, the non-ESP marker included; also the largest ESP packet."""

_LENGTH = Struct(">H")
_LENGTH_BYTES = _LENGTH.size

Received = tuple[Kind, bytes]
"""What came, and its octets: of IKE those behind the marker. Those that are MALFORMED are to be counted."""


class StreamSender:
    """One direction of a connection; `opened_it` is whether this end did, which says so first."""

    __slots__ = ("_prefix",)

    def __init__(self, *, opened_it: bool) -> None:
        self._prefix = PREFIX if opened_it else b""

    def ike(self, message: Buf) -> bytes:
        """The octets to send for an IKE message; ValueError when it is too long for a frame."""
        return self._framed(NON_ESP_MARKER + bytes(message), Kind.IKE)

    def esp(self, packet: Buf) -> bytes:
        """The octets to send for an ESP packet, from its SPI on; ValueError when that is zero or cut off."""
        return self._framed(bytes(packet), Kind.ESP)

    def _framed(self, payload: bytes, kind: Kind) -> bytes:
        if classify(payload) is not kind:
            raise ValueError(f"{payload[:8].hex() or 'nothing'} does not begin an {kind.value} packet")
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"{len(payload)} octets do not fit into a frame, which holds {MAX_PAYLOAD}")
        prefix, self._prefix = self._prefix, b""
        return prefix + _LENGTH.pack(len(payload) + _LENGTH_BYTES) + payload


class StreamReceiver:
    """The other direction: takes octets in pieces as TCP delivers them, and gives whole messages.

    Of what is incomplete it keeps no more than one frame.
    """

    __slots__ = ("_broken", "_expects_prefix", "_kept")

    def __init__(self, *, opened_it: bool) -> None:
        """`opened_it` is whether this end opened the connection; then its peer sends no prefix."""
        self._expects_prefix = not opened_it
        self._kept = bytearray()
        self._broken = ""

    @property
    def kept(self) -> int:
        """How many octets wait for the rest of their message."""
        return len(self._kept)

    def feed(self, data: Buf) -> list[Received]:
        """The messages that are complete with these octets, in order.

        WireError when the stream is no such stream, or not any more: what came before in it has been given,
        but for what the same octets hold; from then on every call raises.
        """
        if self._broken:
            raise WireError(self._broken)
        self._kept += data
        if self._expects_prefix and not self._take_prefix():
            return []
        return self._take_frames()

    def _take_prefix(self) -> bool:
        """Whether it is there; a wrong octet is noticed at once."""
        found = bytes(self._kept[: len(PREFIX)])
        wrong = next((n for n, octet in enumerate(found) if octet != PREFIX[n]), None)
        if wrong is not None:
            raise self._break(f"the stream begins with {found[: wrong + 1]!r}, not with {PREFIX!r}")
        if len(found) < len(PREFIX):
            return False
        del self._kept[: len(PREFIX)]
        self._expects_prefix = False
        return True

    def _take_frames(self) -> list[Received]:
        kept, at = self._kept, 0
        found: list[Received] = []
        while len(kept) - at >= _LENGTH_BYTES:
            (length,) = _LENGTH.unpack_from(kept, at)
            if length < _LENGTH_BYTES:
                raise self._break(f"a message of length {length}, which its own length field exceeds")
            if len(kept) - at < length:
                break
            found.append(_told_apart(bytes(kept[at + _LENGTH_BYTES : at + length])))
            at += length
        del kept[:at]
        return found

    def _break(self, text: str) -> WireError:
        self._broken = text
        self._kept.clear()
        return WireError(text)


def _told_apart(payload: bytes) -> Received:
    kind = classify(payload)
    return kind, payload[len(NON_ESP_MARKER) :] if kind is Kind.IKE else payload
