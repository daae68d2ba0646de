"""EAP packets (RFC 3748 4).

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|     Code      |  Identifier   |            Length             |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|     Type      |  Type-Data ...         requests and responses alone
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from sim.wire.buffer import Reader, WireError
from sim.wire.value import quick, value

_HEAD = Struct(">BBH")  # code, identifier, length
_MAX_BYTES = 0xFFFF


@quick
class EapCode(IntEnum):
    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


@quick
class EapType(IntEnum):
    """The types that are known here; others are refused by a Nak (RFC 3748 5)."""

    IDENTITY = 1
    NOTIFICATION = 2
    NAK = 3
    MD5 = 4
    TLS = 13
    MSCHAPV2 = 26


@value
class EapPacket:
    """One packet. `type` is 0 in Success and Failure, which carry nothing."""

    code: int
    identifier: int
    type: int = 0
    data: bytes = b""

    @classmethod
    def parse(cls, octets: bytes) -> EapPacket:
        """WireError when the length is not that of `octets`, or something is missing or too much."""
        reader = Reader(octets)
        code, identifier, length = reader.unpack(_HEAD)
        if length != len(octets):
            raise WireError(f"an EAP packet of {length} octets in {len(octets)}")
        if code in (EapCode.SUCCESS, EapCode.FAILURE):
            reader.done()
            return cls(code, identifier)
        if code not in (EapCode.REQUEST, EapCode.RESPONSE):
            raise WireError(f"EAP code {code} (RFC 3748 4)")
        kind = reader.take(1)[0]
        return cls(code, identifier, kind, reader.rest())

    def emit(self) -> bytes:
        """ValueError when it is longer than EAP's length field can tell."""
        if self.code in (EapCode.SUCCESS, EapCode.FAILURE):
            return _HEAD.pack(self.code, self.identifier, _HEAD.size)
        size = _HEAD.size + 1 + len(self.data)
        if size > _MAX_BYTES:
            raise ValueError(f"an EAP packet of {size} octets")
        return _HEAD.pack(self.code, self.identifier, size) + bytes((self.type,)) + self.data
