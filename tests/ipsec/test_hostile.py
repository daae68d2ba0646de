"""Any octets at all: a verdict, never an exception, and nothing changes but counters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.verdict import BYPASS, Drop, Verdict
from sim.wire import ip, udp
from sim.wire.esp import Mode
from tests.ipsec.pair import (
    A4,
    A6,
    B4,
    B6,
    MODES,
    SPI_A,
    SPI_B,
    SUITES,
    Pair,
    between,
    datagram,
    make_pair,
)


def harmless(outcome: bytearray | Verdict) -> bool:
    return outcome is BYPASS or isinstance(outcome, Drop)


@pytest.mark.parametrize("mode", MODES)
@given(data=st.binary(max_size=200))
def test_arbitrary_octets_give_a_verdict(mode: Mode, data: bytes) -> None:
    pair = make_pair(mode=mode)
    before = pair.state_b()

    assert harmless(pair.open(bytearray(data)))
    assert harmless(pair.a.outbound(bytearray(data), 0))
    assert pair.state_b() == before


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("known", [False, True], ids=["any SPI", "known SPI"])
@given(data=st.binary(max_size=120), protocol=st.sampled_from([50, 17]))
def test_arbitrary_octets_behind_a_sound_header_give_a_verdict(
    suite: str, version: int, known: bool, data: bytes, protocol: int
) -> None:
    pair = make_pair(suite, outer=version)
    before = pair.state_b()
    src, dst = (A4, B4) if version == 4 else (A6, B6)
    body = SPI_B.to_bytes(4, "big") + data if known else data
    packet = ip.build(src, dst, 50, body) if protocol == 50 else udp.build((src, 4500), (dst, 4500), body)

    assert harmless(pair.open(packet, 5))
    assert pair.state_b() == before


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("encap", [False, True], ids=["plain", "udp"])
@pytest.mark.parametrize("mode", MODES)
def test_truncation_at_every_length_gives_a_verdict(suite: str, outer: int, encap: bool, mode: Mode) -> None:
    pair = make_pair(suite, outer=outer, encap=encap, mode=mode)
    packet = pair.seal(inside(pair))
    before = pair.state_b()
    for size in range(len(packet)):
        cut = packet[:size]

        assert harmless(pair.open(cut))
        if size >= (20 if outer == 4 else 40):
            assert harmless(pair.open(consistent(cut)))

    assert pair.state_b() == before
    assert pair.open(packet) == inside(pair)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [4, 6])
@given(payload=st.binary(max_size=80), next_header=st.integers(0, 255))
def test_authentic_nonsense_gives_a_verdict_or_a_packet(
    mode: Mode, version: int, payload: bytes, next_header: int
) -> None:
    """The peer's own keys do not make it a friend."""
    pair = make_pair(mode=mode, outer=version)
    sealed = pair.a.sad[SPI_A].outbound.wrapper.seal(0, bytearray(payload), bytes((next_header,)))
    src, dst = (A4, B4) if version == 4 else (A6, B6)
    for packet in (ip.build(src, dst, 50, sealed), udp.build((src, 4500), (dst, 4500), sealed)):
        outcome = pair.open(packet)

        assert harmless(outcome) or ip.parse(outcome if isinstance(outcome, bytearray) else b"")


@given(at=st.integers(0, 59), octet=st.integers(0, 255), version=st.sampled_from([4, 6]))
def test_any_octet_of_an_outbound_packet_may_be_wrong(at: int, octet: int, version: int) -> None:
    for mode in MODES:
        pair = make_pair(mode=mode, outer=version)
        packet = inside(pair) if mode is Mode.TRANSPORT else datagram(60, version=version)
        packet[at] = octet
        for _ in range(2):
            outcome = pair.a.outbound(packet, 0)
            assert isinstance(outcome, bytearray | Verdict)


def inside(pair: Pair) -> bytearray:
    spec = pair.spec
    if spec.mode is Mode.TUNNEL:
        return datagram(60)
    return between((spec.local[0], 1), (spec.remote[0], 2), 60)


def consistent(cut: bytearray) -> bytearray:
    """The lengths and checksum of the IP header made right, and UDP's."""
    cut = bytearray(cut)
    if cut[0] >> 4 == 4:
        cut[2:4] = len(cut).to_bytes(2, "big")
        ip.write_checksum(cut)
        upper, protocol = 20, cut[9]
    else:
        cut[4:6] = (len(cut) - 40).to_bytes(2, "big")
        upper, protocol = 40, cut[6]
    if protocol == 17 and len(cut) >= upper + 6:
        cut[upper + 4 : upper + 6] = (len(cut) - upper).to_bytes(2, "big")
    return cut
