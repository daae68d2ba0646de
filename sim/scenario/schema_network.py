"""Nodes and links of a scenario."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from sim.scenario.schema_types import (
    Address,
    Directed,
    Duration,
    End,
    FrozenDict,
    InterfaceAddresses,
    Many,
    Model,
    Name,
    Prefix,
    Rate,
    Ratio,
    Size,
    Table,
)
from sim.units import NS_PER_S, format_size, parse_size


def _port_range(value: object) -> object:
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be text such as 1024-65535")
    low, high = int(match[1]), int(match[2])
    if not 1 <= low <= high <= 65535:
        raise ValueError(f"{low} to {high} is no range of ports: they go from 1 to 65535")
    return low, high


def _ipv4(text: str) -> str:
    if "." not in text:
        raise ValueError(f"{text} is not an IPv4 address")
    return text


Port = Annotated[int, Field(ge=1, le=65535)]
PortRange = Annotated[
    tuple[int, int], BeforeValidator(_port_range), PlainSerializer(lambda ports: f"{ports[0]}-{ports[1]}"),
    WithJsonSchema({"type": "string", "examples": ["1024-65535"]}),
]  # fmt: skip
IPv4 = Annotated[Address, AfterValidator(_ipv4)]

DependsOn = Literal["endpoint-independent", "address-dependent", "address-and-port-dependent"]
"""What else a NAT's mapping, or its filter, depends on (RFC 4787 4.1 and 5)."""


TcpStateName = Literal[
    "syn_sent", "syn_recv", "fin_wait", "close_wait", "last_ack", "time_wait", "close"
]  # fmt: skip
IcmpKind = Literal["errors", "too-big", "unreachable", "time-exceeded", "parameter-problem", "echo"]
MAX_COUNT = 10_000
Cpus = Annotated[int, Field(ge=1, le=1024)]


class _Node(Model):
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 1
    """So many of it, `NAME-1` and so on, each with links, tunnels, flows and events of its own."""
    interfaces: Annotated[Table[InterfaceAddresses], Field(min_length=1)]
    """Name to addresses, the preferred interface first: it is used when several lead to a place."""
    routes: Annotated[dict[Prefix, Name], AfterValidator(FrozenDict)] = Field(default_factory=FrozenDict)
    """Prefix to interface, where the way that follows from the links is not wanted."""

    drop_icmp: Many[IcmpKind] = ()
    """What ICMP it drops when it comes in, for itself or for others; `errors` are all of these but `echo`.
    So do many firewalls, and so does a gateway that believes no unprotected ICMP (RFC 4301 6.1.1)."""


class _IpsecNode(_Node):
    default_policy: Literal["bypass", "discard"] = "bypass"
    """What becomes of packets that no policy matches (RFC 4301 4.4.1). Linux: `ip xfrm policy setdefault`."""

    min_pmtu: Annotated[Size, Field(ge=68, le=65535)] = 576
    """The least path MTU that ICMP can make it believe in; 1280 B with IPv6."""
    pmtu_aging: Annotated[Duration, Field(gt=0)] = 600 * NS_PER_S
    """How long it believes what ICMP says of a path (RFC 1191 6.3)."""

    cpus: Cpus = 1
    """How many share the traffic of a Child SA with `per_cpu_sas`; each flow belongs to one of them."""


class HostNode(_IpsecNode):
    """An end system: it forwards nothing, and may be the end of a tunnel."""

    kind: Literal["host"]


class RouterNode(_Node):
    """Forwards by longest prefix match, and knows no IPsec."""

    kind: Literal["router"]


class GatewayNode(_IpsecNode):
    """A router that may be the end of a tunnel."""

    kind: Literal["gateway"]


class ForwardRule(Model):
    """What comes from outside to a port of the first external address goes to a host inside."""

    protocol: Literal["udp", "tcp"]
    port: Port
    to: IPv4
    to_port: Port | None = None
    """None: the same."""


class NatNode(_Node):
    """A NAT box: a preset, and what differs from it."""

    kind: Literal["nat"]
    preset: Literal[
        "home", "corporate", "cgn", "cloud", "mobile", "hotel", "linux", "full-cone", "restricted-cone",
        "port-restricted-cone", "symmetric",
    ] = "home"  # fmt: skip
    outside: Name = "wan"
    """The interface whose IPv4 addresses stand for everything behind the others."""
    mapping: DependsOn | None = None
    filtering: DependsOn | None = None
    udp_timeout: Annotated[Duration, Field(gt=0)] | None = None
    udp_stream_timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Of preset `linux`: for UDP that goes both ways for more than 2 s; `udp_timeout` is for all other."""
    icmp_timeout: Annotated[Duration, Field(gt=0)] | None = None
    tcp_timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Of established connections."""
    tcp_transitory_timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Of connections that open or close."""
    tcp_state_timeouts: Annotated[
        dict[TcpStateName, Annotated[Duration, Field(gt=0)]], AfterValidator(FrozenDict)
    ] = Field(default_factory=FrozenDict)  # type: ignore[arg-type]
    """Of preset `linux`, where they differ from net.netfilter.nf_conntrack_tcp_timeout_*; `tcp_timeout` is
    that of established connections."""
    refresh: Literal["outbound", "any"] | None = None
    """Which packets keep a mapping alive (RFC 4787 4.3)."""
    port_assignment: Literal["preserving", "contiguous", "random", "parity", "block"] | None = None
    port_range: PortRange | None = None
    """What ports are taken from, such as 1024-65535."""
    block_size: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Of `port_assignment: block`: how many ports a subscriber gets at a time."""
    blocks_per_subscriber: Annotated[int, Field(ge=1, le=65535)] | None = None
    pooling: Literal["paired", "arbitrary"] | None = None
    """Whether all mappings of an inside address have the same of several external ones (RFC 4787 4.1)."""
    hairpinning: Literal["none", "external-source", "internal-source"] | None = None
    """How packets from inside to an external endpoint of the inside look (RFC 4787 6)."""
    fragments: Literal["reassemble", "drop", "first-only"] | None = None
    esp: Literal["none", "one-client", "spi"] | None = None
    """What becomes of ESP without UDP (RFC 3715 2.2)."""
    esp_timeout: Annotated[Duration, Field(gt=0)] | None = None
    ike_gateway: Literal["none", "spi"] | None = None
    """Whether the box leaves port 500 alone and tells clients apart by their IKE SPIs."""
    port_500: Literal["translate", "keep", "drop"] | None = None
    port_4500: Literal["translate", "keep", "drop"] | None = None
    esp_in_udp_apart: bool | None = None
    """Whether ESP in UDP comes from another external port than the IKE beside it."""
    udp_checksum: Literal["update", "zero", "stale"] | None = None
    forward: Many[ForwardRule] = ()
    one_to_one: Annotated[dict[IPv4, IPv4], AfterValidator(FrozenDict)] = Field(default_factory=FrozenDict)
    """Inside addresses that have an outside one to themselves, whatever the protocol (RFC 3022 2.1)."""
    nat64: Prefix | None = None
    """What IPv6 hosts inside reach IPv4 ones by, such as 64:ff9b::/96 (RFC 6146, RFC 6052 2.2)."""
    nptv6: Annotated[dict[Prefix, Prefix], AfterValidator(FrozenDict)] = Field(default_factory=FrozenDict)
    """IPv6 prefixes of the inside, and what they are outside, of one length up to /64 (RFC 6296)."""


class AllowRule(Model):
    """What may come in unasked; `icmp` is an echo request."""

    protocol: Literal["udp", "tcp", "icmp", "esp", "ah"]
    port: Port | None = None
    """Of UDP or TCP, where it goes to; None: any."""
    to: Address | None = None
    """None: anywhere inside."""


class FirewallNode(_Node):
    """A router that lets in what answers, and translates nothing (RFC 6092)."""

    kind: Literal["firewall"]
    outside: Name = "wan"
    """The interface that faces what is not trusted."""
    filtering: DependsOn | None = None
    """What of whom the inside has sent to may answer (RFC 4787 5); else address and port."""
    udp_timeout: Annotated[Duration, Field(gt=0)] | None = None
    """How long state of UDP lives without a packet; else 2 min."""
    icmp_timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Else 60 s."""
    tcp_timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Of established connections; else 124 min."""
    tcp_transitory_timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Of connections that open or close; else 4 min."""
    refresh: Literal["outbound", "any"] | None = None
    """Which packets keep state alive; else any."""
    fragments: Literal["reassemble", "drop", "first-only"] | None = None
    """`reassemble`, the default, judges all of a packet and sends its fragments on as they came."""
    esp: Literal["track", "drop"] = "track"
    """What becomes of ESP and AH: state of two addresses, for they have no ports."""
    esp_timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Else 2 min."""
    allow: Many[AllowRule] = ()


Node = Annotated[HostNode | RouterNode | GatewayNode | NatNode | FirewallNode, Field(discriminator="kind")]


class Jitter(Model):
    """What a packet's delay differs by. In short, `2 ms` is `{distribution: uniform, scale: 2 ms}`.

    `scale` is the half-width of uniform (delay - scale to delay + scale), the standard deviation of normal
    around the delay, and the mean of exponential, which comes on top. No delay becomes negative.
    """

    distribution: Literal["uniform", "normal", "exponential"] = "uniform"
    scale: Annotated[Duration, Field(gt=0)]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: object) -> object:
        return data if isinstance(data, dict) else {"scale": data}

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> object:
        whole = handler(self)
        return whole.get("scale") if self.distribution == "uniform" else whole

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [whole["properties"]["scale"], dict(whole)]}


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


_LIMIT = Queue(packets=1000)  # what Linux gives an Ethernet interface (txqueuelen)
QueueText = Annotated[
    Queue, BeforeValidator(_queue), PlainSerializer(_format_queue),
    WithJsonSchema({"type": "string", "examples": ["100 packets", "64 KiB"]}),
]  # fmt: skip


class DirectedRate(Directed[Rate]):
    pass


class DirectedDelay(Directed[Annotated[Duration, Field(ge=0)]]):
    pass


class DirectedJitter(Directed[Jitter]):
    pass


class DirectedLoss(Directed[Ratio]):
    pass


class DirectedQueue(Directed[QueueText]):
    pass


class Link(Model):
    """Two directed halves between two interfaces; symmetric unless a setting has `up` and `down`."""

    ends: Annotated[tuple[End, End], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
    rate: DirectedRate | None = None
    """None: packets take no time to send."""
    delay: DirectedDelay = Field(default_factory=lambda: DirectedDelay.model_validate("0 s"))
    jitter: DirectedJitter | None = None
    reorder: bool = False
    """Whether jitter may let a packet overtake another."""
    loss: DirectedLoss = Field(default_factory=lambda: DirectedLoss.model_validate("0 %"))
    queue: DirectedQueue = Field(default_factory=lambda: DirectedQueue(up=_LIMIT, down=_LIMIT))
    mtu: Annotated[Size, Field(ge=68, le=65535)] = 1500
    """At least what IPv4 needs (RFC 791 3.2); IPv6 needs 1280 (RFC 8200 5)."""
