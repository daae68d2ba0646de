"""ICMP echo: requests at an interval, answered by the other host's own stack (RFC 792, RFC 4443 4)."""

from __future__ import annotations

from sim.net.engine import Simulation
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.traffic.filling import filling
from sim.traffic.record import FlowRecord
from sim.traffic.source import Find, Pmtud, TrafficFlow
from sim.wire import icmp, ip
from sim.wire.buffer import WireError
from sim.wire.icmp import IcmpMessage, IcmpType, Icmpv6Type
from sim.wire.ip import IpHeader

_REPLIES = {4: IcmpType.ECHO_REPLY, 6: Icmpv6Type.ECHO_REPLY}
_ASKS = {4: bytes((IcmpType.ECHO_REQUEST,)), 6: bytes((Icmpv6Type.ECHO_REQUEST,))}
_HEADER_BYTES = {4: ip.IPV4_HEADER_BYTES, 16: ip.IPV6_HEADER_BYTES}


class Ping(TrafficFlow):
    """Request n leaves at start + n * interval; a packet is received when its answer is back.

    The record's latency is the round trip, and a lost packet may be the request or the answer. When it passes
    real hosts (`anonymous`), answers are packets of no flow, known by identifier and sequence number.
    """

    def __init__(
        self,
        sim: Simulation,
        name: str,
        source: IpNode,
        dst: bytes,
        *,
        target: IpNode,
        size: int,
        interval: int,
        count: int | None,
        start: int,
        stop: int,
        identifier: int,
        tos: int = 0,
        anonymous: bool = False,
        find: Find | None = None,
        pattern: str | None = None,
        pmtud: Pmtud = Pmtud.WANT,
    ) -> None:
        if count is not None:
            stop = min(stop, start + count * interval)
        super().__init__(FlowRecord(name, (start, stop)), source, dst, target, find, pmtud)
        self._alarm = sim.alarm(self._tick)
        self.size = size
        self._interval = interval
        self._start_at = start
        self._stop_at = stop
        self._identifier = identifier
        self._number = identifier.to_bytes(2, "big")
        self._tos = tos
        room = size - _HEADER_BYTES[len(dst)] - icmp.ICMP_HEADER_BYTES
        if room < 0:
            raise ValueError(f"{size} octets do not hold an IP and an ICMP header")
        self._payload = filling(pattern, room, sim.rand(f"payload:{name}"))
        if anonymous:
            source.on_icmp.append(self._heard)

    def start(self) -> None:
        if self._start_at < self._stop_at:
            self._alarm.arm(self._start_at)

    def _tick(self, now: int) -> None:
        seq = self.record.send(now, self.size)
        src = self._bound()
        if src is not None:
            self._ask(src, seq, now)
        else:
            self._undelivered(seq, now)
        if now + self._interval < self._stop_at:
            self._alarm.arm(now + self._interval)

    def _ask(self, src: bytes, seq: int, now: int) -> None:
        df = self._has_df(self.size)
        data = icmp.echo_request(
            src,
            self.dst,
            self._identifier,
            (seq + 1) & 0xFFFF,
            self._payload,
            df=df,
            identification=0 if df else self.source.next_identification(),
            tos=self._tos,
        )
        packet = Packet(data, now, self, seq)
        if self._refuses(packet, now):
            return
        send = self.source.send_whole if self._pmtud is Pmtud.PROBE else self.source.send
        send(packet, now)

    def _sent_this(self, quoted: IpHeader, quote: bytes) -> bool:
        at = quoted.upper_offset
        return quote[at : at + 1] == _ASKS[quoted.version] and quote[at + 4 : at + 6] == self._number

    def arrived(self, packet: Packet, node: IpNode, now: int) -> bool:
        """Takes the answers; the requests are the other host's to answer."""
        if node is not self.source:
            return False
        if self._is_answer(packet):
            self.record.receive(packet.seq, now, len(packet.data))
        else:
            self.record.damaged += 1
        return True

    def _heard(self, message: IcmpMessage, header: IpHeader, now: int) -> None:
        """A message that came to the source from nobody's flow; the last packet of its number is meant."""
        number = int.from_bytes(message.rest[2:], "big")
        seq = self.record.sent - 1 - (self.record.sent - number) % 0x10000
        if seq >= 0 and self._answers(message, seq):
            self.record.receive(seq, now, header.total_length)

    def _is_answer(self, packet: Packet) -> bool:
        try:
            header = ip.parse(packet.data)
            message = icmp.parse(packet.data, header.upper_offset)
        except WireError:
            return False
        return self._answers(message, packet.seq)

    def _answers(self, message: IcmpMessage, seq: int) -> bool:
        number = (self._identifier << 16 | ((seq + 1) & 0xFFFF)).to_bytes(4, "big")
        expected = (_REPLIES[message.version], number, self._payload)
        return (message.type, bytes(message.rest), bytes(message.body)) == expected
