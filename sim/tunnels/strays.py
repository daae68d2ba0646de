"""ESP and AH with an SPI that is none of this host's: whose it was, to tell its sender (RFC 7296 1.5)."""

from __future__ import annotations

from sim.ike.config import EndpointConfig
from sim.wire import ip
from sim.wire.address import Sock
from sim.wire.buffer import Buf, WireError
from sim.wire.ip import Protocol
from sim.wire.udp import UDP_HEADER_BYTES

Stray = tuple[int, Sock, Sock]
"""The SPI, and where the packet came from and went to, with IKE's ports where it was not in UDP."""

_SPI_AT: dict[int, int] = {Protocol.ESP: 0, Protocol.AH: 4}


def stray(outer: Buf, config: EndpointConfig) -> Stray | None:
    """What a packet with an unknown SPI says; None for one that is too short to say it."""
    try:
        header = ip.parse(outer)
    except WireError:
        return None
    at, ports = header.upper_offset, (config.ike_port, config.ike_port)
    if header.protocol == Protocol.UDP:
        ports = int.from_bytes(outer[at : at + 2], "big"), int.from_bytes(outer[at + 2 : at + 4], "big")
        at += UDP_HEADER_BYTES
    else:
        at += _SPI_AT.get(header.protocol, 0)
    spi = bytes(outer[at : at + 4])
    if len(spi) < 4:
        return None
    return int.from_bytes(spi, "big"), (header.src, ports[0]), (header.dst, ports[1])
