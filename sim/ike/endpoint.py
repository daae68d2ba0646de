"""The IKEv2 endpoint: octets and `now` in; events, datagrams and the next deadline out (RFC 7296, RFC 4555).

Left out: message IDs shared by a cluster (RFC 6311), IKE in TCP (RFC 9329).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from sim.ike.config import ChildConfig, ConnectionConfig, EndpointConfig
from sim.ike.constants import ExchangeType
from sim.ike.context import Context, Datagram, Leads, Routed, Usage
from sim.ike.events import ChildFailed, Event, Reason
from sim.ike.exchanges import State
from sim.ike.faults import Faults
from sim.ike.lifetimes import expire_child, rekey_child, rekey_ike
from sim.ike.qcd import tell_invalid_spi
from sim.ike.reception import Reception
from sim.ike.sa import connect
from sim.ike.tasks.base import Job
from sim.ike.tasks.child_resource import add_resource
from sim.ike.tasks.child_terms import PacketSelectors
from sim.ike.tasks.delete import DeleteChild
from sim.ike.tasks.invalid_selectors import TellSelectors
from sim.ike.tasks.redirect import redirect_peer
from sim.ike.view import SaView, view_of
from sim.wire.address import Sock
from sim.wire.buffer import Buf

__all__ = ["Datagram", "IkeEndpoint", "Usage"]


class IkeEndpoint:
    """All IKE SAs of one host.

    Nothing that arrives makes it raise: what has no effect is counted by reason and reported as Rejected.
    Commands raise ValueError for names that are not configured. After each input, drain `next_event`, then
    `datagrams_to_send`, then ask `next_timer`. `usage` is asked for a pair of ESP SAs, by its inbound SPI,
    only when a keepalive or liveness timer runs out; `leads`, when an SA looks for an address, whether one of
    this host leads to one of a peer, and `routed`, which one the routes choose. `faults` are those of
    messages and of answers; those of the wire are the driver's to apply.
    """

    def __init__(
        self,
        config: EndpointConfig,
        *,
        rand: Callable[[int], bytes],
        usage: Callable[[int], Usage | None] = lambda spi_in: None,
        faults: Faults | None = None,
        leads: Leads = lambda local, remote: True,
        routed: Routed = lambda remote: None,
    ) -> None:
        self.config = config
        self._ctx = Context(config, rand, usage, faults, leads, routed)
        self._reception = Reception(self._ctx)
        self._connections = {connection.name: connection for connection in config.connections}

    # -- inputs ------------------------------------------------------------------------------------------

    def receive_datagram(self, data: Buf, src: Sock, dst: Sock, now: int) -> None:
        """A UDP payload as it came; on every port but IKE's own that includes the non-ESP marker."""
        self._reception.receive(data, src, dst, now)

    def handle_timer(self, now: int) -> None:
        """Do what is due; harmless when nothing is."""
        self._ctx.timers.fire_due(now)

    def initiate(self, connection: str, child: str | None, now: int) -> None:
        """Bring up a connection with one of its Child SAs, or all (None), unless that is so or under way.

        Waits for an address of this host if none fits. ValueError for an unknown name, and for a connection
        that names no remote address.
        """
        config = self._connection(connection)
        children = config.children if child is None else (_child(config, child),)
        self._want(config, children, None, now)

    def acquire(self, connection: str, child: str, selectors: PacketSelectors, now: int) -> None:
        """A packet has no SA: create the Child SA, the packet's own selectors first (RFC 7296 2.9).

        `selectors` are this side's and the other side's. An IKE SA that is up is used, and a further Child SA
        made where the peer has narrowed those that there are. If there is no IKE SA and the connection names
        no remote address, ChildFailed says so.
        """
        config = self._connection(connection)
        wanted = _child(config, child)
        if self._ctx.connected(connection) is None and not config.remote_addrs:
            text = "only the peer can set this connection up: no remote address is configured"
            self._ctx.emit(ChildFailed(0, connection, child, Reason.NO_ADDRESS, text, True))
            return
        self._want(config, (wanted,), selectors, now)

    def add_resource(self, spi_in: int, cpu: int, now: int) -> None:
        """A CPU uses the Child SA with this inbound SPI, which is for all: ask for one of its own (RFC 9611).

        ResourceRefused tells if the peer does not want it. Nothing happens if there is no such Child SA.
        """
        common = self._ctx.children.get(spi_in)
        if common is not None:
            add_resource(common, cpu, now)

    def addresses_changed(self, local: Iterable[bytes], now: int) -> None:
        """This host's addresses from now on, the preferred one first; call it once at the start, too.

        Call it as well when other ways lead to the peers: what `leads` answers has changed.
        """
        self._ctx.local = tuple(local)
        for sa in list(self._ctx.sas.values()):
            sa.reconsider(now)
        waiting, self._ctx.waiting = self._ctx.waiting, {}
        for (name, child), selectors in waiting.items():
            config = self._connections[name]
            self._want(config, config.children if child is None else (_child(config, child),), selectors, now)

    def esp_peer_moved(self, spi_in: int, src: Sock, now: int) -> None:
        """An authentic ESP packet, newer than all before, came in UDP from another source.

        A host that is not behind a NAT follows it; with MOBIKE only its ESP does, and even a request that
        nobody answers waits for the initiator's word (RFC 7296 2.23, RFC 4555 3.8, 3.11).
        """
        child = self._ctx.children.get(spi_in)
        if child is None or child.ike.path.nat_local or not child.ike.path.encap:
            return
        sa, path = child.ike, child.ike.path
        if src == (path.esp_remote or path.remote):
            return
        if sa.mobike:
            path.esp_remote = src
        else:
            path.move(path.local, src)
        sa.moved(now)

    def unknown_spi(self, spi: int, src: Sock, dst: Sock, now: int) -> None:
        """ESP came with an SPI that is none of ours; with crash detection the sender is told (RFC 7296 1.5).

        `src` and `dst` are where it came from and to, with the ports of IKE where it did not travel in UDP.
        """
        tell_invalid_spi(self._ctx, spi, src, dst, now)

    def delete(self, what: int | str, now: int) -> None:
        """Delete an IKE SA by its `ike_id`, or all those of a connection; a proven peer is told."""
        if isinstance(what, str):
            sas = list(self._ctx.by_connection.get(what, {}).values())
        else:
            sas = [sa for sa in (self._ctx.sas.get(what),) if sa is not None]
        for sa in sas:
            if sa.channel.protected and sa.state is not State.HALF_OPEN:
                sa.end_politely(Reason.DELETED, "deleted by us", now)
            else:
                sa.end(Reason.DELETED, "deleted by us before it was up", now)

    def delete_child(self, spi_in: int, now: int) -> None:
        """Delete one Child SA by its inbound SPI."""
        child = self._ctx.children.get(spi_in)
        if child is None or child.deleting:
            return
        task = DeleteChild(child, Reason.DELETED, "deleted by us")
        child.ike.requests.submit(Job(ExchangeType.INFORMATIONAL, [task]), now)

    def rekey(self, what: int, now: int) -> None:
        """Rekey the Child SA with this inbound SPI, ahead of its time."""
        child = self._ctx.children.get(what)
        if child is not None:
            rekey_child(child, now)

    def expire(self, spi_in: int, hard: bool, now: int) -> None:
        """The data plane has used up a Child SA's soft or hard limit of octets or packets."""
        child = self._ctx.children.get(spi_in)
        if child is not None:
            (expire_child if hard else rekey_child)(child, now)

    def selectors_violated(self, spi_in: int, packet: bytes, now: int) -> None:
        """A packet, here its beginning, was not what its Child SA is for: tell the peer (RFC 7296 3.10.1)."""
        child = self._ctx.children.get(spi_in)
        if child is not None and not child.deleting:
            job = Job(ExchangeType.INFORMATIONAL, [TellSelectors(child, packet)])
            child.ike.requests.submit(job, now)

    def rekey_ike(self, ike_id: int, now: int) -> None:
        """Rekey an IKE SA by its `ike_id`, ahead of its time."""
        sa = self._ctx.sas.get(ike_id)
        if sa is not None:
            rekey_ike(sa, now)

    def reauthenticate(self, ike_id: int, now: int) -> None:
        """Replace an IKE SA by a new one, ahead of its time (RFC 7296 2.8.3)."""
        sa = self._ctx.sas.get(ike_id)
        if sa is not None:
            sa.reauthenticate("reauthenticated by us", now)

    def redirect(self, connection: str, to: bytes, now: int) -> int:
        """Send the peers of a connection, who have called us, to another gateway (RFC 5685 5).

        How many were told: only those that have said that they can be redirected.
        """
        sas = self._ctx.by_connection.get(self._connection(connection).name, {})
        return sum([redirect_peer(sa, to, now) for sa in list(sas.values())])

    def check_liveness(self, ike_id: int, now: int) -> None:
        """Ask the peer of an established IKE SA whether it is there."""
        sa = self._ctx.sas.get(ike_id)
        if sa is not None:
            sa.watch.check(now)

    def crash(self, now: int) -> None:
        """Forget everything, and tell no peer: what a restart of this host does. Reported as CRASHED."""
        ctx = self._ctx
        for sa in list(ctx.sas.values()):
            sa.end(Reason.CRASHED, "this host restarted, and has forgotten it", now)
        ctx.forget()
        self._reception = Reception(ctx)

    # -- outputs -----------------------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        events = self._ctx.events
        return events.popleft() if events else None

    def datagrams_to_send(self) -> list[Datagram]:
        """What is to be sent, in order; it is handed over once."""
        outbox = self._ctx.outbox
        if outbox:
            self._ctx.outbox = []
        return outbox

    def next_timer(self) -> int | None:
        """When to call `handle_timer`; any later input may change it."""
        return self._ctx.timers.next()

    @property
    def counters(self) -> Counter[str]:
        return self._ctx.counters

    @property
    def sas(self) -> list[SaView]:
        """The IKE SAs there are, and the last one that ended of each connection that has none."""
        live = [view_of(sa) for sa in self._ctx.sas.values()]
        names = {view.connection for view in live}
        return live + [view for name, view in self._ctx.closed.items() if name not in names]

    @property
    def waiting(self) -> set[str]:
        """The connections that we would set up if this host had an address for them."""
        return {name for name, _ in self._ctx.waiting}

    def keepalive_interval(self, ike_id: int) -> int:
        """Between the NAT keepalives of an IKE SA, in ns, as it is now; 0 where there are none."""
        sa = self._ctx.sas.get(ike_id)
        return 0 if sa is None else sa.watch.interval

    def connection_of(self, own_spi: bytes) -> str:
        """The connection of the IKE SA with this SPI of ours, as far as it is known; "" for none."""
        sa = self._ctx.by_spi.get(own_spi)
        return "" if sa is None else sa.connection.name

    # -- helpers -----------------------------------------------------------------------------------------

    def _connection(self, name: str) -> ConnectionConfig:
        try:
            return self._connections[name]
        except KeyError:
            raise ValueError(f"there is no connection {name!r}") from None

    def _want(
        self,
        config: ConnectionConfig,
        children: tuple[ChildConfig, ...],
        packet: PacketSelectors | None,
        now: int,
    ) -> None:
        sa = self._ctx.connected(config.name)
        if sa is None:
            self._set_up(config, children, packet, now)
            return
        missing = [(child, packet) for child in children if not sa.has_child(child, packet)]
        sa.wanted.extend(missing)
        sa.create_wanted(now)

    def _set_up(
        self,
        config: ConnectionConfig,
        children: tuple[ChildConfig, ...],
        packet: PacketSelectors | None,
        now: int,
    ) -> None:
        if not config.remote_addrs:
            raise ValueError(f"connection {config.name!r} names no remote address to initiate to")
        connect(self._ctx, config, [(child, packet) for child in children], now)


def _child(config: ConnectionConfig, name: str) -> ChildConfig:
    child = config.child(name)
    if child is None:
        raise ValueError(f"connection {config.name!r} has no child {name!r}")
    return child
