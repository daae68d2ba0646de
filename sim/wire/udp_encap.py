"""What a datagram on the NAT traversal port is (RFC 3948 2; RFC 7296 2.23 and 3.1).

0  0 0 0 0 | IKE header ...     an IKE message behind the non-ESP marker
0  SPI (not zero) | sequence    an ESP packet
0  0xff, nothing else           a keepalive
"""

from __future__ import annotations

from enum import Enum

from sim.wire.buffer import Buf
from sim.wire.value import quick

NON_ESP_MARKER = bytes(4)
KEEPALIVE = b"\xff"
_ESP_HEADER_BYTES = 8


@quick
class Kind(Enum):
    IKE = "IKE"
    ESP = "ESP"
    KEEPALIVE = "keepalive"
    MALFORMED = "malformed"


def classify(payload: Buf) -> Kind:
    """The kind of a UDP payload. An IKE message may still be malformed: only its marker is seen here."""
    size = len(payload)
    if size < len(NON_ESP_MARKER):
        return Kind.KEEPALIVE if payload == KEEPALIVE else Kind.MALFORMED
    if payload[:4] == NON_ESP_MARKER:
        return Kind.IKE
    return Kind.ESP if size >= _ESP_HEADER_BYTES else Kind.MALFORMED
