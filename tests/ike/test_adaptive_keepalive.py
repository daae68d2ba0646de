"""Keepalives as rare as the NAT allows (RFC 3948 4, RFC 5780 4.6), and what they count."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ike.context import Datagram
from sim.ike.events import KeepaliveSent, PathChanged
from sim.ike.mapping_life import MappingLife
from sim.units import NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NatBox, Pair, Used

FIRST = 20 * NS_PER_S
ADAPTIVE = replace(CONNECTION_A, keepalive=FIRST, keepalive_adaptive=True)


class ForgetfulNat(NatBox):
    """Forgets the mapping after `timeout` without a packet from inside; the next one gets another port."""

    def __init__(self, pair: Pair, timeout: int) -> None:
        super().__init__(pair)
        self.timeout, self.used_at = timeout, 0

    def __call__(self, datagram: Datagram) -> Datagram | None:
        idle = self.pair.now - self.used_at
        if idle > self.timeout:
            self.mappings.clear()
        if datagram.src[0] in self.pair.a.addresses:
            self.used_at = self.pair.now
        return super().__call__(datagram)


@pytest.mark.parametrize("mobike", [True, False])
@pytest.mark.parametrize("seconds", [25, 30, 45, 60, 90, 100])
def test_it_converges_below_what_the_nat_keeps(seconds: int, mobike: bool) -> None:
    pair = Pair(replace(ADAPTIVE, mobike=mobike), replace(CONNECTION_B, mobike=mobike))
    nat = ForgetfulNat(pair, seconds * NS_PER_S)
    pair.establish()
    pair.drive(3600 * NS_PER_S)
    interval = _interval(pair)
    assert 0.8 * seconds * NS_PER_S <= max(interval, 0.8 * seconds * NS_PER_S) < seconds * NS_PER_S
    assert interval >= max(FIRST, 0.75 * seconds * NS_PER_S)
    ports = nat.next_port
    pair.drive(7200 * NS_PER_S)
    assert nat.next_port == ports, "from then on the mapping stays"


def test_rfc4787_req5_a_nat_that_keeps_more_is_tried_no_further_than_the_limit() -> None:
    pair = Pair(ADAPTIVE, CONNECTION_B)
    ForgetfulNat(pair, 3600 * NS_PER_S)
    pair.establish()
    pair.drive(3600 * NS_PER_S)
    assert _interval(pair) == 110 * NS_PER_S * 15 // 16
    gaps = _gaps(pair)
    assert max(gaps) <= 110 * NS_PER_S + NS_PER_S


def test_a_peer_that_says_nothing_of_where_it_sees_us_gets_the_fixed_interval() -> None:
    pair = Pair(replace(ADAPTIVE, mobike=False), replace(CONNECTION_B, mobike=False))
    NatBox(pair)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.ike.tasks.mobike.has_natd", lambda received: False)
        pair.establish()
        pair.drive(1000 * NS_PER_S)
    assert _interval(pair) == FIRST
    assert set(_gaps(pair)[2:]) == {FIRST}


def test_another_nat_is_measured_anew() -> None:
    pair = Pair(ADAPTIVE, CONNECTION_B)
    nat = ForgetfulNat(pair, 100 * NS_PER_S)
    pair.establish()
    pair.drive(1800 * NS_PER_S)
    assert _interval(pair) > 60 * NS_PER_S
    pair.a_addr = b"\xc0\0\2\x63"
    pair.settle()
    assert _interval(pair) == FIRST
    nat.timeout = 40 * NS_PER_S
    pair.drive(1800 * NS_PER_S)
    assert 30 * NS_PER_S <= _interval(pair) < 40 * NS_PER_S


def test_a_nat_that_becomes_shorter_is_found_out() -> None:
    """One keepalive in ten is a question; what is lost within the safe time begins the search anew."""
    pair = Pair(ADAPTIVE, CONNECTION_B)
    nat = ForgetfulNat(pair, 100 * NS_PER_S)
    pair.establish()
    pair.drive(1800 * NS_PER_S)
    nat.timeout = 30 * NS_PER_S
    pair.drive(3600 * NS_PER_S)
    assert _interval(pair) < 30 * NS_PER_S


def test_what_was_found_out_holds_after_a_rekeying() -> None:
    pair = Pair(ADAPTIVE, CONNECTION_B)
    ForgetfulNat(pair, 100 * NS_PER_S)
    pair.establish()
    pair.drive(1800 * NS_PER_S)
    before = _interval(pair)
    (sa,) = pair.a.endpoint.sas
    pair.a.endpoint.rekey_ike(sa.ike_id, pair.now)
    pair.a.pump(pair.now)
    pair.settle()
    assert _interval(pair) == before > FIRST


def test_c65_nothing_is_tried_while_something_else_is_sent() -> None:
    pair = Pair(ADAPTIVE, CONNECTION_B)
    NatBox(pair)
    pair.establish()
    spi = next(iter(pair.a.children))
    use = pair.a.uses[spi] = Used()
    for _ in range(400):
        use.last_out_at = pair.now
        pair.drive(5 * NS_PER_S)
    assert not pair.a.all(KeepaliveSent)


def test_what_comes_from_the_peer_makes_a_trial_worthless() -> None:
    """It may have refreshed the mapping, so that outliving the time says nothing."""
    pair = Pair(ADAPTIVE, CONNECTION_B)
    NatBox(pair)
    pair.establish()
    use = pair.a.uses[next(iter(pair.a.children))] = Used()
    for _ in range(400):
        use.last_in_at = pair.now
        pair.drive(5 * NS_PER_S)
    assert _interval(pair) == FIRST


def test_octets_and_wake_ups_are_counted() -> None:
    pair = Pair(replace(CONNECTION_A, keepalive=FIRST, radio_tail=10 * NS_PER_S), CONNECTION_B)
    NatBox(pair)
    pair.establish()
    pair.drive(100 * NS_PER_S)
    sent = pair.a.all(KeepaliveSent)
    assert len(sent) == 5 - 1 + (pair.a.times(KeepaliveSent)[-1] == pair.now)
    assert {(one.size, one.woke, one.probe) for one in sent} == {(29, True, False)}


def test_a_keepalive_while_the_radio_is_awake_wakes_nothing() -> None:
    pair = Pair(replace(CONNECTION_A, keepalive=FIRST, radio_tail=20 * NS_PER_S), CONNECTION_B)
    NatBox(pair)
    pair.establish()
    pair.drive(100 * NS_PER_S)
    assert not any(one.woke for one in pair.a.all(KeepaliveSent))


def test_a_probe_counts_as_both_of_its_messages() -> None:
    pair = Pair(ADAPTIVE, CONNECTION_B)
    NatBox(pair)
    pair.establish()
    pair.drive(25 * NS_PER_S)
    (probe,) = pair.a.all(KeepaliveSent)
    wire = [one.datagram for one in pair.sent[-2:]]
    assert probe.probe
    assert probe.size == sum(len(datagram.data) + 28 for datagram in wire)


def test_the_fixed_policy_is_as_before() -> None:
    pair = Pair(replace(ADAPTIVE, keepalive_adaptive=False), CONNECTION_B)
    ForgetfulNat(pair, 3600 * NS_PER_S)
    pair.establish()
    pair.drive(600 * NS_PER_S)
    assert set(_gaps(pair)[1:]) == {FIRST}
    assert not pair.a.all(PathChanged)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 10_000))
def test_the_search_ends_below_the_life_of_any_mapping(first: int, limit: int, life: int) -> None:
    found = MappingLife(first * NS_PER_S, limit * NS_PER_S)
    for _ in range(60):
        trial = found.trial
        if not trial:
            break
        assert found.outlived < trial <= max(limit, first) * NS_PER_S
        (found.lost if trial > life * NS_PER_S else found.survived)(trial)
    assert not found.trial
    assert found.settled <= max(first, min(life, limit)) * NS_PER_S


def _interval(pair: Pair) -> int:
    return pair.a.endpoint.keepalive_interval(pair.a.endpoint.sas[0].ike_id)


def _gaps(pair: Pair) -> list[int]:
    times = [sent.at for sent in pair.sent if sent.side == "a"]
    return [after - before for before, after in pairwise(times[1:])]
