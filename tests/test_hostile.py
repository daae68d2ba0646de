"""Any octets, on any port of any node: a counter goes up with a reason, and nothing else happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.ipsec.replay import ReplayWindow
from sim.net.packet import Packet
from sim.net.port import Port
from sim.scenario.world import World
from sim.units import NS_PER_S
from sim.wire import ip, udp
from sim.wire.buffer import Buf

_TOPOLOGY = "topologies/road-warrior-mobike.yaml"
_OVERRIDES = ["traffic=[]", "checks=[]", "events=[]", "links.0.loss=0 %"]
_ALICE, _MOON, _HOME = bytes((192, 168, 1, 10)), bytes((198, 51, 100, 1)), bytes((203, 0, 113, 10))


@dataclass
class Heard:
    """Every packet at the ports of the tunnel's ends, as it was."""

    packets: list[tuple[str, bytes]] = field(default_factory=list)

    def __call__(self, port: Port, data: bytearray, _at: int, outbound: bool) -> None:
        if not outbound:
            self.packets.append((repr(port), bytes(data)))


class Live:
    """A road warrior whose tunnel is up, and all that its set-up sent."""

    def __init__(self) -> None:
        self.world: World = sim.build(sim.load(_TOPOLOGY, _OVERRIDES), seed=1)
        self.heard = Heard()
        for label in ("alice:wlan", "moon:wan"):
            self.world.ports[label].tap = self.heard
        self.world.sim.run(NS_PER_S)
        self.ping()
        self.before = self.state()

    def ping(self) -> bool:
        """Whether a datagram gets from alice to moon's network and back."""
        alice, bob = self.world.nodes["alice"], self.world.nodes["bob"]
        got: list[bytes] = []
        bob.udp.setdefault(7, lambda payload, src, dst, now: None)
        bob.udp[7] = lambda payload, src, dst, now: got.append(payload)
        alice.send_udp(b"hello", (_ALICE, 7), (bytes((10, 1, 0, 10)), 7), self.world.sim.now)
        self.world.sim.run(self.world.sim.now + NS_PER_S)
        return got == [b"hello"]

    def inject(self, label: str, data: Buf) -> None:
        port = self.world.ports[label]
        now = self.world.sim.now
        port.node.receive(Packet(bytearray(data), now), port, now)
        self.world.sim.run(now + NS_PER_S // 100)

    def state(self) -> list[object]:
        """All that a forged packet must not change: SAs, addresses, windows, what was counted as good."""
        return list(self._states())

    def noticed(self) -> int:
        """How often anything was dropped or rejected, or an ICMP message was taken note of."""
        drops = sum(sum(node.drops.values()) for node in self.world.nodes.values())
        rejects = sum(sum(stack.endpoint.counters.values()) for stack in self.world.stacks.values())
        return drops + rejects

    def _states(self) -> Iterator[object]:
        for stack in self.world.stacks.values():
            for sa in stack.endpoint.sas:
                if sa.state == "established":
                    yield (sa.spi_i, sa.spi_r, sa.local, sa.remote, sa.encap, sa.nat_local, sa.nat_remote)
            for spi, pair in stack.engine.sad.items():
                yield spi, pair.outbound.spec, pair.inbound.spec, window(pair.inbound.window)
            yield len(stack.engine.spd)


def window(replay: ReplayWindow) -> tuple[int, list[int]]:
    return replay.top, [seq for seq in range(replay.top + 1) if not replay.check(seq)]


@cache
def live() -> Live:
    return Live()


PORTS = [
    "alice:wlan", "alice:lte", "home:lan", "home:wan", "carrier:cell", "carrier:wan",
    "core:home", "core:moon", "moon:wan", "moon:lan", "bob:eth",
]  # fmt: skip


@pytest.mark.parametrize("label", PORTS)
@given(data=st.binary(max_size=200))
@settings(max_examples=60)
def test_any_octets_on_any_port(label: str, data: bytes) -> None:
    world, before = live(), live().noticed()
    world.inject(label, data)

    assert world.noticed() > before
    assert world.state() == world.before


@pytest.mark.parametrize("port", [500, 4500])
@pytest.mark.parametrize(("label", "src", "dst"), [("moon:wan", _HOME, _MOON), ("alice:wlan", _MOON, _ALICE)])
@given(payload=st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: bytes(4) + tail))
@settings(max_examples=100)
def test_any_octets_to_the_ports_of_ike(
    port: int, label: str, src: bytes, dst: bytes, payload: bytes
) -> None:
    world, before = live(), live().noticed()
    world.inject(label, udp.build((src, port), (dst, port), payload))

    assert world.noticed() > before
    assert world.state() == world.before


@given(octets=st.binary(max_size=200), known=st.booleans())
@settings(max_examples=100)
def test_any_octets_as_esp(octets: bytes, known: bool) -> None:
    world, before = live(), live().noticed()
    spi = next(iter(world.world.stacks["moon"].engine.sad)).to_bytes(4, "big") if known else b""
    world.inject("moon:wan", ip.build(_HOME, _MOON, ip.Protocol.ESP, spi + octets))

    assert world.noticed() > before
    assert world.state() == world.before


def test_every_packet_of_the_set_up_replayed_changes_nothing() -> None:
    world = Live()
    for label, data in list(world.heard.packets):
        world.inject(label, data)
        assert world.state() == world.before
    assert world.ping()


def test_every_truncation_of_every_packet_changes_nothing() -> None:
    """Cut behind the UDP header, with lengths and checksums put right, so that IKE and ESP see the cut."""
    world = Live()
    for label, data in {entry[1][20:60]: entry for entry in world.heard.packets}.values():
        header = ip.parse(data)
        datagram = udp.parse(data, header.upper_offset)
        payload = data[header.upper_offset + udp.UDP_HEADER_BYTES :]
        for size in range(len(payload)):
            src, dst = (header.src, datagram.src_port), (header.dst, datagram.dst_port)
            world.inject(label, udp.build(src, dst, payload[:size]))
    assert world.state() == world.before
    assert world.ping()


def test_every_flipped_bit_of_every_protected_packet_changes_nothing() -> None:
    """One bit of every octet of IKE_AUTH and of ESP; IKE_SA_INIT protects nothing but its own exchange."""
    world = Live()
    protected = [
        entry for entry in world.heard.packets if ip.parse(entry[1]).total_length and _port(entry[1]) == 4500
    ]
    for label, data in protected:
        header = ip.parse(data)
        datagram = udp.parse(data, header.upper_offset)
        payload = bytearray(data[header.upper_offset + udp.UDP_HEADER_BYTES :])
        for at in range(len(payload)):
            flipped = bytes(payload[:at]) + bytes((payload[at] ^ 1 << at % 8,)) + bytes(payload[at + 1 :])
            src, dst = (header.src, datagram.src_port), (header.dst, datagram.dst_port)
            world.inject(label, udp.build(src, dst, flipped))
    assert protected
    assert world.state() == world.before
    assert world.ping()


def _port(data: bytes) -> int:
    return udp.parse(data, ip.parse(data).upper_offset).dst_port
