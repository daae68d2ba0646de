"""Our stack in a network namespace: real UDP sockets, a TUN device, the wall clock, real random numbers.

The endpoint and the data plane are those of the simulation, unchanged, and joined as there; only this file's
loop is the tests' own. It runs in a thread, so that a test can ask the endpoint itself what it did.
"""

from __future__ import annotations

import os
import queue
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

from sim.ike.endpoint import Datagram
from sim.ike.events import ChildSaUp, Event, IkeKeysDerived, MessageReceived, MessageSent
from sim.ike.view import ChildView, SaView
from sim.ipsec.sad import Pair
from sim.ipsec.verdict import Acquire, Drop
from sim.live.netns import inside
from sim.live.tun import Tun
from sim.scenario.configs import endpoint_config
from sim.scenario.schema import Connection as Schema
from sim.tunnels.driver import IpsecDriver
from sim.tunnels.keylog import KeyLog
from sim.wire import ip, udp
from sim.wire.address import Sock, format_address, pack_address
from sim.wire.udp import UDP_HEADER_BYTES
from tests.interop.connection import Connection
from tests.interop.netns import Lab, Namespace, until

T = TypeVar("T")

IKE_PORTS = (500, 4500)
_BATCH = 64


class Ours(IpsecDriver[bytearray]):
    """A running endpoint; `limits` are those of `EndpointConfig`.

    What is asked or told from outside is done in its own thread, between two packets.
    """

    def __init__(self, lab: Lab, namespace: Namespace, connection: Connection, **limits: int) -> None:
        config = endpoint_config({"home": schema_of(connection)})
        super().__init__(replace(config, **limits), ike_rand=os.urandom, esp_rand=os.urandom)  # type: ignore[arg-type]
        self.namespace = namespace
        self.keylog = KeyLog()
        self.history: list[Event] = []
        self.drops: Counter[str] = Counter()
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[Sock, socket.socket] = {}
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._due: int | None = None
        self._running = True
        self._tun = Tun("ours", namespace.name)
        self._tun.configure(mtu=1400)
        own = connection.local_ts.partition("/")[0].removesuffix(".0") + ".1"
        self._tun.add_route(connection.remote_ts, own)
        self._selector.register(self._tun, selectors.EVENT_READ, self._from_tun)
        self._selector.register(self._woken, selectors.EVENT_READ, self._do_jobs)
        self._thread = threading.Thread(target=self._run, name=f"ours-{namespace.label}", daemon=True)
        lab.on_close(self.close)
        self._thread.start()
        self.use_addresses(connection.local)
        self.call(lambda: self.start(_now()))

    # What a test says and asks

    def use_addresses(self, *addresses: str) -> None:
        """The host has these outer addresses from now on."""
        self.call(lambda: self._use(tuple(map(pack_address, addresses))))

    def initiate(self) -> None:
        self.call(lambda: self._then_pump(lambda: self.endpoint.initiate("home", None, _now())))

    def delete(self) -> None:
        self.call(lambda: self._then_pump(lambda: self.endpoint.delete("home", _now())))

    def delete_child(self, spi_in: int) -> None:
        self.call(lambda: self._then_pump(lambda: self.endpoint.delete_child(spi_in, _now())))

    def check_liveness(self) -> None:
        ike_id = self.sa().ike_id
        self.call(lambda: self._then_pump(lambda: self.endpoint.check_liveness(ike_id, _now())))

    def sas(self) -> list[SaView]:
        return [sa for sa in self.call(lambda: self.endpoint.sas) if sa.state == "established"]

    def sa(self) -> SaView:
        """Its one IKE SA, as soon as it is up with a Child SA."""

        def look() -> SaView | None:
            up = [sa for sa in self.sas() if sa.children]
            return up[0] if up else None

        return until(look, lambda: f"we have no SA:\n{self.story()}")

    def child(self) -> ChildView:
        (child,) = self.sa().children
        return child

    def pair(self) -> Pair:
        """The only pair of ESP SAs."""
        ((_, pair),) = self.call(lambda: list(self.engine.sad.items()))
        return pair

    def idle(self) -> None:
        """Wait until no SA is left, neither of IKE nor of ESP."""
        until(lambda: not self.sas() and not self.engine.sad, lambda: f"we keep an SA:\n{self.story()}")

    def events(self, kind: type[T]) -> list[T]:
        return [event for event in list(self.history) if isinstance(event, kind)]

    def event(self, kind: type[T], fits: Callable[[T], bool] = lambda event: True) -> T:
        """The first event of a kind, as soon as there is one."""

        def look() -> T | None:
            return next((event for event in self.events(kind) if fits(event)), None)

        return until(look, lambda: f"no {kind.__name__}:\n{self.story()}")

    def sent(self, payload: str) -> list[MessageSent]:
        return [event for event in self.events(MessageSent) if payload in event.payloads]

    def received(self, payload: str) -> list[MessageReceived]:
        return [event for event in self.events(MessageReceived) if payload in event.payloads]

    def story(self) -> str:
        return "\n".join(str(event) for event in list(self.history) if not isinstance(event, IkeKeysDerived))

    def call(self, job: Callable[[], T]) -> T:
        """The result of `job`, run in the endpoint's thread."""
        done: Future[T] = Future()

        def work() -> None:
            try:
                done.set_result(job())
            except Exception as error:  # noqa: BLE001 - it is raised again where it belongs
                done.set_exception(error)

        self._jobs.put(work)
        self._wake.send(b"x")
        return done.result(30)

    def close(self) -> None:
        if self._thread.is_alive():
            self.call(self._stop)
            self._thread.join()
        for open_one in (*self._sockets.values(), self._wake, self._woken):
            open_one.close()
        self._tun.close()
        self._selector.close()

    # IpsecDriver

    def observe(self, event: Event, now: int) -> None:
        self.history.append(event)
        if isinstance(event, IkeKeysDerived):
            self.keylog.ike_sa(event)
        elif isinstance(event, ChildSaUp):
            self.keylog.child_sa(event)

    def resend(self, packet: bytearray, now: int) -> None:
        self._leave(packet, now)

    def drop(self, packet: bytearray, reason: str, now: int) -> None:
        self.drops[reason] += 1

    def transmit(self, datagram: Datagram, now: int) -> None:
        self._send(datagram.src, datagram.dst, bytes(datagram.data))

    def arm(self, at: int | None) -> None:
        self._due = at

    # The loop

    def _run(self) -> None:
        while self._running:
            wait = None if self._due is None else max(0, self._due - _now()) / 1e9
            for key, _ in self._selector.select(wait):
                key.data()
            if self._due is not None and self._due <= _now():
                self.time_is_up(_now())

    def _do_jobs(self) -> None:
        self._woken.recv(_BATCH)
        while not self._jobs.empty():
            self._jobs.get()()

    def _stop(self) -> None:
        self._running = False

    def _then_pump(self, command: Callable[[], None]) -> None:
        command()
        self.pump(_now())

    def _use(self, addresses: tuple[bytes, ...]) -> None:
        for local in [sock for sock in self._sockets if sock[0] not in addresses]:
            gone = self._sockets.pop(local)
            self._selector.unregister(gone)
            gone.close()
        for local in [(address, port) for address in addresses for port in IKE_PORTS]:
            if local not in self._sockets:
                self._open(local)
        self.engine.local_addresses = frozenset(addresses)
        self.endpoint.addresses_changed(addresses, _now())
        self.pump(_now())

    def _open(self, local: Sock) -> None:
        new = inside(self.namespace.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        new.setblocking(False)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        new.bind((format_address(local[0]), local[1]))
        self._sockets[local] = new
        self._selector.register(new, selectors.EVENT_READ, lambda: self._from_net(new, local))

    def _from_net(self, source: socket.socket, local: Sock) -> None:
        for _ in range(_BATCH):
            try:
                data, (host, port) = source.recvfrom(65535)
            except OSError:  # nothing more, or an ICMP error about something that we sent
                return
            self._arrive(data, (pack_address(host), port), local)

    def _arrive(self, data: bytes, src: Sock, local: Sock) -> None:
        now = _now()
        if local[1] == IKE_PORTS[0] or data[:4] == bytes(4):
            self.receive(data, src, local, now)
            return
        verdict = self.engine.inbound(udp.build(src, local, data), now)
        if isinstance(verdict, bytearray):
            self._tun.write(verdict)
            self.drain_engine(now)
        elif isinstance(verdict, Drop):
            self.drops[verdict.reason] += 1

    def _from_tun(self) -> None:
        for _ in range(_BATCH):
            packet = self._tun.read()
            if packet is None:
                return
            self._leave(packet, _now())

    def _leave(self, packet: bytearray, now: int) -> None:
        verdict = self.engine.outbound(packet, now)
        if isinstance(verdict, bytearray):
            header = ip.parse(verdict)
            ports = udp.parse(verdict, header.upper_offset)
            src, dst = (header.src, ports.src_port), (header.dst, ports.dst_port)
            self._send(src, dst, bytes(verdict[header.upper_offset + UDP_HEADER_BYTES :]))
        elif isinstance(verdict, Acquire):
            self.hold(packet, verdict, now)
        else:
            self.drops[str(verdict)] += 1

    def _send(self, src: Sock, dst: Sock, payload: bytes) -> None:
        sender = self._sockets.get(src)
        try:
            if sender is not None:
                sender.sendto(payload, (format_address(dst[0]), dst[1]))
        except OSError as error:  # no route while an address changes
            self.drops[str(error)] += 1


def schema_of(connection: Connection) -> Schema:
    """The same connection as our scenario files have it; durations and addresses are spelled as there."""
    remote = () if connection.remote == "%any" else (connection.remote,)
    return Schema.model_validate(
        {
            "local_addrs": [],
            "remote_addrs": list(remote),
            "local_id": connection.local_id,
            "remote_id": connection.remote_id,
            "psk": connection.psk,
            "proposals": connection.proposals.split(","),
            **connection.settings,
            "children": {
                "net": {
                    "local_ts": [connection.local_ts],
                    "remote_ts": [connection.remote_ts],
                    "esp_proposals": connection.esp_proposals.split(","),
                    **connection.child_settings,
                }
            },
        }
    )


def _now() -> int:
    return time.monotonic_ns()
