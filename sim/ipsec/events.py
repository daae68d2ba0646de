"""What the data plane tells the control plane."""

from __future__ import annotations

from dataclasses import dataclass

from sim.wire.address import Sock


@dataclass(frozen=True, slots=True)
class PeerMoved:
    """An authenticated packet, newer than all before it, came from another outer source (RFC 7296 2.23).

    Reported once per new source and only for SAs that use UDP encapsulation. Whether to follow is IKE's
    choice; the SA stays where it is until `Engine.move`.
    """

    spi_in: int
    src: Sock


@dataclass(frozen=True, slots=True)
class SequenceExhausted:
    """An outbound SA has used its last sequence number and drops from now on (RFC 4303 3.3.3)."""

    spi_in: int
    spi_out: int


@dataclass(frozen=True, slots=True)
class LifetimeReached:
    """One SA of a pair has carried as much as its soft or its hard limit allows (RFC 7296 2.8)."""

    spi_in: int
    hard: bool


@dataclass(frozen=True, slots=True)
class SelectorMismatch:
    """How an authentic packet begins that is not what its SA is for (RFC 4301 5.2); once a minute."""

    spi_in: int
    packet: bytes


@dataclass(frozen=True, slots=True)
class ResourceWanted:
    """A packet of a CPU that has no SA of its own took the pair for all, and would like one (RFC 9611)."""

    spi_in: int
    cpu: int


Event = PeerMoved | SequenceExhausted | LifetimeReached | SelectorMismatch | ResourceWanted
