"""Known answers from tests/data, and the few steps that every test of a cipher takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.crypto.cipher import Cipher, Rand, cipher
from sim.crypto.errors import IntegrityError
from sim.crypto.ids import EncryptionId, IntegrityId
from sim.crypto.suites import ENCRYPTION, INTEGRITY, Encryption, Integrity
from sim.wire.buffer import Buf

DATA = Path(__file__).parent.parent / "data"
GCM = EncryptionId.ENCR_AES_GCM_16
CBC = EncryptionId.ENCR_AES_CBC
CHACHA = ENCRYPTION[EncryptionId.ENCR_CHACHA20_POLY1305, None]
SHA256 = INTEGRITY[IntegrityId.AUTH_HMAC_SHA2_256_128]
SHA384 = INTEGRITY[IntegrityId.AUTH_HMAC_SHA2_384_192]
SHA512 = INTEGRITY[IntegrityId.AUTH_HMAC_SHA2_512_256]
SHA1 = INTEGRITY[IntegrityId.AUTH_HMAC_SHA1_96]

SUITES: list[tuple[Encryption, Integrity | None]] = [
    (encryption, integrity)
    for encryption in ENCRYPTION.values()
    for integrity in ([None] if encryption.aead else list(INTEGRITY.values()))
]


def load(path: str) -> Any:
    return json.loads((DATA / path).read_text())


def cases(path: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(group, test) of a file in Wycheproof's format."""
    for group in load(path)["testGroups"]:
        for test in group["tests"]:
            yield group, test


def octets(vector: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(vector[name]) for name in names]


def gcm(key: bytes, salt: bytes) -> Cipher:
    return cipher(ENCRYPTION[GCM, len(key) * 8], None, key + salt, b"", no_rand)


def chacha(key: bytes, salt: bytes) -> Cipher:
    return cipher(CHACHA, None, key + salt, b"", no_rand)


def cbc(key: bytes, integrity_key: bytes, integrity: Integrity = SHA256, rand: Rand | None = None) -> Cipher:
    return cipher(ENCRYPTION[CBC, len(key) * 8], integrity, key, integrity_key, rand or no_rand)


def any_cipher(encryption: Encryption, integrity: Integrity | None) -> Cipher:
    """A cipher of that suite with fixed keys."""
    integrity_key = bytes(range(integrity.key_bytes)) if integrity else b""
    return cipher(encryption, integrity, bytes(range(encryption.keymat_bytes)), integrity_key, no_rand)


def seal(sealer: Cipher, aad: Buf, iv: Buf, plaintext: Buf, tail: Buf = b"") -> bytes:
    out = bytearray(b"\xa5" * (len(plaintext) + sealer.icv_bytes))
    sealer.seal_into(aad, iv, plaintext, memoryview(out), tail)
    return bytes(out)


def accepts(one: Cipher, aad: bytes, iv: bytes, sealed: bytes, tail: bytes = b"") -> bool:
    try:
        one.open(aad, iv, sealed, tail)
    except IntegrityError:
        return False
    return True


def drawn(*values: bytes) -> Rand:
    """A source that returns these values in turn, each asked for at its own size."""
    rest = list(values)

    def rand(size: int) -> bytes:
        assert len(rest[0]) == size
        return rest.pop(0)

    return rand


def no_rand(size: int) -> bytes:
    raise AssertionError("nothing random is expected here")
