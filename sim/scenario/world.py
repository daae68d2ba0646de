"""A scenario come to life: every runtime object by its name, and what they report while time passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from sim.ike.events import ChildSaUp, Event, IkeKeysDerived, PathChanged
from sim.net.engine import Simulation
from sim.net.nat import NatBox
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.net.port import Port
from sim.scenario.courses import Courses
from sim.scenario.errors import Problem
from sim.scenario.schema import Flow, Scenario
from sim.traffic.source import TrafficFlow
from sim.tunnels.keylog import KeyLog
from sim.tunnels.narrate import LogEntry, narrate
from sim.tunnels.stack import IpsecStack
from sim.tunnels.trace import IkeTrace
from sim.wire.ip import Protocol

_ANY_PORTS = (0, 65535)
_IKE_PORTS = 500, 4500


class Holder(NamedTuple):
    """Whose virtual IP it is: a node, and the connection that asks for it."""

    node: str
    connection: str


@dataclass(slots=True)
class World:
    """The running network of one scenario.

    `scenario` is expanded: its tunnels have become connections. `ports` is keyed `node:iface`, `flows` by
    the names of the records; a replay has two, one for each direction. `warnings` is what a user should
    know before the run, but may have meant.
    `attached` are the nodes that are real hosts: they have no stack and no flows here.
    """

    scenario: Scenario
    seed: int
    sim: Simulation
    nodes: dict[str, IpNode] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    stacks: dict[str, IpsecStack] = field(default_factory=dict)
    flows: dict[str, TrafficFlow] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)
    courses: Courses = field(default_factory=Courses)
    flow_models: dict[str, Flow] = field(default_factory=dict)
    """What the file says of each flow that runs here, by the names of its records."""
    link_peers: dict[str, str] = field(default_factory=dict)
    """`node:iface` to what is at the other end of its link."""
    _log: list[LogEntry] = field(default_factory=list)
    _untold: list[LogEntry | str | Event | int] = field(default_factory=list)
    """Entries, or else a node, an event and a time; a tuple of the three would double what a run keeps."""
    watchers: list[Callable[[str, Event, int], None]] = field(default_factory=list)
    """Told what `observe` is told."""
    keys: KeyLog = field(default_factory=KeyLog)
    trace: IkeTrace = field(default_factory=IkeTrace)
    attached: frozenset[str] = frozenset()
    away_until: dict[str, int] = field(default_factory=dict)
    """By what events take away (`node`, `node:iface`, `node ports`): when the last of them gives it back."""
    virtual: dict[bytes, Holder] = field(default_factory=dict)
    """Which virtual IPs are expected, before the run, and who asks for each; see `expect`."""
    _virtual_of: dict[str, list[bytes]] = field(default_factory=dict)
    _owners: dict[bytes, list[str]] = field(default_factory=dict)

    @property
    def log(self) -> list[LogEntry]:
        """The events table so far; put into words when somebody asks, not while time runs."""
        untold = iter(self._untold)
        for first in untold:
            entry = first if isinstance(first, LogEntry) else _told(first, next(untold), next(untold))
            if entry is not None:
                self._log.append(entry)
        self._untold.clear()
        return self._log

    def expect(self, virtual: dict[bytes, Holder]) -> None:
        """These virtual IPs are expected."""
        self.virtual = virtual
        for address, holder in virtual.items():
            self._virtual_of.setdefault(holder.node, []).append(address)

    def expected_by(self, node: str) -> list[bytes]:
        """The virtual IPs that a node is expected to get."""
        return self._virtual_of.get(node, [])

    def meant_by(self, address: bytes) -> bytes:
        """What an address stands for behind NAT64 or NPTv6, whose boxes own no such address; else itself."""
        if len(address) == 4:
            return address
        boxes = (node for node in self.nodes.values() if isinstance(node, NatBox))
        meant = (box.embedded(address) or box.lets_in(address, 0, _ANY_PORTS) for box in boxes)
        return next((own for own in meant if own is not None), address)

    def owners(self, address: bytes) -> list[str]:
        """The nodes that have an address from the beginning; several if they are in several realms."""
        if not self._owners:
            for port in self.ports.values():
                for own, _ in port.addresses:
                    self._owners.setdefault(own, []).append(port.node.name)
        return self._owners.get(address, [])

    def reached_at(self, address: bytes) -> list[str]:
        """The nodes that IKE to an address reaches: its owners, or those to whom rules of a NAT lead it."""
        found = []
        for name in self.owners(self.meant_by(address)):
            box = self.nodes[name]
            inside = (
                box.lets_in(self.meant_by(address), Protocol.UDP, _IKE_PORTS)
                if isinstance(box, NatBox)
                else None
            )
            found += [name] if inside is None else self.reached_at(inside)
        return found

    def under_way(self) -> dict[str, set[int]]:
        """By flow, the numbers of the packets that the network has now: on links, or waiting for an SA."""
        found: dict[str, set[int]] = {name: set() for name in self.flows}
        links = (port.link for port in self.ports.values() if port.link is not None)
        holders = (*(link.under_way() for link in links), *(stack.held() for stack in self.stacks.values()))
        for packet in chain.from_iterable(holders):
            if isinstance(packet.flow, TrafficFlow):
                found[packet.flow.name].add(packet.seq)
        return found

    def dropped(self, node: IpNode, packet: Packet, reason: str, now: int) -> None:
        """What a node tells of every packet that it drops: flows and IKE's trace note their own."""
        if isinstance(packet.flow, TrafficFlow):
            packet.flow.record.drop(packet.seq, now, node.name, str(reason))
        elif isinstance(packet.flow, IkeTrace):
            packet.flow.dropped(packet, node, str(reason), now)

    def observe(self, node: str, event: Event, now: int) -> None:
        """What an IKE endpoint reports: its keys into the key log, and all into the events table."""
        if isinstance(event, IkeKeysDerived):
            self.keys.ike_sa(event)
        elif isinstance(event, ChildSaUp):
            self.keys.child_sa(event)
        elif isinstance(event, PathChanged):
            self.keys.path(event)
        self._untold += (node, event, now)
        for watch in self.watchers:
            watch(node, event, now)

    def note(self, entry: LogEntry) -> None:
        self._untold.append(entry)


def _told(node: Any, event: Any, at: Any) -> LogEntry | None:
    return narrate(node, event, at)
