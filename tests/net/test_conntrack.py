"""The connection tracker, rule by rule; tests/interop/test_linux_nat.py asks the real one the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.net.conntrack import ConnectionTracker
from sim.net.nat_profile import NAT_PRESETS
from sim.units import NS_PER_S
from sim.wire.address import Sock, pack_address
from sim.wire.ip import Protocol

E, R, S = (pack_address(text) for text in ("203.0.113.1", "198.51.100.1", "198.51.100.2"))
A, B = pack_address("192.168.1.10"), pack_address("192.168.1.11")
UDP = Protocol.UDP


def tracker(**changes: object) -> ConnectionTracker:
    profile = NAT_PRESETS["linux"].override(changes)
    return ConnectionTracker(profile, (E,), random.Random(1).randrange)


def out(table: ConnectionTracker, src: Sock, dst: Sock, at: float = 0) -> int:
    external = table.outbound(UDP, src, dst, int(at * NS_PER_S))
    assert external is not None
    assert external[0] == E
    return external[1]


def back(table: ConnectionTracker, src: Sock, port: int, at: float) -> bool:
    return table.inbound(UDP, src, (E, port), int(at * NS_PER_S)) is not None


def test_a_port_is_shared_while_the_remote_endpoints_differ() -> None:
    table = tracker()
    assert (
        out(table, (A, 5000), (R, 1))
        == out(table, (B, 5000), (R, 2))
        == out(table, (B, 5000), (S, 1))
        == 5000
    )
    assert table.inbound(UDP, (R, 1), (E, 5000), 0) == (A, 5000)
    assert table.inbound(UDP, (R, 2), (E, 5000), 0) == (B, 5000)


def test_a_collision_takes_another_port_which_the_source_keeps() -> None:
    table = tracker()
    out(table, (A, 5000), (R, 1))
    other = out(table, (B, 5000), (R, 1))
    assert other != 5000
    assert out(table, (B, 5000), (S, 1)) == other


def test_low_ports_collide_into_low_ports() -> None:
    table = tracker()
    for port, (low, high) in {400: (1, 511), 700: (600, 1023), 2000: (1024, 65535)}.items():
        out(table, (A, port), (R, 1))
        assert low <= out(table, (B, port), (R, 1)) <= high


def test_what_was_not_asked_for_stands_in_the_way() -> None:
    table = tracker()
    assert table.uninvited(UDP, (R, 1), (E, 5000), 0)
    assert out(table, (A, 5000), (R, 1)) != 5000
    assert out(table, (B, 5000), (R, 1), at=31) == 5000


def test_only_a_stream_lives_longer() -> None:
    table = tracker()
    port = out(table, (A, 5000), (R, 1))
    assert back(table, (R, 1), port, 29)
    out(table, (A, 5000), (R, 1), at=30)
    assert back(table, (R, 1), port, 149)
    assert not back(table, (R, 1), port, 149 + 120)
    out(table, (A, 6000), (R, 1))
    out(table, (A, 6000), (R, 1), at=29)
    assert not back(table, (R, 1), 6000, 59), "without an answer it is no stream"


def test_a_box_without_a_free_port_gives_none() -> None:
    table = tracker(port_range=(4000, 4003))
    ports = {out(table, (A, 5000 + n), (R, 1)) for n in range(10)}
    assert ports == set(range(5000, 5010))
    taken = [table.outbound(UDP, (B, 5000 + n), (R, 1), 0) for n in range(5)]
    assert {sock[1] for sock in taken if sock} == {4000, 4001, 4002, 4003}
    assert taken[4] is None


def test_rebinding_moves_every_entry_and_moving_forgets_them() -> None:
    table = tracker()
    out(table, (A, 5000), (R, 1))
    table.rebind(1)
    (entry,) = table.mappings(1)
    assert entry.external[1] != 5000
    assert table.internal_of(UDP, entry.external, 1, (R, 1)) == (A, 5000)
    assert table.internal_of(UDP, (E, 5000), 1, (R, 1)) is None
    table.move((S,))
    assert (len(table), list(table.mappings(1))) == (0, [])


def test_expired_entries_are_swept_away() -> None:
    table = tracker()
    for n in range(10_000):
        out(table, (A, 1024 + n), (R, 1), at=n)
    assert len(table) < 200


def test_what_a_rule_let_in_gives_its_port_to_nothing_else() -> None:
    """Linux looks for a source's port among what the source began."""
    table = tracker()
    table.forward(Protocol.UDP, 5500, (A, 5501))
    assert table.inbound(Protocol.UDP, (S, 7), (table.address, 5500), now=0) == (A, 5501)
    assert table.outbound(Protocol.UDP, (A, 5501), (S, 7), now=0) == (table.address, 5500)
    assert table.outbound(Protocol.UDP, (A, 5501), (S, 8), now=0) == (table.address, 5501)


@pytest.mark.parametrize(
    ("segments", "lives"),
    [
        ("c2", 120), ("c2 s18", 60), ("c2 s18 c16", 432_000), ("c2 s18 c16 c17", 120),
        ("c2 s18 c16 c17 s16", 60), ("c2 s18 c16 c17 s17", 30), ("c2 s18 c16 c17 s17 c16", 120),
        ("c2 s18 c16 s20", 10), ("c16", 432_000),
    ],
)  # fmt: skip
def test_each_state_of_tcp_lives_as_long_as_in_linux(segments: str, lives: int) -> None:
    """net.netfilter.nf_conntrack_tcp_timeout_*, by the flags of segments of client and server."""
    table = tracker()
    client, server = (A, 5000), (S, 80)
    for text in segments.split():
        flags = int(text[1:])
        if text[0] == "c":
            assert table.outbound(Protocol.TCP, client, server, 0, flags) == (table.address, 5000)
        else:
            assert table.inbound(Protocol.TCP, server, (table.address, 5000), 0, flags) == client
    (entry,) = table.mappings(0)
    assert entry.expires_at == lives * NS_PER_S


def test_a_connection_that_is_refused_is_forgotten_at_once() -> None:
    table = tracker()
    table.outbound(Protocol.TCP, (A, 5000), (S, 80), 0, 2)
    assert table.inbound(Protocol.TCP, (S, 80), (table.address, 5000), 0, 20) == (A, 5000)
    assert list(table.mappings(0)) == []


def test_what_belongs_to_no_connection_makes_none() -> None:
    table = tracker()
    assert table.outbound(Protocol.TCP, (A, 5000), (S, 80), 0, 17) is None
    assert table.refusal(Protocol.TCP, (A, 5000), (S, 80), 0, 17) == "no segment of a known connection"
    assert len(table) == 0


_TCP_STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from([(A, 5000), (B, 5000)]),
        st.sampled_from([(R, 80), (R, 81), (S, 80)]),
        st.sampled_from([2, 18, 16, 17, 4, 20, 0]),
        st.integers(0, 100),
    ),
    max_size=60,
)


@given(_TCP_STEPS)
def test_whatever_segments_come_no_two_connections_have_one_answer(
    steps: list[tuple[bool, Sock, Sock, int, int]],
) -> None:
    """A port and remote lead to one client, who has sent there; a connection keeps its port."""
    table, now = tracker(), 0
    known: dict[tuple[Sock, Sock], Sock] = {}  # external and remote: client
    for outward, client, remote, flags, pause in steps:
        now += pause * NS_PER_S
        alive = {(e.internal, e.remote): e.external for e in table.mappings(now)}
        if outward:
            external = table.outbound(Protocol.TCP, client, remote, now, flags)
            if external is not None:
                assert alive.get((client, remote), external) == external
                known[external, remote] = client
        else:
            external = alive.get((client, remote), (E, 5000))
            answered = table.inbound(Protocol.TCP, remote, external, now, flags)
            assert answered in (None, known.get((external, remote)))
            assert answered is None or (answered, remote) in alive
        living = [(e.external, e.remote) for e in table.mappings(now)]
        assert len(living) == len(set(living))
