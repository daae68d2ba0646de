"""Losses, outages, reordering and delays from known sequences."""

from __future__ import annotations

import pytest

from sim.traffic.record import FlowRecord, Outage
from tests.traffic.line import MS, S

DELAY = 20 * MS


def test_nothing_lost_is_no_outage() -> None:
    record = _record(10)
    assert (record.sent, record.received, record.lost(S), record.outages(S)) == (10, 10, 0, [])
    assert set(record.latencies()) == {DELAY}


@pytest.mark.parametrize("count", [1, 2])
def test_less_than_three_lost_in_a_row_is_no_outage(count: int) -> None:
    record = _record(20, lost=set(range(5, 5 + count)) | {10, 12, 14})
    assert record.lost(S) == count + 3
    assert record.outages(S) == []


def test_an_outage_lasts_from_the_last_arrival_to_the_next() -> None:
    record = _record(20, lost={5, 6, 7, 8})
    assert record.outages(S) == [Outage(_arrival(4), _arrival(9), 4)]


def test_an_outage_at_the_start_begins_with_the_first_packet() -> None:
    record = _record(20, lost={0, 1, 2})
    assert record.outages(S) == [Outage(0, _arrival(3), 3)]


def test_an_outage_without_end_lasts_to_the_end_of_the_run() -> None:
    record = _record(20, lost=set(range(10, 20)))
    assert record.outages(S) == [Outage(_arrival(9), S, 10)]


def test_a_flow_that_never_arrives_is_one_outage() -> None:
    record = _record(5, lost=set(range(5)))
    assert record.lost(S) == 5
    assert record.outages(S) == [Outage(0, S, 5)]


def test_what_is_still_under_way_is_not_lost() -> None:
    """The last packets left less than the longest delay before the end."""
    record = _record(10, lost={8, 9})
    end = 8 * 10 * MS + DELAY
    assert (record.in_flight(end), record.lost(end), record.outages(end)) == (2, 0, [])
    assert (record.in_flight(end + 1), record.lost(end + 1)) == (1, 1)


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
