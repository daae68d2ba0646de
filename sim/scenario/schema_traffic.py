"""Traffic and checks of a scenario."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from sim.scenario.schema_types import (
    END_PATTERN,
    NAME_PATTERN,
    CodePoint,
    Duration,
    Model,
    Name,
    Rate,
    Ratio,
    Size,
)

NS_BITS_PER_OCTET_SECOND = 8 * 10**9
"""One octet each nanosecond, in bit/s."""
Time = Annotated[Duration, Field(ge=0)]
Span = Annotated[Duration, Field(gt=0)]
_ECN = {"not-ect": 0, "ect1": 1, "ect0": 2}
RECORD_PATTERN = rf"{NAME_PATTERN[:-1]}(\.up|\.down)?$"
Target = Annotated[str, StringConstraints(pattern=rf"{NAME_PATTERN}|{END_PATTERN}")]
"""A node, whose first address is meant, or `node:interface`."""


class _Flow(Model):
    name: Name
    from_: Annotated[Name, Field(alias="from")]
    to: Target
    start: Time = 0


Pattern = Annotated[str, StringConstraints(pattern=r"^(random|([0-9a-fA-F]{2}){1,16})$")]
"""As `ping -p`: up to 16 octets in hex, over and over; or `random`, which does not compress."""


class _MarkedFlow(_Flow):
    pmtud: Literal["want", "do", "dont", "probe"] = "want"
    """What it makes of the path MTU, by the names of Linux's IP_MTU_DISCOVER: DF until a packet is too long
    for the path, then fragments; DF, and the socket refuses what is too long; no DF; DF whatever is known.
    The size of its packets stays what it is. IPv6 has no DF bit, and `dont` is as `want` there."""
    dscp: CodePoint = 0
    """The DSCP of its packets (RFC 2474); answers to a ping have it, too."""
    ecn: Literal["not-ect", "ect0", "ect1"] = "not-ect"
    """Whether they say that their ends understand congestion marks (RFC 3168)."""

    @property
    def tos(self) -> int:
        """The TOS octet or traffic class."""
        return self.dscp << 2 | _ECN[self.ecn]


class CbrFlow(_MarkedFlow):
    """UDP at a constant rate. `size` is the whole IP packet, and `rate` counts those octets."""

    kind: Literal["cbr"]
    size: Annotated[Size, Field(ge=28, le=65535)]
    rate: Rate
    stop: Time | None = None
    duration: Span | None = None
    pattern: Pattern | None = None
    """What fills the payload. None: every value of an octet in turn."""

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.stop is not None and self.duration is not None:
            raise ValueError("`stop` and `duration` both say when it ends: keep one")
        if self.stop is not None and self.stop <= self.start:
            raise ValueError("`stop` is not after `start`")
        if self.rate > self.size * NS_BITS_PER_OCTET_SECOND:
            raise ValueError("`rate` is more than a packet of that size each nanosecond")
        return self

    def stops_at(self, end: int) -> int:
        """When the last packet is behind us (ns), in a run that lasts until `end`."""
        stop = self.stop if self.stop is not None else end
        return min(end, stop if self.duration is None else self.start + self.duration)


class PingFlow(_MarkedFlow):
    """ICMP echo requests. `size` is the whole IP packet; 84 B is what `ping` sends by itself."""

    kind: Literal["ping"]
    interval: Span = 1_000_000_000
    size: Annotated[Size, Field(ge=28, le=65535)] = 84
    count: Annotated[int, Field(ge=1)] | None = None
    pattern: Pattern | None = None
    """What fills the payload. None: every value of an octet in turn."""


class ReplayFlow(_Flow):
    """A recorded exchange between two hosts, sent again between two nodes with its timing kept."""

    kind: Literal["replay"]
    file: str
    """Relative to the scenario's file."""
    client: str | None = None
    """The address in the capture that becomes `from`; None: whoever sends the first packet."""


def record_names(flow: CbrFlow | PingFlow | ReplayFlow) -> tuple[str, ...]:
    """The names that a flow has in results and checks: its own, or for a replay one for each direction."""
    return (f"{flow.name}.up", f"{flow.name}.down") if isinstance(flow, ReplayFlow) else (flow.name,)


Flow = Annotated[CbrFlow | PingFlow | ReplayFlow, Field(discriminator="kind")]


class ConnectionCheck(Model):
    """What must be true of a connection. Every key that is given must hold.

    With `by`, that state must have been reached no later; without, it must be the state at the end, as all
    the others are.
    """

    connection: Name
    node: Name | None = None
    """Which end is asked; None: every end that has the connection."""
    is_: Annotated[Literal["established", "failed", "closed"], Field(alias="is")] = "established"
    by: Time | None = None
    reason: str | None = None
    nat_local: bool | None = None
    nat_remote: bool | None = None
    encap: bool | None = None
    ppk: bool | None = None
    min_keepalive: Span | None = None
    """How long at least the interval of NAT keepalives has become."""
    max_keepalive: Span | None = None
    resumed: bool | None = None
    """Whether it was taken up by a ticket."""
    setup_round_trips: int | None = None
    """Exactly how many; two are the fewest, each additional key exchange takes one more."""


class FlowCheck(Model):
    """Limits that a flow must keep. Every key that is given must hold."""

    flow: Annotated[str, StringConstraints(pattern=RECORD_PATTERN)]
    """The name of a flow; of a replay `NAME.up`, what `from` sends, or `NAME.down`."""
    max_outage: Time | None = None
    max_loss: Ratio | None = None
    min_goodput: Rate | None = None
    max_latency: Span | None = None
    """For every packet that arrived."""
    min_received: Annotated[int, Field(ge=1)] | None = None
    max_received: Annotated[int, Field(ge=0)] | None = None
    """0 for what must not arrive at all."""

    @model_validator(mode="after")
    def _checks_something(self) -> Self:
        if self.model_fields_set <= {"flow"}:
            raise ValueError("checks nothing: give at least one limit, such as `max_loss: 1 %`")
        return self


class ChildCheck(Model):
    """What must be true at the end of the Child SAs that are installed under a name, all of which are meant.

    Every key that is given must hold of each. Counts are of inner packets.
    """

    child: Name
    connection: Name
    node: Name | None = None
    """Which end is asked; None: every end that has the connection."""
    cpu: Annotated[int, Field(ge=0)] | Literal["all"] | None = None
    """With `per_cpu_sas`: only those for this CPU, or the one for all of them. None: all there are."""
    sas: Annotated[int, Field(ge=0)] | None = None
    """How many there are at each end that is asked."""
    packets_in: Annotated[int, Field(ge=0)] | None = None
    packets_out: Annotated[int, Field(ge=0)] | None = None
    ipcomp: bool | None = None
    compressed_in: Annotated[int, Field(ge=0)] | None = None
    """Packets that came compressed."""
    compressed_out: Annotated[int, Field(ge=0)] | None = None
    min_ratio: Annotated[float, Field(gt=0)] | None = None
    """At least how many times shorter payloads became on their way out."""


def _kind_of_check(value: object) -> str:
    for kind, key in ((FlowCheck, "flow"), (ChildCheck, "child")):
        if isinstance(value, kind) or (isinstance(value, dict) and key in value):
            return f"{key} check"
    return "connection check"


Check = Annotated[
    Annotated[ConnectionCheck, Tag("connection check")]
    | Annotated[FlowCheck, Tag("flow check")]
    | Annotated[ChildCheck, Tag("child check")],
    Discriminator(_kind_of_check),
]
