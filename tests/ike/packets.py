"""Two endpoints with a data plane each: whenever a message leaves, both send each other a packet."""

from __future__ import annotations

import random
from heapq import heappush
from typing import Any

from sim.ike.context import Datagram
from sim.ike.events import ChildSaDown, ChildSaRetired, ChildSaUp, Event, PathChanged
from sim.ipsec.engine import Engine
from sim.tunnels.driver import child_spec
from sim.units import NS_PER_MS
from sim.wire import udp
from tests.ike.pair import NET_A, NET_B, End, Pair, _Flight

_INSIDE = {"a": (NET_A.local_ts[0].start, 1000), "b": (NET_B.local_ts[0].start, 2000)}

_EXTRA = (-5 * NS_PER_MS, 15 * NS_PER_MS)


class Packet(Datagram):
    """An ESP packet on its way."""


class PacketPair(Pair):
    """Packets are between the networks of the Child SA "net", by turns faster and slower than messages."""

    def __init__(self, *args: Any, **named: Any) -> None:
        self._engines = {side: Engine(rand=random.Random(side).randbytes) for side in _INSIDE}
        self.sent_packets = self.lost_packets = 0
        super().__init__(*args, **named)

    def observe(self, end: End, event: Event, now: int) -> None:
        engine = self._engines[end.side]
        if isinstance(event, ChildSaUp):
            engine.install(child_spec(event), now, successor_of=0 if event.initiator else event.replaces)
        elif isinstance(event, ChildSaRetired):
            engine.retire(event.spi_in)
        elif isinstance(event, ChildSaDown):
            engine.remove(event.spi_in)
        elif isinstance(event, PathChanged):
            for spi in event.spis_in:
                engine.move(spi, event.local, event.remote, event.encap)

    def carry(self, side: str, datagram: Datagram, now: int, late: int = 0) -> None:
        super().carry(side, datagram, now, late)
        for sender, receiver in (("a", "b"), ("b", "a")):
            self._send_packet(sender, receiver, now)

    def _send_packet(self, sender: str, receiver: str, now: int) -> None:
        packet = udp.build(_INSIDE[sender], _INSIDE[receiver], b"probe")
        sealed = self._engines[sender].outbound(packet, now)
        if isinstance(sealed, bytearray):
            self.sent_packets += 1
            self._count += 1
            flight = Packet(bytes(sealed), (sender.encode(), 0), (receiver.encode(), 0))
            delay = self.latency + _EXTRA[self.sent_packets % 2]
            heappush(self._flights, _Flight(now + delay, self._count, flight))

    def _deliver(self, datagram: Datagram) -> None:
        if not isinstance(datagram, Packet):
            super()._deliver(datagram)
            return
        receiver = datagram.dst[0].decode()
        engine = self._engines[receiver]
        engine.local_addresses = getattr(self, receiver).addresses
        outcome = engine.inbound(bytearray(datagram.data), self.now)
        self.lost_packets += not isinstance(outcome, bytearray)
