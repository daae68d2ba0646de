"""Keys, certificates and CRLs for labs: what `pki: auto` and `ipsec-sim pki` are made with (RFC 5280).

Keys on curves are drawn from `rand`, so equal draws give equal certificates, octet for octet. RSA keys come
from OpenSSL, which cannot be told what to draw: they and what depends on them differ from run to run.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from sim.ike.constants import IdType
from sim.ike.identity import Identity
from sim.scenario.calendar import calendar
from sim.wire.dn import pairs, parse_dn

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
Rand = Callable[[int], bytes]

DAY = 86400
ALTERNATIVES = (IdType.FQDN, IdType.RFC822_ADDR, IdType.IPV4_ADDR, IdType.IPV6_ADDR)
"""What an alternative name can be."""
_CURVES: dict[str, ec.EllipticCurve] = {
    "ecdsa-p256": ec.SECP256R1(),
    "ecdsa-p384": ec.SECP384R1(),
    "ecdsa-p521": ec.SECP521R1(),
}
_CURVE_HASHES: dict[int, SHA256 | SHA384 | SHA512] = {256: SHA256(), 384: SHA384(), 521: SHA512()}
KEY_TYPES = (*_CURVES, "ed25519", "ed448", "rsa-2048", "rsa-3072", "rsa-4096")


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when something is valid, in seconds since 1970."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, its key, and the certificates of the CAs above it but for the root."""

    cert: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...] = ()
    is_root: bool = False

    @property
    def cert_pem(self) -> str:
        return self.cert.public_bytes(Encoding.PEM).decode()

    @property
    def chain_pem(self) -> str:
        """The certificate and those above it."""
        return "".join(cert.public_bytes(Encoding.PEM).decode() for cert in (self.cert, *self.chain))

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def new_key(kind: str, rand: Rand) -> Key:
    """A private key of one of KEY_TYPES; ValueError for another word."""
    if kind in _CURVES:
        curve = _CURVES[kind]
        # 64 more bits than the order has, so that the remainder is as good as even (FIPS 186-5 A.2.1).
        drawn = int.from_bytes(rand((curve.key_size + 71) // 8), "big")
        return ec.derive_private_key(drawn % (curve.group_order - 1) + 1, curve)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(rand(32))
    if kind == "ed448":
        return ed448.Ed448PrivateKey.from_private_bytes(rand(57))
    if kind in KEY_TYPES:
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))
    raise ValueError(f"{kind!r} is no type of key: write one of {', '.join(KEY_TYPES)}")


def root(
    subject: str, key: Key, span: Span, *, extensions: Iterable[tuple[x509.ExtensionType, bool]] = ()
) -> Issued:
    """A self-signed CA; `subject` is text such as `O=Example, CN=CA`."""
    builder = _builder(subject, key, span, _name(subject), key)
    return Issued(_sign(_add(builder, [*_ca(None), *extensions]), key), key, is_root=True)


def issue(
    ca: Issued,
    subject: str,
    key: Key,
    span: Span,
    *,
    names: Iterable[str] = (),
    extensions: Iterable[tuple[x509.ExtensionType, bool]] | None = None,
) -> Issued:
    """A certificate for an end entity; `names` are identities that it confirms besides its subject.

    `extensions` replaces those that an IKE peer gets: value and whether it is critical.
    """
    found = [_general(text) for text in names]
    wanted = list(_end_entity() if extensions is None else extensions)
    if found:
        wanted.append((x509.SubjectAlternativeName(found), False))
    return _issued(ca, subject, key, span, wanted)


def intermediate(
    ca: Issued,
    subject: str,
    key: Key,
    span: Span,
    *,
    path_length: int | None = None,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
) -> Issued:
    """A CA below another one."""
    return _issued(ca, subject, key, span, [*_ca(path_length), *extensions])


def load_ca(cert_pem: bytes, key_pem: bytes) -> Issued:
    """A CA from its files; ValueError when they are none."""
    key = load_pem_private_key(key_pem, None)
    if not isinstance(key, Key):
        raise ValueError("a key that cannot sign certificates")
    return Issued(x509.load_pem_x509_certificate(cert_pem), key, is_root=True)


def serial_of(cert_pem: bytes) -> int:
    return x509.load_pem_x509_certificate(cert_pem).serial_number


def issued_by(cert_pem: bytes, ca: Issued) -> bool:
    """Whether names and signature say so."""
    try:
        x509.load_pem_x509_certificate(cert_pem).verify_directly_issued_by(ca.cert)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def revoked_in(crl_pem: bytes) -> list[int]:
    """The serial numbers in a list."""
    return [row.serial_number for row in x509.load_pem_x509_crl(crl_pem)]


def crl(ca: Issued, revoked: Iterable[x509.Certificate | int], span: Span) -> bytes:
    """The CA's list of revoked certificates or serial numbers, in DER; the next is due when `span` ends."""
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=ca.cert.subject, last_update=calendar(span.start), next_update=calendar(span.end)
    )
    for cert in revoked:
        serial = cert if isinstance(cert, int) else cert.serial_number
        row = x509.RevokedCertificateBuilder(serial, calendar(span.start))
        builder = builder.add_revoked_certificate(row.build())
    signed = builder.sign(ca.key, _hash(ca.key), ecdsa_deterministic=_deterministic(ca.key))
    return signed.public_bytes(Encoding.DER)


def pem_crl(octets: bytes) -> str:
    return x509.load_der_x509_crl(octets).public_bytes(Encoding.PEM).decode()


def _issued(
    ca: Issued, subject: str, key: Key, span: Span, extensions: list[tuple[x509.ExtensionType, bool]]
) -> Issued:
    builder = _add(_builder(subject, key, span, ca.cert.subject, ca.key), extensions)
    chain = () if ca.is_root else (ca.cert, *ca.chain)
    return Issued(_sign(builder, ca.key), key, chain)


def _builder(subject: str, key: Key, span: Span, issuer: x509.Name, signer: Key) -> x509.CertificateBuilder:
    """The serial number follows from the content: nothing is drawn for it, and two differ."""
    public = key.public_key()
    own_id = x509.SubjectKeyIdentifier.from_public_key(public)
    content = [own_id.digest, subject.encode(), str((issuer, span)).encode()]
    serial = int.from_bytes(sha256(b"\0".join(content)).digest()[:16], "big") >> 1
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=_name(subject),
        public_key=public,
        serial_number=serial or 1,
        not_valid_before=calendar(span.start),
        not_valid_after=calendar(span.end),
        extensions=[
            x509.Extension(own_id.oid, False, own_id),
            *_authority_id(signer),
        ],
    )


def _authority_id(signer: Key) -> list[x509.Extension[x509.ExtensionType]]:
    found = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return [x509.Extension(found.oid, False, found)]


def _add(
    builder: x509.CertificateBuilder, extensions: Iterable[tuple[x509.ExtensionType, bool]]
) -> x509.CertificateBuilder:
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder


def _sign(builder: x509.CertificateBuilder, key: Key) -> x509.Certificate:
    return builder.sign(key, _hash(key), ecdsa_deterministic=_deterministic(key))


def _hash(key: Key) -> SHA256 | SHA384 | SHA512 | None:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVE_HASHES[key.curve.key_size]
    return SHA256() if isinstance(key, rsa.RSAPrivateKey) else None


def _deterministic(key: Key) -> bool | None:
    return True if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _ca(path_length: int | None) -> list[tuple[x509.ExtensionType, bool]]:
    return [(x509.BasicConstraints(True, path_length), True), (_usage(ca=True), True)]


def _end_entity() -> list[tuple[x509.ExtensionType, bool]]:
    purposes = [ExtendedKeyUsageOID.IPSEC_IKE, ExtendedKeyUsageOID.SERVER_AUTH]
    return [(_usage(ca=False), True), (x509.ExtendedKeyUsage(purposes), False)]


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name(
        x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in pairs(parse_dn(text))
    )


def check_identity(text: str) -> None:
    """ValueError for an identity that no certificate can confirm, such as one with an empty common name."""
    identity = Identity.parse(text)
    if identity is None:
        return
    if identity.type == IdType.DER_ASN1_DN:
        _name(text).public_bytes()
    elif identity.type in ALTERNATIVES:
        _general(text)


def _general(text: str) -> x509.GeneralName:
    identity = Identity.parse(text)
    if identity is None:
        raise ValueError(f"{text!r} names nobody")
    if identity.type in (IdType.IPV4_ADDR, IdType.IPV6_ADDR):
        return x509.IPAddress(ipaddress.ip_address(identity.data))
    if identity.type == IdType.RFC822_ADDR:
        return x509.RFC822Name(identity.data.decode())
    if identity.type == IdType.FQDN:
        return x509.DNSName(identity.data.decode())
    raise ValueError(f"{text!r} cannot be an alternative name: write a host name, mail or IP address")
