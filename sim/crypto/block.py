"""Ciphers without integrity of their own: CBC, counter mode and NULL, as ESP and IKE use them.

AES-CBC (RFC 3602), 3DES-CBC (RFC 2451), AES-CTR (RFC 3686, and RFC 5930 for IKE), NULL (RFC 2410). Each takes
the IV that travels with the packet, and never pads.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher as PycaCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR

from sim.wire.buffer import Buf

_FIRST_BLOCK = b"\x00\x00\x00\x01"


class BlockCipher(Protocol):
    """One direction's key; `counted` is that the IV may be a counter, and must not be drawn at random."""

    counted: bool

    def encrypt(self, iv: Buf, plaintext: Buf) -> bytes: ...

    def decrypt(self, iv: Buf, ciphertext: Buf) -> bytes: ...


class Cbc:
    """CBC mode without padding; the IV must not be predictable (RFC 3602 3).

    A CBC context for each packet costs more than the encryption of 1400 octets, so one context each way runs
    on without end, and the IV is put in its place in the chain: CBC starts a packet from the IV where the
    context would go on from its last ciphertext block.
    """

    __slots__ = ("_chain", "_decryptor", "_encryptor", "_size")

    counted = False

    def __init__(self, algorithm: AES | TripleDES) -> None:
        size = self._size = algorithm.block_size // 8
        context = PycaCipher(algorithm, CBC(bytes(size)))
        self._encryptor = context.encryptor()
        self._decryptor = context.decryptor()
        # The last ciphertext block, which the encryptor will XOR into the next plaintext block.
        self._chain = 0

    def encrypt(self, iv: Buf, plaintext: Buf) -> bytes:
        if not plaintext:
            return b""
        size = self._size
        first = _number(plaintext[:size]) ^ _number(iv) ^ self._chain
        ciphertext = self._encryptor.update(b"".join((first.to_bytes(size, "big"), plaintext[size:])))
        self._chain = _number(ciphertext[-size:])
        return ciphertext

    def decrypt(self, iv: Buf, ciphertext: Buf) -> bytes:
        return self._decryptor.update(b"".join((iv, ciphertext)))[self._size :]


def aes_cbc(key: bytes) -> Cbc:
    return Cbc(AES(key))


def triple_des_cbc(key: bytes) -> Cbc:
    """Three keys of eight octets, each with its parity bits, which are not looked at (RFC 2451 2.2)."""
    return Cbc(TripleDES(key))


class AesCtr:
    """AES in counter mode: nonce ‖ IV ‖ block number, which begins with 1 (RFC 3686 4).

    The key ends with the nonce of four octets (RFC 3686 5.1). An IV must never come twice.
    """

    __slots__ = ("_nonce", "_stream")

    counted = True

    def __init__(self, key: bytes) -> None:
        self._nonce = key[-4:]
        self._stream = PycaCipher(AES(key[:-4]), CTR(bytes(16))).encryptor()

    def encrypt(self, iv: Buf, plaintext: Buf) -> bytes:
        self._stream.reset_nonce(b"".join((self._nonce, iv, _FIRST_BLOCK)))
        return self._stream.update(plaintext)

    decrypt = encrypt


class Null:
    """No encryption at all (RFC 2410): for ESP that only authenticates."""

    __slots__ = ()

    counted = True

    def __init__(self, key: bytes) -> None:
        """There is no key."""

    def encrypt(self, iv: Buf, plaintext: Buf) -> bytes:
        return bytes(plaintext)

    decrypt = encrypt


def _number(block: Buf) -> int:
    return int.from_bytes(block, "big")
