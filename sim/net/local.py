"""Local delivery: what a node does with a packet to itself, by protocol (RFC 1122 3.2.2, RFC 768)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.net.packet import Packet
from sim.wire import icmp, udp
from sim.wire.address import Sock, sock
from sim.wire.buffer import WireError
from sim.wire.icmp import IcmpError
from sim.wire.ip import IpHeader, Protocol

if TYPE_CHECKING:
    from sim.net.node import IpNode

ProtocolHandler = Callable[["IpNode", Packet, IpHeader, int], None]
"""(node, packet, its header, now)"""

UdpHandler = Callable[[bytes, Sock, Sock, int], None]
"""(payload, src, dst, now)"""


def deliver_icmp(node: IpNode, packet: Packet, header: IpHeader, now: int) -> None:
    """Answer echo requests; tell the listeners of everything else."""
    try:
        message = icmp.parse(packet.data, header.upper_offset)
    except WireError:
        node.drop(packet, "malformed ICMP message", now)
        return
    if message.is_echo_request:
        node.path_mtus.answered(header.src)
        node.send(packet.derive(icmp.echo_reply_to(packet.data)), now)
        return
    node.path_mtus.hear(message, now)
    for listener in tuple(node.on_icmp):
        listener(message, header, now)


def deliver_udp(node: IpNode, packet: Packet, header: IpHeader, now: int) -> None:
    """Hand a datagram with a good checksum to the socket bound to its port."""
    try:
        datagram = udp.parse(packet.data, header.upper_offset)
    except WireError:
        node.drop(packet, "malformed UDP datagram", now)
        return
    handler = node.udp.get(datagram.dst_port)
    if handler is None:
        node.refuse(packet, "UDP port unreachable", IcmpError.PORT_UNREACHABLE, now)
    elif not udp.checksum_ok(packet.data, header.upper_offset, datagram):
        node.drop(packet, "UDP checksum is wrong", now)
    else:
        start = header.upper_offset + udp.UDP_HEADER_BYTES
        payload = bytes(packet.data[start : header.upper_offset + datagram.length])
        handler(payload, sock(header.src, datagram.src_port), sock(header.dst, datagram.dst_port), now)


HANDLERS: dict[int, ProtocolHandler] = {
    Protocol.ICMP: deliver_icmp,
    Protocol.ICMPV6: deliver_icmp,
    Protocol.UDP: deliver_udp,
}
