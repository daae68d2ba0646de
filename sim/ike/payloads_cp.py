"""The Configuration payload and its attributes (RFC 7296 3.15)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, NamedTuple, Self

from sim.ike.constants import PayloadType
from sim.ike.payloads_base import Payload
from sim.wire.buffer import Reader
from sim.wire.value import value

#                      1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |   CFG Type    |                    RESERVED                   |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |R|         Attribute Type      |            Length             |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# ~                             Value                             ~
_HEAD = Struct(">I")
_ATTRIBUTE = Struct(">HH")
_RESERVED_BIT = 0x8000


class ConfigAttribute(NamedTuple):
    """One attribute; an empty value asks for one. `reserved` is the R bit, kept for re-emission."""

    type: int
    value: bytes = b""
    reserved: bool = False


@value
class CpPayload(Payload):
    """A request for, or an assignment of, the peer's addresses and other settings."""

    TYPE: ClassVar[PayloadType] = PayloadType.CP
    RESERVED_BITS: ClassVar[int] = 24

    type: int
    attributes: tuple[ConfigAttribute, ...] = ()

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        r = Reader(body, at)
        (head,) = r.unpack(_HEAD)
        config_type, reserved = head >> 24, head & 0xFFFFFF
        attributes = []
        while r.remaining:
            word, size = r.unpack(_ATTRIBUTE)
            reserved_bit = word & _RESERVED_BIT
            attributes.append(ConfigAttribute(word ^ reserved_bit, r.take(size), bool(reserved_bit)))
        return cls(
            config_type,
            tuple(attributes),
            reserved=reserved,
        )

    def emit(self) -> bytes:
        head = _HEAD.pack(self.type << 24 | self.body_reserved)
        return head + b"".join(_emit_attribute(attribute) for attribute in self.attributes)


def _emit_attribute(attribute: ConfigAttribute) -> bytes:
    word = attribute.type | (_RESERVED_BIT if attribute.reserved else 0)
    return _ATTRIBUTE.pack(word, len(attribute.value)) + attribute.value
