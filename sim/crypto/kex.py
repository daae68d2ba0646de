"""Diffie-Hellman groups: MODP (RFC 3526), ECP (RFC 5903), Curve25519 (RFC 8031), checked as RFC 6989 asks.

A private value is the octets that `rand` returned, unchanged; octets outside the group's range are drawn
again. So whoever replays the draws replays the exchange. Left out: key encapsulation (ML-KEM), whose
responder needs the initiator's value before it has one of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sim.crypto.errors import CryptoError
from sim.crypto.ids import KeyExchangeId
from sim.crypto.modp import power

Rand = Callable[[int], bytes]

_MAX_DRAWS = 100  # a source that is refused this often is broken, not unlucky


class KeyPair(Protocol):
    """One side's private value. `public` is what its KE payload carries."""

    @property
    def public(self) -> bytes: ...

    def agree(self, peer_public: bytes) -> bytes:
        """The shared secret g^ir; CryptoError when the peer's value fails the checks of RFC 6989."""


class KeyExchange(Protocol):
    """One group; `public_bytes` is the size of its KE payload's data."""

    @property
    def id(self) -> KeyExchangeId: ...
    @property
    def name(self) -> str: ...
    @property
    def public_bytes(self) -> int: ...

    def generate(self, rand: Rand) -> KeyPair: ...


@dataclass(frozen=True, slots=True)
class Modp:
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
class Ecp:
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
class Curve25519:
    id: KeyExchangeId = KeyExchangeId.CURVE25519
    name: str = "CURVE_25519"
    public_bytes: int = 32

    def generate(self, rand: Rand) -> KeyPair:
        return _Curve25519Pair(self, x25519.X25519PrivateKey.from_private_bytes(rand(self.public_bytes)))


class _Curve25519Pair:
    __slots__ = ("_group", "_private", "public")

    def __init__(self, group: Curve25519, private: x25519.X25519PrivateKey) -> None:
        self._group = group
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    def agree(self, peer_public: bytes) -> bytes:
        _check_size(self._group, peer_public)
        try:
            return self._private.exchange(x25519.X25519PublicKey.from_public_bytes(peer_public))
        except ValueError as error:  # all zero: a point of low order (RFC 7748 6.1)
            raise CryptoError(f"the peer's {self._group.name} value gives an all-zero secret") from error


def _check_size(group: KeyExchange, public: bytes) -> None:
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
