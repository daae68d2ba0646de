"""The NAT's mappings by the axes of RFC 4787, and what must hold whatever happens."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sim.net.nat_profile import NAT_PRESETS, DependsOn, NatProfile, PortAssignment
from sim.net.nat_table import NatTable, PortPool
from sim.units import NS_PER_S
from sim.wire.address import Sock

UDP, TCP, ICMP = 17, 6, 1
WAN = b"\xcb\x00\x71\x0a"
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


# Time


@pytest.mark.parametrize(("protocol", "field"), [(UDP, "udp"), (TCP, "tcp"), (ICMP, "icmp")])
def test_a_mapping_lives_for_the_timeout_of_its_protocol(protocol: int, field: str) -> None:
    profile = NAT_PRESETS["home"].override({f"{field}_timeout": 7})
    nat = NatTable(profile, WAN, random.Random(1).randrange)
    external = nat.outbound(protocol, IN, A1, 100)
    assert external is not None
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
    nat = table(udp_timeout=10, inbound_refresh=refresh)
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
    nat.move(b"\xcb\x00\x71\x0b")
    assert len(nat) == 0
    assert nat.outbound(UDP, IN, A1, 1) == (b"\xcb\x00\x71\x0b", 5000)


# Whatever happens


SOCKS = st.tuples(
    st.sampled_from([b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"]), st.sampled_from([1, 500, 4500, 9000])
)
REMOTES = st.sampled_from([A1, A2, B1])


class AnyHistory(RuleBasedStateMachine):
    """A small pool, short timeouts, and a model that knows nothing but who sent what to whom and when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.sent: list[tuple[int, Sock, Sock, Sock]] = []  # when, inside, remote, as seen outside
        self.start(EI, EI, PortAssignment.PRESERVING)

    def start(self, mapping: DependsOn, filtering: DependsOn, ports: PortAssignment) -> None:
        self.nat = table(
            mapping=mapping,
            filtering=filtering,
            port_assignment=ports,
            udp_timeout=50,
            inbound_refresh=False,
            port_range=(2000, 2004),
        )
        self.sent.clear()

    @rule(
        mapping=st.sampled_from(DependsOn),
        filtering=st.sampled_from(DependsOn),
        ports=st.sampled_from(PortAssignment),
    )
    def restart(self, mapping: DependsOn, filtering: DependsOn, ports: PortAssignment) -> None:
        self.start(mapping, filtering, ports)

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
        self.sent.append((self.now, src, dst, external))

    @rule(remote=REMOTES, port=st.sampled_from([1, 500, 600, *range(2000, 2005), 4500]))
    def arrive(self, remote: Sock, port: int) -> None:
        """Let in exactly when somebody inside has sent, lately, to what the filter cannot tell apart."""
        expected = {
            inside
            for at, inside, to, outside in self.sent
            if outside == (WAN, port)
            and at + 50 > self.now
            and view(self.nat.profile.filtering, to) == view(self.nat.profile.filtering, remote)
        }
        assert len(expected) <= 1
        assert self.nat.inbound(UDP, remote, (WAN, port), self.now) == next(iter(expected), None)

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
        held = self.nat._pools[UDP]._used.count(1) if self.nat._pools else 0
        assert held == len(self.nat) >= len(living)

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


def table(**changes: object) -> NatTable:
    base = NatProfile(EI, APD, PortAssignment.PRESERVING, udp_timeout=60 * NS_PER_S)
    choose: Callable[[int], int] = random.Random(5).randrange
    return NatTable(replace(base, **changes), WAN, choose)  # type: ignore[arg-type]
