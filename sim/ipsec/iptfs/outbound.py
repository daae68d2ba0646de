"""The sending SA of AGGFRAG mode: a queue in front of ESP, and a clock (RFC 9347 2.2, 2.4, 4).

    queue -> Packer -> header | data blocks | padding -> ESP (next header 144) -> Departure

Without a fixed rate a packet that finds the queue empty starts the clock, and all that waits when
`init_delay` is over leaves as it is. With one, a packet of one and the same size leaves at every tick,
whatever waits.
The outer header tells nothing of the inner ones (2.2.5): the DSCP is `outer_dscp` or 0, ECN is ECT(0) if that
is on. DF is set
unless both `copy_df` and `df` are off; it is never the inner packets'.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NoReturn

from sim.crypto.cipher import Rand
from sim.ipsec.esp import EspSealer
from sim.ipsec.iptfs.items import Departure, Queued
from sim.ipsec.iptfs.packer import Packer
from sim.ipsec.iptfs.path import TunnelPath
from sim.ipsec.outer import Outer, outer
from sim.ipsec.sad import Alert, Handler, OutboundSa, Report
from sim.ipsec.spec import ChildSpec
from sim.ipsec.verdict import Drop, PacketError, Reason, Verdict
from sim.ipsec.volume import Meter
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import aggfrag
from sim.wire.aggfrag import Requirement
from sim.wire.fragment import fragment
from sim.wire.ip import MAX_PACKET_BYTES, Protocol, dont_fragment

_NEXT_HEADER = bytes((Protocol.AGGFRAG,))
_ECT0 = 2
_MAX_TICKS = 64
"""How many packets that are overdue leave at once; a clock that is later than that starts anew."""
_REPORT_EVERY = 100 * NS_PER_MS
"""How often the peer, who wants to know, hears of the path as long as nobody knows the round trip."""

_LEAST_ROOM = 64
"""Octets of data blocks, however small the path's MTU is said to be."""

PathMtu = Callable[[OutboundSa], int]
"""How long an outer packet of an SA may be, as far as is known."""


class AggfragOutboundSa(OutboundSa):
    """`packets` and `bytes` count inner packets that were queued; `outer_packets` those that left.

    `due` is when `handle_timer` wants to be called; `plan` is told when that changes.
    """

    def __init__(
        self,
        spec: ChildSpec,
        rand: Rand,
        report: Report,
        alert: Alert,
        path: TunnelPath,
        path_mtu: PathMtu,
        departures: deque[Departure],
    ) -> None:
        self._around: Outer | None = None
        super().__init__(spec, rand, report, alert)
        settings = spec.iptfs
        self._path = path
        self._path_mtu = path_mtu
        self._departures = departures
        self._whole = settings.dont_frag or bool(spec.aggfrag & Requirement.DONT_FRAGMENT)
        self._packer = Packer(settings.max_queue_size, whole=self._whole)
        self._header_bytes = aggfrag.CONGESTION_HEADER_BYTES if path.says else aggfrag.HEADER_BYTES
        self._tos = (spec.outer_fields.dscp or 0) << 2 | (_ECT0 if settings.ecn else 0)
        self._ticking = False
        self._sent_at = -1
        self._owes_report = False
        self.outer_packets = 0
        self.plan: Callable[[int | None], None] = lambda at: None
        self._due: int | None = None
        self.meter: Meter | None = None

    # Inputs

    @property
    def handler(self) -> Handler:
        return self.queue

    def queue(self, packet: bytearray, now: int) -> Verdict:
        """Take a packet; Queued, or Drop."""
        if self.meter is not None and self.meter.over:
            return self._dropped(Reason.EXPIRED, now)
        if self.shape is not None:
            packet = self.shape(packet)
        pieces = [packet]
        if self._whole and len(packet) > self.room:
            if dont_fragment(packet):
                return self._dropped(Reason.TOO_BIG, now)
            pieces = fragment(packet, self.room)  # RFC 9347 2.2.6: as with any other tunnel
        item = Queued()
        if not all(self._packer.put(piece, item) for piece in pieces):
            return self._dropped(Reason.QUEUE_FULL, now)
        self.packets += 1
        self.bytes += len(packet)
        self.last_at = now
        if self.meter is not None:
            self.meter.read(self.bytes, self.packets, now)
        if self._due is None:
            self._schedule(now + self.spec.iptfs.init_delay)
        return item

    def start(self, at: int) -> None:
        """The peer can receive: a fixed rate begins at `at`."""
        if self.spec.iptfs.l3_fixed_rate and not self._ticking:
            self._ticking = True
            self._schedule(at)

    def inherit(self, predecessor: AggfragOutboundSa) -> None:
        """Send at the rate that congestion control has found for an SA that this one takes over from."""
        self._path.inherit(predecessor._path)

    def rest(self) -> int | None:
        """Another SA takes over: what waits still leaves, at the same pace, and then nothing more.

        When the next packet of a fixed rate would have left; None without one.
        """
        due = self._due if self._ticking else None
        self._ticking = False
        return due

    def answer(self, now: int) -> None:
        """The peer was heard and wants to know how its packets fare (RFC 9347 2.4.2: once a round trip)."""
        if self._path.says and not self._ticking and not self._owes_report:
            self._owes_report = True
            if self._due is None:
                self._schedule(now + (self._path.peer_rtt or _REPORT_EVERY))

    def handle_timer(self, now: int) -> None:
        """Let leave what is due; Departures result."""
        if self._due is None or now < self._due:
            return
        if self.spec.iptfs.l3_fixed_rate:
            self._tick(now)
        else:
            self._schedule(None)
            self._flush(now)

    def dummy(self, size: int, now: int) -> bytearray | Drop:
        """An outer packet that is all padding, which may stand anywhere among others (RFC 9347 2.2.3)."""
        sealed = self._seal_payload(0, bytearray(max(1, min(size, self.room))), now)
        self.dummies += isinstance(sealed, bytearray)
        return sealed

    # What others ask

    @property
    def waiting(self) -> int:
        """How many octets of inner packets wait to leave."""
        return self._packer.octets

    @property
    def room(self) -> int:
        """How many octets of data blocks an outer packet has."""
        return self._payload_bytes - self._header_bytes

    @property
    def interval(self) -> int:
        """The time between two outer packets at a fixed rate, ns, rounded up; 0 without one."""
        control = self._path.control
        if control is not None:
            return control.interval
        rate = self.spec.iptfs.l3_fixed_rate
        return -(-8 * NS_PER_S * self.outer_size // rate) if rate else 0

    @property
    def outer_size(self) -> int:
        """The size of a full outer packet, octets."""
        return self._headers.size + self._sealing.size(self._payload_bytes)

    def size(self, inner: int) -> int:
        """The size of the outer packet, the last if there are several, that an inner packet alone makes."""
        if self.spec.iptfs.l3_fixed_rate:
            return self.outer_size
        last = inner % self.room or min(inner, self.room)
        return self._headers.size + self._sealing.size(self._header_bytes + last)

    def max_inner(self, mtu: int) -> int:
        """Any inner packet passes, in pieces, unless the peer takes none (RFC 9347 2.2.7)."""
        return min(self.room, self._room_within(mtu)) if self._whole else MAX_PACKET_BYTES

    def _start(self) -> NoReturn:
        raise AssertionError("an AGGFRAG SA takes packets by `queue` alone (RFC 9347 2.3)")

    def settle(self, spec: ChildSpec) -> None:
        super().settle(spec)
        self._around = None

    # Helpers

    @property
    def _sealing(self) -> EspSealer:
        wrapper = self.wrapper
        assert isinstance(wrapper, EspSealer)  # by `make_pair`
        return wrapper

    @property
    def _headers(self) -> Outer:
        if self._around is None:
            spec = self.spec
            ends, ttl = (spec.local, spec.remote), spec.outer_fields.ttl
            self._around = outer(*ends, self.number, encap=spec.encap, ttl=ttl)
        return self._around

    @property
    def _payload_bytes(self) -> int:
        """The payload of a full outer packet, header included."""
        size = self.spec.iptfs.packet_size
        mtu = min(self._path_mtu(self), MAX_PACKET_BYTES)
        room = self._room_within(min(size, mtu) if size else mtu)
        return self._header_bytes + max(_LEAST_ROOM, room)

    def _room_within(self, mtu: int) -> int:
        return max(0, self._sealing.max_payload(mtu - self._headers.size) - self._header_bytes)

    def _tick(self, now: int) -> None:
        control = self._path.control
        due = self._due
        assert due is not None
        for _ in range(_MAX_TICKS):
            if due > now:
                break
            if not self._ticking and not self._packer.octets:
                self._schedule(None)
                return
            if control is not None:
                control.check_silence(now)
            if not self._send(now, full=True):
                return
            due += self.interval
        self._schedule(due if due > now else now + self.interval)

    def _flush(self, now: int) -> None:
        while self._packer.octets or self._owes_report:
            if not self._send(now, full=False):
                return

    def _send(self, now: int, *, full: bool) -> bool:
        """Let one outer packet leave; False when the SA can send no more."""
        room = self.room
        offset, blocks, tags = self._packer.pull(room)
        if full or not blocks:
            blocks += bytes(room - len(blocks)) if full else bytes(1)
        self._path.spacing = self._spacing(now)
        sealed = self._seal_payload(offset, blocks, now)
        if isinstance(sealed, Drop):
            return False
        self._departures.append(Departure(sealed, tags))
        return True

    def _seal_payload(self, offset: int, blocks: bytearray, now: int) -> bytearray | Drop:
        payload = bytearray(aggfrag.emit(offset, self._path.info(now)))
        payload += blocks
        try:
            sealed = self._sealing.seal(self._headers.size, payload, _NEXT_HEADER)
        except PacketError as error:
            return self._give_up(error.reason, now)
        self._headers.write(sealed, self._tos, self.spec.copy_df or self.spec.df)
        self._owes_report = False
        self.last_at = now
        self.outer_packets += 1
        return sealed

    def _spacing(self, now: int) -> int:
        """Our transmit delay (RFC 9347 3): the interval, or what lay between the last two packets."""
        before, self._sent_at = self._sent_at, now
        if interval := self.interval:
            return interval
        return 0 if before < 0 else now - before

    def _give_up(self, reason: Reason, now: int) -> Drop:
        drop = self._dropped(reason, now)
        self.drops[reason] += self._packer.clear()
        self._ticking = self._owes_report = False
        self._schedule(None)
        return drop

    def _schedule(self, at: int | None) -> None:
        self._due = at
        self.plan(at)
