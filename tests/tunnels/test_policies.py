"""What the configuration protects never goes in clear, whoever starts it (RFC 4301 4.4.1, 5.1)."""

from __future__ import annotations

import pytest

from sim.ipsec.sad import Pair
from sim.net.packet import Packet
from sim.tunnels.traps import NOT_BY_ITSELF, PEERS_ALONE
from sim.units import NS_PER_S
from sim.wire import ip, udp
from sim.wire.address import pack_address
from tests.tunnels.lab import ALICE, BOB, CHILD, MOON, SITES, SUN, Lab

NET = pack_address("198.51.100.254")
CLEAR = "clear text where policy demands protection"

ROAD = """\
name: road
duration: 100 s
nodes:
  alice: {kind: host, interfaces: {eth: 192.0.2.10/24, lte: 203.0.113.10/24}}
  net: {kind: router, interfaces: {eth: 192.0.2.1/24, lte: 203.0.113.1/24, sun: 198.51.100.254/24}}
  sun: {kind: gateway, interfaces: {wan: 198.51.100.1/24, lan: 10.2.0.1/16}}
  bob: {kind: host, interfaces: {eth: 10.2.0.10/16}}
links:
  - {ends: [alice:eth, net:eth], delay: 1 ms}
  - {ends: [alice:lte, net:lte], delay: 1 ms}
  - {ends: [net:sun, sun:wan], delay: 5 ms}
  - {ends: [sun:lan, bob:eth], delay: 1 ms}
tunnels:
  road:
    initiator: alice
    responder: sun
    auth: {psk: secret}
    children:
      net: {remote_ts: [10.2.0.0/16], start: trap}
"""
WARRIOR, LTE = pack_address("192.0.2.10"), pack_address("203.0.113.10")


def test_a_responder_without_an_sa_sends_nothing_in_clear() -> None:
    lab = Lab()
    sun_drops(lab, ALICE)


def test_a_responder_accepts_nothing_in_clear_before_its_sa() -> None:
    """RFC 4301 5.2: the same policy looks at what arrives."""
    lab = Lab()
    sun = lab.world.nodes["sun"]
    sun.receive(Packet(udp.build((ALICE, 7), (BOB, 7), b"trust me"), lab.now), sun.ports["wan"], lab.now)
    assert lab.drops("sun") == {CLEAR: 1}


def test_a_responder_sends_nothing_in_clear_after_a_delete() -> None:
    lab = Lab().up()
    lab.stack("moon").endpoint.delete("sites", lab.now)
    lab.stack("moon").pump(lab.now)
    lab.run()
    sun_drops(lab, ALICE)


def test_a_responder_sends_nothing_in_clear_after_it_found_its_peer_dead() -> None:
    """RFC 7296 2.4: a dead peer ends the SA, not the need for protection."""
    quick = "tunnels.sites.dpd_delay=1 s", "tunnels.sites.retransmit=libreswan", "tunnels.sites.mobike=false"
    lab = Lab(*quick).up()
    lab.world.ports["moon:wan"].set_up(False)
    lab.run(40 * NS_PER_S)
    assert not lab.stack("sun").engine.sad
    sun_drops(lab, ALICE)


def test_a_responder_sends_nothing_in_clear_after_a_failed_negotiation() -> None:
    lab = Lab("tunnels.sites.auth={psk: secret, local_id: moon, remote_id: sun, responder: {psk: other}}")
    lab.send()
    lab.run()
    sun_drops(lab, ALICE)


def test_a_child_that_nobody_starts_protects_by_dropping() -> None:
    lab = Lab(f"{CHILD}.start=none")
    ear = lab.listen("moon:wan")
    lab.send()
    lab.run()
    assert ear.seen == []
    assert lab.drops("moon") == {NOT_BY_ITSELF: 1}


def test_a_child_that_nobody_starts_is_used_once_it_is_up() -> None:
    lab = Lab(f"{CHILD}.start=none").up()
    lab.send()
    lab.send(BOB, ALICE)
    lab.run()
    assert (lab.boxes["bob"].seqs, lab.boxes["alice"].seqs) == ([0], [1])


@pytest.mark.parametrize("address", [WARRIOR, LTE])
def test_a_gateway_sends_nothing_in_clear_to_a_road_warrior_of_the_file(address: bytes) -> None:
    """Its remote selector is whatever address the peer will have; the file knows which ones that can be."""
    lab = Lab(text=ROAD)
    sun_drops(lab, address)


def test_a_gateway_of_road_warriors_protects_what_the_caller_has_behind_it() -> None:
    """A caller may bring a network of its own: `local_ts` of its child, not its address."""
    lab = Lab("tunnels.road.children.net.local_ts=[192.0.2.10/32]", text=ROAD)
    lab.send(BOB, WARRIOR)
    lab.send(BOB, LTE)
    lab.run()
    assert lab.drops("sun") == {PEERS_ALONE: 1}
    assert lab.boxes["alice"].seqs == [1]


def test_a_gateway_of_road_warriors_lets_other_traffic_of_its_network_pass() -> None:
    """Only the peers of the file are meant by a dynamic remote selector, not the whole Internet."""
    lab = Lab(text=ROAD)
    ear = lab.listen("sun:wan")
    lab.send(BOB, NET)
    lab.send(SUN, NET)
    lab.send(SUN, WARRIOR)  # the gateway's own address is not of the network that is protected
    lab.run()
    assert len(ear.clear) == 3
    assert lab.drops("sun") == {}
    assert lab.boxes["alice"].seqs == [2]


def test_a_tunnel_comes_up_through_the_policy_that_waits_for_it() -> None:
    lab = Lab(text=ROAD)
    lab.send(WARRIOR, BOB)
    lab.run()
    lab.send(BOB, WARRIOR)
    lab.run()
    assert (lab.boxes["bob"].seqs, lab.boxes["alice"].seqs) == ([0], [1])


def test_a_host_in_transport_mode_waits_for_its_caller() -> None:
    text = """\
name: pair
duration: 10 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  b: {kind: host, interfaces: {eth: 192.0.2.2/24}}
links: [{ends: [a:eth, b:eth], delay: 1 ms}]
tunnels:
  t: {initiator: a, responder: b, auth: {psk: x}, children: {c: {mode: transport, start: trap}}}
"""
    a, b = pack_address("192.0.2.1"), pack_address("192.0.2.2")
    lab = Lab(text=text)
    ear = lab.listen("b:eth")
    lab.send(b, a)
    lab.run()
    assert ear.seen == []
    assert lab.drops("b") == {PEERS_ALONE: 1}
    lab.send(a, b)
    lab.run()
    lab.send(b, a)
    lab.run()
    assert (lab.boxes["b"].seqs, lab.boxes["a"].seqs) == ([1], [2])
    assert ear.clear == []


def test_a_policy_that_only_waits_does_not_stand_before_one_that_can_ask() -> None:
    """Two tunnels for the same traffic, each set up from another side: either serves both directions."""
    back = """\
  back:
    initiator: sun
    responder: moon
    auth: {psk: secret, local_id: sun, remote_id: moon}
    children:
      lans: {local_ts: [10.2.0.0/16], remote_ts: [10.1.0.0/16], start: trap}
"""
    lab = Lab(text=SITES + back)
    ear = lab.listen("sun:wan", "moon:wan")
    lab.send(BOB, ALICE)
    lab.run()
    lab.send(ALICE, BOB)
    lab.run()
    assert (lab.boxes["alice"].seqs, lab.boxes["bob"].seqs) == ([0], [1])
    assert ear.clear == []


WIDE = "{local_ts: [10.1.0.0/16], remote_ts: [10.2.0.0/16], start: at once}"
SPECIAL = "{local_ts: [10.1.0.0/16], remote_ts: ['10.2.0.0/16[udp/9999]'], start: trap}"


def test_a_child_for_a_part_that_stands_first_gets_an_sa_of_its_own() -> None:
    """RFC 4301 4.4.1: policies are looked up in order, and the SA of a later one is none for the first."""
    lab = Lab(f"tunnels.sites.children={{special: {SPECIAL}, wide: {WIDE}}}").run()
    assert children_of(lab) == ["wide"]
    ear = lab.listen("moon:wan")
    lab.send(ALICE, BOB)
    lab.run()
    lab.send(BOB, ALICE)
    lab.run()
    assert children_of(lab) == ["wide", "special"]
    assert (lab.boxes["bob"].seqs, lab.boxes["alice"].seqs) == ([0], [1])
    assert ear.clear == []
    packets = {name: sa.outbound.packets for name, sa in zip(children_of(lab), sas_of(lab), strict=True)}
    assert packets == {"wide": 0, "special": 1}


def test_a_child_for_a_part_that_stands_last_uses_the_sa_of_the_first() -> None:
    lab = Lab(f"tunnels.sites.children={{wide: {WIDE}, special: {SPECIAL}}}").run()
    lab.send(ALICE, BOB)
    lab.run()
    assert (children_of(lab), lab.boxes["bob"].seqs) == (["wide"], [0])


def test_a_child_for_a_part_that_cannot_ask_does_not_stand_before_an_sa() -> None:
    """At its own end, and at the responder, where no child can."""
    special = SPECIAL.replace("trap", "none")
    lab = Lab(f"tunnels.sites.children={{special: {special}, wide: {WIDE}}}").run()
    lab.send(ALICE, BOB)
    lab.send(BOB, ALICE)
    lab.run()
    assert (lab.boxes["bob"].seqs, lab.boxes["alice"].seqs) == ([0], [1])


def children_of(lab: Lab) -> list[str]:
    return [pair.outbound.spec.child for pair in sas_of(lab)]


def sas_of(lab: Lab) -> list[Pair]:
    return list(lab.stack("moon").engine.sad.values())


def test_what_no_child_covers_passes_in_clear_at_either_end() -> None:
    lab = Lab()
    lab.send(MOON, SUN)
    lab.send(SUN, MOON)
    lab.run()
    assert (lab.boxes["sun"].seqs, lab.boxes["moon"].seqs) == ([0], [1])


def test_an_error_about_what_came_through_the_tunnel_goes_back_through_it() -> None:
    """It quotes the packet. The gateway speaks from an address that the SA covers."""
    lab = Lab().up()
    heard: list[tuple[int, bytes]] = []
    lab.world.nodes["alice"].on_icmp.append(
        lambda message, header, now: heard.append((message.type, header.src))
    )
    ear = lab.listen("sun:wan", "moon:wan")
    dies_at_sun(lab)
    assert heard == [(11, pack_address("10.2.0.1"))]
    assert ear.clear == []


def test_an_error_that_would_quote_protected_traffic_in_clear_is_not_sent() -> None:
    """No address of sun is inside the selectors, and its SA may not carry other errors."""
    lab = Lab(f"{CHILD}.remote_ts=[10.2.0.10/32]", f"{CHILD}.icmp=false").up()
    ear = lab.listen("sun:wan")
    dies_at_sun(lab)
    assert ear.clear == []
    assert lab.drops("sun") == {
        "TTL exceeded": 1,
        "ICMP error that would quote protected traffic in clear": 1,
    }


def test_an_error_about_traffic_in_clear_goes_in_clear() -> None:
    """moon tells alice, on its own network, as any router does."""
    lab = Lab().up()
    heard: list[int] = []
    lab.world.nodes["alice"].on_icmp.append(lambda message, header, now: heard.append(message.type))
    lab.send(ALICE, pack_address("10.2.0.10"), to="bob")
    lab.world.nodes["alice"].send(short_lived(1, lab.now), lab.now)
    lab.run()
    assert heard == [11]


def sun_drops(lab: Lab, dst: bytes) -> None:
    """What bob sends there makes neither clear text nor a negotiation: only the peer can set an SA up."""
    before = lab.drops("sun").get(PEERS_ALONE, 0)
    ear = lab.listen("sun:wan")
    lab.send(BOB, dst)
    lab.run()
    assert ear.seen == []
    assert lab.drops("sun")[PEERS_ALONE] == before + 1


def dies_at_sun(lab: Lab) -> None:
    lab.world.nodes["alice"].send(short_lived(2, lab.now), lab.now)
    lab.run()


def short_lived(ttl: int, now: int) -> Packet:
    data = udp.build((ALICE, 7), (BOB, 7), b"a secret")
    while data[8] > ttl:
        ip.decrement_ttl(data)
    return Packet(data, now)


ACROSS = (
    "tunnels.sites.children={a: {local_ts: [10.1.0.0/16], remote_ts: ['10.2.0.0-10.2.0.100'], start: trap},"
    " b: {local_ts: [10.1.0.0/16], remote_ts: ['10.2.0.5-10.2.0.200'], start: at once}}"
)


def protecting_child(lab: Lab) -> str:
    """Which child's SA takes a packet for what both are for."""
    engine = lab.stack("moon").engine
    spi = engine.protecting(udp.build((ALICE, 7), (BOB, 7), b"x"))
    return engine.sad[spi].policy.child if spi is not None else ""


def test_equal_children_that_overlap_stand_as_in_the_file_whoever_is_rekeyed() -> None:
    """RFC 4301 4.4.1: the order of the SPD decides, not which SA is the newest."""
    lab = Lab(ACROSS.replace("trap", "at once")).up()
    lab.run(NS_PER_S)
    assert protecting_child(lab) == "a"
    for child in ("a", "b", "a"):
        for node in ("moon", "sun"):
            lab.stack(node).command("rekey", "sites", child, lab.now)
            lab.run(NS_PER_S)
            assert protecting_child(lab) == "a", (node, child)


def test_an_earlier_child_asks_for_what_it_shares_with_a_later_one_that_is_up() -> None:
    lab = Lab(ACROSS).up()
    lab.run(NS_PER_S)
    lab.world.nodes["alice"].send(Packet(udp.build((ALICE, 7), (BOB, 7), b"x"), lab.now), lab.now)
    lab.run(NS_PER_S)
    assert protecting_child(lab) == "a"
