"""TFC padding and dummy packets: what an observer sees, and what the receiver gets (RFC 4303 2.6, 2.7)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.verdict import Reason
from sim.wire import ip
from sim.wire.esp import Mode
from sim.wire.handling import AUTO, TO_MTU, Handling
from tests.ipsec.pair import (
    HOST_A4,
    HOST_B4,
    MODES,
    SPI_A,
    SPI_B,
    SUITES,
    Pair,
    datagram,
    make_pair,
    packet_of,
    reason_of,
)
from tests.net.segments import SYN, tcp_segment
from tests.tunnels.lab import ALICE, BOB, CHILD, Ear, Lab

SIZES = (48, 49, 100, 999, 1000)


def padding(suite: str = "aes128gcm16", octets: int = 1000, *, mtu: int = 1500, **settings: Any) -> Pair:
    """A pads; the longest outer packet of the path is `mtu` octets."""
    pair = make_pair(suite, handling=Handling(tfc_padding=octets), **settings)
    pair.a.path_mtu = lambda sa: mtu
    return pair


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("encap", [False, True], ids=["plain", "udp"])
@pytest.mark.parametrize("suite", SUITES)
def test_c87_padded_packets_have_one_size_and_come_out_as_they_were(
    suite: str, encap: bool, outer: int
) -> None:
    pair = padding(suite, encap=encap, outer=outer)
    plain = len(make_pair(suite, encap=encap, outer=outer).seal(datagram(1000)))
    for version in (4, 6):
        for size in SIZES:
            packet = datagram(size, version=version, df=False) if version == 4 else datagram(size, version=6)
            sealed = pair.seal(packet)
            assert len(sealed) == plain == size + pair.a.overhead(SPI_A, size)
            assert packet_of(pair.open(sealed)) == packet

    longer = pair.seal(datagram(1001))
    assert len(longer) >= plain, "what is longer stays as long as it is"
    assert pair.open(longer) == datagram(1001)
    assert pair.a.sad[SPI_A].outbound.bytes == 2 * sum(SIZES) + 1001, "inner octets, not those of padding"


@pytest.mark.parametrize("suite", SUITES)
@given(mtu=st.integers(600, 1500), size=st.integers(48, 1500), wanted=st.sampled_from([TO_MTU, 1200, 65_000]))
def test_c87_padding_never_makes_a_packet_too_long_for_the_path(
    suite: str, mtu: int, size: int, wanted: int
) -> None:
    pair = padding(suite, wanted, mtu=mtu)
    longest = pair.a.max_inner(mtu, SPI_A)
    sealed = pair.seal(datagram(size))

    if size <= longest:
        assert len(sealed) <= mtu
        padded = longest if wanted == TO_MTU else min(longest, wanted)
        assert len(sealed) == len(pair.seal(datagram(max(size, padded))))
    assert pair.open(sealed) == datagram(size)


def test_c87_padding_follows_the_path() -> None:
    pair = padding(octets=TO_MTU)
    assert len(pair.seal(datagram())) in range(1497, 1501)
    pair.a.path_mtu = lambda sa: 1280
    assert len(pair.seal(datagram())) in range(1277, 1281)


def test_c87_transport_mode_is_never_padded() -> None:
    """There nothing would tell the padding from the data (RFC 4303 2.7)."""
    pair = make_pair(mode=Mode.TRANSPORT, handling=Handling(tfc_padding=TO_MTU))
    packet = ip.build(pair.spec.local[0], pair.spec.remote[0], 17, bytes(30))
    assert len(pair.seal(packet)) < 100


def test_c87_an_mss_is_clamped_before_the_padding() -> None:
    pair = make_pair(handling=Handling(tfc_padding=1000, mss_clamp=AUTO))
    packet = bytearray(tcp_segment((HOST_A4, 1), (HOST_B4, 2), SYN))
    sealed = pair.seal(packet)
    assert len(packet_of(pair.open(sealed))) == len(packet)
    assert len(sealed) == pair.a.overhead(SPI_A, 1000) + 1000


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("esn", [False, True], ids=["seq", "esn"])
@pytest.mark.parametrize("suite", SUITES)
def test_c87_a_dummy_is_dropped_silently_and_has_its_own_number(suite: str, esn: bool, mode: Mode) -> None:
    pair = make_pair(suite, mode=mode, esn=esn)
    inbound = pair.b.sad[SPI_B].inbound
    for number in (1, 2):
        sealed = packet_of(pair.a.dummy(SPI_A, 7))
        assert int.from_bytes(sealed[24:28], "big") == number
        assert reason_of(pair.open(sealed, 9)) == "dummy packet"
        assert reason_of(pair.open(sealed, 9)) == "replayed"
    assert inbound.drops == {Reason.DUMMY: 2, Reason.REPLAYED: 2}
    assert (inbound.packets, inbound.bytes, inbound.last_at) == (0, 0, 9)
    outbound = pair.a.sad[SPI_A].outbound
    assert (outbound.dummies, outbound.packets, outbound.bytes) == (2, 0, 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("encap", [False, True], ids=["plain", "udp"])
def test_c87_a_dummy_has_the_size_of_what_it_hides_among(outer: int, encap: bool, mode: Mode) -> None:
    pair = make_pair(mode=mode, outer=outer, encap=encap)
    pair.a.path_mtu = lambda sa: 1400
    for size in (0, 1, 500, 65_000):
        sealed = packet_of(pair.a.dummy(SPI_A, 0, size))
        assert ip.parse(sealed).version == outer
        assert min(size, 1300) <= len(sealed) <= min(size + 120, 1400)
        assert reason_of(pair.open(sealed)) == "dummy packet"


def test_c87_a_dummy_cannot_be_told_from_a_padded_packet() -> None:
    pair = padding(octets=700)
    assert len(packet_of(pair.a.dummy(SPI_A, 0))) == len(pair.seal(datagram()))


def test_c87_ah_has_no_dummies() -> None:
    pair = make_pair("ah-sha256")
    with pytest.raises(ValueError, match="AH has none"):
        pair.a.dummy(SPI_A, 0)


def test_c87_in_a_run_all_packets_of_a_tunnel_are_alike() -> None:
    """As long as the path allows, also when a router on it allows less, and dummies among them."""
    with_df = (f"{CHILD}.copy_df=false", f"{CHILD}.df=set")
    lab = Lab(f"{CHILD}.tfc_padding=mtu", "links.2.mtu=1400 B", *with_df).up()
    ear = Ear()
    lab.world.ports["moon:wan"].tap = ear
    for size in (60, 600, 1300, 1380, 60, 600):
        lab.send(ALICE, BOB, size=size)
        lab.run()
    assert lab.stack("moon").send_dummies("sites", "lans", 3, None, lab.now) == 3
    lab.run()

    sizes = [len(seen.data) for seen in ear.seen if seen.is_esp and seen.outbound]
    assert len(sizes) >= 8
    assert set(sizes[-5:]) <= set(range(1397, 1401)), sizes
    assert max(sizes) <= 1500
    (pair,) = lab.stack("sun").engine.sad.values()
    assert pair.inbound.drops[Reason.DUMMY] == 3
