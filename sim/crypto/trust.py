"""Whether a certificate is to be trusted at a time (RFC 5280 6, profiled for IKE by RFC 4945).

    end entity <- intermediate <- ... <- trust anchor      each signed by the next

pyca's own verifier is made for the web: it wants subject alternative names, its choice of algorithms has no
EdDSA, and it says little of why. So paths are built here; each signature is checked by pyca. Left out:
certificate policies (critical ones are refused), OCSP, delta and indirect CRLs, and fetching anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sim.crypto.certificate import Certificate, Crl, issued
from sim.crypto.errors import CryptoError
from sim.crypto.name_constraints import forbidden_name
from sim.wire.dn import dn_text

MAX_PATH = 8
MAX_CHECKS = 64
"""Signatures that one validation looks at, whatever a peer sends."""

# RFC 4945 5.1.3.12; servers and clients of TLS are tolerated, as other implementations do.
_PURPOSES = {
    ExtendedKeyUsageOID.IPSEC_IKE,
    x509.ObjectIdentifier("1.3.6.1.5.5.8.2.2"),  # iKEIntermediate
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
}


class Flaw(Enum):
    """Why a certificate is not trusted."""

    NO_TRUSTED_ISSUER = "no trusted issuer"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    REVOKED = "revoked"
    REVOCATION_UNKNOWN = "revocation unknown"
    NO_CA = "no CA"
    PATH_TOO_LONG = "path too long"
    NAME_NOT_PERMITTED = "name not permitted"
    WRONG_USAGE = "wrong usage"
    CRITICAL_EXTENSION = "critical extension"


class Revocation(Enum):
    """What is asked of CRLs, as swanctl.conf's `revocation`.

    RELAXED refuses what is known to be revoked; IFURI also what says where its CRL is, when none is at hand;
    STRICT whatever has no valid CRL.
    """

    RELAXED = "relaxed"
    IFURI = "ifuri"
    STRICT = "strict"


class TrustError(CryptoError):
    """A certificate is not trusted."""

    def __init__(self, flaw: Flaw, text: str) -> None:
        super().__init__(text)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class TrustStore:
    """CAs that are trusted, further CA certificates to build paths with, and CRLs at hand."""

    anchors: tuple[Certificate, ...] = ()
    intermediates: tuple[Certificate, ...] = ()
    crls: tuple[Crl, ...] = ()

    def validate(
        self,
        cert: Certificate,
        seconds: int,
        *,
        received: tuple[Certificate, ...] = (),
        crls: tuple[Crl, ...] = (),
        revocation: Revocation = Revocation.RELAXED,
    ) -> tuple[Certificate, ...]:
        """The path from `cert` to a trust anchor at a time, in seconds since 1970; TrustError without one.

        `received` and `crls` are what the peer sent along. Of several paths the first good one counts.
        """
        first: TrustError | None = None
        pool = (*received, *self.intermediates)
        for path in self._paths(cert, pool):
            try:
                check_path(path, seconds)
                _check_revocation(path, (*self.crls, *crls), seconds, revocation)
            except TrustError as error:
                first = first or error
            else:
                return path
        raise first or _no_issuer(cert, pool)

    def _paths(self, cert: Certificate, pool: tuple[Certificate, ...]) -> Iterator[tuple[Certificate, ...]]:
        """Everything that is signed all the way up to an anchor, depth first, within limits."""
        stack: list[tuple[Certificate, ...]] = [(cert,)]
        checks = 0
        while stack:
            path = stack.pop()
            top = path[-1]
            if top in self.anchors:
                if len(path) > 1:
                    yield path
                continue
            if len(path) == MAX_PATH:
                continue
            following: list[tuple[Certificate, ...]] = []
            for issuer in dict.fromkeys((*self.anchors, *pool)):
                if issuer in path or issuer.subject != top.issuer:
                    continue
                checks += 1
                if checks > MAX_CHECKS:
                    return
                if issued(issuer, top):
                    following.append((*path, issuer))
            stack += reversed(following)


NO_TRUST = TrustStore()


def check_path(path: tuple[Certificate, ...], seconds: int) -> None:
    """Everything but signatures and revocation, from the end entity to the anchor; TrustError."""
    for index, cert in enumerate(path):
        _check_dates(cert, seconds)
        if cert.unknown_critical:
            text = f"{cert} has the critical extension {cert.unknown_critical[0]}, which is not understood"
            raise TrustError(Flaw.CRITICAL_EXTENSION, text)
        if index:
            _check_ca(cert, path[:index])
        else:
            check_usage(cert)


def _check_dates(cert: Certificate, seconds: int) -> None:
    if seconds > cert.not_after:
        end = _date(cert.x509.not_valid_after_utc.isoformat())
        raise TrustError(Flaw.EXPIRED, f"the certificate of {cert} expired at {end}")
    if seconds < cert.not_before:
        start = _date(cert.x509.not_valid_before_utc.isoformat())
        raise TrustError(Flaw.NOT_YET_VALID, f"the certificate of {cert} is not valid before {start}")


def check_usage(cert: Certificate) -> None:
    """Whether an end entity's key may sign in IKE (RFC 4945 5.1.3.2, 5.1.3.12)."""
    usage = cert.extension(x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise TrustError(Flaw.WRONG_USAGE, f"the key usage of {cert} lacks digitalSignature")
    purposes = cert.extension(x509.ExtendedKeyUsage)
    if purposes is not None and _PURPOSES.isdisjoint(purposes):
        raise TrustError(Flaw.WRONG_USAGE, f"the extended key usage of {cert} is not for IKE")


def _check_ca(cert: Certificate, below: tuple[Certificate, ...]) -> None:
    usage = cert.extension(x509.KeyUsage)
    if cert.max_below is None or (usage is not None and not usage.key_cert_sign):
        raise TrustError(Flaw.NO_CA, f"{cert} issued a certificate, but is no CA")
    if 0 <= cert.max_below < sum(not ca.self_issued for ca in below[1:]):
        raise TrustError(Flaw.PATH_TOO_LONG, f"{cert} allows {cert.max_below} CAs below it, there are more")
    constraints = cert.extension(x509.NameConstraints)
    for index, lower in enumerate(below):
        if constraints is None or (index and lower.self_issued):
            continue
        name = forbidden_name(constraints, lower)
        if name is not None:
            raise TrustError(Flaw.NAME_NOT_PERMITTED, f"{cert} may not issue certificates for {name}")


def _check_revocation(
    path: tuple[Certificate, ...], crls: tuple[Crl, ...], seconds: int, revocation: Revocation
) -> None:
    for cert, issuer in pairwise(path):
        own = [crl for crl in crls if crl.this_update <= seconds and crl.is_of(issuer)]
        if any(crl.revokes(cert) for crl in own):
            raise TrustError(Flaw.REVOKED, f"the certificate of {cert} is revoked by {issuer}")
        fresh = any(crl.next_update is None or seconds <= crl.next_update for crl in own)
        wanted = revocation is Revocation.STRICT or (revocation is Revocation.IFURI and _names_crl(cert))
        if wanted and not fresh:
            state = "only an old CRL" if own else "no CRL"
            text = (
                f"whether the certificate of {cert} is revoked is not known: {state} of {issuer} is at hand"
            )
            raise TrustError(Flaw.REVOCATION_UNKNOWN, text)


def _names_crl(cert: Certificate) -> bool:
    return cert.extension(x509.CRLDistributionPoints) is not None


def _no_issuer(cert: Certificate, pool: tuple[Certificate, ...]) -> TrustError:
    """Tell who is missing: the issuer of the topmost certificate that hangs together by its names."""
    top, seen = cert, {cert}
    while True:
        above = next((c for c in pool if c.subject == top.issuer and c not in seen), None)
        if above is None:
            break
        seen.add(above)
        top = above
    text = f"{dn_text(top.issuer)}, who issued the certificate of {top}, is not trusted or did not sign it"
    return TrustError(Flaw.NO_TRUSTED_ISSUER, text)


def _date(text: str) -> str:
    return text.removesuffix("+00:00").replace("T", " ")
