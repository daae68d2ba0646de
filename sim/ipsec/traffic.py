"""The fields of a packet that selectors look at (RFC 4301 4.4.1.1), and keys to remember a flow by.

Ports are visible in TCP, UDP, UDP-Lite, DCCP and SCTP. ICMP and ICMPv6 present type and code, the Mobility
Header its type, as one number at the end that sends; the other end is not looked at (RFC 4301 4.4.1.3).
Later fragments and protocols without ports present OPAQUE, which only ANY and OPAQUE selectors accept.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sim.wire import ip as ip_wire
from sim.wire.buffer import Buf
from sim.wire.ip import IpHeader, Protocol
from sim.wire.selector import ANY_PORTS, OPAQUE_PORTS, Selector

OPAQUE = -1
"""The port of a packet whose ports cannot be seen."""
UNEXAMINED = -2
"""The port at the end of a packet that its protocol gives no port; it fits every selector."""

MOBILITY_HEADER = 135
_PORTED = frozenset({Protocol.TCP, Protocol.UDP, 33, 132, 136})  # and DCCP, SCTP, UDP-Lite
TYPED = {Protocol.ICMP: 0, Protocol.ICMPV6: 0, MOBILITY_HEADER: 2}
"""Protocols that show a type instead of ports, and where it is."""
_ICMP = frozenset({Protocol.ICMP, Protocol.ICMPV6})
_PORTS = Struct(">HH")

FlowKey = tuple[object, ...]
KEY_V4 = Struct(">6xHxB2xQI")
"""Flags and offset, protocol, both addresses, both ports of an IPv4 packet without options."""
_KEY_V6 = Struct(">6xBx16s16sI")  # next header, source, destination, both ports
KEY_V4_BYTES, _KEY_V6_BYTES = KEY_V4.size, _KEY_V6.size
key_v4, _key_v6 = KEY_V4.unpack_from, _KEY_V6.unpack_from


class Traffic(NamedTuple):
    """One packet as selectors see it."""

    src: bytes
    dst: bytes
    protocol: int
    src_port: int
    dst_port: int


def classify(packet: Buf) -> tuple[Traffic, IpHeader]:
    """What selectors see of one whole IP packet; WireError when it is none."""
    header = ip_wire.parse(packet)
    return seen(packet, header), header


def seen(packet: Buf, header: IpHeader) -> Traffic:
    """What selectors see of a packet with that header, which may be cut short behind it."""
    return Traffic(header.src, header.dst, header.protocol, *_ports(packet, header))


def flow_key(packet: Buf) -> FlowKey:
    """What is equal for all packets of a flow, found at fixed offsets; empty where that cannot be.

    Look decisions up by it, but remember them by `memorable`: not every key stands for a flow.
    """
    first = packet[0] if packet else 0
    if first == 0x45 and len(packet) >= KEY_V4_BYTES:
        return key_v4(packet)
    if first >> 4 == 6 and len(packet) >= _KEY_V6_BYTES:
        return _key_v6(packet)
    return ()


def memorable(packet: Buf, traffic: Traffic, header: IpHeader) -> FlowKey:
    """The flow key of a whole packet that has its ports where expected, else all that selectors see of it."""
    fixed = ip_wire.IPV4_HEADER_BYTES if header.version == 4 else ip_wire.IPV6_HEADER_BYTES
    ported = header.protocol in _PORTED and header.upper_offset == fixed and not header.is_fragment
    return (ported and flow_key(packet)) or traffic


def has_flow(packet: Buf) -> bool:
    """Whether the flow key of a sound IPv4 packet stands for a flow, as `memorable` would say."""
    return packet[0] == 0x45 and packet[9] in _PORTED and not packet[6] & 0x3F and not packet[7]


def covers(selector: Selector, address: bytes, protocol: int, port: int) -> bool:
    """Whether one end of a packet lies inside a selector; `port` may be OPAQUE or UNEXAMINED."""
    return (
        len(address) == len(selector.start)
        and selector.start <= address <= selector.end
        and selector.protocol in (0, protocol)
        and _port_fits(selector.ports, port)
    )


def selectors_of(traffic: Traffic) -> tuple[Selector, Selector]:
    """The narrowest selectors for the source and the destination of a packet (RFC 7296 2.9).

    Ports that cannot be seen, as those of later fragments, are OPAQUE; of protocols without any they are ANY.
    """
    src_port, dst_port = traffic.src_port, traffic.dst_port
    if dst_port == UNEXAMINED:
        dst_port = src_port
    return (
        Selector.host(traffic.src, traffic.protocol, _exactly(src_port, traffic.protocol)),
        Selector.host(traffic.dst, traffic.protocol, _exactly(dst_port, traffic.protocol)),
    )


def hides_ports(traffic: Traffic) -> bool:
    """Whether a packet has ports that cannot be seen, as later fragments have."""
    return traffic.src_port == OPAQUE and _has_ports(traffic.protocol)


def _has_ports(protocol: int) -> bool:
    return protocol in _PORTED or protocol in TYPED


def _exactly(port: int, protocol: int) -> tuple[int, int]:
    if port != OPAQUE:
        return port, port
    return OPAQUE_PORTS if _has_ports(protocol) else ANY_PORTS


def _port_fits(ports: tuple[int, int], port: int) -> bool:
    if port == UNEXAMINED or ports == ANY_PORTS:
        return True
    if port == OPAQUE:
        return ports == OPAQUE_PORTS
    return ports[0] <= port <= ports[1]


def _ports(packet: Buf, header: IpHeader) -> tuple[int, int]:
    if header.fragment_offset:
        return OPAQUE, OPAQUE
    at = header.upper_offset
    if header.protocol in _PORTED and len(packet) >= at + 4:
        src_port, dst_port = _PORTS.unpack_from(packet, at)
        return src_port, dst_port
    if header.protocol in TYPED and len(packet) >= at + 4:
        return _type_and_code(packet, at, header.protocol), UNEXAMINED
    return OPAQUE, OPAQUE


def _type_and_code(packet: Buf, at: int, protocol: int) -> int:
    kind = packet[at + TYPED[protocol]] << 8
    return kind | packet[at + 1] if protocol in _ICMP else kind
