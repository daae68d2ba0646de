"""The algorithms that work, by transform id. A new algorithm is a new row.

Sizes are octets and come from RFC 3602, 4106, 7634 (ciphers), 2404, 4868 (integrity), 7296 2.13 (PRFs).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm, HashContext
from cryptography.hazmat.primitives.hmac import HMAC

from sim.crypto.ids import EncryptionId, IntegrityId, KeyExchangeId, PrfId
from sim.crypto.kex import Curve25519, Ecp, KeyExchange, Modp
from sim.crypto.modp import PRIME_2048
from sim.crypto.prf import Mac, Prf

MacStart = Callable[[bytes], HashContext]
"""A keyed MAC that has seen no data yet; copying it saves the key schedule."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """A cipher at one key length. An AEAD has its own ICV; any other takes that of its Integrity.

    `key_bits` is the Key Length attribute as negotiated, None for a cipher with one fixed length
    (RFC 7296 3.3.5). `block_bytes` is what the plaintext must be a multiple of.
    """

    id: EncryptionId
    key_bits: int | None
    key_bytes: int
    salt_bytes: int
    iv_bytes: int
    icv_bytes: int
    block_bytes: int
    aead: bool
    name: str

    @property
    def keymat_bytes(self) -> int:
        """What the cipher takes from the keying material: the key, then the salt (RFC 4106 8.1)."""
        return self.key_bytes + self.salt_bytes


@dataclass(frozen=True, slots=True)
class Integrity:
    """A MAC cut to `icv_bytes`."""

    id: IntegrityId
    key_bytes: int
    icv_bytes: int
    name: str
    start: MacStart


def _hmac(algorithm: type[HashAlgorithm]) -> MacStart:
    return partial(HMAC, algorithm=algorithm())


def _whole_hmac(digest: str) -> Mac:
    # Of octets at hand; quicker than to key an HMAC, to feed it and to finish it.
    return partial(hmac.digest, digest=digest)


def _aes_gcm(bits: int) -> Encryption:
    return Encryption(
        EncryptionId.ENCR_AES_GCM_16, bits, bits // 8, 4, 8, 16, 1, aead=True, name=f"AES_GCM_16_{bits}"
    )


def _aes_cbc(bits: int) -> Encryption:
    return Encryption(
        EncryptionId.ENCR_AES_CBC, bits, bits // 8, 0, 16, 0, 16, aead=False, name=f"AES_CBC_{bits}"
    )


ENCRYPTION: dict[tuple[EncryptionId, int | None], Encryption] = {
    (row.id, row.key_bits): row
    for row in (
        _aes_gcm(128),
        _aes_gcm(256),
        Encryption(
            EncryptionId.ENCR_CHACHA20_POLY1305, None, 32, 4, 8, 16, 1, aead=True, name="CHACHA20_POLY1305"
        ),
        _aes_cbc(128),
        _aes_cbc(256),
    )
}

INTEGRITY: dict[IntegrityId, Integrity] = {
    row.id: row
    for row in (
        Integrity(IntegrityId.AUTH_HMAC_SHA1_96, 20, 12, "HMAC_SHA1_96", _hmac(SHA1)),
        Integrity(IntegrityId.AUTH_HMAC_SHA2_256_128, 32, 16, "HMAC_SHA2_256_128", _hmac(SHA256)),
    )
}

PRF: dict[PrfId, Prf] = {
    row.id: row
    for row in (
        Prf(PrfId.PRF_HMAC_SHA1, 20, 20, "PRF_HMAC_SHA1", _whole_hmac("sha1")),
        Prf(PrfId.PRF_HMAC_SHA2_256, 32, 32, "PRF_HMAC_SHA2_256", _whole_hmac("sha256")),
        Prf(PrfId.PRF_HMAC_SHA2_384, 48, 48, "PRF_HMAC_SHA2_384", _whole_hmac("sha384")),
        Prf(PrfId.PRF_HMAC_SHA2_512, 64, 64, "PRF_HMAC_SHA2_512", _whole_hmac("sha512")),
    )
}

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

KEY_EXCHANGE: dict[KeyExchangeId, KeyExchange] = {
    # 256 bits of exponent lie within the 220 to 320 that RFC 3526 8 estimates for this prime.
    KeyExchangeId.MODP_2048: Modp(KeyExchangeId.MODP_2048, "MODP_2048", PRIME_2048, 32),
    KeyExchangeId.ECP_256: Ecp(KeyExchangeId.ECP_256, "ECP_256", ec.SECP256R1(), _P256_ORDER),
    KeyExchangeId.CURVE25519: Curve25519(),
}
