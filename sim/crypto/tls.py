"""One end of a TLS connection without a socket, for EAP-TLS: octets in, octets out (RFC 5246, RFC 8446).

OpenSSL does the handshake, by pyOpenSSL because the standard library's `ssl` exports no keying material. Its
random numbers are OpenSSL's own: two runs have equal messages and times, but not equal octets, and with ECDSA
a signature may be an octet or two longer. Certificates are judged by the caller, at the caller's time.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from sim.crypto.certificate import Certificate
from sim.crypto.errors import CryptoError
from sim.crypto.signature import PrivateKey

Check = Callable[[Certificate, tuple[Certificate, ...]], None]
"""Judges the other end's certificate, with those that came along; CryptoError when it is not good."""

TLS_1_2, TLS_1_3 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
_READ_BYTES = 1 << 16


_ALERT = re.compile(r"(?:ssl|tls)(?:v[0-9]+|/tls) alert ")
"""How OpenSSL calls an alert that has come, with the version that first had it."""


class TlsError(CryptoError):
    """The handshake failed; an alert for the other end may still wait in `take`.

    `by_peer`: the other end has ended it, by an alert.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.by_peer = _ALERT.match(text) is not None


class TlsEnd:
    """`authorities` are named to a client, so that it can choose a certificate; `newest` TLS is the limit."""

    def __init__(
        self,
        server: bool,
        key: PrivateKey,
        certs: tuple[Certificate, ...],
        check: Check,
        authorities: tuple[Certificate, ...] = (),
        newest: int = TLS_1_3,
    ) -> None:
        self.done = False
        self._check = check
        self._chain: dict[bytes, Certificate] = {}
        self._problem: CryptoError | None = None
        self._connection = SSL.Connection(self._context(key, certs, authorities, newest))
        (self._connection.set_accept_state if server else self._connection.set_connect_state)()

    def feed(self, octets: bytes) -> None:
        """Take octets from the other end and go on with the handshake. TlsError."""
        if octets:
            self._connection.bio_write(octets)
        if self.done:
            return
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise TlsError(_text(error)) from self._problem or error
        self.done = True

    def take(self) -> bytes:
        """What is to be sent."""
        try:
            return self._connection.bio_read(_READ_BYTES)
        except SSL.WantReadError:
            return b""

    def send(self, octets: bytes) -> None:
        """Protect application data; `take` has it afterwards."""
        self._connection.send(octets)

    def received(self) -> bytes:
        """Application data of the other end. TlsError."""
        try:
            return self._connection.recv(_READ_BYTES)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            return b""
        except SSL.Error as error:
            raise TlsError(_text(error)) from error

    @property
    def version(self) -> int:
        return self._connection.get_protocol_version()

    def export(self, label: bytes, size: int, context: bytes | None = None) -> bytes:
        """Keying material that both ends have (RFC 5705 4, RFC 8446 7.5)."""
        return self._connection.export_keying_material(label, size, context)

    def _context(
        self,
        key: PrivateKey,
        certs: tuple[Certificate, ...],
        authorities: tuple[Certificate, ...],
        newest: int,
    ) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(TLS_1_2)
        context.set_max_proto_version(newest)
        # Nothing is renegotiated, so a server need not know RFC 5746; strongSwan's does not.
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_LEGACY_SERVER_CONNECT)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.use_privatekey(key.key)
        context.use_certificate(certs[0].x509)
        for cert in certs[1:]:
            context.add_extra_chain_cert(cert.x509)
        for authority in authorities:
            context.add_client_ca(authority.x509)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return context

    def _verify(self, _: SSL.Connection, cert: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """Called for each certificate and each doubt of OpenSSL's; the last call is for the end entity."""
        try:
            found = Certificate(cert.to_cryptography().public_bytes(Encoding.DER))
            self._chain.setdefault(found.der, found)
            if depth == 0 and ok:
                others = tuple(other for other in self._chain.values() if other != found)
                self._check(found, others)
        except CryptoError as problem:
            self._problem = problem
            return False
        return True


def _text(error: SSL.Error) -> str:
    """OpenSSL's words for what went wrong."""
    rows = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(row[-1]) for row in rows) or "the connection was closed"
