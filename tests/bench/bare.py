"""Lower bounds: the cryptography of one handshake without any protocol, and simpy's own callback rate."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

import simpy
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from tests.bench.measure import Sample

_SA_INIT = bytes(300)
_AUTH = bytes(250)
_MLKEM_BYTES = 1136
"""Between an encapsulation key, 1184 octets, and a ciphertext, 1088."""
_CERT_BYTES = 500
"""What a CA signs of a certificate, about."""


class SharedKey:
    """AUTH with a pre-shared key: our own and the peer's, each with its pad key and the ID."""

    def prove(self, key: bytes) -> None:
        for _ in range(2):
            pad = hmac.digest(key, b"Key Pad for IKEv2", "sha256")
            hmac.digest(key, bytes(12), "sha256")
            hmac.digest(pad, _SA_INIT + bytes(64), "sha256")


class Certificates:
    """AUTH with signatures: our own made, the peer's and the one in its certificate verified."""

    def __init__(self, sign: Callable[[bytes], bytes], verify: Callable[[bytes, bytes], None]) -> None:
        self._sign = sign
        self._verify = verify
        self._signature = sign(bytes(_CERT_BYTES))

    def prove(self, key: bytes) -> None:
        signed = _SA_INIT + bytes(32)
        for _ in range(2):
            hmac.digest(key, bytes(12), "sha256")
        self._verify(self._signature, bytes(_CERT_BYTES))
        self._verify(self._sign(signed), signed)


def rsa_2048() -> Certificates:
    key, by = rsa.generate_private_key(65537, 2048), (padding.PKCS1v15(), SHA256())
    public = key.public_key()
    return Certificates(lambda data: key.sign(data, *by), lambda made, data: public.verify(made, data, *by))


def ecdsa_p256() -> Certificates:
    key, by = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(SHA256(), deterministic_signing=True)
    public = key.public_key()
    return Certificates(lambda data: key.sign(data, by), lambda made, data: public.verify(made, data, by))


def handshakes(count: int, auth: SharedKey | Certificates | None = None, *, mlkem: bool = False) -> Sample:
    """The calls of IKE_SA_INIT and IKE_AUTH at both ends: X25519, PRF-HMAC-SHA2-256, AES-GCM-16.

    By default with a pre-shared key; with `mlkem` also those of an IKE_INTERMEDIATE with ML-KEM-768.
    """
    auth = auth or SharedKey()
    began = time.process_time()
    for _ in range(count):
        _handshake(auth, mlkem)
    return Sample(count, time.process_time() - began)


def _handshake(auth: SharedKey | Certificates, mlkem: bool) -> None:
    private_i = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    private_r = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    public_i = private_i.public_key().public_bytes_raw()
    public_r = private_r.public_key().public_bytes_raw()
    if mlkem:
        _encapsulate()
    for private, peer in ((private_i, public_r), (private_r, public_i)):
        key = _keys(private.exchange(X25519PublicKey.from_public_bytes(peer)))
        if mlkem:
            _message(key, bytes(_MLKEM_BYTES))
            for _ in range(2):  # IntAuth of each direction
                hmac.digest(key, bytes(_MLKEM_BYTES), "sha256")
            key = _keys(key)
        _one_end(key, auth)


def _encapsulate() -> None:
    private = MLKEM768PrivateKey.from_seed_bytes(bytes(range(64)))
    public = private.public_key().public_bytes_raw()
    _, ciphertext = MLKEM768PublicKey.from_public_bytes(public).encapsulate()
    private.decapsulate(ciphertext)


def _keys(shared: bytes) -> bytes:
    key = hmac.digest(bytes(64), shared, "sha256")  # SKEYSEED
    for _ in range(5):  # prf+ for SK_d, SK_ei, SK_er, SK_pi, SK_pr: 136 octets
        key = hmac.digest(key, bytes(113), "sha256")
    return key


def _one_end(key: bytes, auth: SharedKey | Certificates) -> None:
    for _ in range(4):  # NAT_DETECTION_*_IP: two made, two checked
        hashlib.sha1(bytes(22)).digest()
    auth.prove(key)
    _message(key, _AUTH)
    for _ in range(2):  # prf+ for the Child SA's two keys: 40 octets
        hmac.digest(key, bytes(65), "sha256")
    AESGCM(key[:16])
    AESGCM(key[16:])


def _message(key: bytes, plaintext: bytes) -> None:
    """One message sealed, and one opened."""
    sealer, opener = AESGCM(key[:16]), AESGCM(key[:16])
    opener.decrypt(bytes(12), sealer.encrypt(bytes(12), plaintext, bytes(32)), bytes(32))


def callbacks(count: int) -> Sample:
    """A simpy event whose callback schedules the next one, and nothing else."""
    env = simpy.Environment(0)

    def again(_: simpy.Event) -> None:
        if env.now < count:
            env.timeout(1).callbacks.append(again)

    env.timeout(1).callbacks.append(again)
    began = time.process_time()
    env.run()
    return Sample(count, time.process_time() - began)
