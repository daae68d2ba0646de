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
from sim.wire.address import Sock
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

    def __init__(self, overrides: list[str] = _OVERRIDES, until: int = NS_PER_S) -> None:
        self.world: World = sim.build(sim.load(_TOPOLOGY, overrides), seed=1)
        self.heard = Heard()
        for label in ("alice:wlan", "alice:lte", "moon:wan"):
            self.world.ports[label].tap = self.heard
        self.world.sim.run(until)
        self.ping()
        self.before = self.state()
        self.first_sas = self.sas()

    def ping(self) -> bool:
        """Whether a datagram gets from alice to moon's network and back."""
        alice, bob = self.world.nodes["alice"], self.world.nodes["bob"]
        got: list[bytes] = []
        bob.udp.setdefault(7, lambda payload, src, dst, now: None)
        bob.udp[7] = lambda payload, src, dst, now: got.append(payload)
        alice.send_udp(b"hello", (_ALICE, 7), (bytes((10, 1, 0, 10)), 7), self.world.sim.now)
        self.world.sim.run(self.world.sim.now + NS_PER_S)
        return got == [b"hello"]

    def alive(self) -> bool:
        """Whether either end gets an answer from the other to an IKE request of its own."""
        for stack in self.world.stacks.values():
            (sa,) = (sa for sa in stack.endpoint.sas if sa.state == "established")
            stack.endpoint.check_liveness(sa.ike_id, self.world.sim.now)
            stack.pump(self.world.sim.now)
            self.world.sim.run(self.world.sim.now + NS_PER_S)
            (after,) = (sa for sa in stack.endpoint.sas if sa.state == "established")
            if after.sent == sa.sent or after.received == sa.received:
                return False
        return True

    def works(self) -> bool:
        return self.ping() and self.alive()

    def inject(self, label: str, data: Buf) -> None:
        port = self.world.ports[label]
        now = self.world.sim.now
        port.node.receive(Packet(bytearray(data), now), port, now)
        self.world.sim.run(now + NS_PER_S // 100)

    def state(self) -> list[object]:
        """All that a forged packet must not change: SAs, addresses, windows, what was counted as good."""
        return list(self._states())

    def sas(self) -> list[object]:
        """Which SAs there are, and between which addresses."""
        return [
            (spi, pair.outbound.spec, pair.inbound.spec)
            for stack in self.world.stacks.values()
            for spi, pair in stack.engine.sad.items()
        ]

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


@cache
def busy() -> Live:
    """Another, whose SAs may be used."""
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


_KNOWN = [_ALICE, _MOON, _HOME, bytes((100, 64, 0, 10)), bytes((198, 18, 0, 10)), bytes((10, 1, 0, 10))]


@pytest.mark.parametrize("label", PORTS)
@given(
    src=st.sampled_from(_KNOWN),
    dst=st.sampled_from(_KNOWN),
    protocol=st.sampled_from([1, 4, 6, 17, 41, 50, 51, 58, 99]),
    body=st.binary(max_size=120),
    ttl=st.integers(0, 3),
)
@settings(max_examples=60)
def test_any_protocol_between_known_addresses(
    label: str, src: bytes, dst: bytes, protocol: int, body: bytes, ttl: int
) -> None:
    """Sound headers around anything: routed, translated, perhaps tunnelled, and delivered or dropped."""
    world = busy()
    world.inject(label, ip.build(src, dst, protocol, body, ttl=ttl))

    assert world.sas() == world.first_sas


def test_every_packet_of_the_set_up_replayed_changes_nothing() -> None:
    world = Live()
    for label, data in list(world.heard.packets):
        world.inject(label, data)
        assert world.state() == world.before
    assert world.works()


def test_every_packet_of_a_run_replayed_moves_nobody() -> None:
    """Also those that did move somebody once: MOBIKE's updates, and ESP after the NAT had rebound."""
    overrides = [
        *("traffic.web.start=39 s", "traffic.up.rate=40 kbit/s", "events.0.at=3 s", "events.1.at=6 s"),
        *("traffic.up.stop=12 s", "traffic.echo.count=44", "duration=40 s", "checks=[]"),
    ]
    world = Live(overrides, 12 * NS_PER_S)
    packets = list(world.heard.packets)
    moved = [data for label, data in packets if label == "alice:lte"]
    assert len(moved) > 20
    world.world.sim.run(world.world.sim.now + NS_PER_S)
    before = world.state()
    for label, data in packets:
        if label in ("moon:wan", "alice:lte", "alice:wlan"):
            world.inject(label, data)
            assert world.state() == before
    assert world.alive()


def test_every_truncation_of_every_packet_is_noticed_and_changes_nothing() -> None:
    """Cut behind the UDP header, with lengths and checksums put right, so that IKE and ESP see the cut."""
    world = Live()
    for label, data in {entry[1][20:60]: entry for entry in world.heard.packets}.values():
        _, _, payload = datagram(data)
        for size in range(len(payload)):
            before = world.noticed()
            world.inject(label, rebuilt(data, payload[:size]))
            assert world.noticed() > before, f"{size} octets of {len(payload)}"
    assert world.state() == world.before
    assert world.works()


def test_every_flipped_bit_of_every_protected_packet_is_noticed_and_changes_nothing() -> None:
    world = Live()
    protected = [entry for entry in world.heard.packets if datagram(entry[1])[1][1] == 4500]
    assert {len(datagram(data)[2]) for _, data in protected}
    for label, data in protected:
        for payload in flips(datagram(data)[2]):
            before = world.noticed()
            world.inject(label, rebuilt(data, payload))
            assert world.noticed() > before
    assert world.state() == world.before
    assert world.works()


def test_flipped_bits_in_ike_sa_init_leave_what_is_established_alone() -> None:
    """A changed request is a request of somebody else: half-open, bounded, and forgotten."""
    world = Live()
    first = [entry for entry in world.heard.packets if datagram(entry[1])[1][1] == 500]
    assert len(first) == 2
    counts = set()
    for label, data in first:
        for payload in flips(datagram(data)[2]):
            world.inject(label, rebuilt(data, payload))
            counts.add(half_open(world))
    assert 0 < max(counts) <= LIMIT
    assert world.state() == world.before
    world.world.sim.run(world.world.sim.now + 31 * NS_PER_S)
    assert half_open(world) == 0
    assert world.works()


def test_a_forged_error_does_not_end_a_set_up() -> None:
    """Unprotected answers to IKE_SA_INIT are from anybody (RFC 7296 2.21.1): the real one still counts."""
    world = sim.build(sim.load(_TOPOLOGY, _OVERRIDES), seed=1)
    sent: list[bytes] = []
    world.ports["alice:wlan"].tap = lambda port, data, at, outbound: sent.append(bytes(data))
    world.sim.run(NS_PER_S // 500)
    (request,) = sent
    spi_i = datagram(request)[2][:8]
    alice, port = world.nodes["alice"], world.ports["alice:wlan"]
    for notify in (7, 14, 24):  # INVALID_SYNTAX, NO_PROPOSAL_CHOSEN, AUTHENTICATION_FAILED
        body = bytes((0, 0, 0, 8, 0, 0)) + notify.to_bytes(2, "big")
        header = spi_i + bytes(8) + bytes((41, 0x20, 34, 0x20)) + bytes(4) + (28 + 8).to_bytes(4, "big")
        forged = udp.build((_MOON, 500), (_ALICE, 500), header + body)
        alice.receive(Packet(forged, world.sim.now), port, world.sim.now)
    world.sim.run(NS_PER_S)
    assert [sa.state for sa in world.stacks["alice"].endpoint.sas] == ["established"]


LIMIT = 5  # `block_threshold` of the endpoint: so many half-open SAs from one address, RFC 7296 2.6


def half_open(world: Live) -> int:
    """SAs that are not established, at both ends."""
    stacks = world.world.stacks.values()
    return sum(sa.state == "half-open" for stack in stacks for sa in stack.endpoint.sas)


def flips(payload: bytes) -> Iterator[bytes]:
    """The payload with one bit changed, for every bit."""
    for at in range(len(payload)):
        for bit in range(8):
            yield payload[:at] + bytes((payload[at] ^ 1 << bit,)) + payload[at + 1 :]


def datagram(data: bytes) -> tuple[Sock, Sock, bytes]:
    """Source, destination and payload."""
    header = ip.parse(data)
    parsed = udp.parse(data, header.upper_offset)
    payload = data[header.upper_offset + udp.UDP_HEADER_BYTES :]
    return (header.src, parsed.src_port), (header.dst, parsed.dst_port), payload


def rebuilt(data: bytes, payload: bytes) -> bytearray:
    """The datagram with another payload, its lengths and checksums right."""
    src, dst, _ = datagram(data)
    return udp.build(src, dst, payload)
