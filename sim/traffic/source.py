"""What all traffic sources share: a record, and a source address like that of a bound socket."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.traffic.record import FlowRecord


class TrafficFlow(ABC):
    """Sends packets of its own from one node to an address of another, and notes what arrives.

    The source address is the node's for that destination when the first packet leaves, and stays, as that of
    a connected socket does. Only when the node has left that address, and the SAs for it are gone or others
    have come up, is the flow bound again, as an application does that notices. While the node has no route at
    all, packets count as sent and lost.
    """

    def __init__(self, record: FlowRecord, source: IpNode, dst: bytes) -> None:
        self.record = record
        self.source = source
        self.dst = dst
        self.src: bytes | None = None
        source.on_binding_change.append(self._binding_changed)

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def has_packets(self) -> bool:
        """Whether there is anything to send."""
        return True

    @abstractmethod
    def start(self) -> None:
        """Arm the first packet; once, before the run."""

    @abstractmethod
    def arrived(self, packet: Packet, node: IpNode, now: int) -> bool:
        """See `sim.net.packet.Flow`."""

    @abstractmethod
    def _tick(self, now: int) -> None:
        """Send what is due and arm for the next packet."""

    def _binding_changed(self, _now: int) -> None:
        """Leave an address that the node has left, unless its SAs still go on with it (RFC 4555)."""
        if self.src is not None and self.source.has_left(self.src):
            self.src = self.source.bind_address(self.dst) or self.src

    def _bound(self) -> bytes | None:
        """The source address, bound now unless it is already; None when there is no route."""
        if self.src is None:
            self.src = self.source.bind_address(self.dst)
        return self.src
