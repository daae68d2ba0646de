"""A simulation that keeps pace with the wall clock, woken by timers and by what it is told to read.

    asyncio: timer due ------+
             descriptor -----+-> advance: run what is due, note how late it is -> arm the timer for the next

Virtual time is the time since the start. It never runs ahead of the clock; when events take longer than
there is time, it falls behind, and `lateness` says by how much.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sim.live.lateness import Lateness
from sim.net.engine import Simulation
from sim.units import NS_PER_MS, NS_PER_S

T = TypeVar("T")

SLICE_NS = 20 * NS_PER_MS
"""For how long events run before packets and signals have their turn."""
_A_NAP_NS = 100_000  # a longer time between two callbacks was sleep, in which a packet would have woken us
_TIMER_SLACK = Path("/proc/self/timerslack_ns")


class Pacer:
    """Runs a simulation up to `end` (ns) as its time comes."""

    def __init__(self, sim: Simulation, end: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.sim = sim
        self.end = end
        self.lateness = Lateness()
        """Of the instants at which something was due: when it was done, less when it was due."""
        self._clock = clock
        self.started_at = clock()
        """The clock's reading at virtual time 0."""
        self.busy_since = 0
        """When the present stretch of work without sleep began, as time since the start (ns)."""

    def start(self) -> None:
        """Let virtual time 0 be now; once, before anything has run."""
        self.started_at = self._clock()

    @property
    def now(self) -> int:
        """The wall clock, as time since the start (ns)."""
        return self._clock() - self.started_at

    @property
    def finished(self) -> bool:
        return self.sim.now >= self.end

    @property
    def due_at(self) -> int:
        """When to call `advance` next, as time since the start (ns); an arrival may call it before."""
        at = self.sim.next_at
        return self.end if at is None else min(at + 1, self.end)

    def advance(self) -> int:
        """Run what was due before this moment, and return the virtual time reached.

        Where that takes longer than SLICE_NS, the rest is left for the next call: what waits meanwhile, such
        as packets and Ctrl-C, has its turn.
        """
        sim, began = self.sim, self.now
        until = max(min(began, self.end), sim.now)
        while (at := sim.next_at) is not None and at < until:
            now = self.now
            if now - began > SLICE_NS:
                return sim.now
            self.lateness.add(now - at)
            sim.run(at + 1)
        sim.run(until)
        return sim.now


class PacedLoop:
    """A pacer in the running asyncio loop, from `start` until its end or `stop`."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = -1
        self._idle_from = 0
        self._done: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Keep pace until the end; what a callback raises comes out here."""
        self._wake()
        try:
            await self._done
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def stop(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def call(self, work: Callable[[], None]) -> None:
        """Do something that may cause events, such as reading what a device has for us."""
        if self._done.done():
            return
        now = self._pacer.now
        if now > self._idle_from + _A_NAP_NS:
            self._pacer.busy_since = now
        try:
            work()
            self._arm()
        except Exception as error:  # noqa: BLE001  # asyncio would only log it; `run` raises it
            self._done.set_exception(error)
        self._idle_from = self._pacer.now

    def _wake(self) -> None:
        self._timer = None
        self.call(self._advance)

    def _advance(self) -> None:
        self._pacer.advance()
        if self._pacer.finished:
            self.stop()

    def _arm(self) -> None:
        due = self._pacer.due_at
        if self._timer is not None:
            if due == self._armed_for:
                return
            self._timer.cancel()
        self._armed_for = due
        self._timer = self._loop.call_at((self._pacer.started_at + due) / NS_PER_S, self._wake)


def run_precisely(main: Coroutine[None, None, T]) -> T:
    """`asyncio.run` with timers that are good to 0.1 ms.

    The usual loop waits in epoll, whose time-out counts whole milliseconds; select counts microseconds. And
    Linux may let a sleeper sleep 50 us longer to save power, unless it is asked not to.
    """
    with suppress(OSError):
        _TIMER_SLACK.write_text("1000")
    with asyncio.Runner(loop_factory=_select_loop) as runner:
        return runner.run(main)


def _select_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())
