"""One clock over simpy: alarms, processes, and streams of randomness."""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.net.engine import Simulation


def test_run_stops_before_events_at_its_end_and_continues_there() -> None:
    sim = Simulation()
    seen: list[int] = []
    sim.at(10, seen.append)
    sim.run(10)
    assert (seen, sim.now) == ([], 10)
    sim.run(11)
    assert (seen, sim.now) == ([10], 11)


def test_time_does_not_run_backwards() -> None:
    sim = Simulation()
    sim.run(5)
    with pytest.raises(ValueError, match="before the present"):
        sim.run(4)
    with pytest.raises(ValueError, match="in the past"):
        sim.at(4, lambda _: None)


def test_simultaneous_events_come_in_the_order_of_their_scheduling() -> None:
    sim = Simulation()
    seen: list[str] = []
    for name in "abc":
        sim.at(7, lambda _, name=name: seen.append(name))  # type: ignore[misc]
    sim.run(8)
    assert seen == ["a", "b", "c"]


def test_an_alarm_goes_off_once_at_the_instant_that_was_set_last() -> None:
    sim = Simulation()
    seen: list[int] = []
    alarm = sim.alarm(seen.append)
    for at in (50, 90, 30, 70):
        alarm.arm(at)
    sim.run(100)
    assert seen == [70]


def test_a_cancelled_alarm_is_silent_until_armed_again() -> None:
    sim = Simulation()
    seen: list[int] = []
    alarm = sim.at(10, seen.append)
    alarm.cancel()
    sim.run(20)
    assert seen == []
    alarm.set(25)
    sim.run(30)
    assert seen == [25]


def test_an_alarm_that_arms_itself_ticks() -> None:
    sim = Simulation()
    seen: list[int] = []

    def tick(now: int) -> None:
        seen.append(now)
        alarm.arm(now + 10)

    alarm = sim.at(0, tick)
    sim.run(35)
    assert seen == [0, 10, 20, 30]


@given(st.lists(st.tuples(st.integers(0, 20), st.one_of(st.none(), st.integers(0, 30))), max_size=30))
def test_alarms_follow_a_naive_model(script: list[tuple[int, int | None]]) -> None:
    """Each step waits, then arms that far ahead, or cancels."""
    sim = Simulation()
    seen: list[int] = []
    alarm = sim.alarm(seen.append)
    expected, due = [], None
    for wait, ahead in script:
        until = sim.now + wait
        if due is not None and due < until:
            expected.append(due)
            due = None
        if wait:
            sim.run(until)
        due = None if ahead is None else until + ahead
        alarm.set(due)
    sim.run(1000)
    assert seen == expected + ([] if due is None else [due])


@pytest.mark.parametrize("own_loop", [True, False])
def test_simpy_processes_mix_with_alarms_under_either_loop(own_loop: bool) -> None:
    sim = Simulation()
    seen: list[tuple[str, int]] = []

    def process() -> Generator[Any, Any, None]:
        for _ in range(3):
            yield sim.env.timeout(10)
            seen.append(("process", sim.now))
            sim.at(sim.now + 1, lambda now: seen.append(("alarm", now)))

    sim.env.process(process())

    def early(now: int) -> None:
        seen.append(("early", now))
        sim.env.process(late())

    def late() -> Generator[Any, Any, None]:
        seen.append(("late", sim.now))
        yield sim.env.timeout(100)

    sim.at(10, early)
    if own_loop:
        sim.run(50)
    else:
        sim.env.run(50)
    assert seen == [
        ("early", 10),
        ("late", 10),
        ("process", 10),
        ("alarm", 11),
        ("process", 20),
        ("alarm", 21),
        ("process", 30),
        ("alarm", 31),
    ]


def test_a_failing_process_ends_the_run_with_its_error() -> None:
    sim = Simulation()

    def process() -> Generator[Any, Any, None]:
        yield sim.env.timeout(1)
        raise LookupError("broken script")

    sim.env.process(process())
    with pytest.raises(LookupError, match="broken script"):
        sim.run(10)


def test_streams_depend_on_seed_and_name_only() -> None:
    first = Simulation(7)
    first.rng("other").random()
    second = Simulation(7)
    assert first.rng("link:a").random() == second.rng("link:a").random()
    assert first.rng("link:a").random() != first.rng("link:b").random()
    assert first.rand("ike:a")(32) == second.rand("ike:a")(32) != Simulation(8).rand("ike:a")(32)


def test_streams_never_change_between_versions() -> None:
    """A seed in a paper must mean the same run for ever."""
    assert Simulation(1).rand("ike:moon")(8).hex() == "1d0cdcf639e58ffa"


def test_the_garbage_collector_is_as_before_after_a_run() -> None:
    """Also when something in the run raises; and whoever has switched it off meets it switched off."""
    before, seen = gc.get_threshold(), []
    sim = Simulation()
    sim.at(1, lambda now: seen.append(gc.get_threshold()))
    sim.run(2)
    assert gc.get_threshold() == before
    assert seen[0][0] > before[0]
    sim.at(3, _fail)
    with pytest.raises(ZeroDivisionError):
        sim.run(4)
    assert gc.get_threshold() == before


def test_a_garbage_collector_that_is_off_stays_off() -> None:
    before, seen = gc.get_threshold(), []
    sim = Simulation()
    sim.at(1, lambda now: seen.append(gc.get_threshold()))
    gc.set_threshold(0)
    try:
        sim.run(2)
        assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
    assert seen[0][0] == 0


def _fail(_now: int) -> None:
    raise ZeroDivisionError


def test_a_stream_of_octets_goes_on_however_many_others_there_are() -> None:
    """Its generator may be gone meanwhile; what it gives is what one generator would give."""
    sim, sizes = Simulation(7), [1, 8, 32, 0, 5, 4096, 3]
    names = [f"n{number}" for number in range(200)]
    streams = {name: sim.rand(name) for name in names}
    wanted = {name: sim.rng(name).randbytes for name in names}
    for size in sizes:
        for name in names:
            assert streams[name](size) == wanted[name](size)
