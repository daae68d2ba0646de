"""Outer packets that carry many inner ones, or parts of them, through a simulated network."""

from __future__ import annotations

from sim.ipsec.iptfs.items import Delivery, Departure
from sim.net.packet import Packet


class Convoy(Packet):
    """`cargo` are the inner packets that end in it, in order, so that they can be told apart at the exit."""

    __slots__ = ("cargo",)

    def __init__(self, data: bytearray, born_at: int, cargo: tuple[object, ...]) -> None:
        super().__init__(data, born_at)
        self.cargo = cargo

    def derive(self, data: bytearray) -> Convoy:
        return Convoy(data, self.born_at, self.cargo)


def load(departure: Departure, now: int) -> Convoy:
    """The packet for an outer one that leaves; what was queued is tagged with the packets themselves."""
    return Convoy(departure.outer, now, departure.tags)


def unload(delivery: Delivery, now: int) -> Packet:
    """The packet for an inner one that came out, with its history if it had one."""
    carrier = delivery.carrier.tag
    cargo = carrier.cargo if isinstance(carrier, Convoy) else ()
    known = cargo[delivery.index] if 0 <= delivery.index < len(cargo) else None
    if isinstance(known, Packet):
        return known.derive(delivery.inner)
    return Packet(delivery.inner, carrier.born_at if isinstance(carrier, Packet) else now)
