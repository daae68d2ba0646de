"""IKE messages: the header, the chain of payloads, and the Encrypted payload around them.

RFC 7296 3.1 (header), 3.2 (generic payload header), 3.14 (Encrypted payload), RFC 5282 (AEADs).
`parse_message` followed by `emit_message` gives back the same octets for every well-formed message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct, error
from typing import TypeVar

from sim.crypto.cipher import Cipher
from sim.ike.constants import Flags, PayloadType
from sim.ike.payloads import (
    LAST_PARSERS,
    PARSERS,
    AuthPayload,
    DeletePayload,
    EncryptedFragment,
    EncryptedPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    UnknownPayload,
    notify_shape,
    shape_of,
)
from sim.wire.buffer import Buf, WireError
from sim.wire.value import value

P = TypeVar("P", bound=Payload)
Rand = Callable[[int], bytes]

#                      1                   2                   3
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                       IKE SA Initiator's SPI                  |
# |                       IKE SA Responder's SPI                  |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |                          Message ID                           |
# |                            Length                             |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
_HEADER = Struct(">8s8sBBBBII")
_FIRST_TYPE_AT = 16

# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# | Next Payload  |C|  RESERVED   |         Payload Length        |
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
_GENERIC = Struct(">BBH")
_pack_generic, _unpack_generic = _GENERIC.pack, _GENERIC.unpack_from

HEADER_BYTES = _HEADER.size
GENERIC_BYTES = _GENERIC.size
MAJOR_VERSION = 2
_RESPONSE, _INITIATOR = int(Flags.RESPONSE), int(Flags.INITIATOR)
NO_SPI = bytes(8)
"""The responder's SPI before the responder has chosen one."""


_SHAPES: dict[type[Payload], int] = {
    kind: kind.TYPE for kind in (SaPayload, KePayload, NoncePayload, AuthPayload, DeletePayload)
}
"""What the payloads of a class look like, where that is one shape and often asked for."""


class ProtectedWireError(WireError):
    """What an authentic message protects is malformed: the peer is told INVALID_SYNTAX (RFC 7296 2.21.3)."""


@value
class Header:
    """The IKE header without its Next Payload and Length, which follow from the payloads.

    `flags` and `version` keep reserved bits and minor version as they came (RFC 7296 2.5).
    """

    spi_i: bytes
    spi_r: bytes
    exchange: int
    flags: int
    message_id: int
    version: int = MAJOR_VERSION << 4

    @property
    def major(self) -> int:
        return self.version >> 4

    @property
    def is_response(self) -> bool:
        return self.flags & _RESPONSE != 0

    @property
    def from_initiator(self) -> bool:
        """Whether the original initiator of the IKE SA sent it, which tells whose SPI is whose."""
        return self.flags & _INITIATOR != 0


class Message:
    """A message and the octets that it came in, which are what AUTH covers (RFC 7296 2.15).

    `raw` starts with the IKE header: a non-ESP marker is not part of it. `shape` is that of the payloads,
    as `shape_of` tells it. A message that came in `fragments` (RFC 7383) has those of all of them in `raw`,
    one after the other, and those of the one that tells a repetition in `first`. `plain` are the payloads
    of an opened message with the last one still around the others, but not encrypted. Nobody changes it.
    """

    __slots__ = ("_by_shape", "first", "fragments", "header", "payloads", "plain", "raw", "shape")

    def __init__(
        self,
        header: Header,
        payloads: tuple[Payload, ...],
        raw: bytes,
        plain: tuple[Payload, ...] = (),
        fragments: int = 1,
        first: bytes = b"",
    ) -> None:
        self.header = header
        self.payloads = payloads
        self.raw = raw
        self.plain = plain
        self.fragments = fragments
        self.first = first or raw
        self.shape = shape_of(payloads)
        # Of several with one shape, the first.
        self._by_shape: dict[int, Payload] = dict(zip(self.shape[::-1], payloads[::-1], strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.raw == other.raw and self.payloads == other.payloads

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Message({self.header!r}, {self.payloads!r})"

    def find(self, kind: type[P]) -> P | None:
        """The first payload of a class."""
        shape = _SHAPES.get(kind)
        if shape is not None:
            return self._by_shape.get(shape)  # type: ignore[return-value]
        return next(iter(self.find_all(kind)), None)

    def find_all(self, kind: type[P]) -> tuple[P, ...]:
        return tuple([payload for payload in self.payloads if isinstance(payload, kind)])

    def of_type(self, payload_type: int) -> Payload | None:
        """The first payload of a type but NOTIFY: tells IDi from IDr and TSi from TSr."""
        return self._by_shape.get(payload_type)

    def notify(self, notify_type: int) -> NotifyPayload | None:
        """The first notification of a type."""
        return self._by_shape.get(notify_shape(notify_type))  # type: ignore[return-value]

    def notifies(self, notify_type: int) -> tuple[NotifyPayload, ...]:
        if notify_shape(notify_type) not in self._by_shape:
            return ()
        return tuple([n for n in self.find_all(NotifyPayload) if n.type == notify_type])

    def unsupported_critical(self) -> UnknownPayload | None:
        """The first payload that demands UNSUPPORTED_CRITICAL_PAYLOAD (RFC 7296 2.5)."""
        for payload in self.payloads:
            if payload.critical and isinstance(payload, UnknownPayload):
                return payload
        return None


def parse_header(data: Buf) -> Header:
    """The header of any IKE message, of whatever major version.

    Only the Length field is checked, against `data`.
    """
    if len(data) < HEADER_BYTES:
        raise WireError(f"an IKE message of {len(data)} octets; the header alone has {HEADER_BYTES}")
    spi_i, spi_r, _, version, exchange, flags, message_id, length = _HEADER.unpack_from(data)
    if length != len(data):
        raise WireError(f"Length is {length} in an IKE message of {len(data)} octets")
    return Header(spi_i, spi_r, exchange, flags, message_id, version)


def parse_message(data: Buf, header: Header | None = None) -> Message:
    """A whole IKEv2 message; an Encrypted payload stays closed. WireError also for another major version.

    `header` is what `parse_header` gave for the same octets, if that was asked already.
    """
    raw = bytes(data)
    header = header or parse_header(raw)
    if header.major != MAJOR_VERSION:
        raise WireError(f"major version {header.major}, not {MAJOR_VERSION} (RFC 7296 2.5)")
    return Message(header, _parse_chain(raw[_FIRST_TYPE_AT], raw, HEADER_BYTES), raw)


def parse_payloads(first_type: int, data: Buf) -> tuple[Payload, ...]:
    """A chain of payloads that fills `data`; its first has type `first_type`."""
    return _parse_chain(first_type, bytes(data), 0)


def emit_message(header: Header, payloads: Sequence[Payload]) -> bytes:
    first_type, chain = emit_payloads(payloads)
    return _pack_header(header, first_type, len(chain)) + chain


def emit_payloads(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """The type of the first payload and the octets of the chain."""
    chain = b""
    following = _inner_type(payloads[-1]) if payloads else int(PayloadType.NONE)
    for payload in reversed(payloads):
        body = payload.emit()
        bits = payload.header_bits if payload.critical or payload.reserved else 0
        chain = _pack_generic(following, bits, GENERIC_BYTES + len(body)) + body + chain
        following = payload.payload_type
    return following, chain


def seal_message(
    header: Header,
    payloads: Sequence[Payload],
    cipher: Cipher,
    iv_counter: int,
    *,
    rand: Rand | None = None,
) -> bytes:
    """The message whose only payload is an Encrypted payload around `payloads` (RFC 7296 3.14).

    `iv_counter` must never repeat under one key. The padding, as short as the cipher allows, comes from
    `rand`; it is zeros without one.
    """
    return seal_inside(header, EncryptedPayload(*emit_payloads(payloads)), cipher, iv_counter, rand)


def seal_inside(
    header: Header,
    inside: EncryptedPayload | EncryptedFragment,
    cipher: Cipher,
    iv_counter: int,
    rand: Rand | None = None,
) -> bytes:
    """As `seal_message`, of a payload that is not encrypted yet: its `data` is a chain, or a part of one."""
    pad_length = -(len(inside.data) + 1) % cipher.block_bytes
    padding = rand(pad_length) if rand is not None and pad_length else bytes(pad_length)
    plaintext = inside.data + padding + pad_length.to_bytes(1, "big")
    iv, head = cipher.next_iv(iv_counter), inside.head
    size = GENERIC_BYTES + len(head) + len(iv) + len(plaintext) + cipher.icv_bytes
    # The ICV covers all from the IKE header to the IV, lengths included (RFC 7296 3.14, RFC 5282 5.1), and
    # the fields of a fragment (RFC 7383 2.5).
    generic = _pack_generic(inside.first_type, 0, size)
    aad = _pack_header(header, inside.payload_type, size) + generic + head
    sealed = bytearray(len(plaintext) + cipher.icv_bytes)
    cipher.seal_into(aad, iv, plaintext, memoryview(sealed))
    return aad + iv + sealed


def sealed_bytes(inside: EncryptedPayload | EncryptedFragment, cipher: Cipher) -> int:
    """The size of the message that `seal_inside` makes."""
    padded = len(inside.data) + 1
    padded += -padded % cipher.block_bytes
    size = GENERIC_BYTES + len(inside.head) + cipher.iv_bytes + padded + cipher.icv_bytes
    return HEADER_BYTES + size


def open_message(message: Message, cipher: Cipher) -> Message:
    """The message with the payloads from inside its Encrypted payload in the place of that payload.

    IntegrityError when it was made with other keys, WireError when it has no Encrypted payload or one too
    short: nobody has proved to have sent those. ProtectedWireError when the key holder sent nonsense.
    """
    closed = message.payloads[-1] if message.payloads else None
    if not isinstance(closed, EncryptedPayload):
        raise WireError("the message has no Encrypted payload")
    data = open_inside(message, closed, cipher)
    inside = EncryptedPayload(closed.first_type, data, critical=closed.critical, reserved=closed.reserved)
    outside = message.payloads[:-1]
    return Message(message.header, outside + parse_inside(inside), message.raw, (*outside, inside))


def open_inside(message: Message, closed: EncryptedPayload | EncryptedFragment, cipher: Cipher) -> bytes:
    """What the last payload of a message protects, without the padding; errors as from `open_message`."""
    text_bytes = len(closed.data) - cipher.iv_bytes - cipher.icv_bytes
    if text_bytes < 1 or text_bytes % cipher.block_bytes:
        raise WireError(f"an Encrypted payload cannot hold {text_bytes} octets of ciphertext (RFC 7296 3.14)")
    aad = message.raw[: -len(closed.data)]
    iv, sealed = closed.data[: cipher.iv_bytes], closed.data[cipher.iv_bytes :]
    plaintext = cipher.open(aad, iv, sealed)
    size = len(plaintext) - 1 - plaintext[-1]
    if size < 0:
        raise ProtectedWireError(f"Pad Length {plaintext[-1]} in {len(plaintext)} octets (RFC 7296 3.14)")
    return plaintext[:size]


def parse_inside(inside: EncryptedPayload) -> tuple[Payload, ...]:
    """The payloads that an Encrypted payload held; ProtectedWireError when the key holder sent nonsense."""
    try:
        payloads = parse_payloads(inside.first_type, inside.data)
    except WireError as error:
        raise ProtectedWireError(str(error)) from error
    if payloads and payloads[-1].payload_type in LAST_PARSERS:
        raise ProtectedWireError("an Encrypted payload inside another one (RFC 7296 3.14)")
    return payloads


def _pack_header(header: Header, first_type: int, size: int) -> bytes:
    return _HEADER.pack(
        header.spi_i,
        header.spi_r,
        first_type,
        header.version,
        header.exchange,
        header.flags,
        header.message_id,
        HEADER_BYTES + size,
    )


def _parse_chain(kind: int, data: bytes, offset: int) -> tuple[Payload, ...]:
    """Payloads from `offset` to the end of `data`; the one place that checks their lengths."""
    size = len(data)
    payloads: list[Payload] = []
    while kind:
        start = offset + GENERIC_BYTES
        if start > size:
            raise WireError(f"payload {kind} is announced but the message ends at offset {offset}")
        following, bits, length = _unpack_generic(data, offset)
        end = offset + length
        if not start <= end <= size:
            raise WireError(
                f"payload {kind} at offset {offset} has length {length}, {size - offset} are left"
            )
        parse = PARSERS.get(kind)
        if parse is None:
            parse = UnknownPayload.parse
            if kind in LAST_PARSERS:
                parse, kind, following = LAST_PARSERS[kind], following, PayloadType.NONE
        try:
            payload = parse(data[start:end], kind, start)
        except error:
            raise WireError(f"payload {kind} at offset {offset} of {length} octets is too short") from None
        if bits:
            payload = payload.with_header_bits(bits)
        payloads.append(payload)
        kind, offset = following, end
    if offset != size:
        raise WireError(f"{size - offset} octets follow the last payload at offset {offset}")
    return tuple(payloads)


def _inner_type(last: Payload) -> int:
    """What the Next Payload field of the last payload says."""
    return getattr(last, "first_type", PayloadType.NONE)
