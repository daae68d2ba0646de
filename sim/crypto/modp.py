"""Modular exponentiation for the MODP groups, and their primes (RFC 3526)."""

from __future__ import annotations

import warnings
from collections.abc import Callable

Power = Callable[[int, int, int], int]


def power_python(base: int, exponent: int, prime: int) -> int:
    return pow(base, exponent, prime)


def _power_openssl() -> Power | None:
    """`pow` by way of OpenSSL, which is ten times faster; None when pyca no longer has finite-field DH.

    The private number goes in and comes out unchanged, so the result is as deterministic as `pow`. The public
    number that pyca wants beside it plays no part in the exchange.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyca 50 deprecates finite-field DH; IKEv2 peers still ask for it
        try:
            from cryptography.hazmat.primitives.asymmetric.dh import (
                DHParameterNumbers,
                DHPrivateNumbers,
                DHPublicNumbers,
            )
        except ImportError:
            return None

    def power(base: int, exponent: int, prime: int) -> int:
        group = DHParameterNumbers(prime, 2)
        private = DHPrivateNumbers(exponent, DHPublicNumbers(2, group)).private_key()
        return int.from_bytes(private.exchange(DHPublicNumbers(base, group).public_key()), "big")

    return power


power: Power = _power_openssl() or power_python
"""base ** exponent % prime for 1 < base < prime - 1 and 0 < exponent < prime, a safe prime."""

PRIME_2048 = int(
    "FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1 29024E08 8A67CC74"
    "020BBEA6 3B139B22 514A0879 8E3404DD EF9519B3 CD3A431B 302B0A6D F25F1437"
    "4FE1356D 6D51C245 E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED"
    "EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D C2007CB8 A163BF05"
    "98DA4836 1C55D39A 69163FA8 FD24CF5F 83655D23 DCA3AD96 1C62F356 208552BB"
    "9ED52907 7096966D 670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B"
    "E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9 DE2BCBF6 95581718"
    "3995497C EA956AE5 15D22618 98FA0510 15728E5A 8AACAA68 FFFFFFFF FFFFFFFF".replace(" ", ""),
    16,
)
