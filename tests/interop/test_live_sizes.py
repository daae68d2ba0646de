"""A live peer and packets that are longer than what its interface takes around them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.interop.connection import Connection
from tests.interop.netns import Lab, Namespace, until
from tests.interop.ours import Ours
from tests.interop.sniffer import Sniffer

pytestmark = pytest.mark.peers

MTU = 1300
VIEW = Connection("192.0.2.1", "192.0.2.2", "10.8.0.1/32", "10.9.0.1/32", sides={"encap": True})
UDP_IN_IP = 9, 17


@pytest.mark.parametrize(("cut", "whole"), [("after", False), ("before", True)])
def test_a_live_peer_cuts_before_its_encapsulation_if_it_should(lab: Lab, cut: str, whole: bool) -> None:
    """Linux at the far end puts either together, and answers."""
    alice, bob = lab.namespace("alice"), lab.namespace("bob")
    ends = lab.link(alice, "192.0.2.1/24", bob, "192.0.2.2/24")
    for namespace, end, inner in zip((alice, bob), ends, ("10.8.0.1/32", "10.9.0.1/32"), strict=True):
        namespace.ip("link", "set", end, "mtu", str(MTU))
        namespace.inner_address(inner)
    view = replace(VIEW, child_settings={"fragment": cut})
    Ours(lab, bob, view.mirrored())
    ours = Ours(lab, alice, view)
    ours.initiate()
    until(lambda: " 1 received" in ping(alice, 100, 1) or None, ours.story)
    wire = Sniffer(alice, ends[0])
    assert " 5 received" in ping(alice, 1400, 5)
    packets = [packet for packet in wire.packets() if len(packet) > 100]
    assert len(packets) >= 20
    fragments = [packet for packet in packets if packet[6] & 0x3F or packet[7]]
    assert bool(fragments) is not whole
    assert max(map(len, packets)) <= MTU


def ping(alice: Namespace, size: int, count: int) -> str:
    """Pings that may be fragmented."""
    words = ("ping", "-n", "-M", "dont", "-c", str(count), "-i", "0.2", "-W", "3", "-s", str(size - 28))
    return alice.run(*words, "10.9.0.1", check=False)
