"""The peer's messages in one IKE SA: its requests are answered, its responses handed to our tasks.

RFC 7296 2.1 (repeated requests), 2.2 (message IDs), 2.3 (window), 2.21 (errors).

    request   expected -> opened -> checked -> tasks -> response, kept until the next request comes
    response  outstanding -> opened -> checked -> tasks
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from sim.crypto.errors import CryptoError, IntegrityError
from sim.ike.channel import Channel, Encoded
from sim.ike.constants import INITIAL, ExchangeType, NotifyType, name_of
from sim.ike.errors import PeerError, RefusedError, Scope, SupersededError, UnprovenError, reason_of
from sim.ike.exchanges import REFUSALS, State, check_request, check_response, first_error
from sim.ike.fragments import fragment_of
from sim.ike.message import Message, ProtectedWireError
from sim.ike.notation import in_fragments, notation
from sim.ike.path_test import heed_path
from sim.ike.payloads import NotifyPayload
from sim.ike.requests import Outstanding
from sim.ike.succession import promote
from sim.ike.tasks.base import Inbound, Job, Outgoing, Service, Task, build_all, process_all
from sim.ike.tasks.responders import responder_tasks
from sim.ike.window import announce_window
from sim.units import NS_PER_S
from sim.wire.address import Sock, format_sock
from sim.wire.buffer import WireError

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

_NONE: frozenset[int] = frozenset()
_TELL_AGAIN = 60 * NS_PER_S


@dataclass(slots=True)
class Answered:
    """A request of the peer's that we answered, by its digest, and the answer."""

    digest: bytes
    size: int
    fragments: int
    payloads: str
    response: Encoded
    repeated: int = 0


class Conversation:
    def __init__(self, sa: IkeSa, channel: Channel) -> None:
        self.sa = sa
        self.channel = channel
        self.expected = self.first_protected = 0
        self._ahead: set[int] | frozenset[int] = _NONE
        self._answered: dict[int, Answered] = {}
        self._serving: Service | None = None
        self._tell_again_at = 0

    @property
    def answered_protected(self) -> bool:
        """Whether the peer may still repeat a request that only this IKE SA can answer."""
        return self.expected > self.first_protected

    @property
    def keeps_path(self) -> bool:
        """Whether IKE_AUTH goes on, and with MOBIKE: its first request's addresses count (RFC 4555 3.3)."""
        if self._serving is None or not self.sa.connection.mobike:
            return False
        return self._serving.opening.message.notify(NotifyType.MOBIKE_SUPPORTED) is not None

    def receive(self, message: Message, src: Sock, dst: Sock, now: int) -> None:
        """A message with our SPIs; what is wrong with it changes nothing unless a key holder sent it."""
        try:
            if message.header.is_response:
                self._receive_response(message, src, dst, now)
            else:
                self._receive_request(message, src, dst, now)
        except IntegrityError as error:
            self._reject("integrity check failed", src, str(error))
        except UnprovenError as error:
            self._reject("unauthenticated error", src, str(error))
        except (WireError, CryptoError) as error:
            self._reject("malformed message", src, str(error))

    def repeat(self, message: Message, src: Sock, dst: Sock) -> None:
        """Answer a repeated request with the same octets, where it came from (RFC 7296 2.1, 2.11)."""
        answered, fragment = self._answered.get(message.header.message_id), fragment_of(message)
        if answered is None:
            self._reject("response forgotten", src, "a repeated request whose response is no longer kept")
        elif fragment is not None and fragment.number > 1:
            self.sa.ctx.counters["late fragments"] += 1  # the first one alone asks again (RFC 7383 2.6.1)
        elif not self._is_repeated(answered, message):
            self._reject("message ID used before", src, "another request has had this message ID")
        else:
            answered.repeated += 1
            self.channel.received(
                message.header,
                answered.size,
                answered.fragments,
                answered.payloads,
                src,
                dst,
                answered.repeated,
            )
            self.channel.send(answered.response, dst, src)

    def _is_repeated(self, answered: Answered, message: Message) -> bool:
        """Whether it is the same request; its fragments may have become smaller (RFC 7383 2.5.2)."""
        if answered.digest == digest_of(message):
            return True
        fragment = fragment_of(message)
        if fragment is None or fragment.total <= answered.fragments or not self.channel.protected:
            return False
        self.channel.verify(message)
        return True

    def _receive_request(self, message: Message, src: Sock, dst: Sock, now: int) -> None:
        sa, header = self.sa, message.header
        if header.message_id < self.expected or header.message_id in self._ahead:
            self.repeat(message, src, dst)
            return
        if header.message_id >= self.expected + sa.window or not self.channel.protected:
            self._refuse_id(message, src, now)
            return
        if not self._is_served(header.exchange):
            text = f"exchange {header.exchange} is not served while the IKE SA is {sa.state.value}"
            self._reject("request out of place", src, text)
            return
        problem: PeerError | None = None
        whole: Message | None = message
        try:
            whole = self.channel.decode(message, now)
        except ProtectedWireError as error:
            problem = PeerError(NotifyType.INVALID_SYNTAX, str(error), Scope.IKE_SA)
        if whole is not None:
            self._serve(Inbound(whole, src, dst), problem, now)

    def _serve(self, received: Inbound, problem: PeerError | None, now: int) -> None:
        """Answer a request that is authentic and new; `problem` when it cannot even be read."""
        sa = self.sa
        self._advance(received.message.header.message_id)
        payloads = self.report(received)
        sa.heard(received, now)
        promote(sa, received.message, now)
        out = Outgoing()
        announce_window(sa, out, received.message.header.exchange)
        try:
            if problem is not None:
                raise problem
            self._perform(received, out, now)
        except PeerError as error:
            problem, out = error, Outgoing(error.payloads())
            self._serving = None
        header = received.message.header
        exchange = ExchangeType(header.exchange)
        self.answer(received, payloads, self.channel.encode(exchange, header.message_id, True, out.all()))
        sa.last_out_at = now
        for action in out.then:
            action(now)
        if problem is not None:
            sa.misunderstood(problem, now)
        sa.requests.pump(now)

    def _advance(self, message_id: int) -> None:
        """Requests may overtake each other within the window (RFC 7296 2.3)."""
        if message_id == self.expected and not self._ahead:
            self.expected += 1
            return
        ahead = {*self._ahead, message_id}
        while self.expected in ahead:
            ahead.discard(self.expected)
            self.expected += 1
        self._ahead = ahead

    def _refuse_id(self, message: Message, src: Sock, now: int) -> None:
        """Never acknowledge it; tell a peer that holds the keys, once a minute (RFC 7296 2.3)."""
        sa, message_id = self.sa, message.header.message_id
        self._reject("message ID outside the window", src, f"request {message_id} is not expected")
        if self.channel.protected and sa.state is State.ESTABLISHED and now >= self._tell_again_at:
            self.channel.verify(message)
            self._tell_again_at = now + _TELL_AGAIN
            sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [TellInvalidId(message_id)]), now)

    def _perform(self, received: Inbound, out: Outgoing, now: int) -> None:
        """Serve a request, the next one of an exchange that has begun if there is such."""
        message = received.message
        serving = self._serving if message.header.exchange == ExchangeType.IKE_AUTH else None
        check_request(message, opened=serving is not None)
        if serving is None:
            serving = Service(responder_tasks(self.sa, message), received)
        tasks = serving.tasks
        waiting = process_all(tasks, self.sa, received, now, serving.opening)
        if message.header.exchange == ExchangeType.IKE_AUTH:
            self._serving = Service(waiting, serving.opening) if waiting else None
        # Whoever waits asks for what it waits for.
        build_all(tasks[: len(tasks) - len(waiting) + bool(waiting)], self.sa, out, now)

    def _is_served(self, exchange: int) -> bool:
        """While EAP goes on, the initiator may also tell us that it gives up (RFC 7296 2.21.2)."""
        giving_up = self._serving is not None and exchange == ExchangeType.INFORMATIONAL
        return giving_up or self.sa.serves(exchange)

    def report(self, received: Inbound) -> str:
        """Report a message that was accepted; what it held, in the notation of RFC 7296 1.2."""
        message = received.message
        header, count = message.header, message.fragments
        payloads = in_fragments(notation(message.shape, header.exchange, header.is_response), count)
        self.channel.received(header, len(message.raw), count, payloads, received.src, received.dst)
        return payloads

    def answer(self, received: Inbound, payloads: str, response: Encoded) -> None:
        """Send a response to where the request came from, and keep it instead of older ones."""
        message = received.message
        answered = Answered(digest_of(message), len(message.raw), message.fragments, payloads, response)
        oldest = self.expected - self.sa.window
        self._answered = {number: old for number, old in self._answered.items() if number >= oldest}
        self._answered[message.header.message_id] = answered
        self.channel.send(response, received.dst, received.src)

    def _receive_response(self, message: Message, src: Sock, dst: Sock, now: int) -> None:
        header = message.header
        outstanding = self.sa.requests.outstanding.get(header.message_id)
        if outstanding is None or outstanding.job.exchange != header.exchange:
            self._reject("response to no request", src, f"no request {header.message_id} is outstanding")
        elif header.exchange in INITIAL:
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
        whole: Message | None = message
        try:
            whole = self.channel.decode(message, now)
        except ProtectedWireError as error:
            problem = PeerError(NotifyType.INVALID_SYNTAX, str(error), Scope.IKE_SA)
        if whole is None:
            return
        received = Inbound(whole, src, dst)
        self.sa.heard(received, now)
        waiting: list[Task] = []
        self._finish(outstanding, received)
        heed_path(self.sa, outstanding, received, now)
        try:
            if problem is not None:
                raise problem
            check_response(whole, opened=outstanding.job.opened)
            self._check_fatal(outstanding, whole)
            waiting = process_all(outstanding.job.tasks, self.sa, received, now)
        except PeerError as error:
            self.sa.requests.drop(outstanding.job)
            self.sa.disappointed(error, now)
        except RefusedError as error:
            self.sa.refused(outstanding.job, error)
            self.sa.requests.drop(outstanding.job)
            self.sa.end(error.reason, error.text, now)
        except SupersededError:
            self.sa.requests.drop(outstanding.job)
        self._go_on(outstanding, waiting, now)

    def _check_fatal(self, outstanding: Outstanding, message: Message) -> None:
        """Some errors end the IKE SA at both ends without a Delete (RFC 7296 2.21.2, 2.21.3).

        What refuses IKE_AUTH is told by its task, unless we have lost interest meanwhile.
        """
        error = first_error(message)
        if error is None or (outstanding.job.tasks and error.type != NotifyType.INVALID_SYNTAX):
            return
        if error.type in REFUSALS:
            name = name_of(NotifyType, error.type)
            text = f"{format_sock(self.sa.path.remote)} could not accept our request: {name}"
            raise RefusedError(reason_of(error.type), text)

    def _settle(self, outstanding: Outstanding, received: Inbound, waiting: list[Task], now: int) -> None:
        self._finish(outstanding, received)
        self._go_on(outstanding, waiting, now)

    def _finish(self, outstanding: Outstanding, received: Inbound) -> None:
        self.sa.requests.answered(outstanding)
        self.report(received)

    def _go_on(self, outstanding: Outstanding, waiting: list[Task], now: int) -> None:
        if self.sa.state is not State.CLOSED:
            self.sa.requests.go_on(outstanding, waiting, now)

    def _reject(self, reason: str, src: Sock, text: str) -> None:
        self.sa.ctx.reject(reason, src, text)


class TellInvalidId(Task):
    """INVALID_MESSAGE_ID goes into a request of our own (RFC 7296 2.3)."""

    def __init__(self, message_id: int) -> None:
        self._data = message_id.to_bytes(4, "big")

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(NotifyPayload(NotifyType.INVALID_MESSAGE_ID, self._data))


def digest_of(message: Message) -> bytes:
    """What tells a repeated request: that of its octets, of its first fragment if it came in several."""
    return sha256(message.first).digest()
