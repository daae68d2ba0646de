"""Exponentiation by OpenSSL equals Python's, and yields to it where pyca has no finite-field DH."""

from __future__ import annotations

import sys
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.crypto import modp
from sim.crypto.modp import PRIME_2048, power, power_python


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
