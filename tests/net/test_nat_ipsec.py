"""What NAT boxes do to IPsec (RFC 3715), on the wire between two clients and two gateways."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from sim.net.nat_ipsec import Clients, EspBySpi, EspOfOne
from sim.net.nat_profile import (
    NAT_PRESETS,
    EspPassThrough,
    IkeGateway,
    NatProfile,
    PortRule,
    UdpChecksum,
)
from sim.units import NS_PER_S
from tests.net.scene import Ear, Home
from tests.net.test_nat import dropped, inject, recomputed, watch

HOME = NAT_PRESETS["home"]
A, B, GATEWAY, OTHER = "192.168.1.10", "192.168.1.11", "198.51.100.1", "198.51.101.1"
WAN = "203.0.113.10"
MARKER = bytes(4)


class Scene:
    """Alice and bert behind a box; everything that arrives anywhere is kept."""

    def __init__(self, profile: NatProfile) -> None:
        self.home = Home(profile)
        home = self.home
        self.seen = {n.name: watch(n) for n in (home.alice, home.bert, home.server, home.other)}
        self.nodes = {A: home.alice, B: home.bert, GATEWAY: home.server, OTHER: home.other}
        for node in self.nodes.values():
            node.protocols[50] = lambda *_: None
            for port in (500, 4500):
                node.bind_udp(port, Ear())

    def send(self, packet: Scapy) -> None:
        inject(self.nodes[packet.src], packet)
        self.home.settle()

    def arrived(self, name: str) -> list[Scapy]:
        got, self.seen[name][:] = list(self.seen[name]), []
        return got

    @property
    def drops(self) -> dict[str, int]:
        return dropped(self.home.nat)


def esp(src: str, dst: str, spi: int) -> Scapy:
    return IP(src=src, dst=dst, proto=50) / Raw(spi.to_bytes(4, "big") + bytes(36))


def ike(src: str, dst: str, spi: bytes, sport: int = 500, dport: int = 500) -> Scapy:
    marker = MARKER if 4500 in (sport, dport) else b""
    return IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(marker + spi + bytes(20))


def esp_in_udp(src: str, dst: str, sport: int = 4500, dport: int = 4500) -> Scapy:
    return IP(src=src, dst=dst) / UDP(sport=sport, dport=dport, chksum=0) / Raw(b"\1\2\3\4" + bytes(36))


# ESP without UDP


def test_a_box_without_the_habit_drops_esp() -> None:
    scene = Scene(HOME)
    scene.send(esp(A, GATEWAY, 1))
    assert scene.drops == {"protocol 50 has no ports": 1}


def test_pass_through_for_one_client_keeps_the_second_out() -> None:
    scene = Scene(replace(HOME, esp=EspPassThrough.ONE_CLIENT, esp_timeout=30 * NS_PER_S))
    scene.send(esp(A, GATEWAY, 1))
    scene.send(esp(B, GATEWAY, 2))
    scene.send(esp(B, OTHER, 3))
    assert [packet.src for packet in scene.arrived("server")] == [WAN]
    assert [packet.src for packet in scene.arrived("other")] == [WAN]
    assert scene.drops == {"NAT passes ESP of another client to that address": 1}
    scene.send(esp(GATEWAY, WAN, 9))
    assert [bytes(p) for p in scene.arrived("alice")] == [recomputed(p) for p in [esp_back(A, 9)]]
    scene.home.settle(30 * NS_PER_S)
    scene.send(esp(B, GATEWAY, 2))
    assert len(scene.arrived("server")) == 1, "the first one has been silent"


def esp_back(dst: str, spi: int) -> Scapy:
    """What the gateway's packet is once it has passed the core and the box."""
    packet = esp(GATEWAY, dst, spi)
    packet.ttl -= 2
    return packet


def test_pass_through_by_spi_guesses_in_the_order_of_the_first_packets() -> None:
    scene = Scene(replace(HOME, esp=EspPassThrough.SPI))
    scene.send(esp(A, GATEWAY, 1))
    scene.send(esp(GATEWAY, WAN, 100))
    scene.send(esp(B, GATEWAY, 2))
    scene.send(esp(GATEWAY, WAN, 200))
    scene.send(esp(GATEWAY, WAN, 100))
    assert len(scene.arrived("alice")) == 2
    assert len(scene.arrived("bert")) == 1
    scene.send(esp(GATEWAY, WAN, 300))
    assert scene.drops == {"no mapping": 1}, "nobody waits"


def test_pass_through_by_spi_guesses_wrong_when_answers_cross() -> None:
    """RFC 3715 2.1 f: nothing tells a box which SPIs belong together."""
    esp_habit = EspBySpi(NS_PER_S)
    esp_habit.outbound(b"a", b"g", 1, 0)
    esp_habit.outbound(b"b", b"g", 2, 1)
    assert esp_habit.inbound(b"g", 200, 2) == b"a", "it was for b"
    assert esp_habit.inbound(b"g", 100, 3) == b"b"
    assert esp_habit.inbound(b"g", 200, NS_PER_S) == b"a", "and so it stays"


def test_who_waited_a_minute_gets_no_answer() -> None:
    esp_habit = EspBySpi(100 * NS_PER_S)
    esp_habit.outbound(b"a", b"g", 1, 0)
    assert esp_habit.inbound(b"g", 9, 60 * NS_PER_S) is None


# IKE


def test_a_gateway_for_ike_tells_clients_apart_by_their_spi() -> None:
    scene = Scene(replace(HOME, ike_gateway=IkeGateway.SPI))
    scene.send(ike(A, GATEWAY, b"alicespi"))
    scene.send(ike(B, GATEWAY, b"bertspi!"))
    assert {packet[UDP].sport for packet in scene.arrived("server")} == {500}
    scene.send(ike(GATEWAY, WAN, b"bertspi!"))
    scene.send(ike(GATEWAY, WAN, b"alicespi"))
    assert [len(scene.arrived(name)) for name in ("alice", "bert")] == [1, 1]
    scene.send(ike(GATEWAY, WAN, b"newspi!!"))
    assert scene.drops == {"no mapping": 1}, "a rekeying by the gateway is lost (RFC 3715 2.1 c)"


@pytest.mark.parametrize("port", [500, 4500])
def test_a_port_that_is_never_translated_serves_who_came_last(port: int) -> None:
    scene = Scene(replace(HOME, **{f"port_{port}": PortRule.KEEP}))  # type: ignore[arg-type]
    scene.send(ike(A, GATEWAY, b"alicespi", port, port))
    scene.send(ike(B, GATEWAY, b"bertspi!", port, port))
    assert {packet[UDP].sport for packet in scene.arrived("server")} == {port}
    scene.send(ike(GATEWAY, WAN, b"alicespi", port, port))
    assert scene.arrived("alice") == []
    assert len(scene.arrived("bert")) == 1


@pytest.mark.parametrize("port", [500, 4500])
def test_a_blocked_port_is_blocked_both_ways(port: int) -> None:
    scene = Scene(replace(HOME, **{f"port_{port}": PortRule.DROP}))  # type: ignore[arg-type]
    scene.send(ike(A, GATEWAY, b"alicespi", 1234, port))
    scene.send(ike(GATEWAY, WAN, b"alicespi", port, 1234))
    scene.send(ike(GATEWAY, WAN, b"alicespi", 9, port))
    assert scene.drops == {f"NAT drops what uses port {port}": 3}


def test_esp_in_udp_may_have_a_mapping_apart_from_ike() -> None:
    """libreswan#2012: the answer to IKE's endpoint is not where ESP comes from."""
    scene = Scene(replace(HOME, esp_in_udp_apart=True))
    scene.send(ike(A, GATEWAY, b"alicespi", 4500, 4500))
    scene.send(esp_in_udp(A, GATEWAY))
    ports = [packet[UDP].sport for packet in scene.arrived("server")]
    assert ports[0] == 4500 != ports[1]
    scene.send(esp_in_udp(GATEWAY, WAN, dport=ports[1]))
    scene.send(ike(GATEWAY, WAN, b"alicespi", 4500, 4500))
    assert [packet[UDP].dport for packet in scene.arrived("alice")] == [4500, 4500]
    same = Scene(HOME)
    same.send(ike(A, GATEWAY, b"alicespi", 4500, 4500))
    same.send(esp_in_udp(A, GATEWAY))
    assert {packet[UDP].sport for packet in same.arrived("server")} == {4500}


@pytest.mark.parametrize("kind", UdpChecksum)
def test_checksums_of_udp_are_left_as_the_box_leaves_them(kind: UdpChecksum) -> None:
    scene = Scene(replace(HOME, udp_checksum=kind))
    packet = ike(A, GATEWAY, b"alicespi")
    before = IP(bytes(packet))[UDP].chksum
    scene.send(packet)
    (seen,) = scene.arrived("server")
    right = IP(recomputed(seen))[UDP].chksum if kind is UdpChecksum.UPDATE else None
    assert (
        seen[UDP].chksum == {UdpChecksum.UPDATE: right, UdpChecksum.ZERO: 0, UdpChecksum.STALE: before}[kind]
    )


# Whatever comes


def test_a_flood_of_spis_is_forgotten() -> None:
    clients: Clients[int] = Clients(10)
    for now in range(100_000):
        clients.put(now, b"a", now)
    assert len(clients._clients) <= 2048
    habit = EspBySpi(10)
    for now in range(10_000):
        habit.outbound(b"a", b"g", now, now)
    assert len(habit._waiting[b"g"]) <= 256


@pytest.mark.parametrize("size", range(40))
def test_what_is_cut_off_is_no_harm(size: int) -> None:
    profile = replace(HOME, esp=EspPassThrough.SPI, ike_gateway=IkeGateway.SPI, esp_in_udp_apart=True)
    scene = Scene(profile)
    for proto in (17, 50):
        for src, dst in ((A, GATEWAY), (GATEWAY, WAN)):
            whole = bytes(ike(src, dst, b"alicespi"))[20 : 20 + size]
            scene.send(IP(src=src, dst=dst, proto=proto) / Raw(whole))
    assert EspOfOne(1).inbound(b"g", 1, 0) is None
