"""Small worlds with IPsec, and ears on their links.

    alice 10.1.0.10 - moon (10.1.0.1 | 192.0.2.1) - net - (198.51.100.1 | 10.2.0.1) sun - bob 10.2.0.10

moon initiates. Nothing is sent unless a test sends it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.net.port import Port
from sim.scenario.build import build
from sim.scenario.load import load_text
from sim.scenario.world import World
from sim.tunnels.stack import IpsecStack
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import ip, udp
from sim.wire.address import pack_address

ALICE, BOB = pack_address("10.1.0.10"), pack_address("10.2.0.10")
MOON, SUN = pack_address("192.0.2.1"), pack_address("198.51.100.1")
SITES = """\
name: sites
duration: 100 s
nodes:
  alice: {kind: host, interfaces: {eth: 10.1.0.10/16}}
  moon: {kind: gateway, interfaces: {lan: 10.1.0.1/16, wan: 192.0.2.1/24}}
  net: {kind: router, interfaces: {moon: 192.0.2.254/24, sun: 198.51.100.254/24}}
  sun: {kind: gateway, interfaces: {wan: 198.51.100.1/24, lan: 10.2.0.1/16}}
  bob: {kind: host, interfaces: {eth: 10.2.0.10/16}}
links:
  - {ends: [alice:eth, moon:lan], delay: 1 ms}
  - {ends: [moon:wan, net:moon], delay: 5 ms}
  - {ends: [net:sun, sun:wan], delay: 5 ms}
  - {ends: [sun:lan, bob:eth], delay: 1 ms}
tunnels:
  sites:
    initiator: moon
    responder: sun
    auth: {psk: secret, local_id: moon, remote_id: sun}
    children:
      lans: {local_ts: [10.1.0.0/16], remote_ts: [10.2.0.0/16], start: trap}
"""
CHILD = "tunnels.sites.children.lans"
OUTER = ip.Protocol.UDP, ip.Protocol.ESP


class Seen(NamedTuple):
    """One packet at one port."""

    at: int
    outbound: bool
    data: bytes

    @property
    def is_ike(self) -> bool:
        return self.protocol == ip.Protocol.UDP and self.port in (500, 4500) and not self.is_esp

    @property
    def is_esp(self) -> bool:
        if self.protocol == ip.Protocol.ESP:
            return True
        return self.protocol == ip.Protocol.UDP and self.port == 4500 and any(self.data[28:32])

    @property
    def protocol(self) -> int:
        return ip.parse(self.data).protocol

    @property
    def port(self) -> int:
        return udp.parse(self.data, ip.parse(self.data).upper_offset).dst_port


@dataclass
class Ear:
    """All that passes some ports, oldest first."""

    seen: list[Seen] = field(default_factory=list)

    def __call__(self, port: Port, data: bytearray, at: int, outbound: bool) -> None:
        self.seen.append(Seen(at, outbound, bytes(data)))

    @property
    def clear(self) -> list[Seen]:
        """What is neither ESP nor IKE."""
        return [seen for seen in self.seen if not (seen.is_esp or seen.is_ike)]


@dataclass
class Mailbox:
    """A flow that keeps the numbers, times and octets of what arrives at a node."""

    node: IpNode
    seqs: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    octets: list[bytes] = field(default_factory=list)

    def arrived(self, packet: Packet, node: IpNode, now: int) -> bool:
        if node is not self.node:
            return False
        self.seqs.append(packet.seq)
        self.times.append(now)
        self.octets.append(bytes(packet.data))
        return True


class Lab:
    """A world, what its wires carry, and packets on demand."""

    def __init__(self, *overrides: str, text: str = SITES, seed: int = 1) -> None:
        self.world: World = build(load_text(text, "lab.yaml", overrides), seed)
        self.sim = self.world.sim
        self.sim.run(NS_PER_MS)  # the stacks start at 0
        self.boxes = {name: Mailbox(node) for name, node in self.world.nodes.items()}
        self._seq = 0

    @property
    def now(self) -> int:
        return self.sim.now

    def stack(self, name: str) -> IpsecStack:
        return self.world.stacks[name]

    def drops(self, name: str) -> dict[str, int]:
        return {str(reason): count for reason, count in self.world.nodes[name].drops.items()}

    def listen(self, *labels: str) -> Ear:
        ear = Ear()
        for label in labels:
            self.world.ports[label].tap = ear
        return ear

    def run(self, ns: int = NS_PER_S) -> Lab:
        self.sim.run(self.now + ns)
        return self

    def up(self) -> Lab:
        """Make the tunnel come up, if no packet has yet."""
        initiator = next(
            node for node in self.world.stacks if self.stack(node).config.connections[0].remote_addrs
        )
        stack = self.stack(initiator)
        connection = stack.config.connections[0]
        stack.endpoint.initiate(connection.name, None, self.now)
        stack.pump(self.now)
        self.run(500 * NS_PER_MS)
        assert stack.engine.sad
        return self

    def send(
        self,
        src: bytes = ALICE,
        dst: bytes = BOB,
        size: int = 100,
        *,
        df: bool = False,
        sender: str = "",
        to: str = "",
        port: int = 7777,
    ) -> int:
        """A datagram from who has `src` to who has `dst`, by their nodes; its number, which `to` will see."""
        source = self.world.nodes[sender] if sender else self._owner(src)
        target = self.boxes[to or self._owner(dst).name]
        seq, self._seq = self._seq, self._seq + 1
        room = size - (28 if len(src) == 4 else 48)
        data = udp.build((src, port), (dst, 9999), bytes(room), df=df)
        source.send(Packet(data, self.now, target, seq), self.now)
        return seq

    def _owner(self, address: bytes) -> IpNode:
        return next(node for node in self.world.nodes.values() if node.is_local(address))
