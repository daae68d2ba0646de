"""What a path's MTU makes of a packet that is larger: fragments (RFC 791 3.2, RFC 8200 4.5)."""

from __future__ import annotations

from sim.experiment.overhead.inner import IP_HEADER_BYTES

_FRAGMENT_HEADER_BYTES = {4: 0, 6: 8}


def fragment_sizes(total: int, version: int, mtu: int) -> list[int]:
    """The sizes of the packets that an IP packet of `total` octets without options becomes.

    In IPv6 the source does this, and a Fragment header joins each piece.
    """
    if total <= mtu:
        return [total]
    header = IP_HEADER_BYTES[version] + _FRAGMENT_HEADER_BYTES[version]
    step = (mtu - header) // 8 * 8
    data = total - IP_HEADER_BYTES[version]
    return [header + min(step, data - at) for at in range(0, data, step)]
