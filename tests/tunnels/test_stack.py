"""IPsec in a node's packet path: what waits, what leaves, what is refused, and in which order."""

from __future__ import annotations

import json

import pytest

from sim.ike.events import ChildFailed, ChildSaUp, Event, MessageSent, Reason
from sim.net.packet import Packet
from sim.scenario.expand import expand
from sim.scenario.load import load_text
from sim.tunnels.driver import HELD_PACKETS, MAX_SAS, RETRY_AFTER, RETRY_SOON
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import icmp, ip, udp
from sim.wire.address import pack_address
from tests.tunnels.lab import ALICE, BOB, CHILD, MOON, SITES, SUN, Lab

OTHER = pack_address("10.2.9.9")
CLEAR = "clear text where policy demands protection"


def test_an_sa_is_installed_before_the_answer_leaves() -> None:
    """The responder must be able to receive on a new SA when the initiator hears of it (RFC 7296 2.8)."""
    lab = Lab()
    sun = lab.stack("sun")
    installed: list[int] = []
    transmit = sun.node.transmit

    def watched(packet: Packet, now: int) -> None:
        installed.append(len(sun.engine.sad))
        transmit(packet, now)

    sun.node.transmit = watched  # type: ignore[method-assign]
    lab.up()
    assert installed == [0, 1], "IKE_SA_INIT without, IKE_AUTH with the SA"


def test_esp_right_behind_the_answer_is_opened() -> None:
    """The initiator's first packet leaves in the instant in which the answer comes."""
    lab = Lab()
    lab.send()
    lab.run()
    assert lab.boxes["bob"].seqs == [0]
    assert lab.drops("sun") == {}


def test_a_packet_without_an_sa_waits_and_arrives_in_its_order() -> None:
    lab = Lab()
    sent = [lab.send() for _ in range(5)]
    lab.run()
    assert lab.boxes["bob"].seqs == sent
    ike_round_trips, wires = 2 * 20 * NS_PER_MS, 12 * NS_PER_MS
    assert all(at >= ike_round_trips + wires for at in lab.boxes["bob"].times)


def test_packets_that_come_while_others_are_released_do_not_overtake_them() -> None:
    lab = Lab()
    sent = [lab.send()]
    for _ in range(60):
        lab.run(NS_PER_MS)
        sent.append(lab.send())
    lab.run()
    assert lab.boxes["bob"].seqs == sent


def test_too_many_waiting_packets_push_the_oldest_out() -> None:
    lab = Lab()
    sent = [lab.send() for _ in range(HELD_PACKETS + 3)]
    lab.run()
    assert lab.boxes["bob"].seqs == sent[3:]
    assert lab.drops("moon") == {"too many packets wait for an SA": 3}


def test_one_negotiation_serves_all_that_wait() -> None:
    lab = Lab()
    for _ in range(10):
        lab.send()
    lab.run()
    requests = [e for e in lab.world.log if e.event == "ike sent" and e.node == "moon"]
    assert len(requests) == 2
    assert len(lab.stack("moon").engine.sad) == 1


@pytest.mark.parametrize("start", ["trap", "at once"])
def test_nothing_leaves_in_clear_before_during_and_after_an_sa(start: str) -> None:
    lab = Lab(f"{CHILD}.start={start}")
    ear = lab.listen("moon:wan", "sun:wan")
    for _ in range(40):
        lab.send()
        lab.run(5 * NS_PER_MS)
    delete(lab, "moon")
    for _ in range(40):
        lab.send()
        lab.run(5 * NS_PER_MS)
    lab.run()
    assert ear.clear == []
    assert lab.boxes["bob"].seqs == list(range(80))
    assert len([e for e in lab.world.log if e.event == "child up" and e.node == "moon"]) == 2


ROAD = (
    SITES.replace("initiator: moon", "initiator: alice")
    .replace("local_ts: [10.1.0.0/16], ", "")
    .replace("moon: {kind: gateway", "moon: {kind: router")
)  # fmt: skip


@pytest.mark.parametrize("start", ["trap", "at once"])
def test_dynamic_selectors_trap_too(start: str) -> None:
    """alice's own selector is her address, which no file names (RFC 7296 2.9: the driver fills it in)."""
    lab = Lab(f"{CHILD}.start={start}", text=ROAD)
    ear = lab.listen("alice:eth")
    for _ in range(20):
        lab.send()
        lab.run(5 * NS_PER_MS)
    delete(lab, "alice")
    lab.send()
    lab.run()
    assert ear.clear == []
    assert lab.boxes["bob"].seqs == list(range(21))


def test_transport_mode_between_hosts_traps_what_both_addresses_say() -> None:
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
    lab = Lab(text=text)
    ear = lab.listen("a:eth")
    lab.send(pack_address("192.0.2.1"), pack_address("192.0.2.2"))
    lab.run()
    assert ear.clear == []
    assert lab.boxes["b"].seqs == [0]


def test_what_no_policy_covers_passes_in_clear() -> None:
    lab = Lab().up()
    ear = lab.listen("moon:wan")
    lab.send(MOON, SUN)
    lab.run()
    assert [seen.outbound for seen in ear.clear] == [True]
    assert lab.boxes["sun"].seqs == [0]


def test_clear_text_that_a_policy_wants_protected_is_dropped_on_arrival() -> None:
    """RFC 4301 5.2: what should have come through the SA did not."""
    lab = Lab().up()
    forged = udp.build((ALICE, 7), (BOB, 7), b"trust me")
    sun = lab.world.nodes["sun"]
    sun.receive(Packet(forged, lab.now, lab.boxes["bob"]), sun.ports["wan"], lab.now)
    lab.run()
    assert lab.boxes["bob"].seqs == []
    assert lab.drops("sun") == {CLEAR: 1}


def test_clear_text_is_dropped_where_a_trap_stands_before_any_sa() -> None:
    lab = Lab()
    lab.run(NS_PER_MS)
    moon = lab.world.nodes["moon"]
    forged = udp.build((BOB, 7), (ALICE, 7), b"trust me")
    moon.receive(Packet(forged, lab.now), moon.ports["wan"], lab.now)
    assert lab.drops("moon") == {CLEAR: 1}


def test_a_failed_negotiation_drops_what_waited_and_says_why() -> None:
    lab = Lab("tunnels.sites.auth={psk: secret, local_id: moon, remote_id: sun, responder: {psk: other}}")
    ear = lab.listen("moon:wan")
    for _ in range(3):
        lab.send()
    lab.run()
    assert lab.drops("moon") == {"no SA: AUTHENTICATION_FAILED": 3}
    assert ear.clear == []
    assert lab.boxes["bob"].seqs == []


def test_a_failed_negotiation_is_not_tried_again_with_every_packet() -> None:
    lab = Lab("tunnels.sites.auth={psk: secret, local_id: moon, remote_id: sun, responder: {psk: other}}")
    ear = lab.listen("moon:wan")
    attempts = []
    for _ in range(3):
        lab.send()
        lab.run()
        attempts.append(sum(seen.is_ike and seen.outbound and seen.port == 500 for seen in ear.seen))
        lab.run(RETRY_AFTER // 2)
    assert attempts == [1, 1, 2]
    assert lab.drops("moon") == {"no SA: AUTHENTICATION_FAILED": 3}


def test_a_peer_that_is_silent_drops_what_waited() -> None:
    lab = Lab("links.1.loss=100 %", "tunnels.sites.retransmit=libreswan")
    lab.send()
    lab.run(32 * NS_PER_S)  # libreswan gives up 32 s after the first message
    assert "no SA: TIMEOUT" not in lab.drops("moon")
    lab.run(NS_PER_S)
    assert lab.drops("moon")["no SA: TIMEOUT"] == 1


def test_a_child_that_the_peer_refuses_drops_what_waited() -> None:
    """The IKE SA is up, the Child SA is not: nobody will ever release these packets."""
    lab = Lab(text=sun_has("esp_proposals", "aes256gcm16"))
    sent = [lab.send() for _ in range(3)]
    lab.run()
    assert lab.world.stacks["moon"].endpoint.sas[0].established_at > 0
    assert lab.drops("moon") == {"no SA: NO_PROPOSAL_CHOSEN": len(sent)}


def test_a_child_that_the_peer_refuses_is_asked_for_once_in_a_while() -> None:
    """Not with every packet of a busy flow."""
    lab = Lab(text=sun_has("esp_proposals", "aes256gcm16"))
    for _ in range(40):
        lab.send()
        lab.run(RETRY_AFTER // 20)
    refusals = [entry.at for entry in lab.world.log if (entry.node, entry.event) == ("moon", "child failed")]
    assert len(refusals) == 2
    assert refusals[1] - refusals[0] >= RETRY_AFTER
    assert lab.drops("moon") == {"no SA: NO_PROPOSAL_CHOSEN": 40}


@pytest.mark.parametrize(
    ("reason", "delay"), [(Reason.TEMPORARY_FAILURE, RETRY_SOON), (Reason.TS_UNACCEPTABLE, RETRY_AFTER)]
)
def test_a_peer_that_is_busy_is_asked_again_soon(reason: Reason, delay: int) -> None:
    """RFC 7296 2.25: what was refused for a moment is wanted all the same."""
    lab = Lab()
    lab.stack("moon").apply(ChildFailed(1, "sites", "lans", reason, "not now", True), lab.now)
    lab.run(delay - 5 * NS_PER_MS)
    lab.send()
    lab.run(10 * NS_PER_MS)
    assert lab.drops("moon") == {f"no SA: {reason}": 1}
    sent = lab.send()
    lab.run()
    assert lab.boxes["bob"].seqs == [sent]


def test_a_refusal_is_forgotten_when_the_child_comes_up_otherwise() -> None:
    """The peer may set it up itself; once that SA is gone, a packet asks at once."""
    lab = Lab()
    moon = lab.stack("moon")
    moon.apply(ChildFailed(1, "sites", "lans", Reason.TS_UNACCEPTABLE, "none in common", True), lab.now)
    lab.send()
    lab.run()
    assert lab.drops("moon") == {"no SA: TS_UNACCEPTABLE": 1}
    lab.up()
    moon.endpoint.delete("sites", lab.now)
    moon.pump(lab.now)
    sent = lab.send()
    lab.run()
    assert lab.boxes["bob"].seqs == [sent]


def test_a_packet_outside_the_narrowed_selectors_is_dropped_not_kept() -> None:
    """The responder has narrowed the selectors (RFC 7296 2.9); the trap still covers more than the SA."""
    lab = Lab(text=sun_has("local_ts", "10.2.0.10/32"))
    lab.send()
    lab.run()
    assert lab.boxes["bob"].seqs == [0]
    ear = lab.listen("moon:wan")
    lab.send(ALICE, OTHER, to="bob")
    lab.run()
    assert ear.clear == []
    assert lab.drops("moon") == {"no SA covers it: the selectors agreed on leave it out": 1}


def test_what_the_peer_asked_for_in_vain_concerns_no_packet_that_waits() -> None:
    """moon refuses a request of sun's while its own is under way; the event names the child that it has."""
    lab = Lab()
    sent = lab.send()
    lab.run(20 * NS_PER_MS)
    moon = lab.stack("moon")
    moon.apply(ChildFailed(1, "sites", "lans", Reason.TS_UNACCEPTABLE, "none in common", False), lab.now)
    lab.run()
    assert lab.drops("moon") == {}
    assert lab.boxes["bob"].seqs == [sent]


def two_children(first: str, second: str) -> str:
    """The two sites, where sun has two Child SAs for parts of what moon has in one."""
    plain = expand(load_text(SITES)).plain()
    child = plain["connections"]["sun"]["sites"]["children"]["lans"]
    plain["connections"]["sun"]["sites"]["children"] = {
        "a": child | {"local_ts": [first]},
        "b": child | {"local_ts": [second]},
    }
    return json.dumps(plain)


def test_a_packet_outside_the_narrowed_selectors_gets_an_sa_of_its_own() -> None:
    """RFC 7296 2.9: what is inside policy, but outside the SA, asks for a further Child SA."""
    lab = Lab(text=two_children("10.2.0.0/24", "10.2.9.0/24"))
    first, others = lab.send(), [lab.send(ALICE, OTHER, to="bob") for _ in range(5)]
    lab.run()
    assert lab.boxes["bob"].seqs == [first]
    assert (lab.drops("sun"), lab.drops("moon")) == ({}, {})
    assert len(lab.stack("moon").engine.sad) == len(lab.stack("sun").engine.sad) == 2
    opened = [pair.inbound.packets for pair in lab.stack("sun").engine.sad.values()]
    assert opened == [1, len(others)]


def test_selectors_that_the_peer_does_not_want_are_asked_for_once_in_a_while() -> None:
    """Neither an exchange nor an SA for each packet, and none left over."""
    lab = Lab(text=sun_has("local_ts", "10.2.0.10/32")).up()
    for _ in range(50):
        lab.send(ALICE, OTHER, to="bob")
        lab.run(50 * NS_PER_MS)
    asked = [e for e in lab.world.log if e.node == "moon" and "CREATE_CHILD_SA request" in e.detail]
    assert len([e for e in asked if e.event == "ike sent"]) == 1
    assert lab.drops("moon") == {"no SA covers it: the selectors agreed on leave it out": 50}
    assert len(lab.stack("moon").engine.sad) == len(lab.stack("sun").engine.sad) == 1
    lab.run(RETRY_AFTER)
    lab.send(ALICE, OTHER, to="bob")
    lab.run()
    assert len(lab.stack("moon").engine.sad) == 1


def test_the_sas_that_packets_ask_for_are_bounded() -> None:
    """A peer may narrow to single hosts; whoever scans a network must not get an SA for each."""
    plain = expand(load_text(SITES)).plain()
    child = plain["connections"]["sun"]["sites"]["children"]["lans"]
    hosts = [f"10.2.7.{number}" for number in range(1, MAX_SAS + 5)]
    children = {host.replace(".", "-"): child | {"local_ts": [f"{host}/32"]} for host in hosts}
    plain["connections"]["sun"]["sites"]["children"] = children
    lab = Lab(text=json.dumps(plain))
    for host in hosts:
        lab.send(ALICE, pack_address(host), to="bob")
        lab.run(100 * NS_PER_MS)
    assert len(lab.stack("moon").engine.sad) == MAX_SAS
    assert lab.drops("moon") == {
        "no SA covers it: the selectors agreed on leave it out": len(hosts) - MAX_SAS
    }


def test_the_rest_of_what_waited_goes_on_when_one_packet_is_not_covered() -> None:
    lab = Lab(text=sun_has("local_ts", "10.2.0.10/32"))
    first, _, last = lab.send(), lab.send(ALICE, OTHER, to="bob"), lab.send()
    lab.run()
    assert lab.boxes["bob"].seqs == [first, last]
    assert sum(lab.drops("moon").values()) == 1


def test_the_responder_answers_through_the_sa_of_its_caller() -> None:
    """The responder may not negotiate; the SA brings its own policy, for both directions."""
    lab = Lab().up()
    ear = lab.listen("sun:wan")
    lab.send(BOB, ALICE)
    lab.run()
    assert ear.clear == []
    assert lab.boxes["alice"].seqs == [0]


def test_the_forwarded_packet_loses_one_hop_at_each_gateway_and_none_in_the_tunnel() -> None:
    """RFC 2003 3.1: the inner TTL is the gateways' business, the routers between see the outer one."""
    lab = Lab()
    lab.send()
    lab.run()
    assert ip.parse(lab.boxes["bob"].octets[0]).ttl == 64 - 2


def test_an_error_about_a_packet_in_the_tunnel_goes_back_through_it() -> None:
    lab = Lab().up()
    heard: list[icmp.IcmpMessage] = []
    lab.world.nodes["alice"].on_icmp.append(lambda message, header, now: heard.append(message))
    ear = lab.listen("sun:wan")
    alice = lab.world.nodes["alice"]
    alice.send(Packet(udp.build((ALICE, 7), (BOB, 7), b"nobody listens"), lab.now), lab.now)
    lab.run()
    assert [(m.type, m.code) for m in heard] == [(3, 3)]
    assert ear.clear == []


def test_what_an_ike_endpoint_reports_is_observed_after_it_was_applied() -> None:
    """Whoever listens to events may look at the SA that an event speaks of."""
    lab = Lab()
    moon = lab.stack("moon")
    known: list[bool] = []

    def observe(node: str, event: Event, now: int) -> None:
        if isinstance(event, ChildSaUp):
            known.append(event.spi_in in moon.engine.sad)
        if isinstance(event, MessageSent):
            assert node == "moon"

    moon._observe = observe
    lab.up()
    assert known == [True]


def test_a_deleted_sa_is_forgotten_at_both_ends() -> None:
    lab = Lab().up()
    delete(lab, "moon")
    lab.run()
    assert not lab.stack("moon").engine.sad
    assert not lab.stack("sun").engine.sad


def delete(lab: Lab, node: str) -> None:
    stack = lab.stack(node)
    stack.endpoint.delete("sites", lab.now)
    stack.pump(lab.now)


def sun_has(key: str, value: str) -> str:
    """The expanded form of the two sites, with one setting of sun's child replaced."""
    plain = expand(load_text(SITES)).plain()
    plain["connections"]["sun"]["sites"]["children"]["lans"][key] = [value]
    return json.dumps(plain)
