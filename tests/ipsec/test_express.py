"""The short way of the most common SA does exactly what the long way does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec import express
from sim.ipsec.esp import LAST_SEQ
from sim.ipsec.tunnel import TunnelSealer
from sim.ipsec.verdict import Drop, Reason
from sim.wire import udp
from tests.ipsec.pair import HOST_A4, HOST_B4, SPI_B, Pair, make_pair, make_spec

AEADS = ("aes128gcm16", "aes256gcm16", "chacha20poly1305", "aes192gmac")


@pytest.mark.parametrize("suite", AEADS)
@pytest.mark.parametrize("encap", [False, True])
@pytest.mark.parametrize("copy_df", [False, True])
@given(size=st.integers(28, 1500), tos=st.integers(0, 255), df=st.booleans())
def test_both_ways_write_the_same_octets(
    suite: str, encap: bool, copy_df: bool, size: int, tos: int, df: bool
) -> None:
    packet = udp.build((HOST_A4, 1), (HOST_B4, 2), bytes(size - 28), tos=tos, df=df)
    short, long = (make_pair(suite, encap=encap, copy_df=copy_df, df=not copy_df) for _ in range(2))
    without_express(long)

    for _ in range(3):
        assert short.seal(packet) == long.seal(packet)


def test_a_packet_that_is_not_plain_takes_the_next_sequence_number() -> None:
    pair = make_pair()
    sizes = [(True, 100), (False, 101), (True, 102)]
    sealed = [pair.seal(udp.build((HOST_A4, 1), (HOST_B4, 2), bytes(size), df=df)) for df, size in sizes]

    assert [int.from_bytes(packet[24:28], "big") for packet in sealed] == [1, 2, 3]
    assert all(not isinstance(pair.open(packet), Drop) for packet in sealed)


def test_the_last_sequence_number_is_the_last_here_too() -> None:
    pair = make_pair()
    outbound = pair.a.pair(pair.spec.spi_in)[1]
    outbound.wrapper.seq = LAST_SEQ - 1
    packet = udp.build((HOST_A4, 1), (HOST_B4, 2), bytes(100), df=True)

    pair.seal(packet)
    verdict = pair.a.outbound(packet, 0)

    assert isinstance(verdict, Drop)
    assert verdict.reason is Reason.SEQUENCE_EXHAUSTED


def test_a_packet_that_would_pass_the_longest_ip_packet_is_refused_here_too() -> None:
    verdict = make_pair().a.outbound(udp.build((HOST_A4, 1), (HOST_B4, 2), bytes(65_490), df=True), 0)

    assert isinstance(verdict, Drop)
    assert verdict.reason is Reason.TOO_BIG


@pytest.mark.parametrize(
    ("suite", "settings"),
    [
        ("aes128-sha1", {}),
        ("aes128gcm16iiv", {}),
        ("aes128gcm16", {"esn": True}),
        ("aes128gcm16", {"outer": 6}),
        ("aes128gcm16", {"copy_df": False, "df": False}),
    ],
)
def test_other_sas_do_not_fit(suite: str, settings: dict[str, Any]) -> None:
    assert not express.fits(make_spec(suite, **settings))


def test_the_common_sa_does_fit_and_is_used() -> None:
    outbound = make_pair().a.pair(make_spec().spi_in)[1]

    assert express.fits(make_spec())
    assert isinstance(outbound._sealer, TunnelSealer)
    assert outbound._seal is not None
    assert not isinstance(getattr(outbound._seal, "__self__", None), TunnelSealer)


def without_express(pair: Pair) -> None:
    """Let the sender go the long way."""
    outbound = pair.a.pair(pair.spec.spi_in)[1]
    outbound._seal = outbound._sealer.seal


@given(st.data())
def test_both_ways_open_alike(data: st.DataObject) -> None:
    """Any order, loss, repetition and damage: the same verdicts, and the same state after each packet."""
    short, long = make_pair(replay_window=64), make_pair(replay_window=64)
    long.b.pair(SPI_B)[0].open_plain = lambda packet, at, low: None
    sealed = [short.seal(packet_of(data)) for _ in range(data.draw(st.integers(1, 5)))]
    for _ in range(data.draw(st.integers(1, 12))):
        packet = bytearray(data.draw(st.sampled_from(sealed)))
        if data.draw(st.booleans()):
            packet[data.draw(st.integers(20, len(packet) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        packet[1] = data.draw(st.sampled_from([0, 0, 0, 1, 3]))  # marks that routers may set on the way

        assert short.open(packet) == long.open(packet)
        assert short.state_b() == long.state_b()
        assert short.b.pair(SPI_B)[0].drops == long.b.pair(SPI_B)[0].drops


def packet_of(data: st.DataObject) -> bytearray:
    size, ecn = data.draw(st.integers(0, 60)), data.draw(st.integers(0, 3))
    port = data.draw(st.sampled_from([1, 2]))
    return udp.build((HOST_A4, port), (HOST_B4, 2), bytes(size), tos=ecn, df=data.draw(st.booleans()))
