"""The most common SA without detours: tunnel mode, an AEAD, 32-bit sequence numbers, IPv4 outside with DF.

One function instead of five objects in a row, with the same octets and the same verdicts: the tests compare
both ways packet by packet. Whatever is not plain is left to the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from struct import Struct

from sim.crypto.cipher import AeadCipher
from sim.crypto.errors import IntegrityError
from sim.ipsec.esp import LAST_SEQ, TRAILERS, EspSealer
from sim.ipsec.replay import ReplayWindow
from sim.ipsec.spec import ChildSpec
from sim.ipsec.traffic import KEY_V4, FlowKey
from sim.ipsec.tunnel import TunnelSealer
from sim.wire.esp import HEADER_BYTES
from sim.wire.ip import DF, IPV4_HEADER_BYTES, Protocol

# IPv4 header (identification to protocol, and from the addresses on, never change), [UDP length and checksum,
# SPI,] sequence number, IV.
_PLAIN = Struct(">BBH6sH12sIQ")
_IN_UDP = Struct(">BBH6sH12sHHIIQ")
_IV_BYTES = 8
_HEADER_IV = Struct("8s8s")
_TRAILERS = [TRAILERS[padding] + bytes((Protocol.IPV4,)) for padding in (2, 1, 0, 3)]
"""By the last two bits of the inner size: padding, its length and the next header (RFC 4303 2.4)."""
_DF_OCTET = DF >> 8
_ECN = 3
_PLAIN_IPV4 = 0x45
_FIXED = Struct(">HHBB")  # identification, flags and offset, TTL, protocol
_WORDS = Struct(">7H")
_PORTS = Struct(">HH")
_SPI = Struct(">I")
_ADDRESSES_BYTES = 8


def fits(spec: ChildSpec) -> bool:
    """Whether packets of such an SA can take this way."""
    return spec.encryption.aead and not spec.esn and len(spec.remote[0]) == 4 and (spec.copy_df or spec.df)


def express_sealer(
    general: TunnelSealer, esp: EspSealer, cipher: AeadCipher, spec: ChildSpec
) -> Callable[[bytearray], bytearray]:
    """A function like `general.seal`; both draw their sequence numbers from `esp`."""
    (src, src_port), (dst, dst_port) = spec.local, spec.remote
    head = _IN_UDP if spec.encap else _PLAIN
    pack, iv_at = head.pack, head.size - _IV_BYTES
    aad_at, spi = iv_at - HEADER_BYTES, esp.spi
    ends = src + dst + (_PORTS.pack(src_port, dst_port) if spec.encap else _SPI.pack(spi))
    fixed = _FIXED.pack(0, DF, spec.ttl, Protocol.UDP if spec.encap else Protocol.ESP)
    constant = 0x4500 + sum(_WORDS.unpack(fixed + ends[:_ADDRESSES_BYTES]))
    overhead = head.size + cipher.icv_bytes
    encap, always_df, longest = spec.encap, not spec.copy_df, general.longest
    salt, encrypt, join = cipher.salt, cipher.encrypt, bytearray().join

    def seal(packet: bytearray) -> bytearray:
        size, seq = len(packet), esp.seq + 1
        df = always_df or packet[6] & _DF_OCTET
        if not df or packet[0] >= 0x60 or size > longest or seq > LAST_SEQ:
            return general.seal(packet)
        esp.seq = seq
        end = _TRAILERS[size & 3]
        total = size + len(end) + overhead
        tos = packet[1]
        # As internet_checksum: the sum is not zero, so its negative modulo 0xffff is the checksum.
        checksum = -(constant + tos + total) % 0xFFFF
        if encap:
            front = pack(0x45, tos, total, fixed, checksum, ends, total - IPV4_HEADER_BYTES, 0, spi, seq, seq)
        else:
            front = pack(0x45, tos, total, fixed, checksum, ends, seq, seq)
        sealed = encrypt(salt + front[iv_at:], packet + end, front[aad_at:iv_at])
        return join((front, sealed))

    return seal


def express_opener(
    cipher: AeadCipher, window: ReplayWindow, flows: AbstractSet[FlowKey]
) -> Callable[[bytearray, int, int], bytearray | None]:
    """A function for the ESP at an offset of an IPv4 packet, which shows a sequence number.

    It gives the inner packet if that is plain: newer than all before, authentic, IPv4, exactly as long as it
    says, padded as `express_sealer` does, without a congestion mark outside, of a flow whose selectors were
    checked. Else None, and nothing has changed: the long way decides.
    """
    body_at = HEADER_BYTES + _IV_BYTES
    overhead = body_at + cipher.icv_bytes
    least = overhead + KEY_V4.size
    take, key_of = _HEADER_IV.unpack_from, KEY_V4.unpack_from
    open_into, accept = cipher.open_into, window.accept

    def open_plain(packet: bytearray, at: int, low: int) -> bytearray | None:
        size = len(packet) - at
        if low <= window.top or size < least or size & 3 or packet[1] & _ECN:
            return None
        header, iv = take(packet, at)
        inner = bytearray(size - overhead)
        try:
            open_into(header, iv, packet[at + body_at :], inner)
        except IntegrityError:
            return None
        total = inner[2] << 8 | inner[3]
        end = _TRAILERS[total & 3]
        if total + len(end) != size - overhead or not inner.endswith(end) or inner[0] != _PLAIN_IPV4:
            return None
        if key_of(inner) not in flows:
            return None
        del inner[total:]
        accept(low)
        return inner

    return open_plain
