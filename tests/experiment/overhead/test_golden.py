"""Published figures, cell by cell, from encoded packets."""

from __future__ import annotations

import pytest

import sim
from sim.experiment.overhead import study_of
from tests.experiment.overhead.test_formula import column

# RFC 4303's formula, tunnel mode: octets added to 1400 and to 64 over IPv4, with NAT-T, over IPv6, with UDP.
WAYS = {"IPv4": (4, False), "IPv4+NAT-T": (4, True), "IPv6": (6, False), "IPv6+UDP": (6, True)}
ADDED = {
    "aes128gcm16": ((56, 56), (64, 64), (76, 76), (84, 84)),
    "aes256gcm16": ((56, 56), (64, 64), (76, 76), (84, 84)),
    "chacha20poly1305": ((56, 56), (64, 64), (76, 76), (84, 84)),
    "aes128gcm16iiv": ((48, 48), (56, 56), (68, 68), (76, 76)),
    "aes256-sha256": ((68, 76), (76, 84), (88, 96), (96, 104)),
    "aes128-sha1": ((64, 72), (72, 80), (84, 92), (92, 100)),
    "null-sha256": ((48, 48), (56, 56), (68, 68), (76, 76)),
}
# The largest inner packet in 1500 octets: tunnel over IPv4, with NAT-T, over IPv6; transport, with NAT-T.
LARGEST = {
    "aes128gcm16": (1446, 1438, 1426, 1466, 1458),
    "aes256gcm16": (1446, 1438, 1426, 1466, 1458),
    "chacha20poly1305": (1446, 1438, 1426, 1466, 1458),
    "aes128gcm16iiv": (1454, 1446, 1434, 1474, 1466),
    "aes256-sha256": (1438, 1422, 1406, 1458, 1442),
    "aes128-sha1": (1438, 1422, 1422, 1458, 1442),
    "null-sha256": (1454, 1446, 1434, 1474, 1466),
}
LARGEST_WAYS = {
    "tunnel IPv4": {"modes": "tunnel", "outer": 4, "natt": False},
    "tunnel IPv4+NAT-T": {"modes": "tunnel", "outer": 4, "natt": True},
    "tunnel IPv6": {"modes": "tunnel", "outer": 6, "natt": False},
    "transport IPv4": {"modes": "transport", "outer": 4, "natt": False},
    "transport IPv4+NAT-T": {"modes": "transport", "outer": 4, "natt": True},
}

# AWS Site-to-Site VPN, best practices for customer gateways: inner MTU, MSS v4 and v6; then with NAT-T.
AWS = {
    "aes128gcm16": ((1446, 1406, 1386), (1438, 1398, 1378)),
    "aes256gcm16": ((1446, 1406, 1386), (1438, 1398, 1378)),
    "aes128-sha1": ((1438, 1398, 1378), (1422, 1382, 1362)),
    "aes256-sha1": ((1438, 1398, 1378), (1422, 1382, 1362)),
    "aes128-sha256": ((1438, 1398, 1378), (1422, 1382, 1362)),
    "aes256-sha256": ((1438, 1398, 1378), (1422, 1382, 1362)),
    "aes256-sha384": ((1422, 1382, 1362), (1422, 1382, 1362)),
    "aes256-sha512": ((1422, 1382, 1362), (1406, 1366, 1346)),
}

# Google Cloud VPN: the gateway's MTU and the outer version, then the inner MTU for AEADs.
GOOGLE_AEAD = {(1460, 4): 1406, (1460, 6): 1386, (1440, 4): 1386}
GOOGLE_CBC = {"aes128-sha1": 1390, "aes128-sha256": 1390, "aes128-sha384": 1390, "aes128-sha512": 1374}

# Fortinet and Cisco: the least and the most that tunnel mode over IPv4 adds. Where a row has no
# authentication, which an SA of ours must have, the ICV is taken off what was encoded.
VENDORS = {
    "AES-CBC and SHA1": ("aes128-sha1", "esp", False, 58, 73),
    "AES-CBC": ("aes128-sha1", "esp", True, 46, 61),
    "3DES and SHA1": ("3des-sha1", "esp", False, 50, 57),
    "3DES": ("3des-sha1", "esp", True, 38, 45),
    "NULL and SHA1": ("null-sha1", "esp", False, 42, 45),
    "AH": ("sha1", "ah", False, 44, 44),
}

# strongSwan's test suite at 3b902ea, testing/tests/ikev[12]-algs/*/evaltest.dat: the length that tcpdump
# shows of ESP around a ping of 148 octets (-s 120) in tunnel mode, by moon's esp_proposals.
PING = 148
STRONGSWAN = {
    "aes128ccm12": 180,  # alg-aes-ccm
    "aes128ctr-aesxcbc": 180,  # alg-aes-ctr
    "aes256ctr-aesxcbc": 180,  # ikev1-algs/esp-alg-aes-ctr
    "aes128gcm16": 184,  # alg-aes-gcm
    "aes128-aesxcbc": 196,  # alg-aes-xcbc
    "chacha20poly1305": 184,  # alg-chacha20poly1305
    "aes128-sha256": 200,  # alg-sha256
    "aes192-sha384": 208,  # alg-sha384
    "aes256-sha512": 216,  # alg-sha512
    "aes128gmac": 184,  # esp-alg-aes-gmac
    "null-sha256": 176,  # esp-alg-null
}


@pytest.mark.parametrize("suite", ADDED)
@pytest.mark.parametrize("way", WAYS)
def test_added_octets_are_those_of_the_formula(suite: str, way: str) -> None:
    outer, natt = WAYS[way]
    found = column(suite, outer=outer, natt=natt)
    added = tuple(found.cell(size).added for size in (1400, 64))
    assert added == ADDED[suite][list(WAYS).index(way)]


@pytest.mark.parametrize("suite", LARGEST)
@pytest.mark.parametrize("way", LARGEST_WAYS)
def test_largest_inner_packet_is_that_of_the_formula(suite: str, way: str) -> None:
    found = column(suite, **LARGEST_WAYS[way])
    assert found.limits().largest == LARGEST[suite][list(LARGEST_WAYS).index(way)]


def test_ah_with_sha256_is_as_published() -> None:
    v4, v6 = (column("sha256", protocols="ah", outer=outer) for outer in (4, 6))
    transport = column("sha256", protocols="ah", modes="transport")
    assert [v4.cell(size).added for size in (1400, 64)] == [48, 48]
    assert [v6.cell(size).added for size in (1400, 64)] == [72, 72]
    assert (v4.limits().largest, v6.limits().largest, transport.limits().largest) == (1452, 1428, 1472)
    header = [piece.octets for piece in v6.byte_map(1400) if piece.layer == "AH"]
    assert sum(header) == 32


def test_ah_with_natt_is_impossible_and_says_why() -> None:
    with pytest.raises(sim.experiment.overhead.OverheadError, match="addresses that a NAT changes"):
        study_of("sha256", protocols="ah", natt=True)


@pytest.mark.parametrize(("outer", "added", "largest"), [(4, (68, 60), 1440), (6, (88, 80), 1420)])
def test_wireguard_is_as_published(outer: int, added: tuple[int, int], largest: int) -> None:
    found = column(protocols="wireguard", outer=outer)
    assert tuple(found.cell(size).added for size in (1400, 64)) == added
    assert found.limits().largest == largest


@pytest.mark.parametrize("suite", AWS)
@pytest.mark.parametrize("natt", [False, True], ids=["plain", "natt"])
def test_mtu_and_mss_are_those_of_aws(suite: str, natt: bool) -> None:
    limits = column(suite, natt=natt).limits()
    assert (limits.largest, limits.mss_v4, limits.mss_v6) == AWS[suite][natt]


@pytest.mark.parametrize(("mtu", "outer"), GOOGLE_AEAD)
@pytest.mark.parametrize("suite", ["aes128gcm16", "aes256gcm16", "chacha20poly1305"])
def test_mtu_of_aeads_is_that_of_google(suite: str, mtu: int, outer: int) -> None:
    largest = GOOGLE_AEAD[mtu, outer]
    assert column(suite, outer=outer, mtu=mtu).limits().largest == largest
    assert column(suite, outer=outer, mtu=mtu, natt=True).limits().largest == largest - 8


@pytest.mark.parametrize("suite", GOOGLE_CBC)
def test_mtu_of_cbc_at_google_is_that_of_the_formula(suite: str) -> None:
    assert column(suite, mtu=1460).limits().largest == GOOGLE_CBC[suite]


@pytest.mark.parametrize("row", VENDORS)
def test_least_and_most_overhead_are_those_of_vendors(row: str) -> None:
    suite, protocol, without_icv, least, most = VENDORS[row]
    found = column(suite, protocols=protocol)
    icv = sum(piece.octets for piece in found.byte_map(100) if piece.field == "ICV")
    added = [found.cell(size).added - icv * without_icv for size in range(64, 192)]
    assert (min(added), max(added)) == (least, most)


@pytest.mark.parametrize("suite", STRONGSWAN)
def test_length_of_esp_around_a_ping_is_that_of_strongswans_tests(suite: str) -> None:
    found = column(suite, inner="icmp")
    assert found.wire(PING) - 20 == STRONGSWAN[suite]


def test_a_measured_62_and_a_computed_64_are_both_right() -> None:
    """Cisco's community: the same suite adds either, for packets of different sizes."""
    found = column("aes128-sha1")
    assert {found.cell(size).added for size in (1402, 1400)} == {62, 64}
