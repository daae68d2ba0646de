"""The MSS of a SYN, made smaller; scapy says where it stands and whether the checksum is right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.packet import Packet

from sim.wire.mss import largest_mss, lower_mss, mss_at

V4 = IP(src="10.1.0.10", dst="10.2.0.10")
V6 = IPv6(src="fd01::10", dst="fd02::10")
NOP, MSS = ("NOP", None), ("MSS", 1460)
OPTIONS = [
    [MSS],
    [NOP, MSS, ("WScale", 7)],
    [("SAckOK", b""), NOP, NOP, MSS, ("Timestamp", (1, 0))],
    [("WScale", 7), MSS],
]


def octets(packet: Packet) -> bytearray:
    return bytearray(bytes(packet))


def lowered(packet: bytearray, mss: int) -> bytearray:
    packet = packet[:]
    at = mss_at(packet)
    if at:
        lower_mss(packet, at, mss)
    return packet


def with_right_checksum(data: bytearray) -> bytes:
    """As scapy computes it anew."""
    packet = (IP if data[0] < 0x60 else IPv6)(bytes(data))
    del packet[TCP].chksum
    return bytes(packet)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("flags", ["S", "SA", "SEC"])
@pytest.mark.parametrize("below", [V4, V6, V6 / IPv6ExtHdrDestOpt()])
@pytest.mark.parametrize("mss", [1000, 1360, 536])
def test_scapy_agrees_with_what_a_smaller_mss_makes_of_a_syn(
    below: Packet, flags: str, options: list[tuple[str, object]], mss: int
) -> None:
    packet = below / TCP(sport=40000, dport=443, flags=flags, options=options)
    changed = lowered(octets(packet), mss)
    told = (IP if changed[0] < 0x60 else IPv6)(bytes(changed))[TCP]
    assert dict(told.options)["MSS"] == mss
    assert bytes(changed) == with_right_checksum(changed)
    unchanged = changed[:]
    at = mss_at(changed)
    unchanged[at : at + 2] = (1460).to_bytes(2, "big")
    assert with_right_checksum(unchanged) == bytes(octets(packet)), "nothing else is different"


@given(mss=st.integers(1, 65535), old=st.integers(0, 65535), odd=st.booleans(), seq=st.integers(0, 2**32 - 1))
def test_it_is_only_ever_lowered_and_the_checksum_stays_right(
    mss: int, old: int, odd: bool, seq: int
) -> None:
    options = [NOP, ("MSS", old)] if odd else [("MSS", old)]
    packet = octets(V4 / TCP(sport=1, dport=2, seq=seq, flags="S", options=options))
    changed = lowered(packet, mss)
    assert dict(IP(bytes(changed))[TCP].options)["MSS"] == min(old, mss)
    assert bytes(changed) == with_right_checksum(changed)


@pytest.mark.parametrize(
    "packet",
    [
        V4 / TCP(flags="A", options=[MSS]),
        V4 / TCP(flags="S"),
        V4 / TCP(flags="S", options=[("EOL", None), MSS]),
        V4 / UDP(sport=1, dport=2) / bytes(40),
        IP(src="10.1.0.10", dst="10.2.0.10", frag=8) / bytes(TCP(flags="S", options=[MSS])),
        V6 / UDP(sport=1, dport=2) / bytes(40),
    ],
)  # fmt: skip
def test_what_is_no_syn_with_an_mss_is_left_alone(packet: Packet) -> None:
    assert mss_at(octets(packet)) == 0


def test_any_truncation_and_any_option_length_is_taken() -> None:
    whole = octets(V4 / TCP(flags="S", options=OPTIONS[2]))
    for size in range(20, len(whole)):
        lowered(whole[:size], 500)
    for at in range(40, len(whole)):
        for value in (0, 1, 2, 3, 4, 255):
            broken = whole[:]
            broken[at] = value
            assert len(lowered(broken, 500)) == len(whole)


def test_the_largest_mss_leaves_room_for_both_headers() -> None:
    assert (largest_mss(1500, 4), largest_mss(1500, 6)) == (1460, 1440)
