"""SAs whose life is measured in octets and packets (RFC 4301 4.4.2.1, RFC 7296 2.8).

Each of the two SAs of a pair counts for itself. The soft limit is reported once, and the SA goes on; at the
hard limit it is reported again, and the SA is used no more.
"""

from __future__ import annotations

from sim.crypto.cipher import Rand
from sim.ipsec.events import LifetimeReached
from sim.ipsec.sad import Alert, InboundSa, OpenPlain, OutboundSa, Report
from sim.ipsec.spec import ChildSpec
from sim.ipsec.verdict import DROP, Drop, Reason
from sim.wire.address import Sock


class Meter:
    """What one SA has carried, against its limits: (octets, packets), 0 for none."""

    def __init__(self, spec: ChildSpec, report: Report, alert: Alert) -> None:
        self._spec = spec
        self._report = report
        self._alert = alert
        self._soft = spec.soft_limit
        self.over = False

    def read(self, octets: int, packets: int, now: int) -> None:
        if _reached(self._soft, octets, packets):
            self._soft = (0, 0)
            self._tell(False, now)
        if not self.over and _reached(self._spec.hard_limit, octets, packets):
            self.over = True
            self._tell(True, now)

    def _tell(self, hard: bool, now: int) -> None:
        self._report(LifetimeReached(self._spec.spi_in, hard))
        self._alert(now)


class MeteredOutboundSa(OutboundSa):
    def __init__(self, spec: ChildSpec, rand: Rand, report: Report, alert: Alert) -> None:
        super().__init__(spec, rand, report, alert)
        self._meter = Meter(spec, report, alert)

    def seal(self, packet: bytearray, now: int) -> bytearray | Drop:
        if self._meter.over:
            self.drops[Reason.EXPIRED] += 1
            return DROP[Reason.EXPIRED]
        sealed = super().seal(packet, now)
        self._meter.read(self.bytes, self.packets, now)
        return sealed


class MeteredInboundSa(InboundSa):
    """Takes the long way always: there every packet is counted."""

    def __init__(self, spec: ChildSpec, rand: Rand, report: Report, alert: Alert) -> None:
        super().__init__(spec, rand, report)
        self._meter = Meter(spec, report, alert)
        self.open_plain = _never

    def _shortest(self) -> OpenPlain:
        return _never

    def open_any(self, packet: bytearray, at: int, low: int, peer: Sock | None, now: int) -> bytearray | Drop:
        if self._meter.over:
            self.drops[Reason.EXPIRED] += 1
            return DROP[Reason.EXPIRED]
        opened = super().open_any(packet, at, low, peer, now)
        self._meter.read(self.bytes, self.packets, now)
        return opened


def _never(_packet: bytearray, _at: int, _low: int) -> None: ...


def _reached(limit: tuple[int, int], octets: int, packets: int) -> bool:
    return 0 < limit[0] <= octets or 0 < limit[1] <= packets
