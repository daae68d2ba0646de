"""The Encrypted payload (RFC 7296 3.14) and the Encrypted Fragment payload (RFC 7383 2.5), still closed.

Opening and sealing are in `sim.ike.message`, cutting and putting together in `sim.ike.fragments`.
"""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from sim.ike.constants import PayloadType
from sim.ike.payloads_base import Payload
from sim.wire.buffer import WireError
from sim.wire.value import value

#                      1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |        Fragment Number        |        Total Fragments        |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# ~         Initialization Vector, encrypted content, ICV         ~
_FRAGMENT = Struct(">HH")


@value
class EncryptedPayload(Payload):
    """IV, ciphertext and ICV, as they travel; the last payload of its message.

    `first_type` is the type of the first payload inside, which stands in the Next Payload field.
    """

    TYPE: ClassVar[PayloadType] = PayloadType.SK

    first_type: int
    data: bytes

    @property
    def head(self) -> bytes:
        """What stands before the IV; the ICV covers it."""
        return b""

    @classmethod
    def parse(cls, body: bytes, first_type: int, at: int) -> Self:
        return cls(first_type, body)

    def emit(self) -> bytes:
        return self.data


@value
class EncryptedFragment(Payload):
    """One numbered piece of an encrypted message; `first_type` is 0 in all but the first."""

    TYPE: ClassVar[PayloadType] = PayloadType.SKF

    first_type: int
    number: int
    total: int
    data: bytes

    @property
    def head(self) -> bytes:
        return _FRAGMENT.pack(self.number, self.total)

    @classmethod
    def parse(cls, body: bytes, first_type: int, at: int) -> Self:
        number, total = _FRAGMENT.unpack_from(body)
        if not 1 <= number <= total:
            raise WireError(f"fragment {number} of {total} (RFC 7383 2.5)")
        return cls(first_type, number, total, body[_FRAGMENT.size :])

    def emit(self) -> bytes:
        return self.head + self.data
