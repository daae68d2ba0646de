"""The words of strongSwan's proposal strings, and the transforms that they stand for.

`aes128gcm16iiv`, `aes128ccm8iiv` and `chacha20poly1305iiv` are our own: no other stack has a word for an AEAD
whose IV does not travel (RFC 8750). Who offers one should offer its relative with an IV as well (RFC 8750 5).

The table names more than `sim.crypto.suites` can do: a known algorithm that has no row there is refused as
"not supported yet", so that a user can tell it from a typing error.
"""

from __future__ import annotations

from sim.crypto.ids import EncryptionId, IntegrityId, KeyExchangeId, PrfId
from sim.crypto.suites import AH_INTEGRITY, ENCRYPTION, KEY_EXCHANGE, PRF
from sim.ike.constants import Esn, TransformType
from sim.ike.payloads_sa import Transform

ADDITIONAL = tuple(TransformType(kind) for kind in range(TransformType.ADDKE1, TransformType.ADDKE7 + 1))
"""The transform types of additional key exchanges, `ke1_...` to `ke7_...` in a proposal (RFC 9370 2.2.1)."""

KEY_EXCHANGES = (TransformType.KE, *ADDITIONAL)

_KEY_BITS = (128, 192, 256)
_KEYED = {
    "": EncryptionId.ENCR_AES_CBC,
    "ctr": EncryptionId.ENCR_AES_CTR,
    "ccm8": EncryptionId.ENCR_AES_CCM_8,
    "ccm12": EncryptionId.ENCR_AES_CCM_12,
    "ccm16": EncryptionId.ENCR_AES_CCM_16,
    "gcm8": EncryptionId.ENCR_AES_GCM_8,
    "gcm12": EncryptionId.ENCR_AES_GCM_12,
    "gcm16": EncryptionId.ENCR_AES_GCM_16,
    "gmac": EncryptionId.ENCR_NULL_AUTH_AES_GMAC,
    "ccm8iiv": EncryptionId.ENCR_AES_CCM_8_IIV,
    "gcm16iiv": EncryptionId.ENCR_AES_GCM_16_IIV,
}
_UNKEYED = {
    "chacha20poly1305": EncryptionId.ENCR_CHACHA20_POLY1305,
    "chacha20poly1305iiv": EncryptionId.ENCR_CHACHA20_POLY1305_IIV,
    "3des": EncryptionId.ENCR_3DES,
    "null": EncryptionId.ENCR_NULL,
}
_INTEGRITY = {
    "sha1": IntegrityId.AUTH_HMAC_SHA1_96,
    "sha256": IntegrityId.AUTH_HMAC_SHA2_256_128,
    "sha384": IntegrityId.AUTH_HMAC_SHA2_384_192,
    "sha512": IntegrityId.AUTH_HMAC_SHA2_512_256,
    "aesxcbc": IntegrityId.AUTH_AES_XCBC_96,
    "aescmac": IntegrityId.AUTH_AES_CMAC_96,
    "md5": IntegrityId.AUTH_HMAC_MD5_96,
}
_AH_INTEGRITY = {
    "aes128gmac": IntegrityId.AUTH_AES_128_GMAC,
    "aes192gmac": IntegrityId.AUTH_AES_192_GMAC,
    "aes256gmac": IntegrityId.AUTH_AES_256_GMAC,
}
_PRF = {
    "prfsha1": PrfId.PRF_HMAC_SHA1,
    "prfsha256": PrfId.PRF_HMAC_SHA2_256,
    "prfsha384": PrfId.PRF_HMAC_SHA2_384,
    "prfsha512": PrfId.PRF_HMAC_SHA2_512,
    "prfaesxcbc": PrfId.PRF_AES128_XCBC,
    "prfaescmac": PrfId.PRF_AES128_CMAC,
    "prfmd5": PrfId.PRF_HMAC_MD5,
}
_KEY_EXCHANGE = {
    "modp768": KeyExchangeId.MODP_768,
    "modp1024": KeyExchangeId.MODP_1024,
    "modp1536": KeyExchangeId.MODP_1536,
    "modp2048": KeyExchangeId.MODP_2048,
    "modp3072": KeyExchangeId.MODP_3072,
    "modp4096": KeyExchangeId.MODP_4096,
    "modp6144": KeyExchangeId.MODP_6144,
    "modp8192": KeyExchangeId.MODP_8192,
    "modp1024s160": KeyExchangeId.MODP_1024_160,
    "modp2048s224": KeyExchangeId.MODP_2048_224,
    "modp2048s256": KeyExchangeId.MODP_2048_256,
    "ecp192": KeyExchangeId.ECP_192,
    "ecp224": KeyExchangeId.ECP_224,
    "ecp256": KeyExchangeId.ECP_256,
    "ecp384": KeyExchangeId.ECP_384,
    "ecp521": KeyExchangeId.ECP_521,
    "ecp224bp": KeyExchangeId.BRAINPOOL_P224R1,
    "ecp256bp": KeyExchangeId.BRAINPOOL_P256R1,
    "ecp384bp": KeyExchangeId.BRAINPOOL_P384R1,
    "ecp512bp": KeyExchangeId.BRAINPOOL_P512R1,
    "x25519": KeyExchangeId.CURVE25519,
    "x448": KeyExchangeId.CURVE448,
    "mlkem512": KeyExchangeId.ML_KEM_512,
    "mlkem768": KeyExchangeId.ML_KEM_768,
    "mlkem1024": KeyExchangeId.ML_KEM_1024,
    "modpnone": KeyExchangeId.NONE,
}
_ADDITIONAL = {"none" if id_ == KeyExchangeId.NONE else name: id_ for name, id_ in _KEY_EXCHANGE.items()}
_ESN = {"noesn": Esn.NO_ESN, "esn": Esn.ESN}

_ALIASES = {
    "aes": "aes128",
    "sha": "sha1",
    "sha2_256": "sha256",
    "sha2_384": "sha384",
    "sha2_512": "sha512",
    "prfsha": "prfsha1",
    "curve25519": "x25519",
    "curve448": "x448",
    "chacha20poly1305compat": "chacha20poly1305",
}
_ICV_IN_BITS = {"8": "64", "12": "96", "16": "128"}  # aes128gcm128 is aes128gcm16


def _tokens() -> dict[str, Transform]:
    table = {
        f"aes{bits}{mode}": Transform(TransformType.ENCR, algorithm, bits)
        for mode, algorithm in _KEYED.items()
        for bits in _KEY_BITS
    }
    for kind, names in (
        (TransformType.ENCR, _UNKEYED),
        (TransformType.PRF, _PRF),
        (TransformType.INTEG, _INTEGRITY),
        (TransformType.KE, _KEY_EXCHANGE),
        (TransformType.ESN, _ESN),
    ):
        table.update({name: Transform(kind, algorithm) for name, algorithm in names.items()})
    for number, kind in enumerate(ADDITIONAL, 1):
        methods = {f"ke{number}_{name}": id_ for name, id_ in _ADDITIONAL.items()}
        table.update({name: Transform(kind, id_) for name, id_ in methods.items()})
    return table


def _aliases() -> dict[str, str]:
    in_bits = {
        name[: -len(size)] + bits: name
        for name in TOKENS
        for size, bits in _ICV_IN_BITS.items()
        if name.endswith((f"gcm{size}", f"ccm{size}"))
    }
    plain = {f"aes{bits}gcm": f"aes{bits}gcm16" for bits in _KEY_BITS}
    additional = {
        f"ke{number}_{alias}": f"ke{number}_{name}"
        for number in range(1, len(ADDITIONAL) + 1)
        for alias, name in _ALIASES.items()
        if name in _KEY_EXCHANGE
    }
    return _ALIASES | in_bits | plain | additional


TOKENS: dict[str, Transform] = _tokens()
"""Every algorithm that has a name, by that name."""

AH_TOKENS: dict[str, Transform] = TOKENS | {
    name: Transform(TransformType.INTEG, algorithm) for name, algorithm in _AH_INTEGRITY.items()
}
"""The same in a proposal for AH, where AES-GMAC is an integrity algorithm and no cipher (RFC 4543 3, 4)."""

ALIASES: dict[str, str] = _aliases()
"""Other spellings that strongSwan takes."""

NAMES: dict[tuple[int, int, int | None], str] = {
    (transform.type, transform.id, transform.key_bits): name
    for tokens in (AH_TOKENS, TOKENS)
    for name, transform in tokens.items()
}

IMPLIED_PRF: dict[int, int] = {
    IntegrityId.AUTH_HMAC_MD5_96: PrfId.PRF_HMAC_MD5,
    IntegrityId.AUTH_HMAC_SHA1_96: PrfId.PRF_HMAC_SHA1,
    IntegrityId.AUTH_HMAC_SHA2_256_128: PrfId.PRF_HMAC_SHA2_256,
    IntegrityId.AUTH_HMAC_SHA2_384_192: PrfId.PRF_HMAC_SHA2_384,
    IntegrityId.AUTH_HMAC_SHA2_512_256: PrfId.PRF_HMAC_SHA2_512,
    IntegrityId.AUTH_AES_XCBC_96: PrfId.PRF_AES128_XCBC,
    IntegrityId.AUTH_AES_CMAC_96: PrfId.PRF_AES128_CMAC,
}
"""The PRF that an IKE proposal means when it names an integrity algorithm and no PRF."""

_AEADS = {
    EncryptionId.ENCR_AES_CCM_8,
    EncryptionId.ENCR_AES_CCM_12,
    EncryptionId.ENCR_AES_CCM_16,
    EncryptionId.ENCR_AES_GCM_8,
    EncryptionId.ENCR_AES_GCM_12,
    EncryptionId.ENCR_AES_GCM_16,
    EncryptionId.ENCR_NULL_AUTH_AES_GMAC,
    EncryptionId.ENCR_CAMELLIA_CCM_8,
    EncryptionId.ENCR_CAMELLIA_CCM_12,
    EncryptionId.ENCR_CAMELLIA_CCM_16,
    EncryptionId.ENCR_CHACHA20_POLY1305,
    EncryptionId.ENCR_AES_CCM_8_IIV,
    EncryptionId.ENCR_AES_GCM_16_IIV,
    EncryptionId.ENCR_CHACHA20_POLY1305_IIV,
}


def is_aead(encryption_id: int) -> bool:
    """Whether a cipher, implemented or not, brings its own integrity (RFC 5282, 4106, 4543, 7634, 8750)."""
    return encryption_id in _AEADS


def is_supported(transform: Transform) -> bool:
    """Whether the tables of `sim.crypto.suites` have the algorithm."""
    key = (transform.id, transform.key_bits)
    if transform.type == TransformType.ENCR:
        return key in _ENCRYPTION_KEYS
    return key in SUPPORTED.get(transform.type, ())


_ENCRYPTION_KEYS: set[tuple[int, int | None]] = {(int(row), bits) for row, bits in ENCRYPTION}
SUPPORTED: dict[int, set[tuple[int, int | None]]] = {
    TransformType.PRF: {(int(row), None) for row in PRF},
    TransformType.INTEG: {(int(row), None) for row in AH_INTEGRITY},
    **dict.fromkeys(
        KEY_EXCHANGES, {(int(row), None) for row in KEY_EXCHANGE} | {(int(KeyExchangeId.NONE), None)}
    ),
    TransformType.ESN: {(Esn.NO_ESN, None), (Esn.ESN, None)},
}
"""What endpoints can do beside encryption, by transform type."""
