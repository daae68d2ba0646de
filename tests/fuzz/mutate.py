"""How a message is damaged: octets of a whole message, or the payloads inside of one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from struct import pack_into

from sim.ike.constants import ExchangeType, NotifyType, PayloadType, ProtocolId
from sim.ike.payloads import DeletePayload, NotifyPayload, Payload, UnknownPayload

Draw = random.Random
INTERESTING = (0, 1, 3, 4, 7, 8, 16, 0x7F, 0x80, 0xFF)
EXCHANGES = (*map(int, ExchangeType), 0, 33, 46, 255)
KINDS = (*map(int, PayloadType), 0, 1, 32, 55, 127, 128, 255)


def damaged(raw: bytes, others: Sequence[bytes], draw: Draw, live: bytes = b"") -> bytes:
    """The message after one to four changes.

    Then, often, its length is put right, or it gets the SPIs of an SA that is `live`: so it goes further.
    """
    data = bytearray(raw)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        change = draw.choice(_OCTETS)
        change(data, others, draw)
    if len(data) >= 28 and draw.random() < 0.7:
        pack_into(">I", data, 24, len(data))
    if live and draw.random() < 0.4:
        data[:16] = live
    return bytes(data)


def distorted(payloads: Sequence[Payload], draw: Draw) -> list[Payload]:
    """The payloads after one to three changes, each still an Encrypted payload's proper content."""
    found = list(payloads)
    for _ in range(draw.choice((1, 1, 2, 3))):
        draw.choice(_PAYLOADS)(found, draw)
    return found


def _flip(data: bytearray, others: Sequence[bytes], draw: Draw) -> None:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _set(data: bytearray, others: Sequence[bytes], draw: Draw) -> None:
    if data:
        data[draw.randrange(len(data))] = draw.choice(INTERESTING)


def _cut(data: bytearray, others: Sequence[bytes], draw: Draw) -> None:
    del data[draw.randint(0, len(data)) :]


def _extend(data: bytearray, others: Sequence[bytes], draw: Draw) -> None:
    data += draw.randbytes(draw.choice((1, 4, 100, 1500)))


def _splice(data: bytearray, others: Sequence[bytes], draw: Draw) -> None:
    other = draw.choice(others)
    at = draw.randint(0, len(data))
    data[at:] = other[min(at, len(other)) :]


def _header(data: bytearray, others: Sequence[bytes], draw: Draw) -> None:
    """Another exchange, other flags, another message ID or length."""
    if len(data) < 28:
        return
    field = draw.randrange(5)
    if field == 0:
        data[18] = draw.choice(EXCHANGES)
    elif field == 1:
        data[19] = draw.choice((0, 8, 0x20, 0x28, 0xFF))
    elif field == 2:
        pack_into(">I", data, 20, draw.choice((0, 1, 2, 3, 4, 5, 2**31, 2**32 - 1)))
    elif field == 3:
        pack_into(">I", data, 24, draw.choice((0, 27, 28, len(data), len(data) + 1, 2**32 - 1)))
    else:
        data[16] = draw.choice(KINDS)


def _lengths(data: bytearray, others: Sequence[bytes], draw: Draw) -> None:
    """Two octets somewhere behind the header, as a length would stand there."""
    if len(data) > 34:
        pack_into(">H", data, draw.randrange(28, len(data) - 2), draw.choice((0, 1, 3, 4, 5, 8, 0xFFFF)))


def _swap_spis(data: bytearray, others: Sequence[bytes], draw: Draw) -> None:
    other = draw.choice(others)
    data[:16] = other[:16]


_OCTETS: tuple[Callable[[bytearray, Sequence[bytes], Draw], None], ...] = (
    *(_flip, _set, _cut, _extend, _splice, _header, _lengths, _swap_spis),
)


def _damage_body(found: list[Payload], draw: Draw) -> None:
    if found:
        at = draw.randrange(len(found))
        body = bytearray(found[at].emit())
        draw.choice((_flip, _set, _cut, _extend))(body, (), draw)
        found[at] = UnknownPayload(found[at].payload_type, bytes(body[:3000]))


def _leave_out(found: list[Payload], draw: Draw) -> None:
    if found:
        del found[draw.randrange(len(found))]


def _repeat(found: list[Payload], draw: Draw) -> None:
    if found:
        found.insert(draw.randint(0, len(found)), draw.choice(found))


def _shuffle(found: list[Payload], draw: Draw) -> None:
    draw.shuffle(found)


def _add_unknown(found: list[Payload], draw: Draw) -> None:
    kind, body = draw.choice(KINDS), draw.randbytes(draw.choice((0, 1, 4, 8, 40)))
    found.insert(draw.randint(0, len(found)), UnknownPayload(kind or 1, body, critical=draw.random() < 0.5))


def _add_notify(found: list[Payload], draw: Draw) -> None:
    data = draw.randbytes(draw.choice((0, 2, 4, 16, 20)))
    protocol, spi = draw.choice(((0, b""), (ProtocolId.ESP, draw.randbytes(4)), (ProtocolId.IKE, b"")))
    found.insert(
        draw.randint(0, len(found)), NotifyPayload(draw.choice(list(NotifyType)), data, protocol, spi)
    )


def _add_delete(found: list[Payload], draw: Draw) -> None:
    spis = tuple(draw.randbytes(4) for _ in range(draw.choice((0, 1, 3))))
    found.append(DeletePayload(draw.choice((ProtocolId.IKE, ProtocolId.AH, ProtocolId.ESP)), spis))


_PAYLOADS: tuple[Callable[[list[Payload], Draw], None], ...] = (
    *(_damage_body, _damage_body, _damage_body, _leave_out, _repeat, _shuffle),
    *(_add_unknown, _add_notify, _add_delete),
)
