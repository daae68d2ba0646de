"""A live IKEv2 endpoint: the simulator's own stack on real sockets, in real time.

    UDP socket -> IKE message  -> IkeEndpoint -> events, datagrams -> as in `sim.tunnels.driver`
               -> ESP in UDP   -> Engine.inbound  -> the inner side (EchoHost, KernelHost)
    raw socket -> ESP          -> Engine.inbound  -> the inner side
    inner side -> Engine.outbound -> the socket of its outer source

The engine works on whole IP packets, so headers that the kernel took off are put on again. Sockets are read
in batches: between two batches asyncio runs what is due, so a flood delays a timer but cannot hold it up.
As in strongSwan's defaults, an SA that failed or was closed by the peer is not set up again by itself: a
packet that needs it (start_action trap or start) does that.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic_ns, time_ns
from typing import Any

from sim.experiment.connections import driver_rows
from sim.ike.config import EndpointConfig
from sim.ike.endpoint import Datagram
from sim.ike.events import ChildSaDown, ChildSaUp, Event
from sim.ipsec.engine import ETHERNET_MTU
from sim.ipsec.iptfs.items import Aggregate, Delivery, Departure, Queued
from sim.ipsec.pmtu import cuts_before
from sim.ipsec.sad import OutboundSa
from sim.ipsec.verdict import Acquire, Drop, Reason
from sim.ipsec.xfrm import arriving, in_order, leaving
from sim.live.addresses import AddressWatch, host_addresses, way_out
from sim.live.echo import EchoHost, Pong, ping_source
from sim.live.errors import DeviceGoneError, LiveError
from sim.live.kernel import MARK, KernelHost
from sim.live.keyfile import KeyFiles
from sim.live.report import Reporter
from sim.live.sockets import SocketSet, listening_addresses
from sim.live.udp import LiveSocket, Sent, may_send_plain_esp, source_and_mtu
from sim.tunnels.driver import GONE, IpsecDriver
from sim.tunnels.ledger import Ledger
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import icmp, ip, udp
from sim.wire.address import format_address, format_sock
from sim.wire.fragment import fragment
from sim.wire.icmp import IcmpError
from sim.wire.ip import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, Protocol
from sim.wire.udp_encap import Kind, classify

BATCH = 32
"""Datagrams or packets read from one socket before the others, and the timers, have their turn."""
KEPT_RECORDS = 100
"""Ended SAs that the status can still tell of."""
GOODBYE_S = 3.0
"""How long the answers to our last DELETEs are waited for."""
SUMMARY_S = 1.0
"""How often the number of events that were left out is told."""
SETTLE_S = 0.05
"""Address changes come in several steps; they count when there was no other for this long."""
PING_EVERY_S = 1.0
IN_UDP = "ESP without UDP needs root: every connection runs with `encap: true`"


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """What the command line says beside the configuration.

    `tun` is the name of a TUN device, "" for one that the kernel names, None for the internal echo host.
    `initiate` has names of connections or connection/child. `pings` are addresses to ping through the
    tunnels, `count` how often (None: without end); afterwards the peer ends.
    """

    tun: str | None = None
    initiate: tuple[str, ...] = ()
    pings: tuple[bytes, ...] = ()
    count: int | None = None
    keys: Path | None = None


def run_peer(config: EndpointConfig, options: PeerOptions, reporter: Reporter) -> bool:
    """Be a live endpoint until a signal, or until the pings are done; False when a ping was not answered.

    LiveError says what is missing; ValueError names a connection to initiate that is not configured.
    """
    return asyncio.run(_run(config, options, reporter))


async def _run(config: EndpointConfig, options: PeerOptions, reporter: Reporter) -> bool:
    possible = _possible(config)
    peer = LivePeer(possible, options, reporter)
    try:
        peer.obey_signals()
        return await peer.run(*([] if possible is config else [IN_UDP]))
    finally:
        peer.close()


def _possible(config: EndpointConfig) -> EndpointConfig:
    """Without raw sockets ESP can only travel in UDP, so we ask for that (`encap: true`)."""
    if may_send_plain_esp() or all(connection.encap for connection in config.connections):
        return config
    return replace(config, connections=tuple(replace(c, encap=True) for c in config.connections))


def _has_ah(config: EndpointConfig) -> bool:
    return any(child.ah_proposals for connection in config.connections for child in connection.children)


EXTENDED = "the kernel writes the header in front, without options or extension headers"
_FIRST = frozenset({Protocol.ESP, Protocol.AH, Protocol.UDP})
UNNUMBERED = "it has no identification, and AH covers the one that the kernel would give it"


class LivePeer(IpsecDriver[bytearray]):
    """Made inside a running event loop; `run` it, then `close` it."""

    def __init__(self, config: EndpointConfig, options: PeerOptions, reporter: Reporter) -> None:
        config = replace(config, epoch=time_ns() - monotonic_ns())  # certificates have calendar dates
        super().__init__(config, ike_rand=os.urandom, esp_rand=os.urandom)
        self.ledger = Ledger(keep=KEPT_RECORDS)
        self.drops: Counter[str] = Counter()
        self._options = options
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._started_at = monotonic_ns()
        self._stop = asyncio.Event()
        self._gone = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._pacer: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._summing: asyncio.TimerHandle | None = None
        self._pongs: Counter[bytes] = Counter()
        self._keys = KeyFiles(options.keys) if options.keys is not None else None
        self._kernel = KernelHost(options.tun) if options.tun is not None else None
        self._echo = EchoHost(self.send_inner, self._pong, os.getpid() & 0xFFFF)
        self._inner = self._kernel or self._echo
        self._policies_changed = False
        self._said: list[str] | None = None
        self._lost: DeviceGoneError | None = None
        self._sockets = SocketSet(
            (config.ike_port, config.natt_port),
            self._readable,
            esp=may_send_plain_esp(),
            ah=may_send_plain_esp() and _has_ah(config),
            mark=MARK if self._kernel else 0,
        )
        self.engine.path_mtu = self._path_mtu
        children = (child for connection in config.connections for child in connection.children)
        self._cuts_before = any(child.handling.fragment_before or child.handling.df for child in children)
        self._watch = AddressWatch()

    def obey_signals(self) -> None:
        """SIGINT and SIGTERM stop the peer, SIGUSR1 shows its status; for the main thread of a process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self.stop)
        self._loop.add_signal_handler(signal.SIGUSR1, lambda: self._reporter.status(self.status()))

    def stop(self) -> None:
        """Let `run` delete the SAs and return; asked twice, it does not wait for the peers' answers."""
        if self._stop.is_set():
            self._gone.set()
        self._stop.set()

    async def run(self, *notes: str) -> bool:
        """Until the end; whether all pings were answered. `notes` are said once nothing is missing.

        DeviceGoneError when somebody removed the TUN device; the SAs have been deleted then, too.
        """
        self._begin(notes)
        if self._options.pings:
            pinging = asyncio.create_task(self._ping_all())
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({pinging, stopping}, return_when=asyncio.FIRST_COMPLETED)
            pinging.cancel()
        else:
            await self._stop.wait()
        await self._say_goodbye()
        if self._lost is not None:
            raise self._lost
        return self._tell_lost_pings()

    def close(self) -> None:
        """Give back sockets, device and routes; what the peer still knows of us times out."""
        self._reporter.summarise()
        for handle in (self._timer, self._pacer, self._settling, self._summing):
            if handle is not None:
                handle.cancel()
        if self._reporter.pipe is not None:
            self._loop.remove_reader(self._reporter.pipe)
        self._loop.remove_reader(self._watch.fileno())
        self._watch.close()
        self._sockets.close()
        if self._kernel is not None:
            self._loop.remove_reader(self._kernel.tun.fileno())
            self._kernel.close()

    def status(self) -> dict[str, Any]:
        """Connections as `summary.json` has them, and counters of datagrams and of dropped packets."""
        rows = driver_rows("", self)
        for row in rows:
            if row["established_s"] is not None:
                row["established_s"] -= self._started_at / NS_PER_S
        return {
            "listening": [format_sock(local) for local in self._sockets.udp],
            "connections": rows,
            "counters": dict(self.endpoint.counters),
            "drops": dict(self.drops),
            "xfrm": in_order(self.xfrm),
            "left_out": self._reporter.left_out,
        }

    # -- inner packets -----------------------------------------------------------------------------------

    def send_inner(self, packet: bytearray, now: int) -> None:
        """Send a packet of the inner side through the tunnel that its policy names."""
        if self._cuts_before and self._cut_before(packet, now):
            return
        verdict = self.engine.outbound(packet, now)
        if type(verdict) is bytearray:
            self._send_outer(verdict, packet, now)
            if self.engine.events:
                self.drain_engine(now)
        elif isinstance(verdict, Acquire):
            self.hold(packet, verdict, now)
        elif isinstance(verdict, Queued):
            self.flow(now)
        elif isinstance(verdict, Drop):
            self.xfrm[leaving(verdict.reason)] += 1
            self.drop(packet, verdict.reason, now)
        else:
            self.drop(packet, "no policy protects it", now)

    def _receive_esp(self, outer: bytearray, now: int) -> None:
        verdict = self.engine.inbound(outer, now)
        if type(verdict) is bytearray:
            if self.engine.events:
                self.drain_engine(now)
            self._deliver(verdict, now)
        elif isinstance(verdict, Drop):
            self.xfrm[arriving(verdict.reason)] += 1
            self.drop(outer, verdict.reason, now)
            if verdict.reason is Reason.UNKNOWN_SPI:
                self.found_stray(outer, now)
            if self.engine.events:
                self.drain_engine(now)
        elif isinstance(verdict, Aggregate):
            if self.engine.events:
                self.drain_engine(now)
            self.flow(now)

    def _send_ah(self, outer: bytearray, inner: bytearray, now: int) -> None:
        """AH covers the identification, which the kernel chooses where it is zero."""
        src, dst = ip.addresses(outer)
        sock = self._sockets.ah.get(src)
        if sock is None or (outer[0] < 0x60 and outer[4:6] == b"\0\0"):
            self.xfrm["XfrmOutError"] += 1
            self.drop(inner, GONE if sock is None else UNNUMBERED, now)
            return
        payload = memoryview(outer)[0 if outer[0] < 0x60 else IPV6_HEADER_BYTES :]
        sent = sock.send(payload, (dst, 0), tos=0 if outer[0] < 0x60 else ip.parse(outer).tos)
        if sent is Sent.TOO_BIG:
            self._too_big(inner, dst, now)
        elif sent is Sent.NO:
            self.drop(inner, "the kernel could not send it", now)

    def _send_outer(self, outer: bytearray, inner: bytearray, now: int) -> None:
        if outer[0] != 0x45 if outer[0] < 0x60 else outer[6] not in _FIRST:
            self.xfrm["XfrmOutError"] += 1
            self.drop(inner, EXTENDED, now)
            return
        if outer[9 if outer[0] < 0x60 else 6] == Protocol.AH:
            self._send_ah(outer, inner, now)
            return
        src, dst = ip.addresses(outer)
        v4 = outer[0] < 0x60
        at = IPV4_HEADER_BYTES if v4 else IPV6_HEADER_BYTES
        tos = outer[1] if v4 else (outer[0] << 4 | outer[1] >> 4) & 0xFF
        ttl = outer[8 if v4 else 7]
        port = 0
        if outer[9 if v4 else 6] == Protocol.UDP:
            header = udp.parse(outer, at)
            sock, port = self._sockets.udp.get((src, header.src_port)), header.dst_port
            at += udp.UDP_HEADER_BYTES
        else:
            sock = self._sockets.esp.get(src)
        if sock is None:
            self.xfrm["XfrmOutError"] += 1
            self.drop(inner, GONE, now)
            return
        df = v4 and ip.dont_fragment(outer)
        sent = sock.send(memoryview(outer)[at:], (dst, port), tos=tos, df=df, ttl=ttl)
        if sent is Sent.TOO_BIG:
            self._too_big(inner, dst, now)
        elif sent is Sent.NO:
            self.drop(inner, "the kernel could not send it", now)

    def _too_big(self, inner: bytearray, dst: bytes, now: int) -> None:
        """Tell the inner source what fits (RFC 4301 8.2.1)."""
        self.drop(inner, "packet too big", now)
        spi_in = self.engine.protecting(inner)
        way = source_and_mtu(dst, MARK if self._kernel else 0)
        if spi_in is None or way is None:
            return
        self.engine.sad[spi_in].outbound.discount(len(inner))
        mtu = self.engine.max_inner(way[1], spi_in)
        error = icmp.error(inner, ip.addresses(inner)[1], IcmpError.TOO_BIG, mtu)
        if error is not None:
            self._deliver(error, now)

    def _cut_before(self, packet: bytearray, now: int) -> bool:
        """Whether a packet was cut before its encapsulation, because the SA does so and it is too long.

        What may not be cut, and what is cut afterwards, the kernel sees to.
        """
        if ip.dont_fragment(packet) or (spi_in := self.engine.protecting(packet)) is None:
            return False
        sa = self.engine.sad[spi_in].outbound
        longest = sa.max_inner(self._path_mtu(sa)) if cuts_before(sa.spec) else len(packet)
        if not IPV4_HEADER_BYTES + 8 <= longest < len(packet):
            return False
        for piece in fragment(packet, longest):
            sealed = sa.seal(piece, now)
            if isinstance(sealed, Drop):
                self.xfrm[leaving(sealed.reason)] += 1
                self.drop(piece, sealed.reason, now)
            else:
                self._send_outer(sealed, piece, now)
        return True

    def _path_mtu(self, sa: OutboundSa) -> int:
        way = source_and_mtu(sa.spec.remote[0], MARK if self._kernel else 0)
        return ETHERNET_MTU if way is None else way[1]

    def _deliver(self, packet: bytearray, now: int) -> None:
        try:
            self._inner.deliver(packet, now)
        except DeviceGoneError as error:
            self._device_is_gone(error)

    def _device_is_gone(self, error: DeviceGoneError) -> None:
        """Nothing can be carried any more: end as after Ctrl-C, and then say why."""
        if self._lost is None and self._kernel is not None:
            self._lost = error
            self._loop.remove_reader(self._kernel.tun.fileno())
            self.stop()

    # -- IpsecDriver -------------------------------------------------------------------------------------

    def transmit(self, datagram: Datagram, now: int) -> None:
        sock = self._sockets.udp.get(datagram.src)
        if sock is None or sock.send(datagram.data, datagram.dst, tos=datagram.tos) is not Sent.YES:
            self.drops["IKE datagram not sent"] += 1

    def arm(self, at: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at is None else self._loop.call_at(at / NS_PER_S, self._wake)

    def observe(self, event: Event, now: int) -> None:
        if self._keys is not None:
            self._keys.note(event)
        self._reporter.ike(event, now)
        if self._reporter.has_untold and self._summing is None:
            self._summing = self._loop.call_later(SUMMARY_S, self._summarise)
        self._policies_changed |= isinstance(event, ChildSaUp | ChildSaDown)

    def take_address(self, address: bytes, now: int) -> None:
        if self._kernel is not None:
            self._kernel.take_address(address)

    def give_up_address(self, address: bytes, now: int) -> None:
        if self._kernel is not None:
            self._kernel.give_up_address(address)

    def depart(self, departure: Departure, now: int) -> None:
        self._send_outer(departure.outer, bytearray(), now)

    def hand_out(self, delivery: Delivery, now: int) -> None:
        if delivery.reason is None:
            self._deliver(delivery.inner, now)
        else:
            self.xfrm[arriving(delivery.reason)] += 1
            self.drop(delivery.inner, delivery.reason, now)

    def pace(self, at: int, now: int) -> None:
        if self._pacer is not None:
            self._pacer.cancel()
        self._pacer = self._loop.call_at(at / NS_PER_S, self._paced)

    def leads(self, local: bytes, remote: bytes) -> bool:
        """Whether the kernel sends by an interface that has the address, or the configuration names it."""
        interface = way_out(local, remote, MARK if self._kernel else 0)
        if not interface:
            return interface is not None
        named = (address for connection in self.config.connections for address in connection.local_addrs)
        there = (entry.address for entry in host_addresses() if entry.interface == interface)
        return local in named or local in there

    def resend(self, packet: bytearray, now: int) -> None:
        self.send_inner(packet, now)

    def drop(self, packet: bytearray, reason: str, now: int) -> None:
        self.drops[str(reason)] += 1

    def pump(self, now: int) -> None:
        super().pump(now)
        if self._policies_changed:
            self._policies_changed = False
            self._follow_policies()
        if self._stop.is_set() and not self._living():
            self._gone.set()

    # -- beginning and end -------------------------------------------------------------------------------

    def _begin(self, notes: Iterable[str]) -> None:
        if self._reporter.pipe is not None:
            self._loop.add_reader(self._reporter.pipe, self._nobody_reads, self._reporter.pipe)
        if self._kernel is not None:
            self._loop.add_reader(self._kernel.tun.fileno(), self._tun_readable, self._kernel)
        now = monotonic_ns()
        self._take_addresses(now)
        if self._options.keys is not None:
            text = f"keys are written to {self._options.keys}: whoever reads them can read the traffic"
            self._reporter.warn(text)
        for note in notes:
            self._reporter.say("note", note)
        self._loop.add_reader(self._watch.fileno(), self._addresses_may_have_changed)
        self.start(now)
        self._follow_policies()
        self._say_where()
        for name in self._options.initiate:
            connection, _, child = name.partition("/")
            self.endpoint.initiate(connection, child or None, now)
        self.pump(now)

    async def _say_goodbye(self) -> None:
        now = monotonic_ns()
        self._stop.set()
        for ike_id in self._living():
            self.endpoint.delete(ike_id, now)
        self.pump(now)
        try:
            await asyncio.wait_for(self._gone.wait(), GOODBYE_S)
        except TimeoutError:
            self._reporter.say("stopped", f"a peer did not answer our last DELETE within {GOODBYE_S:.0f} s")
        else:
            self._reporter.say("stopped", "no SA is left")

    def _living(self) -> list[int]:
        return [view.ike_id for view in self.endpoint.sas if view.state != "closed"]

    # -- asyncio's callbacks -----------------------------------------------------------------------------

    def _paced(self) -> None:
        self._pacer = None
        self.tick(monotonic_ns())

    def _wake(self) -> None:
        self._timer = None
        self.time_is_up(monotonic_ns())

    def _nobody_reads(self, pipe: int) -> None:
        self._loop.remove_reader(pipe)
        self.stop()

    def _summarise(self) -> None:
        self._summing = None
        self._reporter.summarise()

    def _readable(self, sock: LiveSocket) -> None:
        """Take what has arrived; IKE messages take effect before the ESP behind them, which may need it."""
        now, local = monotonic_ns(), sock.local
        encapsulated = local[1] == self.config.natt_port
        pending = False
        for _ in range(BATCH):
            received = sock.receive()
            if received is None:
                break
            payload, src, tos = received
            if sock.ah:
                v4 = len(src[0]) == 4
                built = b"" if v4 else ip.build(src[0], local[0], Protocol.AH, payload, tos=tos)
                self._receive_esp(bytearray(payload) if v4 else bytearray(built), now)
            elif sock.esp:
                self._receive_esp(ip.build(src[0], local[0], Protocol.ESP, payload, tos=tos), now)
            elif encapsulated and classify(payload) is Kind.ESP:
                if pending:
                    self.pump(now)
                    pending = False
                self._receive_esp(udp.build(src, local, payload, checksum=False, tos=tos), now)
            else:
                self.endpoint.receive_datagram(payload, src, local, now)
                pending = True
        self.pump(now)

    def _tun_readable(self, kernel: KernelHost) -> None:
        now = monotonic_ns()
        for _ in range(BATCH):
            try:
                packet = kernel.tun.read()
            except DeviceGoneError as error:
                self._device_is_gone(error)
                return
            if packet is None:
                return
            self.send_inner(packet, now)

    def _addresses_may_have_changed(self) -> None:
        self._watch.drain()
        if self._settling is not None:
            self._settling.cancel()
        self._settling = self._loop.call_later(SETTLE_S, self._addresses_settled)

    def _addresses_settled(self) -> None:
        try:
            self._take_addresses(monotonic_ns())
        except LiveError as error:
            self._reporter.say("note", str(error))
        self._say_where()

    def _take_addresses(self, now: int) -> None:
        """Listen where we can, and let the endpoint know, the addresses that lead to the peers first."""
        connections = self.config.connections
        named = [address for connection in connections for address in connection.local_addrs]
        everywhere = not all(connection.local_addrs for connection in connections)
        without = self._kernel.tun.name if self._kernel else ""
        self._sockets.update(listening_addresses(self._ours(named, everywhere), everywhere, without))
        there = self._sockets.addresses
        preferred = [source for source in self._sources() if source in there]
        self.engine.local_addresses = frozenset(there)
        self.endpoint.addresses_changed(dict.fromkeys([*preferred, *there]), now)
        self.pump(now)

    def _say_where(self) -> None:
        """Where we listen, when that is news; the first time everything else is ready, too."""
        places = [format_sock(local) for local in self._sockets.udp]
        if places != self._said:
            self._said = places
            self._reporter.say("listening", ", ".join(places) or "on no address yet", sockets=places)

    def _ours(self, named: Iterable[bytes], everywhere: bool) -> list[bytes]:
        """Named addresses, and those that lead to peers on this very host."""
        local = [source for source in self._sources() if everywhere and _is_loopback(source)]
        return [*named, *local]

    def _sources(self) -> list[bytes]:
        mark = MARK if self._kernel else 0
        peers = dict.fromkeys(remote for c in self.config.connections for remote in c.remote_addrs)
        ways = (source_and_mtu(remote, mark) for remote in peers)
        return [way[0] for way in ways if way is not None]

    def _follow_policies(self) -> None:
        if self._kernel is None or self._lost is not None:
            return
        try:
            for sentence in self._kernel.follow(self.engine.spd):
                self._reporter.say("note", sentence)
        except LiveError as error:
            self._reporter.say("note", str(error))

    # -- pings -------------------------------------------------------------------------------------------

    async def _ping_all(self) -> None:
        sequence = 0
        while self._options.count is None or sequence < self._options.count:
            sequence += 1
            for address in self._options.pings:
                self._ping(address, sequence)
            await asyncio.sleep(PING_EVERY_S)

    def _ping(self, address: bytes, sequence: int) -> None:
        source = ping_source(self.engine.spd, address)
        if source is None:
            text = f"no tunnel leads to {format_address(address)}"
            self._reporter.say("ping lost", text, address=format_address(address), sequence=sequence)
            return
        self._echo.ping(source, address, sequence & 0xFFFF, monotonic_ns())

    def _tell_lost_pings(self) -> bool:
        """Whether every ping that was to be sent has its answer; says of whom not."""
        wanted = self._options.count or 0
        lost = {address: wanted - self._pongs[address] for address in self._options.pings}
        for address, count in lost.items():
            if count > 0:
                text = f"{count} of {wanted} pings to {format_address(address)} lost"
                self._reporter.say("pings lost", text, address=format_address(address), count=count)
        return max(lost.values(), default=0) <= 0

    def _pong(self, pong: Pong) -> None:
        self._pongs[pong.address] += 1
        address, rtt = format_address(pong.address), pong.rtt / NS_PER_MS
        text = f"{address} answered ping {pong.sequence} after {rtt:.2f} ms"
        self._reporter.say("pong", text, address=address, sequence=pong.sequence, rtt_ms=round(rtt, 3))


def _is_loopback(address: bytes) -> bool:
    return address[0] == 127 if len(address) == 4 else address == bytes(15) + b"\1"
