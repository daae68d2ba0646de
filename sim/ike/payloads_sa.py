"""The Security Association payload: proposals, transforms and their attributes (RFC 7296 3.3).

Octets only; what a proposal means and which one to choose is in `sim.ike.proposals`.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import ClassVar, NamedTuple, Self

from sim.ike.constants import AttributeType, PayloadType
from sim.ike.payloads_base import Payload
from sim.wire.buffer import Reader, WireError
from sim.wire.value import value

#                      1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# | Last Substruc |   RESERVED    |         Proposal Length       |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# ~                        SPI (variable)                         ~
# ~                        <Transforms>                           ~
_PROPOSAL = Struct(">BBHBBBB")
_unpack_proposal = _PROPOSAL.unpack_from

# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# | Last Substruc |   RESERVED    |        Transform Length       |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |Transform Type |   RESERVED    |          Transform ID         |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# ~                      Transform Attributes                     ~
_TRANSFORM = Struct(">BBHBBH")

# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |A|       Attribute Type        |    AF=0  Attribute Length     |
# |F|                             |    AF=1  Attribute Value      |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# ~                   AF=0  Attribute Value                       ~
_ATTRIBUTE = Struct(">HH")
_SHORT_FORM = 0x8000
_KEY_LENGTH = _SHORT_FORM | AttributeType.KEY_LENGTH

_LAST, _MORE_PROPOSALS, _MORE_TRANSFORMS = 0, 2, 3


class Attribute(NamedTuple):
    """A transform attribute; an `int` value stands for the short form (AF=1), octets for the long one."""

    type: int
    value: int | bytes


class Transform(NamedTuple):
    """One algorithm on offer.

    `key_bits` is the Key Length attribute in the only form that RFC 7296 3.3.5 allows: short and first.
    Everything else lands in `attributes`, unchanged, and keeps the transform from ever being chosen (3.3.6).
    `reserved` holds the two RESERVED octets.
    """

    type: int
    id: int
    key_bits: int | None = None
    attributes: tuple[Attribute, ...] = ()
    reserved: int = 0


class Proposal(NamedTuple):
    """One alternative: a protocol, the sender's SPI (empty in an initial IKE_SA_INIT) and the transforms."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...]
    reserved: int = 0

    def of_type(self, kind: int) -> tuple[Transform, ...]:
        """The transforms of one type, in order of preference."""
        return tuple([transform for transform in self.transforms if transform.type == kind])

    def with_spi(self, spi: bytes, number: int | None = None) -> Proposal:
        """The same proposal with another SPI, and another number if one is given."""
        number = self.number if number is None else number
        return Proposal(number, self.protocol, spi, self.transforms, self.reserved)

    def without(self, *kinds: int) -> Proposal:
        """The same proposal with no transform of those types."""
        kept = tuple([transform for transform in self.transforms if transform.type not in kinds])
        return self if len(kept) == len(self.transforms) else self._replace(transforms=kept)


@value
class SaPayload(Payload):
    """The proposals on offer, or the one that was chosen."""

    TYPE: ClassVar[PayloadType] = PayloadType.SA

    proposals: tuple[Proposal, ...]

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        return cls(_parse_proposals(body, at))

    def emit(self) -> bytes:
        last = len(self.proposals) - 1
        return b"".join(
            [
                _emit_proposal(proposal, _MORE_PROPOSALS if index < last else _LAST)
                for index, proposal in enumerate(self.proposals)
            ]
        )


def _parse_proposals(body: bytes, at: int) -> tuple[Proposal, ...]:
    proposals = []
    start, size, more = 0, len(body), _MORE_PROPOSALS
    while more == _MORE_PROPOSALS:
        more, reserved, length, number, protocol, spi_size, count = _unpack_proposal(body, start)
        spi_at, end = start + _PROPOSAL.size, start + length
        begin = spi_at + spi_size
        if not begin <= end <= size:
            raise WireError(f"Proposal Length is {length} at offset {at + start}, {size - start} are left")
        transforms = _parse_transforms(body[begin:end], at + begin, count)
        proposals.append(Proposal(number, protocol, body[spi_at:begin], transforms, reserved))
        start = end
    if more != _LAST:
        raise WireError(f"Last Substruc of a proposal is {more}, not 0 or 2 (RFC 7296 3.3.1)")
    if start != size:
        raise WireError(f"{size - start} octets too many at offset {at + start}")
    return tuple(proposals)


def _emit_proposal(proposal: Proposal, more: int) -> bytes:
    body = proposal.spi + _emit_transforms(proposal.transforms)
    return (
        _PROPOSAL.pack(
            more,
            proposal.reserved,
            _PROPOSAL.size + len(body),
            proposal.number,
            proposal.protocol,
            len(proposal.spi),
            len(proposal.transforms),
        )
        + body
    )


# The same few lists of transforms go back and forth: they are read and written once.
@lru_cache(256)
def _parse_transforms(octets: bytes, base: int, count: int) -> tuple[Transform, ...]:
    """`count` transforms that fill `octets`, which begin at `base` in the message."""
    r, transforms = Reader(octets, base), []
    for left in range(count - 1, -1, -1):
        more, high, length, kind, low, transform_id = r.unpack(_TRANSFORM)
        if more != (_MORE_TRANSFORMS if left else _LAST):
            raise WireError(f"Last Substruc of a transform is {more} with {left} to come (RFC 7296 3.3.2)")
        key_bits: int | None = None
        attributes: tuple[Attribute, ...] = ()
        if length != _TRANSFORM.size:
            at = r.base + r.offset
            key_bits, attributes = _parse_attributes(Reader(r.take(length - _TRANSFORM.size), at))
        transforms.append(Transform(kind, transform_id, key_bits, attributes, high << 8 | low))
    r.done()
    return tuple(transforms)


@lru_cache(256)
def _emit_transforms(transforms: tuple[Transform, ...]) -> bytes:
    last = len(transforms) - 1
    return b"".join(
        _emit_transform(transform, _MORE_TRANSFORMS if index < last else _LAST)
        for index, transform in enumerate(transforms)
    )


def _emit_transform(transform: Transform, more: int) -> bytes:
    body = b"".join(_emit_attribute(attribute) for attribute in transform.attributes)
    if transform.key_bits is not None:
        body = _ATTRIBUTE.pack(_KEY_LENGTH, transform.key_bits) + body
    high, low = divmod(transform.reserved, 256)
    return _TRANSFORM.pack(more, high, _TRANSFORM.size + len(body), transform.type, low, transform.id) + body


def _parse_attributes(r: Reader) -> tuple[int | None, tuple[Attribute, ...]]:
    attributes = []
    while r.remaining:
        kind, value = r.unpack(_ATTRIBUTE)
        short = kind & _SHORT_FORM
        attributes.append(Attribute(kind & ~_SHORT_FORM, value if short else r.take(value)))
    first = attributes[0]
    if first.type == AttributeType.KEY_LENGTH and isinstance(first.value, int):
        return first.value, tuple(attributes[1:])
    return None, tuple(attributes)


def _emit_attribute(attribute: Attribute) -> bytes:
    kind, value = attribute
    if isinstance(value, int):
        return _ATTRIBUTE.pack(kind | _SHORT_FORM, value)
    return _ATTRIBUTE.pack(kind, len(value)) + value
