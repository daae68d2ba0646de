"""Losses, outages, reordering and delays from known sequences."""

from __future__ import annotations

import statistics
from itertools import groupby, pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.traffic.outages import Outage
from sim.traffic.record import Drop, FlowRecord
from tests.traffic.line import MS, S

DELAY = 20 * MS


def test_nothing_lost_is_no_outage() -> None:
    record = _record(10)
    assert (record.sent, record.received, record.lost(), record.outages(S)) == (10, 10, 0, [])
    assert set(record.latencies()) == {DELAY}


@pytest.mark.parametrize("count", [1, 2])
def test_less_than_three_lost_in_a_row_is_no_outage(count: int) -> None:
    record = _record(20, lost=set(range(5, 5 + count)) | {10, 12, 14})
    assert record.lost() == count + 3
    assert record.outages(S) == []


def test_an_outage_lasts_from_the_last_arrival_to_the_next() -> None:
    record = _record(20, lost={5, 6, 7, 8})
    assert record.outages(S) == [Outage(_arrival(4), _arrival(9), 4, 5, 8)]


def test_an_outage_at_the_start_begins_with_the_first_packet() -> None:
    record = _record(20, lost={0, 1, 2})
    assert record.outages(S) == [Outage(0, _arrival(3), 3, 0, 2)]


def test_an_outage_without_end_lasts_to_the_end_of_the_run() -> None:
    record = _record(20, lost=set(range(10, 20)))
    assert record.outages(S) == [Outage(_arrival(9), S, 10, 10, 19)]


def test_a_flow_that_never_arrives_is_one_outage() -> None:
    record = _record(5, lost=set(range(5)))
    assert record.lost() == 5
    assert record.outages(S) == [Outage(0, S, 5, 0, 4)]


def test_what_is_still_under_way_is_not_lost() -> None:
    record = _record(10, lost={3, 8, 9})
    assert (record.in_flight({8, 9}), record.lost({8, 9}), record.outages(S, {8, 9})) == (2, 1, [])
    assert (record.in_flight({9}), record.lost({9})) == (1, 2)


def test_what_arrived_before_its_duplicate_is_not_in_flight() -> None:
    record = _record(10)
    assert (record.in_flight({4, 5}), record.lost({4, 5})) == (0, 0)


def test_a_packet_that_lost_a_fragment_is_lost_while_another_travels() -> None:
    record = _record(10, lost={9})
    record.drop(9, S, "core", "lost on link")
    assert (record.in_flight({9}), record.lost({9})) == (0, 1)


def test_a_packet_that_was_damaged_is_lost() -> None:
    record = _record(10, lost={9})
    record.damaged += 1
    assert (record.sent, record.received, record.lost(), record.in_flight()) == (10, 9, 1, 0)


def test_packets_in_flight_do_not_split_a_row() -> None:
    """What arrives on a quicker way does not hide that the others are lost."""
    record = _record(20, lost=set(range(14, 20)))
    assert record.outages(S, {16, 19}) == [Outage(_arrival(13), S, 4, 14, 18)]


def test_a_reordered_packet_that_came_in_between_ends_the_silence() -> None:
    """The neighbours of the row came long before and long after; others arrived closer to it."""
    record = FlowRecord("x")
    for seq in range(12):
        record.send(seq * 10 * MS, 100)
    for seq, at in [(0, 10), (3, 20), (1, 30), (2, 40), (8, 140), (10, 145), (9, 150), (7, 160)]:
        record.receive(seq, at * MS, 100)
    assert record.outages(170 * MS, {11}) == [Outage(40 * MS, 140 * MS, 3, 4, 6)]


def test_no_outage_while_overtaking_packets_keep_arriving() -> None:
    """Three are lost in a row, but the others kept coming."""
    record = FlowRecord("x")
    for seq in range(60):
        record.send(seq * 10 * MS, 100)
    arrivals = [((seq * 10 + seq * 37 % 61 * 5 + 100) * MS, seq) for seq in range(60)]
    for at, seq in sorted(arrivals):
        if seq not in (20, 21, 22):
            record.receive(seq, at, 100)
    assert (record.lost(), record.reordered > 20) == (3, True)
    assert record.outages(S) == []


def test_what_is_usual_is_learnt_from_the_time_before() -> None:
    """A pause of all packets, none of them lost, says nothing of an outage long before it."""
    calm, stalled = _overtaking(stall=False), _overtaking(stall=True)
    (outage,) = calm.outages(6 * S)
    assert (outage.first, outage.packets) == (200, 20)
    assert stalled.lost() == 20
    assert stalled.outages(6 * S) == [outage]


def _overtaking(*, stall: bool) -> FlowRecord:
    """500 packets that overtake each other; 20 are lost in a row, 50 may wait for one another."""
    record = FlowRecord("x")
    for seq in range(500):
        record.send(seq * 10 * MS, 100)
    arrivals = [((seq * 10 + seq * 37 % 61 + 100) * MS, seq) for seq in range(500) if not 200 <= seq < 220]
    held = range(350, 400) if stall else ()
    for at, seq in sorted((max(at, 4100 * MS) if seq in held else at, seq) for at, seq in arrivals):
        record.receive(seq, at, 100)
    return record


def test_two_rows_of_one_silence_are_one_outage() -> None:
    """The one packet between them was quick enough: 2, 3 and 4 were due after it, too."""
    record = FlowRecord("x")
    for seq in range(12):
        record.send(seq * 10 * MS, 100)
    for seq, at in [(0, 50), (5, 55), (1, 60), (9, 200), (10, 210), (11, 220)]:
        record.receive(seq, at * MS, 100)
    assert record.outages(S) == [Outage(60 * MS, 200 * MS, 6, 2, 8)]


def test_the_drops_of_an_outage_are_those_of_its_packets() -> None:
    record = _record(20, lost={1, 5, 6, 7, 8})
    for seq in (1, 7, 6, 5, 8):
        record.drop(seq, (100 + seq) * MS, "core", "lost on link" if seq < 8 else "queue full")
    (outage,) = record.outages(S)
    assert record.drops(outage) == [
        *(Drop((100 + seq) * MS, "core", "lost on link") for seq in (5, 6, 7)),
        Drop(108 * MS, "core", "queue full"),
    ]


LOOK_BACK, AT_LEAST = 6, 3
"""Fewer than outside of this test, so that its short flows have a time before and a time after."""

FATES = st.lists(
    st.tuples(st.integers(0, 30), st.one_of(st.integers(0, 90), st.sampled_from(["lost", "under way"]))),
    min_size=1,
    max_size=40,
)
"""Of each packet the time since the one before, and its delay or what became of it."""


@given(FATES)
def test_the_outages_are_those_of_the_definition(fates: list[tuple[int, int | str]]) -> None:
    record, under_way, end = _played(fates)
    with patch.multiple("sim.traffic.outages", LOOK_BACK=LOOK_BACK, AT_LEAST=AT_LEAST):
        outages = record.outages(end, under_way)
    assert outages == _by_definition(record, under_way, end)
    assert record.sent == record.received + record.lost(under_way) + record.in_flight(under_way)
    arrivals = [at for at in record.received_at if at >= 0]
    for outage in outages:
        assert not [at for at in arrivals if outage.from_at < at < outage.to_at]
        assert outage.from_at in arrivals or outage.from_at == record.sent_at[0]
        assert outage.to_at in arrivals or outage.to_at == end
    for before, after in pairwise(outages):
        assert before.to_at <= after.from_at


def _played(fates: list[tuple[int, int | str]]) -> tuple[FlowRecord, set[int], int]:
    record, under_way, now = FlowRecord("x"), set[int](), 0
    arrivals = []
    for pause, fate in fates:
        now += pause
        seq = record.send(now, 100)
        if isinstance(fate, int):
            arrivals.append((now + fate, seq))
        elif fate == "under way":
            under_way.add(seq)
    for at, seq in sorted(arrivals):
        record.receive(seq, at, 100)
    return record, under_way, max([now, *record.received_at]) + 5


def _by_definition(record: FlowRecord, under_way: set[int], end: int) -> list[Outage]:
    """The text of `sim.traffic.outages`, one packet and one instant at a time."""
    sent, received = record.sent_at, record.received_at
    settled = [seq for seq in range(record.sent) if received[seq] >= 0 or seq not in under_way]
    arrived = [seq for seq in settled if received[seq] >= 0]
    delays = [received[seq] - sent[seq] for seq in arrived] or [0]
    instants = sorted({sent[0], end, *(received[seq] for seq in arrived)})
    median = int(statistics.median(delays))
    due = {(a, b): sum(a <= sent[seq] + median < b for seq in settled) for a, b in pairwise(instants)}
    rows = [
        [seq for _, seq in group]
        for lost, group in groupby(enumerate(settled), key=lambda item: received[item[1]] < 0)
        if lost
    ]
    rows = [row for row in rows if len(row) >= 3]

    def reach(row: list[int]) -> list[tuple[int, int]]:
        low, high = sent[row[0]] + min(delays), sent[row[-1]] + max(delays)
        return [(a, b) for a, b in due if b > low and a < high]

    covered = {cell for row in rows for cell in reach(row)}
    quiet = [cell for cell in list(due)[:-1] if cell not in covered]

    def usual(row: list[int]) -> int:
        before = [cell for cell in quiet if cell < reach(row)[0]]
        compared = before[-LOOK_BACK:] if len(before) >= AT_LEAST else quiet[:AT_LEAST]
        return max((due[cell] for cell in compared), default=0)

    merged: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        spread = max(delays) - min(delays)
        near = [s for s in arrived if sent[row[0]] - spread <= sent[s] <= sent[row[-1]] + spread]
        if any(received[s] > received[later] for s in near for later in arrived if later > s):
            cells = reach(row)
            best = max(cells, key=lambda c: (due[c], c[1] - c[0], -c[0]), default=None)
            if best is None or due[best] < max(3, 2 * usual(row)):
                continue
        else:
            before = [received[s] for s in arrived if s < row[0]][-1:] or [sent[0]]
            after = [received[s] for s in arrived if s > row[-1]][:1] or [end]
            best = before[0], after[0]
            if before[0] >= after[0]:
                continue
        merged.setdefault(best, []).extend(row)
    return [Outage(*times, len(row), min(row), max(row)) for times, row in sorted(merged.items())]


def test_reordering_counts_the_packets_that_come_after_a_later_one() -> None:
    """RFC 4737 3.3 and its example: of 1 2 3 4 5 6 7 8 arriving as 1 2 5 3 4 6 8 7, three are reordered."""
    record = FlowRecord("x")
    for now in range(8):
        record.send(now, 100)
    for at, seq in enumerate([0, 1, 4, 2, 3, 5, 7, 6], 100):
        record.receive(seq, at, 100)
    assert (record.received, record.reordered) == (8, 3)


def test_a_duplicate_counts_once() -> None:
    record = _record(3)
    record.receive(1, S, 100)
    assert (record.received, record.duplicates, record.octets_received) == (3, 1, 300)
    assert record.received_at[1] == _arrival(1)


def test_goodput_is_what_arrived_over_the_time_of_sending() -> None:
    record = _record(100, lost=set(range(0, 100, 10)))
    record.period = 0, S
    assert record.goodput_bps() == 90 * 100 * 8
    assert FlowRecord("idle").goodput_bps() == 0


def test_a_single_moment_has_no_goodput() -> None:
    record = FlowRecord("one", (5, 6))
    record.receive(record.send(5, 100), 7, 100)
    assert record.goodput_bps() is None


def _record(count: int, lost: set[int] | None = None) -> FlowRecord:
    """A packet of 100 octets every 10 ms, which takes 20 ms, or for ever."""
    record = FlowRecord("x")
    for seq in range(count):
        record.send(seq * 10 * MS, 100)
        if seq not in (lost or ()):
            record.receive(seq, _arrival(seq), 100)
    return record


def _arrival(seq: int) -> int:
    return seq * 10 * MS + DELAY
