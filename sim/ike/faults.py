"""Faults on purpose: what goes wrong with chosen messages of one endpoint, for labs and tests.

A wire fault acts on datagrams as they leave: each sending counts, retransmissions too. A message fault acts
when a message is made, or asked about: it counts once, however often the message is sent. The IKE header, by
which messages are chosen, is in clear (RFC 7296 3.1). Only a bit that a fault leaves open is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sim.ike.constants import ExchangeType, Flags, name_of
from sim.ike.events import FaultApplied, MessageSent
from sim.ike.message import HEADER_BYTES, MAJOR_VERSION, Header
from sim.ike.payloads import Payload, UnknownPayload
from sim.wire.value import value

if TYPE_CHECKING:
    from sim.ike.context import Context, Datagram
    from sim.ike.sa import IkeSa

CRITICAL_TYPE = 200
"""A payload type for private use (RFC 7296 3.2), which no stack knows."""

_EXCHANGE_AT, _FLAGS_AT = 18, 19


class Verb(StrEnum):
    """What a fault does; the first six are wire faults."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    REORDER = "reorder"
    CORRUPT = "corrupt"
    REPLAY = "replay"
    BUMP_VERSION = "bump-version"
    CRITICAL_PAYLOAD = "critical-payload"
    COOKIE = "cookie"
    GUESS_GROUP = "guess-group"
    ASK_GROUP = "ask-group"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: of the messages that fit, the `nth` and the `count` - 1 after it (None: all after it).

    `exchange`, `response` and `connection` choose; None and "" leave it open. `delay` (ns) is of `delay`,
    `duplicate` and `replay`; `bit` of `corrupt`, counted from the first bit of the IKE header, None: drawn
    from those behind it; `group` of the two about groups, None: another one that both sides have. `accept`
    False makes no cookie good enough.
    """

    verb: Verb
    exchange: ExchangeType | None = None
    response: bool | None = None
    connection: str = ""
    nth: int = 1
    count: int | None = 1
    delay: int = 0
    bit: int | None = None
    group: int | None = None
    accept: bool = True

    def fits(self, exchange: int, response: bool, connections: Iterable[str]) -> bool:
        return (
            self.exchange in (None, exchange)
            and self.response in (None, response)
            and (not self.connection or self.connection in connections)
        )


@value
class Copy:
    """A datagram that leaves, `delay` ns late, or is `lost`; its IKE message begins at `marker`.

    `fault` says what was done to it, "" nothing. `changed` are the octets that leave instead of the origin's.
    """

    origin: Datagram
    marker: int
    connection: str
    said: MessageSent | None = None
    fault: str = ""
    delay: int = 0
    lost: bool = False
    changed: bytes = b""

    @property
    def datagram(self) -> Datagram:
        return replace(self.origin, data=self.changed) if self.changed else self.origin

    @property
    def bits(self) -> int:
        return 8 * (len(self.origin.data) - self.marker)


class Faults:
    """The faults of one endpoint, and how often each has been applied."""

    def __init__(self, faults: Iterable[Fault], rand: Callable[[int], bytes]) -> None:
        self.faults = tuple(faults)
        self.applied = [0] * len(self.faults)
        self._seen = [0] * len(self.faults)
        self._rand = rand
        self._held: list[Copy] = []

    @property
    def held(self) -> int:
        """How many messages wait for the next one to overtake them."""
        return len(self._held)

    # -- wire faults -------------------------------------------------------------------------------------

    def wire(self, copy: Copy) -> list[Copy]:
        """What leaves instead of a datagram, in this order."""
        held, self._held = self._held, []
        exchange, flags = (copy.origin.data[copy.marker + at] for at in (_EXCHANGE_AT, _FLAGS_AT))
        copies = [copy]
        for index in self._due(_WIRE, exchange, bool(flags & Flags.RESPONSE), (copy.connection,)):
            act = _WIRE[self.faults[index].verb]
            copies = [done for one in copies for done in act(self, index, one)]
        to = copy.origin.dst[0]
        self._held += [one for one in held if one.origin.dst[0] != to]
        return copies + [one for one in held if one.origin.dst[0] == to]

    def _drop(self, index: int, copy: Copy) -> list[Copy]:
        return [replace(copy, fault=self._apply(index), lost=True)]

    def _duplicate(self, index: int, copy: Copy) -> list[Copy]:
        later = copy.delay + self.faults[index].delay
        return [copy, replace(copy, fault=self._apply(index), delay=later)]

    def _delay(self, index: int, copy: Copy) -> list[Copy]:
        return [replace(copy, fault=self._apply(index), delay=copy.delay + self.faults[index].delay)]

    def _reorder(self, index: int, copy: Copy) -> list[Copy]:
        self._held.append(replace(copy, fault=self._apply(index)))
        return []

    def _corrupt(self, index: int, copy: Copy) -> list[Copy]:
        bit = self.faults[index].bit
        if bit is None:
            first = 8 * HEADER_BYTES
            bit = first + int.from_bytes(self._rand(8), "big") % max(copy.bits - first, 1)
        if bit >= copy.bits:
            return [copy]
        data = bytearray(copy.datagram.data)
        data[copy.marker + bit // 8] ^= 0x80 >> bit % 8
        return [replace(copy, fault=f"{self._apply(index)}, bit {bit}", changed=bytes(data))]

    # -- message faults ----------------------------------------------------------------------------------

    def encode(
        self, sa: IkeSa, header: Header, payloads: Sequence[Payload]
    ) -> tuple[Header, Sequence[Payload]]:
        """A message that is about to be encoded, changed."""
        names = (sa.connection.name,)
        for index in self._due(_ENCODING, header.exchange, header.is_response, names):
            if self.faults[index].verb is Verb.BUMP_VERSION:
                header = replace(header, version=(MAJOR_VERSION + 1) << 4 | header.version & 0xF)
            else:
                payloads = [*payloads, UnknownPayload(CRITICAL_TYPE, b"", critical=True)]
            self._tell(sa.ctx, index, sa.connection.name)
        return header, payloads

    def cookie(self, ctx: Context, connections: Sequence[str]) -> bool | None:
        """Whether a request of IKE_SA_INIT needs a cookie: None no, True a good one, False none is good."""
        for index in self._due({Verb.COOKIE}, ExchangeType.IKE_SA_INIT, False, connections):
            self._tell(ctx, index, "")
            return self.faults[index].accept
        return None

    def guess(self, sa: IkeSa, groups: Sequence[int]) -> int:
        """The group whose key exchange an initiator sends first, of those that it offers."""
        names = (sa.connection.name,)
        for index in self._due({Verb.GUESS_GROUP}, ExchangeType.IKE_SA_INIT, False, names):
            wanted = self.faults[index].group
            group = next((g for g in reversed(groups) if wanted in (None, g)), groups[0])
            if group != groups[0]:
                self._tell(sa.ctx, index, sa.connection.name)
                return group
        return groups[0]

    def ask(self, ctx: Context, connection: str, common: Sequence[int], sent: int) -> int | None:
        """The group that a responder asks for, of those that both sides have; None when it is content."""
        for index in self._due({Verb.ASK_GROUP}, ExchangeType.IKE_SA_INIT, False, (connection,)):
            others = [group for group in common if group != sent]
            wanted = self.faults[index].group
            if wanted is not None or others:
                self._tell(ctx, index, connection)
                return others[0] if wanted is None else wanted
        return None

    # -- helpers -----------------------------------------------------------------------------------------

    def _due(
        self, verbs: Iterable[Verb], exchange: int, response: bool, connections: Iterable[str]
    ) -> list[int]:
        """The faults whose turn it is; every one that fits has seen one message more."""
        due = []
        for index, fault in enumerate(self.faults):
            if fault.verb in verbs and fault.fits(exchange, response, connections):
                self._seen[index] += 1
                past = self._seen[index] - fault.nth
                if past >= 0 and (fault.count is None or past < fault.count):
                    due.append(index)
        return due

    def _apply(self, index: int) -> str:
        self.applied[index] += 1
        return words(self.faults[index])

    def _tell(self, ctx: Context, index: int, connection: str) -> None:
        ctx.emit(FaultApplied(connection, self._apply(index)))


_WIRE: dict[Verb, Callable[[Faults, int, Copy], list[Copy]]] = {
    Verb.DROP: Faults._drop,
    Verb.DUPLICATE: Faults._duplicate,
    Verb.DELAY: Faults._delay,
    Verb.REORDER: Faults._reorder,
    Verb.CORRUPT: Faults._corrupt,
    Verb.REPLAY: Faults._duplicate,
}
_ENCODING = frozenset({Verb.BUMP_VERSION, Verb.CRITICAL_PAYLOAD})


def words(fault: Fault) -> str:
    """What a fault does, in a few words."""
    kind = {True: " response", False: " request", None: ""}[fault.response]
    return f"{fault.verb}{f' {name_of(ExchangeType, fault.exchange)}' if fault.exchange else ''}{kind}"
