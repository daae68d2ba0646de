"""Loss events, rates and round trips (RFC 5348, RFC 9347 3 and Appendix B)."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.iptfs.losses import LossHistory, loss_rate, throughput
from sim.ipsec.iptfs.path import TunnelPath
from sim.ipsec.iptfs.tfrc import RateControl
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import aggfrag
from sim.wire.aggfrag import CongestionInfo, Requirement
from tests.ipsec.iptfs.tunnel import Tunnel, drain
from tests.ipsec.pair import SPI_B, datagram

RTT = 100 * NS_PER_MS
STEP = 10 * NS_PER_MS


def arrive(numbers: list[int], *, rtt: int = RTT, marked: frozenset[int] = frozenset()) -> LossHistory:
    """A packet each STEP, of which some are missing."""
    history = LossHistory()
    for number in numbers:
        history.arrived(number, number * STEP, rtt, number in marked)
    return history


def test_no_loss_is_told_as_0() -> None:
    assert arrive([*range(1, 100)]).loss_interval == 0


def test_losses_within_one_round_trip_are_one_event() -> None:
    """RFC 5348 5.2: ten steps are a round trip, so 100 and 105 count once, 100 and 120 twice."""
    once = arrive([n for n in range(1, 2000) if n not in (1000, 1005)])
    single = arrive([n for n in range(1, 2000) if n != 1000])
    twice = arrive([n for n in range(1, 2000) if n not in (1000, 1020)])
    assert once.loss_interval == single.loss_interval
    assert twice.loss_interval < once.loss_interval


def test_the_interval_is_the_weighted_mean_of_rfc_5348_5_4() -> None:
    """Eight closed intervals of known length, and the open one, which counts only if it is longer."""
    starts = [1000, 1100, 1300, 1600, 2000, 2500, 3100, 3800, 4600]
    closed = [after - before for before, after in pairwise(starts)][::-1]
    weights = [1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    for end, opened in ((4700, 100), (9600, 5000)):
        history = arrive([n for n in range(1, end) if n not in starts])
        mean_closed = sum(i * w for i, w in zip(closed, weights, strict=True)) / 6
        with_open = [opened, *closed[:7]]
        mean_open = sum(i * w for i, w in zip(with_open, weights, strict=True)) / 6
        assert history.loss_interval == round(max(mean_closed, mean_open))


def test_the_first_interval_is_what_half_the_best_rate_would_suffer() -> None:
    """RFC 5348 6.3.1: slow start overshot by two; 100 packets/s were received."""
    history = arrive([n for n in range(1, 1001) if n != 1000])
    history.arrived(1001, 1001 * STEP, RTT, False)
    expected = 1 / loss_rate(50, RTT / NS_PER_S)
    assert history.loss_interval == pytest.approx(expected, rel=0.15)


def test_a_congestion_mark_is_a_loss_that_sets_the_e_bit() -> None:
    """RFC 9347 3.1."""
    marked = arrive([*range(1, 1100)], marked=frozenset({1000}))
    assert marked.by_marks
    assert marked.loss_interval > 0
    assert not arrive([n for n in range(1, 1100) if n != 1000]).by_marks


def test_a_jump_of_billions_of_numbers_costs_no_time() -> None:
    history = arrive([1, 2])
    history.arrived(1 << 40, NS_PER_S, 1, False)
    assert history.loss_interval > 0


@given(st.floats(1e-6, 0.9), st.floats(0.001, 2))
def test_throughput_is_the_formula_and_loss_rate_its_inverse(p: float, rtt: float) -> None:
    """RFC 9347 Appendix B, with the root of RFC 5348 3.1 and t_RTO of 4 round trips."""
    t_rto = 4 * rtt
    expected = 1 / (rtt * sqrt(2 * p / 3) + t_rto * (3 * sqrt(3 * p / 8)) * p * (1 + 32 * p**2))
    assert throughput(p, rtt) == pytest.approx(expected)
    assert loss_rate(expected, rtt) == pytest.approx(p, rel=1e-6)


def test_slow_start_doubles_each_round_trip_up_to_what_is_allowed() -> None:
    control = RateControl(1000.0, 1500)
    assert control.rate == 1, "one packet a second until a round trip is known"
    control.heard(RTT, 0, NS_PER_S)
    assert control.rate == pytest.approx(29.2), "4380 octets a round trip (RFC 5348 4.2)"
    rates = []
    for n in range(1, 8):
        for part in range(4):  # four words of the peer in each round trip, one counts
            control.heard(RTT, 0, NS_PER_S + n * RTT + part * RTT // 4)
        rates.append(round(control.rate, 1))
    assert rates == [58.4, 116.8, 233.6, 467.2, 934.4, 1000, 1000]


def test_losses_bring_the_rate_to_the_formula_at_once() -> None:
    control = RateControl(10_000.0, 1500)
    control.heard(RTT, 0, 0)
    for n in range(1, 6):
        control.heard(RTT, 0, n * RTT)
    control.heard(RTT, 100, 5 * RTT + 1)
    assert control.rate == pytest.approx(throughput(0.01, 0.1))


def test_silence_of_four_round_trips_halves_the_rate() -> None:
    """The no-feedback timeout (RFC 9347 2.4.2); never below one packet in 64 s."""
    control = RateControl(1000.0, 1500)
    control.heard(RTT, 0, 0)
    before = control.rate
    control.check_silence(4 * RTT - 1)
    assert control.rate == before
    control.check_silence(4 * RTT)
    assert control.rate == before / 2
    for n in range(1, 60):
        control.check_silence(n * 1000 * NS_PER_S)
    assert control.rate == 1 / 64


def test_a_round_trip_is_what_was_echoed_less_the_delay_of_the_echo() -> None:
    a = TunnelPath(says=True, control=RateControl(1000.0, 1500))
    b = TunnelPath(says=True)
    sent = a.info(5 * NS_PER_S)
    assert sent is not None
    b.heard(sent, 5 * NS_PER_S + 30 * NS_PER_MS)
    b.heard(sent, 5 * NS_PER_S + 50 * NS_PER_MS)  # the same TVal again changes nothing
    answer = b.info(5 * NS_PER_S + 70 * NS_PER_MS)
    assert answer is not None
    assert (answer.t_echo, answer.echo_delay) == (sent.t_val, 40_000)
    a.heard(answer, 5 * NS_PER_S + 100 * NS_PER_MS)
    assert a.control is not None
    assert a.control.rtt == 60 * NS_PER_MS


def test_a_round_trip_is_never_shorter_than_both_intervals_of_sending() -> None:
    """RFC 9347 3: the second estimate, from the transmit delays."""
    path = TunnelPath(says=True, control=RateControl(1000.0, 1500))
    path.spacing = 200 * NS_PER_MS
    path.heard(CongestionInfo(t_val=1, t_echo=1_000_000, transmit_delay=300_000), NS_PER_S + NS_PER_MS)
    assert path.control is not None
    assert path.control.rtt == 500 * NS_PER_MS


def test_slow_start_is_not_held_up_by_the_intervals_of_its_own_beginning() -> None:
    """Both intervals are 1 s at first; as they shrink, so does the round trip they stand for (RFC 9347 3)."""
    control = RateControl(1000.0, 1500)
    now = 0
    while control.rate < 1000:
        now += control.interval
        control.heard(10 * NS_PER_MS, 0, now, 2 * control.interval)
    assert now < 5 * NS_PER_S


def test_a_successor_goes_on_at_the_rate_that_was_found() -> None:
    before, after = RateControl(1000.0, 1500), RateControl(1000.0, 1500)
    for n in range(4):
        before.heard(RTT, 0, n * RTT)
    after.inherit(before)
    assert (after.rate, after.rtt) == (before.rate, before.rtt)
    after.heard(RTT, 0, 4 * RTT)
    assert after.rate == 2 * before.rate, "and does not begin anew"


def test_whoever_is_asked_reports_even_if_it_has_nothing_to_send() -> None:
    """Bit C demands it once a round trip (RFC 9347 2.4.2, 6.1.4); an all-padding payload carries it."""
    tunnel = Tunnel(aggfrag=Requirement.CONGESTION_CONTROL)
    tunnel.send(datagram(100))
    (departure,) = tunnel.outers()
    tunnel.arrive(departure)
    reports = drain(tunnel.b, tunnel)
    assert len(reports) == 1
    tunnel.a.inbound(reports[0].outer, tunnel.now)
    payload = opened(tunnel, departure.outer)
    assert aggfrag.parse(payload).congestion is not None


def test_reports_of_both_sides_set_the_rate_of_a_sender() -> None:
    tunnel = Tunnel(l3_fixed_rate=10**7, congestion_control=True, aggfrag=Requirement.CONGESTION_CONTROL)
    assert tunnel.sender.interval == NS_PER_S, "one packet a second at first"
    for _ in range(200):
        for departure in drain(tunnel.a, tunnel, until=tunnel.now + 5 * NS_PER_MS):
            tunnel.arrive(departure)
        tunnel.now += 5 * NS_PER_MS
        tunnel.b.aggfrag.handle_timer(tunnel.now)
        for departure in list(tunnel.b.aggfrag.departures):
            tunnel.a.inbound(departure.outer, tunnel.now)
        tunnel.b.aggfrag.departures.clear()
    assert tunnel.sender.interval < NS_PER_S


def opened(tunnel: Tunnel, outer: bytearray) -> bytearray:
    """The plaintext of an outer packet, by keys alone."""
    spec = tunnel.pair.spec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key, salt = spec.keys_out[0][:-4], spec.keys_out[0][-4:]
    esp = bytes(outer[20:])
    assert int.from_bytes(esp[:4], "big") == SPI_B
    plain = AESGCM(key).decrypt(salt + esp[8:16], esp[16:], esp[:8])
    assert plain[-1] == 144
    return bytearray(plain[: -2 - plain[-2]])
