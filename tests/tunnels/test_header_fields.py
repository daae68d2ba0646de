"""Header fields of packets that cross a tunnel between two gateways (RFC 4301 5.1.2)."""

from __future__ import annotations

import pytest

from sim.net.packet import Packet
from sim.wire import icmp, ip, udp
from sim.wire.address import pack_address
from tests.scenario.base import TEXT
from tests.tunnels.lab import ALICE, BOB, CHILD, MOON, Lab

OUTER = "moon:wan"


def send(lab: Lab, *, ttl: int = 64, tos: int = 0, sender: str = "alice") -> None:
    src = ALICE if sender == "alice" else pack_address("10.1.0.1")
    data = udp.build((src, 7777), (BOB, 9999), bytes(72), ttl=ttl, tos=tos)
    lab.world.nodes[sender].send(Packet(data, lab.now, lab.boxes["bob"]), lab.now)
    lab.run()


@pytest.mark.parametrize(("sender", "hops"), [("alice", 2), ("moon", 1)])
def test_c90_each_gateway_that_forwards_takes_one_from_the_inner_ttl(sender: str, hops: int) -> None:
    """The routers between them count the outer TTL, which does not depend on the inner one."""
    lab = Lab().up()
    ear = lab.listen(OUTER, "sun:wan")
    send(lab, ttl=5, sender=sender)
    (arrived,) = lab.boxes["bob"].octets
    assert ip.parse(arrived).ttl == 5 - hops
    esp = [ip.parse(seen.data).ttl for seen in ear.seen if seen.is_esp]
    assert esp == [64, 63]


def test_c90_an_inner_ttl_that_is_used_up_is_told_before_and_behind_the_tunnel() -> None:
    for ttl, teller in ((1, "10.1.0.1"), (2, "10.2.0.1")):
        lab = Lab().up()
        told: list[tuple[int, bytes]] = []
        lab.world.nodes["alice"].on_icmp.append(
            lambda message, header, _now, told=told: told.append((message.type, header.src))  # type: ignore[misc]
        )
        send(lab, ttl=ttl)
        assert told == [(icmp.IcmpType.TIME_EXCEEDED, pack_address(teller))]


def test_c90_an_outer_ttl_that_is_too_small_ends_on_the_way_and_the_gateway_hears_of_it() -> None:
    lab = Lab(f"{CHILD}.outer_ttl=1").up()
    told: list[tuple[int, bytes]] = []
    lab.world.nodes["moon"].on_icmp.append(
        lambda message, header, _now: told.append((message.type, header.dst))
    )
    send(lab)
    assert told == [(icmp.IcmpType.TIME_EXCEEDED, MOON)]
    assert lab.drops("net") == {"TTL exceeded": 1}


@pytest.mark.parametrize(
    ("settings", "outside", "arrived"),
    [
        ((), 46, 46),
        (("copy_dscp=no",), 0, 46),
        (("copy_dscp=in",), 0, 0),
        (("outer_dscp=10", "copy_dscp=yes"), 10, 10),
        (("dscp_map={46: 34}",), 34, 46),
    ],
)
def test_c90_dscp_goes_out_and_comes_in_as_the_child_says(
    settings: tuple[str, ...], outside: int, arrived: int
) -> None:
    lab = Lab(*(f"{CHILD}.{setting}" for setting in settings)).up()
    ear = lab.listen(OUTER)
    for _ in range(4):  # the first packets of a flow go the long way, the others have a lane
        send(lab, tos=46 << 2)
    assert {ip.parse(seen.data).tos >> 2 for seen in ear.seen if seen.is_esp} == {outside}
    assert [ip.parse(octets).tos >> 2 for octets in lab.boxes["bob"].octets] == [arrived] * 4


def test_c90_a_congestion_mark_of_the_way_reaches_an_inner_packet_that_understands_it() -> None:
    lab = Lab().up()
    mark_everything(lab)
    for tos in (0, 2, 1, 3):
        send(lab, tos=tos)
    assert [ip.parse(octets).tos for octets in lab.boxes["bob"].octets] == [3, 3, 3]
    assert lab.drops("sun") == {"congestion mark on a packet without ECN": 1}
    ((inbound, _, _),) = lab.stack("sun").engine.sad.values()
    assert inbound.ecn_alarms == 1


@pytest.mark.parametrize("dscp", [0, 48])
def test_ikes_own_packets_have_the_dscp_of_their_connection(dscp: int) -> None:
    lab = Lab(f"tunnels.rw.dscp={dscp}", "tunnels.rw.keep_alive=500 ms", "traffic=[]", "checks=[]", text=TEXT)
    ear = lab.listen("alice:wlan")
    lab.run(2 * 10**9 - lab.now)
    ike = [ip.parse(seen.data) for seen in ear.seen if seen.outbound]
    assert [header.total_length for header in ike].count(29) >= 2, "keepalives"
    assert len(ike) >= 4
    assert {header.tos >> 2 for header in ike} == {dscp}


def mark_everything(lab: Lab) -> None:
    """Let the router in the middle be congested: it marks every packet that it forwards."""
    net = lab.world.nodes["net"]
    forward = net.input

    def congested(packet: Packet, now: int) -> None:
        packet.data[1] |= 3
        ip.write_checksum(packet.data)
        forward(packet, now)

    net.input = congested  # type: ignore[method-assign]
    net._learn = lambda dst: None  # type: ignore[method-assign]
    net._fast.clear()
