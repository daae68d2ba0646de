"""Requests and responses of one IKE SA: message IDs, windows, retransmission, repeated requests.

RFC 7296 2.1 (retransmission), 2.2 (message IDs), 2.3 (window). Each direction counts on its own:

    ours    queue -> outstanding (at most `window`) -> response -> tasks
    theirs  expected -> tasks -> response, kept until the next request comes
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from sim.crypto.errors import CryptoError, IntegrityError
from sim.ike.channel import Channel, Encoded
from sim.ike.constants import ExchangeType, NotifyType
from sim.ike.errors import PeerError, RefusedError, Scope
from sim.ike.exchanges import SERVED_IN, State, check_request, check_response
from sim.ike.message import Message, ProtectedWireError
from sim.ike.tasks.base import Inbound, Job, Outgoing, Task, build_all, process_all
from sim.ike.tasks.responders import responder_tasks
from sim.wire.address import Sock
from sim.wire.buffer import WireError

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

T = TypeVar("T", bound=Task)


@dataclass(slots=True)
class Outstanding:
    """A request of ours that waits for its response."""

    job: Job
    encoded: Encoded
    tries: int = 0


@dataclass(slots=True)
class Answered:
    """A request of the peer's that we answered, by its digest, and the answer."""

    digest: bytes
    response: Encoded
    repeated: int = 0


class Conversation:
    def __init__(self, sa: IkeSa) -> None:
        self.sa = sa
        self.channel = Channel(sa)
        self.window = 1
        self.outstanding: dict[int, Outstanding] = {}
        self.expected = 0
        self._queue: deque[Job] = deque()
        self._next_id = 0
        self._answered: dict[int, Answered] = {}
        self._serving: list[Task] = []

    # -- our requests ------------------------------------------------------------------------------------

    def submit(self, job: Job, now: int, *, first: bool = False) -> None:
        """Queue an exchange; it starts as soon as the window allows."""
        (self._queue.appendleft if first else self._queue.append)(job)
        self.pump(now)

    def postpone(self, job: Job) -> None:
        """Queue an exchange ahead of others; it starts after the response that is being made."""
        self._queue.appendleft(job)

    def queued(self, kind: type[T]) -> bool:
        """Whether a task of this kind waits for the window."""
        return any(isinstance(task, kind) for job in self._queue for task in job.tasks)

    def tasks(self, kind: type[T]) -> list[T]:
        """The tasks of this kind that wait for the window or for a response."""
        jobs = [*self._queue, *(outstanding.job for outstanding in self.outstanding.values())]
        return [task for job in jobs for task in job.tasks if isinstance(task, kind)]

    def pump(self, now: int) -> None:
        """Start what the window allows."""
        while self._queue and len(self.outstanding) < self.window:
            self._start(self._queue.popleft(), now)

    @property
    def busy(self) -> bool:
        """Whether a request of ours is on its way or waits."""
        return bool(self.outstanding or self._queue)

    def abandon_queue(self) -> None:
        """Forget the exchanges that have not started."""
        self._queue.clear()

    def abandon(self) -> None:
        """Forget all of our requests."""
        for message_id in self.outstanding:
            self.sa.ctx.timers.cancel(self._timer(message_id))
        self.outstanding.clear()
        self._queue.clear()

    def resend(self, now: int) -> None:
        """Repeat what is outstanding at once, from the SA's new addresses (RFC 4555 3.5)."""
        for outstanding in self.outstanding.values():
            outstanding.tries = 0
            self._send(outstanding, now)

    def _start(self, job: Job, now: int) -> None:
        out = Outgoing()
        build_all(job.tasks, self.sa, out, now)
        # IKE_SA_INIT keeps its ID 0 through cookies and new groups (RFC 7296 2.2).
        message_id = 0 if job.exchange == ExchangeType.IKE_SA_INIT else self._next_id
        self._next_id = message_id + 1
        encoded = self.channel.encode(job.exchange, message_id, False, out.all())
        outstanding = Outstanding(job, encoded)
        self.outstanding[message_id] = outstanding
        if job.exchange == ExchangeType.IKE_SA_INIT:
            self.sa.init_i = encoded.packet
        self._send(outstanding, now)
        for action in out.then:
            action(now)

    def _send(self, outstanding: Outstanding, now: int) -> None:
        sa, encoded = self.sa, outstanding.encoded
        delays = sa.connection.retransmit.delays
        self.channel.send(encoded, sa.path.local, sa.path.remote)
        sa.last_out_at = now
        at = now + delays[outstanding.tries]
        outstanding.tries += 1
        message_id = encoded.message_id
        sa.ctx.timers.arm(self._timer(message_id), at, lambda due: self._overdue(message_id, due))

    def _overdue(self, message_id: int, now: int) -> None:
        outstanding = self.outstanding.get(message_id)
        if outstanding is None:
            return
        if outstanding.tries < len(self.sa.connection.retransmit.delays):
            self._send(outstanding, now)
        else:
            self.sa.timed_out(outstanding.encoded, now)

    def _timer(self, message_id: int) -> tuple[int, str, int]:
        return (self.sa.ike_id, "retransmit", message_id)

    # -- the peer's messages -----------------------------------------------------------------------------

    def receive(self, message: Message, src: Sock, dst: Sock, now: int) -> None:
        """A message with our SPIs; what is wrong with it changes nothing unless a key holder sent it."""
        try:
            if message.header.is_response:
                self._receive_response(message, src, dst, now)
            else:
                self._receive_request(message, src, dst, now)
        except IntegrityError as error:
            self._reject("integrity check failed", src, str(error))
        except (WireError, CryptoError) as error:
            self._reject("malformed message", src, str(error))

    def repeat(self, message: Message, src: Sock, dst: Sock) -> None:
        """Answer a repeated request with the same octets, where it came from (RFC 7296 2.1, 2.11)."""
        answered = self._answered.get(message.header.message_id)
        if answered is None:
            self._reject("response forgotten", src, "a repeated request whose response is no longer kept")
        elif answered.digest != digest_of(message):
            self._reject("message ID used before", src, "another request has had this message ID")
        else:
            answered.repeated += 1
            self.channel.received(message, src, dst, answered.repeated)
            self.channel.send(answered.response, dst, src)

    def _receive_request(self, message: Message, src: Sock, dst: Sock, now: int) -> None:
        sa, header = self.sa, message.header
        if header.message_id < self.expected:
            self.repeat(message, src, dst)
            return
        if header.message_id > self.expected or not self.channel.protected:
            self._reject("message ID outside the window", src, f"request {header.message_id} is not expected")
            return
        if header.exchange not in SERVED_IN.get(sa.state, ()):
            text = f"exchange {header.exchange} is not served while the IKE SA is {sa.state.value}"
            self._reject("request out of place", src, text)
            return
        problem: PeerError | None = None
        try:
            message = self.channel.decode(message)
        except ProtectedWireError as error:
            problem = PeerError(NotifyType.INVALID_SYNTAX, str(error), Scope.IKE_SA)
        self._serve(Inbound(message, src, dst), problem, now)

    def _serve(self, received: Inbound, problem: PeerError | None, now: int) -> None:
        """Answer a request that is authentic and new; `problem` when it cannot even be read."""
        sa = self.sa
        self.expected += 1
        self.channel.received(received.message, received.src, received.dst)
        sa.heard(received, now)
        out = Outgoing()
        try:
            if problem is not None:
                raise problem
            self._perform(received, out, now)
        except PeerError as error:
            problem, out = error, Outgoing([error.payload()])
            self._serving = []
        header = received.message.header
        exchange = ExchangeType(header.exchange)
        self.answer(received, self.channel.encode(exchange, header.message_id, True, out.all()))
        sa.last_out_at = now
        for action in out.then:
            action(now)
        if problem is not None:
            sa.misunderstood(problem, now)
        self.pump(now)

    def _perform(self, received: Inbound, out: Outgoing, now: int) -> None:
        check_request(received.message)
        tasks = self._serving or responder_tasks(self.sa, received.message)
        self._serving = []
        waiting = process_all(tasks, self.sa, received, now)
        done = tasks[: len(tasks) - len(waiting)]
        self._serving = build_all(done, self.sa, out, now) + waiting

    def answer(self, received: Inbound, response: Encoded) -> None:
        """Send a response to where the request came from, and keep it instead of older ones."""
        self._answered = {received.message.header.message_id: Answered(digest_of(received.message), response)}
        self.channel.send(response, received.dst, received.src)

    def _receive_response(self, message: Message, src: Sock, dst: Sock, now: int) -> None:
        header = message.header
        outstanding = self.outstanding.get(header.message_id)
        if outstanding is None or outstanding.job.exchange != header.exchange:
            self._reject("response to no request", src, f"no request {header.message_id} is outstanding")
        elif header.exchange == ExchangeType.IKE_SA_INIT:
            self._receive_init_response(outstanding, Inbound(message, src, dst), now)
        else:
            self._receive_protected(outstanding, message, src, dst, now)

    def _receive_init_response(self, outstanding: Outstanding, received: Inbound, now: int) -> None:
        """Nobody vouches for it: a task that dislikes it raises, and we go on waiting (RFC 7296 2.21.1)."""
        try:
            check_response(received.message)
            waiting = process_all(outstanding.job.tasks, self.sa, received, now)
        except PeerError as error:
            raise WireError(error.text) from error
        self._settle(outstanding, received, waiting, now)

    def _receive_protected(
        self, outstanding: Outstanding, message: Message, src: Sock, dst: Sock, now: int
    ) -> None:
        problem: PeerError | None = None
        try:
            message = self.channel.decode(message)
        except ProtectedWireError as error:
            problem = PeerError(NotifyType.INVALID_SYNTAX, str(error), Scope.IKE_SA)
        received = Inbound(message, src, dst)
        self.sa.heard(received, now)
        waiting: list[Task] = []
        self._finish(outstanding, received)
        try:
            if problem is not None:
                raise problem
            check_response(message)
            waiting = process_all(outstanding.job.tasks, self.sa, received, now)
        except PeerError as error:
            self.sa.disappointed(error, now)
        except RefusedError as error:
            self.sa.end(error.reason, error.text, now)
        self._go_on(outstanding, waiting, now)

    def _settle(self, outstanding: Outstanding, received: Inbound, waiting: list[Task], now: int) -> None:
        self._finish(outstanding, received)
        self._go_on(outstanding, waiting, now)

    def _finish(self, outstanding: Outstanding, received: Inbound) -> None:
        message_id = outstanding.encoded.message_id
        self.outstanding.pop(message_id, None)
        self.sa.ctx.timers.cancel(self._timer(message_id))
        self.channel.received(received.message, received.src, received.dst)

    def _go_on(self, outstanding: Outstanding, waiting: list[Task], now: int) -> None:
        if self.sa.state is State.CLOSED:
            return
        if waiting:
            self._queue.appendleft(Job(outstanding.job.exchange, waiting))
        self.pump(now)

    def _reject(self, reason: str, src: Sock, text: str) -> None:
        self.sa.ctx.reject(reason, src, text)


def digest_of(message: Message) -> bytes:
    return sha256(message.raw).digest()
