"""The NAT box on the wire: what it rewrites, lets through, and drops. scapy judges octets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, TCPerror, UDPerror
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from sim.net.nat import NAT_PRESETS, NatBox, NatTable
from sim.net.nat_profile import Fragments, Hairpinning, Pooling
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from sim.wire.icmp import IcmpMessage
from tests.net.scene import ALICE, BERT, OTHER, SERVER, WAN, Ear, Home

HOME = NAT_PRESETS["home"]


def test_a_datagram_leaves_from_the_external_address_and_the_answer_returns() -> None:
    home = Home()
    server, alice = Ear(), Ear()
    home.server.bind_udp(500, server)
    home.alice.bind_udp(500, alice)
    home.alice.send_udp(b"request", (ALICE, 500), (SERVER, 500), 0)
    home.settle()
    ((payload, src, _, now),) = server.datagrams
    assert (payload, src) == (b"request", (WAN, 500))
    home.server.send_udp(b"answer", (SERVER, 500), src, now)
    home.settle()
    assert [d[:3] for d in alice.datagrams] == [(b"answer", (SERVER, 500), (ALICE, 500))]
    assert dropped(home.nat) == {}


def test_two_clients_with_one_port_are_told_apart() -> None:
    home = Home()
    server, alice, bert = Ear(), Ear(), Ear()
    home.server.bind_udp(4500, server)
    home.alice.bind_udp(4500, alice)
    home.bert.bind_udp(4500, bert)
    home.alice.send_udp(b"a", (ALICE, 4500), (SERVER, 4500), 0)
    home.bert.send_udp(b"b", (BERT, 4500), (SERVER, 4500), 0)
    home.settle()
    for payload, src, _, now in tuple(server.datagrams):
        home.server.send_udp(payload, (SERVER, 4500), src, now)
    home.settle()
    assert [d[0] for d in alice.datagrams] == [b"a"]
    assert [d[0] for d in bert.datagrams] == [b"b"]


@pytest.mark.parametrize(("filtering", "reason"), [("address-dependent", "filtered"), (None, "no mapping")])
def test_uninvited_packets_are_dropped_in_silence(filtering: str | None, reason: str) -> None:
    home = Home(HOME.override({"filtering": filtering}) if filtering else HOME)
    if filtering:
        home.alice.send_udp(b"", (ALICE, 500), (SERVER, 500), 0)
        home.settle()
    heard = listen(home.other)
    home.other.send_udp(b"hello?", (OTHER, 1), (WAN, 500), home.sim.now)
    home.settle()
    assert dropped(home.nat) == {reason: 1}
    assert heard == []


def test_a_mapping_ends_and_a_packet_from_inside_makes_it_anew() -> None:
    home = Home(HOME.override({"udp_timeout": NS_PER_S}))
    ear = Ear()
    home.alice.bind_udp(500, ear)
    home.alice.send_udp(b"", (ALICE, 500), (SERVER, 500), 0)
    for wait, arrives in ((NS_PER_S // 2, 1), (NS_PER_S // 2, 2), (NS_PER_S, 2)):  # inbound refreshes
        home.sim.run(home.sim.now + wait)
        home.server.send_udp(b"", (SERVER, 500), (WAN, 500), home.sim.now)
        home.settle(NS_PER_S // 10)
        assert len(ear.datagrams) == arrives
    assert dropped(home.nat) == {"no mapping": 1}


def test_esp_without_udp_cannot_pass() -> None:
    home = Home()
    esp = IP(src="192.168.1.10", dst="198.51.100.1", proto=50) / Raw(bytes(40))
    inject(home.alice, esp)
    inject(home.server, IP(src="198.51.100.1", dst="203.0.113.10", proto=50) / Raw(bytes(40)))
    home.settle()
    assert dropped(home.nat) == {"protocol 50 has no ports": 2}


def test_ping_goes_out_and_returns_with_its_own_identifier() -> None:
    home = Home()
    heard = {host.name: listen(host) for host in (home.alice, home.bert)}
    seen = watch(home.server)
    for host, address in ((home.alice, "192.168.1.10"), (home.bert, "192.168.1.11")):
        inject(host, IP(src=address, dst="198.51.100.1") / ICMP(type=8, id=77, seq=5) / b"ping")
    home.settle()
    assert len({packet[ICMP].id for packet in seen}) == 2
    for messages in heard.values():
        ((message),) = messages
        assert message.is_echo_reply
        assert (message.identifier, message.sequence, message.body) == (77, 5, b"ping")


def test_the_box_answers_a_ping_of_its_own_addresses() -> None:
    home = Home()
    outside, inside = listen(home.server), listen(home.alice)
    inject(home.server, IP(src="198.51.100.1", dst="203.0.113.10") / ICMP(type=8, id=1))
    inject(home.alice, IP(src="192.168.1.10", dst="192.168.1.1") / ICMP(type=8, id=2))
    inject(home.alice, IP(src="192.168.1.10", dst="203.0.113.10") / ICMP(type=8, id=3))
    home.settle()
    assert [message.identifier for message in outside] == [1]
    assert sorted(message.identifier for message in inside) == [2, 3]


def test_an_uninvited_echo_reply_is_dropped_on_either_side() -> None:
    home = Home()
    inject(home.server, IP(src="198.51.100.1", dst="203.0.113.10") / ICMP(type=0, id=1))
    inject(home.alice, IP(src="192.168.1.10", dst="198.51.100.1") / ICMP(type=0, id=1))
    home.settle()
    assert dropped(home.nat) == {"no mapping": 2}


def test_inside_and_outside_networks_do_not_leak() -> None:
    """What does not go through the outside port is routed as it is; private addresses never get out."""
    home = Home()
    seen = watch(home.core)
    ear = Ear()
    home.bert.bind_udp(9, ear)
    home.alice.send_udp(b"neighbour", (ALICE, 9), (BERT, 9), 0)
    home.alice.send_udp(b"abroad", (ALICE, 9), (SERVER, 9), 0)
    home.settle()
    assert [d[1] for d in ear.datagrams] == [(ALICE, 9)]
    assert {packet.src for packet in seen if packet.dst == "198.51.100.1"} == {"203.0.113.10"}


def test_what_comes_for_an_inside_address_from_outside_is_dropped() -> None:
    home = Home()
    home.core.add_route(pack_address("192.168.1.0"), 24, home.core.ports["home"])
    home.server.send_udp(b"", (SERVER, 9), (ALICE, 9), 0)
    home.settle()
    assert dropped(home.nat) == {"no mapping": 1}


# Octets

PORTS = st.integers(1, 65535)
PAYLOADS = st.binary(max_size=40)


@given(PORTS, PORTS, PAYLOADS, st.sampled_from(["udp", "tcp", "icmp", "none"]))
def test_every_checksum_is_right_after_translation(sport: int, dport: int, payload: bytes, kind: str) -> None:
    """Out and back, for random ports, with scapy computing the checksums anew."""
    home = Home(NAT_PRESETS["cgn"])
    seen, returned = watch(home.core), watch(home.alice)
    request = transport(kind, sport, dport) / payload
    inject(home.alice, IP(src="192.168.1.10", dst="198.51.100.1", id=3) / request)
    home.settle()
    first = seen[0]
    assert (first.src, first.dst) == ("203.0.113.10", "198.51.100.1")
    assert bytes(first) == recomputed(first)
    if kind == "none":
        assert first[UDP].chksum == 0
    inject(home.server, answer_to(first))
    home.settle()
    (back,) = [packet for packet in returned if packet.src == "198.51.100.1" and packet.id == 4]
    assert back.dst == "192.168.1.10"
    assert bytes(back) == recomputed(back)
    if kind == "icmp":
        assert back[ICMP].id == sport
    else:
        assert back[IP].payload.dport == sport


def test_a_damaged_checksum_is_not_mended() -> None:
    home = Home()
    seen = watch(home.core)
    packet = bytearray(bytes(IP(src="192.168.1.10", dst="198.51.100.1") / UDP(sport=5, dport=9) / b"data"))
    packet[-1] ^= 1
    home.alice.send(Packet(packet, 0), 0)
    home.settle()
    assert bytes(seen[0]) != recomputed(seen[0])


@given(PORTS, PORTS, st.sampled_from(["udp", "tcp", "icmp", "none"]), st.integers(8, 60))
def test_an_error_from_outside_arrives_as_about_the_original(
    sport: int, dport: int, kind: str, quoted: int
) -> None:
    """RFC 5508 REQ-4: the quoted packet is what the inside sent, and all checksums hold, cut short or not."""
    home = Home(NAT_PRESETS["cgn"])
    seen, returned = watch(home.core), watch(home.alice)
    inject(
        home.alice,
        IP(src="192.168.1.10", dst="198.51.100.1", id=3) / transport(kind, sport, dport) / bytes(40),
    )
    home.settle()
    original = bytes(seen[0])
    error = (
        IP(src="203.0.113.1", dst="203.0.113.10", id=9) / ICMP(type=3, code=1) / Raw(original[: 20 + quoted])
    )
    inject(home.core, error)
    home.settle()
    (arrived,) = [packet for packet in returned if packet.id == 9]
    assert (arrived.src, arrived.dst) == ("203.0.113.1", "192.168.1.10")
    assert outer_sums_hold(arrived)
    assert (arrived[IPerror].src, arrived[IPerror].dst) == ("192.168.1.10", "198.51.100.1")
    assert header_sum_holds(bytes(arrived[ICMP].payload)[:20])
    inner = bytes(arrived[ICMP].payload)[20:]
    if kind == "icmp":
        assert int.from_bytes(inner[4:6], "big") == sport
    else:
        assert int.from_bytes(inner[:2], "big") == sport
    if kind == "none":
        assert inner[6:8] == b"\0\0"
    if quoted >= len(original) - 20:
        assert bytes(IP(bytes(arrived[ICMP].payload))) == recomputed(IP(bytes(arrived[ICMP].payload)))


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_an_error_from_inside_leaves_as_about_the_external_endpoint(kind: str) -> None:
    home = Home()
    seen = watch(home.server)
    inject(home.alice, IP(src="192.168.1.10", dst="198.51.100.1", id=3) / transport(kind, 700, 9))
    home.settle()
    inject(home.server, answer_to(seen[0]))
    home.settle()
    inside = IP(src="198.51.100.1", dst="192.168.1.10", id=4) / transport(kind, 9, 700)
    inject(home.alice, IP(src="192.168.1.10", dst="198.51.100.1", id=8) / ICMP(type=3, code=3) / inside)
    home.settle()
    (arrived,) = [packet for packet in seen if packet.id == 8]
    assert (arrived.src, arrived.dst) == ("203.0.113.10", "198.51.100.1")
    assert (arrived[IPerror].src, arrived[IPerror].dst) == ("198.51.100.1", "203.0.113.10")
    assert arrived[UDPerror if kind == "udp" else TCPerror].dport == seen[0].sport
    assert outer_sums_hold(arrived)
    quoted = IP(bytes(arrived[ICMP].payload))
    assert bytes(quoted) == recomputed(quoted)


def test_an_error_about_a_ping_arrives_with_the_inside_identifier() -> None:
    home = Home(NAT_PRESETS["cgn"])
    returned = watch(home.alice)
    inject(home.alice, IP(src="192.168.1.10", dst="198.51.100.1", ttl=2) / ICMP(type=8, id=77))
    home.settle()
    (arrived,) = [packet for packet in returned if packet[ICMP].type == 11]
    assert arrived.src == "203.0.113.1"
    assert arrived[ICMPerror].id == 77


def test_an_error_refreshes_no_mapping() -> None:
    """RFC 5508 REQ-4 (d); else a forger could keep a hole open."""
    home = Home(HOME.override({"udp_timeout": NS_PER_S}))
    seen = watch(home.core)
    home.alice.send_udp(b"", (ALICE, 500), (SERVER, 500), 0)
    home.sim.run(NS_PER_S * 3 // 4)
    inject(home.core, IP(src="203.0.113.1", dst="203.0.113.10") / ICMP(type=3, code=1) / bytes(seen[0]))
    home.sim.run(NS_PER_S * 5 // 4)
    assert list(home.nat.nat.mappings(home.sim.now)) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ICMP(type=3) / Raw(b"\x45short"), "malformed ICMP message"),
        (
            ICMP(type=3) / IP(src="203.0.113.10", proto=50) / Raw(bytes(8)),
            "ICMP error about a packet without ports",
        ),
        (
            ICMP(type=3) / IP(src="203.0.113.10", proto=17, len=30) / Raw(bytes(7)),
            "ICMP error that is cut short",
        ),
        (ICMP(type=13), "ICMP type that a NAT cannot translate"),
        (
            ICMP(type=3) / IP(src="203.0.113.10", proto=17, frag=9) / Raw(bytes(8)),
            "ICMP error about a packet without ports",
        ),
    ],
)
def test_icmp_that_cannot_be_translated_is_dropped_with_its_reason(error: Scapy, reason: str) -> None:
    home = Home()
    inject(home.server, IP(src="198.51.100.1", dst="203.0.113.10") / error)
    home.settle()
    assert dropped(home.nat) == {reason: 1}


# TTL, size, fragments


def test_the_box_is_a_hop_and_quotes_what_the_sender_knows() -> None:
    home = Home()
    returned = watch(home.alice)
    inject(home.alice, IP(src="192.168.1.10", dst="198.51.100.1", ttl=1) / UDP(sport=500, dport=500))
    home.settle()
    (error,) = returned
    assert (error.src, error[ICMP].type) == ("192.168.1.1", 11)
    assert (error[IPerror].src, error[UDPerror].sport) == ("192.168.1.10", 500)
    assert list(home.nat.nat.mappings(home.sim.now)) == []


def test_a_packet_too_big_for_the_outside_is_reported_to_the_inside() -> None:
    home = Home()
    home.nat.ports["wan"].mtu = 1400
    returned = watch(home.alice)
    inject(home.alice, IP(src="192.168.1.10", dst="198.51.100.1", flags="DF") / UDP() / bytes(1400))
    home.settle()
    (error,) = returned
    assert (error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu) == (3, 4, 1400)
    assert error[IPerror].src == "192.168.1.10"


def test_a_packet_too_big_for_the_inside_is_reported_to_the_outside() -> None:
    home = Home()
    home.nat.ports["lan"].mtu = 1000
    seen, returned = watch(home.server), listen(home.server)
    home.alice.send_udp(b"", (ALICE, 500), (SERVER, 500), 0)
    home.settle()
    big = answer_to(seen[0]) / bytes(1000)
    big[IP].flags = "DF"
    inject(home.server, big)
    home.settle()
    (error,) = returned
    assert (error.code, error.mtu) == (4, 1000)
    assert error.embedded is not None
    assert IP(error.embedded).dst == "203.0.113.10"


def test_fragments_pass_both_ways() -> None:
    home = Home()
    server, alice = Ear(), Ear()
    home.server.bind_udp(500, server)
    home.alice.bind_udp(500, alice)
    payload = bytes(index % 251 for index in range(4000))
    home.alice.send_udp(payload, (ALICE, 500), (SERVER, 500), 0)
    home.settle()
    ((got, src, _, now),) = server.datagrams
    home.server.send_udp(got, (SERVER, 500), src, now)
    home.settle()
    assert (got, alice.datagrams[0][0]) == (payload, payload)


def test_a_missing_fragment_is_a_drop_with_a_reason() -> None:
    home = Home()
    whole = IP(src="192.168.1.10", dst="198.51.100.1", id=9) / UDP() / bytes(2000)
    for piece in whole.fragment(1000)[1:]:  # type: ignore[no-untyped-call]
        inject(home.alice, piece)
    home.settle(100 * NS_PER_S)
    assert dropped(home.nat) == {"reassembly time exceeded": 1}


# Boxes


def test_hairpinning_brings_inside_hosts_together() -> None:
    """RFC 4787 REQ-9: with the external source address and port."""
    home = Home(NAT_PRESETS["cgn"])
    bert = Ear()
    home.bert.bind_udp(500, bert)
    home.bert.send_udp(b"", (BERT, 500), (SERVER, 500), 0)
    home.settle()
    (mapping,) = home.nat.nat.mappings(home.sim.now)
    seen = watch(home.bert)
    home.alice.send_udp(b"peer", (ALICE, 500), mapping.external, home.sim.now)
    home.settle()
    ((payload, src, _, _),) = bert.datagrams
    assert payload == b"peer"
    assert src[0] == WAN
    assert bytes(seen[0]) == recomputed(seen[0])


def test_without_hairpinning_the_box_keeps_its_address_to_itself() -> None:
    home = Home(NAT_PRESETS["symmetric"])
    bert = Ear()
    home.bert.bind_udp(500, bert)
    home.bert.send_udp(b"", (BERT, 500), (SERVER, 500), 0)
    home.settle()
    (mapping,) = home.nat.nat.mappings(home.sim.now)
    home.alice.send_udp(b"peer", (ALICE, 500), mapping.external, home.sim.now)
    home.settle()
    assert bert.datagrams == []
    assert dropped(home.nat) == {"UDP port unreachable": 1}


def test_hairpinning_with_the_internal_source_lets_the_answer_pass_the_box_by() -> None:
    """RFC 4787 6: the other kind, which REQ-9 a) forbids; answers come from where nobody asked."""
    home = Home(replace(NAT_PRESETS["cgn"], hairpinning=Hairpinning.INTERNAL_SOURCE))
    bert = Ear()
    home.bert.bind_udp(500, bert)
    home.bert.send_udp(b"", (BERT, 500), (SERVER, 500), 0)
    home.settle()
    (mapping,) = home.nat.nat.mappings(home.sim.now)
    home.alice.send_udp(b"peer", (ALICE, 500), mapping.external, home.sim.now)
    home.settle()
    assert [(payload, src) for payload, src, _, _ in bert.datagrams] == [(b"peer", (ALICE, 500))]


@pytest.mark.parametrize(
    ("kind", "arrived", "drops"),
    [
        (Fragments.REASSEMBLE, 2000, {}),
        (Fragments.DROP, 0, {"NAT drops fragments": 2}),
        (Fragments.FIRST_ONLY, 0, {"NAT drops fragments": 1}),
    ],
)
def test_fragments_pass_by_rule(kind: Fragments, arrived: int, drops: dict[str, int]) -> None:
    home = Home(replace(HOME, fragments=kind))
    server = Ear()
    home.server.bind_udp(500, server)
    home.alice.send_udp(bytes(2000), (ALICE, 500), (SERVER, 500), 0)
    home.settle()
    assert sum(len(payload) for payload, *_ in server.datagrams) == arrived
    assert dropped(home.nat) == drops
    if kind is Fragments.FIRST_ONLY:
        home.settle(100 * NS_PER_S)
        assert dict(home.server.drops) == {"reassembly time exceeded": 1}


def test_all_addresses_of_the_outside_port_are_external() -> None:
    home = Home(replace(NAT_PRESETS["symmetric"], pooling=Pooling.ARBITRARY))
    second = pack_address("203.0.113.11")
    home.nat.ports["wan"].add_address(second, 24)
    server = Ear()
    home.server.bind_udp(500, server)
    for port in range(30):
        home.alice.send_udp(b"", (ALICE, 7000 + port), (SERVER, 500), home.sim.now)
    home.settle()
    assert {src[0] for _, src, _, _ in server.datagrams} == {WAN, second}
    alice = [Ear() for _ in range(30)]
    for port, ear in enumerate(alice):
        home.alice.bind_udp(7000 + port, ear)
    for _, src, _, now in tuple(server.datagrams):
        home.server.send_udp(b"back", (SERVER, 500), src, now)
    home.settle()
    assert [len(ear.datagrams) for ear in alice] == [1] * 30


# One to one

PUBLIC = pack_address("203.0.113.20")


def one_to_one() -> Home:
    home = Home()
    home.nat.ports["wan"].add_address(PUBLIC, 24)
    home.nat.one_to_one(ALICE, PUBLIC)
    return home


@pytest.mark.parametrize("kind", ["udp", "none", "tcp", "icmp", "esp", "ah"])
def test_one_to_one_changes_the_address_of_any_protocol(kind: str) -> None:
    """RFC 3022 2.1: both ways, from whichever side it starts, with every checksum right."""
    home = one_to_one()
    seen, back = watch(home.server), watch(home.alice)
    upper = Raw(bytes(40)) if kind in ("esp", "ah") else transport(kind, 500, 500)
    proto = {"esp": 50, "ah": 51}.get(kind)
    there = IP(src="192.168.1.10", dst="198.51.100.1") / upper
    here = IP(src="198.51.100.1", dst="203.0.113.20") / upper
    if proto:
        there.proto = here.proto = proto
    inject(home.server, here)
    inject(home.alice, there)
    home.settle()
    assert (seen[0].src, back[0].dst) == ("203.0.113.20", "192.168.1.10")
    for packet in (seen[0], back[0]):
        assert bytes(packet) == recomputed(packet)
    if proto:
        assert bytes(seen[0].payload) == bytes(there.payload)


def test_one_to_one_passes_fragments_as_they_are() -> None:
    home = one_to_one()
    server = Ear()
    home.server.bind_udp(500, server)
    home.alice.send_udp(bytes(3000), (ALICE, 500), (SERVER, 500), 0)
    home.settle()
    assert [(len(payload), src) for payload, src, _, _ in server.datagrams] == [(3000, (PUBLIC, 500))]
    assert len(home.nat.nat) == 0


def test_one_to_one_translates_what_an_icmp_error_quotes() -> None:
    home = one_to_one()
    heard = listen(home.alice)
    home.alice.send_udp(b"?", (ALICE, 500), (SERVER, 9), 0)  # nobody listens
    home.settle()
    (message,) = heard
    quoted = IP(message.body)
    assert (quoted.src, quoted.dst) == ("192.168.1.10", "198.51.100.1")
    assert header_sum_holds(bytes(quoted)[:20])


def test_the_other_hosts_of_a_one_to_one_box_share_its_other_address() -> None:
    home = one_to_one()
    server = Ear()
    home.server.bind_udp(500, server)
    home.bert.send_udp(b"", (BERT, 500), (SERVER, 500), 0)
    home.settle()
    assert [src for _, src, _, _ in server.datagrams] == [(WAN, 500)]
    with pytest.raises(ValueError, match="one other only"):
        home.nat.one_to_one(BERT, PUBLIC)


# Forwarding


def test_a_forwarded_port_leads_inside_without_being_asked() -> None:
    home = Home()
    alice = Ear()
    home.alice.bind_udp(500, alice)
    nat = home.nat.nat
    assert isinstance(nat, NatTable)
    nat.forward(17, 500, (ALICE, 500))
    home.server.send_udp(b"hello", (SERVER, 500), (WAN, 500), 0)
    home.settle()
    assert [(payload, src) for payload, src, _, _ in alice.datagrams] == [(b"hello", (SERVER, 500))]


def test_rebinding_is_seen_by_the_next_packet_from_inside() -> None:
    home = Home()
    server = Ear()
    home.server.bind_udp(500, server)
    home.alice.send_udp(b"before", (ALICE, 500), (SERVER, 500), 0)
    home.settle()
    home.nat.nat.rebind(home.sim.now)
    home.server.send_udp(b"old", (SERVER, 500), (WAN, 500), home.sim.now)
    home.alice.send_udp(b"after", (ALICE, 500), (SERVER, 500), home.sim.now)
    home.settle()
    sources = [src for _, src, _, _ in server.datagrams]
    assert sources[0] == (WAN, 500) != sources[1]
    assert dropped(home.nat) == {"no mapping": 1}


def test_a_new_external_address_replaces_the_mappings() -> None:
    home = Home()
    server = Ear()
    home.server.bind_udp(500, server)
    home.alice.send_udp(b"", (ALICE, 500), (SERVER, 500), 0)
    home.settle()
    wan, new = home.nat.ports["wan"], pack_address("203.0.113.99")
    wan.remove_address(WAN)
    wan.add_address(new, 24)
    home.alice.send_udp(b"", (ALICE, 500), (SERVER, 500), home.sim.now)
    home.settle()
    assert [src for _, src, _, _ in server.datagrams] == [(WAN, 500), (new, 500)]


def test_a_box_without_an_external_address_says_so() -> None:
    home = Home()
    home.nat.ports["wan"].remove_address(WAN)
    home.alice.send_udp(b"", (ALICE, 500), (SERVER, 500), 0)
    home.settle()
    assert dropped(home.nat) == {"NAT without an external address": 1}


def test_an_exhausted_pool_drops_with_its_reason() -> None:
    home = Home(replace(NAT_PRESETS["symmetric"], port_range=(2000, 2001)))
    for port in range(3):
        home.alice.send_udp(b"", (ALICE, 5000 + port), (SERVER, 500), 0)
    home.settle()
    assert dropped(home.nat) == {"NAT has no port left": 1}


def test_the_mapping_survives_the_trip_as_the_same_packet() -> None:
    """Latency is measured from the source, through any number of boxes."""
    home = Home()
    ear = Ear(home.server)
    packet = Packet(bytearray(bytes(IP(src="192.168.1.10", dst="198.51.100.1") / UDP(sport=5))), 0, ear, 42)
    home.alice.send(packet, 0)
    home.settle()
    assert ear.packets[0][1] is packet


@given(st.binary(max_size=80), st.booleans(), st.booleans())
def test_any_octets_are_counted_and_harm_nothing(octets: bytes, headed: bool, outside: bool) -> None:
    """Bare, or as the payload of a sound IP header of any protocol."""
    home = Home()
    src, dst = ("198.51.100.1", "203.0.113.10") if outside else ("192.168.1.10", "198.51.100.1")
    protocol = octets[0] if octets else 1
    data = bytes(IP(src=src, dst=dst, proto=protocol) / Raw(octets[1:])) if headed else octets
    feed(home, data, outside)


@given(st.binary(max_size=60), st.sampled_from([1, 6, 17]), st.booleans())
def test_any_upper_layer_is_counted_and_harms_nothing(octets: bytes, protocol: int, outside: bool) -> None:
    home = Home()
    src, dst = ("198.51.100.1", "203.0.113.10") if outside else ("192.168.1.10", "198.51.100.1")
    feed(home, bytes(IP(src=src, dst=dst, proto=protocol) / Raw(octets)), outside)


@given(st.binary(max_size=60), st.sampled_from([3, 11, 12]), st.booleans())
def test_any_icmp_error_is_counted_and_harms_nothing(octets: bytes, kind: int, outside: bool) -> None:
    home = Home()
    src, dst = ("198.51.100.1", "203.0.113.10") if outside else ("192.168.1.10", "198.51.100.1")
    home.alice.send_udp(b"", (ALICE, 500), (SERVER, 500), 0)
    home.settle()
    feed(home, bytes(IP(src=src, dst=dst) / ICMP(type=kind) / Raw(octets)), outside)


def feed(home: Home, data: bytes, outside: bool) -> None:
    """Through the whole network; what does not arrive anywhere is counted somewhere."""
    port = home.nat.ports["wan" if outside else "lan"]
    home.nat.receive(Packet(bytearray(data), home.sim.now), port, home.sim.now)
    home.settle(100 * NS_PER_S)
    inside = [mapping.internal for mapping in home.nat.nat.mappings(home.sim.now)]
    assert all(sock is not None and sock[0] in (ALICE, SERVER) for sock in inside)


def transport(kind: str, sport: int, dport: int) -> Scapy:
    if kind == "icmp":
        return ICMP(type=8, id=sport, seq=1)
    if kind == "tcp":
        return TCP(sport=sport, dport=dport)
    return UDP(sport=sport, dport=dport, chksum=0) if kind == "none" else UDP(sport=sport, dport=dport)


def answer_to(packet: Scapy) -> Scapy:
    """What the server would say, with id 4 and checksums to be computed."""
    answer = IP(src=packet.dst, dst=packet.src, id=4)
    if ICMP in packet:
        return answer / ICMP(type=0, id=packet[ICMP].id, seq=1)
    upper = packet[IP].payload
    return answer / transport("tcp" if TCP in packet else "udp", upper.dport, upper.sport)


def inject(node: IpNode, packet: Scapy) -> None:
    node.send(Packet(bytearray(bytes(packet)), node.sim.now), node.sim.now)


def watch(node: IpNode) -> list[Scapy]:
    """Every packet that arrives at any port."""
    seen: list[Scapy] = []
    for port in node.ports.values():
        port.tap = lambda _port, data, _at, outbound: None if outbound else seen.append(IP(bytes(data)))
    return seen


def listen(node: IpNode) -> list[IcmpMessage]:
    heard: list[IcmpMessage] = []
    node.on_icmp.append(lambda message, _header, _now: heard.append(message))
    return heard


def dropped(box: NatBox) -> dict[str, int]:
    return dict(box.drops)


def recomputed(packet: Scapy) -> bytes:
    """The octets with every checksum computed anew, except a UDP checksum of none."""
    fresh = packet.copy()
    for layer in (IP, UDP, TCP, ICMP):
        if layer in fresh and not (layer is UDP and fresh[UDP].chksum == 0):
            del fresh[layer].chksum
    return bytes(fresh)


def outer_sums_hold(packet: Scapy) -> bool:
    octets = bytes(packet)
    size = (octets[0] & 15) * 4
    return header_sum_holds(octets[:size]) and header_sum_holds(octets[size:])


def header_sum_holds(octets: bytes) -> bool:
    """RFC 1071 by the book: a loop over 16-bit words."""
    octets += b"\0" * (len(octets) % 2)
    total = sum(int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF
