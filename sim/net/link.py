"""Links: two directed halves, each a drop-tail queue, a rate, a delay, jitter and loss.

    send -> [queue] -> serialise at rate_bps -> lost? -> delay_ns + jitter -> receive

Rate and delay are independent stages: the delay never lowers the throughput. A half link needs no event
while packets wait or are serialised, for both ends of that are known when a packet is accepted; one alarm
per direction stands at the next arrival (and one at the next departure while a tap listens).
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from heapq import heapreplace

from simpy.events import NORMAL

from sim.net.engine import Simulation
from sim.net.jitter import Jitter, Random
from sim.net.packet import Packet
from sim.net.port import MAX_MTU, MIN_MTU, Port

LOST = "lost on link"
"""Why a packet was dropped that met the loss of a link."""
BIT_NS = 8_000_000_000  # nanoseconds of one octet at 1 bit/s


@dataclass(frozen=True, slots=True)
class QueueLimit:
    """How much may wait, in packets or in octets; the packet being serialised does not wait.

    1000 packets is what Linux gives an Ethernet interface (txqueuelen).
    """

    packets: int | None = 1000
    octets: int | None = None

    def __post_init__(self) -> None:
        if min(self.packets or 0, self.octets or 0) < 0:
            raise ValueError("a queue limit must not be negative")


@dataclass(frozen=True, slots=True)
class LinkParams:
    """One direction of a link. `rate_bps` None is infinitely fast.

    Without `reorder` a packet that draws little jitter waits behind the one before it; `loss` is the
    probability of each packet, independent of the others.
    """

    rate_bps: int | None = 1_000_000_000
    delay_ns: int = 0
    jitter: Jitter | None = None
    reorder: bool = False
    loss: float = 0.0
    queue: QueueLimit = QueueLimit()
    mtu: int = 1500

    def __post_init__(self) -> None:
        if self.rate_bps is not None and self.rate_bps <= 0:
            raise ValueError("a link's rate must be above 0 bit/s")
        if self.delay_ns < 0:
            raise ValueError("a link's delay must not be negative")
        if not 0 <= self.loss <= 1:
            raise ValueError("a link's loss must be between 0 % and 100 %")
        if not MIN_MTU <= self.mtu <= MAX_MTU:
            raise ValueError("a link's MTU must be between 68 (RFC 791) and 65535 octets")


class Link:
    """Both directions between two ports. `forward` carries what `a` sends."""

    def __init__(self, sim: Simulation, forward: HalfLink, backward: HalfLink) -> None:
        self._sim = sim
        self.forward = forward
        self.backward = backward

    @property
    def up(self) -> bool:
        return self.forward.up

    def set_up(self, up: bool) -> None:
        """Connect or cut both directions; a cut drops all that waits or travels, and both ports go down."""
        if up == self.up:
            return
        for half in (self.forward, self.backward):
            half.up = up
            if not up:
                half.drop_all("link down")
        for half in (self.forward, self.backward):
            half.src.node.port_changed()


def connect(
    sim: Simulation, a: Port, b: Port, forward: LinkParams, backward: LinkParams | None = None
) -> Link:
    """Join two ports, `backward` by default like `forward`; a port takes the MTU of what it sends into."""
    for port in (a, b):
        if port.link is not None:
            raise ValueError(f"{port!r} is connected already")
    link = Link(sim, HalfLink(sim, a, b, forward), HalfLink(sim, b, a, backward or forward))
    a.link, b.link = link.forward, link.backward
    a.link_in, b.link_in = link.backward, link.forward
    a.mtu, b.mtu = link.forward.params.mtu, link.backward.params.mtu
    return link


class HalfLink:
    """One direction. Every packet handed to `send` either arrives or is dropped at `src` with a reason."""

    __slots__ = (
        "_bit_ns",
        "_carry",
        "_delay",
        "_departures",
        "_flight",
        "_free_at",
        "_plain",
        "_rate",
        "_receive",
        "_rng",
        "_sim",
        "_tap_tick",
        "_tick",
        "_times",
        "_waiting",
        "_waiting_bytes",
        "bytes",
        "dst",
        "lost",
        "packets",
        "params",
        "queue_full",
        "src",
        "up",
    )

    def __init__(self, sim: Simulation, src: Port, dst: Port, params: LinkParams) -> None:
        self._sim = sim
        self.src = src
        self.dst = dst
        self.up = True
        self.packets = 0
        """Accepted for serialisation, with `bytes`; `lost` of them were lost, `queue_full` others refused."""
        self.bytes = 0
        self.lost = 0
        self.queue_full = 0
        self._rng: Random | None = None  # none before a packet may be lost or late by chance
        self._free_at = 0  # when the last accepted packet is serialised
        self._carry = 0  # what the divisions by the rate left over in this busy period
        self._waiting: deque[tuple[int, int]] = deque()  # (start of serialisation, size)
        self._waiting_bytes = 0
        self._flight: deque[tuple[int, int, Packet]] = deque()  # (arrival, end of serialisation, packet)
        self._departures: deque[tuple[int, Packet]] = deque()  # for the tap: (end of serialisation, packet)
        self._tick = sim.tick(self._arrive)  # always in the queue for the first in flight
        self._times: dict[int, tuple[int, int]] = {}  # size -> time to serialise, and what is left over
        self._tap_tick = sim.tick(self._depart)
        self._apply(params)
        self._plain = self._is_plain()
        self._receive = dst.entry()

    def configure(self, **changes: object) -> None:
        """Change parameters for the packets sent from now on; those under way keep what they met."""
        self._apply(replace(self.params, **changes))  # type: ignore[arg-type]
        self._plain = False  # a shorter delay must not overtake what is under way
        if self.src.mtu != self.params.mtu:
            self.src.mtu = self.params.mtu

    def send(self, packet: Packet, now: int) -> None:
        size = len(packet.data)
        start = self._free_at
        if start > now:
            if not self._admit(start, size, now):
                self.queue_full += 1
                self.src.node.drop(packet, "queue full", now)
                return
            took, self._carry = divmod(size * self._bit_ns + self._carry, self._rate)
            self._free_at = end = start + took
        else:
            took, self._carry = self._times.get(size) or self._time(size)
            self._free_at = end = now + took
        self.packets += 1
        self.bytes += size
        if self._plain:
            at = end + self._delay
            flight = self._flight
            if not flight:
                self._tick.push(at)
            flight.append((at, end, packet))
        else:
            self._send_impaired(packet, end, now)

    def waiting(self, now: int) -> tuple[int, int]:
        """How many packets and octets wait for their serialisation to begin."""
        queue = self._waiting
        while queue and queue[0][0] <= now:
            self._waiting_bytes -= queue.popleft()[1]
        return len(queue), self._waiting_bytes

    def under_way(self) -> Iterator[Packet]:
        """What waits, is being serialised or travels."""
        return (packet for _, _, packet in self._flight)

    def drop_all(self, reason: str) -> None:
        """Drop what waits and what travels."""
        self._drop_unless(reason, lambda _end: False)

    def drop_waiting(self, reason: str) -> None:
        """Drop what is not completely serialised yet."""
        now = self._sim.now
        self._drop_unless(reason, lambda end: end <= now)

    def port_changed(self) -> None:
        """The tap or the state of a port at one of the ends changed."""
        if self.src.tap is None:
            self._departures.clear()
        self._plain = self._plain and self._is_plain()
        self._receive = self.dst.entry()

    def _apply(self, params: LinkParams) -> None:
        self.params = params
        self._delay = params.delay_ns
        self._bit_ns, self._rate = (0, 1) if params.rate_bps is None else (BIT_NS, params.rate_bps)
        self._carry = 0
        self._times.clear()

    def _time(self, size: int) -> tuple[int, int]:
        times = self._times[size] = divmod(size * self._bit_ns, self._rate)
        return times

    def _is_plain(self) -> bool:
        return not self.params.loss and self.params.jitter is None and self.src.tap is None and self.up

    def _admit(self, start: int, size: int, now: int) -> bool:
        packets, octets = self.waiting(now)
        limit = self.params.queue
        if limit.packets is not None and packets >= limit.packets:
            return False
        if limit.octets is not None and octets + size > limit.octets:
            return False
        self._waiting.append((start, size))
        self._waiting_bytes += size
        return True

    def _send_impaired(self, packet: Packet, end: int, now: int) -> None:
        params = self.params
        if self.src.tap is not None:
            if not self._departures:
                self._tap_tick.push(end)
            self._departures.append((end, packet))
        if params.loss and self._stream().random() < params.loss:
            self.lost += 1
            self.src.node.drop(packet, LOST, now)
            return
        at = end + params.delay_ns
        if params.jitter is not None:
            at += params.jitter.draw(self._stream())
        flight = self._flight
        if flight and at < flight[-1][0]:
            if params.reorder:
                insort(flight, (at, end, packet), key=_arrival)
                self._tick.push(flight[0][0])
                return
            at = flight[-1][0]
        if not flight:
            self._tick.push(at)
            self._plain = self._is_plain()  # after `configure`, nothing is left to be overtaken
        flight.append((at, end, packet))

    def _stream(self) -> Random:
        if self._rng is None:
            self._rng = self._sim.rng(f"link:{self.src!r}>{self.dst!r}")
        return self._rng

    def _arrive(self, now: int) -> None:
        flight = self._flight
        if not flight or flight[0][0] != now:
            self._tick.done()  # meant for a packet that was dropped or overtaken
            return
        packet = flight.popleft()[2]
        tick = self._tick
        if flight:
            next_id = tick.next_id
            heapreplace(tick.queue, (flight[0][0], NORMAL, next_id(), tick))  # `again`, without the call
        else:
            tick.done()
        receive = self._receive
        receive(packet, self.dst, now)

    def _depart(self, now: int) -> None:
        departures = self._departures
        if not departures or departures[0][0] != now:
            self._tap_tick.done()
            return
        _, packet = departures.popleft()
        if departures:
            self._tap_tick.again(departures[0][0])
        else:
            self._tap_tick.done()
        if self.src.tap is not None:
            self.src.tap(self.src, packet.data, now, True)

    def _drop_unless(self, reason: str, keep: Callable[[int], bool]) -> None:
        now = self._sim.now
        dropped = [entry for entry in self._flight if not keep(entry[1])]
        self._flight = deque(entry for entry in self._flight if keep(entry[1]))
        self._departures = deque(entry for entry in self._departures if keep(entry[0]))
        self._waiting.clear()
        self._waiting_bytes = 0
        self._free_at = min(self._free_at, now)
        if self._flight:
            self._tick.push(self._flight[0][0])
        if self._departures:
            self._tap_tick.push(self._departures[0][0])
        for _, _, packet in dropped:
            self.src.node.drop(packet, reason, now)


def _arrival(entry: tuple[int, int, Packet]) -> int:
    return entry[0]
