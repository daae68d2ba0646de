"""What an IP node does with packets: forwarding, errors, fragments, sockets, hooks. scapy judges octets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from sim.net.host import Host
from sim.net.limit import TokenBucket
from sim.net.link import LinkParams
from sim.net.node import Enter, is_sound
from sim.net.packet import Packet
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import icmp, ip, udp
from sim.wire.address import pack_address
from sim.wire.fragment import DATAGRAM_COST, FRAGMENT_COST, MAX_BYTES
from sim.wire.fragment6 import fragment6
from sim.wire.icmp import IcmpMessage
from sim.wire.ip import IpHeader
from tests.net.scene import LATER, Ear, Line, Pair

WIDE = LinkParams(rate_bps=None, delay_ns=NS_PER_MS)


def test_each_hop_takes_one_from_the_ttl_and_keeps_the_checksum() -> None:
    line = Line(WIDE)
    ear = Ear(line.right)
    for ttl in (3, 64, 255):
        data = bytearray(bytes(IP(src="10.0.0.1", dst="10.0.2.2", ttl=ttl, id=ttl) / UDP() / b"x"))
        line.left.send(Packet(data, 0, ear), 0)
    line.run()
    arrived = [IP(bytes(packet.data)) for _, packet in ear.packets]
    assert [packet.ttl for packet in arrived] == [1, 62, 253]
    for packet in arrived:
        assert bytes(packet) == recomputed(packet)


@given(st.integers(0, 0xFFFF), st.integers(2, 255), st.integers(0, 255))
def test_both_ways_of_forwarding_write_the_same_octets(ident: int, ttl: int, tos: int) -> None:
    """The first packet goes the general way, the others the short one; every checksum occurs."""
    line = Line(WIDE)
    ear = Ear(line.right)
    template = bytes(IP(src="10.0.0.1", dst="10.0.2.2", ttl=ttl, id=ident, tos=tos) / UDP() / b"x")
    for _ in range(3):
        line.left.send(Packet(bytearray(template), 0, ear), 0)
    line.run()
    seen = {bytes(packet.data) for _, packet in ear.packets}
    if ttl < 3:
        assert not seen
    else:
        (octets,) = seen
        assert octets == recomputed(IP(octets))


def test_a_packet_that_is_nearly_one_that_passed_is_checked_like_any_other() -> None:
    """One bit of the header or the length is other (RFC 1812 5.2.2)."""
    line = Line(WIDE)
    ear = Ear(line.right)
    good = bytes(IP(src="10.0.0.1", dst="10.0.2.2") / UDP() / bytes(20))
    flipped = [(int.from_bytes(good, "big") ^ 1 << bit).to_bytes(48, "big") for bit in range(8 * 28, 8 * 48)]
    for data in (good, good, *flipped, good[:-1], good + b"x", good):
        line.r1.enter(Packet(bytearray(data), 0, ear), line.r1.ports["west"], 0)
    line.run()
    assert len(ear.packets) == 3
    assert line.r1.drops == {"malformed IP packet": 162}


@pytest.mark.parametrize("ttl", [1, 2])
def test_traceroute_names_each_router(ttl: int) -> None:
    line = Line(WIDE)
    answers = listen(line.left)
    send4(line, IP(src="10.0.0.1", dst="10.0.2.2", ttl=ttl) / UDP(sport=9, dport=33434) / b"probe")
    line.run()
    ((message, header),) = answers
    assert (message.type, message.code) == (11, 0)
    assert header.src == pack_address("10.0.0.2" if ttl == 1 else "10.0.1.2")
    router = line.r1 if ttl == 1 else line.r2
    assert router.drops == {"TTL exceeded": 1}
    assert message.embedded is not None
    assert IP(message.embedded)[UDP].dport == 33434


def test_hop_limit_is_ipv6s_ttl() -> None:
    line = Line(WIDE)
    answers = listen(line.left)
    line.left.send(Packet(bytearray(bytes(IPv6(src="fd00::1", dst="fd02::2", hlim=2) / UDP() / b"x")), 0), 0)
    line.run()
    ((message, header),) = answers
    assert (message.version, message.type, message.code) == (6, 3, 0)
    assert header.src == pack_address("fd01::2")


@pytest.mark.parametrize(("dst", "src"), [("10.0.2.2", "10.0.0.1"), ("fd02::2", "fd00::1")])
def test_a_ping_returns_what_was_sent(dst: str, src: str) -> None:
    line = Line(WIDE)
    answers = listen(line.left)
    request = icmp.echo_request(pack_address(src), pack_address(dst), 77, 3, b"payload")
    line.left.send(Packet(request, 0), 0)
    line.run()
    ((message, header),) = answers
    assert message.is_echo_reply
    assert (message.identifier, message.sequence, message.body) == (77, 3, b"payload")
    assert header.src == pack_address(dst)


def test_an_echo_reply_is_part_of_the_flow_of_its_request() -> None:
    pair = Pair(WIDE)
    ear = Ear(pair.a)
    request = icmp.echo_request(pack_address("10.0.0.1"), pack_address("10.0.0.2"), 1, 1)
    pair.a.send(Packet(request, 0, ear, 12), 0)
    pair.sim.run(LATER)
    ((at, reply),) = ear.packets
    assert (at, reply.born_at, reply.seq) == (2 * NS_PER_MS, 0, 12)
    assert IP(bytes(reply.data))[ICMP].type == 0


def test_a_node_reaches_itself() -> None:
    pair = Pair(WIDE)
    ear = Ear()
    pair.a.bind_udp(9, ear)
    own = pack_address("10.0.0.1")
    pair.a.send_udp(b"to myself", (own, 8), (own, 9), 0)
    assert ear.datagrams == []  # not within the call: handlers are not re-entered
    pair.sim.run(LATER)
    assert ear.datagrams == [(b"to myself", (own, 8), (own, 9), 0)]


def test_a_datagram_reaches_the_socket_of_its_port() -> None:
    pair = Pair(WIDE)
    ear, deaf = Ear(), Ear()
    pair.b.bind_udp(500, ear)
    pair.b.bind_udp(4500, deaf)
    a, b = pack_address("10.0.0.1"), pack_address("10.0.0.2")
    pair.a.send_udp(b"hello", (a, 1234), (b, 500), 0)
    pair.sim.run(LATER)
    assert ear.datagrams == [(b"hello", (a, 1234), (b, 500), NS_PER_MS)]
    assert deaf.datagrams == []


def test_a_udp_port_is_bound_once() -> None:
    pair = Pair()
    pair.a.bind_udp(500, Ear())
    with pytest.raises(ValueError, match="UDP port 500 of a is taken"):
        pair.a.bind_udp(500, Ear())
    pair.a.unbind_udp(500)
    pair.a.bind_udp(500, Ear())


@pytest.mark.parametrize("zero", [False, True])
def test_a_wrong_udp_checksum_is_dropped_and_none_is_accepted(zero: bool) -> None:
    pair = Pair(WIDE)
    ear = Ear()
    pair.b.bind_udp(9, ear)
    data = bytearray(bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=9) / b"data"))
    data[26:28] = bytes(2) if zero else bytes([data[26], data[27] ^ 1])
    pair.a.send(Packet(data, 0), 0)
    pair.sim.run(LATER)
    assert len(ear.datagrams) == (1 if zero else 0)
    assert pair.b.drops == ({} if zero else {"UDP checksum is wrong": 1})


@pytest.mark.parametrize(
    ("packet", "kind", "reason"),
    [
        (IP(dst="10.0.0.2") / UDP(dport=9), (3, 3), "UDP port unreachable"),
        (IP(dst="10.0.0.2", proto=99) / Raw(b"????"), (3, 2), "protocol 99 unreachable"),
        (IPv6(dst="2001:db8::2") / UDP(dport=9), (1, 4), "UDP port unreachable"),
        (IPv6(dst="2001:db8::2", nh=99) / Raw(b"????"), (4, 1), "protocol 99 unreachable"),
    ],
)
def test_a_host_says_what_it_does_not_speak(packet: Scapy, kind: tuple[int, int], reason: str) -> None:
    pair = Pair(WIDE)
    answers = listen(pair.a)
    packet.src = "10.0.0.1" if packet.version == 4 else "2001:db8::1"
    pair.a.send(Packet(bytearray(bytes(packet)), 0), 0)
    pair.sim.run(LATER)
    ((message, _),) = answers
    assert (message.type, message.code) == kind
    assert pair.b.drops == {reason: 1}


@pytest.mark.parametrize(("dst", "kind"), [("192.0.2.1", (3, 0)), ("2001:db8:9::1", (1, 0))])
def test_a_router_without_a_route_says_so(dst: str, kind: tuple[int, int]) -> None:
    line = Line(WIDE)
    line.r1.remove_route(bytes(4), 0, line.r1.ports["east"])
    line.r1.remove_route(bytes(16), 0, line.r1.ports["east"])
    answers = listen(line.left)
    src = line.left.source_address(pack_address(dst))
    assert src is not None
    line.left.send(Packet(udp.build((src, 1), (pack_address(dst), 2), b""), 0), 0)
    line.run()
    ((message, _),) = answers
    assert (message.type, message.code) == kind
    assert line.r1.drops == {"no route": 1}


@pytest.mark.parametrize("dst", ["224.0.0.5", "255.255.255.255", "240.1.2.3", "127.0.0.1", "0.0.0.0"])
def test_a_router_forwards_unicast_only(dst: str) -> None:
    line = Line(WIDE)
    send4(line, IP(src="10.0.0.1", dst=dst) / UDP() / b"x")
    line.run()
    assert line.r1.drops == {"destination is not unicast": 1}


def test_a_host_does_not_forward() -> None:
    pair = Pair(WIDE)
    pair.a.add_route(bytes(4), 0, pair.pa)
    pair.b.add_route(bytes(4), 0, pair.pb)
    pair.a.send(Packet(udp.build((pack_address("10.0.0.1"), 1), (pack_address("192.0.2.1"), 2), b""), 0), 0)
    pair.sim.run(LATER)
    assert pair.b.drops == {"not for this host": 1}


def test_errors_about_errors_are_not_sent() -> None:
    line = Line(WIDE)
    answers = listen(line.left)
    quoted = IP(src="10.0.2.2", dst="10.0.0.1") / UDP()
    send4(line, IP(src="10.0.0.1", dst="10.0.2.2", ttl=1) / ICMP(type=3, code=3) / quoted)
    line.run()
    assert answers == []
    assert line.r1.drops == {"TTL exceeded": 1}


def test_errors_are_rate_limited() -> None:
    """Ten at once, then ten a second (RFC 4443 2.4 (f))."""
    line = Line(WIDE)
    answers = listen(line.left)
    for at in [0] * 30 + [NS_PER_S // 2] * 30:
        line.sim.at(at, lambda _: send4(line, IP(src="10.0.0.1", dst="10.0.2.2", ttl=1) / UDP()))
    line.run()
    assert len(answers) == 10 + 5
    assert line.r1.icmp_suppressed == 45
    assert line.r1.drops == {"TTL exceeded": 60}


@given(st.lists(st.integers(0, 300 * NS_PER_MS), max_size=80))
def test_a_token_bucket_never_exceeds_burst_and_rate(gaps: list[int]) -> None:
    bucket, now, taken = TokenBucket(rate_per_s=10, burst=5), 0, []
    for gap in gaps:
        now += gap
        if bucket.take(now):
            taken.append(now)
        else:
            assert taken[-1] > now - 5 * NS_PER_S // 10  # refused only for a reason
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= 5 + (taken[last] - taken[first]) * 10 // NS_PER_S


# Size


@pytest.mark.parametrize("size", [1500, 1501, 1520, 4000, 65535])
def test_what_may_be_fragmented_arrives_whole(size: int) -> None:
    line = Line(replace(WIDE, mtu=1500))
    line.links[1].forward.configure(mtu=600)
    ear = Ear(line.right)
    data = bytearray(bytes(IP(src="10.0.0.1", dst="10.0.2.2", id=5) / UDP() / bytes(size - 28)))
    line.left.send(Packet(bytearray(data), 0, ear, 3), 0)
    line.run()
    ((_, packet),) = ear.packets
    expected = IP(bytes(data))
    expected.ttl -= 2
    assert bytes(packet.data) == recomputed(expected)
    assert packet.seq == 3


def test_a_big_packet_that_must_not_be_fragmented_is_reported_with_the_mtu() -> None:
    line = Line(WIDE)
    line.links[1].forward.configure(mtu=1400)
    answers = listen(line.left)
    for size in (1400, 1401):
        send4(line, IP(src="10.0.0.1", dst="10.0.2.2", flags="DF") / UDP() / bytes(size - 28))
    line.run()
    ((message, header),) = [answer for answer in answers if answer[0].code == 4]
    assert (message.type, message.mtu) == (3, 1400)
    assert header.src == pack_address("10.0.0.2")
    assert line.r1.drops == {"packet too big": 1}


def test_ipv6_is_never_fragmented_on_the_way() -> None:
    line = Line(WIDE)
    line.links[1].forward.configure(mtu=1400)
    answers = listen(line.left)
    data = bytearray(bytes(IPv6(src="fd00::1", dst="fd02::2") / UDP() / bytes(1401 - 48)))
    line.left.send(Packet(data, 0), 0)
    line.run()
    ((message, _),) = answers
    assert (message.version, message.type, message.mtu) == (6, 2, 1400)


@pytest.mark.parametrize("size", [1280, 1281, 4000, 65535])
def test_an_ipv6_source_fragments_what_its_link_does_not_take(size: int) -> None:
    """RFC 8200 4.5: only the source does; nobody has to reassemble but the destination."""
    line = Line(replace(WIDE, mtu=1280))
    ear = Ear(line.right)
    data = bytearray(bytes(IPv6(src="fd00::1", dst="fd02::2", fl=9) / UDP() / bytes(size - 48)))
    line.left.send(Packet(bytearray(data), 0, ear, 3), 0)
    line.run()
    ((_, packet),) = ear.packets
    data[7] -= 2
    assert packet.data == data
    assert packet.seq == 3


def test_ipv6_fragments_of_one_source_have_identifications_of_their_own() -> None:
    pair = Pair(replace(WIDE, mtu=1280))
    for seq in range(20):
        pair.a.send(Packet(pair.datagram(2000, "2001:db8::2"), 0, pair.ear, seq), 0)
    pair.sim.run(LATER)
    assert pair.ear.seqs == list(range(20))


def test_a_fragment_header_behind_other_headers_is_seen() -> None:
    pair = Pair(WIDE)
    whole = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrHopByHop() / UDP() / bytes(2000)
    for piece in fragment6(bytearray(bytes(whole)), 1280, 1):
        assert piece[6] == 0
        pair.a.send(Packet(piece, 0, pair.ear), 0)
    pair.sim.run(LATER)
    ((_, packet),) = pair.ear.packets
    assert bytes(packet.data) == bytes(whole)


def test_an_ipv6_packet_of_another_that_does_not_fit_is_not_cut() -> None:
    """Also where there is no room beside its headers, and where it is a fragment already."""
    pair = Pair(replace(WIDE, mtu=1280))
    answers = listen(pair.a)
    foreign = udp.build((pack_address("fd09::1"), 7), (pack_address("2001:db8::2"), 7), bytes(1300))
    fragment = fragment6(pair.datagram(2000, "2001:db8::2"), 1500, 1)[0]
    routing = IPv6ExtHdrRouting(addresses=["fd09::1"] * 78)
    crowded = IPv6(src="2001:db8::1", dst="2001:db8::2") / routing / UDP() / bytes(100)
    for data in (foreign, fragment, bytearray(bytes(crowded))):
        pair.a.send(Packet(data, 0, pair.ear), 0)
    pair.sim.run(LATER)
    assert pair.a.drops["packet too big"] == 3
    assert [message.mtu for message, _ in answers] == [1280, 1280]
    assert not pair.ear.packets


def test_a_lost_ipv6_fragment_loses_the_packet_and_says_so() -> None:
    """Time exceeded, code 1, if the first fragment has come (RFC 8200 4.5)."""
    for keep, told in ((slice(0, 1), [(3, 1)]), (slice(1, 2), [])):
        pair = Pair(replace(WIDE, mtu=1280))
        answers = listen(pair.a)
        for piece in fragment6(pair.datagram(2000, "2001:db8::2"), 1280, 1)[keep]:
            pair.a.send(Packet(piece, 0), 0)
        pair.sim.run(LATER)
        assert [(message.type, message.code) for message, _ in answers] == told
        assert pair.b.drops == {"reassembly time exceeded": 1}


@pytest.mark.parametrize("src", ["2001:db8::1", "fd09::1", "2001:db8::2"])
def test_the_longest_ipv6_packet_is_answered_or_dropped(src: str) -> None:
    """It is 40 octets longer than the longest of IPv4; nobody may be out of reach, or at home."""
    pair = Pair(WIDE)
    echo = IPv6(src=src, dst="2001:db8::2") / ICMPv6EchoRequest(data=bytes(65527))
    whole = bytearray(bytes(echo))
    assert len(whole) == 65575
    for piece in fragment6(whole, 1500, 1):
        pair.b.enter(Packet(piece, 0), pair.pb, 0)
    answers: list[int] = []
    pair.a.on_icmp.append(lambda _message, header, _now: answers.append(header.total_length))
    pair.sim.run(LATER)
    assert answers == ([65575] if src == "2001:db8::1" else [])
    assert pair.b.drops == ({"no route": 1} if src == "fd09::1" else {})


@given(
    st.lists(st.tuples(st.sampled_from([0, 6, 17, 43, 44, 58, 59, 60]), st.binary(max_size=80)), max_size=8)
)
def test_whatever_follows_an_ipv6_header_a_node_goes_on(packets: list[tuple[int, bytes]]) -> None:
    """Chains of extension headers that are cut, repeat themselves or count beyond the end."""
    pair = Pair(WIDE)
    for first, octets in packets:
        data = ip.build(pack_address("2001:db8::1"), pack_address("2001:db8::2"), first, octets)
        pair.b.enter(Packet(data, 0), pair.pb, 0)
        pair.a.send(Packet(bytearray(data), 0), 0)
    pair.sim.run(LATER)
    pair.b.send(Packet(pair.datagram(100, "2001:db8::2"), pair.sim.now, pair.ear), pair.sim.now)
    pair.sim.run(2 * LATER)
    assert len(pair.ear.packets) == 1


def test_a_flood_of_ipv6_fragments_takes_bounded_memory_and_is_counted() -> None:
    pair = Pair(WIDE)
    first = fragment6(pair.datagram(3000, "2001:db8::2"), 1500, 1)[0]
    for number in range(2000):
        first[44:48] = number.to_bytes(4, "big")
        pair.b.enter(Packet(bytearray(first), 0), pair.pb, 0)
    held = MAX_BYTES // (DATAGRAM_COST + FRAGMENT_COST + len(first))
    assert pair.b.drops == {"reassembly buffer full": 2000 - held}
    pair.sim.run(LATER)
    assert pair.b.drops["reassembly time exceeded"] == held


def test_the_source_of_an_impossible_ipv6_fragment_is_told_what_is_wrong() -> None:
    """Parameter problem: the length, the offset, or a header chain that ends too early (RFC 7112 5)."""
    pair = Pair(WIDE)
    answers = listen(pair.a)
    base = IPv6(src="2001:db8::1", dst="2001:db8::2")
    for packet in (
        base / IPv6ExtHdrFragment(nh=17, m=1) / Raw(bytes(12)),
        base / IPv6ExtHdrFragment(nh=17, offset=8191) / Raw(bytes(9)),
        base / IPv6ExtHdrFragment(nh=6, m=1) / Raw(bytes(16)),
    ):
        pair.a.send(Packet(bytearray(bytes(packet)), 0), 0)
    pair.sim.run(LATER)
    told = [(message.type, message.code, int.from_bytes(message.rest, "big")) for message, _ in answers]
    assert told == [(4, 0, 4), (4, 0, 42), (4, 3, 0)]


def test_a_sender_hears_of_its_own_links_mtu() -> None:
    pair = Pair(replace(WIDE, mtu=1000))
    answers = listen(pair.a)
    send = IP(src="10.0.0.1", dst="10.0.0.2", flags="DF") / UDP() / bytes(1000)
    pair.a.send(Packet(bytearray(bytes(send)), 0), 0)
    pair.sim.run(LATER)
    ((message, _),) = answers
    assert message.mtu == 1000


def test_a_lost_fragment_loses_the_packet_and_says_so() -> None:
    pair = Pair(replace(WIDE, mtu=600))
    answers = listen(pair.a)
    pieces = IP(src="10.0.0.1", dst="10.0.0.2", id=9) / UDP() / bytes(1000)
    for piece in pieces.fragment(480)[:-1]:  # type: ignore[no-untyped-call]
        pair.a.send(Packet(bytearray(bytes(piece)), 0), 0)
    pair.sim.run(LATER)
    ((message, header),) = answers
    assert (message.type, message.code) == (11, 1)
    assert pair.b.drops == {"reassembly time exceeded": 1}
    assert header.src == pack_address("10.0.0.2")


# Addresses and ports


def test_a_packet_to_any_own_address_is_accepted_on_any_port() -> None:
    """The weak host model (RFC 1122 3.3.4.2), also when the address is that of a port that is down."""
    line = Line(WIDE)
    ear = Ear(line.r1)
    line.r1.ports["east"].set_up(False)
    data = udp.build((pack_address("10.0.0.1"), 1), (pack_address("10.0.1.1"), 2), b"")
    line.left.send(Packet(data, 0, ear), 0)
    line.run()
    assert len(ear.packets) == 1


def test_the_source_address_belongs_to_the_outgoing_port() -> None:
    line = Line()
    assert line.r1.source_address(pack_address("10.0.0.1")) == pack_address("10.0.0.2")
    assert line.r1.source_address(pack_address("10.0.2.2")) == pack_address("10.0.1.1")
    assert line.r1.source_address(pack_address("fd02::2")) == pack_address("fd01::1")
    assert line.r1.source_address(pack_address("10.0.1.1")) == pack_address("10.0.1.1")
    line.r1.ports["east"].set_up(False)
    assert line.r1.source_address(pack_address("10.0.2.2")) is None


def test_traffic_moves_to_the_next_route_when_a_port_goes_down_and_back() -> None:
    pair = Pair(WIDE)
    second = pair.a.add_port("lte")
    target = pack_address("192.0.2.1")
    pair.a.add_route(bytes(4), 0, pair.pa, 1)
    pair.a.add_route(bytes(4), 0, second, 2)
    assert pair.a.routes.lookup(target) is pair.pa
    pair.link.set_up(False)
    assert pair.a.routes.lookup(target) is second
    pair.link.set_up(True)
    assert pair.a.routes.lookup(target) is pair.pa


def test_an_mtu_below_68_is_refused() -> None:
    """Every node must be able to forward 68 octets without fragmenting them (RFC 791 3.2)."""
    pair = Pair(WIDE)
    with pytest.raises(ValueError, match="68"):
        pair.pa.mtu = 67
    with pytest.raises(ValueError, match="68"):
        pair.a.add_port("lte", mtu=67)


def test_listeners_hear_of_every_change_with_its_time() -> None:
    pair = Pair(WIDE)
    heard: list[int] = []
    pair.a.on_port_change.append(heard.append)
    changes = [
        lambda _: pair.pa.add_address(pack_address("10.0.0.9"), 24),
        lambda _: pair.pa.remove_address(pack_address("10.0.0.9")),
        lambda _: pair.pa.set_up(False),
        lambda _: pair.pa.set_up(False),  # nothing changes
        lambda _: pair.pa.set_up(True),
        lambda _: pair.link.set_up(False),
    ]
    for at, change in enumerate(changes):
        pair.sim.at(at * 10, change)
    pair.sim.run(LATER)
    assert heard == [0, 10, 20, 40, 50]


def test_an_address_comes_and_goes_with_its_route() -> None:
    pair = Pair(WIDE)
    new = pack_address("172.16.0.1")
    pair.pa.add_address(new, 16)
    assert pair.a.is_local(new)
    assert pair.a.routes.lookup(pack_address("172.16.5.5")) is pair.pa
    with pytest.raises(ValueError, match="a:eth has the address"):
        pair.pa.add_address(new, 16)
    pair.pa.remove_address(new)
    assert not pair.a.is_local(new)
    assert pair.a.routes.lookup(pack_address("172.16.5.5")) is None
    with pytest.raises(ValueError, match=r"no address 172\.16\.0\.1"):
        pair.pa.remove_address(new)


def test_forwarding_notices_every_change() -> None:
    """Cached ways must not outlive the route, the port or the hook that they were learnt from."""
    line = Line(WIDE)
    ear = Ear(line.right)

    def probe() -> int:
        before = len(ear.packets)
        data = udp.build((pack_address("10.0.0.1"), 1), (pack_address("10.0.2.2"), 2), bytes(72), df=True)
        line.left.send(Packet(data, line.sim.now, ear), line.sim.now)
        line.sim.run(line.sim.now + NS_PER_S)
        return len(ear.packets) - before

    assert [probe(), probe()] == [1, 1]
    line.r1.ports["east"].set_up(False)
    assert probe() == 0
    line.r1.ports["east"].set_up(True)
    assert probe() == 1
    line.r1.remove_route(bytes(4), 0, line.r1.ports["east"])
    assert probe() == 0
    line.r1.add_route(bytes(4), 0, line.r1.ports["east"])
    assert probe() == 1
    line.r1.ports["east"].mtu = 99
    assert probe() == 0
    line.r1.ports["east"].mtu = 1500
    line.r1.hook = Wall()
    assert probe() == 0
    line.r1.hook = None
    assert probe() == 1


# Hooks


class Wall:
    def outbound(self, _packet: Packet, _now: int) -> Packet | None:
        return None

    def inbound(self, packet: Packet, _now: int) -> Packet | None:
        return packet

    def entry(self, receive: Enter) -> Enter:
        return receive

    def forget(self) -> None: ...

    def source_for(self, _dst: bytes) -> bytes | None:
        return None

    def supersedes(self, _src: bytes, _dst: bytes) -> bool:
        return False


class Journal:
    """A hook that writes down what passes, with the TTL that it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def outbound(self, packet: Packet, _now: int) -> Packet | None:
        self.seen.append(("out", packet.data[8]))
        return packet

    def inbound(self, packet: Packet, _now: int) -> Packet | None:
        self.seen.append(("in", packet.data[8]))
        return packet

    def entry(self, receive: Enter) -> Enter:
        return receive

    def forget(self) -> None: ...

    def source_for(self, _dst: bytes) -> bytes | None:
        return None

    def supersedes(self, _src: bytes, _dst: bytes) -> bool:
        return False


def test_a_hook_sees_packets_come_in_and_go_out_after_the_ttl() -> None:
    line = Line(WIDE)
    hooks = [Journal() for _ in range(3)]
    for node, hook in zip((line.left, line.r1, line.right), hooks, strict=True):
        node.hook = hook
    ear = Ear(line.right)
    data = udp.build((pack_address("10.0.0.1"), 1), (pack_address("10.0.2.2"), 2), b"", ttl=10)
    line.left.send(Packet(data, 0, ear), 0)
    line.run()
    assert [hook.seen for hook in hooks] == [[("out", 10)], [("in", 10), ("out", 9)], [("in", 8)]]
    assert len(ear.packets) == 1


def test_fragments_are_whole_before_the_inbound_hook_sees_them() -> None:
    pair = Pair(replace(WIDE, mtu=600))
    hook = Journal()
    pair.b.hook = hook
    pair.send(1500)
    pair.sim.run(LATER)
    assert len(hook.seen) == 1
    assert len(pair.ear.packets) == 1


def test_transmit_passes_the_hook() -> None:
    pair = Pair(WIDE)
    pair.a.hook = Wall()
    pair.a.transmit(Packet(pair.datagram(100), 0, pair.ear), 0)
    pair.send(100)
    pair.sim.run(LATER)
    assert len(pair.ear.packets) == 1


def test_what_a_hook_unwraps_is_checked_again() -> None:
    class Unwrap(Journal):
        def inbound(self, packet: Packet, _now: int) -> Packet | None:
            return packet.derive(bytearray(b"\x45nonsense"))

    pair = Pair(WIDE)
    pair.b.hook = Unwrap()
    pair.send(100)
    pair.sim.run(LATER)
    assert pair.b.drops == {"malformed IP packet": 1}


# Any octets


@given(st.binary(max_size=120))
def test_any_octets_are_counted_and_harm_nothing(octets: bytes) -> None:
    line = Line(WIDE)
    for node in (line.r1, line.right):
        for port in node.ports.values():
            node.receive(Packet(bytearray(octets), 0), port, 0)
    line.run()
    if not is_sound(bytearray(octets)):
        assert line.r1.drops == {"malformed IP packet": 2}


@given(st.integers(0, 1200), st.integers(1, 255), st.sampled_from([4, 6]), st.booleans())
def test_damaged_packets_are_counted_and_harm_nothing(at: int, flip: int, version: int, local: bool) -> None:
    line = Line(WIDE)
    ear = Ear()
    line.right.bind_udp(7, ear)
    data = damaged(version, at, flip, local)
    for node in (line.r1, line.right):
        node.receive(Packet(bytearray(data), 0), next(iter(node.ports.values())), 0)
    line.run()
    assert all(payload == bytes(range(64)) for payload, *_ in ear.datagrams)


@pytest.mark.parametrize("version", [4, 6])
def test_truncation_at_each_length_is_counted(version: int) -> None:
    whole = damaged(version, 0, 0, True)
    for size in range(len(whole)):
        line = Line(WIDE)
        line.right.receive(Packet(whole[:size], 0), line.right.ports["west"], 0)
        assert line.right.drops == {"malformed IP packet": 1}


def test_every_drop_is_reported_with_place_and_reason() -> None:
    line = Line(WIDE)
    heard: list[tuple[str, str, int]] = []
    for node in (line.left, line.r1, line.r2, line.right):
        node.on_drop = lambda node, _packet, reason, now: heard.append((node.name, reason, now))
    send4(line, IP(src="10.0.0.1", dst="10.0.2.2", ttl=2) / UDP())
    send4(line, IP(src="10.0.0.1", dst="10.0.2.2") / UDP(dport=9))
    line.run()
    assert heard == [
        ("r2", "TTL exceeded", 2 * NS_PER_MS),
        ("right", "UDP port unreachable", 3 * NS_PER_MS),
    ]


def damaged(version: int, at: int, flip: int, local: bool) -> bytearray:
    src, dst = ("10.0.1.1", "10.0.2.2") if version == 4 else ("fd01::1", "fd02::2")
    target = pack_address(dst if local else dst[:-1] + "9")
    data = udp.build((pack_address(src), 7), (target, 7), bytes(range(64)))
    data[at % len(data)] ^= flip
    return data


def listen(node: Host) -> list[tuple[IcmpMessage, IpHeader]]:
    heard: list[tuple[IcmpMessage, IpHeader]] = []
    node.on_icmp.append(lambda message, header, _now: heard.append((message, header)))
    return heard


def send4(line: Line, packet: Scapy) -> None:
    line.left.send(Packet(bytearray(bytes(packet)), line.sim.now), line.sim.now)


def recomputed(packet: Scapy) -> bytes:
    """The octets with every checksum computed anew."""
    fresh = packet.copy()
    for layer in (IP, UDP, ICMP):
        if layer in fresh:
            del fresh[layer].chksum
    return bytes(fresh)
