"""A recorded exchange, sent again: whole packets at their recorded times, between the scenario's hosts.

The client of the capture becomes one node and everyone it talked to the other. Addresses are replaced, all
checksums computed anew, TTLs set as on a fresh packet; ports, identifications and payloads stay as they were.
Nobody reacts: a packet is sent when the capture says so, whether or not what it answers has arrived.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sim.net.engine import Simulation
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.traffic.record import FlowRecord
from sim.traffic.source import NO_TARGET, Find, TrafficFlow
from sim.wire import ip
from sim.wire.address import format_address
from sim.wire.buffer import WireError
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.fragment import Reassembler
from sim.wire.ip import IpHeader, Protocol
from sim.wire.pcapng import Captured, is_link_type, read_capture, strip_link_layer

TTL = 64
_CUT = "cut off by the capturing program"

_CHECKSUM_AT: dict[int, int] = {Protocol.TCP: 16, Protocol.UDP: 6, Protocol.ICMPV6: 2}
"""Upper layers whose checksum covers the addresses, and where it stands."""
_PORT_BYTES: dict[int, int] = {Protocol.TCP: 4, Protocol.UDP: 4}


class Recorded(NamedTuple):
    """A whole IP packet, `at` ns after the first of its exchange."""

    at: int
    data: bytearray


@dataclass(slots=True)
class Exchange:
    """What a client and its peers sent, reassembled; what is not replayed is counted by its reason."""

    client: bytes
    up: list[Recorded] = field(default_factory=list)
    down: list[Recorded] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def span(self) -> int:
        """From the first to the last packet (ns)."""
        return max((packets[-1].at for packets in (self.up, self.down) if packets), default=0)


def read_exchange(path: Path, client: bytes | None = None) -> Exchange:
    """The exchange in a capture; without `client`, that of whoever sent its first unicast packet.

    WireError when the file is damaged, OSError when it cannot be read, ValueError when it has no packet of
    that client, or holds only the beginning of some.
    """
    skipped: Counter[str] = Counter()
    packets = _unicast_packets(path, skipped)
    if client is None and packets:
        client = packets[0][1].src
    if client is None:
        raise ValueError("holds no IP packet between two hosts" + _told(skipped))
    exchange = Exchange(client, skipped=skipped)
    start: int | None = None
    for at, header, data in packets:
        if client not in (header.src, header.dst):
            skipped["between other hosts"] += 1
            continue
        start = at if start is None else start
        direction = exchange.up if header.src == client else exchange.down
        direction.append(Recorded(at - start, data))
    if start is None:
        raise ValueError(f"holds no packet from or to {format_address(client)}{_told(skipped)}")
    return exchange


def left_out(exchange: Exchange) -> str:
    """How many packets of a capture are not replayed, and why; "" when all are."""
    count = exchange.skipped.total()
    what = "1 packet is" if count == 1 else f"{count} packets are"
    return f"{what} not replayed{_told(exchange.skipped)}" if count else ""


def _told(skipped: Counter[str]) -> str:
    """What was skipped, to be put behind a sentence."""
    return ": " + ", ".join(f"{count} {reason}" for reason, count in skipped.items()) if skipped else ""


def _unicast_packets(path: Path, skipped: Counter[str]) -> list[tuple[int, IpHeader, bytearray]]:
    """In the order of time, with fragments put together at the time of the last."""
    found, cut = [], list[Captured]()
    reassembler = Reassembler()
    for captured in read_capture(path):
        data, reason = _ip_packet(captured)
        if reason == _CUT:
            cut.append(captured)
            continue
        if data is None:
            skipped[reason] += 1
            continue
        whole = reassembler.add(data, captured.at_ns)
        if whole is None:
            continue
        header = ip.parse(whole)
        if _is_unicast(header.src) and _is_unicast(header.dst):
            found.append((captured.at_ns, header, whole))
        else:
            skipped["not unicast"] += 1
    skipped.update(reassembler.refused)
    if cut:
        size = max(len(captured.data) for captured in cut)
        packets = "1 packet is" if len(cut) == 1 else f"{len(cut)} packets are"
        raise ValueError(f"{packets} cut by a snap length of {size} octets: record with `-s 0`")
    return sorted(found, key=lambda packet: packet[0])


def _ip_packet(captured: Captured) -> tuple[bytearray | None, str]:
    """The IP packet in a captured frame, or why there is none to replay."""
    if not is_link_type(captured.linktype):
        return None, f"of link type {captured.linktype}, which is not supported"
    data = strip_link_layer(captured.linktype, captured.data)
    if data is None:
        return None, "not IP"
    packet = bytearray(data)
    if captured.cut_off and _is_short(packet):
        return None, _CUT
    try:
        header = ip.parse_quoted(packet)
        if header.version == 4:
            ip.write_checksum(packet)
        ip.parse(packet)
    except WireError:
        return None, "malformed IP packet"
    return packet, ""


def _is_short(packet: bytearray) -> bool:
    """Whether it is only the beginning; what a capture cuts may as well be the padding behind the packet."""
    version, length = packet[0] >> 4, len(packet)
    if length < (20 if version == 4 else 40):
        return True
    return length < (int.from_bytes(packet[2:4]) if version == 4 else 40 + int.from_bytes(packet[4:6]))


class Replay(TrafficFlow):
    """One direction of an exchange. `peer` is the other direction: both use the same pair of addresses."""

    def __init__(
        self, sim: Simulation, record: FlowRecord, ends: _Ends, packets: list[Recorded], *, up: bool
    ) -> None:
        source = ends.client if up else ends.server
        super().__init__(record, source, ends.server_address, ends.server if up else ends.client)
        self._alarm = sim.alarm(self._tick)
        self._ends = ends
        self._up = up
        self._packets = packets
        self._bodies: list[tuple[int, bytes]] = []

    @property
    def has_packets(self) -> bool:
        return bool(self._packets)

    def start(self) -> None:
        self._arm_next()

    def _tick(self, now: int) -> None:
        data = self._packets[self.record.sent].data
        server, client = self._ends.server_now(), self._ends.client_address()
        seq = self.record.send(now, len(data))
        if server is None or client is None:
            self._bodies.append((0, b""))
            if server is None:
                self.source.drop(Packet(bytearray(), now, self, seq), NO_TARGET, now)
        else:
            packet, body_at = _readdress(data, *((client, server) if self._up else (server, client)))
            self._bodies.append((body_at, bytes(packet[body_at:])))
            self.source.send(Packet(packet, now, self, seq), now)
        self._arm_next()

    def _arm_next(self) -> None:
        if self.record.sent < len(self._packets):
            at = self._ends.start_at + self._packets[self.record.sent].at
            if at < self._ends.stop_at:
                self._alarm.arm(at)

    def arrived(self, packet: Packet, node: IpNode, now: int) -> bool:
        if node is not self.target:
            return False
        body_at, body = self._bodies[packet.seq]
        if packet.data[body_at:] == body and _sums_up(packet.data):
            self.record.receive(packet.seq, now, len(packet.data))
        else:
            self.record.damaged += 1
        return True


@dataclass(slots=True)
class _Ends:
    """Who plays client and server; the client's address is bound when the first packet of either leaves."""

    client: IpNode
    server: IpNode
    server_address: bytes
    start_at: int
    stop_at: int
    find: Find | None = None
    _client_address: bytes | None = None

    def server_now(self) -> bytes | None:
        """The server's address; where only the run can tell it, None until it does."""
        if self.find is not None and not self.server.is_local(self.server_address):
            found = self.find()
            if found is None:
                return None
            self.server_address, self._client_address = found, None
        return self.server_address

    def client_address(self) -> bytes | None:
        if self._client_address is None:
            self._client_address = self.client.bind_address(self.server_address)
        return self._client_address


def replay(
    sim: Simulation,
    names: tuple[str, str],
    exchange: Exchange,
    source: IpNode,
    target: IpNode,
    dst: bytes,
    *,
    start: int,
    stop: int,
    find: Find | None = None,
) -> tuple[Replay, Replay]:
    """Both directions of an exchange: what `source` sends to `dst`, an address of `target`, and what returns.

    `names` are those of the two records. ValueError when the capture is of the other IP version than `dst`.
    """
    if len(exchange.client) != len(dst):
        version = 4 if len(exchange.client) == 4 else 6
        raise ValueError(f"is IPv{version}, but {format_address(dst)} is not")
    ends = _Ends(source, target, dst, start, stop, find)
    period = start, min(stop, start + exchange.span + 1)
    up, down = (FlowRecord(name, period) for name in names)
    up.skipped = dict(exchange.skipped)
    return Replay(sim, up, ends, exchange.up, up=True), Replay(sim, down, ends, exchange.down, up=False)


def _readdress(original: bytearray, src: bytes, dst: bytes) -> tuple[bytearray, int]:
    """The packet between new addresses with right checksums, and where what no NAT may touch begins."""
    data = original[:]
    header = ip.parse(data)
    at = 12 if header.version == 4 else 8
    data[at : at + 2 * len(src)] = src + dst
    data[8 if header.version == 4 else 7] = TTL
    ip.write_checksum(data)
    upper = header.upper_offset
    _write_upper_checksum(data, header, src, dst)
    checksum_at = _CHECKSUM_AT.get(header.protocol, 2 if header.protocol == Protocol.ICMP else -2)
    return data, upper + max(_PORT_BYTES.get(header.protocol, 0), checksum_at + 2)


def _write_upper_checksum(data: bytearray, header: IpHeader, src: bytes, dst: bytes) -> None:
    """Computed anew: capturing hosts leave it to their network cards. In IPv4 UDP, none stays none."""
    offset = _CHECKSUM_AT.get(header.protocol)
    if offset is None or len(data) < header.upper_offset + offset + 2:
        return
    at = header.upper_offset + offset
    if header.protocol == Protocol.UDP and header.version == 4 and data[at : at + 2] == b"\0\0":
        return
    data[at : at + 2] = b"\0\0"
    total = pseudo_header_sum(src, dst, header.protocol, len(data) - header.upper_offset)
    checksum = internet_checksum(data[header.upper_offset :], total)
    if header.protocol == Protocol.UDP:
        checksum = checksum or 0xFFFF
    data[at : at + 2] = checksum.to_bytes(2, "big")


def _sums_up(data: bytearray) -> bool:
    """Whether the checksum that covers the addresses is right, where there is one."""
    header = ip.parse(data)
    offset = _CHECKSUM_AT.get(header.protocol)
    if offset is None or len(data) < header.upper_offset + offset + 2:
        return True
    at = header.upper_offset + offset
    if header.protocol == Protocol.UDP and header.version == 4 and data[at : at + 2] == b"\0\0":
        return True
    total = pseudo_header_sum(header.src, header.dst, header.protocol, len(data) - header.upper_offset)
    return internet_checksum(data[header.upper_offset :], total) == 0


def _is_unicast(address: bytes) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_multicast or parsed.is_unspecified or address == b"\xff\xff\xff\xff")
