"""A NAT box with few or with many mappings: what a packet of one of them costs, out and in."""

from __future__ import annotations

import time
from functools import cache

from sim.net.engine import Simulation
from sim.net.nat import NAT_PRESETS, NatBox
from sim.net.packet import Packet
from sim.net.port import Port
from sim.units import NS_PER_S
from sim.wire import udp
from sim.wire.address import Sock, pack_address
from tests.bench.measure import PAYLOAD_BYTES, Sample
from tests.net.scene import plug

SERVER: Sock = (pack_address("198.51.100.1"), 4500)
PRESETS = ("cgn", "symmetric", "linux")
_USED = 64
_PORTS_EACH = 1000
_FOREVER = 10**6 * NS_PER_S


@cache
def box(preset: str, count: int) -> tuple[NatBox, list[tuple[Sock, Sock]]]:
    """A box with so many mappings to one server, and some of them, inside and outside, spread over all."""
    sim = Simulation(1)
    profile = NAT_PRESETS[preset].override({"udp_timeout": _FOREVER, "udp_stream_timeout": _FOREVER})
    nat = NatBox(sim, "nat", outside="wan", profile=profile)
    plug(nat, "lan", "10.0.0.1/8")
    plug(nat, "wan", *(f"203.0.113.{1 + number}/24" for number in range(4)))
    nat.add_route(bytes(4), 0, nat.ports["wan"])
    chosen = []
    for number in range(count):
        host, port = divmod(number, _PORTS_EACH)
        inside = (pack_address("10.1.0.1")[:3] + bytes([host + 2]), 10_000 + port)
        # A tracker has one address: there each thousand talks to a server of its own.
        outside = nat.nat.outbound(17, inside, (_server(host), SERVER[1]), 0)
        assert outside is not None
        if number % max(1, count // _USED) == 0:
            chosen.append((inside, outside))
    return nat, chosen


def leaving(preset: str, count: int, packets: int) -> Sample:
    """Packets from inside of mappings that are there, through the whole box."""
    nat, chosen = box(preset, count)
    data = [udp.build(inside, _peer(inside), bytes(PAYLOAD_BYTES)) for inside, _ in chosen]
    return _pass(nat, nat.ports["lan"], data, packets)


def arriving(preset: str, count: int, packets: int) -> Sample:
    """Their answers."""
    nat, chosen = box(preset, count)
    data = [udp.build(_peer(inside), outside, bytes(PAYLOAD_BYTES)) for inside, outside in chosen]
    return _pass(nat, nat.ports["wan"], data, packets)


def _pass(nat: NatBox, port: Port, data: list[bytearray], packets: int) -> Sample:
    batch = [Packet(data[at % len(data)][:], 0) for at in range(packets)]
    before = nat.drops["port not connected"]
    start = time.process_time()
    for packet in batch:
        nat.receive(packet, port, 0)
    seconds = time.process_time() - start
    assert nat.drops["port not connected"] - before == packets, "each came out at the other side"
    return Sample(packets, seconds)


def _peer(inside: Sock) -> Sock:
    return _server(inside[0][3] - 2), SERVER[1]


def _server(host: int) -> bytes:
    return SERVER[0][:2] + bytes([host, 1])
