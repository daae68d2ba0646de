"""A pair of SAs that has moved: which packets show that the peer is alive (RFC 4555 3.12)."""

from __future__ import annotations

from typing import Any

import pytest

from sim.units import NS_PER_S
from sim.wire.address import pack_address
from tests.ipsec.pair import HOST_A4, HOST_B4, SPI_A, SPI_B, Pair, between, make_pair

NEW = {4: pack_address("192.0.2.77"), 6: pack_address("2001:db8::77")}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "udp": {"encap": True},
    "v6": {"outer": 6},
    "limited": {"hard_limit": (0, 1000)},
    "ah": {"suite": "ah-sha256"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("used_before", [False, True])
def test_c80_esp_from_old_addresses_is_no_sign_of_life(kind: str, used_before: bool) -> None:
    """The peer has not heard of our move: what it still sends is opened, and proves nothing."""
    pair = make_pair(**KINDS[kind])
    if used_before:
        _from_b(pair, NS_PER_S)
    _move(pair)
    for second in (2, 3):
        assert _from_b(pair, second * NS_PER_S) == datagram_back()
        assert _alive_at(pair) == (NS_PER_S if used_before else -1)

    _follow(pair)
    for second in (4, 5):
        assert _from_b(pair, second * NS_PER_S) == datagram_back()
        assert _alive_at(pair) == second * NS_PER_S


def test_c80_another_port_of_the_same_address_is_the_same_peer() -> None:
    pair = make_pair(encap=True)
    spec = pair.spec
    pair.a.move(SPI_A, spec.local, (spec.remote[0], 61000), encap=True)
    _from_b(pair, NS_PER_S)

    assert _alive_at(pair) == NS_PER_S


def test_c80_after_a_move_packets_take_the_short_way_again() -> None:
    pair = make_pair()
    _from_b(pair, 0)
    short = pair.a.openers[SPI_A].open_plain
    _move(pair)
    _from_b(pair, 1)
    assert pair.a.openers[SPI_A].open_plain.__name__ == "_never"
    _follow(pair)
    _from_b(pair, 2)

    assert pair.a.openers[SPI_A].open_plain.__name__ == short.__name__ == "open_plain"


def datagram_back() -> bytearray:
    return between((HOST_B4, 2000), (HOST_A4, 1000))


def _move(pair: Pair) -> None:
    spec = pair.spec
    new = (NEW[4 if len(spec.local[0]) == 4 else 6], spec.local[1])
    pair.a.local_addresses = (*pair.a.local_addresses, new[0])
    pair.a.move(SPI_A, new, spec.remote, spec.encap)


def _follow(pair: Pair) -> None:
    pair.b.move(SPI_B, pair.spec.remote, pair.a.pair(SPI_A)[0].spec.local, pair.spec.encap)


def _from_b(pair: Pair, now: int) -> object:
    sealed = pair.b.outbound(datagram_back(), now)
    assert isinstance(sealed, bytearray)
    return pair.a.inbound(sealed, now)


def _alive_at(pair: Pair) -> int:
    usage = pair.a.usage(SPI_A)
    assert usage is not None
    return usage.last_in_at
