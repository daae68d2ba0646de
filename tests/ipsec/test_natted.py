"""Checksums of the upper layer in transport mode through NATs (RFC 3948 3.1.2, RFC 7296 2.23.1)."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from sim.ipsec.natted import fix_checksum
from sim.wire import ip, udp
from sim.wire.address import format_address, pack_address
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.esp import Mode
from sim.wire.pcapng import PcapngWriter
from sim.wire.selector import Selector
from tests.ipsec.pair import A4, A6, B4, B6, Pair, bare_engine, make_spec, mirrored, packet_of
from tests.peers import require

NAT_A = {4: pack_address("203.0.113.77"), 6: pack_address("2001:db8:77::1")}
NAT_B = {4: pack_address("203.0.113.88"), 6: pack_address("2001:db8:88::1")}
SIDES = {4: (A4, B4), 6: (A6, B6)}
DCCP, UDP_LITE, SCTP = 33, 136, 132
PAYLOADS = st.binary(max_size=300)


@pytest.mark.parametrize("known", [True, False], ids=["originals known", "unknown"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp", "udp without"])
@given(payload=PAYLOADS, natted=st.tuples(st.booleans(), st.booleans()))
def test_c68_after_nat_and_opening_the_checksum_holds(
    kind: str, version: int, known: bool, payload: bytes, natted: tuple[bool, bool]
) -> None:
    """NATs in front of either end, both or none, and both ways of making the checksum fit."""
    near, far = (outside[version] if on else None for outside, on in zip((NAT_A, NAT_B), natted, strict=True))
    pair = natted_pair(version, near, far, known=known)
    packet = made_by_scapy(kind, version, payload, far or SIDES[version][1])

    opened = packet_of(pair.open(translated(pair.seal(packet), near, far)))

    assert ip.addresses(opened) == (near or SIDES[version][0], SIDES[version][1])
    assert_right(opened)
    if kind == "udp without":
        assert opened[-len(payload) - 2 : len(opened) - len(payload)] == b"\0\0"


@pytest.mark.parametrize("version", [4, 6])
@given(payload=st.binary(min_size=1, max_size=100), bit=st.integers(0, 7))
def test_c68_what_was_damaged_before_it_was_sealed_stays_wrong(
    version: int, payload: bytes, bit: int
) -> None:
    """With the original addresses the checksum is updated, not made anew."""
    pair = natted_pair(version, NAT_A[version], None, known=True)
    packet = made_by_scapy("tcp", version, payload, SIDES[version][1])
    packet[-1] ^= 1 << bit
    opened = packet_of(pair.open(translated(pair.seal(packet), NAT_A[version], None)))
    with pytest.raises(AssertionError):
        assert_right(opened)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("coverage", [0, 8, 12, 20])
def test_c68_udp_lite_covers_what_it_says(coverage: int, known: bool) -> None:
    """RFC 3828 3.1: also where only the header is covered."""
    assert_fixed(UDP_LITE, bytes(4) + coverage.to_bytes(2, "big") + bytes(2) + b"payload 12345", 6, known)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("covered", [0, 1, 2, 15])
def test_c68_dccp_covers_what_it_says(covered: int, known: bool) -> None:
    """RFC 4340 9.2."""
    header = bytes(4) + bytes((4, covered)) + bytes(10)
    assert_fixed(DCCP, header + b"0123456789abcdef", 6, known)


@pytest.mark.parametrize("known", [True, False])
def test_c68_icmpv6_covers_addresses_and_is_fixed(known: bool) -> None:
    echo = IPv6(src="2001:db8::1", dst="2001:db8:1::1") / ICMPv6EchoRequest(data=b"hello")
    packet = bytearray(bytes(echo))
    readdress(packet, NAT_A[6])
    fix_checksum(packet, 40, 58, (A6, B6) if known else None)
    theirs = IPv6(bytes(packet))
    assert theirs[ICMPv6EchoRequest].cksum == IPv6(bytes(recomputed(packet)))[ICMPv6EchoRequest].cksum


def test_c68_sctp_and_icmp_cover_no_addresses_and_stay() -> None:
    for protocol in (SCTP, 1, 47):
        packet = ip.build(NAT_A[4], B4, protocol, bytes(range(40)))
        before = bytes(packet)
        for original in ((A4, B4), None):
            fix_checksum(packet, 20, protocol, original)
        assert packet == before


@pytest.mark.parametrize("protocol", [6, 17, DCCP, UDP_LITE, 58])
@given(upper=st.binary(max_size=60), known=st.booleans())
def test_c68_whatever_the_upper_layer_is_no_octet_but_the_checksum_changes(
    protocol: int, upper: bytes, known: bool
) -> None:
    packet = ip.build(NAT_A[4], B4, protocol, upper)
    before = bytes(packet)
    fix_checksum(packet, 20, protocol, (A4, B4) if known else None)
    at = 20 + {6: 16, 58: 2}.get(protocol, 6)
    assert len(packet) == len(before)
    assert bytes(packet[:at]) + bytes(packet[at + 2 :]) == before[:at] + before[at + 2 :]


def test_c68_octets_behind_a_udp_datagram_are_not_covered() -> None:
    """RFC 9868: its length says where it ends."""
    packet = udp.build((NAT_A[4], 1), (B4, 2), b"hello")
    right = packet[26:28]
    packet += b"surplus"
    packet[2:4] = len(packet).to_bytes(2, "big")
    packet[26:28] = b"\x12\x34"
    fix_checksum(packet, 20, 17, None)
    assert packet[26:28] == right


def test_c68_a_udp_checksum_that_comes_out_as_zero_is_sent_as_all_ones() -> None:
    for known in (True, False):
        packet = udp.build((A4, 1), (B4, 2), b"\0\0")
        readdress(packet, NAT_A[4])
        fixed = bytearray(packet)
        fix_checksum(fixed, 20, 17, (A4, B4) if known else None)
        packet[28:30] = fixed[26:28]  # with its own checksum as data, the sum of all else is zero
        base = udp.build((A4, 1), (B4, 2), bytes(packet[28:30]))
        readdress(base, NAT_A[4])
        fix_checksum(base, 20, 17, (A4, B4) if known else None)
        assert base[26:28] == b"\xff\xff"


# The UDP header around ESP


@pytest.mark.parametrize("version", [4, 6])
def test_c64_a_checksum_around_esp_may_be_anything(version: int) -> None:
    """Receivers must not rely on zero (RFC 3948 2.1); in IPv6 zero is taken, too (RFC 6935 5, RFC 6936 4)."""
    pair = natted_pair(version, None, None)
    src, dst = SIDES[version]
    packet = udp.build((src, 1), (dst, 2), b"hello")
    for checksum in (0, 0x1234, 0xFFFF):
        sealed = pair.seal(packet)
        at = 26 if version == 4 else 46
        sealed[at : at + 2] = checksum.to_bytes(2, "big")
        assert pair.open(sealed) == packet


@pytest.mark.peers
def test_tshark_finds_every_checksum_right_behind_two_nats(tmp_path: Path) -> None:
    found = []
    for version in (4, 6):
        for kind in ("tcp", "udp", "udp without"):
            for known in (True, False):
                near, far = NAT_A[version], NAT_B[version]
                pair = natted_pair(version, near, far, known=known)
                packet = made_by_scapy(kind, version, b"some octets", far)
                found.append(packet_of(pair.open(translated(pair.seal(packet), near, far))))
    good, absent, missing = "1", "3", "4"  # IPv6 wants one, and it is its source that made none
    assert statuses(found, tmp_path) == [good] * 4 + [absent] * 2 + [good] * 4 + [missing] * 2


def natted_pair(version: int, near: bytes | None, far: bytes | None, *, known: bool = False) -> Pair:
    """A sends to B through NATs that give their own addresses, if they have one here."""
    a, b = SIDES[version]
    host = Selector.host
    spec = make_spec(mode=Mode.TRANSPORT, encap=True, outer=version)
    spec = replace(spec, remote=(far or b, 4500), remote_ts=(host(far or b),))
    there = replace(
        mirrored(spec),
        local=(b, 4500),
        remote=(near or a, 4500),
        local_ts=(host(b),),
        remote_ts=(host(near or a),),
        original=(a, far or b) if known else None,
    )
    ours, theirs = bare_engine(A4, A6), bare_engine(B4, B6)
    ours.install(spec, 0)
    theirs.install(there, 0)
    return Pair(ours, theirs, spec)


def translated(packet: bytearray, near: bytes | None, far: bytes | None) -> bytearray:
    """What NATs in front of both ends make of a packet: addresses, and all checksums that they see."""
    src, dst = ip.addresses(packet)
    version = packet[0] >> 4
    readdress(packet, near or src, SIDES[version][1] if far else dst)
    at = 20 if version == 4 else 40
    if packet[at + 6 : at + 8] != b"\0\0":
        packet[at + 6 : at + 8] = b"\0\0"
        words = pseudo_header_sum(*ip.addresses(packet), 17, len(packet) - at)
        packet[at + 6 : at + 8] = (internet_checksum(packet[at:], words) or 0xFFFF).to_bytes(2, "big")
    return packet


def readdress(packet: bytearray, src: bytes, dst: bytes = b"") -> None:
    at, size = (12, 4) if packet[0] >> 4 == 4 else (8, 16)
    packet[at : at + size] = src
    if dst:
        packet[at + size : at + 2 * size] = dst
    ip.write_checksum(packet)


def made_by_scapy(kind: str, version: int, payload: bytes, dst: bytes) -> bytearray:
    header = IP if version == 4 else IPv6
    src, _ = SIDES[version]
    upper: Scapy = TCP(sport=1, dport=2, seq=7) if kind == "tcp" else UDP(sport=1, dport=2)
    if kind == "udp without":
        upper.chksum = 0
    packet = header(src=format_address(src), dst=format_address(dst)) / upper
    return bytearray(bytes(packet / Raw(payload) if payload else packet))


def recomputed(packet: bytearray) -> bytearray:
    """With the checksums that scapy gives it."""
    theirs = (IP if packet[0] >> 4 == 4 else IPv6)(bytes(packet))
    for layer in (TCP, UDP):
        if layer in theirs and (layer is TCP or theirs[UDP].chksum):
            del theirs[layer].chksum
    if ICMPv6EchoRequest in theirs:
        del theirs[ICMPv6EchoRequest].cksum
    return bytearray(bytes(theirs))


def assert_right(packet: bytearray) -> None:
    assert packet == recomputed(packet)


def assert_fixed(protocol: int, upper: bytes, at: int, known: bool) -> None:
    """Sealed with a right checksum for the private address, it has one for the NAT's."""

    def right(src: bytes) -> bytearray:
        packet = ip.build(src, B4, protocol, upper)
        fix_checksum(packet, 20, protocol, None)
        return packet

    packet = right(A4)
    assert packet[20 + at : 22 + at] != b"\0\0"
    readdress(packet, NAT_A[4])
    fix_checksum(packet, 20, protocol, (A4, B4) if known else None)
    assert packet == right(NAT_A[4])
    covered = covered_octets(protocol, upper)
    words = pseudo_header_sum(NAT_A[4], B4, protocol, len(upper))
    assert internet_checksum(packet[20 : 20 + covered], words) == 0


def covered_octets(protocol: int, upper: bytes) -> int:
    """Said once more, from the RFCs."""
    if protocol == UDP_LITE:
        return int.from_bytes(upper[4:6], "big") or len(upper)
    partial = upper[5] & 15
    return min(len(upper), upper[4] * 4 + (partial - 1) * 4) if partial else len(upper)


def statuses(found: list[bytearray], folder: Path) -> list[str]:
    """What tshark says of the TCP or UDP checksum of each packet; header checksums must be right."""
    file = folder / "opened.pcapng"
    with file.open("wb") as stream:
        writer = PcapngWriter(stream, ["b"], application="test")
        for number, packet in enumerate(found):
            writer.write(number, 0, packet, outbound=False)
    command = [require("tshark"), "-n", "-r", str(file), "-T", "fields"]
    for protocol in ("ip", "udp", "tcp"):
        command += ["-o", f"{protocol}.check_checksum:TRUE", "-e", f"{protocol}.checksum.status"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    assert all(line.split("\t")[0] in ("", "1") for line in lines)
    return ["".join(line.split("\t")[1:]) for line in lines]
