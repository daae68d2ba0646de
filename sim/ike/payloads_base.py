"""What all payloads have in common: the generic header's bits (RFC 7296 3.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from sim.ike.constants import PayloadType

CRITICAL = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload(ABC):
    """One payload without its generic header.

    `reserved` holds every RESERVED bit, those of the generic header first, then those of the body, as one
    number. A sender sets none and a receiver ignores them (RFC 7296 2.5): they are here so that what was
    received can be emitted again octet for octet.

    Each class has a class method `parse(r, kind, bits)` that reads the body, all that `r` has left, of a
    payload of type `kind`; `bits` is the second octet of the generic header. The caller checks that `r` was
    read to its end.
    """

    TYPE: ClassVar[PayloadType]
    RESERVED_BITS: ClassVar[int] = 0

    critical: bool = False
    reserved: int = 0

    @property
    def payload_type(self) -> int:
        return self.TYPE

    @property
    def header_bits(self) -> int:
        """The second octet of the generic payload header: the critical bit and seven reserved ones."""
        bits = self.reserved >> self.RESERVED_BITS
        return bits | CRITICAL if self.critical else bits

    @property
    def body_reserved(self) -> int:
        return self.reserved & ((1 << self.RESERVED_BITS) - 1)

    @classmethod
    def reserved_from(cls, bits: int, body: int = 0) -> int:
        """`reserved` from the generic header's second octet and the body's own reserved bits."""
        return (bits & ~CRITICAL) << cls.RESERVED_BITS | body

    @abstractmethod
    def emit(self) -> bytes:
        """The body: what follows the generic payload header."""
