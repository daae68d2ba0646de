"""A cell of the grid with Linux as its boxes: our live peers at both ends, nftables' NAT before each of them.

    alice 10.8.0.1 -- near -- core -- far -- moon 10.1.0.10        addresses and rules as in the grid's scene

Every trial has two fresh peers; its course by the clock is that of sim.experiment.grid.
"""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from time import monotonic_ns

from sim.experiment.grid.cell import Cell, Outcome, Pace
from sim.live.netns import inside
from sim.traffic.record import FlowRecord
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire.address import format_address
from tests.interop.connection import Connection
from tests.interop.nat import forget, translate
from tests.interop.netns import Lab, Namespace
from tests.interop.ours import Ours
from tests.interop.ping import ping

ALICE, MOON = "10.8.0.1", "10.1.0.10"
PUBLIC_ALICE, PUBLIC_MOON = "203.0.113.10", "198.51.100.1"
_OTHER_PORTS = "meta l4proto udp masquerade to :30000-39999"
_SETUP_NS = 80 * NS_PER_MS
_PERIOD_NS = 100 * NS_PER_MS
_SOON_S = 1.0
_SIZE = 100
_numbers = itertools.count()


@dataclass(frozen=True)
class Seen:
    """What a trial showed; `remote` is where moon had alice in the end.

    `back`: whether a silent tunnel works again once the inside has spoken.
    """

    how: str
    remote: tuple[str, int]
    outcome: Outcome
    outage_s: float = 0.0
    back: bool = True


class LinuxCell:
    """`near` and `far` say how the boxes translate, such as "masquerade random"; "": there is none."""

    def __init__(self, lab: Lab, near: str, far: str, timeouts: dict[str, int]) -> None:
        number = next(_numbers)
        self._lab = lab
        self._how = near
        self.alice, self.moon, core = (
            lab.namespace(f"{label}{number}") for label in ("alice", "moon", "core")
        )
        core.forward()
        self.alice.inner_address(f"{ALICE}/32")
        self.moon.inner_address(f"{MOON}/32")
        self._near = access(lab, core, self.alice, "192.168.1", PUBLIC_ALICE, near, timeouts)
        self._far = access(lab, core, self.moon, "172.16.0", PUBLIC_MOON, far, timeouts)
        if self._far is not None:
            self._far.run("nft", "-f", "-", stdin=_LEAD_IN)

    def idle(self, cell: Cell, pace: Pace, silence_s: float) -> Seen:
        """Set up, be silent, then moon calls alice, who speaks herself only later; no liveness checks."""
        with self._tunnel(cell, pace, liveness=0) as (begun, answering):
            _sleep_until(begun + round((1 + silence_s) * NS_PER_S))
            heard = ping(self.moon, ALICE, wait=_SOON_S).received
            _sleep_until(begun + round((1 + silence_s + pace.speak) * NS_PER_S))
            back = ping(self.alice, MOON, wait=_SOON_S).received
            return _seen(answering, Outcome.SURVIVED if heard else Outcome.LOST, back=bool(back))

    def rebind(self, cell: Cell, pace: Pace) -> Seen:
        """Packets both ways, ten a second, while the near box gives its mappings other ports."""
        try:
            return self._disturbed(cell, pace, {0.0: lambda: self._translate(_OTHER_PORTS)})
        finally:
            self._translate(self._how)

    def reboot(self, cell: Cell, pace: Pace) -> Seen:
        """The same while it is away for a second, and has forgotten everything."""
        return self._disturbed(cell, pace, {0.0: self._go, 1.0: self._come_back})

    def _disturbed(self, cell: Cell, pace: Pace, events: dict[float, Callable[[], None]]) -> Seen:
        """`events` by the seconds after that when the first happens."""
        with self._tunnel(cell, pace, liveness=pace.liveness) as (begun, answering):
            event_at, end = (begun + round(at * NS_PER_S) for at in (pace.event, pace.end))
            flows = _Flows(self.alice, self.moon)
            due = {event_at + round(after * NS_PER_S): call for after, call in events.items()}
            flows.run(begun + NS_PER_S, end, due)
            outages = [outage for outage in flows.outages(end) if outage[1] > event_at]
            longest = max((to_at - from_at for from_at, to_at in outages), default=0)
            lost = any(to_at >= end - NS_PER_S for _, to_at in outages)
            return _seen(answering, Outcome.LOST if lost else Outcome.SURVIVED, longest / NS_PER_S)

    @contextmanager
    def _tunnel(self, cell: Cell, pace: Pace, *, liveness: float) -> Iterator[tuple[int, Ours]]:
        """When it would have been begun in the simulated cell, and moon's peer.

        Its liveness checks count from when it was up.
        """
        for box in (self._near, self._far):
            if box is not None:
                forget(box)
        views = self._views(cell, pace, liveness)
        with ExitStack() as stack:
            answering, calling = (
                stack.enter_context(closing(Ours(self._lab, namespace, view)))
                for namespace, view in zip((self.moon, self.alice), views, strict=True)
            )
            calling.initiate()
            calling.sa()
            begun = monotonic_ns() - _SETUP_NS
            answering.sa()
            yield begun, answering

    def _views(self, cell: Cell, pace: Pace, liveness: float) -> tuple[Connection, Connection]:
        """Moon's and alice's."""
        settings = {
            "keep_alive": f"{pace.keepalive if cell.keepalive else 0} s",
            "dpd_delay": f"{liveness} s",
        }
        one = Connection(
            *("%any", PUBLIC_MOON, f"{ALICE}/32", "10.1.0.0/16"),
            settings=settings,
            sides={"mobike": cell.mobike},
        )
        return one.mirrored(local="%any", remote="%any"), one

    def _translate(self, how: str) -> None:
        assert self._near is not None
        translate(self._near, "eth1", how)
        forget(self._near)

    def _go(self) -> None:
        assert self._near is not None
        self._near.run("nft", "-f", "-", stdin=_OFF)

    def _come_back(self) -> None:
        assert self._near is not None
        forget(self._near)
        self._near.run("nft", "delete", "table", "ip", "off")


def _seen(moon: Ours, outcome: Outcome, outage_s: float = 0.0, *, back: bool = True) -> Seen:
    """With what moon has in the end."""
    address, port = moon.sa().remote
    how = "UDP" if moon.pair().outbound.spec.encap else "plain"
    return Seen(how, (format_address(address), port), outcome, outage_s, back)


def access(
    lab: Lab, core: Namespace, host: Namespace, inner: str, public: str, how: str, timeouts: dict[str, int]
) -> Namespace | None:
    """The host on its public address, or behind a box that has it, which is returned."""
    gateway = f"{public.rpartition('.')[0]}.254"
    if not how:
        lab.link(host, f"{public}/24", core, f"{gateway}/24")
        host.ip("route", "replace", "default", "via", gateway)
        return None
    box = lab.namespace(f"box-{host.label}")
    lab.link(host, f"{inner}.10/24", box, f"{inner}.1/24")
    lab.link(box, f"{public}/24", core, f"{gateway}/24")
    host.ip("route", "replace", "default", "via", f"{inner}.1")
    box.ip("route", "add", "default", "via", gateway)
    translate(box, "eth1", how)
    for name, seconds in timeouts.items():
        box.run("sh", "-c", f"echo {seconds} >/proc/sys/net/netfilter/nf_conntrack_{name}")
    return box


class _Flows:
    """A packet each way every 100 ms, moon's half a period after alice's."""

    def __init__(self, alice: Namespace, moon: Namespace) -> None:
        self._ends = [_socket(alice, ALICE, MOON), _socket(moon, MOON, ALICE)]
        self._records = [FlowRecord("up"), FlowRecord("down")]

    def run(self, begin: int, end: int, events: Mapping[int, Callable[[], None]]) -> None:
        """Each event happens before a packet of alice's, to whom the simulated box is nearer as well.

        It matters: a packet of moon's that nobody asked for would take alice's port away from her.
        """
        waiting = deque(sorted(events.items()))
        with self._ends[0], self._ends[1]:
            for at in range(begin, end, _PERIOD_NS):
                self._listen(at)
                while waiting and waiting[0][0] <= at:
                    waiting.popleft()[1]()
                self._send(0)
                self._listen(monotonic_ns() + _PERIOD_NS // 2)
                self._send(1)
            self._listen(end)

    def _send(self, which: int) -> None:
        seq = self._records[which].send(monotonic_ns(), _SIZE)
        self._ends[which].send(seq.to_bytes(4, "big") + bytes(_SIZE - 32))

    def outages(self, end: int) -> list[tuple[int, int]]:
        return [(one.from_at, one.to_at) for record in self._records for one in record.outages(end)]

    def _listen(self, until: int) -> None:
        while (left := until - monotonic_ns()) > 0:
            for sock in select.select(self._ends, [], [], left / NS_PER_S)[0]:
                record = self._records[1 - self._ends.index(sock)]
                record.receive(int.from_bytes(sock.recv(100)[:4], "big"), monotonic_ns(), _SIZE)


def _socket(namespace: Namespace, own: str, other: str) -> socket.socket:
    sock = inside(namespace.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind((own, 7777))
    sock.connect((other, 7777))
    return sock


def _sleep_until(at: int) -> None:
    time.sleep(max(0, at - monotonic_ns()) / NS_PER_S)


_LEAD_IN = (
    "table ip lead-in { chain in { type nat hook prerouting priority dstnat; policy accept; "
    'iifname "eth1" udp dport { 500, 4500 } dnat to 172.16.0.10; }; }\n'
)
_OFF = "table ip off { chain in { type filter hook prerouting priority raw; policy drop; }; }\n"
