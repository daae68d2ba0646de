"""The AUTH payload: how we prove who we are, and how a peer's proof is judged (RFC 7296 2.15).

RFC 7427 (digital signatures), RFC 8420 (EdDSA), RFC 4754 (ECDSA), RFC 7619 (NULL), RFC 7670 (raw keys).
Which signature is made follows from the hashes that the peer announced; if it announced none, one of the
older methods must do.
"""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from struct import Struct
from typing import TYPE_CHECKING

from sim.crypto.certificate import Certificate
from sim.crypto.ids import HashId
from sim.crypto.prf import Prf
from sim.crypto.signature import SCHEMES, KeyType, PublicKey, Scheme, SignatureError, scheme_of
from sim.crypto.trust import Flaw, TrustError, check_path
from sim.ike.auth import null_auth, psk_auth, session_auth, signed_octets, verify_psk_auth
from sim.ike.certs import Received, read_certs
from sim.ike.confirm import confirms
from sim.ike.constants import AuthMethod, NotifyType, name_of
from sim.ike.credentials import CURVE_BITS, Constraint, Credential, Method, RemoteAuth, signing_schemes
from sim.ike.errors import PeerError, Scope
from sim.ike.events import Reason
from sim.ike.identity import Identity
from sim.ike.message import Message
from sim.ike.payloads import AuthPayload, IdPayload, NotifyPayload
from sim.units import NS_PER_S

if TYPE_CHECKING:
    from sim.ike.config import ConnectionConfig
    from sim.ike.sa import IkeSa

_HASH = Struct(">H")
ANNOUNCED = (HashId.SHA2_256, HashId.SHA2_384, HashId.SHA2_512, HashId.IDENTITY)
"""The hashes that we verify signatures with; RFC 8247 3 forbids SHA-1."""

_ECDSA = {
    256: (AuthMethod.ECDSA_256, SCHEMES["ecdsa-sha256"]),
    384: (AuthMethod.ECDSA_384, SCHEMES["ecdsa-sha384"]),
    521: (AuthMethod.ECDSA_521, SCHEMES["ecdsa-sha512"]),
}
_OLD_ECDSA = {method: (bits, scheme) for bits, (method, scheme) in _ECDSA.items()}
_OLD_RSA = tuple(SCHEMES[f"rsa-{name}"] for name in ("sha1", "sha256", "sha384", "sha512"))
_KIND = {
    AuthMethod.SHARED_KEY_MIC: Method.PSK,
    AuthMethod.NULL_AUTHENTICATION: Method.NULL,
    AuthMethod.RSA_SIGNATURE: Method.PUBKEY,
    AuthMethod.ECDSA_256: Method.PUBKEY,
    AuthMethod.ECDSA_384: Method.PUBKEY,
    AuthMethod.ECDSA_521: Method.PUBKEY,
    AuthMethod.DIGITAL_SIGNATURE: Method.PUBKEY,
}
_REASONS = {
    Flaw.NO_TRUSTED_ISSUER: Reason.NO_TRUSTED_ISSUER,
    Flaw.EXPIRED: Reason.CERTIFICATE_EXPIRED,
    Flaw.NOT_YET_VALID: Reason.CERTIFICATE_NOT_YET_VALID,
    Flaw.REVOKED: Reason.CERTIFICATE_REVOKED,
    Flaw.REVOCATION_UNKNOWN: Reason.REVOCATION_UNKNOWN,
    Flaw.NO_CA: Reason.ISSUER_IS_NO_CA,
    Flaw.PATH_TOO_LONG: Reason.PATH_TOO_LONG,
    Flaw.NAME_NOT_PERMITTED: Reason.NAME_NOT_PERMITTED,
    Flaw.WRONG_USAGE: Reason.WRONG_KEY_USAGE,
    Flaw.CRITICAL_EXTENSION: Reason.CRITICAL_EXTENSION,
}


def failed(text: str, reason: Reason = Reason.AUTHENTICATION_FAILED) -> PeerError:
    """The peer is told that authentication failed, and no more than that (RFC 7296 2.21.2)."""
    return PeerError(NotifyType.AUTHENTICATION_FAILED, text, Scope.IKE_SA, reason=reason)


# -- what is announced in IKE_SA_INIT -----------------------------------------------------------------------


def hashes_payload() -> NotifyPayload:
    """N(SIGNATURE_HASH_ALGORITHMS) (RFC 7427 4)."""
    return NotifyPayload(NotifyType.SIGNATURE_HASH_ALGORITHMS, b"".join(map(_HASH.pack, ANNOUNCED)))


def announced_hashes(message: Message) -> frozenset[int]:
    """What the peer can verify by method 14; empty when it does not know that method."""
    notify = message.notify(NotifyType.SIGNATURE_HASH_ALGORITHMS)
    if notify is None or len(notify.data) % _HASH.size:
        return frozenset()
    return frozenset(number for (number,) in _HASH.iter_unpack(notify.data))


# -- our proof ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signing:
    """With which key, by which method and scheme we sign."""

    credential: Credential
    method: AuthMethod
    scheme: Scheme


def choose_signing(
    connection: ConnectionConfig, hashes: frozenset[int], authorities: tuple[bytes, ...] = ()
) -> Signing | None:
    """What the peer can verify, by the credential of a CA that it names if there is one; None if nothing."""
    local = connection.local
    ranked = sorted(local.credentials, key=lambda credential: not credential.issued_by(authorities))
    for credential in ranked:
        for scheme in signing_schemes(credential, local.constraint):
            if scheme.hash in hashes:
                return Signing(credential, AuthMethod.DIGITAL_SIGNATURE, scheme)
        old = None if hashes else _old_signing(credential, local.constraint)
        if old is not None:
            return old
    return None


def no_signing(connection: ConnectionConfig, hashes: frozenset[int]) -> str:
    """Why `choose_signing` found nothing."""
    names = sorted(name_of(HashId, number) for number in hashes)
    kinds = ", ".join(credential.key.public.type.value for credential in connection.local.credentials)
    return f"our key ({kinds}) cannot sign by what the peer verifies ({', '.join(names) or 'older methods'})"


def _old_signing(credential: Credential, constraint: Constraint) -> Signing | None:
    key = credential.key.public
    if key.type is KeyType.RSA and not constraint.keys and not constraint.hashes:
        return Signing(credential, AuthMethod.RSA_SIGNATURE, SCHEMES["rsa-sha1"])
    if key.type is KeyType.ECDSA and key.bits in CURVE_BITS:
        method, scheme = _ECDSA[key.bits]
        return Signing(credential, method, scheme) if constraint.allows(scheme, key) else None
    return None


def prove(sa: IkeSa, own: IdPayload, signing: Signing | None) -> AuthPayload:
    """Our AUTH payload, `signing` for a connection whose local method is PUBKEY."""
    covered, local = _covered(sa, own, sa.initiator), sa.connection.local.method
    if local is Method.PSK:
        data = psk_auth(covered[0], sa.connection.psk, *covered[1:])
        return AuthPayload(AuthMethod.SHARED_KEY_MIC, data)
    if local is Method.NULL:
        return AuthPayload(AuthMethod.NULL_AUTHENTICATION, null_auth(*covered))
    assert signing is not None
    return AuthPayload(signing.method, _sign(signing, signed_octets(*covered)))


def _covered(
    sa: IkeSa, identity: IdPayload, by_initiator: bool
) -> tuple[Prf, bytes, bytes, bytes, bytes, bytes]:
    """What AUTH of one side covers: first message, the other's nonce, SK_p, identity, and IntAuth.

    RFC 7296 2.15, RFC 9242 3.3.1.
    """
    keys, prf = sa.keys, sa.suite.prf
    if by_initiator:
        return prf, sa.init_i, sa.nonce_r, keys.sk_pi, identity.emit(), sa.signed_later
    return prf, sa.init_r, sa.nonce_i, keys.sk_pr, identity.emit(), sa.signed_later


#  0                   1
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 ...
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# | ASN.1 Length  | AlgorithmIdentifier ~        method 14 (RFC 7427 3)
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# ~            Signature Value          ~
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
def _sign(signing: Signing, octets: bytes) -> bytes:
    key, scheme = signing.credential.key, signing.scheme
    if signing.method == AuthMethod.DIGITAL_SIGNATURE:
        return bytes((len(scheme.identifier),)) + scheme.identifier + key.sign(scheme, octets)
    return key.sign_plain(scheme, octets) if signing.method in _OLD_ECDSA else key.sign(scheme, octets)


# -- after EAP ---------------------------------------------------------------------------------------------


def session_proof(sa: IkeSa, identity: IdPayload, msk: bytes, *, by_initiator: bool) -> AuthPayload:
    """AUTH of one side by the key that EAP gave both, or SK_p if its method gives none (RFC 7296 2.16)."""
    return AuthPayload(AuthMethod.SHARED_KEY_MIC, session_auth(msk, *_covered(sa, identity, by_initiator)))


def check_session_proof(
    sa: IkeSa, identity: IdPayload, proof: AuthPayload, msk: bytes, *, by_initiator: bool
) -> None:
    """PeerError unless the other side has the same key."""
    expected = session_proof(sa, identity, msk, by_initiator=by_initiator)
    if proof.method != expected.method or not compare_digest(proof.data, expected.data):
        name = Identity.of_payload(identity)
        raise failed(f"{name} did not prove that it was its EAP that succeeded")


# -- the peer's proof --------------------------------------------------------------------------------------


def kind_of(proof: AuthPayload) -> Method | None:
    """In which way a peer authenticates; None for one that is not supported."""
    return _KIND.get(proof.method)  # type: ignore[call-overload, no-any-return]


def verify(sa: IkeSa, peer: IdPayload, message: Message, proof: AuthPayload, now: int) -> None:
    """PeerError unless the sender of `message` proved to be `peer`, as `sa.connection` wants it."""
    identity, connection = Identity.of_payload(peer), sa.connection
    wanted, kind = connection.remote.method, kind_of(proof)
    if kind is not wanted:
        method = name_of(AuthMethod, proof.method)
        text = f"{identity} authenticates by {method}, but connection {connection.name} wants {wanted.value}"
        raise failed(text, Reason.WRONG_METHOD)
    covered = _covered(sa, peer, not sa.initiator)
    if kind is Method.PUBKEY:
        _verify_signature(sa, identity, message, proof, signed_octets(*covered), now)
    elif kind is Method.NULL:
        if not compare_digest(proof.data, null_auth(*covered)):
            raise failed(f"{identity} did not prove that it holds the keys of this IKE SA{_or_ppk(sa)}")
    elif not verify_psk_auth(proof.data, covered[0], connection.psk, *covered[1:]):
        raise failed(f"{identity} did not prove that it knows our pre-shared key{_or_ppk(sa)}")


def _or_ppk(sa: IkeSa) -> str:
    """A PPK is mixed into every proof (RFC 8784 3): another one looks like a wrong secret."""
    return " or the same PPK" if sa.ppk else ""


def _verify_signature(
    sa: IkeSa, identity: Identity, message: Message, proof: AuthPayload, octets: bytes, now: int
) -> None:
    remote, received = sa.connection.remote, read_certs(message)
    seconds = (sa.ctx.config.epoch + now) // NS_PER_S
    keys = _trusted_keys(remote, received, identity, seconds)
    for index, key in enumerate(keys):
        try:
            _check_signature(key, remote.constraint, proof, octets, identity)
        except SignatureError as error:
            if index == len(keys) - 1:
                raise failed(
                    f"{identity} did not prove its identity{_or_ppk(sa)}: {error}", Reason.WRONG_SIGNATURE
                ) from error
        else:
            return


def _trusted_keys(
    remote: RemoteAuth, received: Received, identity: Identity, seconds: int
) -> list[PublicKey]:
    """The keys that AUTH may have been made with: the one that was sent, or those that we know already.

    A certificate that we cannot use (RFC 7296 3.6: an encoding of somebody's own) is as good as none.
    """
    first = received.first
    if isinstance(first, Certificate):
        return [key_of_certificate(remote, first, received, identity, seconds)]
    if isinstance(first, PublicKey):
        if first not in remote.pubkeys:
            raise failed(f"the raw public key of {identity} is not one that we know", Reason.UNKNOWN_KEY)
        return [first]
    known = [cert for cert in remote.certs if confirms(cert, identity)]
    keys = [key_of_certificate(remote, cert, received, identity, seconds) for cert in known]
    keys += remote.pubkeys
    if not keys:
        raise _without_key(received, identity)
    return keys


def _without_key(received: Received, identity: Identity) -> PeerError:
    if received.by_url:
        text = f"the certificate of {identity} is only named by a URL, and nothing is fetched here"
        return failed(text, Reason.HASH_AND_URL)
    if received.problem:
        text = f"the certificate of {identity} cannot be used: {received.problem}"
        return failed(text, Reason.UNREADABLE_CERTIFICATE)
    return failed(f"{identity} sent no certificate, and we have none of it", Reason.NO_CERTIFICATE)


def key_of_certificate(
    remote: RemoteAuth, cert: Certificate, received: Received, identity: Identity, seconds: int
) -> PublicKey:
    """The key of a certificate that is trusted and confirms the identity; PeerError tells why it is not."""
    try:
        if cert in remote.certs:
            path: tuple[Certificate, ...] = (cert,)
            check_path(path, seconds)
        else:
            path = remote.trust.validate(
                cert,
                seconds,
                received=received.certs,
                crls=received.crls,
                revocation=remote.revocation,
            )
    except TrustError as error:
        raise failed(f"{identity} is not authenticated: {error}", _REASONS[error.flaw]) from error
    _check_hashes(path, remote.constraint)
    if not confirms(cert, identity):
        text = f"the certificate of {cert} does not confirm that the peer is {identity}"
        raise failed(text, Reason.ID_NOT_CONFIRMED)
    return cert.key


def _check_hashes(path: tuple[Certificate, ...], constraint: Constraint) -> None:
    """The signatures in a path, but for the anchor's own, must be as good as the peer's (swanctl.conf)."""
    for cert in path[:-1]:
        if not constraint.ike_only and not constraint.allows_hash(cert.signed_with):
            text = f"the certificate of {cert} is signed with {cert.signed_with.name}, which is not allowed"
            raise failed(text, Reason.SIGNATURE_NOT_ALLOWED)


def _check_signature(
    key: PublicKey, constraint: Constraint, proof: AuthPayload, octets: bytes, identity: Identity
) -> None:
    if proof.method == AuthMethod.DIGITAL_SIGNATURE:
        scheme, signature = _split(proof.data)
        if scheme.hash not in ANNOUNCED:
            raise failed(f"{identity} signs by {scheme.name}", Reason.SIGNATURE_NOT_ALLOWED)
        key.verify(scheme, signature, octets)
    elif proof.method in _OLD_ECDSA:
        bits, scheme = _OLD_ECDSA[AuthMethod(proof.method)]
        if key.type is not KeyType.ECDSA or key.bits != bits:
            raise SignatureError("its key is of another curve than its signature")
        key.verify_plain(scheme, proof.data, octets)
    else:
        scheme = _verify_old_rsa(key, proof.data, octets)
    if not constraint.allows(scheme, key):
        text = f"{identity} signs by {scheme.name} with {key.bits} bits, which is not allowed"
        raise failed(text, Reason.SIGNATURE_NOT_ALLOWED)


def _split(data: bytes) -> tuple[Scheme, bytes]:
    """AlgorithmIdentifier and signature; SignatureError when the length leads outside."""
    end = 1 + data[0] if data else 1
    if len(data) <= end:
        raise SignatureError("the AlgorithmIdentifier is longer than the AUTH payload")
    return scheme_of(data[1:end]), data[end:]


def _verify_old_rsa(key: PublicKey, signature: bytes, octets: bytes) -> Scheme:
    """Method 1 does not say which hash was used; SHA-1 is the usual one (RFC 7296 3.8)."""
    for scheme in _OLD_RSA[:-1]:
        try:
            key.verify(scheme, signature, octets)
        except SignatureError:
            continue
        return scheme
    key.verify(_OLD_RSA[-1], signature, octets)
    return _OLD_RSA[-1]
