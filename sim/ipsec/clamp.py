"""TCP through a tunnel that tells a smaller MSS than its ends do, so that full segments fit (RFC 4459 3.2).

Both directions, because each SYN limits what the other end sends. A pair of SAs that clamps looks at every
packet; one that does not has no such step.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.ipsec.sad import InboundSa, OutboundSa
from sim.wire.handling import AUTO
from sim.wire.mss import largest_mss, lower_mss, mss_at

LEAST = 88
"""As in Linux: what an end could not tell as its own MSS is no limit of ours."""


def clamp(inbound: InboundSa, outbound: OutboundSa, path_mtu: Callable[[OutboundSa], int]) -> None:
    """Make a new pair of SAs clamp; `path_mtu` tells the longest outer packet, for an automatic MSS."""
    fixed = outbound.spec.handling.mss_clamp

    def limit(packet: bytearray) -> int:
        if fixed != AUTO:
            return fixed
        longest = outbound.max_inner(path_mtu(outbound))
        return max(LEAST, largest_mss(longest, packet[0] >> 4))

    def leaving(packet: bytearray) -> bytearray:
        at = mss_at(packet)
        if not at:
            return packet
        packet = packet[:]  # whoever gave it to be sealed keeps it
        lower_mss(packet, at, limit(packet))
        return packet

    def arriving(packet: bytearray) -> bytearray:
        at = mss_at(packet)
        if at:
            lower_mss(packet, at, limit(packet))
        return packet

    outbound.shape, inbound.shape = leaving, arriving
