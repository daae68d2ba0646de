"""ML-KEM against known answers; what FIPS 203 refuses."""

from __future__ import annotations

import os
from typing import Any

import pytest

from sim.crypto.errors import CryptoError
from sim.crypto.kem import ML_KEMS, MlKem
from sim.crypto.suites import KEY_EXCHANGE
from tests.crypto.vectors import drawn, load, no_rand, octets

methods = pytest.mark.parametrize("method", ML_KEMS, ids=lambda m: m.name)
vectors = pytest.mark.parametrize(
    "vector", load("ml-kem/kat.json")["vectors"], ids=lambda v: f"{v['method']}-{v['count']}"
)


@vectors
def test_known_answers_from_the_seed(vector: dict[str, Any]) -> None:
    """The drawn octets d ‖ z are the key pair (FIPS 203 7.1); the ciphertext gives the secret (7.3)."""
    d, z, public, ciphertext, secret = octets(vector, "d", "z", "public", "ciphertext", "secret")
    pair = KEY_EXCHANGE[vector["method"]].generate(drawn(d + z))
    assert pair.public == public
    assert pair.agree(ciphertext) == secret


@vectors
def test_a_changed_ciphertext_gives_the_secret_of_implicit_rejection(vector: dict[str, Any]) -> None:
    """FIPS 203 6.3: no error that an attacker could see; the AUTH payloads fail instead."""
    d, z, ciphertext, secret = octets(vector, "d", "z", "bad_ciphertext", "bad_secret")
    pair = KEY_EXCHANGE[vector["method"]].generate(drawn(d + z))
    assert pair.agree(ciphertext) == secret


@methods
def test_the_responder_encapsulates_and_draws_nothing(method: MlKem) -> None:
    pair = method.generate(os.urandom)
    ciphertext, secret = method.respond(pair.public, no_rand)
    assert (len(pair.public), len(ciphertext), len(secret)) == (
        method.public_bytes,
        method.response_bytes,
        32,
    )
    assert pair.agree(ciphertext) == secret
    assert method.respond(pair.public, no_rand) != (ciphertext, secret), "encapsulation is randomised"


@methods
def test_a_key_that_is_not_reduced_is_refused(method: MlKem) -> None:
    """The modulus check of FIPS 203 7.2: each coefficient is below 3329."""
    public = method.generate(os.urandom).public
    for at in (0, 3, method.public_bytes - 35):  # three octets are two coefficients of 12 bits
        wrong = public[:at] + (3329).to_bytes(2, "little") + b"\x00" + public[at + 3 :]
        with pytest.raises(CryptoError, match=f"{method.name} value is no encapsulation key"):
            method.respond(wrong, no_rand)


@methods
def test_c20_a_value_of_another_size_is_refused(method: MlKem) -> None:
    pair = method.generate(os.urandom)
    for size in (0, 32, method.public_bytes - 1, method.public_bytes + 1):
        with pytest.raises(CryptoError, match=f"{method.public_bytes} octets, not {size}"):
            method.respond(bytes(size), no_rand)
    for size in (0, 32, method.response_bytes - 1, method.response_bytes + 1):
        with pytest.raises(CryptoError, match=f"{method.response_bytes} octets, not {size}"):
            pair.agree(bytes(size))
