"""Signing and checking with AH, whatever it stands before (RFC 4302 3.3, 3.4; GMAC RFC 4543 4).

    IP headers, what may change on the way as zero: `sim.wire.mutable`    authenticated
    next header | length | SPI | sequence number                          authenticated
    ICV, as zero                                                          authenticated
    payload                                                               authenticated
    the high half of an ESN, never sent (RFC 4302 2.5.1)                  authenticated

With GMAC the ICV field is IV ‖ tag. The ICV covers the outer headers as they leave, so a mode completes them
first: `AhMode`.
"""

from __future__ import annotations

from hmac import compare_digest

from sim.crypto.suites import Integrity
from sim.ipsec.esp import LAST_ESN, LAST_SEQ, Opened
from sim.ipsec.replay import ReplayWindow
from sim.ipsec.transport import TransportSealer
from sim.ipsec.tunnel import TunnelSealer
from sim.ipsec.verdict import PacketError, Reason
from sim.wire import ah
from sim.wire.buffer import WireError
from sim.wire.ip import IPV6_HEADER_BYTES, Protocol, write_checksum
from sim.wire.mutable import extensions, masked, predicted

_UNNUMBERED = bytes(2)


class _Icv:
    """A keyed MAC and where its result stands in AH; `sizes` are those of AH by the IP version in front."""

    def __init__(self, integrity: Integrity, key: bytes, *, esn: bool) -> None:
        self._keyed = integrity.start(key)
        self._esn = esn
        self.iv_bytes = integrity.iv_bytes
        self.end = ah.HEADER_BYTES + integrity.iv_bytes + integrity.icv_bytes
        self.sizes = {version: ah.size_with(self.end - ah.HEADER_BYTES, version) for version in (4, 6)}
        self._blank = bytes(integrity.iv_bytes + integrity.icv_bytes)

    def compute(self, headers: bytearray, packet: bytearray, at: int, seq: int) -> bytes:
        """The ICV of a packet whose AH is at `at`, behind `headers`; the IV, if any, stands in the packet."""
        field = at + ah.HEADER_BYTES
        view = memoryview(packet)
        mac = self._keyed.copy()
        parts = (
            view[field : field + self.iv_bytes],  # for GMAC, which takes its IV in front
            headers,
            view[at:field],
            self._blank,
            view[at + self.end :],
            (seq >> 32).to_bytes(4, "big") if self._esn else b"",
        )
        mac.update(b"".join(parts))
        return mac.finalize()[: self.end - ah.HEADER_BYTES - self.iv_bytes]


class AhSealer:
    """One direction's key, SPI and sequence number, for sending."""

    __slots__ = ("_icv", "_last", "seq", "spi", "version")

    def __init__(self, integrity: Integrity, key: bytes, spi: int, *, version: int, esn: bool) -> None:
        self.spi = spi
        self.seq = 0
        self.version = version
        """That of the IP header in front of AH; may change when the SA gets other addresses."""
        self._icv = _Icv(integrity, key, esn=esn)
        self._last = LAST_ESN if esn else LAST_SEQ

    def size(self, payload: int) -> int:
        """The size of AH and `payload` octets behind it."""
        return self._icv.sizes[self.version] + payload

    def max_payload(self, size: int) -> int:
        """The largest payload that fits into `size` octets with AH; negative if none does."""
        return size - self._icv.sizes[self.version]

    def seal(self, room: int, payload: bytearray, next_header: bytes) -> bytearray:
        """AH without its ICV before `payload`, behind `room` octets for the headers: `sign` completes it.

        PacketError when the sequence numbers are used up: they never wrap (RFC 4302 3.3.2).
        """
        seq = self.seq + 1
        if seq > self._last:
            raise PacketError(Reason.SEQUENCE_EXHAUSTED)
        self.seq = seq
        size = self._icv.sizes[self.version]
        out = bytearray(room + size) + payload
        ah.emit(out, room, ah.AuthHeader(next_header[0], size, self.spi, seq & LAST_SEQ))
        return out

    def sign(self, packet: bytearray) -> None:
        """Write the ICV of a packet that is complete but for it, the last one of `seal`."""
        at = _place(packet)
        icv, seq = self._icv, self.seq
        field = at + ah.HEADER_BYTES
        if icv.iv_bytes:
            packet[field : field + icv.iv_bytes] = seq.to_bytes(icv.iv_bytes, "big")
        try:
            headers = predicted(packet, at)
        except WireError:
            raise PacketError(Reason.UNSUPPORTED_HEADERS) from None
        packet[field + icv.iv_bytes : at + icv.end] = icv.compute(headers, packet, at, seq)


class AhOpener:
    """One direction's key, SPI and replay window, for receiving."""

    __slots__ = ("_icv", "spi", "window")

    def __init__(
        self, integrity: Integrity, key: bytes, spi: int, window: ReplayWindow, *, esn: bool
    ) -> None:
        self.spi = spi
        self.window = window
        self._icv = _Icv(integrity, key, esn=esn)

    def open(self, packet: bytearray, at: int, low: int) -> Opened:
        """Check the AH at `at`, which shows the number `low`: what stands behind it, and what that is.

        The window moves only after the ICV holds. PacketError says which check failed first, in the order of
        RFC 4302 3.4: length, replay, integrity.
        """
        icv, window = self._icv, self.window
        try:
            header = ah.parse(packet, at)
        except WireError:
            raise PacketError(Reason.MALFORMED_AH) from None
        if header.size != icv.sizes[6 if packet[0] >= 0x60 else 4]:
            raise PacketError(Reason.MALFORMED_AH)
        seq = window.recover(low)
        if seq <= window.top and not window.check(seq):
            raise PacketError(Reason.LATE if window.is_late(seq) else Reason.REPLAYED)
        try:
            headers = masked(packet, at)
        except WireError:
            raise PacketError(Reason.MALFORMED_AH) from None
        shown = packet[at + ah.HEADER_BYTES + icv.iv_bytes : at + icv.end]
        if not compare_digest(icv.compute(headers, packet, at, seq), shown):
            raise PacketError(Reason.INTEGRITY)
        return packet[at + header.size :], header.next_header, window.accept(seq)


class AhMode:
    """A mode's sealer with AH instead of ESP: the mode completes the headers, then AH signs them.

    An identification of zero is legal with DF (RFC 6864 4.1), but a kernel chooses another one for it on the
    way out, and AH covers it: an outer IPv4 header of our own always has one.
    """

    __slots__ = ("_ah", "_mode", "_numbers")

    def __init__(self, mode: TunnelSealer | TransportSealer, sealer: AhSealer) -> None:
        self._mode = mode
        self._ah = sealer
        self._numbers = isinstance(mode, TunnelSealer)

    def seal(self, packet: bytearray) -> bytearray:
        out = self._mode.seal(packet)
        if self._numbers and out[4:6] == _UNNUMBERED and out[0] < 0x60:
            out[4:6] = (self._ah.seq % 0xFFFF + 1).to_bytes(2, "big")
            write_checksum(out)
        self._ah.sign(out)
        return out

    def size(self, inner: int) -> int:
        return self._mode.size(inner)

    def max_inner(self, mtu: int) -> int:
        return self._mode.max_inner(mtu)


def _place(packet: bytearray) -> int:
    """Where the outermost AH of a packet starts."""
    if packet[0] < 0x60:
        return (packet[0] & 15) * 4
    if packet[6] == Protocol.AH:
        return IPV6_HEADER_BYTES
    for _, start, end in extensions(packet):
        if packet[start] == Protocol.AH:
            return end
    raise AssertionError("a packet without AH was to be signed")
