"""IKE fragmentation: one encrypted message in several datagrams (RFC 7383).

    HDR(MID=n), SKF(NextPld=first inside, Frag#=1, TotFrags=m)  -->
    HDR(MID=n), SKF(NextPld=0, Frag#=2, TotFrags=m)  -->
                           ...
    HDR(MID=n), SKF(NextPld=0, Frag#=m, TotFrags=m)  -->

Each fragment is encrypted and authenticated alone, so that only a key holder can make us keep one. Left out:
smaller fragments on retransmission (2.5.2), which a sender may try and which we accept.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.crypto.cipher import Cipher
from sim.ike.message import (
    Header,
    Message,
    ProtectedWireError,
    Rand,
    open_inside,
    parse_inside,
    seal_inside,
    sealed_bytes,
)
from sim.ike.payloads import EncryptedFragment, EncryptedPayload
from sim.wire.buffer import WireError

IP_BYTES = {4: 20, 16: 40}
"""An IP header without options, by the size of an address."""
UDP_BYTES = 8

SAFE_BYTES = {4: 576, 16: 1280}
"""The IP packet that needs no probing, by the size of an address (RFC 7383 2.5.1)."""

MAX_FRAGMENTS = 128
MAX_BYTES = 65535
"""Bounds of what is put together: a message that one IPv4 datagram could not carry is nobody's."""


def cut(
    header: Header,
    inside: EncryptedPayload,
    limit: int,
    cipher: Cipher,
    counters: Iterator[int],
    rand: Rand | None = None,
) -> tuple[bytes, ...]:
    """The fragments of an encrypted message, none larger than `limit` octets from the IKE header on.

    They are larger than that only where there would be more than MAX_FRAGMENTS. `counters` numbers IVs, as
    for `seal_message`. ValueError when a fragment of that size could not hold a single octet.
    """
    size = len(inside.data)
    room = max(_room(limit, cipher), -(-size // MAX_FRAGMENTS))
    parts = [inside.data[at : at + room] for at in range(0, size, room)]
    total = len(parts)
    return tuple(
        seal_inside(
            header,
            EncryptedFragment(inside.first_type if number == 1 else 0, number, total, part),
            cipher,
            next(counters),
            rand,
        )
        for number, part in enumerate(parts, 1)
    )


def _room(limit: int, cipher: Cipher) -> int:
    """How much of the message goes into one fragment."""
    empty = sealed_bytes(EncryptedFragment(0, 1, 1, b""), cipher)  # one block, of padding alone
    room = (limit - empty) // cipher.block_bytes * cipher.block_bytes + cipher.block_bytes - 1
    if room < 1:
        raise ValueError(f"an encrypted fragment does not fit into {limit} octets")
    return room


class Assembly:
    """The fragments of one message that have come so far."""

    __slots__ = ("_first", "_pieces", "_raw", "total")

    def __init__(self) -> None:
        self.total = 0
        self._pieces: dict[int, bytes] = {}
        self._raw: dict[int, bytes] = {}
        self._first: Message | None = None

    def add(self, message: Message, fragment: EncryptedFragment, cipher: Cipher) -> Message | None:
        """The whole message once it is complete, else None; errors as from `open_message`.

        What has come before is forgotten when the sender has begun again with smaller fragments, and a
        fragment of the larger ones is none of this message any more (RFC 7383 2.6).
        """
        number, total = fragment.number, fragment.total
        if total > MAX_FRAGMENTS:
            raise WireError(f"a message of {total} fragments; {MAX_FRAGMENTS} are the most")
        if total < self.total or (total == self.total and number in self._pieces):
            return None
        piece = open_inside(message, fragment, cipher)
        if total > self.total:
            self.total = total
            self._pieces.clear()
            self._raw.clear()
            self._first = None
        self._pieces[number] = piece
        self._raw[number] = message.raw
        if number == 1:
            self._first = message
        if sum(map(len, self._pieces.values())) > MAX_BYTES:
            raise ProtectedWireError(f"the fragments of a message have more than {MAX_BYTES} octets")
        return self._join() if len(self._pieces) == total else None

    def _join(self) -> Message:
        first = self._first
        assert first is not None
        closed = first.payloads[-1]
        assert isinstance(closed, EncryptedFragment)
        chain, raw = (
            b"".join(parts[number] for number in sorted(parts)) for parts in (self._pieces, self._raw)
        )
        inside = EncryptedPayload(
            closed.first_type, chain, critical=closed.critical, reserved=closed.reserved
        )
        outside = first.payloads[:-1]
        payloads = outside + parse_inside(inside)
        return Message(first.header, payloads, raw, (*outside, inside), self.total, first.raw)


def fragment_of(message: Message) -> EncryptedFragment | None:
    """The Encrypted Fragment payload of a message that is one fragment of another."""
    last = message.payloads[-1] if message.payloads else None
    return last if isinstance(last, EncryptedFragment) else None
