"""Signatures that prove an identity (RFC 7427, RFC 8420; RFC 4754 and RFC 7296 3.8 for the older methods).

A scheme is what an AlgorithmIdentifier names: kind of key, padding and hash. Signing takes no entropy and
repeats itself octet for octet, also with ECDSA (RFC 6979), with one exception: the salt of RSASSA-PSS is
OpenSSL's own, so those signatures differ from run to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
)

from sim.crypto.errors import CryptoError
from sim.crypto.ids import HashId
from sim.wire import der
from sim.wire.buffer import WireError

_Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
_Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

MIN_RSA_BITS = 1024
"""Shorter keys are refused as no proof of anything."""


class SignatureError(CryptoError):
    """A signature is not the key's, or a key cannot make or check one of this scheme."""


class KeyType(Enum):
    RSA = "RSA"
    ECDSA = "ECDSA"
    ED25519 = "Ed25519"
    ED448 = "Ed448"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One row of the table; `identifier` is its AlgorithmIdentifier in DER, as RFC 7427 A prints it."""

    name: str
    key: KeyType
    hash: HashId
    identifier: bytes
    pss: bool = False


_HASHES: dict[HashId, HashAlgorithm] = {
    HashId.SHA1: SHA1(),
    HashId.SHA2_256: SHA256(),
    HashId.SHA2_384: SHA384(),
    HashId.SHA2_512: SHA512(),
}
_HASH_OIDS = {
    HashId.SHA1: "1.3.14.3.2.26",
    HashId.SHA2_256: "2.16.840.1.101.3.4.2.1",
    HashId.SHA2_384: "2.16.840.1.101.3.4.2.2",
    HashId.SHA2_512: "2.16.840.1.101.3.4.2.3",
}
_NULL = der.element(der.NULL, b"")
_PSS_OID = "1.2.840.113549.1.1.10"
_MGF1_OID = "1.2.840.113549.1.1.8"


def _identifier(oid: str, parameters: bytes = b"") -> bytes:
    return der.element(der.SEQUENCE, der.emit_oid(oid) + parameters)


def _pss_identifier(hash_id: HashId) -> bytes:
    """Everything spelled out, the default trailer too, as in RFC 7427 A.4.3."""
    hashed = _identifier(_HASH_OIDS[hash_id], _NULL)
    salt = der.element(der.INTEGER, bytes((_HASHES[hash_id].digest_size,)))
    fields = (hashed, _identifier(_MGF1_OID, hashed), salt, der.element(der.INTEGER, b"\1"))
    parameters = b"".join(der.element(0xA0 + n, field) for n, field in enumerate(fields))
    return _identifier(_PSS_OID, der.element(der.SEQUENCE, parameters))


def _rsa(name: str, hash_id: HashId, arc: int) -> Scheme:
    return Scheme(f"rsa-{name}", KeyType.RSA, hash_id, _identifier(f"1.2.840.113549.1.1.{arc}", _NULL))


def _pss(name: str, hash_id: HashId) -> Scheme:
    return Scheme(f"rsa/pss-{name}", KeyType.RSA, hash_id, _pss_identifier(hash_id), pss=True)


def _ecdsa(name: str, hash_id: HashId, arc: str) -> Scheme:
    return Scheme(f"ecdsa-{name}", KeyType.ECDSA, hash_id, _identifier(f"1.2.840.10045.4.{arc}"))


SCHEMES: dict[str, Scheme] = {
    row.name: row
    for row in (
        _rsa("sha256", HashId.SHA2_256, 11),
        _rsa("sha384", HashId.SHA2_384, 12),
        _rsa("sha512", HashId.SHA2_512, 13),
        _rsa("sha1", HashId.SHA1, 5),
        _pss("sha256", HashId.SHA2_256),
        _pss("sha384", HashId.SHA2_384),
        _pss("sha512", HashId.SHA2_512),
        _pss("sha1", HashId.SHA1),
        _ecdsa("sha256", HashId.SHA2_256, "3.2"),
        _ecdsa("sha384", HashId.SHA2_384, "3.3"),
        _ecdsa("sha512", HashId.SHA2_512, "3.4"),
        _ecdsa("sha1", HashId.SHA1, "1"),
        Scheme("ed25519", KeyType.ED25519, HashId.IDENTITY, _identifier("1.3.101.112")),
        Scheme("ed448", KeyType.ED448, HashId.IDENTITY, _identifier("1.3.101.113")),
    )
}
"""All schemes by strongSwan's names, for each kind of key the usual ones first."""


def _oid_of(scheme: Scheme) -> str:
    return der.oid_text(der.elements(der.only(scheme.identifier, der.SEQUENCE))[0][1])


_BY_OID = {_oid_of(scheme): scheme for scheme in SCHEMES.values() if not scheme.pss}


class PublicKey:
    """A key that checks signatures; `spki` is its SubjectPublicKeyInfo in DER, by which two are equal."""

    __slots__ = ("_key", "bits", "curve", "spki", "type")

    def __init__(self, spki: bytes) -> None:
        """SignatureError for octets that are no key, or a key of a kind that is not supported."""
        try:
            key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SignatureError(f"a public key that cannot be read: {error}") from error
        self.spki = spki
        self.curve = ""
        if isinstance(key, rsa.RSAPublicKey):
            self.type, self.bits = KeyType.RSA, key.key_size
            if key.key_size < MIN_RSA_BITS:
                raise SignatureError(f"an RSA key of {key.key_size} bits is too short")
        elif isinstance(key, ec.EllipticCurvePublicKey):
            self.type, self.bits, self.curve = KeyType.ECDSA, key.key_size, key.curve.name
        elif isinstance(key, ed25519.Ed25519PublicKey):
            self.type, self.bits = KeyType.ED25519, 256
        elif isinstance(key, ed448.Ed448PublicKey):
            self.type, self.bits = KeyType.ED448, 456
        else:
            raise SignatureError("a public key of a kind that signs nothing in IKEv2")
        self._key: _Public = key

    def verify(self, scheme: Scheme, signature: bytes, data: bytes) -> None:
        """SignatureError unless the key's owner signed `data`; ECDSA signatures are in DER (RFC 7427 3)."""
        if scheme.key is not self.type:
            raise SignatureError(f"a signature by {scheme.name} cannot be one of a key for {self.type.value}")
        key = self._key
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, data, _padding(scheme), _HASHES[scheme.hash])
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, data, ec.ECDSA(_HASHES[scheme.hash]))
            else:
                key.verify(signature, data)
        except (InvalidSignature, ValueError) as error:
            raise SignatureError(f"the signature by {scheme.name} is not one of this key") from error

    def verify_plain(self, scheme: Scheme, signature: bytes, data: bytes) -> None:
        """As `verify`, for an ECDSA signature that is r and s side by side (RFC 4754 7)."""
        size = (self.bits + 7) // 8
        if len(signature) != 2 * size:
            raise SignatureError(f"r and s have {2 * size} octets together, not {len(signature)}")
        r, s = (int.from_bytes(half, "big") for half in (signature[:size], signature[size:]))
        self.verify(scheme, encode_dss_signature(r, s), data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.spki == other.spki

    def __hash__(self) -> int:
        return hash(self.spki)


class PrivateKey:
    """A key that signs, and its public half."""

    __slots__ = ("key", "public")

    def __init__(self, key: _Private) -> None:
        self.key = key
        self.public = PublicKey(
            key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )

    @classmethod
    def load(cls, octets: bytes) -> PrivateKey:
        """A key in PEM or DER, PKCS#8 or older; SignatureError for what is none, or is encrypted."""
        load = load_pem_private_key if b"-----BEGIN" in octets else load_der_private_key
        try:
            key = load(octets, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SignatureError(f"a private key that cannot be read: {error}") from error
        if not isinstance(key, _Private):
            raise SignatureError("a private key of a kind that signs nothing in IKEv2")
        return cls(key)

    def sign(self, scheme: Scheme, data: bytes) -> bytes:
        """The signature, of ECDSA in DER; SignatureError for a scheme of another kind of key."""
        if scheme.key is not self.public.type:
            raise SignatureError(f"a key for {self.public.type.value} cannot sign by {scheme.name}")
        key = self.key
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(data, _padding(scheme), _HASHES[scheme.hash])
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(data, ec.ECDSA(_HASHES[scheme.hash], deterministic_signing=True))
        return key.sign(data)

    def sign_plain(self, scheme: Scheme, data: bytes) -> bytes:
        """As `sign`, with ECDSA's r and s side by side (RFC 4754 7)."""
        size = (self.public.bits + 7) // 8
        r, s = decode_dss_signature(self.sign(scheme, data))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


@lru_cache(1024)
def scheme_of(identifier: bytes) -> Scheme:
    """The scheme that a peer's AlgorithmIdentifier names; SignatureError for one that is not in the table.

    Parameters that must be NULL may be missing as well, and PSS may leave out what is default, as DER wants.
    """
    try:
        fields = der.elements(der.only(identifier, der.SEQUENCE))
        if not fields or fields[0][0] != der.OID:
            raise WireError("no object identifier")
        oid, parameters = der.oid_text(fields[0][1]), fields[1:]
        if oid == _PSS_OID:
            return _pss_scheme(parameters)
    except (WireError, IndexError) as error:
        raise SignatureError(f"an AlgorithmIdentifier that cannot be read: {error}") from error
    scheme = _BY_OID.get(oid)
    if scheme is None or parameters not in ([], [(der.NULL, b"")]):
        raise SignatureError(f"signatures by algorithm {oid} are not supported")
    return scheme


def _pss_scheme(parameters: list[tuple[int, bytes]]) -> Scheme:
    """RSASSA-PSS with one hash for everything and a salt as long as that (RFC 7427 A.4, RFC 4055 3.1)."""
    if len(parameters) != 1 or parameters[0][0] != der.SEQUENCE:
        raise SignatureError("RSASSA-PSS without its parameters")
    given = dict(der.elements(parameters[0][1]))
    hashed = _named_hash(given.pop(0xA0, None))
    mask = given.pop(0xA1, None)
    if mask is not None:
        mgf = der.elements(der.only(mask, der.SEQUENCE))
        if der.oid_text(mgf[0][1]) != _MGF1_OID:
            raise SignatureError("RSASSA-PSS with an unknown mask generation function")
    masked = _named_hash(None if mask is None else der.element(*mgf[1]))
    salt = int.from_bytes(der.only(given.pop(0xA2, b"\2\1\x14"), der.INTEGER), "big")
    trailer = der.only(given.pop(0xA3, b"\2\1\1"), der.INTEGER)
    if given or trailer != b"\1" or masked is not hashed or salt != _HASHES[hashed].digest_size:
        raise SignatureError("RSASSA-PSS with unusual parameters")
    return next(scheme for scheme in SCHEMES.values() if scheme.pss and scheme.hash is hashed)


def _named_hash(identifier: bytes | None) -> HashId:
    if identifier is None:
        return HashId.SHA1
    oid = der.oid_text(der.elements(der.only(identifier, der.SEQUENCE))[0][1])
    for hash_id, known in _HASH_OIDS.items():
        if known == oid:
            return hash_id
    raise SignatureError(f"RSASSA-PSS with the unknown hash {oid}")


def _padding(scheme: Scheme) -> padding.AsymmetricPadding:
    if not scheme.pss:
        return padding.PKCS1v15()
    algorithm = _HASHES[scheme.hash]
    return padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
