"""A flow that a gateway forwards gets a lane; the lane never does what the long way would not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sim.ipsec.policy import Action, Policy
from sim.ipsec.verdict import Reason
from sim.net.packet import Packet
from sim.units import NS_PER_MS
from sim.wire import ip, udp
from sim.wire.address import pack_address
from sim.wire.selector import Selector
from tests.tunnels.lab import ALICE, BOB, Lab

SUN_INSIDE = pack_address("10.2.0.1")


def lanes(lab: Lab, name: str) -> tuple[int, int]:
    """How many flows have one, of those that come from links and of those that come out of an SA."""
    stack = lab.stack(name)
    return len(stack.lanes.outside), len(stack.lanes.inside)


def warm(*overrides: str) -> Lab:
    """The tunnel is up and one flow has passed twice."""
    lab = Lab(*overrides).up()
    for _ in range(2):
        lab.send(df=True)
        lab.run()
    assert lab.boxes["bob"].seqs == [0, 1]
    assert (lanes(lab, "moon"), lanes(lab, "sun")) == ((1, 0), (1, 1))
    return lab


def without_lanes(*overrides: str) -> Lab:
    lab = Lab(*overrides)
    for stack in lab.world.stacks.values():
        stack._remember = lambda packet, data: None  # type: ignore[method-assign]
        stack._remember_opening = lambda data: None  # type: ignore[method-assign]
        stack._came_out = lambda packet, opener: None  # type: ignore[method-assign]
    return lab.up()


@pytest.mark.parametrize("overrides", [(), ("tunnels.sites.encap=true",)], ids=["plain", "in UDP"])
def test_a_lane_changes_no_octet(overrides: tuple[str, ...]) -> None:
    first, second = Lab(*overrides).up(), without_lanes(*overrides)
    ears = [lab.listen("moon:wan", "sun:lan") for lab in (first, second)]
    for lab in (first, second):
        for size in (100, 1000, 57):
            lab.send(size=size, df=True)
            lab.run()

    assert lanes(first, "sun") == (1, 1)
    assert lanes(second, "moon") == lanes(second, "sun") == (0, 0)
    assert ears[0].seen == ears[1].seen


@pytest.mark.parametrize("overrides", [(), ("tunnels.sites.encap=true",)], ids=["plain", "in UDP"])
def test_both_ways_do_alike(overrides: tuple[str, ...]) -> None:
    """A packet of a known flow with anything changed: the same drops, the same counters, the same output."""
    labs = Lab(*overrides).up(), without_lanes(*overrides)
    heard = [lab.listen("moon:wan", "sun:lan", "sun:wan") for lab in labs]
    clear = udp.build((ALICE, 7777), (BOB, 9999), bytes(72), df=True)
    for _ in range(2):
        give(labs, "moon:lan", clear)
    for packet in variants(clear):
        give(labs, "moon:lan", packet)
        assert heard[0].seen == heard[1].seen
        assert state(labs[0]) == state(labs[1])
    sealed, twin = (lab.stack("moon").engine.outbound(clear[:], lab.now) for lab in labs)
    assert sealed == twin
    assert isinstance(sealed, bytearray)
    for packet in (*variants(sealed), sealed, sealed):
        give(labs, "sun:wan", packet)
        assert heard[0].seen == heard[1].seen
        assert state(labs[0]) == state(labs[1])


def give(labs: tuple[Lab, Lab], label: str, packet: bytearray) -> None:
    for lab in labs:
        port = lab.world.ports[label]
        port.node.enter(Packet(packet[:], lab.now), port, lab.now)
        lab.run(20 * NS_PER_MS)


def variants(packet: bytearray) -> Iterator[bytearray]:
    """With other octets, with a right header checksum or not, with any checksum, and shortened."""
    for at in (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 19, 20, 23, 24, 27, 28, 31, 35, len(packet) - 1):
        for value in (0, 1, 2, 3, ip.Protocol.UDP, 0x20, ip.Protocol.ESP, 0x46, 0xFF):
            changed = packet[:]
            changed[at] = value
            yield changed
            if 4 < changed[0] & 15 < 7:
                ip.write_checksum(changed)
                yield changed
    for checksum in (0, 0xFDFF, 0xFE00, 0xFEFE, 0xFEFF, 0xFF00, 0xFFFE):
        for hops in (0, 1):  # at the first gateway, at the second
            yield with_checksum(packet, (checksum - 0x100 * hops) % 0xFFFF)
    for size in (*range(0, 60, 3), len(packet) - 1):
        yield packet[:size]
        short = packet[:size]
        if size >= ip.IPV4_HEADER_BYTES:
            short[2:4] = size.to_bytes(2, "big")
            ip.write_checksum(short)
            yield short


def with_checksum(packet: bytearray, checksum: int) -> bytearray:
    """A sound packet with that header checksum, by its identification."""
    packet = packet[:]
    packet[4:6] = b"\0\0"
    ip.write_checksum(packet)
    difference = (packet[10] << 8 | packet[11]) - checksum
    packet[4:6] = (difference % 0xFFFF).to_bytes(2, "big")
    ip.write_checksum(packet)
    return packet


def state(lab: Lab) -> list[object]:
    pairs = [pair for stack in lab.world.stacks.values() for pair in stack.engine.sad.values()]
    return [
        [node.drops for node in lab.world.nodes.values()],
        [(p.inbound.packets, p.inbound.bytes, p.inbound.last_at, p.inbound.drops) for p in pairs],
        [(p.outbound.packets, p.outbound.bytes, p.outbound.last_at, p.outbound.seq) for p in pairs],
        [p.inbound.window.top for p in pairs],
    ]


def test_counters_count_packets_on_a_lane() -> None:
    lab = warm()
    engine = lab.stack("moon").engine
    inbound, outbound = engine.pair(next(iter(engine.sad)))
    before = outbound.packets
    lab.send(df=True)
    lab.run()

    assert outbound.packets == before + 1
    assert inbound.packets == 0


def test_a_flow_that_came_out_of_an_sa_may_not_come_in_clear() -> None:
    lab = warm()
    data = udp.build((ALICE, 7777), (BOB, 9999), bytes(72), df=True)
    lab.world.nodes["sun"].enter(Packet(data, lab.now), lab.world.ports["sun:wan"], lab.now)
    lab.run()

    assert lab.drops("sun") == {Reason.CLEAR_TEXT: 1}


def test_the_ttl_ends_on_a_lane_too() -> None:
    lab = warm()
    data = udp.build((ALICE, 7777), (BOB, 9999), bytes(72), df=True, ttl=1)
    lab.world.nodes["alice"].send(Packet(data, lab.now), lab.now)
    lab.run()

    assert lab.drops("moon") == {"TTL exceeded": 1}


def test_a_new_policy_takes_a_lane_away() -> None:
    lab = warm()
    everything = (Selector.from_prefix("0.0.0.0/0"),)
    lab.stack("moon").engine.spd.add(Policy("none", Action.DISCARD, everything, everything), first=True)
    lab.send(df=True)
    lab.run()

    assert lab.drops("moon") == {Reason.DISCARD_POLICY: 1}
    assert lab.boxes["bob"].seqs == [0, 1]


def test_the_end_of_an_sa_takes_a_lane_away() -> None:
    lab = warm()
    for name in ("moon", "sun"):
        stack = lab.stack(name)
        for spi_in in list(stack.engine.sad):
            stack.engine.remove(spi_in)
        assert lanes(lab, name) == (0, 0)


def test_a_lost_route_takes_a_lane_away() -> None:
    lab = warm()
    lab.world.ports["moon:wan"].set_up(False)
    lab.send(df=True)
    lab.run()

    assert lab.boxes["bob"].seqs == [0, 1]
    assert lab.drops("moon").keys() == {"no route"}


def test_moving_an_sa_takes_a_lane_away() -> None:
    lab = warm()
    engine = lab.stack("moon").engine
    (spi_in,) = engine.sad
    spec = engine.pair(spi_in)[1].spec
    engine.move(spi_in, spec.local, (ALICE, 4500), True)

    assert lanes(lab, "moon") == (0, 0)


def test_packets_too_long_for_a_lane_take_the_long_way() -> None:
    lab = warm()
    lab.send(size=1500, df=True)
    lab.run()

    assert lab.drops("moon") == {"packet too big": 1}


def test_icmp_and_fragments_get_no_lane() -> None:
    lab = Lab().up()
    body = bytes(64)
    for data in (
        ip.build(ALICE, BOB, ip.Protocol.ICMP, b"\x08\x00" + body),
        udp.build((ALICE, 1), (BOB, 2), body)[:],
    ):
        if data[9] == ip.Protocol.UDP:
            data[6] |= 0x20  # more fragments follow
            ip.write_checksum(data)
        lab.world.nodes["alice"].transmit(Packet(data, lab.now), lab.now)
        lab.run()

    assert lanes(lab, "moon") == (0, 0)


def test_a_lane_admits_what_its_own_sa_is_for() -> None:
    """Each packet is checked against the selectors of the SA that it came through (RFC 4301 5.2 step 4)."""
    lab = warm()
    narrow = (Selector.from_prefix("10.1.99.0/24"),)
    moon, sun = (lab.stack(name).engine for name in ("moon", "sun"))
    there = next(iter(moon.sad.values())).outbound.spec
    here = next(iter(sun.sad.values())).outbound.spec
    moon.install(replace(there, spi_in=0x7001, spi_out=0x7002, local_ts=narrow), lab.now)
    sun.install(replace(here, spi_in=0x7002, spi_out=0x7001, remote_ts=narrow), lab.now)
    for _ in range(2):
        lab.send(df=True)
        lab.run()
    for src in (pack_address("10.1.99.1"), ALICE):
        inner = udp.build((src, 7777), (BOB, 9999), bytes(72), df=True)
        sealed = moon.sad[0x7001].outbound.seal(inner, lab.now)
        assert isinstance(sealed, bytearray)
        lab.world.nodes["sun"].enter(Packet(sealed, lab.now), lab.world.ports["sun:wan"], lab.now)
    lab.run()

    assert lanes(lab, "sun") == (2, 2)
    assert lab.drops("sun") == {Reason.SELECTOR_MISMATCH: 1}
    assert sun.sad[0x7002].inbound.packets == 1


@pytest.mark.parametrize("overrides", [(), ("tunnels.sites.encap=true",)], ids=["plain", "in UDP"])
def test_a_flow_to_the_gateway_itself_has_a_lane_until_the_address_goes(overrides: tuple[str, ...]) -> None:
    first, second = Lab(*overrides).up(), without_lanes(*overrides)
    for lab in (first, second):
        for size in (100, 1000, 57):
            lab.send(dst=SUN_INSIDE, size=size, df=True)
            lab.run()
    assert first.boxes["sun"] == replace(second.boxes["sun"], node=first.world.nodes["sun"])
    assert len(first.boxes["sun"].seqs) == 3
    assert state(first) == state(second)
    assert (lanes(first, "sun"), lanes(second, "sun")) == ((1, 1), (0, 0))

    first.world.ports["sun:lan"].remove_address(SUN_INSIDE)
    assert lanes(first, "sun") == (0, 0)
