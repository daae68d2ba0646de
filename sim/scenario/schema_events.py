"""The `events:` of a scenario: what happens to nodes while the run goes on, and when."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sim.scenario.schema_types import Address, Duration, InterfaceAddress, Model, Name, Prefix, Size

Time = Annotated[Duration, Field(ge=0)]
Span = Annotated[Duration, Field(gt=0)]


class Condition(Model):
    """Something that happens to a connection."""

    connection: Name
    node: Name | None = None
    """At which end; None: at either."""
    is_: Annotated[Literal["established", "failed", "closed", "rekeyed", "moved"], Field(alias="is")]
    """`rekeyed` is the IKE SA, `moved` that it uses other addresses."""


class _Event(Model):
    """At a time, again and again from then on, or whenever a condition comes true."""

    at: Time | None = None
    when: Condition | None = None
    after: Time = 0
    """How long after `when`."""
    every: Span | None = None
    """From `at` on."""
    times: Annotated[int, Field(ge=1)] | None = None
    """How often at most; None: with `every` until the end, with `when` once."""
    node: Name
    spread: Time = 0
    """Of a node with `count`: over which time it happens to one after the other; 0 s: to all at once."""

    @model_validator(mode="after")
    def _has_its_time(self) -> Self:
        if (self.at is None) is (self.when is None):
            raise ValueError("needs either `at: 5 s` or `when: {connection: NAME, is: established}`")
        if self.when is None and self.after:
            raise ValueError("`after` is the time after `when`: give that, or write `at` alone")
        if self.at is None and self.every is not None:
            raise ValueError("`every` counts from `at`: give that, or leave `every` out")
        if self.times is not None and self.every is None and self.when is None:
            raise ValueError("`times` needs `every` or `when`: at one time it happens once")
        return self

    def begins(self, end: int) -> tuple[int, ...]:
        """When it happens in a run that lasts until `end` (ns), as far as that is known beforehand."""
        if self.at is None or self.at >= end:
            return ()
        if self.every is None:
            return (self.at,)
        instants = range(self.at, end, self.every)
        return tuple(instants if self.times is None else instants[: self.times])


class MoveEvent(_Event):
    """The node loses one interface and, after `gap`, has another; or it has both for `overlap`."""

    do: Literal["move"]
    from_: Annotated[Name, Field(alias="from")]
    to: Name
    gap: Time = 0
    """Break before make: how long it has neither."""
    overlap: Time = 0
    """Make before break: how long it has both."""

    @model_validator(mode="after")
    def _breaks_or_makes_first(self) -> Self:
        if self.gap and self.overlap:
            raise ValueError("`gap` and `overlap` exclude each other")
        return self


class UpEvent(_Event):
    do: Literal["up"]
    interface: Name


class DownEvent(_Event):
    do: Literal["down"]
    interface: Name


class FlapEvent(_Event):
    """An interface goes down, and comes up again after `gap`."""

    do: Literal["flap"]
    interface: Name
    gap: Span


class AddressEvent(_Event):
    """The node has another address on an interface, or has one no longer."""

    do: Literal["add-address", "remove-address"]
    interface: Name
    address: InterfaceAddress


class RebindEvent(_Event):
    """The NAT gives every mapping another port; with `address`, it has another address outside."""

    do: Literal["rebind"]
    address: InterfaceAddress | None = None
    """As in `interfaces`. What was mapped is lost, as with a new lease of the provider's."""

    @model_validator(mode="after")
    def _is_ipv4(self) -> Self:
        if self.address is not None and ipaddress.ip_interface(self.address).version != 4:
            raise ValueError(f"a NAT's address is IPv4, not {self.address}")
        return self


class RebootEvent(_Event):
    """The node is away for `gap`, and has forgotten everything: a NAT its mappings, a peer all its SAs."""

    do: Literal["reboot"]
    gap: Time = 0


class RetimeEvent(_Event):
    """The NAT's timeouts are others from now on, for what is mapped or refreshed afterwards."""

    do: Literal["retime"]
    udp_timeout: Span | None = None
    udp_stream_timeout: Span | None = None
    icmp_timeout: Span | None = None
    tcp_timeout: Span | None = None
    tcp_transitory_timeout: Span | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.timeouts():
            raise ValueError("changes nothing: give at least one timeout, such as `udp_timeout: 10 s`")
        return self

    def timeouts(self) -> dict[str, int]:
        """Those that are given, in ns."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name.endswith("_timeout")}
        return {name: timeout for name, timeout in given.items() if timeout is not None}


class ExhaustEvent(_Event):
    """Others take all ports of the NAT that are left, and give them back after `gap`; 0 s: never."""

    do: Literal["exhaust"]
    gap: Time = 0


class BlockEvent(_Event):
    """A firewall's rule: what comes in at any interface and fits is dropped, until `unblock`.

    `icmp-errors` are those of others and the node's own: an ICMP black hole.
    """

    do: Literal["block"]
    rule: Name
    """What `unblock` calls it."""
    protocol: Literal["any", "udp", "tcp", "icmp", "icmp-errors", "esp", "ah"] = "any"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Of UDP or TCP, at either end."""
    network: Prefix | None = None
    """Where it comes from or goes to."""

    @model_validator(mode="after")
    def _has_ports(self) -> Self:
        if self.port is not None and self.protocol not in ("udp", "tcp"):
            raise ValueError("only udp and tcp have ports: give `protocol: udp`, or leave `port` out")
        return self


class UnblockEvent(_Event):
    do: Literal["unblock"]
    rule: Name


class SaEvent(_Event):
    """What a user of the node commands, as with `swanctl --initiate`, `--rekey` and `--terminate`."""

    do: Literal["initiate", "rekey", "reauthenticate", "terminate"]
    connection: Name
    child: Name | None = None
    """None: the IKE SA; of `initiate` all Child SAs."""

    @model_validator(mode="after")
    def _authenticates_no_child(self) -> Self:
        if self.do == "reauthenticate" and self.child is not None:
            raise ValueError("a Child SA is not authenticated: leave out `child`")
        return self


class RedirectEvent(_Event):
    """A gateway sends those who have called it by a connection to another one (RFC 5685 5), as with
    `swanctl --redirect`; only those go that have said they would."""

    do: Literal["redirect"]
    connection: Name
    to: Address


class DummyEvent(_Event):
    """The node hides how much it says among dummy packets, which the peer drops (RFC 4303 2.6)."""

    do: Literal["dummy"]
    connection: Name
    child: Name | None = None
    """None: every Child SA."""
    count: Annotated[int, Field(ge=1, le=100_000)] = 1
    """How many are sent at once on each SA."""
    size: Annotated[Size, Field(ge=0, le=65_000)] | None = None
    """Octets inside; by default those that `tfc_padding` makes, or 64. Never more than the path takes."""


Event = Annotated[
    MoveEvent
    | RebindEvent
    | UpEvent
    | DownEvent
    | FlapEvent
    | AddressEvent
    | RebootEvent
    | RetimeEvent
    | ExhaustEvent
    | BlockEvent
    | UnblockEvent
    | SaEvent
    | RedirectEvent
    | DummyEvent,
    Field(discriminator="do"),
]
