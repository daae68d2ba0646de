"""CERT and CERTREQ payloads as what they hold (RFC 7296 3.6, 3.7; raw keys RFC 7670; RFC 4945 3.3).

The first CERT holds the key that AUTH was made with; further certificates and CRLs help to judge it. What is
behind a URL is never fetched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sim.crypto.certificate import Certificate, CertificateReadError, Crl, read_certificate, read_crl
from sim.crypto.signature import PublicKey, SignatureError
from sim.ike.constants import CertEncoding
from sim.ike.credentials import Credential, RemoteAuth
from sim.ike.message import Message
from sim.ike.payloads import CertPayload, CertReqPayload
from sim.wire import der

_HASH_BYTES = 20  # SHA-1
_RSA_KEY = der.element(der.SEQUENCE, der.emit_oid("1.2.840.113549.1.1.1") + der.element(der.NULL, b""))
HASH_AND_URL = (CertEncoding.HASH_AND_URL_X509, CertEncoding.HASH_AND_URL_BUNDLE)
MAX_CERTS = 32
"""CERT payloads of one message that are looked at."""


@dataclass(frozen=True, slots=True)
class Received:
    """What a peer's CERT payloads held. `first` is the key, or the certificate of the key, that AUTH needs.

    What cannot be used is left out, but a `first` of that sort is told of in `problem`.
    """

    first: Certificate | PublicKey | None = None
    certs: tuple[Certificate, ...] = ()
    crls: tuple[Crl, ...] = ()
    problem: str = ""
    by_url: bool = False


def read_certs(message: Message) -> Received:
    payloads = message.find_all(CertPayload)[:MAX_CERTS]
    first: Certificate | PublicKey | None = None
    problem, by_url = "", False
    certs: list[Certificate] = []
    crls: list[Crl] = []
    for payload in payloads:
        if payload.encoding == CertEncoding.CRL:
            crls += _crl(payload.data)
            continue
        try:
            found = _key_or_certificate(payload)
        except (CertificateReadError, SignatureError) as error:
            found, problem = None, problem or str(error)
        if payload is payloads[0]:
            first, by_url = found, payload.encoding in HASH_AND_URL
        elif isinstance(found, Certificate):
            certs.append(found)
    return Received(first, tuple(certs), tuple(crls), problem if first is None else "", by_url)


def _key_or_certificate(payload: CertPayload) -> Certificate | PublicKey:
    if payload.encoding == CertEncoding.X509_SIGNATURE:
        return read_certificate(payload.data)
    if payload.encoding == CertEncoding.RAW_PUBLIC_KEY:
        return PublicKey(payload.data)
    if payload.encoding == CertEncoding.RAW_RSA_KEY:
        bits = der.element(der.BIT_STRING, b"\0" + payload.data)
        return PublicKey(der.element(der.SEQUENCE, _RSA_KEY + bits))
    if payload.encoding in HASH_AND_URL:
        raise CertificateReadError("it is only named by a URL, and nothing is fetched here")
    raise CertificateReadError(f"its encoding {payload.encoding} is not supported")


def _crl(octets: bytes) -> list[Crl]:
    try:
        return [read_crl(octets)]
    except CertificateReadError:
        return []


def cert_payloads(credential: Credential) -> list[CertPayload]:
    """Our own certificate and those of the CAs above, or our raw key."""
    if not credential.certs:
        return [CertPayload(CertEncoding.RAW_PUBLIC_KEY, credential.key.public.spki)]
    return [CertPayload(CertEncoding.X509_SIGNATURE, cert.der) for cert in credential.certs]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a peer's CERTREQ payloads ask for: certificates of `authorities` (by hash), or raw keys."""

    certificates: bool = False
    authorities: tuple[bytes, ...] = ()
    raw_keys: bool = False

    def wants(self, credential: Credential) -> bool:
        return self.certificates if credential.certs else self.raw_keys


NOT_ASKED = Asked()


def read_certreqs(message: Message) -> Asked:
    """Hashes that are cut short count as none."""
    authorities: list[bytes] = []
    payloads = message.find_all(CertReqPayload)
    for payload in payloads:
        if payload.encoding == CertEncoding.X509_SIGNATURE and len(payload.data) % _HASH_BYTES == 0:
            starts = range(0, len(payload.data), _HASH_BYTES)
            authorities += [payload.data[at : at + _HASH_BYTES] for at in starts]
    kinds = {payload.encoding for payload in payloads}
    raw = bool(kinds & {CertEncoding.RAW_PUBLIC_KEY, CertEncoding.RAW_RSA_KEY})
    return Asked(CertEncoding.X509_SIGNATURE in kinds, tuple(authorities), raw)


def certreq_payloads(remotes: Iterable[RemoteAuth]) -> list[CertReqPayload]:
    """Whom we trust, by SHA-1 of each SubjectPublicKeyInfo (RFC 7296 3.7); nobody for raw keys (RFC 7670)."""
    asking = [remote for remote in remotes if remote.send_certreq]
    anchors = dict.fromkeys(cert.key_hash for remote in asking for cert in remote.trust.anchors)
    found = [CertReqPayload(CertEncoding.X509_SIGNATURE, b"".join(anchors))] if anchors else []
    if any(remote.pubkeys for remote in asking):
        found.append(CertReqPayload(CertEncoding.RAW_PUBLIC_KEY, b""))
    return found
