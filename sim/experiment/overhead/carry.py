"""What carries packets: by the engine's own SAs, or, where the protocol is not here yet, by its formula."""

from __future__ import annotations

from typing import Protocol

from sim.experiment.overhead.aggregated import Aggregated
from sim.experiment.overhead.carriers import Carrier
from sim.experiment.overhead.computed import Tls, WireGuard
from sim.experiment.overhead.encoded import Encoded
from sim.experiment.overhead.inner import Inner
from sim.experiment.overhead.pieces import Piece
from sim.experiment.overhead.variant import Variant


class Carry(Protocol):
    """One variant, ready to carry inner packets of one kind."""

    def wire(self, size: int) -> int:
        """The octets of the packet that carries an inner packet of `size`, as one packet of any length."""

    def on_path(self, size: int, mtu: int) -> list[int]:
        """The sizes of the packets that are sent for it over a path of `mtu` octets, larger ones cut up."""

    def busy(self, size: int) -> tuple[float, float] | None:
        """Packets and octets on the path for one inner packet of many; None if they share no packet."""

    def byte_map(self, size: int) -> list[Piece]:
        """The packet that carries an inner packet of `size`, from the outside in."""


def carry(variant: Variant, inner: Inner, mtu: int) -> Carry:
    if variant.carrier is Carrier.WIREGUARD:
        return WireGuard(variant.outer, inner, mtu)
    if variant.carrier is Carrier.TLS:
        return Tls(variant.outer, inner)
    if variant.carrier is Carrier.IPTFS:
        return Aggregated(variant, inner, mtu)
    return Encoded(variant, inner, mtu)
