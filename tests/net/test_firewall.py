"""A stateful firewall without translation, in IPv4 and IPv6."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.net.engine import Simulation
from sim.net.filter_table import FilterTable
from sim.net.firewall import FIREWALL, NO_STATE, Allow, Firewall
from sim.net.host import Host
from sim.net.link import LinkParams, connect
from sim.net.nat_profile import DependsOn, EspPassThrough, Fragments, NatProfile, Refresh
from sim.net.packet import Packet
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import icmp, ip, udp
from sim.wire.address import Sock, pack_address
from sim.wire.buffer import Buf
from sim.wire.fragment import fragment
from sim.wire.fragment6 import fragment6
from sim.wire.icmp import IcmpMessage
from sim.wire.ip import Protocol
from tests.net.scene import DEFAULT, DEFAULT6, Ear, plug
from tests.net.segments import ACK, RST, SYN, tcp_segment

_EI, _AD, _APD = DependsOn


class Ends(NamedTuple):
    alice: bytes
    server: bytes
    other: bytes


V4 = Ends(*map(pack_address, ("192.0.2.10", "198.51.100.1", "198.51.100.2")))
V6 = Ends(*map(pack_address, ("2001:db8:1::10", "2001:db8:2::1", "2001:db8:2::2")))
BOTH = pytest.mark.parametrize("ends", [V4, V6], ids=["IPv4", "IPv6"])


class Scene:
    """alice - wall - server, which has two addresses of each version."""

    def __init__(self, profile: NatProfile = FIREWALL, allow: tuple[Allow, ...] = ()) -> None:
        self.sim = Simulation(1)
        self.alice, self.server = Host(self.sim, "alice"), Host(self.sim, "server")
        self.wall = Firewall(self.sim, "wall", outside="wan", profile=profile, allow=allow)
        inner = plug(self.alice, "eth", "192.0.2.10/24", "2001:db8:1::10/64")
        lan = plug(self.wall, "lan", "192.0.2.1/24", "2001:db8:1::1/64")
        wan = plug(self.wall, "wan", "198.51.100.254/24", "2001:db8:2::ff/64")
        outer = plug(
            self.server, "eth", "198.51.100.1/24", "198.51.100.2/24", "2001:db8:2::1/64", "2001:db8:2::2/64"
        )
        for a, b in ((inner, lan), (wan, outer)):
            connect(self.sim, a, b, LinkParams(delay_ns=NS_PER_MS))
        for host, port in ((self.alice, inner), (self.server, outer)):
            host.add_route(*DEFAULT, port)
            host.add_route(*DEFAULT6, port)
        self.ears = {self.alice: Ear(), self.server: Ear()}
        for host, ear in self.ears.items():
            host.bind_udp(7, ear)
        self.told: list[IcmpMessage] = []
        self.alice.on_icmp.append(lambda message, _header, _now: self.told.append(message))

    def send(self, host: Host, data: Buf) -> None:
        host.send(Packet(bytearray(data), self.sim.now), self.sim.now)
        self.settle(50 * NS_PER_MS)

    def settle(self, ns: int) -> None:
        self.sim.run(self.sim.now + ns)

    def out(self, ends: Ends, to: int = 7) -> None:
        self.send(self.alice, udp.build((ends.alice, 7), (ends.server, to), b"out"))

    def comes_in(self, src: bytes, dst: bytes, port: int = 7) -> bool:
        """Whether a datagram to port 7 of alice arrives."""
        before = len(self.ears[self.alice].datagrams)
        self.send(self.server, udp.build((src, port), (dst, 7), b"in"))
        return len(self.ears[self.alice].datagrams) > before

    def esp_passes(self, host: Host, src: bytes, dst: bytes) -> bool:
        arrived: list[int] = []
        for node in (self.alice, self.server):
            node.protocols[Protocol.ESP] = lambda *_: arrived.append(1)
        self.send(host, ip.build(src, dst, Protocol.ESP, bytes((0, 0, 1, 0)) + bytes(36)))
        return bool(arrived)


@BOTH
def test_only_an_answer_comes_in(ends: Ends) -> None:
    scene = Scene()
    assert not scene.comes_in(ends.server, ends.alice)
    scene.out(ends)
    assert scene.comes_in(ends.server, ends.alice)
    ((_, src, dst, _), *_) = scene.ears[scene.server].datagrams
    assert (src, dst) == ((ends.alice, 7), (ends.server, 7)), "nothing was translated"
    assert scene.wall.drops == {NO_STATE: 1}


@BOTH
@pytest.mark.parametrize(
    ("filtering", "other_port", "other_address"),
    [(_EI, True, True), (_AD, True, False), (_APD, False, False)],
)
def test_who_may_answer_is_what_the_filter_says(
    ends: Ends, filtering: DependsOn, other_port: bool, other_address: bool
) -> None:
    scene = Scene(replace(FIREWALL, filtering=filtering))
    scene.out(ends)
    assert scene.comes_in(ends.server, ends.alice, port=8) is other_port
    assert scene.comes_in(ends.other, ends.alice) is other_address


@BOTH
def test_state_ends_when_nothing_has_passed_for_the_timeout(ends: Ends) -> None:
    scene = Scene(replace(FIREWALL, udp_timeout=10 * NS_PER_S))
    scene.out(ends)
    for _ in range(3):
        scene.settle(9 * NS_PER_S)
        assert scene.comes_in(ends.server, ends.alice), "each one keeps it"
    scene.settle(10 * NS_PER_S)
    assert not scene.comes_in(ends.server, ends.alice)


def test_what_comes_in_keeps_nothing_where_only_the_inside_does() -> None:
    scene = Scene(replace(FIREWALL, udp_timeout=10 * NS_PER_S, refresh=Refresh.OUTBOUND))
    scene.out(V4)
    scene.settle(6 * NS_PER_S)
    assert scene.comes_in(V4.server, V4.alice)
    scene.settle(6 * NS_PER_S)
    assert not scene.comes_in(V4.server, V4.alice)


@BOTH
def test_esp_is_known_by_addresses_and_has_a_timeout_of_its_own(ends: Ends) -> None:
    scene = Scene(replace(FIREWALL, esp_timeout=30 * NS_PER_S))
    assert not scene.esp_passes(scene.server, ends.server, ends.alice)
    assert scene.esp_passes(scene.alice, ends.alice, ends.server)
    assert scene.esp_passes(scene.server, ends.server, ends.alice)
    assert not scene.esp_passes(scene.server, ends.other, ends.alice)
    scene.settle(31 * NS_PER_S)
    scene.out(ends)
    assert not scene.esp_passes(scene.server, ends.server, ends.alice), "UDP keeps no state of ESP"


def test_a_firewall_may_drop_ipsec() -> None:
    scene = Scene(replace(FIREWALL, esp=EspPassThrough.NONE))
    assert not scene.esp_passes(scene.alice, V4.alice, V4.server)
    assert scene.wall.drops == {"firewall drops ESP and AH": 1}


@BOTH
def test_a_ping_goes_out_and_its_answer_comes_in_but_none_comes_unasked(ends: Ends) -> None:
    scene = Scene()
    scene.send(scene.alice, icmp.echo_request(ends.alice, ends.server, 5, 1))
    assert [m.is_echo_reply for m in scene.told] == [True]
    scene.send(scene.server, icmp.echo_request(ends.server, ends.alice, 5, 1))
    assert scene.wall.drops == {NO_STATE: 1}


@BOTH
def test_a_rule_lets_in_what_it_names_and_answers_go_out(ends: Ends) -> None:
    rules = (Allow(Protocol.ICMP, to=ends.alice), Allow(Protocol.UDP, 7, ends.alice), Allow(Protocol.ESP))
    scene = Scene(allow=rules)
    heard: list[IcmpMessage] = []
    scene.server.on_icmp.append(lambda message, _header, _now: heard.append(message))
    assert scene.comes_in(ends.server, ends.alice)
    assert scene.esp_passes(scene.server, ends.server, ends.alice)
    scene.send(scene.server, icmp.echo_request(ends.server, ends.alice, 5, 1))
    assert [m.is_echo_reply for m in heard] == [True]
    scene.send(scene.server, udp.build((ends.server, 7), (ends.alice, 8), b"in"))
    assert scene.wall.drops == {NO_STATE: 1}


@BOTH
def test_an_error_about_a_known_conversation_comes_in_and_no_other(ends: Ends) -> None:
    scene = Scene()
    scene.out(ends, to=4321)
    assert [m.is_error for m in scene.told] == [True]
    kind = icmp.IcmpError.PORT_UNREACHABLE
    stranger = udp.build((ends.alice, 9), (ends.server, 7), b"never sent")
    error = icmp.error(stranger, ends.server, kind)
    assert error is not None
    scene.send(scene.server, error)
    assert len(scene.told) == 1
    assert scene.wall.drops == {NO_STATE: 1}


def test_a_connection_of_tcp_lives_long_once_it_is_established_and_ends_with_a_reset() -> None:
    scene = Scene()
    segments = {
        scene.alice: ((V4.alice, 5000), (V4.server, 80)), scene.server: ((V4.server, 80), (V4.alice, 5000))
    }  # fmt: skip

    def passes(host: Host, flags: int) -> bool:
        before = scene.wall.drops[NO_STATE]
        scene.send(host, tcp_segment(*segments[host], flags))
        return scene.wall.drops[NO_STATE] == before

    assert not passes(scene.server, ACK)
    for host, flags in ((scene.alice, SYN), (scene.server, SYN | ACK), (scene.alice, ACK)):
        assert passes(host, flags)
    scene.settle(3600 * NS_PER_S)
    assert passes(scene.server, ACK)
    assert passes(scene.server, RST)
    scene.settle(241 * NS_PER_S)
    assert not passes(scene.server, ACK)


@BOTH
def test_fragments_are_judged_together_and_go_on_as_they_came(ends: Ends) -> None:
    scene = Scene()
    scene.out(ends)
    seen: list[int] = []
    scene.wall.ports["lan"].tap = lambda _port, data, _now, sent: seen.append(len(data)) if sent else None
    pieces = _pieces(ends)
    for piece in reversed(pieces):
        scene.send(scene.server, piece)
    assert seen == [len(piece) for piece in reversed(pieces)]
    assert [len(d[0]) for d in scene.ears[scene.alice].datagrams] == [2000]


@BOTH
@pytest.mark.parametrize("kind", [Fragments.DROP, Fragments.FIRST_ONLY])
def test_fragments_may_be_dropped(ends: Ends, kind: Fragments) -> None:
    scene = Scene(replace(FIREWALL, fragments=kind))
    scene.out(ends)
    seen: list[int] = []
    scene.wall.ports["lan"].tap = lambda _port, data, _now, sent: seen.append(len(data)) if sent else None
    pieces = _pieces(ends)
    for piece in pieces:
        scene.send(scene.server, piece)
    assert len(seen) == (1 if kind is Fragments.FIRST_ONLY else 0)
    assert scene.wall.drops == {"firewall drops fragments": len(pieces) - len(seen)}


@BOTH
def test_fragments_of_what_is_unknown_are_all_dropped(ends: Ends) -> None:
    scene = Scene()
    pieces = _pieces(ends)
    for piece in pieces:
        scene.send(scene.server, piece)
    assert scene.wall.drops == {NO_STATE: len(pieces)}


def test_a_restart_forgets_everything() -> None:
    scene = Scene()
    scene.out(V4)
    scene.wall.reboot()
    assert not scene.comes_in(V4.server, V4.alice)


def test_it_answers_a_ping_of_its_own_address() -> None:
    scene = Scene()
    scene.send(scene.alice, icmp.echo_request(V4.alice, pack_address("192.0.2.1"), 5, 1))
    assert [m.is_echo_reply for m in scene.told] == [True]


@given(st.binary(max_size=120), st.integers(0, 255), st.booleans(), st.sampled_from((V4, V6)))
def test_no_packet_whatever_breaks_it(payload: bytes, protocol: int, outward: bool, ends: Ends) -> None:
    scene = Scene()
    src, dst = (ends.alice, ends.server) if outward else (ends.server, ends.alice)
    scene.send(scene.alice if outward else scene.server, ip.build(src, dst, protocol, payload))


_REMOTES = [(bytes((198, 51, 100, n)), port) for n in (1, 2) for port in (7, 8)]
_INSIDES = [(bytes((192, 0, 2, n)), port) for n in (1, 2) for port in (7, 8)]
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("out", "in")),
        st.sampled_from((Protocol.UDP, Protocol.ICMP, Protocol.ESP)),
        st.sampled_from(_INSIDES),
        st.sampled_from(_REMOTES),
        st.integers(0, 40),
    ),
    max_size=60,
)


@given(st.sampled_from(list(DependsOn)), st.sampled_from(list(Refresh)), _STEPS)
def test_the_filter_never_lets_in_what_its_axis_forbids(
    filtering: DependsOn, refresh: Refresh, steps: list[tuple[str, int, Sock, Sock, int]]
) -> None:
    """Against a model that only knows when what was last seen; every endpoint stands for itself."""
    profile = replace(
        FIREWALL, filtering=filtering, refresh=refresh, udp_timeout=30, icmp_timeout=20, esp_timeout=10
    )
    table = FilterTable(profile, (bytes(4),), lambda _n: 0)
    views: dict[DependsOn, Callable[[Sock], object]] = {
        _EI: lambda _r: None, _AD: lambda r: r[0], _APD: lambda r: r,
    }  # fmt: skip
    until: dict[object, int] = {}
    now = 0
    for way, protocol, inside, remote, pause in steps:
        now += pause
        key = (protocol, inside, views[filtering](remote))
        if way == "out":
            assert table.outbound(protocol, inside, remote, now) == inside
            until[key] = now + profile.timeout(protocol)
            continue
        alive = until.get(key, 0) > now
        assert table.knows(protocol, inside, remote, now) is alive
        assert table.inbound(protocol, remote, inside, now) == (inside if alive else None)
        if alive and refresh is Refresh.ANY:
            until[key] = now + profile.timeout(protocol)


@given(st.integers(1, 400))
def test_state_that_has_ended_is_forgotten(count: int) -> None:
    table = FilterTable(replace(FIREWALL, udp_timeout=10), (bytes(4),), lambda _n: 0)
    for n in range(count):
        table.outbound(Protocol.UDP, (bytes(4), n), (bytes(4), 7), now=n)
    assert len(table) <= 11
    assert table.book.held() == 0


def _pieces(ends: Ends) -> list[bytearray]:
    whole = udp.build((ends.server, 7), (ends.alice, 7), bytes(2000), identification=77)
    return fragment(whole, 1000) if len(ends.alice) == 4 else fragment6(whole, 1280, 77)
