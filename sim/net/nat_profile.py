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
    CONTIGUOUS = "contiguous"
    """The one after that of the mapping before."""
    RANDOM = "random"
    PARITY = "parity"
    """A random one that is even or odd as the internal one is (RFC 4787 REQ-4)."""
    BLOCK = "block"
    """A random one of a block of ports that belongs to the internal address (RFC 6888 REQ-4, RFC 7422)."""


class Pooling(StrEnum):
    """Which of several external addresses a new mapping gets (RFC 4787 4.1)."""

    PAIRED = "paired"
    """The one of the other mappings of its internal address (RFC 4787 REQ-2)."""
    ARBITRARY = "arbitrary"


class Hairpinning(StrEnum):
    """What becomes of packets from inside to an external endpoint of the inside (RFC 4787 6)."""

    NONE = "none"
    EXTERNAL_SOURCE = "external-source"
    """They come from the external endpoint of their sender (RFC 4787 REQ-9 a)."""
    INTERNAL_SOURCE = "internal-source"
    """They come from their sender as it is: the answer will go past the NAT."""


class Refresh(StrEnum):
    """Which packets keep a mapping alive (RFC 4787 4.3)."""

    OUTBOUND = "outbound"
    ANY = "any"


class Fragments(StrEnum):
    """What becomes of fragments (RFC 4787 11)."""

    REASSEMBLE = "reassemble"
    """They are put together, translated, and cut again where the link needs it (RFC 4787 REQ-14)."""
    DROP = "drop"
    FIRST_ONLY = "first-only"
    """The first is translated, the others have no ports to be known by and are dropped."""


@dataclass(frozen=True, slots=True)
class NatProfile:
    """Times in ns. A packet from inside always refreshes its mapping (RFC 4787 REQ-6 a).

    `port_range` is what ports are taken from; internal ports below 1024 keep below 1024 when ports or their
    parity are preserved (RFC 4787 REQ-3 a). Query identifiers of ICMP use all 65536 values, but with blocks.
    `tcp_timeout` is for established connections, `tcp_transitory_timeout` for those that open or close.
    `blocks_per_subscriber` blocks of `block_size` ports are the most that one internal address gets.
    """

    mapping: DependsOn
    filtering: DependsOn
    port_assignment: PortAssignment
    udp_timeout: int
    icmp_timeout: int = 60 * NS_PER_S  # RFC 5508 REQ-2
    tcp_timeout: int = 7440 * NS_PER_S  # RFC 5382 REQ-5
    tcp_transitory_timeout: int = 240 * NS_PER_S  # RFC 5382 REQ-5
    refresh: Refresh = Refresh.ANY
    hairpinning: Hairpinning = Hairpinning.NONE
    pooling: Pooling = Pooling.PAIRED
    fragments: Fragments = Fragments.REASSEMBLE
    port_range: tuple[int, int] = (1024, 65535)
    block_size: int = 512
    blocks_per_subscriber: int = 1
    tracks_connections: bool = False
    """Be a `ConnectionTracker`, whose mapping and filtering follow from what it is, and not a `NatTable`."""
    udp_stream_timeout: int | None = None
    """Of a connection tracker, for UDP that goes both ways for more than 2 s."""

    def __post_init__(self) -> None:
        low, high = self.port_range
        if not 1 <= low <= high <= 65535:
            raise ValueError(f"{low} to {high} is no range of ports")
        if min(self.udp_timeout, self.icmp_timeout, self.tcp_timeout, self.tcp_transitory_timeout) <= 0:
            raise ValueError("a NAT's timeouts must be above 0")
        blocks = self.port_assignment is PortAssignment.BLOCK
        if blocks and not 1 <= self.block_size <= high - low + 1:
            raise ValueError(f"a block of {self.block_size} ports does not fit into {low} to {high}")
        if blocks and self.blocks_per_subscriber < 1:
            raise ValueError("a subscriber without a block of ports has no port")

    def override(self, changes: Mapping[str, Any]) -> NatProfile:
        """A copy with some fields changed; the axes may be given as text. ValueError for an unknown text."""
        return replace(self, **{name: _AXES.get(name, _same)(value) for name, value in changes.items()})

    def timeout(self, protocol: int) -> int:
        """How long a mapping lives; of TCP, once it is established."""
        if protocol == Protocol.UDP:
            return self.udp_timeout
        return self.tcp_timeout if protocol == Protocol.TCP else self.icmp_timeout


def _same(value: Any) -> Any:
    return value


_AXES: dict[str, Any] = {
    "mapping": DependsOn,
    "filtering": DependsOn,
    "port_assignment": PortAssignment,
    "pooling": Pooling,
    "hairpinning": Hairpinning,
    "refresh": Refresh,
    "fragments": Fragments,
}

NAT_PRESETS: dict[str, NatProfile] = {
    "home": NatProfile(
        mapping=DependsOn.ENDPOINT_INDEPENDENT,
        filtering=DependsOn.ADDRESS_AND_PORT_DEPENDENT,
        port_assignment=PortAssignment.PRESERVING,
        udp_timeout=120 * NS_PER_S,
        hairpinning=Hairpinning.EXTERNAL_SOURCE,
    ),
    "cgn": NatProfile(
        mapping=DependsOn.ENDPOINT_INDEPENDENT,
        filtering=DependsOn.ENDPOINT_INDEPENDENT,
        port_assignment=PortAssignment.RANDOM,
        udp_timeout=300 * NS_PER_S,
        hairpinning=Hairpinning.EXTERNAL_SOURCE,
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
