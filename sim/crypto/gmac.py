"""AES-GMAC as a cipher that encrypts nothing: ENCR_NULL_AUTH_AES_GMAC (RFC 4543 3).

The payload stays readable; the tag covers the additional data, the IV and the payload, in this order.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sim.wire.buffer import Buf

_ICV_BYTES = 16
_SALT_BYTES = 4


class Gmac:
    """The methods of pyca's AEADs; the nonce is salt ‖ IV."""

    __slots__ = ("_gcm",)

    def __init__(self, key: bytes) -> None:
        self._gcm = AESGCM(key)

    def encrypt(self, nonce: Buf, data: Buf, associated_data: Buf) -> bytes:
        covered = b"".join((associated_data, nonce[_SALT_BYTES:], data))
        return b"".join((data, self._gcm.encrypt(nonce, b"", covered)))

    def encrypt_into(self, nonce: Buf, data: Buf, associated_data: Buf, buf: Buf) -> int:
        view = memoryview(buf)
        view[:] = self.encrypt(nonce, data, associated_data)
        return len(view)

    def decrypt(self, nonce: Buf, data: Buf, associated_data: Buf) -> bytes:
        """The payload; InvalidTag when the ICV does not fit."""
        size = len(data) - _ICV_BYTES
        if size < 0:
            raise InvalidTag
        payload = bytes(data[:size])
        covered = b"".join((associated_data, nonce[_SALT_BYTES:], payload))
        self._gcm.decrypt(nonce, data[size:], covered)
        return payload

    def decrypt_into(self, nonce: Buf, data: Buf, associated_data: Buf, buf: Buf) -> int:
        payload = self.decrypt(nonce, data, associated_data)
        memoryview(buf)[:] = payload
        return len(payload)
