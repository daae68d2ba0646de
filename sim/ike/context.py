"""What all SAs of one endpoint share: randomness, timers, outputs, indexes and counters."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from sim.ike.compression import Cpis
from sim.ike.config import EndpointConfig
from sim.ike.events import Event, Reason, Rejected
from sim.ike.pool import Pools
from sim.ike.qcd import TokenMaker
from sim.ike.resumption import Held, TicketKey
from sim.ike.timers import Timers
from sim.units import NS_PER_S
from sim.wire.address import Sock
from sim.wire.esp import FIRST_SPI
from sim.wire.udp_encap import KEEPALIVE, NON_ESP_MARKER
from sim.wire.value import value

if TYPE_CHECKING:
    from sim.ike.child import ChildSa
    from sim.ike.faults import Faults
    from sim.ike.identity import Identity
    from sim.ike.sa import IkeSa
    from sim.ike.tasks.child_terms import PacketSelectors
    from sim.ike.view import SaView

Peers = tuple["Identity | None", "Identity | None"]
"""Our identity and the peer's."""

Leads = Callable[[bytes, bytes], bool]
"""Whether an address of this host leads to another one: packets from there can be sent that way."""

Routed = Callable[[bytes], "bytes | None"]
"""Which address of this host the routes choose for packets to another one, if that is known."""

_NOTIFIES_PER_SECOND = 10


class Usage(Protocol):
    """When the data plane last used a pair of ESP SAs, in ns; -1 is never."""

    @property
    def last_in_at(self) -> int: ...

    @property
    def last_out_at(self) -> int: ...


@value
class Datagram:
    """A UDP payload to send; it includes the non-ESP marker where one is due."""

    data: bytes
    src: Sock
    dst: Sock
    tos: int = 0


class Context:
    """The endpoint's insides as its SAs see them. SAs are found by dict, never by search."""

    def __init__(
        self,
        config: EndpointConfig,
        rand: Callable[[int], bytes],
        usage: Callable[[int], Usage | None],
        faults: Faults | None = None,
        leads: Leads = lambda local, remote: True,
        routed: Routed = lambda remote: None,
    ) -> None:
        self.config = config
        self.faults = faults
        self.leads = leads
        self.routed = routed
        self.rand = rand
        self.usage = usage
        self.timers = Timers()
        self.events: deque[Event] = deque()
        self.outbox: list[Datagram] = []
        self.counters: Counter[str] = Counter()
        self.sas: dict[int, IkeSa] = {}
        self.by_spi: dict[bytes, IkeSa] = {}
        self.by_init: dict[bytes, IkeSa] = {}
        self.by_peer: dict[Peers, dict[int, IkeSa]] = {}
        self.by_connection: dict[str, dict[int, IkeSa]] = {}
        self.children: dict[int, ChildSa] = {}
        self.cpis = Cpis()
        self.inner_hosts: dict[bytes, ChildSa] = {}
        self.behind_nat: dict[bytes, list[ChildSa]] = {}
        self.pools = Pools(config.pools)
        self.tokens = TokenMaker(rand)
        self.ticket_key = TicketKey(rand, config.epoch)
        self.tickets: dict[str, Held] = {}
        self.detects_crashes = any(connection.qcd for connection in config.connections)
        self.virtual: dict[tuple[str, bytes], IkeSa] = {}
        self.redirects: dict[str, list[int]] = {}
        self.remembered: dict[str, tuple[bytes, ...]] = {}
        self.half_open = 0
        self.half_open_from: Counter[bytes] = Counter()
        self.waiting: dict[tuple[str, str | None], PacketSelectors | None] = {}
        self.closed: dict[str, SaView] = {}
        self.local: tuple[bytes, ...] = ()
        self._spis: set[int] = set()
        self._last_id = 0
        self._notified: dict[str, tuple[int, int]] = {}

    def forget(self) -> None:
        """Everything but the addresses, the counters and the events: as after a restart.

        The secret of crash detection and the key of tickets stay as well, as on a disk: after a restart they
        are worth most (RFC 6290 5, RFC 5723 6).
        """
        for index in (self.sas, self.by_spi, self.by_init, self.by_peer, self.by_connection, self.children):
            index.clear()
        for kept in (
            self.inner_hosts,
            self.behind_nat,
            self.virtual,
            self.remembered,
            self.waiting,
            self.tickets,
            self.redirects,
        ):
            kept.clear()
        self.closed.clear()
        self.ticket_key.forget()
        self.half_open_from.clear()
        self._spis.clear()
        self.outbox.clear()
        self.half_open = 0
        self.timers = Timers()
        self.cpis = Cpis()
        self.pools = Pools(self.config.pools)

    def towards(self, remote: bytes) -> tuple[bytes, ...]:
        """This host's addresses, first the one that the routes choose for `remote`."""
        first = self.routed(remote) if len(self.local) > 1 else None
        return (first, *(own for own in self.local if own != first)) if first in self.local else self.local

    def new_ike_id(self) -> int:
        self._last_id += 1
        return self._last_id

    @property
    def next_ike_id(self) -> int:
        return self._last_id + 1

    def new_ike_spi(self) -> bytes:
        while True:
            spi = self.rand(8)
            if any(spi) and spi not in self.by_spi:
                return spi

    def new_child_spi(self) -> int:
        """An SPI for an inbound ESP SA, ours until it is released."""
        while True:
            spi = int.from_bytes(self.rand(4), "big")
            if spi >= FIRST_SPI and spi not in self._spis:
                self._spis.add(spi)
                return spi

    def release_spi(self, spi: int) -> None:
        self._spis.discard(spi)
        self.cpis.release(spi)

    def connected(self, connection: str) -> IkeSa | None:
        """The oldest SA of a connection that is up, or that we are setting up."""
        return next(iter(self.by_connection.get(connection, {}).values()), None)

    def index(self, sa: IkeSa) -> None:
        """Make an SA known under its connection and its peer's identity."""
        self.by_connection.setdefault(sa.connection.name, {})[sa.ike_id] = sa
        if sa.remote_id is not None:
            self.by_peer.setdefault(_peers(sa), {})[sa.ike_id] = sa

    def of_peer(self, sa: IkeSa) -> Iterable[IkeSa]:
        """The SAs that are up between the same two as this one."""
        return self.by_peer.get(_peers(sa), {}).values()

    def knows(self, own: Identity, peer: Identity) -> bool:
        """Whether an SA between these two is up."""
        return (own.folded, peer.folded) in self.by_peer

    def unindex(self, sa: IkeSa) -> None:
        self.by_connection.get(sa.connection.name, {}).pop(sa.ike_id, None)
        key = _peers(sa)
        if (peers := self.by_peer.get(key)) is not None:
            peers.pop(sa.ike_id, None)
            if not peers:
                del self.by_peer[key]

    def count_half_open(self, address: bytes, change: int) -> None:
        self.half_open += change
        self.half_open_from[address] += change
        if not self.half_open_from[address]:
            del self.half_open_from[address]

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def reject(
        self, reason: str, src: Sock, text: str, spi_i: bytes = b"", why: Reason = Reason.NONE
    ) -> None:
        """Count and report a datagram that has no effect; `why` if that refuses the IKE SA of `spi_i`."""
        self.counters[reason] += 1
        self.events.append(Rejected(reason, src, text, spi_i, why))

    def transmit(self, message: bytes, src: Sock, dst: Sock, dscp: int = 0) -> None:
        """Send an IKE message; every port but IKE's own takes the non-ESP marker (RFC 7296 2.23)."""
        data = message if src[1] == self.config.ike_port else NON_ESP_MARKER + message
        self.outbox.append(Datagram(data, src, dst, dscp << 2))

    def keepalive(self, src: Sock, dst: Sock, dscp: int = 0) -> None:
        self.counters["keepalives sent"] += 1
        self.outbox.append(Datagram(KEEPALIVE, src, dst, dscp << 2))

    def may_notify(self, now: int, kind: str = "answer") -> bool:
        """The rate limit on what follows from messages that nobody authenticated (RFC 7296 2.21.4).

        Each kind has a limit of its own, so that a flood of one leaves room for others.
        """
        second = now // NS_PER_S
        since, count = self._notified.get(kind, (second, 0))
        count = count + 1 if since == second else 1
        self._notified[kind] = second, count
        return count <= _NOTIFIES_PER_SECOND


def _peers(sa: IkeSa) -> Peers:
    return sa.local_id and sa.local_id.folded, sa.remote_id and sa.remote_id.folded
