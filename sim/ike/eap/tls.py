"""EAP-TLS (RFC 5216 with TLS 1.2, RFC 9190 with TLS 1.3): both sides have certificates.

    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |     Flags     |      TLS Message Length, only with L ...
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |     ...       |        TLS data ...
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+        Flags: L length follows, M more fragments, S start

Left out: resumption, OCSP stapling, and privacy of the peer's identity in TLS 1.2 (RFC 5216 2.1.4).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag
from struct import Struct

from sim.crypto.certificate import Certificate
from sim.crypto.errors import CryptoError
from sim.crypto.tls import TLS_1_3, Check, TlsEnd, TlsError
from sim.ike.eap.method import EapError
from sim.ike.events import Reason
from sim.wire.buffer import Reader, WireError
from sim.wire.value import quick

_LENGTH = Struct(">I")
FRAGMENT_BYTES = 1024
"""TLS data in one packet; IKE messages stay below what most paths carry unfragmented."""
MAX_MESSAGE_BYTES = 1 << 16

_MSK_BYTES = 64
_LABEL_1_2, _LABEL_1_3 = b"client EAP encryption", b"EXPORTER_EAP_TLS_Key_Material"
_TYPE = b"\x0d"  # the exporter's context (RFC 9190 2.3)
_COMMITMENT = b"\0"  # no more handshake messages will follow (RFC 9190 2.5)

MakeTls = Callable[[Check], TlsEnd]
Trust = Callable[[Certificate, tuple[Certificate, ...], int], None]
"""Judges the other end's certificate, with those that came along, at a time; CertificateRefusedError."""


@quick
class Flags(IntFlag):
    LENGTH = 0x80
    MORE = 0x40
    START = 0x20


_ACK = bytes((0,))


class CertificateRefusedError(CryptoError):
    """We do not take the other end's certificate as a proof."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Fragments:
    """TLS messages cut into packets and put together again (RFC 5216 2.1.5)."""

    def __init__(self) -> None:
        self._in = bytearray()
        self._out = b""

    @property
    def sending(self) -> bool:
        """Whether a fragment still has to go out."""
        return bool(self._out)

    def send(self, message: bytes) -> bytes:
        """The first packet of a message; later ones from `following`."""
        if len(message) <= FRAGMENT_BYTES:
            return _ACK + message
        self._out = message[FRAGMENT_BYTES:]
        head = bytes((Flags.LENGTH | Flags.MORE,)) + _LENGTH.pack(len(message))
        return head + message[:FRAGMENT_BYTES]

    def following(self) -> bytes:
        chunk, self._out = self._out[:FRAGMENT_BYTES], self._out[FRAGMENT_BYTES:]
        return bytes((Flags.MORE if self._out else 0,)) + chunk

    def receive(self, data: bytes) -> bytes | None:
        """A whole message, or None when there is more to come."""
        reader = Reader(data)
        flags = reader.take(1)[0]
        announced = reader.unpack(_LENGTH)[0] if flags & Flags.LENGTH else 0
        self._in += reader.rest()
        if max(announced, len(self._in)) > MAX_MESSAGE_BYTES:
            raise WireError(f"a TLS message of more than {MAX_MESSAGE_BYTES} octets")
        if flags & Flags.MORE:
            return None
        whole = bytes(self._in)
        self._in.clear()
        return whole


class _Side:
    """What both sides do: pass fragments on, and feed whole messages to TLS."""

    def __init__(self, make: MakeTls, trust: Trust) -> None:
        self._trust = trust
        self._now = 0
        self._tls = make(self._check)
        self._fragments = Fragments()
        self.msk = b""

    def _check(self, cert: Certificate, others: tuple[Certificate, ...]) -> None:
        self._trust(cert, others, self._now)

    def _turn(self, data: bytes, now: int) -> bytes | None:
        """The next fragment or an acknowledgement; None when TLS has had its turn."""
        self._now = now
        if self._fragments.sending:
            if data != _ACK:
                raise WireError("a TLS fragment where an acknowledgement must be (RFC 5216 2.1.5)")
            return self._fragments.following()
        message = self._fragments.receive(data)
        if message is None:
            return _ACK
        self._tls.feed(message)
        return None

    def _derive(self) -> None:
        """RFC 5216 2.3, RFC 9190 2.3."""
        label, context = (_LABEL_1_3, _TYPE) if self._tls.version == TLS_1_3 else (_LABEL_1_2, None)
        self.msk = self._tls.export(label, 2 * _MSK_BYTES, context)[:_MSK_BYTES]


class TlsPeer(_Side):
    def __init__(self, make: MakeTls, trust: Trust) -> None:
        super().__init__(make, trust)
        self.satisfied = False
        self.refusal: EapError | None = None
        self._started = False

    def answer(self, identifier: int, data: bytes, now: int) -> bytes:
        if not self._started:
            return self._start(data)
        try:
            passed_on = self._turn(data, now)
            if passed_on is not None:
                return passed_on
            self._conclude()
        except TlsError as error:
            self.refusal = refusal_of(error)
        # An alert, if that failed: the server answers with EAP-Failure (RFC 5216 2.1.3).
        return self._fragments.send(self._tls.take())

    def _start(self, data: bytes) -> bytes:
        if not data or not data[0] & Flags.START:
            raise WireError("EAP-TLS does not begin with a start (RFC 5216 2.1.1)")
        self._started = True
        self._tls.feed(b"")
        return self._fragments.send(self._tls.take())

    def _conclude(self) -> None:
        """TLS 1.3 is over for the peer when the server has said so (RFC 9190 2.1.1)."""
        if not self._tls.done or self.satisfied:
            return
        if self._tls.version != TLS_1_3 or self._tls.received() == _COMMITMENT:
            self._derive()
            self.satisfied = True


class TlsServer(_Side):
    def __init__(self, make: MakeTls, trust: Trust) -> None:
        super().__init__(make, trust)
        self.failure: EapError | None = None
        self._concluded = False

    def begin(self, identifier: int) -> bytes:
        return bytes((Flags.START,))

    def judge(self, identifier: int, data: bytes, now: int) -> bytes | None:
        if self.failure is not None and not self._fragments.sending:
            raise self.failure
        if self._concluded and data == _ACK and not self._fragments.sending:
            return None
        try:
            passed_on = self._turn(data, now)
            if passed_on is not None:
                return passed_on
            self._conclude()
        except TlsError as error:
            self.failure = refusal_of(error)
        out = self._tls.take()
        if out:
            return self._fragments.send(out)
        if self.failure is not None:
            raise self.failure
        raise WireError("an empty EAP-TLS response where TLS waits for octets")

    def _conclude(self) -> None:
        if self._tls.done and not self._concluded:
            self._derive()
            self._concluded = True
            if self._tls.version == TLS_1_3:
                self._tls.send(_COMMITMENT)


def refusal_of(error: TlsError) -> EapError:
    """Our own judgement of a certificate says more than TLS does."""
    cause = error.__cause__
    if isinstance(cause, CertificateRefusedError):
        return EapError(cause.reason, str(cause))
    return EapError(Reason.TLS_FAILURE, f"TLS failed: {error}", by_peer=error.by_peer)
