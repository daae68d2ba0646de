"""Our requests in one IKE SA: queue, window, message IDs, retransmission (RFC 7296 2.1 to 2.4).

queue -> outstanding (at most `window`) -> response
             |  sent again, octet for octet, after each of the policy's waits
             `-> the last wait is over: the peer is dead
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from sim.ike.channel import Channel, Encoded
from sim.ike.constants import INITIAL
from sim.ike.path_test import Pair, other_pairs, waits
from sim.ike.tasks.base import Job, Outgoing, Task, build_all
from sim.ike.window import announce_window

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

T = TypeVar("T", bound=Task)


@dataclass(slots=True)
class Outstanding:
    """A request of ours that waits for its response; `tested` are the other paths that it has gone by."""

    job: Job
    encoded: Encoded
    tries: int = 0
    tested: set[Pair] = field(default_factory=set)


class Requests:
    def __init__(self, sa: IkeSa, channel: Channel) -> None:
        self.sa = sa
        self.channel = channel
        self.window = 1
        self.outstanding: dict[int, Outstanding] = {}
        self._queue: list[Job] = []  # a deque takes 0.7 kB, even when it is empty
        self._next_id = 0

    def submit(self, job: Job, now: int, *, first: bool = False) -> None:
        """Queue an exchange; it starts as soon as the window allows."""
        self._queue.insert(0 if first else len(self._queue), job)
        self.pump(now)

    def answered(self, outstanding: Outstanding) -> None:
        """The response is here: no more retransmissions."""
        message_id = outstanding.encoded.message_id
        self.outstanding.pop(message_id, None)
        self.sa.ctx.timers.cancel(self._timer(message_id))
        self.channel.forget_fragments(True, message_id)

    def go_on(self, outstanding: Outstanding, waiting: list[Task], now: int) -> None:
        """Continue with the next message of the exchange, if tasks wait for one, before anything else."""
        if waiting:
            other = waiting[0].continues_in
            self.postpone(Job(other or outstanding.job.exchange, waiting, opened=other is None))
        self.pump(now)

    def postpone(self, job: Job) -> None:
        """Queue an exchange ahead of others; it starts after the response that is being made."""
        self._queue.insert(0, job)

    def queued(self, kind: type[T]) -> bool:
        """Whether a task of this kind waits for the window."""
        return any(isinstance(task, kind) for job in self._queue for task in job.tasks)

    def tasks(self, kind: type[T]) -> list[T]:
        """The tasks of this kind that wait for the window or for a response."""
        jobs = [*self._queue, *(outstanding.job for outstanding in self.outstanding.values())]
        return [task for job in jobs for task in job.tasks if isinstance(task, kind)]

    def pump(self, now: int) -> None:
        """Start what the window allows."""
        while self._queue and self._may_start(self._queue[0]):
            job = self._queue.pop(0)
            if job.opened or all(task.needed(self.sa) for task in job.tasks):
                self._start(job, now)
            else:
                self.drop(job)

    def _may_start(self, job: Job) -> bool:
        if not self.outstanding:
            return True
        alone = any(task.alone for task in job.tasks) or any(self._outstanding_alone())
        return not alone and self._next_id < min(self.outstanding) + self.window

    def _outstanding_alone(self) -> Iterator[bool]:
        return (task.alone for outstanding in self.outstanding.values() for task in outstanding.job.tasks)

    def asked(self, kind: type[T]) -> bool:
        """Whether a task of this kind waits for a response."""
        jobs = (outstanding.job for outstanding in self.outstanding.values())
        return any(isinstance(task, kind) for job in jobs for task in job.tasks)

    def adopt(self, other: Requests, now: int) -> None:
        """Take over what waits in the IKE SA that this one replaces, and what must be asked for anew."""
        for outstanding in other.outstanding.values():
            self._repeat(outstanding.job)
        self._queue.extend(other._queue)
        other._queue.clear()
        self.pump(now)

    def _repeat(self, job: Job) -> None:
        """The answer may come in the other IKE SA yet, which then means nothing."""
        again = [task for task in job.tasks if task.survives]
        if again:
            job.tasks = [task for task in job.tasks if not task.survives]
            self._queue.append(Job(job.exchange, again))

    @property
    def busy(self) -> bool:
        """Whether a request of ours is on its way or waits."""
        return bool(self.outstanding or self._queue)

    def abandon_tasks(self) -> None:
        """Forget what was asked for; the requests that are outstanding still want their responses."""
        for job in self._queue:
            self.drop(job)
        for outstanding in self.outstanding.values():
            if not any(task.binding for task in outstanding.job.tasks):
                self.drop(outstanding.job)
        self._queue.clear()

    def abandon(self) -> None:
        """Forget all of our requests."""
        self.abandon_tasks()
        for message_id, outstanding in self.outstanding.items():
            self.drop(outstanding.job)
            self.sa.ctx.timers.cancel(self._timer(message_id))
        self.outstanding.clear()

    def drop(self, job: Job) -> None:
        """End a job before its time."""
        for task in job.tasks:
            task.abandon(self.sa)
        job.tasks = []

    def resend(self, now: int) -> None:
        """Repeat what is outstanding at once, from the SA's new addresses (RFC 4555 3.5)."""
        for outstanding in self.outstanding.values():
            outstanding.tries = 0
            outstanding.tested.clear()
            self._send(outstanding, now)

    def repeat(self, now: int) -> None:
        """Send what is outstanding once more, ahead of its time; the waits stay as they are."""
        for outstanding in self.outstanding.values():
            self.channel.send(outstanding.encoded, self.sa.path.local, self.sa.path.remote)
            self.sa.last_out_at = now

    def _start(self, job: Job, now: int) -> None:
        out = Outgoing()
        build_all(job.speakers, self.sa, out, now)
        announce_window(self.sa, out, job.exchange)
        # IKE_SA_INIT keeps its ID 0 through cookies and new groups (RFC 7296 2.2).
        message_id = 0 if job.exchange in INITIAL else self._next_id
        self._next_id = message_id + 1
        encoded = self.channel.encode(job.exchange, message_id, False, out.all())
        outstanding = Outstanding(job, encoded)
        self.outstanding[message_id] = outstanding
        if job.exchange in INITIAL:
            self.sa.init_i = encoded.packets[0]
        self._send(outstanding, now)
        for action in out.then:
            action(now)

    def _send(self, outstanding: Outstanding, now: int) -> None:
        sa, encoded = self.sa, outstanding.encoded
        self.channel.send(encoded, sa.path.local, sa.path.remote)
        for pair in other_pairs(sa, outstanding.tries):
            outstanding.tested.add(pair)
            self.channel.send(encoded, *pair)
        sa.last_out_at = now
        at = now + waits(sa)[outstanding.tries]
        outstanding.tries += 1
        message_id = encoded.message_id
        sa.ctx.timers.arm(self._timer(message_id), at, lambda due: self._overdue(message_id, due))

    def _overdue(self, message_id: int, now: int) -> None:
        outstanding = self.outstanding.get(message_id)
        if outstanding is None:
            return
        tries = len(waits(self.sa))
        if any(task.hasty for task in outstanding.job.tasks):
            tries = (tries + 1) // 2
        if outstanding.tries < tries:
            self._send(outstanding, now)
        else:
            self.sa.timed_out(outstanding.encoded, len(outstanding.tested), now)

    def _timer(self, message_id: int) -> tuple[int, str, int]:
        return (self.sa.ike_id, "retransmit", message_id)
