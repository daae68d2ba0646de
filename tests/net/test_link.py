"""Links: exact timing, independent stages, honest randomness, bounded queues."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sim.net.jitter import Constant, Exponential, Normal, Uniform
from sim.net.link import LinkParams, QueueLimit
from sim.net.packet import Packet
from sim.units import NS_PER_MS, NS_PER_S, NS_PER_US
from tests.net.scene import LATER, SLOW, Pair

ENDLESS = QueueLimit(packets=None)


def test_a_packet_takes_its_serialisation_and_the_delay() -> None:
    pair = Pair(LinkParams(rate_bps=100_000_000, delay_ns=3_000_000))
    pair.send(1250)
    pair.sim.run(LATER)
    assert pair.ear.times == [100_000 + 3_000_000]


def test_packets_follow_one_another_without_a_gap() -> None:
    pair = Pair(SLOW)
    for size in (100, 200, 50):
        pair.send(size)
    pair.sim.run(LATER)
    assert pair.ear.times == [NS_PER_MS + us * NS_PER_US for us in (100, 300, 350)]


def test_an_idle_link_starts_anew() -> None:
    pair = Pair(SLOW)
    pair.send_at(0)
    pair.send_at(500_000)
    pair.sim.run(LATER)
    assert pair.ear.times == [1_100_000, 1_600_000]


def test_no_rate_means_no_serialisation() -> None:
    pair = Pair(LinkParams(rate_bps=None, delay_ns=5))
    pair.send(1500)
    pair.send(1500)
    pair.sim.run(LATER)
    assert pair.ear.times == [5, 5]


@given(
    st.integers(1_000, 10**11),
    st.lists(st.integers(46, 1500), min_size=1, max_size=60),
)
def test_a_busy_period_lasts_exactly_its_bits(rate: int, sizes: list[int]) -> None:
    """Rounding to ns does not add up: the n-th packet is less than 1 ns early or late, whatever n."""
    pair = Pair(LinkParams(rate_bps=rate, delay_ns=0, queue=ENDLESS))
    for size in sizes:
        pair.send(size)
    pair.sim.run(10**17)
    bits = 0
    for at, size in zip(pair.ear.times, sizes, strict=True):
        bits += 8 * size
        assert at == bits * NS_PER_S // rate


@pytest.mark.parametrize("delay", [0, 1, NS_PER_MS, NS_PER_S])
@pytest.mark.parametrize("jitter", [None, Constant(77_777), Uniform(0, NS_PER_MS)])
def test_throughput_does_not_depend_on_the_delay(delay: int, jitter: Constant | None) -> None:
    """mininet#1129: there a delay lowers the bandwidth."""
    pair = Pair(replace(SLOW, delay_ns=delay, jitter=jitter, queue=ENDLESS))
    for _ in range(1001):
        pair.send(1000)
    pair.sim.run(10 * NS_PER_S)
    span = pair.ear.times[-1] - pair.ear.times[0]
    spread = NS_PER_MS if isinstance(jitter, Uniform) else 0
    assert abs(span - 1000 * NS_PER_MS) <= spread


def test_halves_are_independent() -> None:
    pair = Pair(SLOW, replace(SLOW, delay_ns=9 * NS_PER_MS))
    back = pair.ear.__class__(pair.a)
    pair.send(100)
    pair.b.send(Packet(swap(pair.datagram(100)), 0, back), 0)
    pair.sim.run(LATER)
    assert (pair.ear.times, back.times) == ([1_100_000], [9_100_000])


@given(
    st.lists(st.tuples(st.integers(0, 400_000), st.integers(46, 1000)), max_size=60),
    st.one_of(
        st.builds(QueueLimit, packets=st.integers(0, 5)),
        st.builds(QueueLimit, packets=st.none(), octets=st.integers(0, 3000)),
        st.builds(QueueLimit, packets=st.integers(0, 5), octets=st.integers(0, 3000)),
    ),
)
def test_queue_follows_a_naive_model(script: list[tuple[int, int]], limit: QueueLimit) -> None:
    pair = Pair(replace(SLOW, queue=limit))
    half = pair.link.forward
    starts: list[tuple[int, int]] = []  # of all accepted packets: (start of serialisation, size)
    expected, accepted, free_at, now = [], [], 0, 0
    for seq, (gap, size) in enumerate(script):
        now += gap
        pair.sim.run(now)
        waiting = [s for start, s in starts if start > now]
        assert half.waiting(now) == (len(waiting), sum(waiting))
        fits = (limit.packets is None or len(waiting) < limit.packets) and (
            limit.octets is None or sum(waiting) + size <= limit.octets
        )
        if free_at <= now or fits:
            start = max(now, free_at)
            starts.append((start, size))
            free_at = start + size * NS_PER_US
            expected.append(free_at + NS_PER_MS)
            accepted.append(seq)
        pair.send(size, seq)
    pair.sim.run(LATER)
    assert (pair.ear.times, pair.ear.seqs) == (expected, accepted)
    assert half.packets == len(accepted)
    assert half.queue_full == pair.a.drops["queue full"] == len(script) - len(accepted)


@pytest.mark.parametrize("loss", [0.001, 0.05, 0.5])
def test_loss_is_binomial_and_independent(loss: float) -> None:
    count = 20_000
    pair = Pair(LinkParams(rate_bps=None, loss=loss))
    for seq in range(count):
        pair.send(60, seq)
    pair.sim.run(LATER)
    lost = sorted(set(range(count)) - set(pair.ear.seqs))
    assert len(lost) == pair.link.forward.lost == pair.a.drops["lost on link"]
    assert stats.binomtest(len(lost), count, loss).pvalue > 0.001
    runs = sum(b == a + 1 for a, b in pairwise(lost))  # both of two neighbours lost
    assert stats.binomtest(runs, len(lost), loss).pvalue > 0.001


def test_loss_can_be_set_back_to_zero() -> None:
    """mininet#881: there it cannot."""
    pair = Pair(LinkParams(rate_bps=None, loss=1.0))
    pair.send()
    pair.link.forward.configure(loss=0.0)
    pair.send()
    pair.sim.run(LATER)
    assert len(pair.ear.packets) == 1


@pytest.mark.parametrize(
    ("jitter", "law"),
    [
        (Uniform(0, 10**7), stats.uniform(0, 10**7)),
        (Exponential(10**6), stats.expon(0, 10**6)),
        (Normal(10**8, 10**6), stats.norm(10**8, 10**6)),
    ],
)
def test_jitter_on_the_link_has_its_distribution(jitter: Uniform, law: object) -> None:
    count, gap = 4000, 10**10
    pair = Pair(LinkParams(rate_bps=None, delay_ns=1000, jitter=jitter))
    for seq in range(count):
        pair.send_at(seq * gap, 60, seq)
    pair.sim.run(count * gap * 2)
    extra = [at - seq * gap - 1000 for at, seq in zip(pair.ear.times, pair.ear.seqs, strict=True)]
    assert len(extra) == count
    assert stats.kstest(extra, law.cdf).pvalue > 0.001  # type: ignore[attr-defined]


def test_uniform_jitter_takes_every_value_equally_often() -> None:
    rng, jitter = random.Random(3), Uniform(5, 14)
    draws = [jitter.draw(rng) for _ in range(10_000)]
    assert set(draws) == set(range(5, 15))
    assert stats.chisquare([draws.count(value) for value in range(5, 15)]).pvalue > 0.001


JITTERS = st.one_of(
    st.builds(Uniform, st.just(0), st.integers(1, 10**7)),
    st.builds(Exponential, st.integers(1, 10**7)),
    st.builds(Normal, st.integers(0, 10**7), st.integers(1, 10**7)),
)


@given(JITTERS, st.lists(st.integers(0, 10**6), min_size=2, max_size=40), st.integers(0, 2**32))
def test_jitter_never_reorders_unless_told(jitter: Uniform, gaps: list[int], seed: int) -> None:
    pair = Pair(replace(SLOW, jitter=jitter, queue=ENDLESS), seed=seed)
    send_apart(pair, gaps)
    assert pair.ear.seqs == list(range(len(gaps)))
    assert pair.ear.times == sorted(pair.ear.times)


@given(JITTERS, st.lists(st.integers(0, 10**6), min_size=2, max_size=40), st.integers(0, 2**32))
def test_reordering_loses_nothing_and_keeps_time(jitter: Uniform, gaps: list[int], seed: int) -> None:
    pair = Pair(replace(SLOW, jitter=jitter, reorder=True, queue=ENDLESS), seed=seed)
    send_apart(pair, gaps)
    assert sorted(pair.ear.seqs) == list(range(len(gaps)))
    assert pair.ear.times == sorted(pair.ear.times)


def test_reordering_happens_when_allowed() -> None:
    pair = Pair(replace(SLOW, jitter=Uniform(0, 10**7), reorder=True))
    send_apart(pair, [1000] * 50)
    assert pair.ear.seqs != list(range(50))


def test_a_shorter_delay_does_not_overtake_what_is_under_way() -> None:
    pair = Pair(replace(SLOW, delay_ns=NS_PER_S))
    pair.send(100, 0)
    pair.link.forward.configure(delay_ns=0)
    pair.send(100, 1)
    pair.sim.run(LATER)
    assert pair.ear.seqs == [0, 1]
    assert pair.ear.times == [NS_PER_S + 100_000] * 2


def test_a_new_rate_counts_from_the_next_packet() -> None:
    pair = Pair(SLOW)
    pair.send(100)
    pair.link.forward.configure(rate_bps=16_000_000)
    pair.send(100)
    pair.sim.run(LATER)
    assert pair.ear.times == [1_100_000, 1_150_000]


def test_a_cut_link_drops_what_waits_and_what_travels() -> None:
    pair = Pair(SLOW)
    for seq in range(5):
        pair.send(1000, seq)
    pair.sim.at(2_500_000, lambda _: pair.link.set_up(False))  # 1 arrived at 2 ms, 2 would arrive at 3 ms
    pair.send_at(3_000_000, 100, 5)
    pair.sim.at(4_000_000, lambda _: pair.link.set_up(True))
    pair.send_at(5_000_000, 100, 6)
    pair.sim.run(LATER)
    assert pair.ear.seqs == [0, 6]
    assert pair.ear.times[-1] == 6_100_000
    assert pair.a.drops == {"link down": 4, "no route": 1}


def test_a_port_that_goes_down_lets_what_has_left_travel_on() -> None:
    pair = Pair(SLOW)
    for seq in range(3):
        pair.send(1000, seq)
    pair.sim.at(1_500_000, lambda _: pair.pa.set_up(False))
    pair.sim.run(LATER)
    assert pair.ear.seqs == [0]
    assert pair.a.drops == {"port down": 2}


def test_a_port_that_is_down_takes_nothing_in() -> None:
    pair = Pair(SLOW)
    pair.send()
    pair.pb.set_up(False)
    pair.sim.run(LATER)
    assert pair.ear.packets == []
    assert pair.b.drops == {"port down": 1}


def test_taps_see_the_last_bit_leave_and_arrive() -> None:
    pair = Pair(SLOW)
    seen: list[tuple[str, int, int, bool]] = []
    for port in (pair.pa, pair.pb):
        port.tap = lambda port, data, at, outbound: seen.append((repr(port), len(data), at, outbound))
    pair.send(100)
    pair.send(200)
    pair.sim.run(LATER)
    assert seen == [
        ("a:eth", 100, 100_000, True),
        ("a:eth", 200, 300_000, True),
        ("b:eth", 100, 1_100_000, False),
        ("b:eth", 200, 1_300_000, False),
    ]


def test_a_tap_sees_what_is_lost_on_the_link_but_not_what_never_left() -> None:
    pair = Pair(replace(SLOW, loss=1.0, queue=QueueLimit(packets=1)))
    seen: list[int] = []
    pair.pa.tap = lambda _port, _data, at, _outbound: seen.append(at)
    for _ in range(3):
        pair.send(1000)  # the third finds the queue full
    pair.sim.at(1_500_000, lambda _: pair.link.set_up(False))
    pair.sim.run(LATER)
    assert seen == [1_000_000]


def test_a_tap_changes_nothing_but_is_told() -> None:
    params = replace(SLOW, loss=0.2, jitter=Exponential(NS_PER_MS), reorder=True)
    plain, tapped = Pair(params), Pair(params)
    for port in (tapped.pa, tapped.pb):
        port.tap = lambda *_: None
    for pair in (plain, tapped):
        send_apart(pair, [50_000] * 200)
    assert plain.ear.seqs == tapped.ear.seqs
    assert plain.ear.times == tapped.ear.times


@pytest.mark.parametrize(
    "wrong",
    [{"rate_bps": 0}, {"delay_ns": -1}, {"loss": 1.5}, {"loss": -0.1}, {"mtu": 67}, {"mtu": 65536}],
)
def test_impossible_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="link's"):
        LinkParams(**wrong)  # type: ignore[arg-type]


def send_apart(pair: Pair, gaps: list[int]) -> None:
    at = 0
    for seq, gap in enumerate(gaps):
        at += gap
        pair.send_at(at, 60, seq)
    pair.sim.run(LATER)


def swap(data: bytearray) -> bytearray:
    """The same datagram the other way; all checksums stay right."""
    data[12:16], data[16:20] = data[16:20], data[12:16]
    return data
