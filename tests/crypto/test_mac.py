"""AES-XCBC and AES-CMAC, as MACs and as PRFs: RFC 3566, 4434, 4493, 4494 and 4615, Wycheproof."""

from __future__ import annotations

from typing import Any

import pytest

from sim.crypto.ids import IntegrityId, PrfId
from sim.crypto.mac import cmac, xcbc
from sim.crypto.suites import INTEGRITY, PRF, Integrity
from sim.ike.keymat import skeyseed
from tests.crypto.vectors import accepts, cases, cbc, load, octets, seal

XCBC, CMAC = INTEGRITY[IntegrityId.AUTH_AES_XCBC_96], INTEGRITY[IntegrityId.AUTH_AES_CMAC_96]


@pytest.mark.parametrize(
    ("path", "row"),
    [("intel-ipsec-mb/xcbc_test.json", XCBC), ("intel-ipsec-mb/cmac_128_test.json", CMAC)],
    ids=["xcbc", "cmac"],
)
def test_published_mac_vectors(path: str, row: Integrity) -> None:
    """Among them RFC 3566 4.1 and RFC 4493 4."""
    ran = 0
    for group, test in cases(path):
        key, message, tag = octets(test, "key", "msg", "tag")
        mac = row.start(key)
        mac.update(message)
        size = group["tagSize"] // 8  # some of Intel's tags are longer than they say
        assert mac.finalize()[:size] == tag[:size], test["tcId"]
        ran += 1
    assert ran >= 7


def test_wycheproof_cmac() -> None:
    ran = 0
    for _, test in cases("wycheproof/aes_cmac_test.json"):
        key, message, tag = octets(test, "key", "msg", "tag")
        mac = cmac(key)
        mac.update(message)
        assert (mac.finalize() == tag) == (test["result"] == "valid"), test["tcId"]
        ran += 1
    assert ran == 102


@pytest.mark.parametrize("row", [XCBC, CMAC], ids=lambda row: row.name)
def test_rfc_4494_icv_is_96_bits_over_aad_iv_and_ciphertext(row: Integrity) -> None:
    """RFC 3566 4, RFC 4494: the first 96 bits."""
    path = "xcbc" if row is XCBC else "cmac_128"
    ran = 0
    for _, test in cases(f"intel-ipsec-mb/{path}_test.json"):
        key, message, tag = octets(test, "key", "msg", "tag")
        if len(message) < 16 or len(tag) < 12:
            continue  # too short to hold an IV
        one = cbc(bytes(16), key, row)
        aad, iv, tail = b"", message[:16], message[16:]
        assert seal(one, aad, iv, b"", tail) == tag[:12]
        assert accepts(one, aad, iv, tag[:12], tail)
        assert not accepts(one, aad, iv, tag[:11] + bytes((tag[11] ^ 1,)), tail)
        ran += 1
    assert ran >= 3


@pytest.mark.parametrize("start", [xcbc, cmac], ids=["xcbc", "cmac"])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 32, 33])
def test_a_copy_goes_its_own_way(start: Any, size: int) -> None:
    """In parts or at once, and whatever its copies see."""
    message = bytes(range(size))
    whole = start(bytes(16))
    whole.update(message)
    parts = start(bytes(16))
    for octet in message:
        parts.copy().update(b"nonsense")
        parts.update(bytes((octet,)))
    assert parts.copy().finalize() == parts.finalize() == whole.finalize()


@pytest.mark.parametrize(
    "vector",
    load("rfc-vectors/aes_prf.json")["vectors"],
    ids=lambda v: f"{PrfId(v['prf']).name}-{len(v['key']) // 2}",
)
def test_rfc_4434_and_4615_take_keys_of_every_size(vector: dict[str, Any]) -> None:
    key, data, mac = octets(vector, "key", "data", "mac")
    assert PRF[PrfId(vector["prf"])](key, data) == mac


@pytest.mark.parametrize("prf", [PrfId.PRF_AES128_XCBC, PrfId.PRF_AES128_CMAC], ids=lambda p: p.name)
def test_c19_skeyseed_takes_eight_octets_of_each_nonce(prf: PrfId) -> None:
    """RFC 7296 2.14: with these two PRFs only the first 64 bits of Ni and Nr; with all others all of them."""
    row, ni, nr = PRF[prf], bytes(range(32)), bytes(range(100, 140))
    assert skeyseed(row, ni, nr, b"g^ir") == row(ni[:8] + nr[:8], b"g^ir")
    assert skeyseed(row, ni, nr, b"g^ir") != row(ni + nr, b"g^ir")
    other = PRF[PrfId.PRF_HMAC_SHA2_256]
    assert skeyseed(other, ni, nr, b"g^ir") == other(ni + nr, b"g^ir")
