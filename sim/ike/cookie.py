"""Stateless cookies against floods of forged IKE_SA_INIT requests (RFC 7296 2.6).

    Cookie = version | HMAC-SHA-256(secret, Ni | IPi | port | SPIi | time), the time in the clear before it

The port is bound as well, since the answer goes there. The version octet names the secret, so that a cookie
made just before a change of secret is still recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest, digest
from struct import Struct

from sim.units import NS_PER_MS
from sim.wire.address import Sock

_STAMP = Struct(">BI")  # version, milliseconds modulo 2^32
_SECRET_BYTES = 32
_MILLISECONDS = 1 << 32


class CookieJar:
    """Makes and verifies cookies; the secret is drawn when the first is made and changes with age."""

    def __init__(self, rand: Callable[[int], bytes], lifetime: int, secret_lifetime: int) -> None:
        self._rand = rand
        self._lifetime_ms = lifetime // NS_PER_MS
        self._secret_lifetime = secret_lifetime
        self._secrets: dict[int, bytes] = {}
        self._version = 0
        self._drawn_at = 0

    def make(self, nonce: bytes, spi_i: bytes, src: Sock, now: int) -> bytes:
        self._refresh(now)
        stamp = _STAMP.pack(self._version, now // NS_PER_MS % _MILLISECONDS)
        return stamp + _mac(self._secrets[self._version], stamp, nonce, spi_i, src)

    def verify(self, cookie: bytes, nonce: bytes, spi_i: bytes, src: Sock, now: int) -> bool:
        """Whether we made this cookie for this nonce, address and SPI not long ago."""
        if len(cookie) != _STAMP.size + sha256().digest_size:
            return False
        version, made_at = _STAMP.unpack_from(cookie)
        secret = self._secrets.get(version)
        if secret is None or (now // NS_PER_MS - made_at) % _MILLISECONDS > self._lifetime_ms:
            return False
        stamp = cookie[: _STAMP.size]
        return compare_digest(cookie[_STAMP.size :], _mac(secret, stamp, nonce, spi_i, src))

    def _refresh(self, now: int) -> None:
        if self._secrets and now - self._drawn_at < self._secret_lifetime:
            return
        previous = {self._version: self._secrets[self._version]} if self._secrets else {}
        self._version = (self._version + 1) % 256
        self._secrets = {**previous, self._version: self._rand(_SECRET_BYTES)}
        self._drawn_at = now


def _mac(secret: bytes, stamp: bytes, nonce: bytes, spi_i: bytes, src: Sock) -> bytes:
    address, port = src
    return digest(secret, b"".join((stamp, spi_i, port.to_bytes(2, "big"), address, nonce)), "sha256")
