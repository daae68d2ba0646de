"""A host with IPsec and several ways out: the source address decides which one (RFC 1122 3.3.4.2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.scenario.build import build
from sim.scenario.load import load
from sim.wire import udp
from sim.wire.address import pack_address

FAR = pack_address("192.0.2.10")
WAN1, WAN2 = pack_address("198.51.100.1"), pack_address("198.51.100.5")


@pytest.mark.parametrize("size", [100, 3000], ids=["whole", "in fragments"])
@pytest.mark.parametrize(("source", "port"), [(WAN1, "wan1"), (WAN2, "wan2"), (FAR, "wan1")])
def test_a_packet_leaves_by_the_port_that_has_its_source_address(source: bytes, port: str, size: int) -> None:
    """One that has no address of ours takes the usual way."""
    assert _used(_moon(), source, size) == {port}


def test_a_port_that_is_down_is_no_way() -> None:
    moon = _moon()
    assert _used(moon, WAN2, 100) == {"wan2"}
    moon.ports["wan2"].set_up(False)
    assert _used(moon, WAN2, 100) == {"wan1"}
    moon.ports["wan2"].set_up(True)
    assert _used(moon, WAN2, 100) == {"wan2"}


def _moon() -> IpNode:
    return build(load(Path("topologies/mobike/path-failure.yaml"))).nodes["moon"]


def _used(node: IpNode, source: bytes, size: int) -> set[str]:
    """The ports by which a packet leaves."""
    links = {name: port.link for name, port in node.ports.items() if port.link is not None}
    before = {name: link.packets for name, link in links.items()}
    node.transmit(Packet(udp.build((source, 7), (FAR, 7), bytes(size)), 0), 0)
    return {name for name, link in links.items() if link.packets > before[name]}
