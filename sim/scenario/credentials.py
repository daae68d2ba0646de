"""PEM text to credentials and trust: the last step between a configuration and an IKE endpoint (RFC 7468)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import TypedDict

from sim.crypto.certificate import Certificate, read_certificate, read_crl
from sim.crypto.errors import CryptoError
from sim.crypto.signature import PrivateKey, PublicKey
from sim.crypto.trust import Revocation, TrustStore
from sim.ike.credentials import (
    Credential,
    LocalAuth,
    Method,
    RemoteAuth,
    SecondAuth,
    SendCert,
    parse_auth,
    uses_tls,
)
from sim.ike.eap.names import METHODS
from sim.ike.eap.packets import EapType
from sim.ike.identity import Identity
from sim.scenario.schema_tunnels import LocalSide, RemoteSide, SecondLocal, SecondRemote

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATE = ("CERTIFICATE", "X509 CERTIFICATE")
_CRL = ("X509 CRL",)
_PUBLIC_KEY = ("PUBLIC KEY",)


class CredentialError(ValueError):
    """`path` leads to the setting whose content is wrong, from the connection on."""

    def __init__(self, side: str, key: str, text: str) -> None:
        super().__init__(text)
        self.path = (side, key)


def local_auth(side: LocalSide, roots: tuple[Certificate, ...]) -> LocalAuth:
    """Our own proof; `roots` are the CAs that we know. CredentialError tells which setting is wrong."""
    method, constraint = parse_auth(side.auth)
    credentials: tuple[Credential, ...] = ()
    if method is Method.PUBKEY or uses_tls(side.auth):
        if side.key is not None:
            credentials = (_credential(side, roots),)
        elif side.auth != "eap":
            raise CredentialError(
                "local", "key", "is missing: authentication by public key needs a private key"
            )
    eap_id = None if side.eap_id is None else Identity.parse(side.eap_id)
    try:
        return LocalAuth(
            method,
            credentials,
            constraint,
            SendCert(side.send_cert),
            METHODS.get(side.auth, ()),
            eap_id,
            _second(side.second),
        )
    except ValueError as error:
        raise CredentialError("local", "auth", str(error)) from None


def remote_auth(side: RemoteSide) -> RemoteAuth:
    """The proof that we want. CredentialError tells which setting is wrong."""
    method, constraint = parse_auth(side.auth)
    if method is not Method.PUBKEY and not uses_tls(side.auth):
        return RemoteAuth(method, **_eap(side), second=_second(side.second))
    cas = certificates("remote", "cacerts", side.cacerts)
    crls = tuple(read_crl(octets) for octets in _read("remote", "crls", side.crls, _CRL, read_crl))
    keys = tuple(key for text in side.pubkeys for key in public_keys(text))
    try:
        return RemoteAuth(
            method,
            TrustStore(cas, (), crls),
            certificates("remote", "certs", side.certs),
            keys,
            constraint,
            Revocation(side.revocation),
            side.send_certreq,
            **_eap(side),
            second=_second(side.second),
        )
    except ValueError as error:
        raise CredentialError("remote", "cacerts", str(error)) from None


class _Eap(TypedDict):
    eap: tuple[EapType, ...]
    eap_id: Identity | None
    ask_eap_id: bool


def _second(side: SecondLocal | SecondRemote | None) -> SecondAuth | None:
    if side is None:
        return None
    identity = None if side.id is None else Identity.parse(side.id)
    return SecondAuth(id=identity, **_eap(side))


def _eap(side: RemoteSide | SecondLocal | SecondRemote) -> _Eap:
    known = None if side.eap_id is None else Identity.parse(side.eap_id)
    asks = side.eap_id is not None and known is None
    return {"eap": METHODS.get(side.auth, ()), "eap_id": known, "ask_eap_id": asks}


def certificates(side: str, key: str, texts: Iterable[str]) -> tuple[Certificate, ...]:
    """All certificates of these texts; CredentialError for a text without one."""
    return tuple(map(read_certificate, _read(side, key, texts, _CERTIFICATE, read_certificate)))


def public_keys(text: str) -> tuple[PublicKey, ...]:
    """All raw public keys of a text; CredentialError for a text without one."""
    return tuple(map(PublicKey, _read("remote", "pubkeys", [text], _PUBLIC_KEY, PublicKey)))


def _credential(side: LocalSide, roots: tuple[Certificate, ...]) -> Credential:
    certs = certificates("local", "certs", side.certs)
    try:
        return Credential(PrivateKey.load((side.key or "").encode()), certs, roots)
    except (CryptoError, ValueError) as error:
        raise CredentialError("local", "key", str(error)) from None


def _read(side: str, key: str, texts: Iterable[str], labels: tuple[str, ...], parse: object) -> list[bytes]:
    """The octets of every block with one of the labels, each of them readable."""
    found: list[bytes] = []
    for text in texts:
        blocks = [body for label, body in _BLOCK.findall(text) if label in labels]
        if not blocks:
            raise CredentialError(side, key, f"holds no {labels[0]} in PEM")
        for body in blocks:
            try:
                octets = base64.b64decode("".join(body.split()), validate=True)
                parse(octets)  # type: ignore[operator]
            except binascii.Error:
                raise CredentialError(side, key, f"holds a {labels[0]} that is no base64") from None
            except CryptoError as error:
                raise CredentialError(side, key, str(error)) from None
            found.append(octets)
    return found
