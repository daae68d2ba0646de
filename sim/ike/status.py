"""What the IETF requires of an algorithm: RFC 8247 for IKE and its key exchanges, RFC 8221 for ESP and AH.

What neither names has no status here. Levels for small devices ("IoT") count like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from sim.crypto.ids import EncryptionId, IntegrityId, KeyExchangeId, PrfId
from sim.ike.algorithms import KEY_EXCHANGES, NAMES
from sim.ike.constants import ProtocolId, TransformType
from sim.ike.payloads_sa import Proposal, Transform


class Status(StrEnum):
    """A plus will be required more strictly soon, a minus less strictly (RFC 8247 1.1)."""

    MUST = "MUST"
    MUST_MINUS = "MUST-"
    SHOULD_PLUS = "SHOULD+"
    SHOULD = "SHOULD"
    MAY = "MAY"
    SHOULD_NOT = "SHOULD NOT"
    MUST_NOT = "MUST NOT"


WEAK = frozenset((Status.SHOULD_NOT, Status.MUST_NOT))

_Table = dict[TransformType, dict[int, Status]]

_IKE: _Table = {
    TransformType.ENCR: {  # RFC 8247 2.1
        EncryptionId.ENCR_AES_CBC: Status.MUST,
        EncryptionId.ENCR_CHACHA20_POLY1305: Status.SHOULD,
        EncryptionId.ENCR_AES_GCM_16: Status.SHOULD,
        EncryptionId.ENCR_AES_CCM_8: Status.SHOULD,
        EncryptionId.ENCR_3DES: Status.MAY,
        EncryptionId.ENCR_DES: Status.MUST_NOT,
    },
    TransformType.PRF: {  # RFC 8247 2.2
        PrfId.PRF_HMAC_SHA2_256: Status.MUST,
        PrfId.PRF_HMAC_SHA2_512: Status.SHOULD_PLUS,
        PrfId.PRF_HMAC_SHA1: Status.MUST_MINUS,
        PrfId.PRF_AES128_XCBC: Status.SHOULD,
        PrfId.PRF_HMAC_MD5: Status.MUST_NOT,
    },
    TransformType.INTEG: {  # RFC 8247 2.3
        IntegrityId.AUTH_HMAC_SHA2_256_128: Status.MUST,
        IntegrityId.AUTH_HMAC_SHA2_512_256: Status.SHOULD,
        IntegrityId.AUTH_HMAC_SHA1_96: Status.MUST_MINUS,
        IntegrityId.AUTH_AES_XCBC_96: Status.SHOULD,
        IntegrityId.AUTH_HMAC_MD5_96: Status.MUST_NOT,
        IntegrityId.AUTH_DES_MAC: Status.MUST_NOT,
        IntegrityId.AUTH_KPDK_MD5: Status.MUST_NOT,
    },
    TransformType.KE: {  # RFC 8247 2.4
        KeyExchangeId.MODP_2048: Status.MUST,
        KeyExchangeId.ECP_256: Status.SHOULD,
        KeyExchangeId.MODP_1536: Status.SHOULD_NOT,
        KeyExchangeId.MODP_1024: Status.SHOULD_NOT,
        KeyExchangeId.MODP_768: Status.MUST_NOT,
        KeyExchangeId.MODP_1024_160: Status.MUST_NOT,
        KeyExchangeId.MODP_2048_224: Status.SHOULD_NOT,
        KeyExchangeId.MODP_2048_256: Status.SHOULD_NOT,
    },
}
_ESP: _Table = {
    TransformType.ENCR: {  # RFC 8221 5
        EncryptionId.ENCR_NULL: Status.MUST,
        EncryptionId.ENCR_AES_CBC: Status.MUST,
        EncryptionId.ENCR_AES_GCM_16: Status.MUST,
        EncryptionId.ENCR_AES_CCM_8: Status.SHOULD,
        EncryptionId.ENCR_CHACHA20_POLY1305: Status.SHOULD,
        EncryptionId.ENCR_3DES: Status.SHOULD_NOT,
        EncryptionId.ENCR_DES_IV64: Status.MUST_NOT,
        EncryptionId.ENCR_DES: Status.MUST_NOT,
        EncryptionId.ENCR_BLOWFISH: Status.MUST_NOT,
        EncryptionId.ENCR_3IDEA: Status.MUST_NOT,
        EncryptionId.ENCR_DES_IV32: Status.MUST_NOT,
    },
    TransformType.INTEG: {  # RFC 8221 6
        IntegrityId.AUTH_HMAC_SHA2_256_128: Status.MUST,
        IntegrityId.AUTH_HMAC_SHA2_512_256: Status.SHOULD,
        IntegrityId.AUTH_HMAC_SHA1_96: Status.MUST_MINUS,
        IntegrityId.AUTH_AES_XCBC_96: Status.SHOULD,
        IntegrityId.AUTH_AES_128_GMAC: Status.MAY,
        IntegrityId.AUTH_AES_256_GMAC: Status.MAY,
        IntegrityId.AUTH_HMAC_MD5_96: Status.MUST_NOT,
        IntegrityId.AUTH_DES_MAC: Status.MUST_NOT,
        IntegrityId.AUTH_KPDK_MD5: Status.MUST_NOT,
    },
    TransformType.KE: _IKE[TransformType.KE],
}
_AH: _Table = {kind: _ESP[kind] for kind in (TransformType.INTEG, TransformType.KE)}
STATUS: dict[int, _Table] = {ProtocolId.IKE: _IKE, ProtocolId.AH: _AH, ProtocolId.ESP: _ESP}
"""The status of each algorithm that has one, by protocol, transform type and transform id."""

_SECTIONS = {
    (ProtocolId.IKE, TransformType.ENCR): "RFC 8247 2.1",
    (ProtocolId.IKE, TransformType.PRF): "RFC 8247 2.2",
    (ProtocolId.IKE, TransformType.INTEG): "RFC 8247 2.3",
    (ProtocolId.IKE, TransformType.KE): "RFC 8247 2.4",
    (ProtocolId.AH, TransformType.INTEG): "RFC 8221 6",
    (ProtocolId.AH, TransformType.KE): "RFC 8247 2.4",
    (ProtocolId.ESP, TransformType.ENCR): "RFC 8221 5",
    (ProtocolId.ESP, TransformType.INTEG): "RFC 8221 6",
    (ProtocolId.ESP, TransformType.KE): "RFC 8247 2.4",
}


def status_of(protocol: int, transform: Transform) -> Status | None:
    """The status of one algorithm; an additional key exchange has that of its method."""
    return STATUS[protocol].get(_kind(transform), {}).get(transform.id)


def weak_algorithms(proposal: Proposal) -> Iterator[str]:
    """A sentence about each algorithm of one of our own proposals that should not be used."""
    protocol = ProtocolId(proposal.protocol)
    for transform in proposal.transforms:
        status = status_of(protocol, transform)
        if status in WEAK:
            name = NAMES[transform.type, transform.id, transform.key_bits]
            source = _SECTIONS[protocol, _kind(transform)]
            yield f"{name} is weak: {status} be used for {protocol.name} ({source})"


def _kind(transform: Transform) -> TransformType:
    return TransformType.KE if transform.type in KEY_EXCHANGES else TransformType(transform.type)
