"""Ciphers as ESP and the SK payload use them: one AEAD, or one cipher and one MAC over its output.

RFC 4303 2 to 3.3 and RFC 7296 3.14 for the layout, RFC 4106, 4309, 4543, 7634 and 5282 for AEADs: the nonce
is salt ‖ IV, and by RFC 8750 that IV need not travel. The other ciphers are in `sim.crypto.block`. Padding
and trailers belong to the callers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hmac import compare_digest
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from sim.crypto.block import AesCtr, BlockCipher, Null, aes_cbc, triple_des_cbc
from sim.crypto.errors import IntegrityError
from sim.crypto.gcm import ShortGcm
from sim.crypto.gmac import Gmac
from sim.crypto.ids import EncryptionId
from sim.crypto.suites import Encryption, Integrity
from sim.wire.buffer import Buf

Rand = Callable[[int], bytes]


class Cipher(Protocol):
    """One direction's keys, ready for use: `iv ‖ ciphertext ‖ ICV` is what goes on the wire."""

    iv_bytes: int
    """How much of an IV travels."""
    icv_bytes: int
    block_bytes: int

    def next_iv(self, counter: int) -> bytes:
        """The IV for the next plaintext. `counter` must not repeat under one key."""

    def seal_into(self, aad: Buf, iv: Buf, plaintext: Buf, out: memoryview, tail: Buf = b"") -> None:
        """Write ciphertext ‖ ICV into `out`, whose size is exactly len(plaintext) + icv_bytes.

        `plaintext` may be the start of `out` itself. `tail` is authenticated after the ciphertext without
        being sent: the high half of an ESN (RFC 4303 2.2.1). An AEAD ignores it; there that half belongs
        into `aad` (RFC 4106 5).
        """

    def open(self, aad: Buf, iv: Buf, sealed: Buf, tail: Buf = b"") -> bytes:
        """The plaintext of ciphertext ‖ ICV; IntegrityError, and nothing decrypted, when the ICV is wrong."""

    def open_into(self, aad: Buf, iv: Buf, sealed: Buf, out: bytearray, tail: Buf = b"") -> None:
        """As `open`, into `out`, whose size is exactly len(sealed) - icv_bytes; worthless when it raises."""


def cipher(
    encryption: Encryption,
    integrity: Integrity | None,
    encryption_key: bytes,
    integrity_key: bytes,
    rand: Rand,
    *,
    keep: bool = True,
) -> Cipher:
    """The cipher for one direction of an SA; `encryption_key` ends with the salt where the cipher has one.

    Without `keep` OpenSSL's context of an AEAD, 2.5 kB, is made anew for each message: for SAs that are many
    and seldom used.
    """
    check_keys(encryption, integrity, encryption_key, integrity_key)
    if integrity is None:
        kind = AeadCipher if encryption.iv_bytes else ImplicitIvCipher
        return kind(encryption, encryption_key, keep=keep)
    return MacCipher(encryption, integrity, encryption_key, integrity_key, rand)


def check_keys(
    encryption: Encryption, integrity: Integrity | None, encryption_key: bytes, integrity_key: bytes
) -> None:
    """ValueError for keys and algorithms of which no cipher can be made."""
    _check_key(encryption.name, encryption_key, encryption.keymat_bytes)
    if encryption.aead:
        if integrity is not None or integrity_key:
            raise ValueError(f"{encryption.name} brings its own integrity and takes no second one")
    elif integrity is None:
        raise ValueError(f"{encryption.name} needs an integrity algorithm beside it")
    elif integrity.iv_bytes:
        raise ValueError(f"{integrity.name} is for AH; ESP has it as a cipher (RFC 4543 3)")
    else:
        _check_key(integrity.name, integrity_key, integrity.key_bytes)


Aead = AESGCM | AESCCM | ChaCha20Poly1305 | ShortGcm | Gmac
_AEADS: dict[EncryptionId, Callable[[bytes], Aead]] = {
    EncryptionId.ENCR_AES_CCM_8: partial(AESCCM, tag_length=8),
    EncryptionId.ENCR_AES_CCM_12: partial(AESCCM, tag_length=12),
    EncryptionId.ENCR_AES_CCM_16: partial(AESCCM, tag_length=16),
    EncryptionId.ENCR_AES_GCM_8: partial(ShortGcm, icv_bytes=8),
    EncryptionId.ENCR_AES_GCM_12: partial(ShortGcm, icv_bytes=12),
    EncryptionId.ENCR_AES_GCM_16: AESGCM,
    EncryptionId.ENCR_NULL_AUTH_AES_GMAC: Gmac,
    EncryptionId.ENCR_CHACHA20_POLY1305: ChaCha20Poly1305,
    EncryptionId.ENCR_AES_CCM_8_IIV: partial(AESCCM, tag_length=8),
    EncryptionId.ENCR_AES_GCM_16_IIV: AESGCM,
    EncryptionId.ENCR_CHACHA20_POLY1305_IIV: ChaCha20Poly1305,
}


class AeadCipher:
    """An AEAD with an explicit 64-bit IV, which is a counter (RFC 4106 3.1, RFC 4309 3.1, RFC 7634 2)."""

    __slots__ = (
        "_kept",
        "_key",
        "_make",
        "block_bytes",
        "icv_bytes",
        "iv_bytes",
        "name",
        "salt",
    )

    def __init__(self, encryption: Encryption, key: bytes, *, keep: bool = True) -> None:
        self._make = _AEADS[encryption.id]
        self._key = key[: encryption.key_bytes]
        self._kept = self._make(self._key) if keep else None
        self.salt = key[encryption.key_bytes :]
        self.name = encryption.name
        self.iv_bytes = encryption.iv_bytes
        self.icv_bytes = encryption.icv_bytes
        self.block_bytes = encryption.block_bytes

    @property
    def aead(self) -> Aead:
        """The bare AEAD, whose nonce is salt ‖ IV."""
        return self._kept or self._make(self._key)

    def next_iv(self, counter: int) -> bytes:
        return counter.to_bytes(8, "big")

    def seal_into(self, aad: Buf, iv: Buf, plaintext: Buf, out: memoryview, tail: Buf = b"") -> None:
        if len(iv) != 8:
            raise _bad_iv(self, iv)
        self.aead.encrypt_into(self.salt + iv, plaintext, aad, out)

    def open(self, aad: Buf, iv: Buf, sealed: Buf, tail: Buf = b"") -> bytes:
        if len(iv) != 8:
            raise _bad_iv(self, iv)
        try:
            return self.aead.decrypt(self.salt + iv, sealed, aad)
        except InvalidTag:
            raise IntegrityError(f"the ICV of {self.name} does not fit") from None

    def open_into(self, aad: Buf, iv: Buf, sealed: Buf, out: bytearray, tail: Buf = b"") -> None:
        if len(iv) != 8:
            raise _bad_iv(self, iv)
        try:
            self.aead.decrypt_into(self.salt + iv, sealed, aad, out)
        except InvalidTag:
            raise IntegrityError(f"the ICV of {self.name} does not fit") from None


class ImplicitIvCipher:
    """An AEAD whose IV is the packet's sequence number and does not travel (RFC 8750 4).

    It reads that number where ESP authenticates it: `aad` is SPI ‖ sequence number, the number of 32 or, with
    ESN, of 64 bits, which zeros in front fill up. So no other `aad` is one (ValueError), and no number may be
    used twice under one key: for ESP alone.
    """

    __slots__ = ("_explicit", "block_bytes", "icv_bytes", "iv_bytes", "name")

    def __init__(self, encryption: Encryption, key: bytes, *, keep: bool = True) -> None:
        self._explicit = AeadCipher(encryption, key, keep=keep)
        self.name = encryption.name
        self.iv_bytes = encryption.iv_bytes
        self.icv_bytes = encryption.icv_bytes
        self.block_bytes = encryption.block_bytes

    def next_iv(self, counter: int) -> bytes:
        return b""

    def seal_into(self, aad: Buf, iv: Buf, plaintext: Buf, out: memoryview, tail: Buf = b"") -> None:
        self._explicit.seal_into(aad, self._iv_of(aad, iv), plaintext, out)

    def open(self, aad: Buf, iv: Buf, sealed: Buf, tail: Buf = b"") -> bytes:
        return self._explicit.open(aad, self._iv_of(aad, iv), sealed)

    def open_into(self, aad: Buf, iv: Buf, sealed: Buf, out: bytearray, tail: Buf = b"") -> None:
        self._explicit.open_into(aad, self._iv_of(aad, iv), sealed, out)

    def _iv_of(self, aad: Buf, iv: Buf) -> bytes:
        if len(iv):
            raise _bad_iv(self, iv)
        if len(aad) not in _SPI_AND_NUMBER:
            raise ValueError(f"{self.name} finds its IV in SPI and sequence number, not in {len(aad)} octets")
        return bytes(aad[_SPI_BYTES:]).rjust(8, b"\x00")


_SPI_BYTES = 4
_SPI_AND_NUMBER = (8, 12)

_CIPHERS: dict[EncryptionId, Callable[[bytes], BlockCipher]] = {
    EncryptionId.ENCR_3DES: triple_des_cbc,
    EncryptionId.ENCR_NULL: Null,
    EncryptionId.ENCR_AES_CBC: aes_cbc,
    EncryptionId.ENCR_AES_CTR: AesCtr,
}


class MacCipher:
    """A cipher, then a MAC over aad ‖ IV ‖ ciphertext ‖ tail, which is checked first (RFC 4303 3.4.4.1)."""

    __slots__ = ("_cipher", "_counted", "_keyed", "_rand", "block_bytes", "icv_bytes", "iv_bytes", "name")

    def __init__(
        self, encryption: Encryption, integrity: Integrity, key: bytes, integrity_key: bytes, rand: Rand
    ) -> None:
        self._cipher = _CIPHERS[encryption.id](key)
        self._counted = self._cipher.counted
        self._keyed = integrity.start(integrity_key)
        self._rand = rand
        self.name = f"{encryption.name}/{integrity.name}"
        self.iv_bytes = encryption.iv_bytes
        self.icv_bytes = integrity.icv_bytes
        self.block_bytes = encryption.block_bytes

    def next_iv(self, counter: int) -> bytes:
        """The counter, or an unpredictable IV where the mode needs that (RFC 3602 3, RFC 3686 3.1)."""
        size = self.iv_bytes
        return counter.to_bytes(8, "big")[8 - size :] if self._counted else self._rand(size)

    def seal_into(self, aad: Buf, iv: Buf, plaintext: Buf, out: memoryview, tail: Buf = b"") -> None:
        if len(iv) != self.iv_bytes:
            raise _bad_iv(self, iv)
        size = len(plaintext)
        if size % self.block_bytes:
            raise ValueError(f"{self.name} encrypts whole blocks of {self.block_bytes}, not {size} octets")
        ciphertext = self._cipher.encrypt(iv, plaintext)
        out[:size] = ciphertext
        out[size:] = self._icv(aad, iv, ciphertext, tail)

    def open(self, aad: Buf, iv: Buf, sealed: Buf, tail: Buf = b"") -> bytes:
        if len(iv) != self.iv_bytes:
            raise _bad_iv(self, iv)
        view = memoryview(sealed)
        size = len(view) - self.icv_bytes
        if size < 0 or size % self.block_bytes:
            raise IntegrityError(f"{len(view)} octets are no whole blocks and ICV of {self.name}")
        if not compare_digest(self._icv(aad, iv, view[:size], tail), view[size:]):
            raise IntegrityError(f"the ICV of {self.name} does not fit")
        return self._cipher.decrypt(iv, view[:size])

    def open_into(self, aad: Buf, iv: Buf, sealed: Buf, out: bytearray, tail: Buf = b"") -> None:
        out[:] = self.open(aad, iv, sealed, tail)

    def _icv(self, aad: Buf, iv: Buf, ciphertext: Buf, tail: Buf) -> bytes:
        mac = self._keyed.copy()
        mac.update(b"".join((aad, iv, ciphertext, tail)))
        return mac.finalize()[: self.icv_bytes]


def _check_key(name: str, key: bytes, size: int) -> None:
    if len(key) != size:
        raise ValueError(f"{name} takes {size} octets of key, not {len(key)}")


def _bad_iv(sealer: AeadCipher | ImplicitIvCipher | MacCipher, iv: Buf) -> ValueError:
    return ValueError(f"{sealer.name} takes {sealer.iv_bytes} octets of IV, not {len(iv)}")
