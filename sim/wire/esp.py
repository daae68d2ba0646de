"""The Encapsulating Security Payload's format (RFC 4303 2); sealing and opening are `sim.ipsec.esp`'s.

0 SPI
4 sequence number (the low 32 bits with ESN)
8 IV, if the cipher has one
  payload data, padding 1, 2, 3 ...           encrypted
  pad length | next header                    encrypted
  ICV
"""

from __future__ import annotations

from enum import Enum
from struct import Struct

from sim.wire.buffer import Buf, WireError
from sim.wire.value import quick

HEADER = Struct(">II")
HEADER_BYTES = HEADER.size
TRAILER_BYTES = 2
"""Pad length and next header, the last two octets of the plaintext."""
ALIGNMENT = 4
"""The ciphertext ends on a multiple of this many octets, whatever the cipher needs (RFC 4303 2.4)."""
MAX_PADDING = 255
FIRST_SPI = 256
"""Zero is never sent, and IANA keeps 1 to 255 (RFC 4303 2.1)."""


@quick
class Mode(Enum):
    """What ESP wraps: a whole IP packet, the upper layer of one (RFC 4303 3.1), pieces of many (RFC 9347)."""

    TUNNEL = "tunnel"
    TRANSPORT = "transport"
    IPTFS = "iptfs"


def parse_header(data: Buf, offset: int) -> tuple[int, int]:
    """SPI and sequence number at `offset`; WireError when they are cut off."""
    if len(data) < offset + HEADER_BYTES:
        raise WireError(f"{max(len(data) - offset, 0)} octets are too few for an ESP header")
    return HEADER.unpack_from(data, offset)
