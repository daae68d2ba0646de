"""The receiving SA of AGGFRAG mode (RFC 9347 2.2.3, 2.5, 3).

    ESP -> replay, ICV -> next header 144 -> Reorder -> Unpacker -> selectors of each packet -> Delivery

An outer packet is authenticated before it is looked into, and every inner one is checked by itself. The outer
ECN field counts as a loss for the congestion control that the peer asks for and goes no further (2.2.5.2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sim.crypto.cipher import Rand
from sim.ipsec.iptfs.items import Aggregate, Delivery
from sim.ipsec.iptfs.path import TunnelPath
from sim.ipsec.iptfs.reorder import Reorder
from sim.ipsec.iptfs.unpacker import Unpacker
from sim.ipsec.sad import InboundSa, Report
from sim.ipsec.spec import ChildSpec
from sim.ipsec.traffic import flow_key
from sim.ipsec.verdict import Drop, PacketError, Reason
from sim.ipsec.volume import Meter
from sim.wire import aggfrag
from sim.wire.address import Sock
from sim.wire.buffer import WireError
from sim.wire.ip import Protocol

_ECN = _CONGESTION_EXPERIENCED = 3


class AggfragInboundSa(InboundSa):
    """`packets` and `bytes` count inner packets that were let through, `outer_packets` what carried them."""

    def __init__(
        self, spec: ChildSpec, rand: Rand, report: Report, path: TunnelPath, deliveries: deque[Delivery]
    ) -> None:
        super().__init__(spec, rand, report)
        self._path = path
        self._deliveries = deliveries
        self._reorder = Reorder(spec.iptfs.reorder_window, spec.iptfs.drop_time)
        self._unpacker = Unpacker(self._failed)
        self._counts_marks = spec.iptfs.ecn
        self._carrier: Aggregate | None = None  # the last one that was unpacked
        self.outer_packets = 0
        self.meter: Meter | None = None
        self.plan: Callable[[int | None], None] = lambda at: None
        self.on_heard: Callable[[int], None] = lambda now: None
        """Called with the time when the peer was heard."""

    def open(self, packet: bytearray, at: int, low: int, peer: Sock | None, now: int) -> Aggregate | Drop:
        """Take an outer packet; Deliveries may result. Else as `InboundSa.open`."""
        if self.meter is not None and self.meter.over:
            return self._dropped(Reason.EXPIRED)
        esp = self._wrapper or self._start()
        seq = esp.window.recover(low)
        try:
            payload, next_header, newest = esp.open(packet, at, low)
            self._noted(packet, peer if newest else None, now)
            if next_header != Protocol.AGGFRAG:
                dummy = next_header == Protocol.NO_NEXT
                raise PacketError(Reason.DUMMY if dummy else Reason.NEXT_HEADER)  # RFC 9347 2.3
        except PacketError as error:
            return self._dropped(error.reason)
        tos = packet[1] if packet[0] < 0x60 else packet[1] >> 4
        marked = self._counts_marks and tos & _ECN == _CONGESTION_EXPERIENCED
        carrier = Aggregate(payload, seq, now, marked)
        if not self._reorder.put(carrier):
            return self._dropped(Reason.OUT_OF_TURN)
        self.outer_packets += 1
        self.handle_timer(now)
        self.on_heard(now)
        return carrier

    def handle_timer(self, now: int) -> None:
        """Unpack what need not wait any longer."""
        for carrier in self._reorder.ready(now):
            if carrier is None:
                self._unpacker.lose()
            else:
                self._unpack(carrier)
        self.plan(self._reorder.next_timer)

    def _unpack(self, carrier: Aggregate) -> None:
        self._carrier = carrier
        payload, carrier.payload = carrier.payload, bytearray()
        try:
            header = aggfrag.parse(payload)
        except WireError:
            self._unpacker.lose()
            self._failed(Reason.MALFORMED_AGGFRAG)
            return
        path = self._path
        if header.congestion is not None:
            path.heard(header.congestion, carrier.at)
        if path.says:
            path.losses.arrived(carrier.seq, carrier.at, path.peer_rtt, carrier.marked)
        for index, inner in self._unpacker.take(payload, header):
            reason = self._let_in(inner, carrier.at)
            if self.shape is not None and reason is None:
                inner = self.shape(inner)
            self._deliveries.append(Delivery(inner, carrier, index, reason))
        if self.meter is not None:
            self.meter.read(self.bytes, self.packets, carrier.at)

    def _let_in(self, inner: bytearray, now: int) -> Reason | None:
        """Why an inner packet is not what the SA is for (RFC 4301 5.2 step 4)."""
        try:
            if flow_key(inner) not in self._flows:
                self._check_selectors(inner)
            if self.claim is not None and not self.claim(inner, now):
                raise PacketError(Reason.NOT_TOLD_APART)
        except PacketError as error:
            self.drops[error.reason] += 1
            return error.reason
        self.packets += 1
        self.bytes += len(inner)
        return None

    def _failed(self, reason: Reason) -> None:
        self.drops[reason] += 1
        if self._carrier is not None:
            self._deliveries.append(Delivery(bytearray(), self._carrier, -1, reason))
