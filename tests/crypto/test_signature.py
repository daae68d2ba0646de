"""Signature schemes against RFC 4754 8, RFC 7427 A, Wycheproof, and each other."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from sim.crypto.ids import HashId
from sim.crypto.signature import (
    SCHEMES,
    KeyType,
    PrivateKey,
    PublicKey,
    Scheme,
    SignatureError,
    scheme_of,
)
from tests.crypto.vectors import cases, load

# RFC 7427 appendix A, as printed there.
PRINTED = {
    "rsa-sha1": "300d06092a864886f70d0101050500",
    "rsa-sha256": "300d06092a864886f70d01010b0500",
    "rsa-sha384": "300d06092a864886f70d01010c0500",
    "rsa-sha512": "300d06092a864886f70d01010d0500",
    "ecdsa-sha1": "300906072a8648ce3d0401",
    "ecdsa-sha256": "300a06082a8648ce3d040302",
    "ecdsa-sha384": "300a06082a8648ce3d040303",
    "ecdsa-sha512": "300a06082a8648ce3d040304",
    "rsa/pss-sha1": "303e06092a864886f70d01010a3031a00b300906052b0e03021a0500a118301606092a864886f70d010108"
    "300906052b0e03021a0500a203020114a303020101",
    "rsa/pss-sha256": "304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f7"
    "0d010108300d06096086480165030402010500a203020120a303020101",
}
# RFC 8420 A.1
PRINTED |= {"ed25519": "300506032b6570", "ed448": "300506032b6571"}

WYCHEPROOF = {
    "ecdsa_secp256r1_sha256_test.json": "ecdsa-sha256",
    "ecdsa_secp384r1_sha384_test.json": "ecdsa-sha384",
    "ed25519_test.json": "ed25519",
    "rsa_signature_2048_sha256_test.json": "rsa-sha256",
    "rsa_pss_2048_sha256_mgf1_32_test.json": "rsa/pss-sha256",
}


@pytest.fixture(scope="module")
def keys() -> dict[KeyType, PrivateKey]:
    return {
        KeyType.RSA: PrivateKey(rsa.generate_private_key(65537, 2048)),
        KeyType.ECDSA: PrivateKey(ec.derive_private_key(7, ec.SECP256R1())),
        KeyType.ED25519: PrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))),
        KeyType.ED448: PrivateKey(ed448.Ed448PrivateKey.from_private_bytes(bytes(57))),
    }


@pytest.mark.parametrize("name", PRINTED)
def test_c27_algorithm_identifiers_are_those_that_the_rfcs_print(name: str) -> None:
    octets = bytes.fromhex(PRINTED[name])
    assert SCHEMES[name].identifier == octets
    assert scheme_of(octets) is SCHEMES[name]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_c27_every_identifier_is_read_again_and_no_cut_of_it_is(scheme: Scheme) -> None:
    assert scheme_of(scheme.identifier) is scheme
    for size in range(len(scheme.identifier)):
        with pytest.raises(SignatureError):
            scheme_of(scheme.identifier[:size])


def test_c27_parameters_may_be_left_out_where_der_or_habit_says_so() -> None:
    """RSA without its NULL, and RSASSA-PSS without what is default (RFC 4055 3.1)."""
    assert scheme_of(bytes.fromhex("300b06092a864886f70d01010b")).name == "rsa-sha256"
    assert scheme_of(bytes.fromhex("300d06092a864886f70d01010a3000")).name == "rsa/pss-sha1"
    short = PRINTED["rsa/pss-sha256"].removesuffix("a303020101").replace("304606", "304106", 1)
    assert scheme_of(bytes.fromhex(short.replace("3039a0", "3034a0"))).name == "rsa/pss-sha256"


@pytest.mark.parametrize(
    "wrong",
    [
        PRINTED["rsa/pss-sha256"].replace("a203020120", "a203020114"),  # another salt
        PRINTED["rsa/pss-sha256"].replace("a303020101", "a303020102"),  # another trailer
        "300d06092a864886f70d0101040500",  # MD5
        "300b06092a864886f70d01010a",  # RSASSA-PSS without parameters
        "300a06082a8648ce3d040302" + "00",
        "",
    ],
)
def test_c27_other_algorithms_are_refused(wrong: str) -> None:
    with pytest.raises(SignatureError):
        scheme_of(bytes.fromhex(wrong))


@given(st.binary(max_size=80))
def test_c27_arbitrary_octets_are_a_scheme_or_an_error(octets: bytes) -> None:
    with suppress(SignatureError):
        assert scheme_of(octets) in SCHEMES.values()


@pytest.mark.parametrize(("size", "hash_name"), [(256, "sha256"), (384, "sha384"), (521, "sha512")])
def test_rfc4754_signatures_verify_as_r_and_s(size: int, hash_name: str) -> None:
    """RFC 4754 8.1 to 8.3: r and s side by side, each as long as the curve's order."""
    vector = load("rfc-vectors/rfc4754_ecdsa.json")[f"ecdsa-{size}"]
    curve = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}[size]
    private = ec.derive_private_key(int(vector["w"], 16), curve)
    numbers = private.public_key().public_numbers()
    assert (numbers.x, numbers.y) == (int(vector["gwx"], 16), int(vector["gwy"], 16))
    key, scheme = PrivateKey(private), SCHEMES[f"ecdsa-{hash_name}"]
    signature = bytes.fromhex(vector["r"] + vector["s"])
    key.public.verify_plain(scheme, signature, b"abc")
    key.public.verify_plain(scheme, key.sign_plain(scheme, b"abc"), b"abc")
    for wrong in (signature[1:], signature + b"\0", signature[:-1] + b"\0", bytes(len(signature))):
        with pytest.raises(SignatureError):
            key.public.verify_plain(scheme, wrong, b"abc")


@pytest.mark.parametrize("file", WYCHEPROOF)
def test_wycheproof_signatures_are_judged_as_published(file: str) -> None:
    judged = 0
    for group, test in cases(f"wycheproof/{file}"):
        key = PublicKey(bytes.fromhex(group["publicKeyDer"]))
        scheme = SCHEMES[WYCHEPROOF[file]]
        data, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        judged += 1
        if test["result"] == "valid":
            key.verify(scheme, signature, data)
        elif test["result"] == "invalid":
            with pytest.raises(SignatureError):
                key.verify(scheme, signature, data)
    assert judged > 100


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_every_scheme_verifies_what_it_signs_and_nothing_else(
    scheme: Scheme, keys: dict[KeyType, PrivateKey]
) -> None:
    key = keys[scheme.key]
    signature = key.sign(scheme, b"octets")
    key.public.verify(scheme, signature, b"octets")
    if not scheme.pss:  # the salt is OpenSSL's
        assert key.sign(scheme, b"octets") == signature
    for other in SCHEMES.values():
        if other is not scheme:
            with pytest.raises(SignatureError):
                key.public.verify(other, signature, b"octets")
            if other.key is not scheme.key:
                with pytest.raises(SignatureError):
                    key.sign(other, b"octets")
    with pytest.raises(SignatureError):
        key.public.verify(scheme, signature, b"other octets")


def test_eddsa_takes_the_hash_called_identity() -> None:
    assert {SCHEMES[name].hash for name in ("ed25519", "ed448")} == {HashId.IDENTITY}


def test_private_keys_load_from_every_usual_form() -> None:
    key = ec.derive_private_key(7, ec.SECP256R1())
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        for encoding in (Encoding.PEM, Encoding.DER):
            loaded = PrivateKey.load(key.private_bytes(encoding, form, NoEncryption()))
            assert loaded.public == PrivateKey(key).public
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for wrong in (locked, b"", b"-----BEGIN PRIVATE KEY-----\n", bytes(100)):
        with pytest.raises(SignatureError, match="cannot be read"):
            PrivateKey.load(wrong)


def test_keys_that_prove_nothing_are_refused() -> None:
    short = rsa.generate_private_key(65537, 1024).public_key()
    octets = short.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert PublicKey(octets).bits == 1024
    other = dsa.generate_private_key(1024).public_key()
    for wrong in (b"", octets[:-1], other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)):
        with pytest.raises(SignatureError):
            PublicKey(wrong)
