"""A host with several ways out: what it sends leaves by the port that has its source address.

As rules for each source address do it on real hosts with several providers (RFC 1122 3.3.4.2: the strong
model). Without them what comes from the second address leaves by the first port, on the path it was to avoid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sim.wire.buffer import Buf

if TYPE_CHECKING:
    from sim.net.packet import Packet
    from sim.net.port import Port
    from sim.net.routing import RouteTable

Send = Callable[["Packet", int], None]


def other_ports(ports: Mapping[str, Port], routes: RouteTable, dst: bytes, usual: Port) -> dict[bytes, Port]:
    """By source address, the ports that lead to `dst` as well as the usual one."""
    return {
        address: port
        for port in ports.values()
        if port is not usual and routes.leads(port, dst)
        for address, _ in port.addresses
        if len(address) == len(dst)
    }


def by_source(usual: Port, others: Mapping[bytes, Port]) -> Send:
    """What sends a packet by the port of its source address, or else by the usual one."""
    usual_send = sender(usual)
    ways = {address: sender(port) for address, port in others.items()}

    def send(packet: Packet, now: int) -> None:
        ways.get(source(packet.data), usual_send)(packet, now)

    return send


def sender(port: Port) -> Send:
    return port.send if port.link is None else port.link.send


def source(data: Buf) -> bytes:
    """The source address of a sound IP packet."""
    return bytes(data[12:16] if data[0] < 0x60 else data[8:24])
