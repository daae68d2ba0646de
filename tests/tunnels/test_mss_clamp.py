"""TCP through a gateway that clamps the MSS, and a recorded conversation as its judge."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from sim.net.packet import Packet
from sim.wire.address import format_address
from tests.tunnels.lab import CHILD, Ear, Lab
from tests.tunnels.test_pmtu import SIX, ip_of

CAPTURE = Path("topologies/captures/web-download.pcap").absolute()
TRAFFIC = f"traffic=[{{name: web, kind: replay, file: {CAPTURE}, from: alice, to: bob, start: 500 ms}}]"
AUTO = f"{CHILD}.mss_clamp=auto"


def told(ear: Ear, outbound: bool) -> list[int]:
    """The MSS of every SYN that leaves a port, or comes in."""
    packets = [IP(seen.data) for seen in ear.seen if seen.outbound is outbound]
    syns = [packet[TCP] for packet in packets if TCP in packet and packet[TCP].flags.S]
    return [dict(syn.options)["MSS"] for syn in syns]


def play(*keys: str) -> tuple[Ear, Ear, Lab]:
    lab = Lab(*keys, TRAFFIC)
    ears = lab.listen("alice:eth"), lab.listen("bob:eth")
    lab.run(20 * 10**9)
    return *ears, lab


def test_both_syns_of_a_conversation_are_clamped_to_what_fits() -> None:
    alice, bob, lab = play("links.1.mtu=1300 B", AUTO)
    longest = lab.stack("moon").engine.max_inner(1300, next(iter(lab.stack("moon").engine.sad)))
    assert set(told(alice, True)) == {1360} == set(told(bob, True))
    assert set(told(alice, False)) == set(told(bob, False)) == {longest - 40}
    for ear in (alice, bob):
        for seen in ear.seen:
            packet = IP(seen.data)
            if TCP in packet:
                del packet[TCP].chksum
                assert bytes(packet) == seen.data


@pytest.mark.parametrize(("mss", "becomes"), [("1200 B", 1200), ("9000 B", 1360), ("off", 1360)])
def test_a_clamp_never_raises_an_mss(mss: str, becomes: int) -> None:
    alice, bob, _ = play(f"{CHILD}.mss_clamp={mss}")
    assert set(told(alice, False)) == set(told(bob, False)) == {becomes}


def test_an_automatic_mss_follows_the_path_mtu() -> None:
    """What a router on the way has told counts, not only the interface."""
    lab = Lab("links.2.mtu=1300 B", AUTO).up()
    lab.send(size=1400, df=True)
    lab.run()
    syn = IP(src="10.1.0.10", dst="10.2.0.10") / TCP(sport=1, dport=2, flags="S", options=[("MSS", 1460)])
    ear = lab.listen("bob:eth")
    for _ in range(2):  # a flow that is known is clamped as well
        lab.world.nodes["alice"].send(Packet(bytearray(bytes(syn)), lab.now), lab.now)
        lab.run()
    first, again = told(ear, False)
    assert first == again
    assert first == lab.stack("moon").engine.max_inner(1300, next(iter(lab.stack("moon").engine.sad))) - 40


@pytest.mark.parametrize("outbound", [True, False])
def test_ipv6_is_clamped_by_its_own_header_in_both_directions(outbound: bool) -> None:
    """RFC 6691: an MSS counts neither IP nor TCP header; that of IPv6 has 40 octets."""
    lab = Lab("links.1.mtu=1400 B", "tunnels.six.children.lans.mss_clamp=auto", text=SIX).up()
    names = ("alice", "bob") if outbound else ("bob", "alice")
    src, dst = (format_address(ip_of(lab, name)) for name in names)
    syn = IPv6(src=src, dst=dst) / TCP(sport=1, dport=2, flags="SA", options=[("MSS", 1440)])
    ear = lab.listen(f"{names[1]}:eth")
    lab.world.nodes[names[0]].send(Packet(bytearray(bytes(syn)), lab.now), lab.now)
    lab.run()
    (seen,) = (IPv6(seen.data) for seen in ear.seen if not seen.outbound)
    engine = lab.stack("moon").engine
    assert dict(seen[TCP].options)["MSS"] == engine.max_inner(1400, next(iter(engine.sad))) - 60
    before = bytes(seen)
    del seen[TCP].chksum
    assert bytes(seen) == before, "scapy finds the checksum right"
