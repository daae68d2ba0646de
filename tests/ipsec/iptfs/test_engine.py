"""An engine with an AGGFRAG Child SA: many packets in one, one in many, and a clock (RFC 9347 2)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.ipsec.iptfs.items import Aggregate, Queued
from sim.ipsec.verdict import DROP, Drop, Reason
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import ip
from sim.wire.aggfrag import Requirement
from sim.wire.outer_fields import OuterFields
from tests.ipsec.iptfs.tunnel import Tunnel, drain, numbers
from tests.ipsec.pair import HOST_A4, SPI_A, SUITES, between, datagram

STEADY: dict[str, Any] = {"l3_fixed_rate": 1_200_000}
"""A packet of 1500 octets every 10 ms."""
TICK = 10 * NS_PER_MS


def test_many_small_packets_share_one_outer_packet() -> None:
    tunnel = Tunnel(init_delay=5 * NS_PER_MS)
    for _ in range(10):
        assert isinstance(tunnel.send(datagram(100)), Queued)
    (departure,) = tunnel.outers()
    assert tunnel.now == 5 * NS_PER_MS, "the first one has waited that long"
    assert len(departure.outer) == 20 + 8 + 8 + 4 + 1000 + 2 + 2 + 16  # padded to a multiple of 4
    deliveries = tunnel.arrive(departure)
    assert [bytes(delivery.inner) for delivery in deliveries] == tunnel.sent
    assert numbers(deliveries) == list(range(10))
    sent, received = tunnel.sender, tunnel.receiver
    assert (sent.packets, sent.bytes, sent.outer_packets) == (10, 1000, 1)
    assert (received.packets, received.bytes, received.outer_packets) == (10, 1000, 1)


def test_a_packet_larger_than_the_path_goes_in_pieces() -> None:
    tunnel = Tunnel(packet_size=576)
    tunnel.send(datagram(1500))
    departures = tunnel.outers()
    assert [len(d.outer) for d in departures] == [576, 576, 524]
    assert [d.tags for d in departures] == [(), (), (0,)]
    assert numbers([x for d in departures for x in tunnel.arrive(d)]) == [0]


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("outer", "encap"), [(4, False), (4, True), (6, False)])
def test_a_fixed_rate_shows_one_size_and_one_interval_whatever_is_sent(
    suite: str, outer: int, encap: bool
) -> None:
    """Idle, a burst of small packets, large ones, idle again: nothing of it is to be seen."""
    tunnel = Tunnel(suite, outer=outer, encap=encap, **STEADY)
    sizes, times = [], []
    for tick in range(1, 40):
        for size in {5: [60] * 40, 9: [1400, 3000, 28], 10: [1400]}.get(tick, []):
            tunnel.send(datagram(size))
        departures = drain(tunnel.a, tunnel, until=tunnel.now + tunnel.sender.interval)
        sizes += [len(departure.outer) for departure in departures]
        times += [tunnel.now] * len(departures)
        for departure in departures:
            assert all(delivery.reason is None for delivery in tunnel.arrive(departure))
    assert len(set(sizes)) == 1
    assert 1484 < sizes[0] <= 1500, "within one block of the cipher"
    gaps = {after - before for before, after in pairwise(times)}
    assert gaps == {-(-8 * NS_PER_S * sizes[0] // STEADY["l3_fixed_rate"])}
    assert tunnel.receiver.packets == len(tunnel.sent)


def test_an_idle_tunnel_sends_all_padding_payloads() -> None:
    tunnel = Tunnel(**STEADY)
    departures = drain(tunnel.a, tunnel, until=5 * TICK)
    assert [d.tags for d in departures] == [()] * 5
    for departure in departures:
        verdict = tunnel.b.inbound(bytearray(departure.outer), tunnel.now)
        assert isinstance(verdict, Aggregate)
    assert tunnel.taken() == []
    assert tunnel.receiver.drops == {}


def test_a_clock_that_is_read_late_catches_up_but_does_not_burst_for_ever() -> None:
    tunnel = Tunnel(**STEADY)
    tunnel.now = 10 * TICK
    tunnel.a.aggfrag.handle_timer(tunnel.now)
    assert len(tunnel.a.aggfrag.departures) == 10
    assert tunnel.a.aggfrag.next_timer == 11 * TICK
    tunnel.now = 10**6 * TICK
    tunnel.a.aggfrag.handle_timer(tunnel.now)
    assert len(tunnel.a.aggfrag.departures) < 100
    assert tunnel.a.aggfrag.next_timer == tunnel.now + TICK


def test_a_full_queue_drops() -> None:
    tunnel = Tunnel(max_queue_size=250)
    assert [type(tunnel.send(datagram(100))) for _ in range(3)] == [Queued, Queued, Drop]
    assert tunnel.sender.drops == {Reason.QUEUE_FULL: 1}


def test_every_inner_packet_is_checked_against_the_selectors() -> None:
    """RFC 4301 5.2: one wrong packet in an aggregate is dropped, its neighbours are not."""
    tunnel = Tunnel()
    tunnel.send(datagram(100))
    stray = between((HOST_A4, 1), (HOST_A4, 2))
    tunnel.sender.queue(stray, 0)
    tunnel.send(datagram(101))
    (departure,) = tunnel.outers()
    deliveries = tunnel.arrive(departure)
    assert [(len(d.inner), d.reason) for d in deliveries] == [
        (100, None), (100, Reason.SELECTOR_MISMATCH), (101, None),
    ]  # fmt: skip
    assert tunnel.receiver.drops == {Reason.SELECTOR_MISMATCH: 1}
    assert tunnel.b.next_event() is not None, "IKE may tell the peer"


def test_an_outer_packet_that_is_no_newer_or_not_authentic_is_never_looked_into() -> None:
    tunnel = Tunnel()
    tunnel.send(datagram(100))
    (departure,) = tunnel.outers()
    damaged = bytearray(departure.outer)
    damaged[-1] ^= 1
    assert tunnel.b.inbound(damaged, 0) is DROP[Reason.INTEGRITY]
    assert len(tunnel.arrive(departure)) == 1
    assert tunnel.b.inbound(bytearray(departure.outer), 0) is DROP[Reason.REPLAYED]


@pytest.mark.parametrize(
    ("next_header", "reason"),
    [(ip.Protocol.IPV4, Reason.NEXT_HEADER), (ip.Protocol.NO_NEXT, Reason.DUMMY)],
)
def test_an_aggfrag_sa_carries_nothing_else(next_header: int, reason: Reason) -> None:
    """RFC 9347 2.3: no mixed use."""
    tunnel = Tunnel()
    assert inject(tunnel, datagram(100), next_header) is DROP[reason]


@pytest.mark.parametrize("payload", ["", "00", "000000", "02000000", "01000000", "0100000000"])
def test_a_payload_without_a_whole_header_is_counted(payload: str) -> None:
    tunnel = Tunnel()
    assert isinstance(inject(tunnel, bytearray.fromhex(payload), ip.Protocol.AGGFRAG), Aggregate)
    assert tunnel.receiver.drops == {Reason.MALFORMED_AGGFRAG: 1}


@pytest.mark.parametrize("demand", [{"dont_frag": True}, {"aggfrag": Requirement.DONT_FRAGMENT}])
def test_inner_packets_stay_whole_where_either_side_wants_that(demand: dict[str, Any]) -> None:
    """RFC 9347 6.1.4, bit D; what does not fit gets the fate of any tunnel's (2.2.6)."""
    tunnel = Tunnel(packet_size=576, **demand)
    room = tunnel.sender.room
    for size in (300, 300, room):
        tunnel.send(datagram(size))
    first = tunnel.outers()
    assert [d.tags for d in first] == [(0,), (1,), (2,)]
    assert tunnel.send(datagram(room + 1, df=True)) is DROP[Reason.TOO_BIG]
    assert tunnel.sender.max_inner(1500) == room
    tunnel.send(datagram(1200))
    departures = tunnel.outers()
    assert [d.tags for d in departures] == [(3,), (3,), (3,)]
    pieces = [d.inner for outer in [*first, *departures] for d in tunnel.arrive(outer)]
    assert [ip.parse(piece).is_fragment for piece in pieces] == [False] * 3 + [True] * 3


def test_the_outer_header_tells_nothing_of_the_inner_ones() -> None:
    """RFC 9347 2.2.5: no DSCP, no ECN; DF is the SA's own."""
    tunnel = Tunnel()
    tunnel.send(datagram(100, tos=0xBB))
    tunnel.send(datagram(100))
    (departure,) = tunnel.outers()
    assert (departure.outer[1], ip.dont_fragment(departure.outer)) == (0, True)
    assert [d.inner[1] for d in tunnel.arrive(departure)] == [0xBB, 0]


def test_the_outer_dscp_is_what_is_configured() -> None:
    """RFC 9347 2.2.5.3: not copied, but a sender should be able to set it."""
    tunnel = Tunnel(outer_fields=OuterFields(dscp=46), ecn=True)
    tunnel.send(datagram(100, tos=0x20))
    (departure,) = tunnel.outers()
    assert departure.outer[1] == 46 << 2 | 2


def test_a_pair_that_is_succeeded_empties_its_queue_and_falls_silent() -> None:
    """RFC 9347 2.2.3: no packet is begun in one SA and ended in another."""
    tunnel = Tunnel(**STEADY)
    tunnel.send(datagram(4000))
    tunnel.a.retire(SPI_A)
    departures = tunnel.outers()
    assert [d.tags for d in departures] == [(), (), (0,)]
    assert tunnel.a.aggfrag.next_timer is None


def test_nothing_is_left_of_a_pair_that_is_removed() -> None:
    tunnel = Tunnel(**STEADY)
    assert tunnel.a.aggfrag
    tunnel.send(datagram(100))
    tunnel.a.remove(SPI_A)
    assert tunnel.outers() == []
    assert not tunnel.a.aggfrag


def test_an_sa_without_sequence_numbers_sends_no_more() -> None:
    tunnel = Tunnel(**STEADY)
    tunnel.sender.wrapper.seq = 0xFFFFFFFF
    tunnel.send(datagram(100))
    assert tunnel.outers() == []
    assert tunnel.a.aggfrag.next_timer is None
    assert tunnel.a.next_event() is not None


def test_limits_of_octets_and_packets_hold_for_inner_packets() -> None:
    tunnel = Tunnel(hard_limit=(0, 3))
    assert [type(tunnel.send(datagram(100))) for _ in range(4)] == [Queued, Queued, Queued, Drop]
    assert tunnel.sender.drops == {Reason.EXPIRED: 1}


def test_extended_sequence_numbers_are_put_in_order_as_a_whole() -> None:
    tunnel = Tunnel(esn=True)
    tunnel.sender.wrapper.seq = 0xFFFFFFFD
    tunnel.receiver.window.accept(0xFFFFFFFD)
    for _ in range(4):
        tunnel.send(datagram(100))
        (departure,) = tunnel.outers()
        tunnel.arrive(departure)
    tunnel.wait()
    assert tunnel.receiver.packets == 4


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(28, 4000), st.sampled_from([4, 6])), min_size=1, max_size=25),
    st.sampled_from([200, 576, 1500]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 8),
    st.data(),
)
def test_inner_packets_survive_loss_and_reordering_of_outer_ones(
    sizes: list[tuple[int, int]],
    packet_size: int,
    steady: bool,
    uncut: bool,
    window: int,
    data: st.DataObject,
) -> None:
    """What arrives is a part of what was sent, in order, uncorrupted, and all of it if nothing was lost."""
    rate = 10**7 if steady else 0
    tunnel = Tunnel(packet_size=packet_size, reorder_window=window, dont_frag=uncut, l3_fixed_rate=rate)
    for size, version in sizes:
        packet = datagram(max(size, 48), version=version)
        if version == 4:
            packet[6] |= 0x40  # DF: no pieces of an IP packet, which would need numbers of their own
        tunnel.send(packet)
    departures = []
    while tunnel.sender.waiting:
        departures += drain(tunnel.a, tunnel, until=tunnel.now + tunnel.sender.interval)
    lost = data.draw(st.sets(st.integers(0, len(departures)), max_size=5))
    kept = [departure for n, departure in enumerate(departures) if n not in lost]
    swaps = data.draw(st.lists(st.integers(0, max(0, len(kept) - 2)), max_size=4, unique=True))
    for n in swaps:
        kept[n : n + 2] = reversed(kept[n : n + 2])
    deliveries = [delivery for departure in kept for delivery in tunnel.arrive(departure)] + tunnel.wait()
    got = numbers(deliveries)
    whole = [bytes(delivery.inner) for delivery in deliveries if delivery.index >= 0]
    assert whole == [tunnel.sent[n] for n in got]  # type: ignore[call-overload]
    assert got == sorted(set(got))  # type: ignore[type-var]
    if not lost and window >= len(swaps) + 1:
        assert got == list(range(len(tunnel.sent)))


def inject(tunnel: Tunnel, payload: bytearray, next_header: int) -> object:
    """What B says of an authentic outer packet with any content."""
    sender = tunnel.sender
    outer = sender._sealing.seal(20, payload, bytes((next_header,)))
    sender._headers.write(outer, 0, True)
    return tunnel.b.inbound(outer, 0)
