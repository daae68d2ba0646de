"""Two engines with an AGGFRAG Child SA, the packets between them, and a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sim.ipsec.engine import Engine
from sim.ipsec.iptfs.inbound import AggfragInboundSa
from sim.ipsec.iptfs.items import Delivery, Departure, Queued
from sim.ipsec.iptfs.outbound import AggfragOutboundSa
from sim.ipsec.verdict import Verdict
from sim.wire.aggfrag import Requirement
from sim.wire.esp import Mode
from sim.wire.iptfs import Iptfs
from tests.ipsec.pair import SPI_A, SPI_B, make_pair

Order = Callable[[list[Departure]], Iterable[Departure]]


class Tunnel:
    """A sends, B receives; `settings` are fields of Iptfs for both. Packets of A are tagged by number."""

    def __init__(
        self, suite: str = "aes128gcm16", aggfrag: Requirement = Requirement.NONE, **settings: Any
    ) -> None:
        fields = {
            key: settings.pop(key)
            for key in ("encap", "outer", "esn", "hard_limit", "outer_fields")
            if key in settings
        }
        iptfs = Iptfs(**{"packet_size": 1500, **settings})
        self.pair = make_pair(suite, mode=Mode.IPTFS, iptfs=iptfs, aggfrag=aggfrag, **fields)
        self.a, self.b = self.pair.a, self.pair.b
        self.now = 0
        self.sent: list[bytes] = []

    @property
    def sender(self) -> AggfragOutboundSa:
        sa = self.a.sad[SPI_A].outbound
        assert isinstance(sa, AggfragOutboundSa)
        return sa

    @property
    def receiver(self) -> AggfragInboundSa:
        sa = self.b.sad[SPI_B].inbound
        assert isinstance(sa, AggfragInboundSa)
        return sa

    def send(self, packet: bytearray) -> Verdict:
        """Hand A an inner packet."""
        octets = bytes(packet)
        verdict = self.a.outbound(packet, self.now)
        assert isinstance(verdict, Verdict)
        if isinstance(verdict, Queued):
            verdict.tag = len(self.sent)
            self.sent.append(octets)
        return verdict

    def outers(self) -> list[Departure]:
        """What A lets leave until its clock rests, or has let leave."""
        return drain(self.a, self)

    def arrive(self, departure: Departure) -> list[Delivery]:
        """B receives an outer packet; what comes out."""
        verdict = self.b.inbound(bytearray(departure.outer), self.now)
        if hasattr(verdict, "tag"):
            verdict.tag = departure.tags
        return self.taken()

    def taken(self) -> list[Delivery]:
        deliveries = list(self.b.aggfrag.deliveries)
        self.b.aggfrag.deliveries.clear()
        return deliveries

    def wait(self) -> list[Delivery]:
        """Let B wait for what does not come any more; what else B's clock does is of no interest."""
        self.now += self.pair.spec.iptfs.drop_time
        self.b.aggfrag.handle_timer(self.now)
        self.b.aggfrag.departures.clear()
        return self.taken()


def drain(engine: Engine, clock: Tunnel, until: int | None = None) -> list[Departure]:
    """Jump from deadline to deadline, up to `until` if there is no end."""
    fleet = engine.aggfrag
    while (at := fleet.next_timer) is not None and (until is None or at <= until):
        clock.now = max(clock.now, at)
        fleet.handle_timer(clock.now)
    departures = list(fleet.departures)
    fleet.departures.clear()
    return departures


def numbers(deliveries: Iterable[Delivery]) -> list[object]:
    """The tags of the inner packets, found as a network would: by their place in what carried them."""
    return [d.carrier.tag[d.index] for d in deliveries if d.reason is None]  # type: ignore[index]
