"""Keying material against NIST's chains and the vectors of two other implementations."""

from __future__ import annotations

from typing import Any

import pytest

from sim.crypto.ids import EncryptionId, IntegrityId, KeyExchangeId, PrfId
from sim.crypto.prf import Prf
from sim.crypto.suites import ENCRYPTION, INTEGRITY, KEY_EXCHANGE, PRF
from sim.ike.keymat import ChildKeys, IkeKeys, child_keys, ike_keys, rekey_skeyseed, skeyseed
from sim.ike.proposals import EspSuite, IkeSuite
from tests.crypto.vectors import load, octets

SHA1 = PRF[PrfId.PRF_HMAC_SHA1]
CBC = ENCRYPTION[EncryptionId.ENCR_AES_CBC, 128]
GCM = ENCRYPTION[EncryptionId.ENCR_AES_GCM_16, 256]
MAC = INTEGRITY[IntegrityId.AUTH_HMAC_SHA1_96]
GROUP = KEY_EXCHANGE[KeyExchangeId.CURVE25519]
OLD_SUITE = IkeSuite(CBC, MAC, SHA1, GROUP)

NIST: list[dict[str, str]] = load("rfc-vectors/ikev2_kdf_cavp.json")
RUB: dict[str, str] = load("rub-nds/ikev2_kdf_auth.json")["vectors"][0]
ANDROID: dict[str, str] = load("android-unit/android_ike_unit_vectors.json")["constants"]["SaRecordTest.java"]
PRF_OF = {"HMAC-SHA1": PrfId.PRF_HMAC_SHA1, "HMAC-SHA256": PrfId.PRF_HMAC_SHA2_256}


@pytest.mark.parametrize("vector", NIST, ids=lambda vector: str(vector["source"][:8]))
def test_c21_nist_skeyseed_and_rekeying(vector: dict[str, Any]) -> None:
    """RFC 7296 2.14 and 2.18."""
    prf = _prf(vector)
    ni, nr, shared, renewed, sk_d = octets(vector, "ni", "nr", "g_ir", "g_ir_new", "SK_d")
    assert skeyseed(prf, ni, nr, shared).hex() == vector["SKEYSEED"]
    assert rekey_skeyseed(prf, sk_d, renewed, ni, nr).hex() == vector["SKEYSEED_rekey"]


@pytest.mark.parametrize("vector", NIST, ids=lambda vector: str(vector["source"][:8]))
def test_c21_nist_keys_are_cut_from_prf_plus_in_order(vector: dict[str, Any]) -> None:
    """SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr; SK_d and SK_p* of the PRF's size (RFC 7296 2.14)."""
    prf = _prf(vector)
    names = ("SKEYSEED", "ni", "nr", "spi_i", "spi_r", "DKM")
    seed, ni, nr, spi_i, spi_r, stream = octets(vector, *names)
    keys = ike_keys(IkeSuite(CBC, MAC, prf, GROUP), seed, ni, nr, spi_i, spi_r)
    assert [len(key) for key in keys] == [prf.key_bytes, 20, 20, 16, 16, prf.key_bytes, prf.key_bytes]
    joined = b"".join(keys)
    assert joined[: len(stream)] == stream[: len(joined)]


@pytest.mark.parametrize("vector", NIST, ids=lambda vector: str(vector["source"][:8]))
def test_c39_nist_child_keys_with_and_without_key_exchange(vector: dict[str, Any]) -> None:
    """KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr), to the responder first, encryption first (RFC 7296 2.17)."""
    ni, nr, renewed, sk_d = octets(vector, "ni", "nr", "g_ir_new", "SK_d")
    suite = EspSuite(CBC, MAC, esn=False, kex=None)
    for shared, name in ((b"", "DKM_child_sa"), (renewed, "DKM_child_sa_dh")):
        keys = child_keys(_prf(vector), sk_d, suite, ni, nr, shared)
        assert [len(key) for key in keys] == [16, 20, 16, 20]
        assert bytes.fromhex(vector[name]).startswith(b"".join(keys))


def test_c21_rub_keys_of_an_ike_sa() -> None:
    ni, nr, shared = octets(RUB, "setInitiatorNonce", "setResponderNonce", "setDHSecret")
    spi_i, spi_r = octets(RUB, "setInitiatorCookie", "setResponderCookie")
    seed = skeyseed(SHA1, ni, nr, shared)
    assert seed.hex() == RUB["expect_getSKeyseed"]
    expected = octets(RUB, *(f"expect_getSK{name}" for name in ("d", "ai", "ar", "ei", "er", "pi", "pr")))
    assert ike_keys(OLD_SUITE, seed, ni, nr, spi_i, spi_r) == IkeKeys(*expected)


def test_c21_c39_android_keys_from_nonces_to_child_sa() -> None:
    ni, nr, shared = octets(
        ANDROID, "IKE_NONCE_INIT_HEX_STRING", "IKE_NONCE_RESP_HEX_STRING", "IKE_SHARED_DH_KEY_HEX_STRING"
    )
    spi_i, spi_r = octets(ANDROID, "IKE_INIT_SPI", "IKE_RESP_SPI")
    seed = skeyseed(SHA1, ni, nr, shared)
    keys = ike_keys(OLD_SUITE, seed, ni, nr, spi_i, spi_r)
    names = ("D", "AUTH_INIT", "AUTH_RESP", "ENCR_INIT", "ENCR_RESP", "PRF_INIT", "PRF_RESP")
    assert keys == IkeKeys(*octets(ANDROID, *(f"IKE_SK_{name}_HEX_STRING" for name in names)))

    children = ("ENCR_INIT", "AUTH_INIT", "ENCR_RESP", "AUTH_RESP")
    assert child_keys(SHA1, keys.sk_d, EspSuite(CBC, MAC, False, None), ni, nr) == ChildKeys(
        *octets(ANDROID, *(f"FIRST_CHILD_{name}_HEX_STRING" for name in children))
    )


def test_an_aead_takes_key_and_salt_and_no_integrity_keys() -> None:
    """RFC 5282 7: AES-GCM takes four octets of salt behind the key; there is no SK_a."""
    keys = ike_keys(IkeSuite(GCM, None, SHA1, GROUP), b"seed", b"ni", b"nr", b"spi_i", b"spi_r")
    assert [len(key) for key in keys] == [20, 0, 0, 36, 36, 20, 20]
    child = child_keys(SHA1, keys.sk_d, EspSuite(GCM, None, False, None), b"ni", b"nr")
    assert [len(key) for key in child] == [36, 0, 36, 0]
    assert child.encr_i + child.encr_r == SHA1.plus(keys.sk_d, b"ninr", 72)


def _prf(vector: dict[str, str]) -> Prf:
    return PRF[PRF_OF[vector["prf"]]]
