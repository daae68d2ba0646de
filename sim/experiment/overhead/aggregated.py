"""IP-TFS (RFC 9347): packets that the engine aggregates and cuts, as they come or on a busy link."""

from __future__ import annotations

from sim.experiment.overhead.encoded import ENDS_OF_HOSTS, engine_with, receiver_keys, spec_of
from sim.experiment.overhead.errors import OverheadError
from sim.experiment.overhead.inner import Inner
from sim.experiment.overhead.pieces import Piece
from sim.experiment.overhead.reading import read
from sim.experiment.overhead.variant import Variant
from sim.ipsec.engine import Engine
from sim.ipsec.iptfs.items import Queued
from sim.ipsec.spec import ChildSpec
from sim.ipsec.verdict import Drop
from sim.wire.ip import MAX_PACKET_BYTES

_FILLING = 3
"""So many packets' worth of octets fill one with some left."""


class Aggregated:
    """One variant's SA, on a path without a limit and on one with it."""

    def __init__(self, variant: Variant, inner: Inner, mtu: int) -> None:
        self.variant = variant
        self._inner = inner
        self.spec = spec_of(variant)
        self._whole = _on_path(self.spec, MAX_PACKET_BYTES)
        self._cut = _on_path(self.spec, mtu)
        self._mtu = mtu
        self._full: tuple[int, int] | None = None

    def wire(self, size: int) -> int:
        return sum(len(packet) for packet in self._sent(self._whole, [size]))

    def on_path(self, size: int, mtu: int) -> list[int]:
        return [len(packet) for packet in self._sent(self._cut, [size])]

    def busy(self, size: int) -> tuple[float, float]:
        """Packets and octets on the path for one inner packet, where full ones follow each other."""
        octets, carried = self._full or self._measure(size)
        return size / carried, octets * size / carried

    def byte_map(self, size: int) -> list[Piece]:
        (packet,) = self._sent(self._whole, [size])
        return self._read(packet)

    def _measure(self, size: int) -> tuple[int, int]:
        """The octets of a full packet, and how many of them are inner ones; it does not matter whose."""
        full = self._sent(self._cut, [size] * (_FILLING * self._mtu // size + 1))[0]
        carried = sum(piece.octets for piece in self._read(full) if not piece.added)
        self._full = len(full), carried
        return self._full

    def _read(self, packet: bytearray) -> list[Piece]:
        return read(bytes(packet), self.variant, receiver_keys(self.spec))

    def _sent(self, engine: Engine, sizes: list[int]) -> list[bytearray]:
        """The outer packets for inner ones of these sizes that come at once."""
        for size in sizes:
            verdict = engine.outbound(self._inner.build(size, *ENDS_OF_HOSTS[self._inner.version]), 0)
            if not isinstance(verdict, Queued):
                why = verdict.reason if isinstance(verdict, Drop) else verdict
                raise OverheadError(f"{self.variant.label} cannot carry {size} bytes: {why}")
        engine.aggfrag.handle_timer(0)
        sent = [departure.outer for departure in engine.aggfrag.departures]
        engine.aggfrag.departures.clear()
        return sent


def _on_path(spec: ChildSpec, mtu: int) -> Engine:
    engine = engine_with(spec)
    engine.path_mtu = lambda _sa: mtu
    return engine
