"""What a procedure is: it adds payloads to our messages and acts on those of the peer's.

Several tasks share an exchange: IKE_AUTH is authentication, MOBIKE's set-up and the first Child SA. An
initiator builds, then processes the response; a responder processes the request, then builds. Tasks run in
order; one that answers MORE when it processes keeps itself and all that follow for the next message of the
exchange. Until it is done, it alone speaks: the first request has what all tasks of the initiator want, the
last response what all tasks of the responder say to that (RFC 7296 2.16).

    initiator   all build | first builds | ... | first builds      then all process the last response
    responder   first builds | ... | first builds | all build      once all have processed the first request
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from sim.ike.constants import ExchangeType
from sim.ike.message import Message
from sim.ike.payloads import Payload
from sim.wire.address import Sock
from sim.wire.value import quick, value

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


@quick
class Step(Enum):
    """What a task says after its turn."""

    DONE = "done"
    MORE = "more"


@dataclass(slots=True)
class Outgoing:
    """A message under construction.

    `last` follows `payloads`. `then` is called once the message is on its way, before any other is sent.
    """

    payloads: list[Payload] = field(default_factory=list)
    last: list[Payload] = field(default_factory=list)
    then: list[Callable[[int], None]] = field(default_factory=list)

    def add(self, *payloads: Payload) -> None:
        self.payloads += payloads

    def add_last(self, *payloads: Payload) -> None:
        self.last += payloads

    def all(self) -> list[Payload]:
        return self.payloads + self.last


@value
class Inbound:
    """A message from the peer, opened, and the addresses that it came with."""

    message: Message
    src: Sock
    dst: Sock


class Task:
    """One procedure. The default does nothing in its turn.

    `alone` is that its exchange may not overlap another one of ours, however large the window; `survives`
    that it is asked for anew if its IKE SA is replaced before the answer came; `binding` that the answer
    matters even if the IKE SA has ended meanwhile; `hasty` that half as many retransmissions are enough.
    `continues_in` is the exchange of its next message, if that is another one than before.
    """

    alone = False
    binding = False
    hasty = False
    survives = False
    continues_in: ExchangeType | None = None

    def needed(self, sa: IkeSa) -> bool:
        """Asked before a message is built: whether the exchange still makes sense."""
        return True

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        """Add payloads to our next message; only the step of `process` counts."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        """Act on the peer's message; PeerError and RefusedError end it."""
        return Step.DONE

    def abandon(self, sa: IkeSa) -> None:
        """The exchange will not be finished: give back what was taken for it."""


@dataclass(slots=True)
class Job:
    """An exchange that we want: its type and the tasks that take part."""

    exchange: ExchangeType
    tasks: list[Task]
    opened: bool = False

    @property
    def speakers(self) -> list[Task]:
        """Who has something to say in the next request: all in the first one, then whoever asked for it."""
        return self.tasks[:1] if self.opened else self.tasks


@dataclass(slots=True)
class Service:
    """A responder's tasks that wait for the next request of an exchange, and the request that opened it."""

    tasks: list[Task]
    opening: Inbound


def process_all(
    tasks: list[Task], sa: IkeSa, received: Inbound, now: int, opening: Inbound | None = None
) -> list[Task]:
    """The tasks that wait for a further message. The first one gets `received`, the others `opening`."""
    for index, task in enumerate(tasks):
        message = received if index == 0 or opening is None else opening
        if task.process(sa, message, now) is Step.MORE:
            return tasks[index:]
    return []


def build_all(tasks: list[Task], sa: IkeSa, out: Outgoing, now: int) -> None:
    for task in tasks:
        task.build(sa, out, now)
