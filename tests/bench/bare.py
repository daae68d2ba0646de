"""Lower bounds: the cryptography of one handshake without any protocol, and simpy's own callback rate."""

from __future__ import annotations

import hashlib
import hmac
import time

import simpy
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.bench.measure import Sample

_SA_INIT = bytes(300)
_AUTH = bytes(250)


def handshakes(count: int) -> Sample:
    """The calls of IKE_SA_INIT and IKE_AUTH at both ends: PSK, X25519, PRF-HMAC-SHA2-256, AES-GCM-16."""
    began = time.process_time()
    for _ in range(count):
        _handshake()
    return Sample(count, time.process_time() - began)


def _handshake() -> None:
    private_i = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    private_r = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    public_i = private_i.public_key().public_bytes_raw()
    public_r = private_r.public_key().public_bytes_raw()
    _one_end(private_i, public_r)
    _one_end(private_r, public_i)


def _one_end(private: X25519PrivateKey, peer: bytes) -> None:
    for _ in range(4):  # NAT_DETECTION_*_IP: two made, two checked
        hashlib.sha1(bytes(22)).digest()
    shared = private.exchange(X25519PublicKey.from_public_bytes(peer))
    key = hmac.digest(bytes(64), shared, "sha256")  # SKEYSEED
    for _ in range(5):  # prf+ for SK_d, SK_ei, SK_er, SK_pi, SK_pr: 136 octets
        key = hmac.digest(key, bytes(113), "sha256")
    for _ in range(2):  # own AUTH and the peer's: pad key, ID, signed octets
        pad = hmac.digest(key, b"Key Pad for IKEv2", "sha256")
        hmac.digest(key, bytes(12), "sha256")
        hmac.digest(pad, _SA_INIT + bytes(64), "sha256")
    sealer, opener = AESGCM(key[:16]), AESGCM(key[:16])
    sealed = sealer.encrypt(bytes(12), _AUTH, bytes(32))
    opener.decrypt(bytes(12), sealed, bytes(32))
    for _ in range(2):  # prf+ for the Child SA's two keys: 40 octets
        hmac.digest(key, bytes(65), "sha256")
    AESGCM(key[:16])
    AESGCM(key[16:])


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
