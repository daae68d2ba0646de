"""ICMP errors that the selectors of no SA cover (RFC 4301 6.2).

    router -- gateway ==== gateway -- host        the router tells the host what became of its packet
    src: any address that the router has          so the selectors of the SA need not cover it

Such a message goes on the SA of the traffic that answers the packet it quotes, and is taken from an SA when
it quotes a packet that went the other way on the same pair.
"""

from __future__ import annotations

from sim.ipsec.traffic import Traffic, seen
from sim.wire import ip
from sim.wire.buffer import Buf, WireError
from sim.wire.icmp import ICMP_HEADER_BYTES, is_error_type
from sim.wire.ip import IpHeader, Protocol

_VERSION: dict[int, int] = {Protocol.ICMP: 4, Protocol.ICMPV6: 6}


def is_icmp_error(traffic: Traffic) -> bool:
    """Whether a packet is visibly an ICMP error; a later fragment is not."""
    version = _VERSION.get(traffic.protocol)
    return version is not None and traffic.src_port >= 0 and is_error_type(version, traffic.src_port >> 8)


def quoted_traffic(packet: Buf, header: IpHeader) -> Traffic | None:
    """What selectors see of the packet that an ICMP error quotes; None when that is no IP packet."""
    quote = packet[header.upper_offset + ICMP_HEADER_BYTES :]
    try:
        quoted = ip.parse_quoted(quote)
    except WireError:
        return None
    return seen(quote, quoted) if quoted.version == header.version else None


def answer_to(traffic: Traffic) -> Traffic:
    """What goes the other way."""
    src, dst, protocol, src_port, dst_port = traffic
    return Traffic(dst, src, protocol, dst_port, src_port)
