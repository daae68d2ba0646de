"""X.509 certificates and CRLs as IKE looks at them (RFC 5280, RFC 4945); read by `cryptography.x509`.

A certificate is parsed once and kept by its octets, because a peer sends the same one in every handshake.
Dates are seconds since 1970, UTC.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from sim.crypto.errors import CryptoError
from sim.crypto.ids import HashId
from sim.crypto.signature import PublicKey, SignatureError
from sim.wire import der
from sim.wire.buffer import WireError
from sim.wire.dn import dn_text

E = TypeVar("E", bound=x509.ExtensionType)

MAX_CERTIFICATE_BYTES = 32768
MAX_CRL_BYTES = 1 << 22

# Tags of GeneralName (RFC 5280 4.2.1.6).
RFC822_NAME, DNS_NAME, DIRECTORY_NAME, URI_NAME, IP_NAME = 0x81, 0x82, 0xA4, 0x86, 0x87

_HASHES = {
    "sha1": HashId.SHA1,
    "sha256": HashId.SHA2_256,
    "sha384": HashId.SHA2_384,
    "sha512": HashId.SHA2_512,
}
_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.NAME_CONSTRAINTS,
}
"""Extensions that may be critical. Policies and their constraints are not among them."""


class CertificateReadError(CryptoError):
    """Octets that are no certificate, or hold a key that cannot sign."""


class Certificate:
    """One certificate; two are equal when their octets are.

    `subject` and `issuer` are Names in DER, `names` the subject alternative names, each the tag and content
    of a GeneralName. `max_below` is what basic constraints allow: None for an end entity, else how many CAs
    may follow below (-1: any number). `signed_with` is the hash of the issuer's signature.
    """

    def __init__(self, octets: bytes) -> None:
        """CertificateReadError when `octets` are no certificate in DER that IKE can use."""
        if len(octets) > MAX_CERTIFICATE_BYTES:
            raise CertificateReadError(f"a certificate of {len(octets)} octets")
        self.der = octets
        try:
            self.x509 = x509.load_der_x509_certificate(octets)
            self._read()
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, WireError) as error:
            raise CertificateReadError(f"a certificate that cannot be read: {error}") from error
        except SignatureError as error:
            raise CertificateReadError(f"a certificate with {error}") from error

    def _read(self) -> None:
        own = self.x509
        self.subject = own.subject.public_bytes()
        self.issuer = own.issuer.public_bytes()
        self.key = PublicKey(own.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        self.key_hash = sha1(self.key.spki).digest()
        self.not_before = int(own.not_valid_before_utc.timestamp())
        self.not_after = int(own.not_valid_after_utc.timestamp())
        self.signed_with = _hash_of(own)
        self.self_issued = own.subject == own.issuer
        self.unknown_critical = sorted(
            extension.oid.dotted_string
            for extension in own.extensions
            if extension.critical and extension.oid not in _UNDERSTOOD
        )
        self.max_below = self._max_below()
        self.names = self._names()
        key_id = self.extension(x509.SubjectKeyIdentifier)
        self.subject_key_id = b"" if key_id is None else key_id.digest
        authority = self.extension(x509.AuthorityKeyIdentifier)
        self.authority_key_id = (authority and authority.key_identifier) or b""

    def _max_below(self) -> int | None:
        constraints = self.extension(x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            return None
        return -1 if constraints.path_length is None else constraints.path_length

    def _names(self) -> tuple[tuple[int, bytes], ...]:
        names = self.extension(x509.SubjectAlternativeName)
        if names is None:
            return ()
        return tuple(der.elements(der.only(names.public_bytes(), der.SEQUENCE)))

    def extension(self, kind: type[E]) -> E | None:
        """The value of an extension, None if the certificate has none of this kind."""
        try:
            return self.x509.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    def __str__(self) -> str:
        return dn_text(self.subject)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)


def _hash_of(cert: x509.Certificate) -> HashId:
    """ValueError for a hash that is no longer to be trusted, such as MD5."""
    algorithm = cert.signature_hash_algorithm
    if algorithm is None:
        return HashId.IDENTITY
    if algorithm.name not in _HASHES:
        raise ValueError(f"it is signed with {algorithm.name}")
    return _HASHES[algorithm.name]


@lru_cache(1024)
def read_certificate(octets: bytes) -> Certificate:
    """The certificate of these octets; CertificateReadError if they are none."""
    return Certificate(octets)


@lru_cache(4096)
def issued(issuer: Certificate, cert: Certificate) -> bool:
    """Whether the names fit and `issuer`'s key signed `cert`; not whether it may."""
    if cert.authority_key_id and issuer.subject_key_id not in (b"", cert.authority_key_id):
        return False
    try:
        cert.x509.verify_directly_issued_by(issuer.x509)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


class Crl:
    """A list of certificates that their issuer revoked (RFC 5280 5)."""

    def __init__(self, octets: bytes) -> None:
        """CertificateReadError when `octets` are no complete CRL in DER of one issuer for its own."""
        if len(octets) > MAX_CRL_BYTES:
            raise CertificateReadError(f"a CRL of {len(octets)} octets")
        self.der = octets
        try:
            self.x509 = x509.load_der_x509_crl(octets)
            critical = [ext.oid.dotted_string for ext in self.x509.extensions if ext.critical]
            following = self.x509.next_update_utc
            self.this_update = int(self.x509.last_update_utc.timestamp())
            self.next_update = None if following is None else int(following.timestamp())
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
            raise CertificateReadError(f"a CRL that cannot be read: {error}") from error
        if critical:
            raise CertificateReadError(f"a CRL with the critical extension {critical[0]}")

    def is_of(self, issuer: Certificate) -> bool:
        """Whether `issuer` signed it, and may."""
        usage = issuer.extension(x509.KeyUsage)
        if self.x509.issuer != issuer.x509.subject or (usage is not None and not usage.crl_sign):
            return False
        try:
            return self.x509.is_signature_valid(issuer.x509.public_key())  # type: ignore[arg-type]
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return False

    def revokes(self, cert: Certificate) -> bool:
        found = self.x509.get_revoked_certificate_by_serial_number(cert.x509.serial_number)
        return found is not None


@lru_cache(256)
def read_crl(octets: bytes) -> Crl:
    """The CRL of these octets; CertificateReadError if they are none."""
    return Crl(octets)
