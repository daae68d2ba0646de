"""Octets of one IKE SA: messages are sealed, opened and put on their way here (RFC 7296 2.2, 3.14).

A message that is too large for a datagram travels in fragments, if both sides know them (RFC 7383).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

from sim.crypto.cipher import Cipher
from sim.ike.constants import INITIAL, ExchangeType, Flags, name_of
from sim.ike.events import MessageReceived, MessageSent
from sim.ike.fragments import IP_BYTES, SAFE_BYTES, UDP_BYTES, Assembly, cut, fragment_of
from sim.ike.message import (
    Header,
    Message,
    ProtectedWireError,
    emit_message,
    emit_payloads,
    open_inside,
    open_message,
    seal_inside,
    sealed_bytes,
)
from sim.ike.notation import in_fragments, notation
from sim.ike.payloads import EncryptedFragment, EncryptedPayload, Payload, shape_of
from sim.wire.address import Sock
from sim.wire.buffer import WireError
from sim.wire.udp_encap import NON_ESP_MARKER

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


class Encoded:
    """A message as it goes out, each time with the same octets (RFC 7296 2.1), in one packet or several."""

    __slots__ = ("exchange", "message_id", "packets", "payloads", "response", "size", "times")

    def __init__(
        self, exchange: int, message_id: int, response: bool, payloads: str, packets: tuple[bytes, ...]
    ) -> None:
        self.exchange = exchange
        self.message_id = message_id
        self.response = response
        self.payloads = payloads
        self.packets = packets
        self.size = sum(map(len, packets))
        self.times = 0


class Channel:
    """Both directions' keys, and the counter that makes each IV of ours different."""

    def __init__(self, sa: IkeSa) -> None:
        self._sa = sa
        self._own: Cipher | None = None
        self._peer: Cipher | None = None
        self._counters = count(1)
        self._assemblies: dict[tuple[bool, int], Assembly] = {}

    def protect(self, own: Cipher, peer: Cipher) -> None:
        self._own, self._peer = own, peer

    def encode(
        self, exchange: ExchangeType, message_id: int, response: bool, payloads: Sequence[Payload]
    ) -> Encoded:
        """The message, sealed unless it is of an exchange that begins an IKE SA."""
        sa = self._sa
        flags = (Flags.INITIATOR if sa.initiator else 0) | (Flags.RESPONSE if response else 0)
        header = Header(sa.spi_i, sa.spi_r, exchange, flags, message_id)
        if sa.ctx.faults is not None:
            header, payloads = sa.ctx.faults.encode(sa, header, payloads)
        if exchange in INITIAL:
            packets: tuple[bytes, ...] = (emit_message(header, payloads),)
        else:
            inside = EncryptedPayload(*emit_payloads(payloads))
            packets = self._seal(header, inside)
            self._remember(header, (inside,))
        words = in_fragments(notation(shape_of(payloads), exchange, response), len(packets))
        return Encoded(exchange, message_id, response, words, packets)

    def _seal(self, header: Header, inside: EncryptedPayload) -> tuple[bytes, ...]:
        sa, own = self._sa, self._own
        assert own is not None
        if sa.fragmentation and sa.connection.fragmentation.sends:
            limit = self._limit()
            if sealed_bytes(inside, own) > limit:
                return cut(header, inside, limit, own, self._counters, sa.ctx.rand)
        return (seal_inside(header, inside, own, next(self._counters), sa.ctx.rand),)

    def _limit(self) -> int:
        """How large a message may be from the IKE header on, to stay one datagram of the agreed size."""
        sa = self._sa
        address, port = sa.path.local
        marker = 0 if port == sa.ctx.config.ike_port else len(NON_ESP_MARKER)
        size = sa.connection.fragment_size or SAFE_BYTES[len(address)]
        return size - IP_BYTES[len(address)] - UDP_BYTES - marker

    def decode(self, message: Message, now: int) -> Message | None:
        """The message with its inner payloads; WireError or IntegrityError when it is not the peer's.

        None for a fragment whose message is not complete yet.
        """
        assert self._peer is not None
        fragment = fragment_of(message)
        if fragment is None:
            whole: Message | None = open_message(message, self._peer)
        else:
            whole = self._assemble(message, fragment, self._peer, now)
        if whole is not None:
            self._remember(whole.header, whole.plain)
        return whole

    def _remember(self, header: Header, plain: Sequence[Payload]) -> None:
        """AUTH will cover what is said in IKE_INTERMEDIATE (RFC 9242 3.3)."""
        sa = self._sa
        if header.exchange == ExchangeType.IKE_INTERMEDIATE and sa.int_auth is not None:
            sa.int_auth.add(header, plain, sa.keys, sa.suite.prf)

    def _assemble(
        self, message: Message, fragment: EncryptedFragment, peer: Cipher, now: int
    ) -> Message | None:
        sa, header = self._sa, message.header
        if not sa.fragmentation:
            raise WireError("a fragment, but fragmentation was not agreed on (RFC 7383 2.3)")
        key = (header.is_response, header.message_id)
        assembly = self._assemblies.get(key) or Assembly()
        try:
            complete = assembly.add(message, fragment, peer)
        except ProtectedWireError:
            self.forget_fragments(*key)
            raise
        if complete is not None:
            self.forget_fragments(*key)
        elif key not in self._assemblies and assembly.total:
            self._assemblies[key] = assembly
            at = now + sa.ctx.config.fragments_timeout
            sa.ctx.timers.arm(self._timer(key), at, lambda due: self.forget_fragments(*key))
        return complete

    def verify(self, message: Message) -> None:
        """IntegrityError or WireError unless the peer made it; a fragment of it is not kept."""
        closed = message.payloads[-1] if message.payloads else None
        assert self._peer is not None
        if not isinstance(closed, EncryptedPayload | EncryptedFragment):
            raise WireError("the message has no Encrypted payload")
        open_inside(message, closed, self._peer)

    def forget_fragments(self, response: bool, message_id: int) -> None:
        """What has come of an incomplete message is worth nothing any more."""
        if self._assemblies.pop((response, message_id), None) is not None:
            self._sa.ctx.timers.cancel(self._timer((response, message_id)))

    def close(self) -> None:
        for key in list(self._assemblies):
            self.forget_fragments(*key)

    def _timer(self, key: tuple[bool, int]) -> tuple[int, str, bool, int]:
        return (self._sa.ike_id, "fragments", *key)

    @property
    def protected(self) -> bool:
        return self._own is not None

    def send(self, encoded: Encoded, src: Sock, dst: Sock) -> None:
        sa = self._sa
        for packet in encoded.packets:
            sa.ctx.transmit(packet, src, dst, sa.connection.dscp)
        sa.ctx.emit(
            MessageSent(
                sa.ike_id,
                name_of(ExchangeType, encoded.exchange),
                encoded.message_id,
                encoded.response,
                encoded.payloads,
                encoded.size,
                src,
                dst,
                encoded.times,
                len(encoded.packets),
                sa.spi_i,
            )
        )
        sa.sent += 1
        sa.retransmits += encoded.times > 0
        encoded.times += 1

    def received(
        self,
        header: Header,
        size: int,
        fragments: int,
        payloads: str,
        src: Sock,
        dst: Sock,
        repeated: int = 0,
    ) -> None:
        """Report a message that was accepted, or recognised as a repetition of one."""
        sa = self._sa
        sa.received += 1
        sa.ctx.emit(
            MessageReceived(
                sa.ike_id,
                name_of(ExchangeType, header.exchange),
                header.message_id,
                header.is_response,
                payloads,
                size,
                src,
                dst,
                repeated,
                fragments,
                sa.spi_i,
            )
        )
