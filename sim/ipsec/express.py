"""The most common SA without detours: tunnel mode, an AEAD, 32-bit sequence numbers, IPv4 outside with DF.

One function instead of five objects in a row, with the same octets and the same verdicts: the tests compare
both ways packet by packet. Whatever is not plain is left to the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from sim.crypto.cipher import AeadCipher
from sim.ipsec.esp import LAST_SEQ, TRAILERS, EspSealer
from sim.ipsec.spec import ChildSpec
from sim.ipsec.tunnel import TunnelSealer
from sim.wire.checksum import pseudo_header_sum
from sim.wire.esp import HEADER_BYTES
from sim.wire.ip import DF, IPV4_HEADER_BYTES, Protocol

# IPv4 header, [ports, UDP length and checksum,] SPI, sequence number, IV.
_PLAIN = Struct(">BBHHHHH8sIIQ")
_IN_UDP = Struct(">BBHHHHH8s4sHHIIQ")
_IV_BYTES = 8
_TRAILERS = [TRAILERS[padding] + bytes((Protocol.IPV4,)) for padding in (2, 1, 0, 3)]
"""By the last two bits of the inner size: padding, its length and the next header (RFC 4303 2.4)."""
_DF_OCTET = DF >> 8


def fits(spec: ChildSpec) -> bool:
    """Whether packets of such an SA can take this way."""
    return spec.encryption.aead and not spec.esn and len(spec.remote[0]) == 4 and (spec.copy_df or spec.df)


def express_sealer(
    general: TunnelSealer, esp: EspSealer, cipher: AeadCipher, spec: ChildSpec
) -> Callable[[bytearray], bytearray]:
    """A function like `general.seal`; both draw their sequence numbers from `esp`."""
    (src, src_port), (dst, dst_port) = spec.local, spec.remote
    head = _IN_UDP if spec.encap else _PLAIN
    pack, aad_at, prefix = head.pack_into, head.size - HEADER_BYTES - _IV_BYTES, head.size
    aad_end, iv_end = aad_at + HEADER_BYTES, prefix
    ends = src + dst
    ports = src_port.to_bytes(2, "big") + dst_port.to_bytes(2, "big") if spec.encap else b""
    ttl_protocol = spec.ttl << 8 | (Protocol.UDP if spec.encap else Protocol.ESP)
    constant = 0x4500 + DF + ttl_protocol + pseudo_header_sum(src, dst, 0, 0) % 0xFFFF
    overhead = prefix + cipher.icv_bytes
    always_df, longest, spi = not spec.copy_df, general.longest, esp.spi
    salt, encrypt_into = cipher.salt, cipher.encrypt_into

    def seal(packet: bytearray) -> bytearray:
        size, seq = len(packet), esp.seq + 1
        df = always_df or packet[6] & _DF_OCTET
        if not df or packet[0] >= 0x60 or size > longest or seq > LAST_SEQ:
            return general.seal(packet)
        esp.seq = seq
        end = _TRAILERS[size & 3]
        total = size + len(end) + overhead
        out = bytearray(total)
        tos = packet[1]
        # As internet_checksum: the sum is not zero, so its negative modulo 0xffff is the checksum.
        checksum = -(constant + tos + total) % 0xFFFF
        ip = (0x45, tos, total, 0, DF, ttl_protocol, checksum, ends)
        if ports:
            pack(out, 0, *ip, ports, total - IPV4_HEADER_BYTES, 0, spi, seq, seq)
        else:
            pack(out, 0, *ip, spi, seq, seq)
        nonce = salt + out[aad_end:iv_end]
        encrypt_into(nonce, packet + end, out[aad_at:aad_end], memoryview(out)[prefix:])
        return out

    return seal
