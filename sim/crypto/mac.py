"""MACs keyed once and copied for each message: HMAC, AES-XCBC (RFC 3566), AES-CMAC (RFC 4493), AES-GMAC."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hmac import digest as hmac_of
from typing import Protocol, Self

from cryptography.hazmat.primitives.ciphers import Cipher as PycaCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.hmac import HMAC

from sim.crypto.block import Cbc
from sim.wire.buffer import Buf

_BLOCK = 16


class Mac(Protocol):
    """A MAC that has seen a part of its message."""

    def update(self, data: Buf) -> None: ...

    def finalize(self) -> bytes: ...

    def copy(self) -> Self: ...


MacStart = Callable[[bytes], Mac]
"""A keyed MAC that has seen no data yet; copying it saves the key schedule."""

WholeMac = Callable[[bytes, Buf], bytes]
"""The whole MAC of some data, called with the key and the data."""


def hmac(algorithm: type[HashAlgorithm]) -> MacStart:
    return partial(HMAC, algorithm=algorithm())


def whole_hmac(digest: str) -> WholeMac:
    """Of octets at hand; quicker than to key an HMAC, to feed it and to finish it."""
    return partial(hmac_of, digest=digest)


def cmac(key: bytes) -> Mac:
    """AES-CMAC with a key of 16 octets (RFC 4493)."""
    return CMAC(AES(key))  # type: ignore[return-value]  # typed for `bytes`, takes every buffer


def xcbc(key: bytes) -> Xcbc:
    """AES-XCBC-MAC with a key of 16 octets (RFC 3566 4)."""
    schedule = PycaCipher(AES(key), ECB()).encryptor()
    chaining, whole, padded = (schedule.update(bytes((n,)) * _BLOCK) for n in (1, 2, 3))
    return Xcbc(Cbc(AES(chaining)), int.from_bytes(whole, "big"), int.from_bytes(padded, "big"))


class Xcbc:
    """CBC-MAC whose last block is also XORed with one of two keys: for a whole block, or a padded one."""

    __slots__ = ("_chaining", "_data", "_padded", "_whole")

    def __init__(self, chaining: Cbc, whole: int, padded: int, data: bytes = b"") -> None:
        self._chaining = chaining
        self._whole = whole
        self._padded = padded
        self._data = data

    def update(self, data: Buf) -> None:
        self._data = b"".join((self._data, data))

    def finalize(self) -> bytes:
        data = self._data
        start = max(0, len(data) - 1) // _BLOCK * _BLOCK
        last = data[start:]
        mask = self._whole
        if len(last) < _BLOCK:
            last, mask = (last + b"\x80").ljust(_BLOCK, b"\x00"), self._padded
        block = (int.from_bytes(last, "big") ^ mask).to_bytes(_BLOCK, "big")
        return self._chaining.encrypt(bytes(_BLOCK), data[:start] + block)[-_BLOCK:]

    def copy(self) -> Xcbc:
        return Xcbc(self._chaining, self._whole, self._padded, self._data)


GMAC_IV_BYTES = 8
GMAC_SALT_BYTES = 4


def gmac(key: bytes) -> KeyedGmac:
    """AES-GMAC with a key that ends with its salt (RFC 4543 2, 5.2)."""
    return KeyedGmac(AESGCM(key[:-GMAC_SALT_BYTES]), key[-GMAC_SALT_BYTES:])


class KeyedGmac:
    """The tag of AES-GCM over data alone; the first octets of its message are the IV."""

    __slots__ = ("_data", "_gcm", "_salt")

    def __init__(self, gcm: AESGCM, salt: bytes, data: bytes = b"") -> None:
        self._gcm = gcm
        self._salt = salt
        self._data = data

    def update(self, data: Buf) -> None:
        self._data = b"".join((self._data, data))

    def finalize(self) -> bytes:
        nonce = self._salt + self._data[:GMAC_IV_BYTES]
        return self._gcm.encrypt(nonce, b"", self._data[GMAC_IV_BYTES:])

    def copy(self) -> KeyedGmac:
        return KeyedGmac(self._gcm, self._salt, self._data)


def any_key(start: MacStart) -> WholeMac:
    """A MAC whose key has 16 octets as a PRF with keys of every size, by its own MAC (RFC 4615 3)."""

    def prf(key: bytes, data: Buf) -> bytes:
        return _mac(start, key if len(key) == _BLOCK else _mac(start, bytes(_BLOCK), key), data)

    return prf


def padded_key(start: MacStart) -> WholeMac:
    """As `any_key`, but a short key is filled up with zeros (RFC 4434 2)."""

    def prf(key: bytes, data: Buf) -> bytes:
        fitting = _mac(start, bytes(_BLOCK), key) if len(key) > _BLOCK else key.ljust(_BLOCK, b"\x00")
        return _mac(start, fitting, data)

    return prf


def _mac(start: MacStart, key: bytes, data: Buf) -> bytes:
    keyed = start(key)
    keyed.update(data)
    return keyed.finalize()
