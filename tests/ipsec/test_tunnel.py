"""Tunnel mode: the outer header field by field, and what becomes of the inner packet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.outer import write_udp
from sim.ipsec.verdict import Verdict
from sim.wire import ip, udp
from sim.wire.buffer import Buf
from sim.wire.checksum import internet_checksum
from sim.wire.esp import Mode
from sim.wire.outer_fields import OuterFields
from tests.ipsec.pair import (
    A4,
    A6,
    B4,
    B6,
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


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("encap", [False, True], ids=["plain", "udp"])
@given(size=st.integers(48, 1500), tos=st.integers(0, 63))
def test_open_gives_what_seal_took(
    suite: str, outer: int, inner: int, encap: bool, size: int, tos: int
) -> None:
    pair = make_pair(suite, outer=outer, encap=encap)
    packet = datagram(size, version=inner, tos=tos << 2)

    sealed = pair.seal(packet)

    assert ip.parse(sealed).version == outer
    assert pair.open(sealed) == packet == datagram(size, version=inner, tos=tos << 2)


def test_counters_count_inner_packets_and_octets() -> None:
    pair = make_pair()
    for size in (100, 200):
        pair.open(pair.seal(datagram(size), 5), 6)
    outbound, inbound = pair.a.pair(SPI_A)[1], pair.b.pair(SPI_B)[0]

    assert (outbound.packets, outbound.bytes, outbound.last_at, outbound.seq) == (2, 300, 5, 2)
    assert (inbound.packets, inbound.bytes, inbound.last_at) == (2, 300, 6)
    assert pair.a.usage(SPI_A) == (-1, 5)
    assert pair.b.usage(SPI_B) == (6, -1)


@pytest.mark.parametrize("df", [False, True])
@given(size=st.integers(28, 1400), tos=st.integers(0, 255))
def test_c90_outer_header_checksum_is_right(df: bool, size: int, tos: int) -> None:
    sealed = make_pair().seal(datagram(size, df=df, tos=tos))

    assert internet_checksum(sealed[:20]) == 0
    assert int.from_bytes(sealed[10:12], "big") != 0xFFFF


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"copy_df": True}, {False: False, True: True}),
        ({"copy_df": False, "df": True}, {False: True, True: True}),
        ({"copy_df": False, "df": False}, {False: False, True: False}),
    ],
    ids=["copy", "set", "clear"],
)
def test_c90_df_is_copied_set_or_cleared(settings: dict[str, Any], expected: dict[bool, bool]) -> None:
    pair = make_pair(**settings)

    assert {df: ip.parse(pair.seal(datagram(df=df))).df for df in (False, True)} == expected


def test_c90_an_inner_ipv6_packet_counts_as_df() -> None:
    assert ip.parse(make_pair().seal(datagram(version=6))).df


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("inner", [4, 6])
@given(tos=st.integers(0, 255))
def test_c90_dscp_and_ecn_are_copied_to_the_outer_header(outer: int, inner: int, tos: int) -> None:
    sealed = make_pair(outer=outer).seal(datagram(version=inner, tos=tos))

    assert ip.parse(sealed).tos == tos


def test_c90_dscp_changed_on_the_way_does_not_reach_the_inner_packet() -> None:
    pair = make_pair()
    sealed = pair.seal(datagram(tos=0x28))
    sealed[1] = 0xB8

    assert pair.open(sealed) == datagram(tos=0x28)


def test_c90_outer_ttl_is_built_and_inner_ttl_is_kept() -> None:
    pair = make_pair(outer_fields=OuterFields(ttl=33))
    sealed = pair.seal(datagram(ttl=5))

    assert ip.parse(sealed).ttl == 33
    assert ip.parse(packet_of(pair.open(sealed))).ttl == 5


def test_c90_options_are_not_copied() -> None:
    pair = make_pair()
    packet = with_options(datagram())

    sealed = pair.seal(packet)

    assert sealed[0] == 0x45
    assert pair.open(sealed) == packet


def test_c90_identification_counts_where_fragments_may_be_and_is_zero_with_df() -> None:
    pair = make_pair()

    assert [ip.parse(pair.seal(datagram(df=df))).identification for df in (False, False, True, False)] == [
        1,
        2,
        0,
        3,
    ]


def test_c88_tunnel_mode_carries_fragments() -> None:
    pair = make_pair()
    for first, offset in ((True, 0), (False, 10)):
        packet = ip.build(HOST_A4, HOST_B4, 17, datagram()[20:])
        packet[6:8] = (0x2000 * first + offset).to_bytes(2, "big")
        ip.write_checksum(packet)

        assert pair.open(pair.seal(packet)) == packet


def test_c87_padding_behind_the_inner_packet_is_cut_off() -> None:
    """TFC padding (RFC 4303 2.7): the inner header says where its packet ends."""
    assert deliver(make_pair(), datagram() + bytes(33), 4) == datagram()
    assert deliver(make_pair(), datagram(version=6) + bytes(33), 41) == datagram(version=6)


@pytest.mark.parametrize(
    ("payload", "next_header"),
    [
        pytest.param(b"", 4, id="nothing"),
        pytest.param(bytes(datagram())[:19], 4, id="half an IPv4 header"),
        pytest.param(bytes(datagram())[:-1], 4, id="IPv4 cut off"),
        pytest.param(bytes(datagram()), 41, id="IPv4 as IPv6"),
        pytest.param(bytes(datagram(version=6)), 4, id="IPv6 as IPv4"),
        pytest.param(bytes(datagram(version=6))[:39], 41, id="half an IPv6 header"),
        pytest.param(bytes(datagram(version=6))[:-1], 41, id="IPv6 cut off"),
        pytest.param(b"\x45\0\0\x13" + bytes(40), 4, id="total length 19"),
        pytest.param(b"\x44\0\0\x2c" + bytes(40), 4, id="header length 16"),
    ],
)
def test_authentic_packet_without_a_sound_ip_packet_is_dropped(payload: bytes, next_header: int) -> None:
    assert reason_of(deliver(make_pair(), payload, next_header)) == "malformed inner packet"


@pytest.mark.parametrize("next_header", [0, 6, 17, 50, 255])
def test_tunnel_mode_holds_nothing_but_ip(next_header: int) -> None:
    assert reason_of(deliver(make_pair(), datagram(), next_header)) == "next header does not fit the mode"


@pytest.mark.parametrize("payload", [b"", bytes(10), bytes(datagram())], ids=len)
@pytest.mark.parametrize("mode", MODES)
def test_c87_dummy_packets_are_dropped(mode: Mode, payload: bytes) -> None:
    pair = make_pair(mode=mode)

    assert reason_of(deliver(pair, payload, 59)) == "dummy packet"
    assert pair.b.sad[SPI_B].inbound.packets == 0


def test_packet_that_would_exceed_65535_octets_is_dropped() -> None:
    pair = make_pair()
    longest = pair.a.max_inner(65535, SPI_A)

    assert len(pair.seal(datagram(longest))) <= 65535
    assert reason_of(pair.a.outbound(datagram(longest + 1), 0)) == "too big to encapsulate"
    assert pair.a.sad[SPI_A].outbound.seq == 1


def test_udp_checksum_of_zero_is_sent_as_all_ones() -> None:
    """Zero would say that there is none (RFC 768)."""
    packet = ip.build(A6, B6, ip.Protocol.UDP, bytes(10))
    write_udp(packet, 40, 4500, 4500)
    packet[48:50] = packet[46:48]  # now the sum of all the rest is zero
    write_udp(packet, 40, 4500, 4500)

    assert packet[46:48] == b"\xff\xff"
    assert udp.checksum_ok(packet, 40)


ROUTER_ALERT = bytes.fromhex("94040000")  # RFC 2113


def with_options(packet: bytearray, options: bytes = ROUTER_ALERT) -> bytearray:
    """The same packet with IPv4 options, whose size is a multiple of 4 octets."""
    packet = packet[:20] + options + packet[20:]
    packet[0] = 0x45 + len(options) // 4
    packet[2:4] = len(packet).to_bytes(2, "big")
    ip.write_checksum(packet)
    return packet


def deliver(pair: Pair, payload: Buf, next_header: int) -> bytearray | Verdict:
    """What B makes of an authentic packet that holds whatever A's keys were given to seal."""
    sealed = pair.a.sad[SPI_A].outbound.wrapper.seal(0, bytearray(payload), bytes((next_header,)))
    return pair.open(ip.build(A4, B4, ip.Protocol.ESP, sealed))
