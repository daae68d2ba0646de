"""The payloads of IKEv2: one frozen class each, `parse` and `emit` side by side (RFC 7296 3.4 to 3.16).

Proposals are in `payloads_sa`, configuration in `payloads_cp`, SK and SKF in `payloads_encrypted`, single
traffic selectors in `selectors`; this module has the names of all. The chain of generic headers that holds
payloads together is in `message`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import ClassVar, Self

from sim.ike.constants import PayloadType
from sim.ike.payloads_base import Payload
from sim.ike.payloads_cp import ConfigAttribute, CpPayload
from sim.ike.payloads_encrypted import EncryptedFragment, EncryptedPayload
from sim.ike.payloads_sa import Attribute, Proposal, SaPayload, Transform
from sim.ike.selectors import WireSelector, emit_selectors, parse_selectors
from sim.wire.buffer import Reader, WireError, too_short
from sim.wire.value import value

__all__ = [
    "LAST_PARSERS",
    "PARSERS",
    "Attribute",
    "AuthPayload",
    "CertPayload",
    "CertReqPayload",
    "ConfigAttribute",
    "CpPayload",
    "DeletePayload",
    "EapPayload",
    "EncryptedFragment",
    "EncryptedPayload",
    "IdPayload",
    "KePayload",
    "NoncePayload",
    "NotifyPayload",
    "Payload",
    "Proposal",
    "SaPayload",
    "Transform",
    "TsPayload",
    "UnknownPayload",
    "VendorPayload",
    "notify_shape",
    "shape_of",
]

_KE = Struct(">HH")  # method, RESERVED
_BYTE = Struct(">B")
_BYTE_AND_24_BITS = Struct(">I")  # the first octet, then three of RESERVED
_NOTIFY = Struct(">BBH")  # protocol, SPI size, type
_DELETE = Struct(">BBH")  # protocol, SPI size, number of SPIs
_EAP = Struct(">BBH")  # code, identifier, length

_16_BITS, _24_BITS = 0xFFFF, 0xFFFFFF  # the RESERVED_BITS of a body, as masks
_NONCE_BYTES = range(16, 257)
_NOTIFY_TYPE = int(PayloadType.NOTIFY)


@value
class KePayload(Payload):
    """A public value and the key exchange method that it is for (RFC 7296 3.4)."""

    TYPE: ClassVar[PayloadType] = PayloadType.KE
    RESERVED_BITS: ClassVar[int] = 16

    group: int
    data: bytes

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        group, reserved = _KE.unpack_from(body)
        return cls(group, body[_KE.size :], reserved=reserved)

    def emit(self) -> bytes:
        return _KE.pack(self.group, self.reserved & _16_BITS) + self.data


@value
class IdPayload(Payload):
    """An identity (RFC 7296 3.5); `role` is ID_I or ID_R. `emit` is the ID' that AUTH covers (2.15)."""

    RESERVED_BITS: ClassVar[int] = 24

    role: int
    id_type: int
    data: bytes

    @property
    def payload_type(self) -> int:
        return self.role

    @property
    def shape(self) -> int:
        return self.role

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        (head,) = _BYTE_AND_24_BITS.unpack_from(body)
        return cls(kind, head >> 24, body[4:], reserved=head & _24_BITS)

    def emit(self) -> bytes:
        return _BYTE_AND_24_BITS.pack(self.id_type << 24 | self.reserved & _24_BITS) + self.data


@value
class _Encoded(Payload):
    encoding: int
    data: bytes

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        (encoding,) = _BYTE.unpack_from(body)
        return cls(encoding, body[1:])

    def emit(self) -> bytes:
        return _BYTE.pack(self.encoding) + self.data


@value
class CertPayload(_Encoded):
    """A certificate, a CRL or whatever else `encoding` names (RFC 7296 3.6)."""

    TYPE: ClassVar[PayloadType] = PayloadType.CERT


@value
class CertReqPayload(_Encoded):
    """The certification authorities that a sender trusts, as SHA-1 hashes of their keys (RFC 7296 3.7)."""

    TYPE: ClassVar[PayloadType] = PayloadType.CERTREQ


@value
class AuthPayload(Payload):
    """The proof of identity (RFC 7296 3.8)."""

    TYPE: ClassVar[PayloadType] = PayloadType.AUTH
    RESERVED_BITS: ClassVar[int] = 24

    method: int
    data: bytes

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        (head,) = _BYTE_AND_24_BITS.unpack_from(body)
        return cls(head >> 24, body[4:], reserved=head & _24_BITS)

    def emit(self) -> bytes:
        return _BYTE_AND_24_BITS.pack(self.method << 24 | self.reserved & _24_BITS) + self.data


@value
class NoncePayload(Payload):
    """16 to 256 random octets (RFC 7296 3.9); whether they suit the PRF is the endpoint's question."""

    TYPE: ClassVar[PayloadType] = PayloadType.NONCE

    data: bytes

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        if len(body) not in _NONCE_BYTES:
            raise WireError(f"a nonce of {len(body)} octets; 16 to 256 are allowed (RFC 7296 3.9)")
        return cls(body)

    def emit(self) -> bytes:
        return self.data


@value
class NotifyPayload(Payload):
    """An error or a status (RFC 7296 3.10); `protocol` and `spi` only where the type concerns an SA."""

    TYPE: ClassVar[PayloadType] = PayloadType.NOTIFY

    type: int
    data: bytes = b""
    protocol: int = 0
    spi: bytes = b""

    @property
    def shape(self) -> int:
        return self.type << 8 | _NOTIFY_TYPE

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        protocol, spi_size, notify_type = _NOTIFY.unpack_from(body)
        data_at = _NOTIFY.size + spi_size
        if data_at > len(body):
            raise too_short(spi_size, at + _NOTIFY.size, len(body) - _NOTIFY.size)
        return cls(notify_type, body[data_at:], protocol, body[_NOTIFY.size : data_at])

    def emit(self) -> bytes:
        return _NOTIFY.pack(self.protocol, len(self.spi), self.type) + self.spi + self.data


@value
class DeletePayload(Payload):
    """The sender's own inbound SPIs of SAs that it has deleted (RFC 7296 3.11).

    All SPIs have one size; an IKE SA is deleted with none. `empty_spi_bytes` is the SPI size that came with
    an empty list.
    """

    TYPE: ClassVar[PayloadType] = PayloadType.DELETE

    protocol: int
    spis: tuple[bytes, ...] = ()
    empty_spi_bytes: int = 0

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        r = Reader(body, at)
        protocol, size, count = r.unpack(_DELETE)
        if count and not size:
            raise WireError(f"{count} SPIs of no octets to delete (RFC 7296 3.11)")
        spis = tuple([r.take(size) for _ in range(count)])
        r.done()
        return cls(protocol, spis, 0 if count else size)

    def emit(self) -> bytes:
        size = len(self.spis[0]) if self.spis else self.empty_spi_bytes
        return _DELETE.pack(self.protocol, size, len(self.spis)) + b"".join(self.spis)


@value
class VendorPayload(Payload):
    """Something that only implementations of one vendor understand (RFC 7296 3.12)."""

    TYPE: ClassVar[PayloadType] = PayloadType.VENDOR

    data: bytes

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        return cls(body)

    def emit(self) -> bytes:
        return self.data


@value
class TsPayload(Payload):
    """The traffic selectors of one end (RFC 7296 3.13); `role` is TS_I or TS_R."""

    RESERVED_BITS: ClassVar[int] = 24

    role: int
    selectors: tuple[WireSelector, ...]

    @property
    def payload_type(self) -> int:
        return self.role

    @property
    def shape(self) -> int:
        return self.role

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        (head,) = _BYTE_AND_24_BITS.unpack_from(body)
        return cls(kind, parse_selectors(body[4:], at + 4, head >> 24), reserved=head & _24_BITS)

    def emit(self) -> bytes:
        head = _BYTE_AND_24_BITS.pack(len(self.selectors) << 24 | self.reserved & _24_BITS)
        return head + emit_selectors(self.selectors)


@value
class EapPayload(Payload):
    """A whole EAP message (RFC 7296 3.16, RFC 3748 4)."""

    TYPE: ClassVar[PayloadType] = PayloadType.EAP

    data: bytes

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        _, _, length = _EAP.unpack_from(body)
        if length != len(body):
            raise WireError(f"an EAP message of {length} octets in a payload of {len(body)} (RFC 7296 3.16)")
        return cls(body)

    def emit(self) -> bytes:
        return self.data


@value
class UnknownPayload(Payload):
    """A payload of a type that has no class here; to be refused if it is critical (RFC 7296 2.5)."""

    type: int
    body: bytes

    @property
    def payload_type(self) -> int:
        return self.type

    @classmethod
    def parse(cls, body: bytes, kind: int, at: int) -> Self:
        return cls(kind, body)

    def emit(self) -> bytes:
        return self.body


def notify_shape(notify_type: int) -> int:
    """The shape of a notification: the octet of its payload type, and its own type above."""
    return notify_type << 8 | _NOTIFY_TYPE


def shape_of(payloads: Iterable[Payload]) -> tuple[int, ...]:
    """What a message looks like: each payload's type, but of a notification its `notify_shape`.

    Few shapes go back and forth, so that what follows from one can be remembered.
    """
    return tuple([payload.shape for payload in payloads])


PayloadParser = Callable[[bytes, int, int], Payload]

PARSERS: dict[int, PayloadParser] = {
    PayloadType.SA: SaPayload.parse,
    PayloadType.KE: KePayload.parse,
    PayloadType.ID_I: IdPayload.parse,
    PayloadType.ID_R: IdPayload.parse,
    PayloadType.CERT: CertPayload.parse,
    PayloadType.CERTREQ: CertReqPayload.parse,
    PayloadType.AUTH: AuthPayload.parse,
    PayloadType.NONCE: NoncePayload.parse,
    PayloadType.NOTIFY: NotifyPayload.parse,
    PayloadType.DELETE: DeletePayload.parse,
    PayloadType.VENDOR: VendorPayload.parse,
    PayloadType.TS_I: TsPayload.parse,
    PayloadType.TS_R: TsPayload.parse,
    PayloadType.CP: CpPayload.parse,
    PayloadType.EAP: EapPayload.parse,
}
"""Who parses which payload type; all others become an UnknownPayload."""

LAST_PARSERS: dict[int, PayloadParser] = {
    PayloadType.SK: EncryptedPayload.parse,
    PayloadType.SKF: EncryptedFragment.parse,
}
"""The payloads that end a message: their Next Payload field speaks of what is inside them (RFC 7296 3.14)."""
