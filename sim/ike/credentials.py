"""How each side of a connection proves who it is, and what it takes as a proof (RFC 7296 2.15, 3.6).

Names are those of swanctl.conf's `local` and `remote` sections.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from sim.crypto.certificate import Certificate, issued
from sim.crypto.ids import HashId
from sim.crypto.signature import SCHEMES, KeyType, PrivateKey, PublicKey, Scheme
from sim.crypto.trust import NO_TRUST, Revocation, TrustStore
from sim.ike.constants import IdType
from sim.ike.eap.names import METHODS
from sim.ike.eap.packets import EapType
from sim.ike.identity import Identity

_HASHES = {
    "sha1": HashId.SHA1,
    "sha256": HashId.SHA2_256,
    "sha384": HashId.SHA2_384,
    "sha512": HashId.SHA2_512,
    "identity": HashId.IDENTITY,
}
_KEYS: dict[str, KeyType] = {
    "rsa": KeyType.RSA,
    "rsa/pss": KeyType.RSA,
    "ecdsa": KeyType.ECDSA,
    "ed25519": KeyType.ED25519,
    "ed448": KeyType.ED448,
}
_IKE = "ike:"
_BITS = re.compile(r"[0-9]{2,5}")
_CURVE_HASH = {256: HashId.SHA2_256, 384: HashId.SHA2_384, 521: HashId.SHA2_512}
CURVE_BITS = frozenset(_CURVE_HASH)
"""Sizes of the curves that RFC 4754 has an authentication method for."""


class Method(Enum):
    """In which way somebody authenticates."""

    PSK = "psk"
    PUBKEY = "pubkey"
    NULL = "null"
    EAP = "eap"


CLAIMS = {
    Method.PSK: "our pre-shared key or identity",
    Method.PUBKEY: "our certificate, signature or identity",
    Method.NULL: "that we stay anonymous as",
    Method.EAP: "our proof by EAP or identity",
}
"""What a peer rejects that does not authenticate us; our identity follows."""


class SendCert(Enum):
    """When certificates go along with a signature."""

    ALWAYS = "always"
    IF_ASKED = "ifasked"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Constraint:
    """Which signatures may be made or are accepted; empty allows all but, when signing, SHA-1.

    `keys` are kinds of keys by their names, each with the smallest size in bits. Unless `ike_only`, the
    signatures in the peer's certificates must have one of the hashes, too.
    """

    keys: tuple[tuple[str, int], ...] = ()
    hashes: frozenset[HashId] = frozenset()
    ike_only: bool = False

    def allows(self, scheme: Scheme, key: PublicKey) -> bool:
        return self.allows_hash(scheme.hash) and (
            not self.keys or any(_is_kind(name, bits, scheme, key) for name, bits in self.keys)
        )

    def allows_hash(self, hash_id: HashId | None) -> bool:
        """EdDSA has no hash to choose, so only its key can be refused."""
        return not self.hashes or hash_id in self.hashes or hash_id is HashId.IDENTITY


ANYTHING = Constraint()


def uses_tls(auth: str) -> bool:
    """Whether it may be EAP-TLS, for which both sides need certificates."""
    return EapType.TLS in METHODS.get(auth, ())


def parse_auth(text: str) -> tuple[Method, Constraint]:
    """What `auth` says: `psk`, `null`, `pubkey`, or kinds of keys, each perhaps with a size, and hashes.

    Also `eap`, and the names of EAP methods.
    Such as pubkey-sha256-sha512, rsa-2048-ecdsa-256-sha256, rsa/pss-sha512, ed25519, ike:pubkey-sha384.
    ValueError for anything else.
    """
    if text in (Method.PSK.value, Method.NULL.value):
        return Method(text), ANYTHING
    if text in METHODS:
        return Method.EAP, ANYTHING
    keys: list[tuple[str, int]] = []
    hashes: set[HashId] = set()
    any_key = False
    for word in text.removeprefix(_IKE).split("-"):
        if word == Method.PUBKEY.value:
            any_key = True
        elif word in _KEYS:
            keys.append((word, 0))
        elif word in _HASHES:
            hashes.add(_HASHES[word])
        elif _BITS.fullmatch(word) and keys and not keys[-1][1]:
            keys[-1] = (keys[-1][0], int(word))
        else:
            known = ", ".join(["psk", "null", *METHODS, "pubkey", *_KEYS])
            raise ValueError(f"{text!r} is no way to authenticate: write {known}, or such as pubkey-sha256")
    if any_key is bool(keys):
        raise ValueError(f"{text!r}: write either pubkey or kinds of keys")
    return Method.PUBKEY, Constraint(tuple(keys), frozenset(hashes), text.startswith(_IKE))


def _is_kind(name: str, bits: int, scheme: Scheme, key: PublicKey) -> bool:
    fits = _KEYS[name] is key.type and key.bits >= bits
    return fits and (scheme.pss or name != "rsa/pss")


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """A private key, and its certificate with those of the CAs above but for the root; none is a raw key.

    `roots` are CAs that we know of, to tell which of them is above.
    """

    key: PrivateKey
    certs: tuple[Certificate, ...] = ()
    roots: tuple[Certificate, ...] = ()

    def __post_init__(self) -> None:
        if self.certs and self.certs[0].key != self.key.public:
            raise ValueError(f"the private key is not that of the certificate of {self.certs[0]}")

    def issued_by(self, authorities: tuple[bytes, ...]) -> bool:
        """Whether one of the CAs above it is among these, SHA-1 of their SubjectPublicKeyInfo."""
        top = self.certs[-1:]
        above = [*self.certs[1:], *(root for root in self.roots for cert in top if issued(root, cert))]
        return any(cert.key_hash in authorities for cert in above)


@dataclass(frozen=True, slots=True)
class SecondAuth:
    """The second round of an initiator's authentication, always by EAP with a password (RFC 4739).

    The initiator says in it that it is `id` (None: its address), which the responder wants to match. `eap_id`
    and `ask_eap_id` are as in the first round.
    """

    eap: tuple[EapType, ...]
    id: Identity | None = None
    eap_id: Identity | None = None
    ask_eap_id: bool = False

    def __post_init__(self) -> None:
        if not self.eap or EapType.TLS in self.eap:
            raise ValueError("the second round of authentication is by EAP with a password")


@dataclass(frozen=True, slots=True)
class LocalAuth:
    """Our own proof. The first of the credentials whose CA the peer names is taken, or else the first.

    By EAP we prove to be `eap_id`, or else who we are in IKE, by one of the methods in `eap`. `second` is
    what we prove besides, as an initiator, to a responder that supports it.
    """

    method: Method = Method.PSK
    credentials: tuple[Credential, ...] = ()
    constraint: Constraint = ANYTHING
    send_cert: SendCert = SendCert.IF_ASKED
    eap: tuple[EapType, ...] = ()
    eap_id: Identity | None = None
    second: SecondAuth | None = None

    def __post_init__(self) -> None:
        _check_eap(self.method, self.eap, self.second)
        if self.eap == (EapType.TLS,) and not self.credentials:
            raise ValueError("EAP-TLS needs a private key and its certificate")
        if self.method is not Method.EAP and (self.method is Method.PUBKEY) is not bool(self.credentials):
            raise ValueError("a private key is what public key authentication needs, and nothing else")
        for credential in self.credentials:
            if not signing_schemes(credential, self.constraint):
                kind = credential.key.public.type.value
                raise ValueError(f"a key for {kind} can make no signature that `auth` allows")

    def default_id(self) -> Identity | None:
        """Who we are when nothing is configured: the certificate's subject, nobody, or (None) our address."""
        if self.method is Method.NULL:
            return Identity(IdType.NULL, b"")
        certs = self.credentials[0].certs if self.credentials else ()
        return Identity(IdType.DER_ASN1_DN, certs[0].subject) if certs else None


@dataclass(frozen=True, slots=True)
class RemoteAuth:
    """The proof that we want: by a certificate of a trusted CA, one of `certs`, or one of `pubkeys`.

    By EAP the peer proves to be `eap_id`, by one of the methods in `eap`; with `ask_eap_id` it is asked for
    that name, otherwise it is the one of IKE. `second` is what an initiator must prove besides.
    """

    method: Method = Method.PSK
    trust: TrustStore = NO_TRUST
    certs: tuple[Certificate, ...] = ()
    pubkeys: tuple[PublicKey, ...] = ()
    constraint: Constraint = ANYTHING
    revocation: Revocation = Revocation.RELAXED
    send_certreq: bool = True
    eap: tuple[EapType, ...] = ()
    eap_id: Identity | None = None
    ask_eap_id: bool = False
    second: SecondAuth | None = None

    def __post_init__(self) -> None:
        _check_eap(self.method, self.eap, self.second)
        known = self.trust.anchors or self.certs or self.pubkeys
        if self.eap == (EapType.TLS,) and not known:
            raise ValueError("EAP-TLS needs a CA or a certificate to trust")
        if self.method is Method.PUBKEY and not known:
            raise ValueError("public key authentication needs a CA, a certificate or a key to trust")


def _check_eap(method: Method, eap: tuple[EapType, ...], second: SecondAuth | None) -> None:
    if (method is Method.EAP) is not bool(eap):
        raise ValueError("EAP needs a method, and nothing else has one")
    if method is Method.EAP and second is not None:
        raise ValueError("a second round of authentication is not supported after EAP")


LOCAL_PSK, REMOTE_PSK = LocalAuth(), RemoteAuth()


def signing_schemes(credential: Credential, constraint: Constraint) -> list[Scheme]:
    """The schemes that we may sign by, that with the hash of the curve's size first; PSS where asked for."""
    key = credential.key.public
    best = _CURVE_HASH.get(key.bits) if key.type is KeyType.ECDSA else HashId.SHA2_256
    wants_pss = any(name == "rsa/pss" for name, _ in constraint.keys)
    fitting = [
        scheme
        for scheme in SCHEMES.values()
        if scheme.key is key.type
        and scheme.pss is wants_pss
        and constraint.allows(scheme, key)
        and (scheme.hash is not HashId.SHA1 or HashId.SHA1 in constraint.hashes)
    ]
    return sorted(fitting, key=lambda scheme: scheme.hash is not best)
