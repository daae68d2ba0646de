"""EAP-MD5-Challenge (RFC 3748 5.4, RFC 1994 4): no key, and the server proves nothing.

+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
|  Value-Size   |  Value ...   |  Name ...
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from hmac import compare_digest

from sim.ike.eap.method import EapError, printable, unknown_user
from sim.ike.events import Reason
from sim.wire.buffer import Reader, WireError

_CHALLENGE_BYTES = 16


def response_value(identifier: int, secret: bytes, challenge: bytes) -> bytes:
    """MD5(Identifier | secret | challenge) (RFC 1994 4.1)."""
    return md5(bytes((identifier,)) + secret + challenge, usedforsecurity=False).digest()


class Md5Peer:
    def __init__(self, name: bytes, secret: bytes) -> None:
        self._name, self._secret = name, secret
        self.msk = b""
        self.satisfied = False
        self.refusal: EapError | None = None

    def answer(self, identifier: int, data: bytes, now: int) -> bytes:
        self.satisfied = True
        return _emit(response_value(identifier, self._secret, _parse(data)[0]), self._name)


class Md5Server:
    """`secret` None: nobody of that name is known. A response that names somebody else is refused."""

    def __init__(self, user: bytes, secret: bytes | None, rand: Callable[[int], bytes]) -> None:
        self._user, self._secret = user, secret
        self._challenge = rand(_CHALLENGE_BYTES)
        self.msk = b""
        self.failure: EapError | None = None

    def begin(self, identifier: int) -> bytes:
        return _emit(self._challenge, b"")

    def judge(self, identifier: int, data: bytes, now: int) -> bytes | None:
        given, name = _parse(data)
        if self._secret is None or name not in (self._user, b""):
            raise unknown_user(self._user, name)
        if not compare_digest(given, response_value(identifier, self._secret, self._challenge)):
            raise EapError(Reason.WRONG_PASSWORD, f"{printable(self._user)} gave a wrong password")
        return None


def _emit(value: bytes, name: bytes) -> bytes:
    return bytes((len(value),)) + value + name


def _parse(data: bytes) -> tuple[bytes, bytes]:
    """The value and the name; strongSwan leaves the name out."""
    reader = Reader(data)
    size = reader.take(1)[0]
    if not size:
        raise WireError("a challenge or response of no octets (RFC 3748 5.4)")
    return reader.take(size), reader.rest()
