"""UDP at a constant rate, each packet numbered and verified at the far end."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from sim.net.engine import Simulation
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.traffic.filling import filling
from sim.traffic.record import FlowRecord
from sim.traffic.source import EMSGSIZE, Find, Pmtud, TrafficFlow
from sim.wire import ip, udp
from sim.wire.buffer import WireError
from sim.wire.ip import IpHeader, Protocol

DISCARD_PORT = 9  # RFC 863
NS_BITS_PER_OCTET_SECOND = 8 * 10**9

_SEQUENCE_BYTES = 8
_PORTS = Struct(">HH")
_CHECKSUM = Struct(">H")
_put_checksum_and_number = Struct(">HQ").pack_into
# Addresses, UDP header and number in eights: what the checksum covers besides what never changes.
_FIELDS = {
    (4, True): Struct(">12xQQQ"),
    (4, False): Struct(">12xQQ"),
    (16, True): Struct(">8xQQQQQQ"),
    (16, False): Struct(">8xQQQQQ"),
}
_NUMBERED_BYTES = udp.UDP_HEADER_BYTES + _SEQUENCE_BYTES


class ConstantRate(TrafficFlow):
    """Packet n leaves at start + n * size / rate, as long as that lies before `stop`.

    A packet is a template with its number written into the first eight octets of the payload (if there is
    room) and the UDP checksum brought up to date. Where DF is set the identification is zero (RFC 6864 4.1);
    `pmtud` says when it is.
    """

    def __init__(
        self,
        sim: Simulation,
        name: str,
        source: IpNode,
        target: IpNode,
        dst: bytes,
        *,
        size: int,
        rate: int,
        start: int,
        stop: int,
        port: int,
        tos: int = 0,
        find: Find | None = None,
        pattern: str | None = None,
        pmtud: Pmtud = Pmtud.WANT,
    ) -> None:
        super().__init__(FlowRecord(name, (start, stop)), source, dst, target, find, pmtud)
        self._clock = sim.tick(self._tick)
        self.size = size
        self._rate = rate
        self._spread = size * NS_BITS_PER_OCTET_SECOND  # divided by the rate: from packet to packet
        self._start_at = start
        self._stop_at = stop
        self._port = port
        self._tos = tos
        self._upper = ip.IPV4_HEADER_BYTES if len(dst) == 4 else ip.IPV6_HEADER_BYTES
        self._checksum_at = self._upper + 6
        if size < self._upper + udp.UDP_HEADER_BYTES:
            raise ValueError(f"{size} octets do not hold an IP and a UDP header")
        self._numbered = size >= self._upper + _NUMBERED_BYTES
        room = size - self._upper - udp.UDP_HEADER_BYTES
        self._payload = _payload(room, pattern, sim.rand(f"payload:{name}"))
        self._tail = self._payload[_SEQUENCE_BYTES:] if self._numbered else self._payload
        self._fields = _FIELDS[len(dst), self._numbered]
        self._constant_sum = (_words(self._tail) + Protocol.UDP + size - self._upper) % 0xFFFF
        self._template = bytearray()
        self._template_sum = 0
        self._send: Callable[[Packet, int], None] = source.send
        source.path_mtus.listeners.append(self._path_changed)
        source.on_port_change.append(self._path_changed)

    def start(self) -> None:
        if self._start_at < self._stop_at:
            self._clock.push(self._start_at)

    def _tick(self, now: int) -> None:
        seq = self.record.send(now, self.size)
        next_at = self._start_at + (seq + 1) * self._spread // self._rate
        if next_at < self._stop_at:
            self._clock.again(next_at)
        else:
            self._clock.done()
        if self._template or self._bind():
            self._send(Packet(self._packet(seq), now, self, seq), now)
        else:
            self._undelivered(seq, now)

    def _bind(self) -> bool:
        src = self._bound()
        if src is None:
            return False
        ends = (src, self._port), (self.dst, DISCARD_PORT)
        self._template = udp.build(*ends, self._payload, df=self._has_df(self.size), tos=self._tos)
        self._template_sum = -_CHECKSUM.unpack_from(self._template, self._checksum_at)[0] % 0xFFFF
        self._send = self._way_out()
        return True

    def _way_out(self) -> Callable[[Packet, int], None]:
        """What becomes of a packet, for as long as nothing else is known of the path."""
        if self._pmtud is Pmtud.PROBE:
            return self.source.send_whole
        if self._pmtud is Pmtud.DO and not self._takes_whole(self.size):
            return self._refuse
        return self.source.send if self._has_df(self.size) else self._send_divisible

    def _refuse(self, packet: Packet, now: int) -> None:
        self.source.drop(packet, EMSGSIZE, now)

    def _send_divisible(self, packet: Packet, now: int) -> None:
        """A packet that may be fragmented has an identification of its own (RFC 6864 4.1)."""
        data = packet.data
        if data[0] < 0x60:
            data[4:6] = self.source.next_identification().to_bytes(2, "big")
            ip.write_checksum(data)
        self.source.send(packet, now)

    def _path_changed(self, _now: int = 0) -> None:
        if self._template:
            self._bind()

    def _sent_this(self, quoted: IpHeader, quote: bytes) -> bool:
        at = quoted.upper_offset
        ports = quote[at : at + _PORTS.size]
        return quoted.protocol == Protocol.UDP and ports == _PORTS.pack(self._port, DISCARD_PORT)

    def _binding_changed(self, now: int) -> None:
        super()._binding_changed(now)
        self._path_changed()

    def _target_changed(self, now: int) -> None:
        super()._target_changed(now)
        if not self._found:
            self._template = bytearray()

    def _packet(self, seq: int) -> bytearray:
        data = self._template[:]
        if self._numbered:
            # 2 ** 16 is 1 modulo 0xffff, so a number is congruent to the sum of its words (RFC 1071).
            checksum = -(self._template_sum + seq) % 0xFFFF or 0xFFFF
            _put_checksum_and_number(data, self._checksum_at, checksum, seq)
        return data

    def arrived(self, packet: Packet, node: IpNode, now: int) -> bool:
        if node is not self.target:
            return False
        # Whether it is the packet that was sent, but for what routers and NATs may change; no call.
        data, seq = packet.data, packet.seq
        if len(data) == self.size and data.endswith(self._tail):
            fields = self._fields.unpack_from(data)
            # 2 ** 16 is 1 modulo 0xffff, so a field is congruent to the sum of its words (RFC 1071).
            if not (self._constant_sum + sum(fields)) % 0xFFFF and (not self._numbered or fields[-1] == seq):
                self.record.receive(seq, now, self.size)
                return True
        if self._is_translated(data, seq):
            self.record.receive(seq, now, self.size)
        else:
            self.record.damaged += 1
        return True

    def _is_translated(self, data: bytearray, seq: int) -> bool:
        """Whether a NAT64 has made a packet of this flow one of the other IP version."""
        try:
            header = ip.parse(data)
            at = header.upper_offset + udp.UDP_HEADER_BYTES
            if header.protocol != Protocol.UDP or not udp.checksum_ok(data, header.upper_offset):
                return False
        except WireError:
            return False
        number = seq.to_bytes(_SEQUENCE_BYTES, "big") if self._numbered else b""
        other = header.version != (4 if self._upper == ip.IPV4_HEADER_BYTES else 6)
        return other and bytes(data[at:]) == number + self._tail


def _payload(size: int, pattern: str | None, draw: Callable[[int], bytes]) -> bytes:
    """Room for the number, then the filling."""
    return bytes(min(size, _SEQUENCE_BYTES)) + filling(pattern, max(0, size - _SEQUENCE_BYTES), draw)


def _words(data: bytes | bytearray) -> int:
    """A number congruent, modulo 0xffff, to the sum of the 16-bit words of `data`."""
    number = int.from_bytes(data, "big")
    return number << 8 if len(data) & 1 else number
