"""Every IKE message that the nodes of a simulation send, followed through the network to its end.

A message is told apart by its packet, not by its octets: two copies with the same octets are two passages.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.wire import ip
from sim.wire.address import Sock, sock

_PORTS = Struct(">HH")


@dataclass(slots=True)
class Passage:
    """One datagram of IKE on its way. Times are ns, -1 for never.

    `size` counts from the IKE header on. `ike_id` and `connection` are the sender's, 0 and "" for an answer
    without state. `ended_at` is when it arrived or was lost, `end` the node where, `lost` why it was lost and
    `rejected` why it had no effect; `arrived` are the addresses that it arrived with. `fault` is what a fault
    did to it, `changed` its octets after that, if they are others.
    """

    at: int
    node: str
    connection: str
    ike_id: int
    src: Sock
    dst: Sock
    size: int
    spi_i: bytes
    spi_r: bytes
    exchange: str
    message_id: int
    response: bool
    payloads: str
    retransmission: int
    fault: str = ""
    changed: bytes = b""
    ended_at: int = -1
    end: str = ""
    lost: str = ""
    rejected: str = ""
    arrived: tuple[Sock, Sock] | None = None

    @property
    def received_at(self) -> int:
        return -1 if self.lost else self.ended_at


class IkeTrace:
    """The passages of one simulation, in the order of sending; it is the flow of their packets."""

    def __init__(self) -> None:
        self.passages: list[Passage] = []
        self.arriving: Passage | None = None
        """What a node takes in right now."""

    def by_spi(self) -> dict[bytes, list[Passage]]:
        """The passages of each IKE SA, by its SPIi, in the order of their first."""
        found: dict[bytes, list[Passage]] = {}
        for passage in self.passages:
            found.setdefault(passage.spi_i, []).append(passage)
        return found

    def begin(self, passage: Passage, data: bytearray) -> Packet:
        """The packet of a message that leaves."""
        self.passages.append(passage)
        return Packet(data, passage.at, self, len(self.passages) - 1)

    def arrived(self, packet: Packet, node: IpNode, now: int) -> bool:
        passage = self.passages[packet.seq]
        passage.ended_at, passage.end, passage.lost = now, node.name, ""
        passage.arrived = _socks(packet)
        self.arriving = passage
        return False

    def dropped(self, packet: Packet, node: IpNode, reason: str, now: int) -> None:
        """A fragment that is lost is the whole message."""
        passage = self.passages[packet.seq]
        passage.ended_at, passage.end, passage.lost = now, node.name, reason

    def rejected(self, reason: str) -> None:
        """The message that a node takes in has no effect."""
        if self.arriving is not None:
            self.arriving.rejected = reason


def _socks(packet: Packet) -> tuple[Sock, Sock]:
    """Where a datagram comes from and goes to, as it arrives; what IKE sends has no IPv6 extensions."""
    data = packet.data
    src, dst = ip.addresses(data)
    at = (data[0] & 15) * 4 if data[0] < 0x60 else ip.IPV6_HEADER_BYTES
    src_port, dst_port = _PORTS.unpack_from(data, at)
    return sock(src, src_port), sock(dst, dst_port)
