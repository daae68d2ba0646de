"""The NAT's mappings by the axes of RFC 4787, and what must hold whatever happens."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sim.net.nat_ports import PortPool
from sim.net.nat_profile import NAT_PRESETS, DependsOn, NatProfile, Pooling, PortAssignment, Refresh
from sim.net.nat_table import NatTable
from sim.units import NS_PER_S
from sim.wire.address import Sock

UDP, TCP, ICMP = 17, 6, 1
WAN, WAN2 = b"\xcb\x00\x71\x0a", b"\xcb\x00\x71\x0b"
IN = (b"\xc0\xa8\x01\x0a", 5000)
A1, A2, B1 = (b"\x01\x01\x01\x01", 10), (b"\x01\x01\x01\x01", 20), (b"\x02\x02\x02\x02", 10)

EI, AD, APD = DependsOn
SHARED = {EI: (True, True), AD: (True, False), APD: (False, False)}
"""RFC 4787 4.1: whether A's other port, and whether host B, see the mapping that A1 sees."""
LET_IN = {EI: (True, True, True), AD: (True, True, False), APD: (True, False, False)}
"""RFC 4787 5: whether A1, A's other port and host B get in after a packet to A1."""


@pytest.mark.parametrize("mapping", DependsOn)
@pytest.mark.parametrize("filtering", DependsOn)
def test_mapping_and_filtering_are_independent_axes(mapping: DependsOn, filtering: DependsOn) -> None:
    nat = table(mapping=mapping, filtering=filtering)
    external = nat.outbound(UDP, IN, A1, 0)
    assert external is not None
    assert tuple(nat.inbound(UDP, remote, external, 1) == IN for remote in (A1, A2, B1)) == LET_IN[filtering]
    shared = tuple(nat.outbound(UDP, IN, remote, 2) == external for remote in (A2, B1))
    assert shared == SHARED[mapping]


@pytest.mark.parametrize("mapping", DependsOn)
def test_inside_endpoints_never_share_a_mapping(mapping: DependsOn) -> None:
    nat = table(mapping=mapping)
    seen = {nat.outbound(UDP, (IN[0], port), A1, 0) for port in range(5000, 5050)}
    seen |= {nat.outbound(UDP, (b"\xc0\xa8\x01\x0b", port), A1, 0) for port in range(5000, 5050)}
    assert len(seen) == 100


def test_protocols_have_ports_of_their_own() -> None:
    nat = table()
    assert {nat.outbound(protocol, IN, A1, 0) for protocol in (UDP, TCP, ICMP)} == {(WAN, 5000)}
    nat.clear()
    nat.outbound(UDP, IN, A1, 0)
    assert nat.inbound(TCP, A1, (WAN, 5000), 1) is None


def test_only_the_external_address_is_mapped() -> None:
    nat = table(filtering=EI)
    nat.outbound(UDP, IN, A1, 0)
    assert nat.inbound(UDP, A1, (b"\xcb\x00\x71\x0b", 5000), 1) is None


# Ports


def test_ports_are_preserved_while_free() -> None:
    nat = table()
    assert nat.outbound(UDP, (IN[0], 4500), A1, 0) == (WAN, 4500)
    second = nat.outbound(UDP, (b"\xc0\xa8\x01\x0b", 4500), A1, 0)
    assert second is not None
    assert 1024 <= second[1] <= 65535
    assert second[1] != 4500


def test_a_second_privileged_port_stays_privileged() -> None:
    """RFC 4787 REQ-3 a; two IKE initiators behind one NAT both leave from below 1024 (libreswan#48)."""
    nat = table()
    ports = [nat.outbound(UDP, (bytes([10, 0, 0, host]), 500), A1, 0) for host in range(1, 50)]
    assert ports[0] == (WAN, 500)
    assert all(sock is not None and 1 <= sock[1] <= 1023 for sock in ports)


def test_random_ports_are_never_chosen_by_the_inside() -> None:
    nat = table(port_assignment=PortAssignment.RANDOM)
    ports = [nat.outbound(UDP, (IN[0], port), A1, 0) for port in range(500, 900)]
    assert all(sock is not None and sock[1] >= 1024 for sock in ports)


def test_an_exhausted_pool_refuses_and_recovers_after_the_timeout() -> None:
    nat = table(port_range=(2000, 2009), udp_timeout=NS_PER_S)
    got = [nat.outbound(UDP, (IN[0], 3000 + index), A1, 0) for index in range(11)]
    assert {sock[1] for sock in got[:10] if sock} == set(range(2000, 2010))
    assert got[10] is None
    assert nat.outbound(UDP, (IN[0], 3010), A1, NS_PER_S - 1) is None
    assert nat.outbound(UDP, (IN[0], 3010), A1, NS_PER_S) is not None


@given(
    st.integers(0, 65535), st.integers(0, 65535), st.sets(st.integers(0, 65535), max_size=20), st.randoms()
)
def test_a_pool_hands_out_every_port_of_its_range_once(
    one: int, other: int, taken: set[int], rng: random.Random
) -> None:
    low, high = min(one, other), min(max(one, other), min(one, other) + 40)
    pool = PortPool()
    for port in taken:
        assert pool.take(port)
        assert not pool.take(port)
    free = set(range(low, high + 1)) - taken
    assert {pool.take_random(low, high, rng.randrange) for _ in free} == free
    assert pool.take_random(low, high, rng.randrange) is None


def outside_ports(nat: NatTable, ports: range, inside: bytes = IN[0]) -> list[int]:
    found = [nat.outbound(UDP, (inside, port), A1, 0) for port in ports]
    return [external[1] for external in found if external is not None]


def test_contiguous_ports_follow_one_another() -> None:
    nat = table(port_assignment=PortAssignment.CONTIGUOUS, port_range=(2000, 2003))
    assert outside_ports(nat, range(7000, 7005)) == [2000, 2001, 2002, 2003]
    assert nat.outbound(UDP, (IN[0], 7000), A1, 60 * NS_PER_S) == (WAN, 2000)


@pytest.mark.parametrize("port", [500, 501, 7000, 7001])
def test_parity_is_kept(port: int) -> None:
    """RFC 4787 REQ-4: RTP wants even ports; a low port stays low."""
    nat = table(port_assignment=PortAssignment.PARITY)
    ports = outside_ports(nat, range(port, port + 200, 2))
    assert {found % 2 for found in ports} == {port % 2}
    assert len(set(ports)) == len(ports) == 100
    assert all((found < 1024) == (port < 1024) for found in ports)


def test_a_subscriber_stays_in_its_block_of_ports() -> None:
    """RFC 6888 REQ-4: a limit for each subscriber; RFC 7422: a block tells whose port it was."""
    nat = table(
        port_assignment=PortAssignment.BLOCK, port_range=(2000, 2015), block_size=4, blocks_per_subscriber=2
    )
    mine, theirs = (
        outside_ports(nat, range(7000, 7010)),
        outside_ports(nat, range(7000, 7003), b"\x0a\0\0\x09"),
    )
    assert sorted(mine) == list(range(2000, 2008))
    assert nat.book.blocks_of(IN[0]) == ((2000, 2003), (2004, 2007))
    assert set(theirs) < set(range(2008, 2012))
    nat.outbound(UDP, (b"\x0a\0\0\x07", 1), A1, 60 * NS_PER_S)
    assert nat.book.blocks_of(b"\x0a\0\0\x07") == ((2000, 2003),), "the blocks of those that left are free"


def test_paired_pooling_keeps_a_subscriber_at_one_address() -> None:
    nat = table((WAN, WAN2), port_assignment=PortAssignment.RANDOM)
    hosts = [bytes([10, 0, 0, host]) for host in range(40)]
    homes = [
        {external[0] for port in range(20) if (external := nat.outbound(UDP, (h, port), A1, 0))}
        for h in hosts
    ]
    assert all(len(home) == 1 for home in homes)
    assert set().union(*homes) == {WAN, WAN2}


def test_arbitrary_pooling_spreads_a_subscriber() -> None:
    nat = table((WAN, WAN2), port_assignment=PortAssignment.RANDOM, pooling=Pooling.ARBITRARY)
    externals = [nat.outbound(UDP, (IN[0], port), A1, 0) for port in range(40)]
    assert {external[0] for external in externals if external} == {WAN, WAN2}


# Forwarding


def test_a_forwarded_port_lets_anybody_in_and_its_owner_out() -> None:
    nat = table(filtering=APD)
    nat.forward(UDP, 500, IN)
    assert nat.inbound(UDP, B1, (WAN, 500), 10**18) == IN
    assert nat.outbound(UDP, IN, A1, 0) == (WAN, 500)
    assert nat.external_of(UDP, IN, A1, 0) == (WAN, 500)
    assert nat.inbound(TCP, B1, (WAN, 500), 0) is None
    assert nat.outbound(UDP, (IN[0], 500), A1, 0) != (WAN, 500), "its port is taken"


@pytest.mark.parametrize("change", [NatTable.clear, lambda nat: nat.move((WAN2,)), lambda nat: nat.rebind(0)])
def test_a_forwarding_rule_outlives_all_mappings(change: Callable[[NatTable], None]) -> None:
    nat = table()
    nat.outbound(UDP, (IN[0], 500), A1, 0)
    nat.forward(UDP, 500, IN)
    change(nat)
    assert nat.inbound(UDP, B1, (nat.addresses[0], 500), 1) == IN


def test_two_rules_for_one_port_are_refused() -> None:
    nat = table()
    nat.forward(UDP, 500, IN)
    with pytest.raises(ValueError, match="has a rule already"):
        nat.forward(UDP, 500, (IN[0], 1))
    with pytest.raises(ValueError, match="has a rule already"):
        nat.forward(UDP, 501, IN)


# TCP

FIN, SYN, RST, ACK = 1, 2, 4, 16
OPEN, TRANSITORY = 7440 * NS_PER_S, 240 * NS_PER_S


class Connection:
    """A client inside, a server at A1, and a clock that stands still unless told."""

    def __init__(self, nat: NatTable) -> None:
        self.nat = nat

    def says(self, *segments: tuple[str, int]) -> Connection:
        for side, flags in segments:
            if side == ">":
                external = self.nat.outbound(TCP, IN, A1, 0, flags)
                assert external is not None
                self.external = external
            else:
                assert self.nat.inbound(TCP, A1, self.external, 0, flags) == IN
        return self

    def lives(self) -> int:
        (mapping,) = self.nat.mappings(0)
        return mapping.expires_at


HANDSHAKE = [(">", SYN), ("<", SYN | ACK), (">", ACK)]


@pytest.mark.parametrize(
    ("segments", "life"),
    [
        (HANDSHAKE[:1], TRANSITORY),
        (HANDSHAKE[:2], TRANSITORY),
        (HANDSHAKE, OPEN),
        ([(">", ACK), ("<", ACK)], OPEN),  # met in the middle, after a reboot
        ([*HANDSHAKE, (">", FIN | ACK)], OPEN),  # RFC 5382 5: half closed is still open
        ([*HANDSHAKE, (">", FIN | ACK), ("<", FIN | ACK), (">", ACK)], TRANSITORY),
        ([*HANDSHAKE, ("<", RST)], TRANSITORY),
        ([*HANDSHAKE, (">", RST), *HANDSHAKE], OPEN),
    ],
)
def test_tcp_mappings_live_by_the_state_of_the_connection(segments: list[tuple[str, int]], life: int) -> None:
    assert Connection(table()).says(*segments).lives() == life


def test_one_closed_connection_does_not_end_another_at_its_mapping() -> None:
    nat = table()
    Connection(nat).says(*HANDSHAKE)
    for flags in (SYN, ACK, RST):
        nat.outbound(TCP, IN, B1, 0, flags)
    (mapping,) = nat.mappings(0)
    assert mapping.expires_at == OPEN
    assert nat.inbound(TCP, A1, mapping.external, OPEN - 1, ACK) == IN


def test_a_reset_connection_frees_its_port_in_time() -> None:
    nat = table(port_range=(2000, 2000), port_assignment=PortAssignment.RANDOM)
    Connection(nat).says(*HANDSHAKE, (">", RST))
    assert nat.outbound(TCP, (IN[0], 9), A1, TRANSITORY - 1, SYN) is None
    assert nat.outbound(TCP, (IN[0], 9), A1, TRANSITORY, SYN) == (WAN, 2000)


# Time


@pytest.mark.parametrize(("protocol", "field"), [(UDP, "udp"), (TCP, "tcp"), (ICMP, "icmp")])
def test_a_mapping_lives_for_the_timeout_of_its_protocol(protocol: int, field: str) -> None:
    profile = NAT_PRESETS["home"].override({f"{field}_timeout": 7})
    nat = NatTable(profile, (WAN,), random.Random(1).randrange)
    external = nat.outbound(protocol, IN, A1, 100)
    assert external is not None
    if protocol == TCP:
        nat.outbound(protocol, IN, A1, 100, 16)
        nat.inbound(protocol, A1, external, 100, 16)
    assert nat.internal_of(protocol, external, 106) == IN
    assert nat.internal_of(protocol, external, 107) is None


def test_outbound_packets_refresh() -> None:
    nat = table(udp_timeout=10, port_assignment=PortAssignment.RANDOM)
    external = nat.outbound(UDP, IN, A1, 0)
    for now in range(9, 100, 9):
        assert nat.outbound(UDP, IN, A1, now) == external
    assert nat.outbound(UDP, IN, A1, 99 + 10) != external


@pytest.mark.parametrize("refresh", [False, True])
def test_inbound_packets_refresh_by_rule(refresh: bool) -> None:
    nat = table(udp_timeout=10, refresh=Refresh.ANY if refresh else Refresh.OUTBOUND)
    external = nat.outbound(UDP, IN, A1, 0)
    assert external is not None
    assert nat.inbound(UDP, A1, external, 9) == IN
    assert nat.inbound(UDP, A1, external, 12) == (IN if refresh else None)


def test_what_the_filter_refuses_does_not_refresh() -> None:
    nat = table(udp_timeout=10)
    external = nat.outbound(UDP, IN, A1, 0)
    assert external is not None
    assert nat.inbound(UDP, B1, external, 9) is None
    assert nat.internal_of(UDP, external, 10) is None


def test_a_permission_ends_while_its_mapping_lives_on() -> None:
    nat = table(udp_timeout=10)
    external = nat.outbound(UDP, IN, A1, 0)
    assert external is not None
    assert nat.outbound(UDP, IN, B1, 5) == external
    assert nat.inbound(UDP, A1, external, 11) is None
    assert nat.inbound(UDP, B1, external, 11) == IN


def test_permissions_of_a_scan_do_not_pile_up() -> None:
    nat = table(udp_timeout=10)
    for now in range(5000):
        nat.outbound(UDP, IN, (now.to_bytes(4, "big"), 1), now)
    (mapping,) = nat.mappings(4999)
    assert len(mapping.permits) < 200


def test_expired_mappings_do_not_pile_up() -> None:
    nat = table(udp_timeout=10, mapping=APD)
    for now in range(5000):
        nat.outbound(UDP, IN, (now.to_bytes(4, "big"), 1), now)
    assert len(nat) <= 11


# What happens to a box


def test_rebinding_moves_every_mapping_and_keeps_its_permissions() -> None:
    nat = table()
    before = [nat.outbound(UDP, (IN[0], port), A1, 0) for port in range(5000, 5020)]
    nat.rebind(1)
    after = [nat.outbound(UDP, (IN[0], port), A1, 2) for port in range(5000, 5020)]
    assert not set(before) & set(after)
    assert len(set(after)) == 20
    for index, external in enumerate(after):
        assert external is not None
        assert nat.inbound(UDP, A1, external, 3) == (IN[0], 5000 + index)
        old = before[index]
        assert old is not None
        assert nat.inbound(UDP, A1, old, 3) is None


def test_rebinding_without_a_port_to_move_to_loses_the_mapping() -> None:
    nat = table(port_range=(2000, 2000))
    external = nat.outbound(UDP, IN, A1, 0)
    assert external == (WAN, 2000)
    nat.rebind(1)
    assert nat.internal_of(UDP, (WAN, 2000), 2) is None


def test_a_new_address_starts_with_an_empty_table() -> None:
    nat = table()
    nat.outbound(UDP, IN, A1, 0)
    nat.move((b"\xcb\x00\x71\x0b",))
    assert len(nat) == 0
    assert nat.outbound(UDP, IN, A1, 1) == (b"\xcb\x00\x71\x0b", 5000)


# Whatever happens


SOCKS = st.tuples(
    st.sampled_from([b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02", b"\x20\x01" + bytes(14)]),
    st.sampled_from([1, 500, 4500, 9000]),
)
"""IPv4 hosts, and an IPv6 one of a NAT64, which share the ports of one box."""
REMOTES = st.sampled_from([A1, A2, B1])


class AnyHistory(RuleBasedStateMachine):
    """A small pool, short timeouts, and a model that knows nothing but who sent what to whom and when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.sent: list[tuple[int, Sock, Sock, Sock]] = []  # when, inside, remote, as seen outside
        self.start(EI, EI, PortAssignment.PRESERVING, Pooling.PAIRED)

    def start(
        self, mapping: DependsOn, filtering: DependsOn, ports: PortAssignment, pooling: Pooling
    ) -> None:
        self.nat = table(
            (WAN, WAN2),
            mapping=mapping,
            filtering=filtering,
            port_assignment=ports,
            pooling=pooling,
            block_size=2,
            udp_timeout=50,
            refresh=Refresh.OUTBOUND,
            port_range=(2000, 2004),
        )
        self.sent.clear()

    @rule(
        mapping=st.sampled_from(DependsOn),
        filtering=st.sampled_from(DependsOn),
        ports=st.sampled_from(PortAssignment),
        pooling=st.sampled_from(Pooling),
    )
    def restart(
        self, mapping: DependsOn, filtering: DependsOn, ports: PortAssignment, pooling: Pooling
    ) -> None:
        self.start(mapping, filtering, ports, pooling)

    @rule(ahead=st.integers(0, 60))
    def wait(self, ahead: int) -> None:
        self.now += ahead

    @rule(src=SOCKS, dst=REMOTES)
    def send(self, src: Sock, dst: Sock) -> None:
        previous = self.alive(src, self.nat.profile.mapping, dst)
        external = self.nat.outbound(UDP, src, dst, self.now)
        if external is None:
            assert previous is None  # a living mapping never lacks its port
            return
        assert previous in (None, external)  # stable while it lives
        for at, inside, remote, outside in self.sent:
            if outside == external and at + 50 > self.now:
                assert inside == src  # one port never stands for two
                assert view(self.nat.profile.mapping, remote) == view(self.nat.profile.mapping, dst)
        if self.nat.profile.pooling is Pooling.PAIRED:
            living = [
                outside for at, inside, _, outside in self.sent if inside[0] == src[0] and at + 50 > self.now
            ]
            assert {external[0]} == {external[0], *(address for address, _ in living)}
        if previous is None:
            self.fits_assignment(src, external)
        self.sent.append((self.now, src, dst, external))

    @rule(
        remote=REMOTES,
        port=st.sampled_from([1, 500, 600, *range(2000, 2005), 4500]),
        wan=st.sampled_from([WAN, WAN2]),
    )
    def arrive(self, remote: Sock, port: int, wan: bytes) -> None:
        """Let in exactly when somebody inside has sent, lately, to what the filter cannot tell apart."""
        expected = {
            inside
            for at, inside, to, outside in self.sent
            if outside == (wan, port)
            and at + 50 > self.now
            and view(self.nat.profile.filtering, to) == view(self.nat.profile.filtering, remote)
        }
        assert len(expected) <= 1
        assert self.nat.inbound(UDP, remote, (wan, port), self.now) == next(iter(expected), None)

    @rule()
    def rebind(self) -> None:
        moved = {mapping.key: mapping.external for mapping in self.nat.mappings(self.now)}
        self.nat.rebind(self.now)
        now = {mapping.key: mapping.external for mapping in self.nat.mappings(self.now)}
        renamed = {moved[key]: external for key, external in now.items()}
        assert all(old != new for old, new in renamed.items())
        lost = set(moved.values()) - set(renamed)
        self.sent = [
            (at, inside, to, renamed.get(outside, outside))
            for at, inside, to, outside in self.sent
            if at + 50 > self.now and outside not in lost
        ]

    @invariant()
    def no_port_is_shared_and_none_leaks(self) -> None:
        living = [mapping.external for mapping in self.nat.mappings(self.now)]
        assert len(living) == len(set(living))
        assert self.nat.book.held() == len(self.nat) >= len(living)

    def fits_assignment(self, src: Sock, external: Sock) -> None:
        """What RFC 4787 4.2 and RFC 6888 say of a new port, where it is in the range."""
        kind = self.nat.profile.port_assignment
        if kind is PortAssignment.PARITY:
            assert src[1] % 2 == external[1] % 2
        elif kind is PortAssignment.BLOCK:
            ((low, high),) = self.nat.book.blocks_of(src[0])
            assert low <= external[1] <= high
        elif kind is not PortAssignment.PRESERVING:
            assert 2000 <= external[1] <= 2004

    def alive(self, src: Sock, axis: DependsOn, dst: Sock) -> Sock | None:
        for at, inside, remote, outside in reversed(self.sent):
            if inside == src and view(axis, remote) == view(axis, dst) and at + 50 > self.now:
                return outside
        return None


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(stateful_step_count=40, max_examples=60, deadline=None)


# Presets


def test_presets_are_what_they_are_named_after() -> None:
    home, cgn, symmetric = (NAT_PRESETS[name] for name in ("home", "cgn", "symmetric"))
    assert (home.mapping, home.filtering) == (EI, APD)
    assert (cgn.mapping, cgn.filtering) == (EI, EI)  # RFC 6888 REQ-1, REQ-7
    assert (symmetric.mapping, symmetric.filtering) == (APD, APD)
    assert cgn.udp_timeout >= 300 * NS_PER_S  # RFC 4787 REQ-5


def test_a_preset_can_be_overridden_in_words() -> None:
    changed = NAT_PRESETS["home"].override({"mapping": "address-dependent", "udp_timeout": 5})
    assert (changed.mapping, changed.udp_timeout, changed.filtering) == (AD, 5, APD)
    with pytest.raises(ValueError, match="cone"):
        NAT_PRESETS["home"].override({"mapping": "cone"})


@pytest.mark.parametrize("wrong", [{"udp_timeout": 0}, {"port_range": (0, 5)}, {"port_range": (6, 5)}])
def test_impossible_profiles_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"timeouts|range"):
        NAT_PRESETS["home"].override(wrong)


def view(axis: DependsOn, remote: Sock) -> object:
    """What an axis looks at, written down a second time."""
    return {EI: (), AD: remote[0], APD: remote}[axis]


def table(addresses: tuple[bytes, ...] = (WAN,), **changes: object) -> NatTable:
    base = NatProfile(EI, APD, PortAssignment.PRESERVING, udp_timeout=60 * NS_PER_S)
    choose: Callable[[int], int] = random.Random(5).randrange
    return NatTable(replace(base, **changes), addresses, choose)  # type: ignore[arg-type]
