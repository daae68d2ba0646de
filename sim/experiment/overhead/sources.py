"""Where the octets that a cipher or a MAC adds are defined: RFC and section, by IANA's ids."""

from __future__ import annotations

from typing import NamedTuple

from sim.crypto.ids import EncryptionId, IntegrityId


class CipherSource(NamedTuple):
    """Sections for the IV, the ICV ("" where a MAC makes it), the salt and the padding."""

    iv: str
    icv: str
    salt: str
    padding: str = "RFC 4303 2.4"


_GCM = CipherSource("RFC 4106 3.1", "RFC 4106 6", "RFC 4106 4")
_CCM = CipherSource("RFC 4309 3.1", "RFC 4309 3.3", "RFC 4309 4")
_CHACHA = CipherSource("RFC 7634 2", "RFC 7634 2", "RFC 7634 2")
_GMAC = CipherSource("RFC 4543 3.1", "RFC 4543 3.4", "RFC 4543 3.2")
_IMPLICIT = "RFC 8750 4"

CIPHERS: dict[EncryptionId, CipherSource] = {
    EncryptionId.ENCR_AES_GCM_8: _GCM,
    EncryptionId.ENCR_AES_GCM_12: _GCM,
    EncryptionId.ENCR_AES_GCM_16: _GCM,
    EncryptionId.ENCR_AES_GCM_16_IIV: _GCM._replace(iv=_IMPLICIT),
    EncryptionId.ENCR_AES_CCM_8: _CCM,
    EncryptionId.ENCR_AES_CCM_12: _CCM,
    EncryptionId.ENCR_AES_CCM_16: _CCM,
    EncryptionId.ENCR_AES_CCM_8_IIV: _CCM._replace(iv=_IMPLICIT),
    EncryptionId.ENCR_CHACHA20_POLY1305: _CHACHA,
    EncryptionId.ENCR_CHACHA20_POLY1305_IIV: _CHACHA._replace(iv=_IMPLICIT),
    EncryptionId.ENCR_NULL_AUTH_AES_GMAC: _GMAC,
    EncryptionId.ENCR_AES_CBC: CipherSource("RFC 3602 3", "", "", "RFC 3602 2.4"),
    EncryptionId.ENCR_AES_CTR: CipherSource("RFC 3686 3.1", "", "RFC 3686 4"),
    EncryptionId.ENCR_3DES: CipherSource("RFC 2451 3", "", "", "RFC 2451 2.4"),
    EncryptionId.ENCR_NULL: CipherSource("", "", ""),
}

MACS: dict[IntegrityId, str] = {
    IntegrityId.AUTH_HMAC_SHA1_96: "RFC 2404 2",
    IntegrityId.AUTH_HMAC_SHA2_256_128: "RFC 4868 2.3",
    IntegrityId.AUTH_HMAC_SHA2_384_192: "RFC 4868 2.3",
    IntegrityId.AUTH_HMAC_SHA2_512_256: "RFC 4868 2.3",
    IntegrityId.AUTH_AES_XCBC_96: "RFC 3566 4.3",
    IntegrityId.AUTH_AES_CMAC_96: "RFC 4494 4",
    IntegrityId.AUTH_AES_128_GMAC: "RFC 4543 4",
    IntegrityId.AUTH_AES_192_GMAC: "RFC 4543 4",
    IntegrityId.AUTH_AES_256_GMAC: "RFC 4543 4",
}
