"""Exponentiation by OpenSSL equals Python's, and yields to it where pyca has no finite-field DH."""

from __future__ import annotations

import sys
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.crypto import modp
from sim.crypto.modp import PRIMES, power, power_python
from tests.crypto.vectors import load

PRIME_2048 = PRIMES[2048]


@pytest.mark.parametrize(("bits", "prime"), load("rfc-vectors/rfc3526.json")["primes"].items())
def test_rfc_3526_primes(bits: str, prime: str) -> None:
    assert PRIMES[int(bits)] == int(prime, 16)


def test_rfc_2409_prime_of_1024_bits() -> None:
    """RFC 2409 6.2 gives it by its formula; it is a safe prime, as far as a Fermat test tells."""
    prime = PRIMES[1024]
    assert prime == 2**1024 - 2**960 - 1 + 2**64 * (pi_times_two_to(894) + 129093)
    for p in (prime, (prime - 1) // 2):
        assert {pow(a, p - 1, p) for a in (2, 3, 5, 7)} == {1}


@settings(max_examples=20)
@given(st.integers(2, PRIME_2048 - 2), st.integers(1, 2**256 - 1))
def test_power_equals_pow(base: int, exponent: int) -> None:
    assert power(base, exponent, PRIME_2048) == power_python(base, exponent, PRIME_2048)


@pytest.mark.parametrize("exponent", [1, 2, 3, 2**256 - 1])
def test_power_of_the_smallest_and_the_largest(exponent: int) -> None:
    for base in (2, 3, PRIME_2048 - 2):
        assert power(base, exponent, PRIME_2048) == pow(base, exponent, PRIME_2048)


def test_python_takes_over_where_pyca_has_no_dh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.dh", None)
    assert modp._power_openssl() is None


def test_loading_warns_nobody_and_leaves_the_filters_alone() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        modp._power_openssl()
        assert list(warnings.filters) == before
    assert seen == []


def pi_times_two_to(bits: int) -> int:
    """[2^bits * pi] by Machin's formula, with 64 bits to spare."""
    one = 1 << (bits + 64)
    return (4 * (4 * arctan_of_inverse(5, one) - arctan_of_inverse(239, one))) >> 64


def arctan_of_inverse(x: int, one: int) -> int:
    total, term, k = 0, one // x, 1
    while term:
        total += term // k if k % 4 == 1 else -(term // k)
        term //= x * x
        k += 2
    return total
