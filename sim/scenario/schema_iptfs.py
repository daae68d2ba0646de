"""AGGFRAG mode of a Child SA (RFC 9347): the settings that go with `mode: iptfs`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from sim.scenario.schema_types import Duration, Model, Rate, Size
from sim.units import NS_PER_S

LEAST_PACKET = 256
"""Octets: room for headers, IV, ICV and some inner packet with every suite, over IPv6 and UDP."""


def _whole_or_path(size: int) -> int:
    if size and not LEAST_PACKET <= size <= 65535:
        raise ValueError(f"must be 0 B, which is the path's MTU, or from {LEAST_PACKET} B to 65535 B")
    return size


class IptfsSettings(Model):
    """Names are those of `charon.iptfs` in strongswan.conf; `l3_fixed_rate`, `congestion_control` and `ecn`,
    which strongSwan has not, are as in RFC 9348."""

    packet_size: Annotated[Size, AfterValidator(_whole_or_path)] = 0
    """The largest outer packet, and with `l3_fixed_rate` the size of every one; 0 B: the path's MTU."""
    init_delay: Annotated[Duration, Field(ge=0, le=NS_PER_S)] = 0
    """How long a packet that finds the queue empty waits for others to go with; not with `l3_fixed_rate`."""
    max_queue_size: Annotated[Size, Field(ge=1)] = 1 << 20
    """How many octets may wait to be sent; what comes beyond is dropped."""
    dont_frag: bool = False
    """Whether inner packets are never cut, so that a lost outer packet costs only those in it."""
    l3_fixed_rate: Rate | None = None
    """The rate at which outer packets of one size leave, whatever there is to send (counting those packets);
    None: they leave as they come, and as large as they are."""
    congestion_control: bool = False
    """Whether `l3_fixed_rate` is only the most: the losses that the peer reports decide (RFC 5348)."""
    ecn: bool = False
    """Whether outer packets may be marked by routers, and marks count as losses for the peer's reports."""
    accept_fragments: bool = True
    """Whether the peer may cut inner packets; if not, it is told so in USE_AGGFRAG."""
    reorder_window: Annotated[int, Field(ge=0, le=1000)] = 3
    """How many later outer packets wait for one that is missing."""
    drop_time: Annotated[Duration, Field(ge=0)] = NS_PER_S
    """How long each of them waits."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.congestion_control and self.l3_fixed_rate is None:
            raise ValueError("congestion_control needs an l3_fixed_rate: the most that it may reach")
        if self.init_delay and self.l3_fixed_rate is not None:
            raise ValueError(
                "init_delay has no effect with l3_fixed_rate: the clock decides when packets leave"
            )
        return self
