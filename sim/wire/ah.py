"""The Authentication Header's format (RFC 4302 2); signing and checking are `sim.ipsec.ah`'s.

0 next header | payload length | reserved
4 SPI
8 sequence number (the low 32 bits with ESN)
12 ICV, and padding up to a multiple of 4 octets (IPv4) or 8 (IPv6)

The payload length counts words of 4 octets, less two: RFC 4302 2.2.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sim.wire.buffer import Buf, WireError

HEADER = Struct(">BBHII")
HEADER_BYTES = HEADER.size
ALIGNMENT = {4: 4, 6: 8}
"""What the length of AH is a multiple of, by the version of the IP header in front (RFC 4302 3.3.3.2.1)."""
_WORD = 4
_WORDS_UNCOUNTED = 2
MAX_BYTES = (255 + _WORDS_UNCOUNTED) * _WORD


class AuthHeader(NamedTuple):
    """AH without its ICV; `size` is that of all of it in octets, ICV and padding included."""

    next_header: int
    size: int
    spi: int
    seq: int


def size_with(icv: int, version: int) -> int:
    """The size of AH around an ICV of `icv` octets behind an IP header of this version."""
    size = HEADER_BYTES + icv
    return size + -size % ALIGNMENT[version]


def parse(data: Buf, offset: int) -> AuthHeader:
    """The header at `offset`; WireError when it is cut off or says to be shorter than it can be."""
    left = max(len(data) - offset, 0)
    if left < HEADER_BYTES:
        raise WireError(f"{left} octets are too few for an Authentication Header")
    next_header, words, _, spi, seq = HEADER.unpack_from(data, offset)
    size = (words + _WORDS_UNCOUNTED) * _WORD
    if not HEADER_BYTES <= size <= left:
        raise WireError(f"an Authentication Header of {size} octets at offset {offset}, {left} are left")
    return AuthHeader(next_header, size, spi, seq)


def emit(packet: bytearray, offset: int, header: AuthHeader) -> None:
    """Write all but the ICV; ValueError for a size that AH cannot have."""
    if header.size % _WORD or not HEADER_BYTES <= header.size <= MAX_BYTES:
        raise ValueError(f"an Authentication Header cannot have {header.size} octets")
    words = header.size // _WORD - _WORDS_UNCOUNTED
    HEADER.pack_into(packet, offset, header.next_header, words, 0, header.spi, header.seq)
