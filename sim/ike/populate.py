"""Populate from packet: a policy's SAs take their selectors from packets (RFC 4301 4.4.1.2).

Each flag is a field that an SA has from the packet that asked for it; the others it has from the policy. So
a policy for two networks with all flags makes a Child SA for each flow. Either end knows the packet by the
first traffic selectors (RFC 7296 2.9).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sim.wire.ip import Protocol
from sim.wire.selector import OPAQUE_PORTS, Selector

LOCAL_ADDR, REMOTE_ADDR, PROTOCOL = "local_addr", "remote_addr", "protocol"
LOCAL_PORT, REMOTE_PORT = "local_port", "remote_port"
FLAGS = (LOCAL_ADDR, REMOTE_ADDR, PROTOCOL, LOCAL_PORT, REMOTE_PORT)

_WITH_PORTS = frozenset(
    {Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.ICMPV6, 33, 132, 135, 136}
)  # and DCCP, SCTP, Mobility Header, UDP-Lite


def local_flags(flags: Collection[str]) -> frozenset[str]:
    """Of a policy's flags those for this side, without the side in their names."""
    return frozenset(flag.removeprefix("local_") for flag in flags if not flag.startswith("remote_"))


def remote_flags(flags: Collection[str]) -> frozenset[str]:
    return frozenset(flag.removeprefix("remote_") for flag in flags if not flag.startswith("local_"))


def populated(flags: Collection[str], packet: Selector, allowed: Iterable[Selector]) -> tuple[Selector, ...]:
    """What of one side's selectors an SA is for that a packet asks for; empty if they do not allow it."""
    allowed = tuple(allowed)
    if not any(selector.intersect(packet) for selector in allowed):
        return ()
    found = (selector.intersect(_wanted(flags, packet, selector)) for selector in allowed)
    return tuple(dict.fromkeys(selector for selector in found if selector is not None))


def _wanted(flags: Collection[str], packet: Selector, selector: Selector) -> Selector:
    """The selector with what the flags take from the packet."""
    if "addr" in flags:
        selector = selector._replace(start=packet.start, end=packet.end)
    if "protocol" in flags:
        selector = selector._replace(protocol=packet.protocol)
    return selector._replace(ports=packet.ports) if "port" in flags else selector


def is_of_one_packet(flags: Collection[str], offered: Sequence[object]) -> bool:
    """Whether the first selector of an offer says all that the flags ask for."""
    first = offered[0] if offered else None
    if not isinstance(first, Selector):
        return False
    return (
        ("addr" not in flags or first.start == first.end)
        and ("protocol" not in flags or first.protocol != 0)
        and ("port" not in flags or _shows_a_port(first))
    )


def names_one_host(flags: Collection[str], offered: Sequence[object]) -> bool:
    """The same of the address alone (SINGLE_PAIR_REQUIRED, RFC 7296 2.9)."""
    return "addr" not in flags or is_of_one_packet({"addr"}, offered)


def _shows_a_port(selector: Selector) -> bool:
    low, high = selector.ports
    return low == high or selector.ports == OPAQUE_PORTS or selector.protocol not in (0, *_WITH_PORTS)
