"""A peer falls silent for good after each of its messages: the endpoint notices, says why and forgets it.

Both sides run in this process on loopback, ten peers at a time. What each of them costs for good is printed.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, Literal, TypeVar

import pytest

from sim.ike.config import ChildConfig, ConnectionConfig, EndpointConfig, RetransmitPolicy
from sim.ike.constants import ExchangeType, ProtocolId
from sim.ike.endpoint import Datagram
from sim.ike.events import ChildSaDown, ChildSaUp, Event, IkeSaDown, IkeSaUp, Reason
from sim.ike.proposals import parse_proposal
from sim.ike.tasks.base import Job
from sim.live.peer import LivePeer, PeerOptions
from sim.live.report import Reporter
from sim.units import NS_PER_MS
from sim.wire.address import format_address, pack_address
from sim.wire.selector import Selector
from tests.ike.test_child import Rekey
from tests.live.process import PATIENCE_S, free_ports, own_address

PEERS = 10
PER_PEER_BYTES = 10_000
"""What the endpoint may remember of one that is gone."""
T = TypeVar("T")
_SOON = RetransmitPolicy((100 * NS_PER_MS,) * 3, patience=0)

Role = Literal["we initiate", "we respond"]


@dataclass(frozen=True)
class Case:
    """When the peer falls silent: after so many messages. `up` is whether we had an SA with it by then."""

    role: Role
    messages: int
    up: bool = True
    rekeys: bool = False
    """Its third message makes a new Child SA, and it never deletes the old one."""
    deleted: bool = False
    """We delete the SA, and it never answers."""
    reason: Reason = Reason.TIMEOUT


CASES = {
    "responding, after IKE_SA_INIT": Case("we respond", 1, up=False, reason=Reason.ABANDONED),
    "responding, after IKE_AUTH": Case("we respond", 2),
    "responding, after an answer to a liveness check": Case("we respond", 3),
    "responding, while it rekeys a child": Case("we respond", 3, rekeys=True),
    "responding, while we delete": Case("we respond", 2, deleted=True, reason=Reason.DELETED),
    "initiating, before anything": Case("we initiate", 0, up=False),
    "initiating, after IKE_SA_INIT": Case("we initiate", 1, up=False),
    "initiating, after IKE_AUTH": Case("we initiate", 2),
    "initiating, after an answer to a liveness check": Case("we initiate", 3),
    "initiating, while we delete": Case("we initiate", 2, deleted=True, reason=Reason.DELETED),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_peer_that_vanishes_is_noticed_and_forgotten(case: Case) -> None:
    asyncio.run(_vanish(case))


async def _vanish(case: Case) -> None:
    """Twice ten peers: what the first ten leave behind is the endpoint's own growing up."""
    address, remotes = own_address(), [own_address() for _ in range(2 * PEERS)]
    ports = free_ports(address, *remotes)
    diary = Diary()
    ours = [_connection(case, address, remote, ours=True) for remote in remotes]
    victim = LivePeer(_endpoint(ours, ports), PeerOptions(), diary)
    running = asyncio.create_task(victim.run())
    try:
        await _until(lambda: diary.listening)
        await _meet(victim, diary, case, remotes[:PEERS])
        tracemalloc.start()
        before = _octets()
        await _meet(victim, diary, case, remotes[PEERS:])
        each = (_octets() - before) // PEERS
    finally:
        tracemalloc.stop()
        victim.stop()
        await running
        victim.close()
    _judge(case, victim, diary)
    print(f"\n{diary.of(IkeSaDown)[0].text!r}; {each} octets stay of each that is gone")
    assert each < PER_PEER_BYTES


async def _meet(victim: LivePeer, diary: Diary, case: Case, remotes: list[str]) -> None:
    """Ten peers come, fall silent, and are given up."""
    before = len(diary.of(IkeSaDown)), len(diary.of(ChildSaUp))
    (local,) = {connection.local_addrs for connection in victim.config.connections}
    peers = [_silent(case, remote, format_address(local[0]), victim) for remote in remotes]
    running = [asyncio.create_task(peer.run()) for peer in peers]
    for remote in remotes:
        if case.role == "we initiate":
            victim.endpoint.initiate(remote, None, monotonic_ns())
    victim.pump(monotonic_ns())
    if case.deleted:
        await _until(lambda: len(diary.of(ChildSaUp)) == before[1] + PEERS)
        for remote in remotes:
            victim.endpoint.delete(remote, monotonic_ns())
        victim.pump(monotonic_ns())
    await _until(lambda: len(diary.of(IkeSaDown)) == before[0] + PEERS)
    await _until(lambda: victim.endpoint.next_timer() is None)  # nor does it linger to repeat its last answer
    for peer, task in zip(peers, running, strict=True):
        peer.stop()
        peer.stop()
        await task
        peer.close()


def _judge(case: Case, victim: LivePeer, diary: Diary) -> None:
    """The state is that of an endpoint that never met them, and what was reported says why."""
    downs = diary.of(IkeSaDown)
    assert len(downs) == 2 * PEERS
    assert {down.connection for down in downs} == {one.name for one in victim.config.connections}
    assert {down.reason for down in downs} == {case.reason}
    assert all(down.text for down in downs)
    assert len(diary.of(IkeSaUp)) == (2 * PEERS if case.up else 0)
    assert len(diary.of(ChildSaUp)) == len(diary.of(IkeSaUp)) * (2 if case.rekeys else 1)
    assert len(diary.of(ChildSaDown)) == len(diary.of(ChildSaUp))
    assert not victim.engine.sad
    assert not [view for view in victim.endpoint.sas if view.state != "closed"]


class Silent(LivePeer):
    """A peer whose IKE messages no longer leave it after the first few."""

    messages = 0
    rekeys = False

    def transmit(self, datagram: Datagram, now: int) -> None:
        if self.messages:
            self.messages -= 1
            super().transmit(datagram, now)

    def observe(self, event: Event, now: int) -> None:
        if self.rekeys and isinstance(event, ChildSaUp):
            self.rekeys = False
            (sa,) = self.endpoint._ctx.sas.values()
            (child,) = self.config.connections[0].children
            sa.requests.submit(Job(ExchangeType.CREATE_CHILD_SA, [Rekey(child, event.spi_in)]), now)


class Diary(Reporter):
    """Keeps what is reported instead of showing it."""

    def __init__(self) -> None:
        super().__init__(as_json=False, verbose=False)
        self.history: list[Event] = []
        self.listening = False

    def ike(self, event: Event, now: int) -> None:
        if isinstance(event, IkeSaUp | IkeSaDown | ChildSaUp | ChildSaDown):
            self.history.append(event)

    def say(self, event: str, detail: str, **more: Any) -> None:
        self.listening |= event == "listening"

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.history if isinstance(event, kind)]


def _silent(case: Case, address: str, victim: str, ours: LivePeer) -> Silent:
    config = _endpoint(
        [_connection(case, address, victim, ours=False)], (ours.config.ike_port, ours.config.natt_port)
    )
    calls = (victim,) if case.role == "we respond" else ()
    peer = Silent(config, PeerOptions(initiate=calls), Diary())
    peer.messages, peer.rekeys = case.messages, case.rekeys
    return peer


def _connection(case: Case, local: str, remote: str, *, ours: bool) -> ConnectionConfig:
    """Named by the other side; each pair of hosts has a secret, an identity and a network of its own."""
    net = tuple(int(part) for part in (remote if ours else local).split("."))
    far, near = f"10.{net[2]}.{net[3]}.0/24", "10.255.0.0/24"
    local_ts, remote_ts = (near, far) if ours else (far, near)
    child = ChildConfig(
        "net",
        (parse_proposal("aes128gcm16", ProtocolId.ESP),),
        local_ts=(Selector.from_prefix(local_ts),),
        remote_ts=(Selector.from_prefix(remote_ts),),
    )
    return ConnectionConfig(
        remote,
        psk=b"a secret of the tests only",
        proposals=(parse_proposal("aes128gcm16-prfsha256-x25519", ProtocolId.IKE),),
        children=(child,),
        local_addrs=(pack_address(local),),
        remote_addrs=(pack_address(remote),),
        encap=True,
        dpd_delay=100 * NS_PER_MS if ours and not case.deleted else 0,
        mobike=case.role == "we initiate" or case.deleted,  # else we wait minutes (RFC 4555 3.11)
        retransmit=_SOON,
    )


def _endpoint(connections: list[ConnectionConfig], ports: tuple[int, int]) -> EndpointConfig:
    return EndpointConfig(
        tuple(connections),
        *ports,
        cookie_threshold=0,
        half_open_timeout=300 * NS_PER_MS,
    )


def _octets() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def _until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not look():
            await asyncio.sleep(0.01)
