"""The most common SA without detours: tunnel mode, an AEAD, 32-bit sequence numbers, IPv4 outside with DF.

One function instead of five objects in a row, with the same octets and the same verdicts: the tests compare
both ways packet by packet. Whatever is not plain is left to the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from sim.crypto.cipher import AeadCipher
from sim.crypto.errors import InvalidTag
from sim.ipsec.esp import LAST_SEQ, TRAILERS, EspSealer
from sim.ipsec.replay import ReplayWindow
from sim.ipsec.spec import ChildSpec
from sim.ipsec.tunnel import TunnelSealer
from sim.wire.esp import ALIGNMENT, HEADER_BYTES
from sim.wire.ip import DF, Protocol

_IV_BYTES = 8
_HEADER_IV = Struct("8s8s")
_ENDS = [trailer + bytes((Protocol.IPV4,)) for trailer in TRAILERS]
"""By its length: padding, its length and the next header (RFC 4303 2.4)."""
_ALIGNED_ENDS = [_ENDS[padding] for padding in (2, 1, 0, 3)]
"""By the last two bits of the inner size."""
_DF_OCTET = DF >> 8
_ECN = 3
_SPI = Struct(">I")
_MAX_HEADS = 4096


def fits(spec: ChildSpec) -> bool:
    """Whether packets of such an SA can take this way."""
    plain = spec.encryption.iv_bytes == _IV_BYTES and not spec.esn and not spec.cpi_out
    return plain and spec.encryption.aead and len(spec.remote[0]) == 4 and (spec.copy_df or spec.df)


def express_sealer(
    general: TunnelSealer, esp: EspSealer, cipher: AeadCipher, spec: ChildSpec
) -> Callable[[bytearray], bytearray]:
    """A function like `general.seal`; both draw their sequence numbers from `esp`."""
    always_df, longest = not spec.copy_df, general.longest
    salt, encrypt, join = cipher.salt, cipher.aead.encrypt, bytearray().join
    spi = _SPI.pack(esp.spi)
    heads: dict[int, bytes] = {}

    def seal(packet: bytearray) -> bytearray:
        size, seq = len(packet), esp.seq + 1
        df = always_df or packet[6] & _DF_OCTET
        if not df or packet[0] >= 0x60 or size > longest or seq > LAST_SEQ:
            return general.seal(packet)
        esp.seq = seq
        tos = packet[1]
        head = heads.get(size << 8 | tos)
        if head is None:
            if len(heads) >= _MAX_HEADS:
                heads.clear()
            head = heads[size << 8 | tos] = general.headers(size, tos) + spi
        iv = seq.to_bytes(_IV_BYTES, "big")
        number = iv[4:]
        sealed = encrypt(salt + iv, packet + _ALIGNED_ENDS[size & 3], spi + number)
        return join((head, number, iv, sealed))

    return seal


def express_opener(
    cipher: AeadCipher, window: ReplayWindow
) -> Callable[[bytearray, int, int], bytearray | None]:
    """A function for the ESP at an offset of an IPv4 packet, which shows a sequence number.

    It gives what ESP held and moves the window if all is plain: a number newer than all before, authentic,
    IPv4 inside, without a congestion mark outside. Else None, and nothing has changed: the long way decides.
    """
    body_at = HEADER_BYTES + _IV_BYTES
    overhead = body_at + cipher.icv_bytes
    salt, decrypt_into = cipher.salt, cipher.aead.decrypt_into
    take, accept, mask = _HEADER_IV.unpack_from, window.accept, window.mask

    def open_plain(packet: bytearray, at: int, low: int) -> bytearray | None:
        size = len(packet) - at - overhead
        if low <= window.top or size < ALIGNMENT or size % ALIGNMENT or packet[1] & _ECN:
            return None
        header, iv = take(packet, at)
        inner = bytearray(size)
        try:
            decrypt_into(salt + iv, packet[at + body_at :], header, inner)
        except InvalidTag:
            return None
        end = _ENDS[inner[-2]]
        if not inner.endswith(end):
            return None
        del inner[size - len(end) :]
        if low == window.top + 1:  # as `accept`, but most packets come in order
            window.top = low
            window.seen = window.seen << 1 & mask | 1
        else:
            accept(low)
        return inner

    return open_plain
