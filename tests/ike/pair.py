"""Two real endpoints, a network between them that loses, delays and translates, and a clock that jumps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import TypeVar

from sim.ike.config import ChildConfig, ConnectionConfig, EndpointConfig
from sim.ike.constants import ProtocolId
from sim.ike.context import Datagram, Usage
from sim.ike.driver import IkeDriver
from sim.ike.endpoint import IkeEndpoint
from sim.ike.events import ChildSaDown, ChildSaRetired, ChildSaUp, Event, IkeSaUp, MessageSent, PathChanged
from sim.ike.faults import Copy, Fault, Faults
from sim.ike.identity import Identity
from sim.ike.message import HEADER_BYTES, parse_header
from sim.ike.proposals import Proposal, parse_proposal
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire.address import Sock, pack_address
from sim.wire.selector import Selector

E = TypeVar("E", bound=Event)

A = pack_address("192.0.2.1")
B = pack_address("198.51.100.1")
NAT = pack_address("203.0.113.10")
HOME = pack_address("192.168.1.10")
IKE_PROPOSAL = parse_proposal("aes128gcm16-prfsha256-x25519", ProtocolId.IKE)
ESP_PROPOSAL = parse_proposal("aes128gcm16", ProtocolId.ESP)
LATENCY = 10 * NS_PER_MS
Rewrite = Callable[[Datagram], Datagram | None]


def ike(*texts: str) -> tuple[Proposal, ...]:
    return tuple(parse_proposal(text, ProtocolId.IKE) for text in texts)


def esp(*texts: str) -> tuple[Proposal, ...]:
    return tuple(parse_proposal(text, ProtocolId.ESP) for text in texts)


NET_A = ChildConfig(
    "net",
    (ESP_PROPOSAL,),
    local_ts=(Selector.from_prefix("10.1.0.0/16"),),
    remote_ts=(Selector.from_prefix("10.2.0.0/16"),),
    rekey_time=0,
    life_time=0,
)
NET_B = replace(NET_A, local_ts=NET_A.remote_ts, remote_ts=NET_A.local_ts)
NET2_A = replace(
    NET_A,
    name="net2",
    local_ts=(Selector.from_prefix("10.3.0.0/16"),),
    remote_ts=(Selector.from_prefix("10.4.0.0/16"),),
)
NET2_B = replace(NET2_A, local_ts=NET2_A.remote_ts, remote_ts=NET2_A.local_ts)
ALICE, MOON = Identity.parse("alice@example.org"), Identity.parse("moon.example.org")
CONNECTION_A = ConnectionConfig(
    "rw",
    b"correct horse battery staple",
    (IKE_PROPOSAL,),
    (NET_A,),
    remote_addrs=(B,),
    local_id=ALICE,
    remote_id=MOON,
    rekey_time=0,
)
CONNECTION_B = ConnectionConfig(
    "rw",
    b"correct horse battery staple",
    (IKE_PROPOSAL,),
    (NET_B,),
    local_id=MOON,
    remote_id=ALICE,
    rekey_time=0,
)


@dataclass(slots=True)
class Used:
    last_in_at: int = -1
    last_out_at: int = -1


@dataclass(slots=True)
class Sent:
    """One datagram as it left, and whether the network lost it."""

    at: int
    side: str
    datagram: Datagram
    lost: bool = False

    @property
    def octets(self) -> bytes:
        """The IKE message, without a non-ESP marker."""
        return self.datagram.data if self.datagram.src[1] == 500 else self.datagram.data[4:]


class End(IkeDriver):
    """One endpoint and what it reported."""

    def __init__(
        self,
        pair: Pair,
        side: str,
        config: EndpointConfig,
        addresses: list[bytes],
        seed: str,
        faults: Iterable[Fault] = (),
    ) -> None:
        self._pair, self.side = pair, side
        self.faults = Faults(faults, random.Random(f"faults{seed}").randbytes)
        self.addresses = addresses
        self.dead_ends: set[bytes] = set()
        """Addresses of this end that lead to no peer."""
        self.uses: dict[int, Used] = {}
        self.events: list[tuple[int, Event]] = []
        self.armed: int | None = None
        super().__init__(self._new(config, seed))

    def reset(self, config: EndpointConfig, seed: str) -> None:
        """A new endpoint, with no memory and no events."""
        self.endpoint = self._new(config, seed)
        self.events.clear()

    def _new(self, config: EndpointConfig, seed: str) -> IkeEndpoint:
        rand = random.Random(seed).randbytes
        return IkeEndpoint(config, rand=rand, usage=self._usage, faults=self.faults, leads=self._leads)

    def _usage(self, spi_in: int) -> Usage | None:
        return self.uses.get(spi_in)

    def _leads(self, local: bytes, remote: bytes) -> bool:
        return local not in self.dead_ends

    def apply(self, event: Event, now: int) -> None:
        self.events.append((now, event))
        self._pair.observe(self, event, now)

    def transmit(self, datagram: Datagram, now: int) -> None:
        marker = 0 if datagram.src[1] == self.endpoint.config.ike_port else 4
        if len(datagram.data) < marker + HEADER_BYTES:  # a keepalive
            self._pair.carry(self.side, datagram, now)
            return
        header = parse_header(datagram.data[marker:])
        own = header.spi_i if header.from_initiator else header.spi_r
        for copy in self.faults.wire(Copy(datagram, marker, self.endpoint.connection_of(own))):
            if not copy.lost:
                self._pair.carry(self.side, copy.datagram, now, copy.delay)

    def arm(self, at: int | None) -> None:
        self.armed = at

    def all(self, kind: type[E]) -> list[E]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def last(self, kind: type[E]) -> E:
        return self.all(kind)[-1]

    def times(self, kind: type[Event]) -> list[int]:
        return [at for at, event in self.events if isinstance(event, kind)]

    @property
    def children(self) -> dict[int, ChildSaUp]:
        """The Child SAs that are up, by inbound SPI, at the addresses where PathChanged has moved them."""
        up: dict[int, ChildSaUp] = {}
        for _, event in self.events:
            if isinstance(event, ChildSaUp):
                up[event.spi_in] = event
            elif isinstance(event, ChildSaRetired | ChildSaDown):
                up.pop(event.spi_in, None)
            elif isinstance(event, PathChanged):
                for spi in up.keys() & set(event.spis_in):
                    up[spi] = replace(up[spi], local=event.local, remote=event.remote, encap=event.encap)
        return up

    @property
    def ladder(self) -> list[str]:
        """What this end sent, in RFC notation."""
        return [event.payloads for event in self.all(MessageSent)]


@dataclass(order=True)
class _Flight:
    at: int
    count: int
    datagram: Datagram = field(compare=False)


class Pair:
    """`a` usually initiates, `b` responds. Deliveries and timers happen in order of time."""

    def __init__(
        self,
        a: ConnectionConfig = CONNECTION_A,
        b: ConnectionConfig = CONNECTION_B,
        *,
        a_config: EndpointConfig | None = None,
        b_config: EndpointConfig | None = None,
        a_addr: bytes = A,
        seed: str = "1",
        a_faults: Iterable[Fault] = (),
        b_faults: Iterable[Fault] = (),
    ) -> None:
        self.now = 0
        self.sent: list[Sent] = []
        self.rewrite: Rewrite = lambda datagram: datagram
        self.latency = LATENCY
        self._flights: list[_Flight] = []
        self._count = 0
        self.fates: dict[str, list[tuple[int, ...]]] = {"a": [], "b": []}
        self._holding: list[_Flight] | None = None
        a_whole = replace(a_config or EndpointConfig(), connections=(a,))
        b_whole = replace(b_config or EndpointConfig(), connections=(b,))
        self.a = End(self, "a", a_whole, [a_addr], f"a{seed}", a_faults)
        self.b = End(self, "b", b_whole, [B], f"b{seed}", b_faults)
        for end in (self.a, self.b):
            end.endpoint.addresses_changed(end.addresses, 0)
            end.pump(0)

    def observe(self, end: End, event: Event, now: int) -> None:
        """Called with each event, before the datagrams of the same input leave."""

    # -- commands ----------------------------------------------------------------------------------------

    def initiate(self, child: str | None = "net") -> None:
        self.a.endpoint.initiate("rw", child, self.now)
        self.a.pump(self.now)

    def establish(self) -> Pair:
        """Bring the connection up from `a` and forget nothing."""
        return self.establish_with("net")

    def establish_with(self, child: str | None) -> Pair:
        """As `establish`, with this Child SA, or all."""
        self.initiate(child)
        self.settle()
        assert self.up
        return self

    @property
    def up(self) -> bool:
        return bool(self.a.all(IkeSaUp)) and bool(self.b.all(IkeSaUp))

    @property
    def a_addr(self) -> bytes:
        return self.a.addresses[0]

    @a_addr.setter
    def a_addr(self, address: bytes) -> None:
        self.set_addresses(self.a, [address])

    def set_addresses(self, end: End, addresses: list[bytes]) -> None:
        end.addresses = addresses
        end.endpoint.addresses_changed(addresses, self.now)
        end.pump(self.now)

    def inject(self, end: End, data: bytes, src: Sock, dst: Sock) -> None:
        """A datagram from nowhere."""
        end.endpoint.receive_datagram(data, src, dst, self.now)
        end.pump(self.now)

    def command(self, end: End, act: Callable[[IkeEndpoint], None]) -> None:
        """Give an endpoint a command, and carry what it causes."""
        act(end.endpoint)
        end.pump(self.now)

    def restart(self, end: End, config: EndpointConfig, seed: str = "restarted") -> None:
        """The host forgets everything, without a word."""
        end.reset(config, seed)
        end.endpoint.addresses_changed(end.addresses, self.now)
        end.pump(self.now)

    def octets(self, side: str) -> list[bytes]:
        """The IKE messages that a side sent."""
        return [sent.octets for sent in self.sent if sent.side == side and sent.datagram.data != b"\xff"]

    # -- the network -------------------------------------------------------------------------------------

    def drop(self, count: int = 1, side: str = "a", after: int = 0) -> None:
        """Lose the next `count` datagrams of a side, after letting `after` pass."""
        self.fates[side] += [(0,)] * after + [()] * count

    def delay(self, extra: int, side: str = "a", after: int = 0) -> None:
        """Deliver one datagram of a side later."""
        self.fates[side] += [(0,)] * after + [(extra,)]

    def duplicate(self, extra: int = 0, side: str = "a", after: int = 0) -> None:
        """Deliver one datagram of a side at its time, and again later."""
        self.fates[side] += [(0,)] * after + [(0, extra)]

    def carry(self, side: str, datagram: Datagram, now: int, late: int = 0) -> None:
        """A datagram leaves, `late` ns after it should."""
        fates = self.fates[side]
        fate = fates.pop(0) if fates else (0,)
        record = Sent(now, side, datagram, not fate)
        self.sent.append(record)
        if not fate:
            return
        translated = self.rewrite(datagram)
        if translated is None:
            record.lost = True
            return
        for extra in fate:
            self._count += 1
            heappush(self._flights, _Flight(now + late + self.latency + extra, self._count, translated))

    def drive(self, duration: int = 5 * NS_PER_S) -> None:
        """Let `duration` pass."""
        self._run(self.now + duration, quiet=False)

    def settle(self) -> None:
        """Go on until nothing is in flight."""
        self._run(None, quiet=True)

    def calm(self, within: int = 3600 * NS_PER_S) -> Pair:
        """Go on until nothing is in flight and no timer is armed; AssertionError if that takes longer."""
        self._run(self.now + within, quiet=False, jump=False)
        assert not self._flights, "datagrams are still in flight"
        armed = [sorted(map(str, end.endpoint._ctx.timers._armed)) for end in (self.a, self.b)]
        assert armed == [[], []], f"timers are still armed: {armed}"
        return self

    def _run(self, until: int | None, *, quiet: bool, jump: bool = True) -> None:
        while True:
            at = self._next(quiet)
            if at is None or (until is not None and at > until):
                break
            self.now = max(self.now, at)
            if self._flights and self._flights[0].at <= self.now:
                self._deliver(heappop(self._flights).datagram)
            else:
                self._fire()
        if until is not None and jump:
            self.now = until

    def _next(self, quiet: bool) -> int | None:
        times = [self._flights[0].at] if self._flights else []
        if times or not quiet:
            times += [end.armed for end in (self.a, self.b) if end.armed is not None]
        return min(times, default=None)

    def _fire(self) -> None:
        for end in (self.a, self.b):
            if end.armed is not None and end.armed <= self.now:
                end.endpoint.handle_timer(self.now)
                end.pump(self.now)

    def _deliver(self, datagram: Datagram) -> None:
        for end in (self.a, self.b):
            if datagram.dst[0] in end.addresses:
                end.endpoint.receive_datagram(datagram.data, datagram.src, datagram.dst, self.now)
                end.pump(self.now)


class NatBox:
    """A home NAT in front of `a`: one outside address, a port per inside socket."""

    def __init__(self, pair: Pair, outside: bytes = NAT, first_port: int = 40000) -> None:
        self.pair = pair
        self.outside = outside
        self.next_port = first_port
        self.mappings: dict[Sock, Sock] = {}
        pair.rewrite = self

    def rebind(self) -> None:
        """Forget all mappings; new ones get new ports."""
        self.mappings.clear()

    def __call__(self, datagram: Datagram) -> Datagram | None:
        if datagram.dst[0] == self.outside:
            inside = {outside: inside for inside, outside in self.mappings.items()}.get(datagram.dst)
            return None if inside is None else replace(datagram, dst=inside)
        if datagram.src[0] in self.pair.a.addresses and datagram.dst[0] in self.pair.b.addresses:
            return replace(datagram, src=self._map(datagram.src))
        return datagram

    def _map(self, inside: Sock) -> Sock:
        if inside not in self.mappings:
            self.mappings[inside] = (self.outside, self.next_port)
            self.next_port += 1
        return self.mappings[inside]
