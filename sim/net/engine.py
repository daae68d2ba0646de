"""Virtual time over simpy: one clock, re-armable alarms, and named streams of randomness.

Time is an integer number of nanoseconds that starts at 0. simpy runs on such integers unchanged, and its
processes (`sim.env.process(...)`) mix freely with alarms; among simultaneous events the one scheduled first
comes first. This is the one module below `live/` that may hold a random generator or read the wall clock.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from hashlib import sha256
from heapq import heappop, heappush, heapreplace
from typing import Any

from simpy import Environment
from simpy.events import NORMAL, Event, EventPriority

_FIRST = EventPriority(-1)
_COLLECTOR = (50_000, 20, 100)
"""How many new objects wait for a search for dead cycles, and so on: see `Simulation.run`."""
_MAX_WARM = 64
"""How many streams of octets have a generator only because they began last."""
_MAX_REWOUND = 1024
"""The 32-bit words after which a stream keeps its generator for good."""

Callback = Callable[[int], None]
"""What happens at an instant; it is told the instant."""


def stopwatch() -> Callable[[], float]:
    """A function that tells the wall-clock seconds since this call; for reports, never for decisions."""
    began = time.perf_counter()
    return lambda: time.perf_counter() - began


class Simulation:
    """The clock and the randomness of one run. Equal seeds and equal calls give equal runs."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self.env = Environment(0)
        self._warm: dict[_Octets, random.Random] = {}
        self.wall_s = 0.0
        """Wall-clock seconds spent in `run` so far."""

    @property
    def now(self) -> int:
        return int(self.env.now)

    @property
    def next_at(self) -> int | None:
        """When there is something to do next, which may turn out to be nothing; None: never."""
        queue = self.env._queue
        return int(queue[0][0]) if queue else None

    def tick(self, fire: Callback) -> Tick:
        """For links and steady sources: the cheapest event there is, with rules to obey."""
        return Tick(self.env, fire)

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
        return _Octets(self, name).draw

    def run(self, until: int) -> None:
        """Run all events before `until`, then stand at `until`.

        Equal to `env.run(until)`, but alarms and links bypass what simpy's step does for processes; every
        other event takes simpy's step. Meanwhile Python's garbage collector searches for dead cycles less
        often than usual, unless it is switched off: a run makes many objects that last and few such cycles,
        and with thousands of SAs the searches would take a third of the time.
        """
        if until < self.now:
            raise ValueError(f"{until} ns lies before the present, {self.now} ns")
        began, thresholds = time.perf_counter(), gc.get_threshold()
        if 0 < thresholds[0] < _COLLECTOR[0]:
            gc.set_threshold(*_COLLECTOR)
        try:
            _run(self.env, until)
        finally:
            gc.set_threshold(*thresholds)
            self.wall_s += time.perf_counter() - began


class _Octets:
    """A stream of octets. Most are asked for few, and seldom: the state of a generator takes 2.5 kB.

    So of the streams near their beginning only those that began last have one. The others know how far they
    are, and make one anew when they are asked again.
    """

    __slots__ = ("_name", "_own", "_sim", "_words")

    def __init__(self, sim: Simulation, name: str) -> None:
        self._sim = sim
        self._name = name
        self._words = 0
        self._own: random.Random | None = None

    def draw(self, size: int) -> bytes:
        generator = self._own or self._sim._warm.get(self) or self._wake()
        self._words += (size + 3) // 4  # random.Random gives 32 bits at a time
        return generator.randbytes(size)

    def _wake(self) -> random.Random:
        warm = self._sim._warm
        generator = self._sim.rng(self._name)
        if self._words:
            generator.getrandbits(32 * self._words)
        if self._words > _MAX_REWOUND:
            self._own = generator
            return generator
        if len(warm) >= _MAX_WARM:
            del warm[next(iter(warm))]
        warm[self] = generator
        return generator


def _run(env: Environment, until: int) -> None:
    queue = env._queue
    while queue:
        at, _, _, event = queue[0]
        if at >= until:
            break
        if isinstance(event, Tick):
            env._now = at
            fire = event.fire  # Python 3.11 calls a local variable faster than an attribute
            fire(at)  # type: ignore[arg-type]  # simpy allows float time; we schedule int only
        else:
            env.step()
    env._now = until


class Tick(Event):
    """A simpy event that is scheduled again and again, for one callback.

    The callback runs while the event is still the first entry of the queue, and before it schedules anything
    it must take it away with `done` or move it with `again`: one operation on the queue instead of two.
    Whoever schedules a tick must bear it coming at an instant that is no longer wanted; `Alarm` does that for
    everybody else.
    """

    def __init__(self, env: Environment, fire: Callback) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        self.fire = fire
        self.queue = env._queue
        self.next_id = env._eid.__next__
        self._steps: list[Callable[[Any], None]] = [_step]
        self.callbacks = self._steps

    def push(self, at: int) -> None:
        """Schedule; the event may be in the queue several times."""
        heappush(self.queue, (at, NORMAL, self.next_id(), self))

    def again(self, at: int) -> None:
        """In the callback: schedule once more, at `at`."""
        heapreplace(self.queue, (at, NORMAL, self.next_id(), self))

    def done(self) -> None:
        """In the callback: not again."""
        heappop(self.queue)


def _step(event: Event) -> None:
    """A tick under simpy's own step, which has taken it from the queue and its callbacks from it."""
    assert isinstance(event, Tick)
    event.callbacks = event._steps
    now = int(event.env.now)
    heappush(event.queue, (now, _FIRST, -1, event))
    event.fire(now)


class Alarm:
    """A callback at an instant that can be moved and cancelled any number of times.

    Moving it later costs nothing until the old instant comes; so an alarm that is pushed away with every
    packet stays cheap.
    """

    def __init__(self, env: Environment, callback: Callback) -> None:
        self.callback = callback
        self.at: int | None = None
        """When it goes off; None when it is not armed."""
        self._env = env
        self._tick = Tick(env, self._ring)
        self._entry: int | None = None  # the earliest instant at which the queue holds the tick

    def arm(self, at: int) -> None:
        """Go off at `at`, and at no other time; `at` must not lie in the past."""
        if at < self._env._now:
            raise ValueError(f"an alarm at {at} ns lies in the past, now is {self._env._now} ns")
        self.at = at
        if self._entry is None or at < self._entry:
            self._entry = at
            self._tick.push(at)

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
        self._tick.done()
        if self._entry == now:
            self._entry = None
        if self.at == now:
            self.at = None
            self.callback(now)
        elif self.at is not None and self._entry is None:
            self.arm(self.at)
