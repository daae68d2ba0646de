"""What is legal: which payloads an exchange carries, in which state of the IKE SA (RFC 7296 1.2 to 1.5).

IKE_SESSION_RESUME is RFC 5723's, IKE_INTERMEDIATE RFC 9242's, IKE_FOLLOWUP_KE RFC 9370's.

A task may assume that this table was checked. Payloads that the table does not name are ignored by whoever
does not understand them (RFC 7296 2.5), so that extensions can add theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sim.ike.constants import FIRST_STATUS_NOTIFY, INITIAL, ExchangeType, NotifyType, PayloadType
from sim.ike.errors import PeerError, Scope
from sim.ike.message import Message
from sim.ike.payloads import NotifyPayload
from sim.ike.shapes import Shape, remembered
from sim.wire.value import quick


@quick
class State(Enum):
    """Where an IKE SA is."""

    CONNECTING = "connecting"  # we initiated; keys or authentication are outstanding
    HALF_OPEN = "half-open"  # we answered IKE_SA_INIT; the peer has proved nothing
    ESTABLISHED = "established"
    REKEYED = "rekeyed"  # another IKE SA has taken its place; the last request on it is still to come
    DELETING = "deleting"  # it is down already; our last request is outstanding
    CLOSED = "closed"


NEXT_STATES = {
    State.CONNECTING: {State.ESTABLISHED, State.DELETING, State.CLOSED},
    State.HALF_OPEN: {State.ESTABLISHED, State.CLOSED},
    State.ESTABLISHED: {State.REKEYED, State.DELETING, State.CLOSED},
    State.REKEYED: {State.DELETING, State.CLOSED},
    State.DELETING: {State.CLOSED},
    State.CLOSED: set[State](),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One message: each of `required` once, each of `once` at most once, `together` all or none.

    Of `either` there is at least one, and of each at most one.
    """

    required: frozenset[PayloadType] = frozenset()
    once: frozenset[PayloadType] = frozenset()
    together: frozenset[PayloadType] = frozenset()
    either: frozenset[PayloadType] = frozenset()

    @property
    def at_most_once(self) -> frozenset[PayloadType]:
        return self.once | self.together | self.either


_SA, _KE, _NONCE = PayloadType.SA, PayloadType.KE, PayloadType.NONCE
_ID_I, _ID_R, _AUTH = PayloadType.ID_I, PayloadType.ID_R, PayloadType.AUTH
_EITHER = frozenset({_AUTH, PayloadType.EAP})
_TS = frozenset({PayloadType.TS_I, PayloadType.TS_R})
_INIT = Rule(required=frozenset({_SA, _KE, _NONCE}))

_RESUME = Rule(required=frozenset({_NONCE}))

REQUESTS = {
    ExchangeType.IKE_SA_INIT: _INIT,
    ExchangeType.IKE_SESSION_RESUME: _RESUME,
    ExchangeType.IKE_AUTH: Rule(
        required=frozenset({_ID_I}), once=frozenset({_ID_R, _AUTH}), together=_TS | {_SA}
    ),
    ExchangeType.CREATE_CHILD_SA: Rule(
        required=frozenset({_SA, _NONCE}), once=frozenset({_KE}), together=_TS
    ),
    ExchangeType.INFORMATIONAL: Rule(),
    ExchangeType.IKE_INTERMEDIATE: Rule(once=frozenset({_KE})),
    ExchangeType.IKE_FOLLOWUP_KE: Rule(required=frozenset({_KE})),
}
RESPONSES = {
    ExchangeType.IKE_SA_INIT: _INIT,
    ExchangeType.IKE_SESSION_RESUME: _RESUME,
    ExchangeType.IKE_AUTH: Rule(required=frozenset({_ID_R}), together=_TS | {_SA}, either=_EITHER),
    ExchangeType.CREATE_CHILD_SA: Rule(
        required=frozenset({_SA, _NONCE}), once=frozenset({_KE}), together=_TS
    ),
    ExchangeType.INFORMATIONAL: Rule(),
    ExchangeType.IKE_INTERMEDIATE: Rule(once=frozenset({_KE})),
    ExchangeType.IKE_FOLLOWUP_KE: Rule(required=frozenset({_KE})),
}
LATER_REQUESTS = {ExchangeType.IKE_AUTH: Rule(once=frozenset({_ID_R}), either=_EITHER | {_ID_I})}
LATER_RESPONSES = {ExchangeType.IKE_AUTH: Rule(together=_TS | {_SA}, either=_EITHER)}
"""What follows the first message of an exchange that has several: EAP alone, then AUTH (RFC 7296 2.16).

A second round begins with IDi, in a request (RFC 4739 2.2).
"""

_LATER = frozenset({ExchangeType.CREATE_CHILD_SA, ExchangeType.IKE_FOLLOWUP_KE, ExchangeType.INFORMATIONAL})
SERVED_IN = {
    State.HALF_OPEN: frozenset({ExchangeType.IKE_AUTH, ExchangeType.IKE_INTERMEDIATE}),
    State.ESTABLISHED: _LATER,
    State.REKEYED: _LATER,
    State.DELETING: _LATER,
}
"""The requests that are served in a state; any other is ignored."""

REFUSALS = frozenset(
    {
        NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
        NotifyType.INVALID_SYNTAX,
        NotifyType.AUTHENTICATION_FAILED,
    }
)
"""The errors in a protected response that end an IKE SA which is being set up (RFC 7296 2.21.2)."""


_STATELESS = (NotifyType.COOKIE, NotifyType.REDIRECT, NotifyType.TICKET_NACK)
"""What a responder may say instead of an answer, before it keeps any state."""


def check_request(message: Message, *, opened: bool = False) -> None:
    """PeerError when a payload is missing, repeated or half of a pair, or an unknown one is critical.

    `opened` is that it goes on with an exchange that an earlier message has begun.
    """
    unknown = message.unsupported_critical()
    if unknown is not None:
        text = f"the peer insists on a payload of type {unknown.payload_type}, which is not known here"
        raise PeerError(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, text, data=bytes((unknown.payload_type,)))
    _check(_request_problem(message.shape, message.header.exchange, opened))


def check_response(message: Message, *, opened: bool = False) -> None:
    """As for a request; what is required may give way to an error, a cookie or a redirection."""
    if message.unsupported_critical() is not None:
        text = "a critical payload of the response is unknown"
        raise PeerError(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, text)
    exchange = message.header.exchange
    initial = exchange in INITIAL
    stateless = initial and any(message.notify(kind) is not None for kind in _STATELESS)
    if not stateless and first_error(message) is None:
        _check(_response_problem(message.shape, exchange, opened))


def first_error(message: Message) -> NotifyPayload | None:
    """The first error notification (RFC 7296 3.10.1)."""
    error = _error_of(message.shape)
    return None if error is None else message.notify(error)


@remembered
def _error_of(shape: Shape) -> int | None:
    for each in shape:
        notify_type, kind = divmod(each, 256)
        if kind == PayloadType.NOTIFY and notify_type < FIRST_STATUS_NOTIFY:
            return notify_type
    return None


def _check(problem: str) -> None:
    if problem:
        raise PeerError(NotifyType.INVALID_SYNTAX, problem, Scope.IKE_SA)


# The table is asked once for each of the few shapes that go back and forth.


@remembered
def _request_problem(shape: Shape, exchange: int, opened: bool) -> str:
    return _problem((LATER_REQUESTS if opened else REQUESTS)[ExchangeType(exchange)], shape)


@remembered
def _response_problem(shape: Shape, exchange: int, opened: bool) -> str:
    rules = LATER_RESPONSES if opened and exchange in LATER_RESPONSES else RESPONSES
    return _problem(rules[ExchangeType(exchange)], shape)


def _problem(rule: Rule, kinds: tuple[int, ...]) -> str:
    """How a message with these payload types breaks a rule, or nothing."""
    for kind in rule.required:
        if kinds.count(kind) != 1:
            return f"{kinds.count(kind)} {kind.name} payloads where there must be one"
    for kind in rule.at_most_once:
        if kinds.count(kind) > 1:
            return f"{kinds.count(kind)} {kind.name} payloads where there may be one"
    if rule.either and not any(kind in kinds for kind in rule.either):
        return f"none of {', '.join(sorted(kind.name for kind in rule.either))}"
    present = [kind for kind in rule.together if kind in kinds]
    if present and len(present) < len(rule.together):
        names = ", ".join(sorted(kind.name for kind in rule.together))
        return f"only some of {names}"
    return ""
