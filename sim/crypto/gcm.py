"""AES-GCM with a short ICV of 8 or 12 octets (RFC 4106 6), which pyca's AESGCM does not offer.

Sealing is that of the full ICV, cut off. Opening lets OpenSSL compare the octets that there are, in constant
time, after it has decrypted: nothing is handed out when they do not fit.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as PycaCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from sim.wire.buffer import Buf

_FULL_BYTES = 16


class ShortGcm:
    """The methods of pyca's AEADs, with an ICV of `icv_bytes`."""

    __slots__ = ("_aes", "_full", "_icv_bytes")

    def __init__(self, key: bytes, icv_bytes: int) -> None:
        self._full = AESGCM(key)
        self._aes = AES(key)
        self._icv_bytes = icv_bytes

    def encrypt(self, nonce: Buf, data: Buf, associated_data: Buf | None) -> bytes:
        return self._full.encrypt(nonce, data, associated_data)[: self._icv_bytes - _FULL_BYTES]

    def encrypt_into(self, nonce: Buf, data: Buf, associated_data: Buf | None, buf: Buf) -> int:
        buf_view = memoryview(buf)
        buf_view[:] = self.encrypt(nonce, data, associated_data)
        return len(buf_view)

    def decrypt(self, nonce: Buf, data: Buf, associated_data: Buf | None) -> bytes:
        """The plaintext; InvalidTag when the ICV does not fit."""
        size = len(data) - self._icv_bytes
        if size < 0:
            raise InvalidTag
        view = memoryview(data)
        mode = GCM(bytes(nonce), None, self._icv_bytes)
        opener = PycaCipher(self._aes, mode).decryptor()
        opener.authenticate_additional_data(associated_data or b"")
        plaintext = opener.update(view[:size])
        opener.finalize_with_tag(bytes(view[size:]))
        return plaintext

    def decrypt_into(self, nonce: Buf, data: Buf, associated_data: Buf | None, buf: Buf) -> int:
        plaintext = self.decrypt(nonce, data, associated_data)
        memoryview(buf)[:] = plaintext
        return len(plaintext)
