"""The AGGFRAG SAs of one engine, which are not done with a packet when it has been handed in.

What the driver of an engine does about them, after every call into the engine that may have woken one:

    while departures: send                      an outer packet, whenever the clock says
    while deliveries: pass on or drop           an inner packet
    call handle_timer at next_timer

`Queued` and `Aggregate` (see `items`) are the verdicts that say so; an engine without such SAs never gives
them, never has a timer, and pays for none of this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from sim.crypto.cipher import Rand
from sim.ipsec.events import Event
from sim.ipsec.iptfs.agenda import Agenda
from sim.ipsec.iptfs.inbound import AggfragInboundSa
from sim.ipsec.iptfs.items import Delivery, Departure
from sim.ipsec.iptfs.outbound import AggfragOutboundSa, PathMtu
from sim.ipsec.iptfs.pair import make_pair
from sim.ipsec.spec import ChildSpec

_Key = tuple[int, bool]  # inbound SPI, and whether it is the SA that sends


class Fleet:
    """`path_mtu` is asked for every outer packet."""

    def __init__(self, path_mtu: PathMtu) -> None:
        self.departures: deque[Departure] = deque()
        self.deliveries: deque[Delivery] = deque()
        self._path_mtu = path_mtu
        self._agenda: Agenda[_Key] = Agenda()
        self._heirs: dict[int, int] = {}
        self._pairs: dict[int, tuple[AggfragInboundSa, AggfragOutboundSa]] = {}

    def __bool__(self) -> bool:
        """Whether there is any such SA."""
        return bool(self._pairs)

    @property
    def next_timer(self) -> int | None:
        return self._agenda.next_timer

    def handle_timer(self, now: int) -> None:
        """Spurious calls are harmless."""
        for spi_in, sends in self._agenda.due(now):
            self._pairs[spi_in][sends].handle_timer(now)

    def make(
        self, spec: ChildSpec, rand: Rand, report: Callable[[Event], None], alert: Callable[[int], None]
    ) -> tuple[AggfragInboundSa, AggfragOutboundSa]:
        """Both SAs of a new pair; ValueError for settings that do not fit together."""
        pair = make_pair(spec, rand, report, alert, self._path_mtu, self.deliveries, self.departures)
        inbound, outbound = self._pairs[spec.spi_in] = pair
        inbound.plan = partial(self._agenda.set, (spec.spi_in, False))
        outbound.plan = partial(self._agenda.set, (spec.spi_in, True))
        return pair

    def inherit(self, spi_in: int, replaces: int) -> None:
        """What a pair has learnt of the path holds for the one that replaces it."""
        if replaces in self._pairs:
            self._pairs[spi_in][1].inherit(self._pairs[replaces][1])

    def start(self, spi_in: int, now: int) -> None:
        """The peer can receive on this pair."""
        if spi_in in self._pairs:
            outbound = self._pairs[spi_in][1]
            outbound.start(now + outbound.interval)

    def succeed(self, spi_in: int, successor: int) -> None:
        """A pair has a successor, which starts when it rests: a constant rate goes on without a break."""
        if spi_in in self._pairs and successor in self._pairs:
            self._heirs[spi_in] = successor

    def rest(self, spi_in: int) -> None:
        """Another pair sends in place of this one."""
        if spi_in in self._pairs:
            due = self._pairs[spi_in][1].rest()
            heir = self._heirs.pop(spi_in, None)
            if due is not None and heir in self._pairs:
                self.inherit(heir, spi_in)
                self._pairs[heir][1].start(due)

    def forget(self, spi_in: int) -> None:
        """A pair is gone, with all that waits in it."""
        if self._pairs.pop(spi_in, None) is not None:
            for sends in (False, True):
                self._agenda.set((spi_in, sends), None)
