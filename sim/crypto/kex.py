"""Diffie-Hellman groups, checked as RFC 6989 asks, and what they have in common with key encapsulation.

MODP (RFC 2409 6.2, RFC 3526), ECP (RFC 5903), brainpool (RFC 6954), Curve25519 and Curve448 (RFC 8031). A
private value is the octets that `rand` returned, unchanged; octets outside the group's range are drawn
again. So whoever replays the draws replays the exchange. ML-KEM is in `sim.crypto.kem`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sim.crypto.errors import CryptoError
from sim.crypto.ids import KeyExchangeId
from sim.crypto.modp import PRIMES, power

Rand = Callable[[int], bytes]

_MAX_DRAWS = 100  # a source that is refused this often is broken, not unlucky


class KeyPair(Protocol):
    """The initiator's private value. `public` is what its KE payload carries."""

    @property
    def public(self) -> bytes: ...

    def agree(self, peer_public: bytes) -> bytes:
        """The shared secret, by the responder's KE payload; CryptoError when that fails its checks."""


class KeyExchange(Protocol):
    """One method; `public_bytes` is the size of the initiator's KE payload data."""

    @property
    def id(self) -> KeyExchangeId: ...
    @property
    def name(self) -> str: ...
    @property
    def public_bytes(self) -> int: ...

    def generate(self, rand: Rand) -> KeyPair:
        """The initiator begins."""

    def respond(self, peer_public: bytes, rand: Rand) -> tuple[bytes, bytes]:
        """The responder's KE payload data and the shared secret; CryptoError as from `KeyPair.agree`."""


class _Group(ABC):
    """Diffie-Hellman: the responder does what the initiator does."""

    __slots__ = ()

    @abstractmethod
    def generate(self, rand: Rand) -> KeyPair: ...

    def respond(self, peer_public: bytes, rand: Rand) -> tuple[bytes, bytes]:
        pair = self.generate(rand)
        return pair.public, pair.agree(peer_public)


@dataclass(frozen=True, slots=True)
class Modp(_Group):
    """A group over a safe prime with generator 2; values are left padded to its size (RFC 7296 3.4)."""

    id: KeyExchangeId
    name: str
    prime: int
    exponent_bytes: int

    @property
    def public_bytes(self) -> int:
        return (self.prime.bit_length() + 7) // 8

    def generate(self, rand: Rand) -> KeyPair:
        return _ModpPair(self, _draw(rand, self.exponent_bytes, self.prime))


class _ModpPair:
    __slots__ = ("_group", "_private", "public")

    def __init__(self, group: Modp, private: int) -> None:
        self._group = group
        self._private = private
        self.public = self._raise(2)

    def agree(self, peer_public: bytes) -> bytes:
        _check_size(self._group, peer_public)
        value = int.from_bytes(peer_public, "big")
        if not 1 < value < self._group.prime - 1:  # RFC 6989 2.1
            raise CryptoError(f"the peer's {self._group.name} value is not between 1 and p-1")
        return self._raise(value)

    def _raise(self, base: int) -> bytes:
        group = self._group
        return power(base, self._private, group.prime).to_bytes(group.public_bytes, "big")


@dataclass(frozen=True, slots=True)
class Ecp(_Group):
    """A group over a prime curve; values are x and y without a prefix, the secret is x alone (RFC 5903 7)."""

    id: KeyExchangeId
    name: str
    curve: ec.EllipticCurve
    order: int

    @property
    def public_bytes(self) -> int:
        return 2 * ((self.curve.key_size + 7) // 8)

    def generate(self, rand: Rand) -> KeyPair:
        private = _draw(rand, self.public_bytes // 2, self.order)
        return _EcpPair(self, ec.derive_private_key(private, self.curve))


class _EcpPair:
    __slots__ = ("_group", "_private", "public")

    def __init__(self, group: Ecp, private: ec.EllipticCurvePrivateKey) -> None:
        self._group = group
        self._private = private
        self.public = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]

    def agree(self, peer_public: bytes) -> bytes:
        _check_size(self._group, peer_public)
        try:  # the point must be on the curve (RFC 6989 2.3)
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._group.curve, b"\x04" + peer_public)
        except ValueError as error:
            raise CryptoError(f"the peer's {self._group.name} value is no point on the curve") from error
        return self._private.exchange(ec.ECDH(), point)


@dataclass(frozen=True, slots=True)
class Montgomery(_Group):
    """X25519 or X448: a value and the secret are one coordinate (RFC 8031 3.1)."""

    id: KeyExchangeId
    name: str
    public_bytes: int
    private: type[x25519.X25519PrivateKey] | type[x448.X448PrivateKey]
    point: type[x25519.X25519PublicKey] | type[x448.X448PublicKey]

    def generate(self, rand: Rand) -> KeyPair:
        return _MontgomeryPair(self, self.private.from_private_bytes(rand(self.public_bytes)))


class _MontgomeryPair:
    __slots__ = ("_exchange", "_group", "public")

    def __init__(self, group: Montgomery, private: x25519.X25519PrivateKey | x448.X448PrivateKey) -> None:
        self._group = group
        self._exchange: Callable[[object], bytes] = private.exchange  # type: ignore[assignment]
        self.public = private.public_key().public_bytes_raw()

    def agree(self, peer_public: bytes) -> bytes:
        _check_size(self._group, peer_public)
        try:
            return self._exchange(self._group.point.from_public_bytes(peer_public))
        except ValueError as error:  # all zero: a point of low order (RFC 7748 6.1, 6.2)
            raise CryptoError(f"the peer's {self._group.name} value gives an all-zero secret") from error


CURVE25519 = Montgomery(
    KeyExchangeId.CURVE25519, "CURVE_25519", 32, x25519.X25519PrivateKey, x25519.X25519PublicKey
)
CURVE448 = Montgomery(KeyExchangeId.CURVE448, "CURVE_448", 56, x448.X448PrivateKey, x448.X448PublicKey)

ECP_GROUPS = tuple(
    Ecp(id_, id_.name, curve, curve.group_order)
    for id_, curve in (
        (KeyExchangeId.ECP_256, ec.SECP256R1()),
        (KeyExchangeId.ECP_384, ec.SECP384R1()),
        (KeyExchangeId.ECP_521, ec.SECP521R1()),
        (KeyExchangeId.BRAINPOOL_P256R1, ec.BrainpoolP256R1()),
        (KeyExchangeId.BRAINPOOL_P384R1, ec.BrainpoolP384R1()),
        (KeyExchangeId.BRAINPOOL_P512R1, ec.BrainpoolP512R1()),
    )
)

# Exponents have the size that RFC 3526 8 estimates for each prime: 220 to 320 bits for 2048 ones.
MODP_GROUPS = tuple(
    Modp(id_, id_.name, PRIMES[bits], exponent_bytes)
    for id_, bits, exponent_bytes in (
        (KeyExchangeId.MODP_1024, 1024, 32),
        (KeyExchangeId.MODP_1536, 1536, 32),
        (KeyExchangeId.MODP_2048, 2048, 32),
        (KeyExchangeId.MODP_3072, 3072, 40),
        (KeyExchangeId.MODP_4096, 4096, 48),
        (KeyExchangeId.MODP_6144, 6144, 56),
        (KeyExchangeId.MODP_8192, 8192, 64),
    )
)


def _check_size(group: Modp | Ecp | Montgomery, public: bytes) -> None:
    if len(public) != group.public_bytes:
        raise CryptoError(f"a {group.name} value has {group.public_bytes} octets, not {len(public)}")


def _draw(rand: Rand, size: int, end: int) -> int:
    """A number in 1 .. end - 1 of at most `size` octets, by rejection (FIPS 186-5 A.2.2)."""
    mask = (1 << end.bit_length()) - 1
    for _ in range(_MAX_DRAWS):
        value = int.from_bytes(rand(size), "big") & mask
        if 0 < value < end:
            return value
    raise ValueError(f"{_MAX_DRAWS} draws of {size} octets gave no number between 0 and {end:#x}")
