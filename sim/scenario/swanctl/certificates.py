"""The certificates and keys beside a swanctl.conf, in the folders that swanctl(8) names.

    x509/ own and peers' certificates      x509ca/ CAs      x509crl/ CRLs      pubkey/ raw public keys
    private/ rsa/ ecdsa/ pkcs8/ our keys, without a password

As in strongSwan, a private key belongs to the certificate or public key that it fits, and the CAs above a
certificate are sent along, but for the root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sim.crypto.certificate import Certificate, issued
from sim.crypto.signature import PrivateKey, PublicKey, SignatureError
from sim.ike.confirm import confirms
from sim.ike.identity import Identity
from sim.scenario.credentials import CredentialError, certificates, public_keys
from sim.scenario.pem_files import pem_text, read_pem

_KEYS = ("private", "rsa", "ecdsa", "pkcs8")
_BLOCK = re.compile(r"-----BEGIN [^-]*-----.*?-----END [^-]*-----\n?", re.DOTALL)


def own_files(name: str, certs: Sequence[str], key: str) -> dict[str, str]:
    """The files of our own credential, named after a connection, from which `Folders.own` makes it again."""
    blocks = [block for text in certs for block in _BLOCK.findall(text)]
    if not blocks:
        public = PrivateKey.load(key.encode()).public
        return {f"pubkey/{name}.pem": pem_text(public.spki, "PUBLIC KEY"), f"private/{name}.pem": key}
    above = {f"x509ca/{name}-{number}.pem": block for number, block in enumerate(blocks[1:], 1)}
    return {f"x509/{name}.pem": blocks[0], f"private/{name}.pem": key, **above}


@dataclass(frozen=True, slots=True)
class Found:
    """A file's text, and what it holds."""

    text: str
    cert: Certificate


class Folders:
    """Everything is read when it is asked for; ValueError says which file is wrong."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def own(self, certs: list[str], pubkeys: list[str], identity: Identity | None) -> tuple[list[str], str]:
        """The texts of our certificate and its CAs, and our key; no certificate for a raw public key."""
        if pubkeys:
            (key,) = public_keys(self._read("pubkey", pubkeys[0], "PUBLIC KEY"))
            return [], self._key_of(key, pubkeys[0])
        found = self._certificate("x509", certs[0]) if certs else self._confirmed(identity)
        chain = "".join(above.text for above in self._above(found.cert))
        return [found.text + chain], self._key_of(found.cert.key, str(found.cert))

    def texts(self, folder: str, names: list[str], label: str) -> list[str]:
        """The texts of these files."""
        return [self._read(folder, name, label) for name in names]

    def all(self, folder: str, label: str) -> list[str]:
        """The texts of all files of a folder, which may be missing."""
        return [self._read(folder, path.name, label) for path in self._files(folder)]

    def _files(self, folder: str) -> list[Path]:
        place = self._base / folder
        return sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else []

    def _read(self, folder: str, name: str, label: str) -> str:
        try:
            return read_pem(self._base / folder / name, label)
        except OSError as error:
            raise ValueError(f"{folder}/{name}: {error.strerror or error}") from None

    def _certificate(self, folder: str, name: str) -> Found:
        text = self._read(folder, name, "CERTIFICATE")
        try:
            first, *_ = certificates("local", "certs", [text])
        except CredentialError as error:
            raise ValueError(f"{folder}/{name} {error}") from None
        block = _BLOCK.search(text)
        return Found(block[0] if block else text, first)

    def _confirmed(self, identity: Identity | None) -> Found:
        """The certificate in x509/ for which we have a key, and which confirms who we are."""
        for path in self._files("x509"):
            found = self._certificate("x509", path.name)
            mine = any(key.public == found.cert.key for _, key in self._private)
            if mine and (identity is None or confirms(found.cert, identity)):
                return found
        raise ValueError("no certificate in x509/ is for this identity and has a key in private/")

    @cached_property
    def _authorities(self) -> list[Found]:
        return [self._certificate("x509ca", path.name) for path in self._files("x509ca")]

    @cached_property
    def _private(self) -> list[tuple[str, PrivateKey]]:
        """All keys that can be read; others have a password, or are of a kind that is not supported."""
        return list(self._keys())

    def _keys(self) -> Iterator[tuple[str, PrivateKey]]:
        for folder in _KEYS:
            for text in self.all(folder, "PRIVATE KEY"):
                try:
                    yield text, PrivateKey.load(text.encode())
                except SignatureError:
                    continue

    def _key_of(self, public: PublicKey, what: str) -> str:
        for text, key in self._private:
            if key.public == public:
                return text
        raise ValueError(f"no key in private/ that needs no password is that of {what}")

    def _above(self, cert: Certificate) -> Iterator[Found]:
        """The CAs from the one that issued a certificate up, but for the root."""
        seen = {cert}
        while True:
            issuer = next(
                (ca for ca in self._authorities if ca.cert not in seen and issued(ca.cert, cert)), None
            )
            if issuer is None or issuer.cert.self_issued:
                return
            yield issuer
            seen.add(issuer.cert)
            cert = issuer.cert
