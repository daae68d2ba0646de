"""How a NAT behaves, as values: the axes of RFC 4787, RFC 5382 (TCP) and RFC 5508 (ICMP), and presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sim.units import NS_PER_S
from sim.wire.ip import Protocol


class DependsOn(StrEnum):
    """How much of the remote endpoint a mapping or a filter looks at (RFC 4787 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class PortAssignment(StrEnum):
    """Which external port a new mapping gets (RFC 4787 4.2)."""

    PRESERVING = "preserving"
    """The internal one while it is free, else a random one of its range (RFC 4787 REQ-3)."""
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class NatProfile:
    """Times in ns. A packet from inside always refreshes its mapping (RFC 4787 REQ-6 a).

    `port_range` is what random ports are taken from; internal ports below 1024 keep below 1024 when ports
    are preserved (RFC 4787 REQ-3 a). Query identifiers of ICMP use all 65536 values.
    """

    mapping: DependsOn
    filtering: DependsOn
    port_assignment: PortAssignment
    udp_timeout: int
    icmp_timeout: int = 60 * NS_PER_S  # RFC 5508 REQ-2
    tcp_timeout: int = 7440 * NS_PER_S  # RFC 5382 REQ-5
    inbound_refresh: bool = True
    hairpinning: bool = False
    port_range: tuple[int, int] = (1024, 65535)
    tracks_connections: bool = False
    """Be a `ConnectionTracker`, whose mapping and filtering follow from what it is, and not a `NatTable`."""
    udp_stream_timeout: int | None = None
    """Of a connection tracker, for UDP that goes both ways for more than 2 s."""

    def __post_init__(self) -> None:
        low, high = self.port_range
        if not 1 <= low <= high <= 65535:
            raise ValueError(f"{low} to {high} is no range of ports")
        if min(self.udp_timeout, self.icmp_timeout, self.tcp_timeout) <= 0:
            raise ValueError("a NAT's timeouts must be above 0")

    def override(self, changes: Mapping[str, Any]) -> NatProfile:
        """A copy with some fields changed; the axes may be given as text. ValueError for an unknown text."""
        return replace(self, **{name: _AXES.get(name, _same)(value) for name, value in changes.items()})

    def timeout(self, protocol: int) -> int:
        if protocol == Protocol.UDP:
            return self.udp_timeout
        return self.tcp_timeout if protocol == Protocol.TCP else self.icmp_timeout


def _same(value: Any) -> Any:
    return value


_AXES: dict[str, Any] = {
    "mapping": DependsOn,
    "filtering": DependsOn,
    "port_assignment": PortAssignment,
}

NAT_PRESETS: dict[str, NatProfile] = {
    "home": NatProfile(
        mapping=DependsOn.ENDPOINT_INDEPENDENT,
        filtering=DependsOn.ADDRESS_AND_PORT_DEPENDENT,
        port_assignment=PortAssignment.PRESERVING,
        udp_timeout=120 * NS_PER_S,
        hairpinning=True,
    ),
    "cgn": NatProfile(
        mapping=DependsOn.ENDPOINT_INDEPENDENT,
        filtering=DependsOn.ENDPOINT_INDEPENDENT,
        port_assignment=PortAssignment.RANDOM,
        udp_timeout=300 * NS_PER_S,
        hairpinning=True,
    ),
    "symmetric": NatProfile(
        mapping=DependsOn.ADDRESS_AND_PORT_DEPENDENT,
        filtering=DependsOn.ADDRESS_AND_PORT_DEPENDENT,
        port_assignment=PortAssignment.RANDOM,
        udp_timeout=30 * NS_PER_S,
    ),
    "linux": NatProfile(
        mapping=DependsOn.ADDRESS_AND_PORT_DEPENDENT,
        filtering=DependsOn.ADDRESS_AND_PORT_DEPENDENT,
        port_assignment=PortAssignment.PRESERVING,
        udp_timeout=30 * NS_PER_S,
        icmp_timeout=30 * NS_PER_S,
        tcp_timeout=432_000 * NS_PER_S,
        tracks_connections=True,
        udp_stream_timeout=120 * NS_PER_S,
    ),
}
"""`home`: a port preserving box for one household; its UDP timeout is that of Linux conntrack for a stream,
120 s, below the 5 minutes that RFC 4787 REQ-5 recommends as were almost all of the 34 gateways of Hätönen
et al. (IMC 2010). `cgn`: what RFC 6888 REQ-1 and REQ-7 ask of a carrier, with the recommended 5 minutes of
RFC 4787 REQ-5. `symmetric`: every remote endpoint sees another port, as behind a cloud's NAT gateway, with
the 30 s of Google Cloud NAT. `linux`: masquerade of nftables without further rules, times of conntrack's
defaults (Documentation/networking/nf_conntrack-sysctl.rst); compared with the real one by tests/interop."""
