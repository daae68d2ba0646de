"""Both SAs of a Child SA in AGGFRAG mode, and what joins them: the path that each learns of for the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sim.crypto.cipher import Rand
from sim.ipsec.events import Event
from sim.ipsec.iptfs.inbound import AggfragInboundSa
from sim.ipsec.iptfs.items import Delivery, Departure
from sim.ipsec.iptfs.outbound import AggfragOutboundSa, PathMtu
from sim.ipsec.iptfs.path import TunnelPath
from sim.ipsec.iptfs.tfrc import RateControl
from sim.ipsec.spec import ChildSpec
from sim.ipsec.volume import Meter
from sim.wire.aggfrag import Requirement
from sim.wire.ip import Protocol

Report = Callable[[Event], None]
Alert = Callable[[int], None]


def make_pair(
    spec: ChildSpec,
    rand: Rand,
    report: Report,
    alert: Alert,
    path_mtu: PathMtu,
    deliveries: deque[Delivery],
    departures: deque[Departure],
) -> tuple[AggfragInboundSa, AggfragOutboundSa]:
    """ValueError for settings that do not fit together."""
    settings = spec.iptfs
    if spec.protocol is not Protocol.ESP:
        raise ValueError("AGGFRAG payloads travel in ESP alone (RFC 9347 1)")
    controls = settings.congestion_control
    if controls and not settings.l3_fixed_rate:
        raise ValueError("congestion control needs a rate that is the highest (RFC 9347 4.1)")
    path = TunnelPath(says=controls or bool(spec.aggfrag & Requirement.CONGESTION_CONTROL))
    inbound = AggfragInboundSa(spec, rand, report, path, deliveries)
    outbound = AggfragOutboundSa(spec, rand, report, alert, path, path_mtu, departures)
    if controls:
        size = outbound.outer_size
        path.control = RateControl(settings.l3_fixed_rate / (8 * size), size)
    inbound.on_heard = outbound.answer
    if spec.is_metered:
        inbound.meter, outbound.meter = Meter(spec, report, alert), Meter(spec, report, alert)
    return inbound, outbound
