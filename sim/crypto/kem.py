"""ML-KEM as a key exchange (FIPS 203, draft-ietf-ipsecme-ikev2-mlkem): the responder encapsulates.

The initiator's key pair comes from the 64 octets of seed that `rand` returned, d ‖ z. What the responder
encapsulates with is drawn by OpenSSL and cannot be given: with ML-KEM a run's sizes, times and events repeat,
its octets do not. ML-KEM-512 is left out, because pyca has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import mlkem

from sim.crypto.errors import CryptoError
from sim.crypto.ids import KeyExchangeId
from sim.crypto.kex import Rand

_SEED_BYTES = 64

_Private = mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey


@dataclass(frozen=True, slots=True)
class MlKem:
    """One parameter set; `response_bytes` is the size of the responder's KE payload data, a ciphertext."""

    id: KeyExchangeId
    name: str
    public_bytes: int
    response_bytes: int
    private: type[mlkem.MLKEM768PrivateKey] | type[mlkem.MLKEM1024PrivateKey]
    encapsulation_key: type[mlkem.MLKEM768PublicKey] | type[mlkem.MLKEM1024PublicKey]

    def generate(self, rand: Rand) -> MlKemPair:
        return MlKemPair(self, self.private.from_seed_bytes(rand(_SEED_BYTES)))

    def respond(self, peer_public: bytes, rand: Rand) -> tuple[bytes, bytes]:
        """The ciphertext and the secret; `rand` is not used. CryptoError for a key that is none."""
        _check_size(self, peer_public, self.public_bytes)
        try:  # coefficients must be below the modulus (FIPS 203 7.2)
            secret, ciphertext = self.encapsulation_key.from_public_bytes(peer_public).encapsulate()
        except ValueError as error:
            raise CryptoError(f"the peer's {self.name} value is no encapsulation key") from error
        return ciphertext, secret


class MlKemPair:
    __slots__ = ("_method", "_private", "public")

    def __init__(self, method: MlKem, private: _Private) -> None:
        self._method = method
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    def agree(self, peer_public: bytes) -> bytes:
        """The secret; another one than the peer's when the ciphertext was changed (FIPS 203 6.3)."""
        _check_size(self._method, peer_public, self._method.response_bytes)
        return self._private.decapsulate(peer_public)


def _check_size(method: MlKem, value: bytes, size: int) -> None:
    if len(value) != size:
        raise CryptoError(f"a {method.name} value has {size} octets, not {len(value)}")


ML_KEMS = (
    MlKem(
        KeyExchangeId.ML_KEM_768,
        "ML_KEM_768",
        1184,
        1088,
        mlkem.MLKEM768PrivateKey,
        mlkem.MLKEM768PublicKey,
    ),
    MlKem(
        KeyExchangeId.ML_KEM_1024,
        "ML_KEM_1024",
        1568,
        1568,
        mlkem.MLKEM1024PrivateKey,
        mlkem.MLKEM1024PublicKey,
    ),
)
