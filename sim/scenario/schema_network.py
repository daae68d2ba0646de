"""Nodes and links of a scenario."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from sim.scenario.schema_types import (
    Directed,
    Duration,
    End,
    FrozenDict,
    InterfaceAddress,
    Model,
    Name,
    OneOrMany,
    Prefix,
    Rate,
    Ratio,
    Size,
    Table,
)
from sim.units import format_duration, format_size, parse_size

DependsOn = Literal["endpoint-independent", "address-dependent", "address-and-port-dependent"]
"""What else a NAT's mapping, or its filter, depends on (RFC 4787 4.1 and 5)."""


Extra = Annotated[Duration, Field(ge=0)]


class _Node(Model):
    interfaces: Annotated[Table[OneOrMany[InterfaceAddress]], Field(min_length=1)]
    """Name to addresses, the preferred interface first: it is used when several lead to a place."""
    routes: Annotated[dict[Prefix, Name], AfterValidator(FrozenDict)] = Field(default_factory=FrozenDict)
    """Prefix to interface, where the way that follows from the links is not wanted."""


class HostNode(_Node):
    """An end system: it forwards nothing, and may be the end of a tunnel."""

    kind: Literal["host"]


class RouterNode(_Node):
    """Forwards by longest prefix match, and knows no IPsec."""

    kind: Literal["router"]


class GatewayNode(_Node):
    """A router that may be the end of a tunnel."""

    kind: Literal["gateway"]


class NatNode(_Node):
    """A NAT box: a preset, and what differs from it."""

    kind: Literal["nat"]
    preset: Literal["home", "cgn", "symmetric"] = "home"
    outside: Name = "wan"
    """The interface whose first address stands for everything behind the others."""
    mapping: DependsOn | None = None
    filtering: DependsOn | None = None
    udp_timeout: Duration | None = None
    port_assignment: Literal["preserving", "random"] | None = None


Node = Annotated[HostNode | RouterNode | GatewayNode | NatNode, Field(discriminator="kind")]


class UniformJitter(Model):
    """Anything from `low` to `high`. In short, `2 ms` is `{distribution: uniform, high: 2 ms}`."""

    distribution: Literal["uniform"]
    low: Extra = 0
    high: Extra

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError("`low` is above `high`")
        return self

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> object:
        return handler(self) if self.low else format_duration(self.high)


class NormalJitter(Model):
    """Cut off at zero."""

    distribution: Literal["normal"]
    mean: Extra
    deviation: Extra


class ExponentialJitter(Model):
    distribution: Literal["exponential"]
    mean: Annotated[Duration, Field(gt=0)]


def _jitter(value: object) -> object:
    return value if isinstance(value, (dict, Model)) else {"distribution": "uniform", "high": value}


Jitter = Annotated[
    Annotated[UniformJitter | NormalJitter | ExponentialJitter, Field(discriminator="distribution")],
    BeforeValidator(_jitter, json_schema_input_type=str | UniformJitter | NormalJitter | ExponentialJitter),
]
"""What is added to a link's delay, packet by packet; never negative."""


class Queue(Model):
    """The most that waits for a link's transmitter; what comes on top is dropped. One of the two is set."""

    packets: int | None = None
    octets: int | None = None


_PACKETS = re.compile(r"(\d+) ?packets?")


def _queue(value: object) -> object:
    if isinstance(value, Queue):
        return value
    if not isinstance(value, str):
        raise ValueError(f'{value} has no unit: write "100 packets" or "64 KiB"')
    match = _PACKETS.fullmatch(value)
    limit = int(match[1]) if match else parse_size(value)
    if limit < 1:
        raise ValueError("a queue that holds nothing lets nothing through: write at least 1 packet")
    return Queue(packets=limit) if match else Queue(octets=limit)


def _format_queue(queue: Queue) -> str:
    return format_size(queue.octets) if queue.octets is not None else f"{queue.packets} packets"


QueueText = Annotated[
    Queue, BeforeValidator(_queue), PlainSerializer(_format_queue),
    WithJsonSchema({"type": "string", "examples": ["100 packets", "64 KiB"]}),
]  # fmt: skip


class Link(Model):
    """Two directed halves between two interfaces; symmetric unless a setting has `up` and `down`."""

    ends: Annotated[tuple[End, End], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
    rate: Directed[Rate] | None = None
    """None: packets take no time to send."""
    delay: Directed[Annotated[Duration, Field(ge=0)]] = Directed(up=0, down=0)
    jitter: Directed[Jitter] | None = None
    reorder: bool = False
    """Whether jitter may let a packet overtake another."""
    loss: Directed[Ratio] = Directed(up=0.0, down=0.0)
    queue: Directed[QueueText] = Directed(up=Queue(packets=1000), down=Queue(packets=1000))
    mtu: Annotated[Size, Field(ge=68, le=65535)] = 1500
    """At least what IPv4 needs (RFC 791 3.2); IPv6 needs 1280 (RFC 8200 5)."""
