"""Faults of a scenario: what goes wrong on purpose with chosen IKE messages of a node.

`nth` and `count` choose among those that fit, counted from 1. Faults of the wire (`drop` to `replay`) count
every sending, retransmissions too. `bump-version` and `critical-payload` count messages, each once, however
often it is sent. `cookie` and `ask-group` count requests of IKE_SA_INIT that arrive, `guess-group` IKE SAs
that the node initiates.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sim.ike.algorithms import TOKENS, is_supported
from sim.ike.constants import TransformType
from sim.scenario.schema_traffic import Span, Time
from sim.scenario.schema_types import Model, Name

Exchange = Literal[
    "IKE_SA_INIT",
    "IKE_INTERMEDIATE",
    "IKE_AUTH",
    "CREATE_CHILD_SA",
    "INFORMATIONAL",
    "IKE_FOLLOWUP_KE",
    "IKE_SESSION_RESUME",
]


def _group(text: str) -> str:
    transform = TOKENS.get(text)
    if transform is None or transform.type != TransformType.KE or not is_supported(transform):
        raise ValueError(f"{text!r} is no key exchange that is supported: write for example ecp256")
    return text


def _count(value: object) -> object:
    if value != "all" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError("must be a whole number from 1 on, or all")
    return value


Count = Annotated[Annotated[int, Field(ge=1)] | Literal["all"], BeforeValidator(_count)]
Group = Annotated[str, AfterValidator(_group)]


class _Fault(Model):
    node: Name
    """Who sends the messages, or demands the cookie or group."""
    connection: Name | None = None
    """As this node calls it; None: any, and answers that belong to none yet."""
    nth: Annotated[int, Field(ge=1)] = 1
    count: Count = 1
    """How many, from the n-th on."""


class _MessageFault(_Fault):
    exchange: Exchange | None = None
    """None: any."""
    message: Literal["request", "response"] | None = None
    """None: both."""


class DropFault(_MessageFault):
    """The message is lost at its sender."""

    do: Literal["drop"]


class DuplicateFault(_MessageFault):
    """The message leaves twice, the second time `after` the first."""

    do: Literal["duplicate"]
    after: Time = 0


class DelayFault(_MessageFault):
    """The message leaves `by` so much later."""

    do: Literal["delay"]
    by: Span


class ReorderFault(_MessageFault):
    """The message leaves after the next one of the node to the same address."""

    do: Literal["reorder"]


class CorruptFault(_MessageFault):
    """One bit of the message is flipped: `bit` from the start of the IKE header, or one drawn behind it."""

    do: Literal["corrupt"]
    bit: Annotated[int, Field(ge=0)] | None = None


class ReplayFault(_MessageFault):
    """The same octets leave once more, `after` so much time."""

    do: Literal["replay"]
    after: Span


class BumpVersionFault(_MessageFault):
    """The header says major version 3 (RFC 7296 2.5)."""

    do: Literal["bump-version"]


class CriticalPayloadFault(_MessageFault):
    """The message has one payload more, critical and of a type that nobody knows (RFC 7296 2.5)."""

    do: Literal["critical-payload"]


class CookieFault(_Fault):
    """The node demands a cookie although nothing presses it (RFC 7296 2.6)."""

    do: Literal["cookie"]
    accept: bool = True
    """Whether a good one is accepted."""


class GuessGroupFault(_Fault):
    """As an initiator the node sends the key exchange of another group of its own first (RFC 7296 1.2)."""

    do: Literal["guess-group"]
    group: Group | None = None
    """None: the last one that it offers."""


class AskGroupFault(_Fault):
    """As a responder the node asks for another group than it was sent (RFC 7296 1.2)."""

    do: Literal["ask-group"]
    group: Group | None = None
    """None: the best other one that both sides have."""


Fault = Annotated[
    DropFault | DuplicateFault | DelayFault | ReorderFault | CorruptFault | ReplayFault | BumpVersionFault
    | CriticalPayloadFault | CookieFault | GuessGroupFault | AskGroupFault,
    Field(discriminator="do"),
]  # fmt: skip
