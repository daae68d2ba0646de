"""The algorithms that work, by transform id. A new algorithm is a new row.

Sizes are octets and come from RFC 2410, 2451, 3602, 3686, 4106, 4309, 4543, 7634, 8750 (ciphers), 2404, 3566,
4494, 4868 (integrity), 7296 2.13, 4434, 4615 (PRFs).
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512

from sim.crypto.ids import EncryptionId, IntegrityId, KeyExchangeId, PrfId
from sim.crypto.kem import ML_KEMS
from sim.crypto.kex import CURVE448, CURVE25519, ECP_GROUPS, MODP_GROUPS, KeyExchange
from sim.crypto.mac import (
    GMAC_IV_BYTES,
    GMAC_SALT_BYTES,
    MacStart,
    any_key,
    cmac,
    gmac,
    hmac,
    padded_key,
    whole_hmac,
    xcbc,
)
from sim.crypto.prf import Prf


@dataclass(frozen=True, slots=True)
class Encryption:
    """A cipher at one key length. An AEAD has its own ICV; any other takes that of its Integrity.

    `key_bits` is the Key Length attribute as negotiated, None for a cipher with one fixed length
    (RFC 7296 3.3.5). `iv_bytes` of an IV travel: none where the sequence number stands for it (RFC 8750).
    `block_bytes` is what the plaintext must be a multiple of.
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

    @property
    def esp_only(self) -> bool:
        """Whether no IKE SA may use it: it hides nothing, or its IV comes from ESP's sequence number.

        RFC 7296 5, RFC 4543 7, RFC 8750 8.
        """
        return self.id in ESP_ONLY


@dataclass(frozen=True, slots=True)
class Integrity:
    """A MAC cut to `icv_bytes`. `iv_bytes` is the size of the IV that it takes in front of its message."""

    id: IntegrityId
    key_bytes: int
    icv_bytes: int
    name: str
    start: MacStart
    iv_bytes: int = 0


_NOT_SECRET = "an IKE SA must encrypt (RFC 7296 5)"
_NO_SEQUENCE = "its IV is ESP's sequence number, which no IKE message has (RFC 8750 8)"
ESP_ONLY: dict[int, str] = {
    EncryptionId.ENCR_NULL: _NOT_SECRET,
    EncryptionId.ENCR_NULL_AUTH_AES_GMAC: _NOT_SECRET,
    EncryptionId.ENCR_AES_CCM_8_IIV: _NO_SEQUENCE,
    EncryptionId.ENCR_AES_GCM_16_IIV: _NO_SEQUENCE,
    EncryptionId.ENCR_CHACHA20_POLY1305_IIV: _NO_SEQUENCE,
}
"""The ciphers that no IKE SA may use, and why."""


def _aead(
    id_: EncryptionId, name: str, bits: int, salt_bytes: int, icv_bytes: int, iv_bytes: int = 8
) -> Encryption:
    return Encryption(
        id_, bits, bits // 8, salt_bytes, iv_bytes, icv_bytes, 1, aead=True, name=f"{name}_{bits}"
    )


def _chacha(id_: EncryptionId, name: str, iv_bytes: int) -> Encryption:
    return Encryption(id_, None, 32, 4, iv_bytes, 16, 1, aead=True, name=name)


def _aes_cbc(bits: int) -> Encryption:
    return Encryption(
        EncryptionId.ENCR_AES_CBC, bits, bits // 8, 0, 16, 0, 16, aead=False, name=f"AES_CBC_{bits}"
    )


def _aes_ctr(bits: int) -> Encryption:
    return Encryption(
        EncryptionId.ENCR_AES_CTR, bits, bits // 8, 4, 8, 0, 1, aead=False, name=f"AES_CTR_{bits}"
    )


_AES_BITS = (128, 192, 256)
_AES_AEADS = (
    (EncryptionId.ENCR_AES_GCM_16, "AES_GCM_16", 4, 16),
    (EncryptionId.ENCR_AES_GCM_12, "AES_GCM_12", 4, 12),
    (EncryptionId.ENCR_AES_GCM_8, "AES_GCM_8", 4, 8),
    (EncryptionId.ENCR_AES_CCM_16, "AES_CCM_16", 3, 16),
    (EncryptionId.ENCR_AES_CCM_12, "AES_CCM_12", 3, 12),
    (EncryptionId.ENCR_AES_CCM_8, "AES_CCM_8", 3, 8),
    (EncryptionId.ENCR_NULL_AUTH_AES_GMAC, "NULL_AUTH_AES_GMAC", 4, 16),
    (EncryptionId.ENCR_AES_GCM_16_IIV, "AES_GCM_16_IIV", 4, 16, 0),
    (EncryptionId.ENCR_AES_CCM_8_IIV, "AES_CCM_8_IIV", 3, 8, 0),
)

ENCRYPTION: dict[tuple[EncryptionId, int | None], Encryption] = {
    (row.id, row.key_bits): row
    for row in (
        *(_aead(id_, name, bits, *sizes) for id_, name, *sizes in _AES_AEADS for bits in _AES_BITS),
        _chacha(EncryptionId.ENCR_CHACHA20_POLY1305, "CHACHA20_POLY1305", 8),
        _chacha(EncryptionId.ENCR_CHACHA20_POLY1305_IIV, "CHACHA20_POLY1305_IIV", 0),
        *map(_aes_cbc, _AES_BITS),
        *map(_aes_ctr, _AES_BITS),
        Encryption(EncryptionId.ENCR_3DES, None, 24, 0, 8, 0, 8, aead=False, name="3DES_CBC"),
        Encryption(EncryptionId.ENCR_NULL, None, 0, 0, 0, 0, 1, aead=False, name="NULL"),
    )
}
"""Some are `esp_only`: who negotiates an IKE SA must refuse them."""

INTEGRITY: dict[IntegrityId, Integrity] = {
    row.id: row
    for row in (
        Integrity(IntegrityId.AUTH_HMAC_SHA1_96, 20, 12, "HMAC_SHA1_96", hmac(SHA1)),
        Integrity(IntegrityId.AUTH_AES_XCBC_96, 16, 12, "AES_XCBC_96", xcbc),
        Integrity(IntegrityId.AUTH_AES_CMAC_96, 16, 12, "AES_CMAC_96", cmac),
        Integrity(IntegrityId.AUTH_HMAC_SHA2_256_128, 32, 16, "HMAC_SHA2_256_128", hmac(SHA256)),
        Integrity(IntegrityId.AUTH_HMAC_SHA2_384_192, 48, 24, "HMAC_SHA2_384_192", hmac(SHA384)),
        Integrity(IntegrityId.AUTH_HMAC_SHA2_512_256, 64, 32, "HMAC_SHA2_512_256", hmac(SHA512)),
    )
}

_GMACS = {
    IntegrityId.AUTH_AES_128_GMAC: 128,
    IntegrityId.AUTH_AES_192_GMAC: 192,
    IntegrityId.AUTH_AES_256_GMAC: 256,
}
AH_INTEGRITY: dict[IntegrityId, Integrity] = INTEGRITY | {
    id_: Integrity(id_, bits // 8 + GMAC_SALT_BYTES, 16, f"AES_{bits}_GMAC", gmac, GMAC_IV_BYTES)
    for id_, bits in _GMACS.items()
}
"""AH takes AES-GMAC as well, which ESP has as a cipher instead (RFC 4543 3, 4)."""

PRF: dict[PrfId, Prf] = {
    row.id: row
    for row in (
        Prf(PrfId.PRF_HMAC_SHA1, 20, 20, "PRF_HMAC_SHA1", whole_hmac("sha1")),
        Prf(PrfId.PRF_AES128_XCBC, 16, 16, "PRF_AES128_XCBC", padded_key(xcbc), nonce_bytes=8),
        Prf(PrfId.PRF_HMAC_SHA2_256, 32, 32, "PRF_HMAC_SHA2_256", whole_hmac("sha256")),
        Prf(PrfId.PRF_HMAC_SHA2_384, 48, 48, "PRF_HMAC_SHA2_384", whole_hmac("sha384")),
        Prf(PrfId.PRF_HMAC_SHA2_512, 64, 64, "PRF_HMAC_SHA2_512", whole_hmac("sha512")),
        Prf(PrfId.PRF_AES128_CMAC, 16, 16, "PRF_AES128_CMAC", any_key(cmac), nonce_bytes=8),
    )
}

_METHODS: tuple[KeyExchange, ...] = (*MODP_GROUPS, *ECP_GROUPS, CURVE25519, CURVE448, *ML_KEMS)
KEY_EXCHANGE: dict[KeyExchangeId, KeyExchange] = {row.id: row for row in _METHODS}
