"""Sealing and opening ESP, whatever it wraps (RFC 4303 2, 3.3.2 to 3.3.3, 3.4.2 to 3.4.4).

    0       SPI                                            authenticated
    4       sequence number
    8       IV
    8 + iv  payload | 1 2 3 ... | pad length | next header   authenticated, encrypted
            ICV

An AEAD takes SPI ‖ ESN ‖ sequence number as its additional data (RFC 4106 5); a MAC covers the ESN half
behind the ciphertext (RFC 4303 2.2.1). Only the alignment's own padding is sent; more of it is accepted.

A receiver that has missed 2^32 packets in a row has the wrong ESN half, and all that follows fails its check:
after `RESYNC_AFTER` failures one packet is tried with the next `RESYNC_TRIES` halves (RFC 4303 A3).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from sim.crypto.cipher import Cipher
from sim.crypto.errors import IntegrityError
from sim.ipsec.replay import ReplayWindow
from sim.ipsec.verdict import PacketError, Reason
from sim.wire.esp import ALIGNMENT, HEADER, HEADER_BYTES, MAX_PADDING, TRAILER_BYTES

LAST_SEQ = 0xFFFFFFFF
LAST_ESN = 0xFFFFFFFFFFFFFFFF
_PERIOD = 1 << 32
RESYNC_AFTER = 32
RESYNC_TRIES = 4
_header = HEADER.pack
_esn_header = Struct(">IQ").pack
TRAILERS = [bytes((*range(1, size + 1), size)) for size in range(MAX_PADDING + 1)]  # 1 2 3 3


@lru_cache(16)
def _header_and_iv(iv_bytes: int) -> Struct:
    return Struct(f"8s{iv_bytes}s")


Opened = tuple[bytearray, int, bool]
"""Payload, next header, and whether no packet with a later sequence number came before."""


class EspSealer:
    """One direction's keys, SPI and sequence number, for sending."""

    __slots__ = (
        "_aead",
        "_align",
        "_esn",
        "_fixed",
        "_last",
        "_prefix",
        "_put_prefix",
        "cipher",
        "seq",
        "spi",
    )

    def __init__(self, cipher: Cipher, spi: int, *, aead: bool, esn: bool) -> None:
        self.spi = spi
        self.seq = 0
        self.cipher = cipher
        self._aead = aead
        self._esn = esn
        self._last = LAST_ESN if esn else LAST_SEQ
        self._align = max(cipher.block_bytes, ALIGNMENT)
        self._prefix = HEADER_BYTES + cipher.iv_bytes
        self._put_prefix = _header_and_iv(cipher.iv_bytes).pack_into
        self._fixed = self._prefix + TRAILER_BYTES + cipher.icv_bytes

    def size(self, payload: int) -> int:
        """The size of ESP around `payload` octets, from the SPI to the ICV."""
        return self._fixed + payload + -(payload + TRAILER_BYTES) % self._align

    def max_payload(self, size: int) -> int:
        """The largest payload whose ESP fits into `size` octets; negative if none does."""
        room = size - self._prefix - self.cipher.icv_bytes
        return room - room % self._align - TRAILER_BYTES

    def seal(self, room: int, payload: bytearray, next_header: bytes) -> bytearray:
        """ESP around `payload`, behind `room` zero octets that the caller fills with what goes in front.

        PacketError when the sequence numbers are used up: they never wrap (RFC 4303 3.3.3).
        """
        seq = self.seq + 1
        if seq > self._last:
            raise PacketError(Reason.SEQUENCE_EXHAUSTED)
        self.seq = seq
        size = len(payload)
        padding = -(size + TRAILER_BYTES) % self._align
        out = bytearray(room + self._fixed + size + padding)
        cipher = self.cipher
        header = _header(self.spi, seq & LAST_SEQ)
        iv = cipher.next_iv(seq)
        self._put_prefix(out, room, header, iv)
        plaintext = payload + (TRAILERS[padding] + next_header)
        sealed = memoryview(out)[room + self._prefix :]
        if self._esn:
            self._seal_esn(header, iv, plaintext, sealed)
        else:
            cipher.seal_into(header, iv, plaintext, sealed)
        return out

    def _seal_esn(self, header: bytes, iv: bytes, plaintext: bytearray, out: memoryview) -> None:
        if self._aead:
            self.cipher.seal_into(_esn_header(self.spi, self.seq), iv, plaintext, out)
        else:
            self.cipher.seal_into(header, iv, plaintext, out, (self.seq >> 32).to_bytes(4, "big"))


class EspOpener:
    """One direction's keys, SPI and replay window, for receiving."""

    __slots__ = (
        "_aead",
        "_align",
        "_esn",
        "_failures",
        "_least",
        "_prefix",
        "_take_prefix",
        "cipher",
        "spi",
        "window",
    )

    def __init__(self, cipher: Cipher, spi: int, window: ReplayWindow, *, aead: bool, esn: bool) -> None:
        self.spi = spi
        self.window = window
        self.cipher = cipher
        self._aead = aead
        self._esn = esn
        self._failures = 0
        self._align = max(cipher.block_bytes, ALIGNMENT)
        self._prefix = HEADER_BYTES + cipher.iv_bytes
        self._take_prefix = _header_and_iv(cipher.iv_bytes).unpack_from
        self._least = self._prefix + self._align + cipher.icv_bytes

    def open(self, packet: bytearray, at: int, low: int) -> Opened:
        """Check and decrypt the ESP that starts at `at` and fills the packet; `low` is the number it shows.

        The window moves only after the ICV holds. PacketError says which check failed first, in the order of
        RFC 4303 3.4: length, replay, integrity, then (authentic, but wrong) padding.
        """
        size = len(packet) - at
        if size < self._least or (size - self._least) % self._align:
            raise PacketError(Reason.MALFORMED_ESP)
        window = self.window
        seq = window.recover(low) if self._esn else low
        if seq <= window.top and not window.check(seq):
            raise PacketError(Reason.LATE if window.is_late(seq) else Reason.REPLAYED)
        header, iv = self._take_prefix(packet, at)
        sealed = memoryview(packet)[at + self._prefix :]
        payload = bytearray(len(sealed) - self.cipher.icv_bytes)
        try:
            if self._esn:
                self._open_esn(header, iv, sealed, seq, payload)
            else:
                self.cipher.open_into(header, iv, sealed, payload)
        except IntegrityError:
            seq = self._resynchronised(header, iv, sealed, seq, payload)
        newest = window.accept(seq)
        padding, next_header = payload[-2], payload[-1]
        if not payload.endswith(TRAILERS[padding], 0, -1):
            raise PacketError(Reason.PADDING)
        del payload[-padding - TRAILER_BYTES :]
        return payload, next_header, newest

    def _open_esn(self, header: bytes, iv: bytes, sealed: memoryview, seq: int, out: bytearray) -> None:
        if self._aead:
            self.cipher.open_into(_esn_header(self.spi, seq), iv, sealed, out)
        else:
            self.cipher.open_into(header, iv, sealed, out, (seq >> 32).to_bytes(4, "big"))
        self._failures = 0

    def _resynchronised(self, header: bytes, iv: bytes, sealed: memoryview, seq: int, out: bytearray) -> int:
        """The number under which a packet that failed as `seq` is authentic after all; PacketError for none.

        Only with ESN and after many failures in a row, so that forged packets cost little (RFC 4303 A3.2).
        """
        self._failures += self._esn
        if self._failures >= RESYNC_AFTER:
            self._failures = 0
            highest = min(seq + (RESYNC_TRIES << 32), LAST_ESN)
            for candidate in range(seq + _PERIOD, highest + 1, _PERIOD):
                try:
                    self._open_esn(header, iv, sealed, candidate, out)
                except IntegrityError:
                    continue
                return candidate
        raise PacketError(Reason.INTEGRITY)
