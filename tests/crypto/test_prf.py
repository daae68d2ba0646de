"""PRFs and prf+ against RFC 2202, 4231 and 4868, Wycheproof, and the key chains of NIST, AOSP and RUB."""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from sim.crypto.ids import PrfId
from sim.crypto.prf import Prf
from sim.crypto.suites import PRF
from tests.crypto.vectors import cases, load, octets

BY_HASH = {
    "sha1": PRF[PrfId.PRF_HMAC_SHA1],
    "sha256": PRF[PrfId.PRF_HMAC_SHA2_256],
    "sha384": PRF[PrfId.PRF_HMAC_SHA2_384],
    "sha512": PRF[PrfId.PRF_HMAC_SHA2_512],
}
CAVP_PRF = {"HMAC-SHA1": BY_HASH["sha1"], "HMAC-SHA256": BY_HASH["sha256"]}


@pytest.mark.parametrize("name", BY_HASH)
@pytest.mark.parametrize("origin", ["intel-ipsec-mb", "wycheproof"])
def test_prf_is_hmac_of_rfc_2202_and_4231(origin: str, name: str) -> None:
    ran = 0
    for group, test in cases(f"{origin}/hmac_{name}_test.json"):
        key, message, tag = octets(test, "key", "msg", "tag")
        if test["result"] == "valid":
            assert BY_HASH[name](key, message)[: group["tagSize"] // 8] == tag, test["comment"]
            ran += 1
    assert ran >= 7


@pytest.mark.parametrize("vector", load("rfc-vectors/rfc4868.json")["vectors"], ids=lambda v: v["case"])
def test_prf_hmac_sha_2_of_rfc_4868(vector: dict[str, Any]) -> None:
    key, data, mac = octets(vector, "key", "data", "mac")
    assert BY_HASH["sha" + vector["case"][4:7]](key, data) == mac


@pytest.mark.parametrize("vector", load("rfc-vectors/ikev2_kdf_cavp.json"), ids=lambda v: v["prf"])
def test_c21_nist_chain_from_skeyseed_to_rekeying(vector: dict[str, Any]) -> None:
    """SKEYSEED, SK_*, Child keys with and without a new g^ir, and the next SKEYSEED (RFC 7296 2.14-2.18)."""
    prf = CAVP_PRF[vector["prf"]]
    nonces = b"".join(octets(vector, "ni", "nr"))
    spis = b"".join(octets(vector, "spi_i", "spi_r"))
    g_ir, g_ir_new, dkm, child, child_dh = octets(
        vector, "g_ir", "g_ir_new", "DKM", "DKM_child_sa", "DKM_child_sa_dh"
    )
    skeyseed = prf(nonces, g_ir)
    sk_d = prf.plus(skeyseed, nonces + spis, prf.key_bytes)

    assert [skeyseed, sk_d] == octets(vector, "SKEYSEED", "SK_d")
    assert prf.plus(skeyseed, nonces + spis, len(dkm)) == dkm
    assert prf.plus(sk_d, nonces, len(child)) == child
    assert prf.plus(sk_d, g_ir_new + nonces, len(child_dh)) == child_dh
    assert prf(sk_d, g_ir_new + nonces) == bytes.fromhex(vector["SKEYSEED_rekey"])


def test_c21_android_chain_from_g_ir_to_child_keys() -> None:
    vector = load("android-unit/android_ike_unit_vectors.json")["constants"]["SaRecordTest.java"]
    prf = BY_HASH["sha1"]
    nonces = b"".join(octets(vector, "IKE_NONCE_INIT_HEX_STRING", "IKE_NONCE_RESP_HEX_STRING"))
    spis = b"".join(octets(vector, "IKE_INIT_SPI", "IKE_RESP_SPI"))
    g_ir, ike, child = octets(vector, "IKE_SHARED_DH_KEY_HEX_STRING", "IKE_KEY_MAT", "FIRST_CHILD_KEY_MAT")
    skeyseed = prf(nonces, g_ir)

    assert skeyseed == bytes.fromhex(vector["IKE_SKEYSEED_HEX_STRING"])
    assert prf.plus(skeyseed, nonces + spis, len(ike)) == ike
    assert prf.plus(ike[:20], nonces, len(child)) == child


def test_c21_rub_chain_from_g_ir_to_sk() -> None:
    vector = load("rub-nds/ikev2_kdf_auth.json")["vectors"][0]
    prf = BY_HASH["sha1"]
    nonces = b"".join(octets(vector, "setInitiatorNonce", "setResponderNonce"))
    spis = b"".join(octets(vector, "setInitiatorCookie", "setResponderCookie"))
    expected = b"".join(
        octets(vector, *(f"expect_getSK{x}" for x in ("d", "ai", "ar", "ei", "er", "pi", "pr")))
    )
    skeyseed = prf(nonces, bytes.fromhex(vector["setDHSecret"]))

    assert skeyseed == bytes.fromhex(vector["expect_getSKeyseed"])
    assert prf.plus(skeyseed, nonces + spis, len(expected)) == expected


@pytest.mark.parametrize("name", BY_HASH)
def test_c19_prf_takes_nonces_of_every_size_as_its_key(name: str) -> None:
    """Ni | Nr is the key of SKEYSEED, 32 to 512 octets: shorter and longer than the preferred key."""
    for size in (32, 40, 63, 64, 65, 128, 129, 512):
        key = bytes(i & 0xFF for i in range(size))
        assert BY_HASH[name](key, b"g^ir") == hmac.digest(key, b"g^ir", name)


@pytest.mark.parametrize("prf", PRF.values(), ids=lambda p: p.name)
def test_prf_plus_gives_a_prefix_of_a_longer_prf_plus(prf: Prf) -> None:
    whole = prf.plus(b"key", b"seed", 3 * prf.out_bytes)
    assert whole[: prf.out_bytes] == prf(b"key", b"seed\x01")
    assert [prf.plus(b"key", b"seed", size) for size in range(len(whole))] == [
        whole[:size] for size in range(len(whole))
    ]


@pytest.mark.parametrize("prf", PRF.values(), ids=lambda p: p.name)
def test_prf_plus_ends_after_255_blocks(prf: Prf) -> None:
    """The counter is one octet (RFC 7296 2.13)."""
    last = prf.plus(b"key", b"seed", 255 * prf.out_bytes)
    before = last[-2 * prf.out_bytes : -prf.out_bytes]
    assert last[-prf.out_bytes :] == prf(b"key", before + b"seed\xff")
    with pytest.raises(ValueError, match=prf.name):
        prf.plus(b"key", b"seed", 255 * prf.out_bytes + 1)
