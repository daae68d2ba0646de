"""A packet filter for ICMP, as firewalls have it: what comes in of some kinds goes no further.

It stands before all else, so it is also where an IPsec gateway says which unprotected ICMP it takes
(RFC 4301 6.1.1). What comes out of an SA does not pass it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.net.packet import Packet
from sim.net.port import Port
from sim.wire.icmp import IcmpType, Icmpv6Type, UnreachableCode
from sim.wire.ip import IPV6_HEADER_BYTES, Protocol

if TYPE_CHECKING:
    from sim.net.node import Enter, IpNode

TOO_BIG, UNREACHABLE, TIME_EXCEEDED = "too-big", "unreachable", "time-exceeded"
PARAMETER_PROBLEM, ECHO = "parameter-problem", "echo"
ERRORS = (TOO_BIG, UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM)
_V4: dict[int, str] = {
    IcmpType.DESTINATION_UNREACHABLE: UNREACHABLE,
    IcmpType.TIME_EXCEEDED: TIME_EXCEEDED,
    IcmpType.PARAMETER_PROBLEM: PARAMETER_PROBLEM,
    IcmpType.ECHO_REQUEST: ECHO,
    IcmpType.ECHO_REPLY: ECHO,
}
_V6: dict[int, str] = {
    Icmpv6Type.DESTINATION_UNREACHABLE: UNREACHABLE,
    Icmpv6Type.PACKET_TOO_BIG: TOO_BIG,
    Icmpv6Type.TIME_EXCEEDED: TIME_EXCEEDED,
    Icmpv6Type.PARAMETER_PROBLEM: PARAMETER_PROBLEM,
    Icmpv6Type.ECHO_REQUEST: ECHO,
    Icmpv6Type.ECHO_REPLY: ECHO,
}


def filtered(enter: Enter, node: IpNode, kinds: frozenset[str]) -> Enter:
    """`enter`, but for ICMP of these kinds: that is dropped, and nobody told."""

    def enter_filtered(packet: Packet, port: Port, now: int) -> None:
        kind = icmp_kind(packet.data)
        if kind is not None and kind in kinds:
            node.drop(packet, dropped(kind), now)
        else:
            enter(packet, port, now)

    return enter_filtered


def dropped(kind: str) -> str:
    """The reason for the drop."""
    return f"ICMP {kind} dropped by a filter"


def icmp_kind(data: bytearray) -> str | None:
    """What ICMP a packet is, of any octets; None for later fragments, unknown types and all else."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        at = (data[0] & 15) * 4
        if data[9] != Protocol.ICMP or data[6] & 0x1F or data[7] or len(data) < at + 2:
            return None
        unfit = (IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.FRAGMENTATION_NEEDED)
        return TOO_BIG if (data[at], data[at + 1]) == unfit else _V4.get(data[at])
    if len(data) > IPV6_HEADER_BYTES and data[0] >> 4 == 6 and data[6] == Protocol.ICMPV6:
        return _V6.get(data[IPV6_HEADER_BYTES])
    return None
