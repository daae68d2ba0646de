"""A NAT64 between an IPv6 host and IPv4 ones; scapy judges every packet that leaves it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, defragment6
from scapy.packet import Packet as ScapyPacket
from scapy.utils import checksum

from sim.net import siit
from sim.net.engine import Simulation
from sim.net.host import Host
from sim.net.link import LinkParams, connect
from sim.net.nat import NAT_PRESETS, NatBox, NatProfile
from sim.net.packet import Packet
from sim.net.port import Port
from sim.net.router import Router
from sim.net.translate import UntranslatableError
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import icmp, ip, udp
from sim.wire.address import format_address, pack_address
from sim.wire.embedded import WELL_KNOWN
from sim.wire.fragment import fragment
from sim.wire.icmp import IcmpMessage, IcmpType, Icmpv6Type
from sim.wire.ip import Protocol
from tests.net.scene import DEFAULT, DEFAULT6, Ear, plug
from tests.net.segments import ACK, FIN, SYN, tcp_segment

ALICE, WAN, SERVER = (pack_address(text) for text in ("2001:db8:1::10", "203.0.113.10", "198.51.100.1"))
SERVER6 = WELL_KNOWN.embed(SERVER)


class Network:
    """alice (IPv6) - r6 - box - r4 - server (IPv4); what leaves the box is kept."""

    def __init__(self, profile: NatProfile = NAT_PRESETS["cgn"], mtu4: int = 1500, mtu6: int = 1500) -> None:
        self.sim = Simulation(1)
        self.alice, self.server = Host(self.sim, "alice"), Host(self.sim, "server")
        self.r6, self.r4 = Router(self.sim, "r6"), Router(self.sim, "r4")
        self.box = NatBox(self.sim, "box", outside="wan", profile=profile)
        self._join(self.alice, "eth", "2001:db8:1::10/64", self.r6, "down", "2001:db8:1::1/64")
        self._join(self.r6, "up", "2001:db8:2::1/64", self.box, "lan", "2001:db8:2::2/64", mtu6)
        self._join(self.box, "wan", "203.0.113.10/24", self.r4, "up", "203.0.113.1/24", mtu4)
        self._join(self.r4, "down", "198.51.100.254/24", self.server, "eth", "198.51.100.1/24")
        self.alice.add_route(*DEFAULT6, self.alice.ports["eth"])
        self.r6.add_route(*DEFAULT6, self.r6.ports["up"])
        self.box.add_route(pack_address("2001:db8:1::"), 64, self.box.ports["lan"])
        self.box.add_route(*DEFAULT, self.box.ports["wan"])
        self.server.add_route(*DEFAULT, self.server.ports["eth"])
        self.box.translate_prefix(WELL_KNOWN)
        self.out: list[bytes] = []
        """IPv4 that left the box."""
        self.back: list[bytes] = []
        """IPv6 that left it."""
        self.box.ports["wan"].tap = self._note
        self.box.ports["lan"].tap = self._note
        self.told: list[IcmpMessage] = []
        for host in (self.alice, self.server):
            host.on_icmp.append(lambda message, _header, _now: self.told.append(message))

    def _join(self, a: object, near: str, own: str, b: object, far: str, other: str, mtu: int = 1500) -> None:
        assert isinstance(a, Host | Router | NatBox)
        assert isinstance(b, Host | Router | NatBox)
        connect(self.sim, plug(a, near, own), plug(b, far, other), LinkParams(delay_ns=NS_PER_MS, mtu=mtu))

    def _note(self, port: Port, data: bytearray, _now: int, outbound: bool) -> None:
        if outbound:
            (self.out if port.name == "wan" else self.back).append(bytes(data))

    def send(self, host: Host, data: bytearray) -> None:
        host.send(Packet(data, self.sim.now), self.sim.now)
        self.settle()

    def opened(self) -> int:
        """The external port of a mapping from port 9 to a port of the server that takes everything."""
        self.server.udp.setdefault(7, Ear())
        self.send(self.alice, udp.build((ALICE, 9), (SERVER6, 7), b"out"))
        return int.from_bytes(self.out[0][20:22], "big")

    def settle(self, ns: int = 100 * NS_PER_MS) -> None:
        self.sim.run(self.sim.now + ns)

    def judged(self) -> None:
        """Whether scapy computes the checksums that packets have, in both directions."""
        assert self.out or self.back
        for data in self.out:
            if not IP(data).frag and "MF" not in IP(data).flags:
                assert _again(IP(data)) == data
        for data in self.back:
            if ip.parse(data).upper_offset == 40:
                assert _again(IPv6(data)) == data


def test_a_datagram_passes_and_its_answer_returns() -> None:
    net, heard, back = Network(), Ear(), Ear()
    net.server.bind_udp(7, heard)
    net.alice.bind_udp(9, back)
    net.send(net.alice, udp.build((ALICE, 9), (SERVER6, 7), b"out", tos=0x28))
    ((payload, src, _, _),) = heard.datagrams
    assert (payload, src[0]) == (b"out", WAN)
    net.server.send_udp(b"back", (SERVER, 7), src, net.sim.now)
    net.settle()
    ((payload, src, _, _),) = back.datagrams
    assert (payload, src) == (b"back", (SERVER6, 7))
    net.judged()
    sent = ip.parse(net.out[0])
    assert (sent.tos, sent.ttl, sent.df) == (0x28, 62, False), "RFC 7915 5.1"


def test_a_connection_of_tcp_is_followed() -> None:
    net = Network()
    net.send(net.alice, bytearray(tcp_segment((ALICE, 5000), (SERVER6, 80), SYN)))
    port = ip.parse(net.out[0]).upper_offset
    external = int.from_bytes(net.out[0][port : port + 2], "big")
    net.send(net.server, bytearray(tcp_segment((SERVER, 80), (WAN, external), SYN | ACK)))
    net.send(net.alice, bytearray(tcp_segment((ALICE, 5000), (SERVER6, 80), ACK)))
    net.settle(3600 * NS_PER_S)
    net.send(net.server, bytearray(tcp_segment((SERVER, 80), (WAN, external), ACK | FIN)))
    segments = [header for header in map(ip.parse, net.back) if header.protocol == Protocol.TCP]
    assert [format_address(header.dst) for header in segments] == ["2001:db8:1::10"] * 2, "after an hour, too"
    net.judged()


def test_a_ping_and_its_answer_change_their_types() -> None:
    net = Network()
    net.send(net.alice, icmp.echo_request(ALICE, SERVER6, 77, 1, b"hello"))
    assert [(m.type, m.identifier, m.body) for m in net.told] == [(Icmpv6Type.ECHO_REPLY, 77, b"hello")]
    net.judged()


def test_udp_without_a_checksum_gets_one() -> None:
    """RFC 7915 4.5: IPv6 wants one; ESP in UDP has none in IPv4 (RFC 3948 2.1)."""
    net, back = Network(), Ear()
    net.alice.bind_udp(9, back)
    external = net.opened()
    net.send(net.server, udp.build((SERVER, 7), (WAN, external), b"none", checksum=False))
    assert [d[0] for d in back.datagrams] == [b"none"]
    assert any(net.back[0][46:48])
    net.judged()


def test_a_wrong_checksum_stays_wrong() -> None:
    net, heard = Network(), Ear()
    net.server.bind_udp(7, heard)
    data = udp.build((ALICE, 9), (SERVER6, 7), b"out")
    data[-1] ^= 1
    net.send(net.alice, data)
    assert heard.datagrams == []
    assert len(net.out) == 1


@pytest.mark.parametrize(("size", "df"), [(1260, False), (1261, True)])
def test_only_what_ipv6_guarantees_to_pass_may_be_cut(size: int, df: bool) -> None:
    """RFC 7915 5.1: DF is set above 1260 octets of IPv4, and below there is an identification."""
    net = Network()
    net.send(net.alice, udp.build((ALICE, 9), (SERVER6, 7), bytes(size - 28)))
    header = ip.parse(net.out[0])
    assert (header.total_length, header.df, bool(header.identification)) == (size, df, not df)


def test_fragments_of_ipv6_arrive_as_those_of_ipv4_with_their_identification() -> None:
    net, heard = Network(mtu4=1000), Ear()
    net.server.bind_udp(7, heard)
    net.send(net.alice, udp.build((ALICE, 9), (SERVER6, 7), bytes(range(256)) * 10))
    assert [d[0] for d in heard.datagrams] == [bytes(range(256)) * 10]
    pieces = [IP(data) for data in net.out]
    assert len(pieces) == 3
    assert len({piece.id for piece in pieces}) == 1
    assert "DF" not in pieces[0].flags


def test_fragments_of_ipv4_arrive_as_those_of_ipv6() -> None:
    """RFC 7915 4: without DF, in pieces that IPv6 guarantees to pass."""
    net, back = Network(), Ear()
    net.alice.bind_udp(9, back)
    external = net.opened()
    whole = udp.build((SERVER, 7), (WAN, external), bytes(range(256)) * 10, identification=0x1234)
    for piece in fragment(whole, 1500):
        net.server.send(Packet(piece, net.sim.now), net.sim.now)
    net.settle()
    assert [d[0] for d in back.datagrams] == [bytes(range(256)) * 10]
    assert all(len(data) <= 1280 for data in net.back)
    (again,) = (defragment6([IPv6(data) for data in net.back]),)  # type: ignore[no-untyped-call]
    assert _again(IPv6(bytes(again))) == bytes(again)
    assert {ip.parse(data).identification for data in net.back} == {0x1234}


def test_a_whole_packet_without_df_gets_no_fragment_header() -> None:
    """RFC 7915 4, RFC 8021: atomic fragments are made no longer."""
    net = Network()
    external = net.opened()
    net.send(net.server, udp.build((SERVER, 7), (WAN, external), bytes(1000)))
    assert ip.parse(net.back[0]).upper_offset == 40


def test_an_ipv4_link_that_is_too_small_is_told_with_20_octets_more() -> None:
    net = Network(mtu4=1400)
    net.send(net.alice, udp.build((ALICE, 9), (SERVER6, 7), bytes(1450 - 48)))
    assert [(m.type, m.mtu) for m in net.told] == [(Icmpv6Type.PACKET_TOO_BIG, 1420)]


def test_an_ipv6_link_that_is_too_small_is_told_with_20_octets_less() -> None:
    net = Network(mtu6=1400)
    external = net.opened()
    net.send(net.server, udp.build((SERVER, 7), (WAN, external), bytes(1390 - 28), df=True))
    assert [(m.type, m.code, m.mtu) for m in net.told] == [(IcmpType.DESTINATION_UNREACHABLE, 4, 1380)]


def test_an_error_of_the_ipv4_side_names_the_packet_of_ipv6() -> None:
    net = Network()
    net.send(net.alice, udp.build((ALICE, 9), (SERVER6, 4321), b"nobody"))
    (message,) = net.told
    assert (message.type, message.code) == (Icmpv6Type.DESTINATION_UNREACHABLE, 4)
    quoted = IPv6(message.body)
    assert (quoted.src, quoted.dst, quoted.payload.sport) == ("2001:db8:1::10", "64:ff9b::c633:6401", 9)
    assert _again(quoted) == message.body, "even the checksum of what was sent"
    assert ip.parse(net.back[0]).src == SERVER6
    net.judged()


def test_an_error_of_the_ipv6_side_names_the_packet_of_ipv4() -> None:
    net = Network()
    net.alice.bind_udp(9, Ear())
    external = net.opened()
    net.told.clear()
    net.alice.unbind_udp(9)
    net.send(net.server, udp.build((SERVER, 7), (WAN, external), b"nobody there"))
    (message,) = net.told
    assert (message.type, message.code) == (IcmpType.DESTINATION_UNREACHABLE, 3)
    quoted = IP(message.body)
    assert (quoted.src, quoted.dst, quoted.payload.dport) == ("198.51.100.1", "203.0.113.10", external)
    net.judged()


def test_hops_are_counted_and_the_box_says_so() -> None:
    net = Network()
    net.send(net.alice, udp.build((ALICE, 9), (SERVER6, 7), b"out", ttl=2))
    assert [(m.type, m.code) for m in net.told] == [(Icmpv6Type.TIME_EXCEEDED, 0)]
    net.told.clear()
    net.send(net.alice, udp.build((ALICE, 9), (SERVER6, 7), b"out", ttl=3))
    assert [(m.type, m.code) for m in net.told] == [(Icmpv6Type.TIME_EXCEEDED, 0)], "of an IPv4 router"
    net.judged()


def test_what_has_no_ports_does_not_pass() -> None:
    net = Network()
    net.send(net.alice, ip.build(ALICE, SERVER6, Protocol.ESP, bytes(40)))
    net.send(net.alice, ip.build(ALICE, SERVER6, Protocol.NO_NEXT, b""))
    assert net.box.drops == {"protocol 50 has no ports": 1, "protocol 59 has no ports": 1}
    assert net.out == []


def test_nothing_is_hairpinned_and_nobody_comes_from_the_prefix() -> None:
    net = Network()
    net.send(net.alice, udp.build((ALICE, 9), (WELL_KNOWN.embed(WAN), 7), b"x"))
    net.send(net.alice, udp.build((SERVER6, 9), (SERVER6, 7), b"x"))
    assert net.box.drops == {
        "NAT64 has no hairpinning": 1, "NAT64 takes nothing that comes from its own prefix": 1,
    }  # fmt: skip


def test_what_nobody_asked_for_does_not_come_in() -> None:
    net = Network()
    net.send(net.server, udp.build((SERVER, 7), (WAN, 5000), b"x"))
    assert net.box.drops == {"no mapping": 1}


_CODES4 = [
    (1, 0, 3, 1),
    (1, 1, 3, 10),
    (1, 2, 3, 1),
    (1, 3, 3, 1),
    (1, 4, 3, 3),
    (3, 0, 11, 0),
    (3, 1, 11, 1),
    (4, 1, 3, 2),
]
_CODES6 = [
    *((3, code, 1, 0) for code in (0, 1, 5, 6, 7, 8, 11, 12)),
    *((3, code, 1, 1) for code in (9, 10, 13, 15)),
    (3, 2, 4, 1), (3, 3, 1, 4), (3, 4, 2, 0), (11, 0, 3, 0), (11, 1, 3, 1),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "code", "kind4", "code4"), _CODES4)
def test_errors_of_ipv6_become_those_of_ipv4(kind: int, code: int, kind4: int, code4: int) -> None:
    """RFC 7915 5.2."""
    data = siit.error_to_v4(_error(6, kind, code), b"quote", WAN, SERVER, (1500, 1500), 0, 60)
    assert (data[20], data[21]) == (kind4, code4)
    assert checksum(bytes(data[20:])) == 0


@pytest.mark.parametrize(("kind", "code", "kind6", "code6"), _CODES6)
def test_errors_of_ipv4_become_those_of_ipv6(kind: int, code: int, kind6: int, code6: int) -> None:
    """RFC 7915 4.2."""
    quote = bytes(ip.build(ALICE, SERVER6, Protocol.UDP, bytes(8)))
    data = siit.error_to_v6(_error(4, kind, code), quote, SERVER6, ALICE, (1500, 1500), 0, 60)
    assert (data[40], data[41]) == (kind6, code6)
    assert _again(IPv6(bytes(data))) == bytes(data)


@pytest.mark.parametrize(
    ("version", "kind", "code"),
    [(6, 1, 6), (6, 4, 2), (6, 137, 0), (4, 3, 14), (4, 5, 0), (4, 4, 0), (4, 12, 1)],
)
def test_errors_without_a_counterpart_are_dropped(version: int, kind: int, code: int) -> None:
    translate = siit.error_to_v4 if version == 6 else siit.error_to_v6
    ends = (WAN, SERVER) if version == 6 else (SERVER6, ALICE)
    with pytest.raises(UntranslatableError):
        translate(_error(version, kind, code), bytes(48), *ends, (1500, 1500), 0, 60)


_TO_4 = {0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8, 8: 12, 23: 12, 24: 16, 39: 16}
_TO_6 = {0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6, 12: 8, 15: 8, 16: 24, 19: 24}


@pytest.mark.parametrize(("there", "here"), _TO_4.items())
def test_pointers_of_ipv6_point_at_the_field_of_ipv4(there: int, here: int) -> None:
    """RFC 7915 5.2, figure 6."""
    message = _error(6, 4, 0)._replace(rest=there.to_bytes(4, "big"))
    assert siit.error_to_v4(message, b"", WAN, SERVER, (1500, 1500), 0, 60)[24] == here


@pytest.mark.parametrize(("there", "here"), _TO_6.items())
def test_pointers_of_ipv4_point_at_the_field_of_ipv6(there: int, here: int) -> None:
    """RFC 7915 4.2, figure 3."""
    message = _error(4, 12, 0)._replace(rest=bytes((there, 0, 0, 0)))
    data = siit.error_to_v6(message, bytes(40), SERVER6, ALICE, (1500, 1500), 0, 60)
    assert int.from_bytes(data[44:48], "big") == here


@pytest.mark.parametrize(
    ("told", "mtu4", "mtu6", "expected"),
    [(1400, 1500, 1500, 1420), (1500, 1500, 1500, 1500), (1400, 1300, 1500, 1320), (576, 1500, 1500, 1280)],
)
def test_an_mtu_of_ipv4_becomes_one_of_ipv6(told: int, mtu4: int, mtu6: int, expected: int) -> None:
    """RFC 7915 4.2: 20 octets more, never beyond the next hops, never below 1280."""
    message = _error(4, 3, 4)._replace(rest=told.to_bytes(4, "big"))
    data = siit.error_to_v6(message, bytes(40), SERVER6, ALICE, (mtu4, mtu6), 0, 60)
    assert int.from_bytes(data[44:48], "big") == expected


def test_a_router_without_an_mtu_is_taken_to_mean_a_plateau() -> None:
    """RFC 7915 4.2, RFC 1191 7.1: the next one below the packet's length."""
    quote = bytes(ip.build(ALICE, SERVER6, Protocol.UDP, bytes(1500 - 40)))
    data = siit.error_to_v6(_error(4, 3, 4), quote, SERVER6, ALICE, (1500, 1500), 0, 60)
    assert int.from_bytes(data[44:48], "big") == max(1280, 1006 + 20)


@given(
    st.binary(max_size=200),
    st.booleans(),
    st.sampled_from((Protocol.UDP, Protocol.TCP, Protocol.ICMPV6, 44, 0, 43)),
)
def test_whatever_comes_from_inside_the_box_survives(payload: bytes, error: bool, protocol: int) -> None:
    net = Network()
    if error and protocol == Protocol.ICMPV6:
        inner = ip.build(SERVER6, ALICE, Protocol.UDP, payload[:100])
        payload = icmp.emit(ALICE, SERVER6, 1 + len(payload) % 4, 0, bytes(4), inner)
    net.send(net.alice, ip.build(ALICE, SERVER6, protocol, payload))


@given(st.binary(max_size=200), st.booleans(), st.sampled_from((Protocol.UDP, Protocol.TCP, Protocol.ICMP)))
def test_whatever_comes_from_outside_the_box_survives(payload: bytes, error: bool, protocol: int) -> None:
    net = Network()
    net.send(net.alice, udp.build((ALICE, 9), (SERVER6, 7), b"out"))
    if error:
        payload = icmp.emit(SERVER, WAN, 3 + len(payload) % 10, 0, bytes(4), net.out[0][: 20 + len(payload)])
        protocol = Protocol.ICMP
    net.send(net.server, ip.build(SERVER, WAN, protocol, payload))


def _error(version: int, kind: int, code: int) -> IcmpMessage:
    return IcmpMessage(version, kind, code, 0, bytes(4), b"")


def _again(packet: IP | IPv6) -> bytes:
    """The packet with every checksum computed by scapy."""
    for layer in _layers(packet):
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                delattr(layer, name)
    return bytes(packet)


def _layers(packet: IP | IPv6) -> Iterator[ScapyPacket]:
    """Without what an ICMP error quotes."""
    yield packet
    yield packet.payload
