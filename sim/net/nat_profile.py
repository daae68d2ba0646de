"""How a NAT behaves, as values: the axes of RFC 4787, RFC 5382 (TCP) and RFC 5508 (ICMP), and presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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


class EspPassThrough(StrEnum):
    """What becomes of ESP without UDP, which has no ports (RFC 3715 2.2)."""

    NONE = "none"
    """It is dropped."""
    ONE_CLIENT = "one-client"
    """For each remote address it belongs to the client that was first."""
    SPI = "spi"
    """A new SPI from outside is for the client that has waited longest for an answer: a guess."""


class IkeGateway(StrEnum):
    """Whether the box reads IKE (RFC 3715 2.3)."""

    NONE = "none"
    SPI = "spi"
    """Port 500 stays as it is; clients are told apart by the initiator's SPI, as long as that lasts."""


class PortRule(StrEnum):
    """How a box treats a port of IPsec (RFC 3715 2.3)."""

    TRANSLATE = "translate"
    KEEP = "keep"
    """It is never translated: of two clients with one remote the last one gets all answers."""
    DROP = "drop"


class UdpChecksum(StrEnum):
    """What a box does to the checksum of UDP when it has changed an address or port."""

    UPDATE = "update"
    """RFC 3022 4.1."""
    ZERO = "zero"
    STALE = "stale"
    """It stays, and is wrong from then on."""


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
    esp: EspPassThrough = EspPassThrough.NONE
    esp_timeout: int = 120 * NS_PER_S
    ike_gateway: IkeGateway = IkeGateway.NONE
    port_500: PortRule = PortRule.TRANSLATE
    port_4500: PortRule = PortRule.TRANSLATE
    esp_in_udp_apart: bool = False
    """Whether ESP in UDP has mappings of its own, as if it were not of IKE's endpoint (libreswan#2012)."""
    udp_checksum: UdpChecksum = UdpChecksum.UPDATE
    block_size: int = 512
    blocks_per_subscriber: int = 1
    tracks_connections: bool = False
    """Be a `ConnectionTracker`, whose mapping and filtering follow from what it is, and not a `NatTable`."""
    udp_stream_timeout: int | None = None
    """Of a connection tracker, for UDP that goes both ways for more than 2 s."""
    tcp_state_timeouts: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Of a connection tracker, by state of TCP, where they differ from Linux's: see `conntrack_tcp`."""

    def __post_init__(self) -> None:
        low, high = self.port_range
        if not 1 <= low <= high <= 65535:
            raise ValueError(f"{low} to {high} is no range of ports")
        if (
            min(
                self.udp_timeout,
                self.icmp_timeout,
                self.tcp_timeout,
                self.tcp_transitory_timeout,
                self.esp_timeout,
            )
            <= 0
        ):
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
        if protocol in (Protocol.ESP, Protocol.AH):
            return self.esp_timeout
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
    "esp": EspPassThrough,
    "ike_gateway": IkeGateway,
    "port_500": PortRule,
    "port_4500": PortRule,
    "udp_checksum": UdpChecksum,
}

_EI, _AD, _APD = DependsOn

NAT_PRESETS: dict[str, NatProfile] = {
    "home": NatProfile(
        mapping=_EI,
        filtering=_APD,
        port_assignment=PortAssignment.PRESERVING,
        udp_timeout=120 * NS_PER_S,
        hairpinning=Hairpinning.EXTERNAL_SOURCE,
    ),
    "corporate": NatProfile(
        mapping=_APD,
        filtering=_APD,
        port_assignment=PortAssignment.RANDOM,
        udp_timeout=120 * NS_PER_S,
        icmp_timeout=2 * NS_PER_S,
        tcp_timeout=3600 * NS_PER_S,
        tcp_transitory_timeout=600 * NS_PER_S,
    ),
    "cgn": NatProfile(
        mapping=_EI,
        filtering=_EI,
        port_assignment=PortAssignment.RANDOM,
        udp_timeout=300 * NS_PER_S,
        hairpinning=Hairpinning.EXTERNAL_SOURCE,
    ),
    "cloud": NatProfile(
        mapping=_APD,
        filtering=_APD,
        port_assignment=PortAssignment.RANDOM,
        udp_timeout=350 * NS_PER_S,
        tcp_timeout=350 * NS_PER_S,
        fragments=Fragments.DROP,
    ),
    "mobile": NatProfile(
        mapping=_APD,
        filtering=_APD,
        port_assignment=PortAssignment.BLOCK,
        udp_timeout=65 * NS_PER_S,
    ),
    "hotel": NatProfile(
        mapping=_EI,
        filtering=_APD,
        port_assignment=PortAssignment.PRESERVING,
        udp_timeout=30 * NS_PER_S,
        port_500=PortRule.DROP,
        port_4500=PortRule.DROP,
    ),
    "linux": NatProfile(
        mapping=_APD,
        filtering=_APD,
        port_assignment=PortAssignment.PRESERVING,
        udp_timeout=30 * NS_PER_S,
        icmp_timeout=30 * NS_PER_S,
        tcp_timeout=432_000 * NS_PER_S,
        tracks_connections=True,
        udp_stream_timeout=120 * NS_PER_S,
    ),
    "full-cone": NatProfile(_EI, _EI, PortAssignment.PRESERVING, udp_timeout=300 * NS_PER_S),
    "restricted-cone": NatProfile(_EI, _AD, PortAssignment.PRESERVING, udp_timeout=300 * NS_PER_S),
    "port-restricted-cone": NatProfile(_EI, _APD, PortAssignment.PRESERVING, udp_timeout=300 * NS_PER_S),
    "symmetric": NatProfile(
        mapping=_APD,
        filtering=_APD,
        port_assignment=PortAssignment.RANDOM,
        udp_timeout=30 * NS_PER_S,
    ),
}
"""Where they come from:

`home`: a port preserving box for one household; its UDP timeout is that of Linux conntrack for a stream,
120 s, below the 5 minutes that RFC 4787 REQ-5 recommends as were almost all of the 34 gateways of Hätönen
et al. (IMC 2010).
`corporate`: a firewall with port translation for each session and the default timeouts of Cisco's ASA (UDP
2 min, ICMP 2 s, TCP 1 h, half closed 10 min).
`cgn`: what RFC 6888 REQ-1 and REQ-7 ask of a carrier, with the recommended 5 minutes of RFC 4787 REQ-5.
`cloud`: a NAT gateway as AWS has it: another port for each remote, 350 s, no fragments of UDP.
`mobile`: a carrier's NAT for telephones: a block of ports for each (RFC 7422), mappings by remote as a large
part of those measured by Richter et al. (IMC 2016), whose UDP timeouts had a median of about 65 s.
`hotel`: a guest network that lets no IPsec out, for which TCP encapsulation was made (RFC 9329 1).
`linux`: masquerade of nftables without further rules, times of conntrack's defaults
(Documentation/networking/nf_conntrack-sysctl.rst); compared with the real one by tests/interop.
`full-cone`, `restricted-cone`, `port-restricted-cone`: RFC 3489 5, with the 5 minutes of RFC 4787.
`symmetric`: every remote endpoint sees another port, with the 30 s of Google Cloud NAT.
"""
