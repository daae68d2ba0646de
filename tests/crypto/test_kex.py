"""Key exchange against RFC 3526, 5903 and 7748 and Wycheproof; the checks of RFC 6989."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sim.crypto import kex
from sim.crypto.errors import CryptoError
from sim.crypto.ids import KeyExchangeId
from sim.crypto.kex import Ecp, KeyExchange, Modp, Rand
from sim.crypto.modp import PRIMES, power_python
from sim.crypto.suites import KEY_EXCHANGE
from tests.crypto.vectors import cases, drawn, load, octets

MODP = KEY_EXCHANGE[KeyExchangeId.MODP_2048]
P256 = KEY_EXCHANGE[KeyExchangeId.ECP_256]
X25519 = KEY_EXCHANGE[KeyExchangeId.CURVE25519]
X448 = KEY_EXCHANGE[KeyExchangeId.CURVE448]
KEMS = {KeyExchangeId.ML_KEM_768, KeyExchangeId.ML_KEM_1024}
GROUPS = [method for method in KEY_EXCHANGE.values() if method.id not in KEMS]
MODPS = [method for method in GROUPS if isinstance(method, Modp)]
ECPS = [method for method in GROUPS if isinstance(method, Ecp)]

PRIME_2048 = PRIMES[2048]

P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1  # FIPS 186-4 D.1.2.3
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize(
    "vector", load("rfc-vectors/key_exchange.json")["vectors"], ids=lambda v: f"group{v['group']}"
)
def test_rfc_exchange_from_the_private_octets(vector: dict[str, Any]) -> None:
    """RFC 5903 8, RFC 7748 6, RFC 7027: the drawn octets are the private value."""
    private_i, private_r, public_i, public_r, shared = octets(
        vector, "private_i", "private_r", "public_i", "public_r", "shared"
    )
    group = KEY_EXCHANGE[vector["group"]]
    initiator, responder = group.generate(drawn(private_i)), group.generate(drawn(private_r))
    assert (initiator.public, responder.public) == (public_i, public_r)
    assert initiator.agree(public_r) == responder.agree(public_i) == shared
    assert group.respond(public_i, drawn(private_r)) == (public_r, shared)
    assert {len(public_i), len(public_r)} == {group.public_bytes}


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (X25519, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"),
        (
            X448,
            "aa3b4749d55b9daf1e5b00288826c467274ce3ebbdd5c17b975e09d4af6c67cf"
            "10d087202db88286e2b79fceea3ec353ef54faa26e219f38",
        ),
    ],
    ids=["x25519", "x448"],
)
def test_rfc_7748_iterated_thousand_times(group: KeyExchange, expected: str) -> None:
    """RFC 7748 5.2."""
    scalar = point = (b"\x09" if group is X25519 else b"\x05") + bytes(group.public_bytes - 1)
    for _ in range(1000):
        scalar, point = group.generate(drawn(scalar)).agree(point), scalar
    assert scalar.hex() == expected


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
def test_both_sides_agree_and_the_secret_follows_from_the_draws(group: KeyExchange) -> None:
    """Decision 7 of the design: equal draws, equal octets. ML-KEM cannot promise that."""
    pair = group.generate(seeded(1))
    public, secret = group.respond(pair.public, seeded(2))
    assert pair.agree(public) == secret
    assert group.respond(group.generate(seeded(1)).public, seeded(2)) == (public, secret)
    assert group.respond(pair.public, seeded(3))[0] != public
    assert len(public) == len(pair.public) == group.public_bytes


def test_modp_secret_is_two_to_the_product_of_the_exponents() -> None:
    exponents = [int.from_bytes(bytes(range(start, start + 32)), "big") for start in (1, 101)]
    a, b = (MODP.generate(drawn(x.to_bytes(32, "big"))) for x in exponents)
    assert int.from_bytes(a.public, "big") == pow(2, exponents[0], PRIME_2048)
    assert a.agree(b.public) == b.agree(a.public)
    assert int.from_bytes(a.agree(b.public), "big") == pow(2, exponents[0] * exponents[1], PRIME_2048)


def test_modp_without_openssl_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    private, peer = bytes(range(1, 33)), bytes(range(256))
    before = MODP.generate(drawn(private))
    expected = before.public, before.agree(peer)
    monkeypatch.setattr(kex, "power", power_python)
    after = MODP.generate(drawn(private))
    assert (after.public, after.agree(peer)) == expected


def test_c20_modp_values_are_left_padded_to_the_modulus() -> None:
    """RFC 7296 3.4 for the KE payload and 2.14 for g^ir; 2^8 and 2^64 are short."""
    pair = MODP.generate(drawn(bytes(31) + b"\x08"))
    assert pair.public == bytes(254) + b"\x01\x00"
    assert pair.agree(pair.public) == bytes(247) + b"\x01" + bytes(8)


def test_c20_ecp_coordinates_are_left_padded() -> None:
    """RFC 5903 7; about one x in 256 begins with a zero octet."""
    pairs = (P256.generate(drawn(n.to_bytes(32, "big"))) for n in range(1, 2000))
    short = next(pair for pair in pairs if pair.public[0] == 0)
    one = P256.generate(drawn(bytes(31) + b"\x01"))
    assert len(short.public) == 64
    assert short.agree(one.public) == short.public[:32]


@pytest.mark.parametrize("group", MODPS, ids=lambda g: g.name)
def test_c20_values_of_every_modp_group_are_left_padded(group: Modp) -> None:
    """RFC 7296 3.4; the exponents 8 and 8 give 2^8 and 2^64."""
    size = group.public_bytes
    pair = group.generate(drawn(bytes(group.exponent_bytes - 1) + b"\x08"))
    assert pair.public == bytes(size - 2) + b"\x01\x00"
    assert pair.agree(pair.public) == bytes(size - 9) + b"\x01" + bytes(8)


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
def test_c20_a_value_of_another_size_is_refused(group: KeyExchange) -> None:
    """A peer that strips leading zeros, or sends another group's value."""
    pair = group.generate(seeded(1))
    for public in (b"", pair.public[1:], pair.public[:-1], b"\x00" + pair.public, pair.public * 2):
        with pytest.raises(CryptoError, match=rf"{group.public_bytes} octets, not {len(public)}"):
            pair.agree(public)
        with pytest.raises(CryptoError, match="octets, not"):
            group.respond(public, seeded(2))


@pytest.mark.parametrize("group", MODPS, ids=lambda g: g.name)
def test_rfc_6989_every_modp_group_refuses_what_is_no_member(group: Modp) -> None:
    """RFC 6989 2.1: 1 < value < p - 1."""
    pair = group.generate(seeded(1))
    for value in (0, 1, group.prime - 1, group.prime, 256**group.public_bytes - 1):
        with pytest.raises(CryptoError, match="between 1 and p-1"):
            pair.agree(value.to_bytes(group.public_bytes, "big"))


@pytest.mark.parametrize("group", ECPS, ids=lambda g: g.name)
def test_rfc_6989_every_curve_refuses_what_is_no_point(group: Ecp) -> None:
    """RFC 6989 2.3: the value must solve the curve's equation, in reduced coordinates."""
    pair = group.generate(seeded(1))
    half = group.public_bytes // 2
    x, y = pair.public[:half], pair.public[half:]
    for public in (bytes(2 * half), x + x, y + x, x + bytes(half), b"\xff" * 2 * half):
        with pytest.raises(CryptoError, match="no point on the curve"):
            pair.agree(public)


@pytest.mark.parametrize(
    "value",
    [0, 1, PRIME_2048 - 1, PRIME_2048, PRIME_2048 + 1, 2**2048 - 1],
    ids=lambda v: f"...{v & 255:02x}",
)
def test_rfc_6989_modp_value_outside_its_range_is_refused(value: int) -> None:
    pair = MODP.generate(drawn(b"\x11" * 32))
    with pytest.raises(CryptoError, match="between 1 and p-1"):
        pair.agree(value.to_bytes(256, "big"))


@pytest.mark.parametrize("value", [2, 11, PRIME_2048 - 2], ids=["two", "non-residue", "p-2"])
def test_rfc_6989_modp_value_inside_its_range_is_accepted(value: int) -> None:
    """A safe prime needs no other check, so values outside the subgroup of 2 pass (RFC 6989 2.1)."""
    pair = MODP.generate(drawn(b"\x11" * 32))
    expected = pow(value, int.from_bytes(b"\x11" * 32, "big"), PRIME_2048)
    assert pair.agree(value.to_bytes(256, "big")) == expected.to_bytes(256, "big")


def test_rfc_6989_ecp_value_off_the_curve_is_refused() -> None:
    pair = P256.generate(drawn(b"\x11" * 32))
    x, y = pair.public[:32], pair.public[32:]
    off = [bytes(64), x + x, y + x, x + bytes(32), b"\xff" * 64]
    for public in off:
        with pytest.raises(CryptoError, match="no point on the curve"):
            pair.agree(public)


def test_rfc_6989_ecp_coordinate_that_is_not_reduced_is_refused() -> None:
    """(5, y) lies on the curve; (5 + p, y) solves its equation too, but is no point (SEC 1 3.2.2.1)."""
    pair = P256.generate(drawn(b"\x11" * 32))
    y = point_with_x(5)
    pair.agree((5).to_bytes(32, "big") + y)
    with pytest.raises(CryptoError, match="no point on the curve"):
        pair.agree((5 + P256_PRIME).to_bytes(32, "big") + y)


def test_wycheproof_ecdh_on_p256() -> None:
    """Points off the curve are refused; so are points in a form that a KE payload does not carry."""
    results = {True: 0, False: 0}
    for _, test in cases("wycheproof/ecdh_secp256r1_ecpoint_test.json"):
        public, private, shared = octets(test, "public", "private", "shared")
        pair = P256.generate(drawn(private.lstrip(b"\x00").rjust(32, b"\x00")))
        valid = test["result"] == "valid" and public[0] == 4
        body = public[1:] if public[:1] == b"\x04" else public
        assert agreed(pair.agree, body) == (shared if valid else None), test["tcId"]
        results[valid] += 1
    assert results == {True: 330, False: 25}


def test_wycheproof_x25519_low_order_points_are_refused() -> None:
    """An all-zero secret is refused (RFC 7748 6.1), all else agrees: twist and unreduced values too."""
    results = {True: 0, False: 0}
    for _, test in cases("wycheproof/x25519_test.json"):
        public, private, shared = octets(test, "public", "private", "shared")
        good = any(shared)
        assert agreed(X25519.generate(drawn(private)).agree, public) == (shared if good else None), test[
            "tcId"
        ]
        results[good] += 1
    assert results[False] > 20
    assert results[True] > 450


def test_wycheproof_x448_low_order_points_are_refused() -> None:
    results = {True: 0, False: 0}
    for _, test in cases("wycheproof/x448_test.json"):
        public, private, shared = octets(test, "public", "private", "shared")
        good = any(shared) and len(public) == 56
        agree = X448.generate(drawn(private)).agree
        assert agreed(agree, public) == (shared if good else None), test["tcId"]
        results[good] += 1
    assert results[False] >= 12
    assert results[True] > 100


@pytest.mark.parametrize(
    ("curve", "group"),
    [
        ("secp384r1_ecpoint", KeyExchangeId.ECP_384),
        ("secp521r1_ecpoint", KeyExchangeId.ECP_521),
        ("brainpoolP256r1", KeyExchangeId.BRAINPOOL_P256R1),
    ],
)
def test_wycheproof_ecdh_on_other_curves(curve: str, group: KeyExchangeId) -> None:
    results = {True: 0, False: 0}
    method = KEY_EXCHANGE[group]
    half = method.public_bytes // 2
    for _, test in cases(f"wycheproof/ecdh_{curve}_test.json"):
        public, private, shared = octets(test, "public", "private", "shared")
        pair = method.generate(drawn(private.lstrip(b"\x00").rjust(half, b"\x00")))
        valid = test["result"] == "valid" and public[0] == 4
        body = public[1:] if public[:1] == b"\x04" else public
        assert agreed(pair.agree, body) == (shared if valid else None), test["tcId"]
        results[valid] += 1
    assert results[True] > 60
    assert results[False] >= 5


def test_ecp_private_value_outside_the_order_is_drawn_again() -> None:
    good = (P256_ORDER - 1).to_bytes(32, "big")
    bad = [bytes(32), P256_ORDER.to_bytes(32, "big"), b"\xff" * 32]
    assert P256.generate(drawn(*bad, good)).public == P256.generate(drawn(good)).public


def test_modp_private_value_zero_is_drawn_again() -> None:
    good = bytes(31) + b"\x02"
    assert MODP.generate(drawn(bytes(32), good)).public == bytes(255) + b"\x04"


@pytest.mark.parametrize("group", [MODP, P256], ids=lambda g: g.name)
def test_a_source_that_is_always_refused_is_an_error(group: KeyExchange) -> None:
    with pytest.raises(ValueError, match="100 draws of 32 octets"):
        group.generate(bytes)


def seeded(seed: int) -> Rand:
    return random.Random(seed).randbytes


def agreed(agree: Any, public: bytes) -> bytes | None:
    try:
        return bytes(agree(public))
    except CryptoError:
        return None


def point_with_x(x: int) -> bytes:
    """A y on P-256 for that x; p is 3 mod 4, so a square root is one power (SEC 1 2.3.4)."""
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    square = (x**3 - 3 * x + b) % P256_PRIME
    y = pow(square, (P256_PRIME + 1) // 4, P256_PRIME)
    assert y * y % P256_PRIME == square
    return y.to_bytes(32, "big")
