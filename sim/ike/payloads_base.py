"""What all payloads have in common: the bits of the generic header (RFC 7296 3.2)."""

from __future__ import annotations

from dataclasses import field, replace
from typing import ClassVar, Self

from sim.ike.constants import PayloadType
from sim.wire.value import value

CRITICAL = 0x80


@value
class Payload:
    """One payload without its generic header.

    `reserved` holds every RESERVED bit, those of the generic header first, then those of the body, as one
    number. A sender sets none and a receiver ignores them (RFC 7296 2.5): they are here so that what was
    received can be emitted again octet for octet.

    Each class has a class method `parse(body, kind, at)` for the body of a payload of type `kind`, which
    begins `at` octets into the message; that is for errors. WireError when it is malformed, struct.error
    when it ends within its fixed fields. The caller adds what the generic header says.
    """

    TYPE: ClassVar[PayloadType]
    RESERVED_BITS: ClassVar[int] = 0

    critical: bool = field(default=False, kw_only=True)
    reserved: int = field(default=0, kw_only=True)

    def __init_subclass__(cls) -> None:
        # Read for every payload of every message: a plain attribute where the class alone decides.
        if "TYPE" in cls.__dict__:
            cls.payload_type = cls.TYPE  # type: ignore[method-assign, assignment]
            if "shape" not in cls.__dict__:
                cls.shape = cls.TYPE  # type: ignore[method-assign, assignment]

    @property
    def payload_type(self) -> int:
        return self.TYPE

    @property
    def shape(self) -> int:
        """The payload type, and what `shape_of` says of notifications."""
        return self.payload_type

    def emit(self) -> bytes:
        """The body: what follows the generic payload header."""
        raise NotImplementedError

    @property
    def header_bits(self) -> int:
        """The second octet of the generic payload header: the critical bit and seven reserved ones."""
        bits = self.reserved >> self.RESERVED_BITS
        return bits | CRITICAL if self.critical else bits

    def with_header_bits(self, bits: int) -> Self:
        reserved = (bits & ~CRITICAL) << self.RESERVED_BITS | self.body_reserved
        return replace(self, critical=bool(bits & CRITICAL), reserved=reserved)

    @property
    def body_reserved(self) -> int:
        return self.reserved & ((1 << self.RESERVED_BITS) - 1)
