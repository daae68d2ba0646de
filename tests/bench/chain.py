"""A chain of nodes with point-to-point links, the scene of every packet benchmark."""

from __future__ import annotations

from dataclasses import dataclass

from sim.net.engine import Simulation
from sim.net.host import Host
from sim.net.link import LinkParams, connect
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.net.router import Router
from sim.units import NS_PER_MS
from sim.wire import udp

FAST = LinkParams(rate_bps=10_000_000_000, delay_ns=NS_PER_MS)
PORT = 9000


@dataclass
class Chain:
    """`nodes[0]` and `nodes[-1]` are the hosts. Link `i` is the network 10.0.i.0/24: .1 left, .2 right."""

    sim: Simulation
    nodes: list[IpNode]

    def address(self, link: int, right: bool) -> bytes:
        return bytes([10, 0, link, 2 if right else 1])

    @property
    def source(self) -> bytes:
        return self.address(0, right=False)

    @property
    def target(self) -> bytes:
        return self.address(len(self.nodes) - 2, right=True)

    def datagram(self, size: int) -> bytearray:
        """An IP packet of `size` octets with a UDP datagram from end to end."""
        return udp.build((self.source, PORT), (self.target, PORT), bytes(size - 28))


class Sink:
    """A flow that counts what arrives at its target."""

    def __init__(self, target: IpNode) -> None:
        self.target = target
        self.packets = 0

    def arrived(self, _packet: Packet, node: IpNode, _now: int) -> bool:
        if node is not self.target:
            return False
        self.packets += 1
        return True


class Source:
    """Sends copies of one packet at a constant interval, the next when the last has left."""

    def __init__(self, node: IpNode, template: bytearray, interval_ns: int, flow: Sink, count: int) -> None:
        self.node = node
        self.template = template
        self.interval_ns = interval_ns
        self.flow = flow
        self.left = count
        self.alarm = node.sim.alarm(self.fire)
        self.alarm.arm(node.sim.now)

    def fire(self, now: int) -> None:
        self.left -= 1
        if self.left:
            self.alarm.arm(now + self.interval_ns)
        self.node.send(Packet(bytearray(self.template), now, self.flow), now)


def build_chain(links: int = 5, params: LinkParams = FAST, seed: int = 1) -> Chain:
    """host - router - ... - router - host over `links` links, routed from end to end."""
    sim = Simulation(seed)
    nodes: list[IpNode] = [Host(sim, "left")]
    nodes += [Router(sim, f"router{index}") for index in range(1, links)]
    nodes.append(Host(sim, "right"))
    chain = Chain(sim, nodes)
    for index in range(links):
        left, right = nodes[index].add_port("right"), nodes[index + 1].add_port("left")
        connect(sim, left, right, params)
        left.add_address(chain.address(index, right=False), 24)
        right.add_address(chain.address(index, right=True), 24)
    for node in nodes[1:-1]:
        for index in range(links):
            towards = "left" if index < nodes.index(node) else "right"
            if index not in (nodes.index(node) - 1, nodes.index(node)):
                node.add_route(chain.address(index, right=False), 24, node.ports[towards])
    nodes[0].add_route(bytes(4), 0, nodes[0].ports["right"])
    nodes[-1].add_route(bytes(4), 0, nodes[-1].ports["left"])
    return chain
