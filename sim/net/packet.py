"""What travels: one IP packet as octets, and the few facts that the octets do not carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sim.net.node import IpNode


class Flow(Protocol):
    """Who sent a packet and wants to hear of it: a traffic source, or a recorded exchange."""

    def arrived(self, packet: Packet, node: IpNode, now: int) -> bool:
        """A packet of this flow reached a node that owns its destination; True when that consumes it."""


class Packet:
    """One IP packet in flight. It has one owner; whoever keeps it copies `data`.

    `data` starts with the IP header and is rewritten in place. The other slots survive encapsulation,
    translation and fragmentation: `born_at` is when the source made it (ns), `flow` and `seq` say whose
    packet it is (None and 0 for control traffic).
    """

    __slots__ = ("born_at", "data", "flow", "seq")

    def __init__(self, data: bytearray, born_at: int, flow: Flow | None = None, seq: int = 0) -> None:
        self.data = data
        self.born_at = born_at
        self.flow = flow
        self.seq = seq

    def derive(self, data: bytearray) -> Packet:
        """Another packet with the same history: a fragment, a reply, a decapsulated inner packet."""
        return Packet(data, self.born_at, self.flow, self.seq)
