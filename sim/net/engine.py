"""Virtual time over simpy: one clock, re-armable alarms, and named streams of randomness.

Time is an integer number of nanoseconds that starts at 0. simpy runs on such integers unchanged, and its
processes (`sim.env.process(...)`) mix freely with alarms; among simultaneous events the one scheduled first
comes first. This is the one module below `live/` that may hold a random generator or read the wall clock.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any

from simpy import Environment
from simpy.events import NORMAL, Event

Callback = Callable[[int], None]
"""What happens at an instant; it is told the instant."""


class Simulation:
    """The clock and the randomness of one run. Equal seeds and equal calls give equal runs."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self.env = Environment(0)
        self.wall_s = 0.0
        """Wall-clock seconds spent in `run` so far."""

    @property
    def now(self) -> int:
        return int(self.env.now)

    def alarm(self, callback: Callback) -> Alarm:
        """An alarm that is not armed yet."""
        return Alarm(self.env, callback)

    def at(self, when: int, callback: Callback) -> Alarm:
        """Call once at `when`, which must not lie in the past; the result can be cancelled or re-armed."""
        alarm = Alarm(self.env, callback)
        alarm.arm(when)
        return alarm

    def rng(self, name: str) -> random.Random:
        """The stream of that name, from its beginning: other streams do not shift it."""
        digest = sha256(f"{self.seed}\x00{name}".encode()).digest()
        return random.Random(int.from_bytes(digest, "big"))

    def rand(self, name: str) -> Callable[[int], bytes]:
        """The stream of that name as a source of octets: key material, SPIs, cookies."""
        return self.rng(name).randbytes

    def run(self, until: int) -> None:
        """Run all events before `until`, then stand at `until`.

        Equal to `env.run(until)`, but an alarm costs half of what simpy's own step costs; other simpy
        events take simpy's step.
        """
        if until < self.now:
            raise ValueError(f"{until} ns lies before the present, {self.now} ns")
        began = time.perf_counter()
        try:
            _run(self.env, until)
        finally:
            self.wall_s += time.perf_counter() - began


def _run(env: Environment, until: int) -> None:
    queue = env._queue
    while queue and queue[0][0] < until:
        event = queue[0][3]
        if type(event) is Alarm:
            at = int(heappop(queue)[0])
            env._now = at
            event._ring(at)
        else:
            env.step()
    env._now = until


class Alarm(Event):
    """A callback at an instant that can be moved and cancelled any number of times.

    It is one simpy event that is scheduled again and again. Moving it later costs nothing until the old
    instant comes; so an alarm that is pushed away with every packet stays cheap.
    """

    def __init__(self, env: Environment, callback: Callback) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        self.callback = callback
        self.at: int | None = None
        """When it goes off; None when it is not armed."""
        self._entry: int | None = None  # the earliest instant at which the queue holds this event
        self._steps: list[Callable[[Any], None]] = [_step]
        self.callbacks = self._steps

    def arm(self, at: int) -> None:
        """Go off at `at`, and at no other time; `at` must not lie in the past."""
        env = self.env
        if at < env._now:
            raise ValueError(f"an alarm at {at} ns lies in the past, now is {env._now} ns")
        self.at = at
        if self._entry is None or at < self._entry:
            self._entry = at
            heappush(env._queue, (at, NORMAL, next(env._eid), self))

    def set(self, at: int | None) -> None:
        """Arm, or cancel with None."""
        if at is None:
            self.cancel()
        else:
            self.arm(at)

    def cancel(self) -> None:
        self.at = None

    def _ring(self, now: int) -> None:
        """An entry of the queue came up; it may be out of date."""
        if self._entry == now:
            self._entry = None
        if self.at == now:
            self.at = None
            self.callback(now)
        elif self.at is not None and self._entry is None:
            self.arm(self.at)


def _step(event: Event) -> None:
    """The alarm under simpy's own step, which takes the callbacks away from an event that it processes."""
    assert isinstance(event, Alarm)
    event.callbacks = event._steps
    event._ring(int(event.env.now))
