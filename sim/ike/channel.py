"""Octets of one IKE SA: messages are sealed, opened and put on their way here (RFC 7296 2.2, 3.14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.crypto.cipher import Cipher
from sim.ike.constants import ExchangeType, Flags, name_of
from sim.ike.events import MessageReceived, MessageSent
from sim.ike.message import Header, Message, emit_message, open_message, seal_message
from sim.ike.notation import notation
from sim.ike.payloads import Payload, shape_of
from sim.wire.address import Sock

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


class Encoded:
    """A message as it goes out, each time with the same octets (RFC 7296 2.1)."""

    __slots__ = ("exchange", "message_id", "packet", "payloads", "response", "times")

    def __init__(self, exchange: int, message_id: int, response: bool, payloads: str, packet: bytes) -> None:
        self.exchange = exchange
        self.message_id = message_id
        self.response = response
        self.payloads = payloads
        self.packet = packet
        self.times = 0


class Channel:
    """Both directions' keys, and the counter that makes each IV of ours different."""

    def __init__(self, sa: IkeSa) -> None:
        self._sa = sa
        self._own: Cipher | None = None
        self._peer: Cipher | None = None
        self._sealed = 0

    def protect(self, own: Cipher, peer: Cipher) -> None:
        self._own, self._peer = own, peer

    def encode(
        self, exchange: ExchangeType, message_id: int, response: bool, payloads: Sequence[Payload]
    ) -> Encoded:
        """The message, sealed unless it is of IKE_SA_INIT."""
        sa = self._sa
        flags = (Flags.INITIATOR if sa.initiator else 0) | (Flags.RESPONSE if response else 0)
        header = Header(sa.spi_i, sa.spi_r, exchange, flags, message_id)
        if exchange == ExchangeType.IKE_SA_INIT:
            packet = emit_message(header, payloads)
        else:
            assert self._own is not None
            self._sealed += 1
            packet = seal_message(header, payloads, self._own, self._sealed, rand=sa.ctx.rand)
        words = notation(shape_of(payloads), exchange, response)
        return Encoded(exchange, message_id, response, words, packet)

    def decode(self, message: Message) -> Message:
        """The message with its inner payloads; WireError or IntegrityError when it is not the peer's."""
        assert self._peer is not None
        return open_message(message, self._peer)

    @property
    def protected(self) -> bool:
        return self._own is not None

    def send(self, encoded: Encoded, src: Sock, dst: Sock) -> None:
        sa = self._sa
        sa.ctx.transmit(encoded.packet, src, dst)
        sa.ctx.emit(
            MessageSent(
                sa.ike_id,
                name_of(ExchangeType, encoded.exchange),
                encoded.message_id,
                encoded.response,
                encoded.payloads,
                len(encoded.packet),
                src,
                dst,
                encoded.times,
            )
        )
        sa.sent += 1
        sa.retransmits += encoded.times > 0
        encoded.times += 1

    def received(self, message: Message, payloads: str, src: Sock, dst: Sock, repeated: int = 0) -> None:
        """Report a message that was accepted, or recognised as a repetition of one."""
        sa, header = self._sa, message.header
        sa.received += 1
        sa.ctx.emit(
            MessageReceived(
                sa.ike_id,
                name_of(ExchangeType, header.exchange),
                header.message_id,
                header.is_response,
                payloads,
                len(message.raw),
                src,
                dst,
                repeated,
            )
        )
