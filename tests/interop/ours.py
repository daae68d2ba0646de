"""Our live peer in a network namespace, in a thread of the test, which can so ask it what it did.

It is the object that `ipsec-sim peer` runs; test_command.py runs the command itself.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns
from typing import Any, TypeVar

from sim.ike.config import EndpointConfig, RetransmitPolicy
from sim.ike.events import Event, IkeKeysDerived, MessageReceived, MessageSent
from sim.ike.pool import PoolConfig
from sim.ike.view import ChildView, SaView
from sim.ipsec.sad import Pair
from sim.live.netns import inside
from sim.live.peer import LivePeer, PeerOptions
from sim.live.report import Reporter
from sim.scenario.configs import connection_config
from sim.scenario.schema import Connection as Schema
from tests.interop.connection import Connection
from tests.interop.netns import Lab, Namespace, until

T = TypeVar("T")

_numbers = itertools.count()


class Ours:
    """A running peer; `limits` are those of `EndpointConfig`, `retransmit` is for all its connections.

    `keys` is a folder for what decrypts its messages. What is asked or told from outside is done in
    its own thread, between two packets. Its TUN device has a name of its own, because a program that another
    thread is just starting may hold that of an earlier peer open for a moment longer.
    """

    def __init__(
        self,
        lab: Lab,
        namespace: Namespace,
        connection: Connection,
        *,
        keys: Path | None = None,
        retransmit: RetransmitPolicy | None = None,
        pools: tuple[PoolConfig, ...] = (),
        **limits: Any,
    ) -> None:
        one = connection_config("home", schema_of(connection))
        if retransmit is not None:
            one = replace(one, retransmit=replace(retransmit, patience=0))
        self._config = EndpointConfig((one,), pools=pools, **limits)
        self._options = PeerOptions(tun=f"ours{next(_numbers)}", keys=keys)
        self.namespace = namespace
        self.history: list[Event] = []
        self.said: list[str] = []
        self._peer: LivePeer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"ours-{namespace.label}", daemon=True)
        lab.on_close(self.close)
        until(lambda: not ports_held(namespace), lambda: f"others have IKE's ports in {namespace.label}")
        self._thread.start()
        until(lambda: "listening" in self.said or not self._thread.is_alive(), self.story)
        assert self._thread.is_alive(), self.story()

    # What a test says and asks

    def initiate(self, child: str | None = None) -> None:
        self._tell(lambda peer: peer.endpoint.initiate("home", child, monotonic_ns()))

    def rekey_child(self, spi_in: int) -> None:
        self._tell(lambda peer: peer.endpoint.rekey(spi_in, monotonic_ns()))

    def rekey_ike(self) -> None:
        ike_id = self.sa().ike_id
        self._tell(lambda peer: peer.endpoint.rekey_ike(ike_id, monotonic_ns()))

    def reauthenticate(self) -> None:
        ike_id = self.sa().ike_id
        self._tell(lambda peer: peer.endpoint.reauthenticate(ike_id, monotonic_ns()))

    def delete(self) -> None:
        self._tell(lambda peer: peer.endpoint.delete("home", monotonic_ns()))

    def delete_child(self, spi_in: int) -> None:
        self._tell(lambda peer: peer.endpoint.delete_child(spi_in, monotonic_ns()))

    def check_liveness(self) -> None:
        ike_id = self.sa().ike_id
        self._tell(lambda peer: peer.endpoint.check_liveness(ike_id, monotonic_ns()))

    def sas(self) -> list[SaView]:
        return [sa for sa in self.call(lambda peer: peer.endpoint.sas) if sa.state == "established"]

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
        (pair,) = self.pairs()
        return pair

    def pairs(self) -> list[Pair]:
        return self.call(lambda peer: list(peer.engine.sad.values()))

    def idle(self) -> None:
        """Wait until no SA is left, neither of IKE nor of ESP."""
        until(lambda: not self.sas() and not self.pairs(), lambda: f"we keep an SA:\n{self.story()}")

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

    def call(self, job: Callable[[LivePeer], T]) -> T:
        """The result of `job`, run in the peer's thread."""
        done: Future[T] = Future()

        def work() -> None:
            assert self._peer is not None
            try:
                done.set_result(job(self._peer))
            except Exception as error:  # noqa: BLE001 - it is raised again where it belongs
                done.set_exception(error)

        assert self._loop is not None
        self._loop.call_soon_threadsafe(work)
        return done.result(30)

    def _tell(self, command: Callable[[LivePeer], None]) -> None:
        def tell(peer: LivePeer) -> None:
            command(peer)
            peer.pump(monotonic_ns())

        self.call(tell)

    def close(self) -> None:
        """End it, its SAs politely, but without waiting for answers."""
        if self._thread.is_alive() and self._loop is not None:
            for _ in range(2):
                self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()

    def _stop(self) -> None:
        if self._peer is not None:
            self._peer.stop()

    @property
    def drops(self) -> Counter[str]:
        return self.call(lambda peer: Counter(peer.drops))

    def _run(self) -> None:
        inside(self.namespace.name, lambda: asyncio.run(self._live()))

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer = LivePeer(self._config, self._options, _Diary(self))
        try:
            await self._peer.run()
        finally:
            self._peer.close()


class _Diary(Reporter):
    """Keeps what is reported instead of showing it."""

    def __init__(self, ours: Ours) -> None:
        super().__init__(as_json=False, verbose=True)
        self._ours = ours

    def ike(self, event: Event, now: int) -> None:
        self._ours.history.append(event)

    def say(self, event: str, detail: str, **more: Any) -> None:
        self._ours.said.append(event)


def ports_held(namespace: Namespace) -> bool:
    """Whether UDP 500 or 4500 is taken: a program that is just starting may hold an earlier peer's socket."""
    tables = (Path(f"/proc/thread-self/net/{name}") for name in ("udp", "udp6"))
    text = inside(namespace.name, lambda: "".join(table.read_text() for table in tables if table.exists()))
    return re.search(r":(01F4|1194) 0+:0000 ", text) is not None


def schema_of(connection: Connection) -> Schema:
    """The same connection as our scenario files have it; durations and addresses are spelled as there."""
    remote = () if connection.remote == "%any" else (connection.remote,)
    return Schema.model_validate(
        {
            "local_addrs": [connection.local] if connection.local != "%any" else [],
            "remote_addrs": list(remote),
            "local_id": connection.local_id,
            "remote_id": connection.remote_id,
            "psk": connection.psk,
            "proposals": connection.proposals.split(","),
            **connection.settings,
            "eap_secrets": dict(connection.passwords),
            **connection.sides,
            "children": {
                "net": {
                    "local_ts": connection.local_ts.split(", "),
                    "remote_ts": connection.remote_ts.split(", "),
                    "esp_proposals": connection.esp_proposals.split(","),
                    **connection.child_settings,
                },
                **{
                    child.name: {
                        "local_ts": [child.local_ts],
                        "remote_ts": [child.remote_ts],
                        "esp_proposals": child.esp_proposals.split(","),
                    }
                    for child in connection.further
                },
            },
        }
    )
