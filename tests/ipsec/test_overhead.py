"""The sizes of encoded packets against the published overhead table (octets added, largest inner packet)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire.esp import Mode
from tests.ipsec.pair import A4, B4, MODES, SPI_A, Pair, between, datagram, make_pair

AEAD = ("aes128gcm16", "aes256gcm16", "chacha20poly1305")
ADDED = {
    # suite: octets added to 1400 and to 64, for IPv4, IPv4 with UDP, IPv6, IPv6 with UDP
    **dict.fromkeys(AEAD, ((56, 56), (64, 64), (76, 76), (84, 84))),
    "aes256-sha256": ((68, 76), (76, 84), (88, 96), (96, 104)),
    "aes128-sha1": ((64, 72), (72, 80), (84, 92), (92, 100)),
}
LARGEST = {
    # suite: largest inner packet in 1500 octets for IPv4, IPv4 with UDP, IPv6
    **dict.fromkeys(AEAD, (1446, 1438, 1426)),
    "aes256-sha256": (1438, 1422, 1406),
    "aes128-sha1": (1438, 1422, 1422),
}
LARGEST_TRANSPORT = {
    **dict.fromkeys(AEAD, (1466, 1458)),
    "aes256-sha256": (1458, 1442),
    "aes128-sha1": (1458, 1442),
}
WAYS = [(4, False), (4, True), (6, False), (6, True)]


@pytest.mark.parametrize("suite", ADDED)
@pytest.mark.parametrize("way", range(4), ids=["IPv4", "IPv4+UDP", "IPv6", "IPv6+UDP"])
def test_added_octets_are_the_published_ones(suite: str, way: int) -> None:
    outer, encap = WAYS[way]
    pair = make_pair(suite, outer=outer, encap=encap)
    for size, added in zip((1400, 64), ADDED[suite][way], strict=True):
        assert len(pair.seal(datagram(size))) - size == added
        assert pair.a.overhead(SPI_A, size) == added


@pytest.mark.parametrize("suite", ADDED)
@pytest.mark.parametrize("way", range(3), ids=["IPv4", "IPv4+UDP", "IPv6"])
def test_largest_inner_packet_is_the_published_one(suite: str, way: int) -> None:
    outer, encap = WAYS[way]
    pair = make_pair(suite, outer=outer, encap=encap)
    largest = LARGEST[suite][way]

    assert len(pair.seal(datagram(largest))) <= 1500 < len(pair.seal(datagram(largest + 1)))
    assert pair.a.max_inner(1500, SPI_A) == largest


@pytest.mark.parametrize("suite", ADDED)
@pytest.mark.parametrize("encap", [False, True], ids=["IPv4", "IPv4+UDP"])
def test_largest_packet_in_transport_mode_is_the_published_one(suite: str, encap: bool) -> None:
    pair = make_pair(suite, mode=Mode.TRANSPORT, encap=encap)
    largest = LARGEST_TRANSPORT[suite][encap]

    def sealed(size: int) -> int:
        return len(pair.seal(between((A4, 1), (B4, 2), size)))

    assert sealed(largest) <= 1500 < sealed(largest + 1)
    assert pair.a.max_inner(1500, SPI_A) == largest


@pytest.mark.parametrize("suite", ADDED)
@pytest.mark.parametrize("mode", MODES)
@given(mtu=st.integers(0, 2000), size=st.integers(28, 1600))
def test_answers_about_sizes_agree_with_encoded_packets(suite: str, mode: Mode, mtu: int, size: int) -> None:
    pair = make_pair(suite, mode=mode)
    sealed = len(pair.seal(inner_datagram(pair, size)))

    assert pair.a.overhead(SPI_A, size) == sealed - size
    assert (size <= pair.a.max_inner(mtu, SPI_A)) == (sealed <= mtu)


def inner_datagram(pair: Pair, size: int) -> bytearray:
    return datagram(size) if pair.spec.mode is Mode.TUNNEL else between((A4, 1), (B4, 2), size)
