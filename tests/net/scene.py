"""Small scenes for the network tests, and ears at their nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from sim.net.engine import Simulation
from sim.net.host import Host
from sim.net.link import Link, LinkParams, connect
from sim.net.nat import NAT_PRESETS, NatBox, NatProfile
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.net.port import Port
from sim.net.router import Router
from sim.units import NS_PER_MS
from sim.wire import udp
from sim.wire.address import Sock, pack_address

SLOW = LinkParams(rate_bps=8_000_000, delay_ns=NS_PER_MS)  # an octet takes 1 us
LATER = 10**15
DEFAULT = (bytes(4), 0)
DEFAULT6 = (bytes(16), 0)


@dataclass
class Ear:
    """A flow, and a UDP handler, that keep all they are told. It consumes packets at `node` only."""

    node: IpNode | None = None
    packets: list[tuple[int, Packet]] = field(default_factory=list)
    datagrams: list[tuple[bytes, Sock, Sock, int]] = field(default_factory=list)

    def arrived(self, packet: Packet, node: IpNode, now: int) -> bool:
        if node is not self.node:
            return False
        self.packets.append((now, packet))
        return True

    def __call__(self, payload: bytes, src: Sock, dst: Sock, now: int) -> None:
        self.datagrams.append((payload, src, dst, now))

    @property
    def times(self) -> list[int]:
        return [at for at, _ in self.packets]

    @property
    def seqs(self) -> list[int]:
        return [packet.seq for _, packet in self.packets]


def plug(node: IpNode, name: str, *addresses: str) -> Port:
    """A port with textual addresses, each with a prefix length."""
    port = node.add_port(name)
    for text in addresses:
        address, length = text.split("/")
        port.add_address(pack_address(address), int(length))
    return port


class Pair:
    """Two hosts, 10.0.0.1 (a) and 10.0.0.2 (b), also 2001:db8::1 and ::2, and one link."""

    def __init__(self, forward: LinkParams = SLOW, backward: LinkParams | None = None, seed: int = 1) -> None:
        self.sim = Simulation(seed)
        self.a, self.b = Host(self.sim, "a"), Host(self.sim, "b")
        self.pa = plug(self.a, "eth", "10.0.0.1/24", "2001:db8::1/64")
        self.pb = plug(self.b, "eth", "10.0.0.2/24", "2001:db8::2/64")
        self.link: Link = connect(self.sim, self.pa, self.pb, forward, backward)
        self.ear = Ear(self.b)

    def datagram(self, size: int, dst: str = "10.0.0.2") -> bytearray:
        src = "10.0.0.1" if "." in dst else "2001:db8::1"
        overhead = 28 if "." in dst else 48
        return udp.build((pack_address(src), 7), (pack_address(dst), 7), bytes(size - overhead))

    def send(self, size: int = 100, seq: int = 0) -> None:
        self.a.send(Packet(self.datagram(size), self.sim.now, self.ear, seq), self.sim.now)

    def send_at(self, when: int, size: int = 100, seq: int = 0) -> None:
        self.sim.at(when, lambda _: self.send(size, seq))


class Line:
    """left - r1 - r2 - right over 10.0.N.0/24 and fd0N::/64, 1 left and 2 right of each link."""

    def __init__(self, params: LinkParams = SLOW) -> None:
        self.sim = Simulation(1)
        self.left, self.right = Host(self.sim, "left"), Host(self.sim, "right")
        self.r1, self.r2 = Router(self.sim, "r1"), Router(self.sim, "r2")
        nodes = [self.left, self.r1, self.r2, self.right]
        self.links = []
        for i, (a, b) in enumerate(pairwise(nodes)):
            pa = plug(a, "east", f"10.0.{i}.1/24", f"fd0{i}::1/64")
            pb = plug(b, "west", f"10.0.{i}.2/24", f"fd0{i}::2/64")
            self.links.append(connect(self.sim, pa, pb, params))
        for node, name in ((self.left, "east"), (self.r1, "east"), (self.r2, "west"), (self.right, "west")):
            for prefix in (DEFAULT, DEFAULT6):
                node.add_route(*prefix, node.ports[name])

    def run(self) -> None:
        self.sim.run(LATER)


class Home:
    """Two hosts behind a NAT, and two outside.

    alice 192.168.1.10 and bert 192.168.1.11 - nat (192.168.1.1 | 203.0.113.10) - core -
    server 198.51.100.1 and other 198.51.101.1
    """

    def __init__(self, profile: NatProfile = NAT_PRESETS["home"], seed: int = 1) -> None:
        self.sim = Simulation(seed)
        self.alice, self.bert = Host(self.sim, "alice"), Host(self.sim, "bert")
        self.nat = NatBox(self.sim, "nat", outside="wan", profile=profile)
        self.core = Router(self.sim, "core")
        self.server, self.other = Host(self.sim, "server"), Host(self.sim, "other")
        self._join(self.alice, "192.168.1.10/24", self.nat, "lan", "192.168.1.1/25")
        self._join(self.bert, "192.168.1.11/24", self.nat, "lan2", "192.168.1.2/32")
        self.nat.add_route(pack_address("192.168.1.11"), 32, self.nat.ports["lan2"])
        self._join(self.nat, "203.0.113.10/24", self.core, "home", "203.0.113.1/24", near="wan")
        self._join(self.server, "198.51.100.1/24", self.core, "server", "198.51.100.254/24")
        self._join(self.other, "198.51.101.1/24", self.core, "other", "198.51.101.254/24")
        self.nat.add_route(*DEFAULT, self.nat.ports["wan"])

    def _join(self, a: IpNode, address: str, b: IpNode, name: str, far: str, near: str = "eth") -> None:
        pa, pb = plug(a, near, address), plug(b, name, far)
        connect(self.sim, pa, pb, LinkParams(delay_ns=NS_PER_MS))
        if isinstance(a, Host):
            a.add_route(*DEFAULT, pa)

    def settle(self, ns: int = 100 * NS_PER_MS) -> None:
        """Let everything arrive; no mapping times out."""
        self.sim.run(self.sim.now + ns)


ALICE, BERT = pack_address("192.168.1.10"), pack_address("192.168.1.11")
WAN = pack_address("203.0.113.10")
SERVER, OTHER = pack_address("198.51.100.1"), pack_address("198.51.101.1")
