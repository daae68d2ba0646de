"""The IPComp header (RFC 3173 3) and the indexes that tell a receiver how to inflate what follows.

0  next header: what was compressed
1  flags, zero and ignored
2  CPI, the Compression Parameter Index (2 octets)
4  the payload in compressed form; with DEFLATE a stream without wrapper (RFC 2394, RFC 1951)
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from sim.wire.buffer import Buf, WireError
from sim.wire.value import quick

HEADER = Struct(">BBH")
HEADER_BYTES = HEADER.size


@quick
class Transform(IntEnum):
    """Compression methods (RFC 7296 3.10.1); each is its well-known CPI as well (RFC 3173 3.3)."""

    OUI = 1
    DEFLATE = 2
    LZS = 3
    LZJH = 4


NEGOTIATED = range(256, 61440)
"""The CPIs that two ends agree on; below are well-known and reserved ones, above private ones."""


def is_usable(cpi: int, transform: int) -> bool:
    """Whether a peer may ask for this CPI with a method: one to agree on, or the method's own."""
    return cpi in NEGOTIATED or cpi == transform


def parse(data: Buf) -> tuple[int, int]:
    """Next header and CPI at the beginning of `data`; WireError when they are cut off."""
    if len(data) < HEADER_BYTES:
        raise WireError(f"{len(data)} octets are too few for an IPComp header")
    next_header, _flags, cpi = HEADER.unpack_from(data)
    return next_header, cpi


def emit(next_header: int, cpi: int) -> bytes:
    return HEADER.pack(next_header, 0, cpi)
