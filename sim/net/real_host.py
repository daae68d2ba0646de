"""The place of a host that is not simulated: here packets leave the simulation and enter it."""

from __future__ import annotations

from collections.abc import Callable

from sim.net.engine import Simulation
from sim.net.node import IpNode, is_sound
from sim.net.packet import Packet
from sim.net.port import Port

Exit = Callable[[Port, bytearray, int], None]
"""(port, octets, now); the octets are the receiver's."""


class RealHost(IpNode):
    """A node without a stack: what arrives at a port goes to `leave`, what is real comes in by `inject`.

    Its addresses and routes are what the real host should have; nothing here looks at them.
    """

    def __init__(self, sim: Simulation, name: str, *, forwarding: bool = False) -> None:
        super().__init__(sim, name)
        self.forwarding = forwarding
        self.leave: Exit | None = None

    def receive(self, packet: Packet, port: Port, now: int) -> None:
        if self.leave is None:
            self.drop(packet, "no real host attached", now)
        else:
            self.leave(port, packet.data, now)

    def inject(self, port: Port, data: bytearray, now: int) -> None:
        """A packet of the real host, which may be anything, sets out on the link of that port."""
        packet = Packet(data, now)
        if not is_sound(data):
            self.drop(packet, "malformed IP packet", now)
        elif len(data) > port.mtu:
            self.drop(packet, "larger than the MTU of the link", now)
        else:
            port.send(packet, now)
