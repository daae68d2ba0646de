"""Pacing: nothing runs before its time, what is late is counted, and a descriptor wakes the loop."""

from __future__ import annotations

import asyncio
import os

import pytest

from sim.live.paced import SLICE_NS, PacedLoop, Pacer, run_precisely
from sim.net.engine import Simulation
from sim.units import NS_PER_MS, NS_PER_S


class Clock:
    def __init__(self) -> None:
        self.now = 1000

    def __call__(self) -> int:
        return self.now


def paced(end: int, *instants: int) -> tuple[Pacer, Clock, list[int]]:
    sim, clock, ran = Simulation(), Clock(), list[int]()
    for at in instants:
        sim.at(at, ran.append)
    pacer = Pacer(sim, end, clock)
    return pacer, clock, ran


def test_an_event_runs_when_its_time_has_passed_and_not_before() -> None:
    pacer, clock, ran = paced(100, 10, 20)
    clock.now += pacer.due_at - 1
    pacer.advance()
    assert ran == []
    clock.now += 1
    assert (pacer.advance(), ran) == (11, [10])
    assert pacer.due_at == 21


def test_what_runs_late_is_noted_with_its_delay() -> None:
    pacer, clock, ran = paced(NS_PER_S, 0, 5 * NS_PER_MS)
    clock.now += 20 * NS_PER_MS
    pacer.advance()
    assert ran == [0, 5 * NS_PER_MS]
    assert (pacer.lateness.count, pacer.lateness.largest) == (2, 20 * NS_PER_MS)
    assert pacer.lateness.row()["over_10_ms"] == 2


def test_who_is_far_behind_catches_up_in_slices() -> None:
    """Else each stretch of work would be longer than the one before, and nothing could interrupt it."""
    sim, clock, ran = Simulation(), Clock(), list[int]()

    def work(_now: int) -> None:
        clock.now += SLICE_NS // 4
        ran.append(_now)

    for at in range(100):
        sim.at(at, work)
    pacer = Pacer(sim, NS_PER_S, clock)
    clock.now += 1000
    pacer.advance()
    assert 4 <= len(ran) <= 6
    assert pacer.due_at <= pacer.now, "it wants to go on at once"
    for _ in range(100):
        pacer.advance()
    assert ran == list(range(100))


def test_events_at_the_end_do_not_run_as_in_a_run_without_pace() -> None:
    pacer, clock, ran = paced(100, 99, 100)
    clock.now += 1000
    pacer.advance()
    assert (ran, pacer.finished, pacer.sim.now) == ([99], True, 100)


def test_time_that_stands_still_or_passed_while_events_ran_never_runs_backwards() -> None:
    pacer, clock, _ = paced(100, 10)
    clock.now += 50
    assert pacer.advance() == 50
    assert pacer.advance() == 50
    clock.now -= 10
    assert pacer.advance() == 50


def test_a_descriptor_wakes_the_loop_long_before_the_next_timer() -> None:
    sim = Simulation()
    reader, writer = os.pipe()
    heard: list[int] = []

    def poke(_now: int) -> None:
        os.write(writer, b"x")

    async def main() -> None:
        pacer = Pacer(sim, 30 * NS_PER_S)
        loop = PacedLoop(pacer)

        def read() -> None:
            os.read(reader, 1)
            now = pacer.advance()
            heard.append(now)
            sim.at(now + NS_PER_MS, lambda _: loop.stop())

        asyncio.get_running_loop().add_reader(reader, loop.call, read)
        sim.at(NS_PER_MS, poke)
        await loop.run()

    run_precisely(main())
    os.close(reader)
    os.close(writer)
    assert heard[0] >= NS_PER_MS
    assert sim.now < 30 * NS_PER_S


def test_an_error_of_an_event_ends_the_run_and_is_raised() -> None:
    sim = Simulation()

    def fail(_now: int) -> None:
        raise ValueError("of an event")

    async def main() -> None:
        sim.at(0, fail)
        await PacedLoop(Pacer(sim, NS_PER_S)).run()

    with pytest.raises(ValueError, match="of an event"):
        run_precisely(main())
