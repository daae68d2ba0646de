"""A flow that a gateway forwards gets a lane; the lane never does what the long way would not."""

from __future__ import annotations

from sim.ipsec.policy import Action, Policy
from sim.ipsec.verdict import Reason
from sim.net.packet import Packet
from sim.wire import ip, udp
from sim.wire.selector import Selector
from tests.tunnels.lab import ALICE, BOB, Lab


def lanes(lab: Lab, name: str) -> tuple[int, int]:
    """How many flows have one, of those that come in clear and of those that come out of an SA."""
    stack = lab.stack(name)
    return len(stack._lanes[False]), len(stack._lanes[True])


def warm(*overrides: str) -> Lab:
    """The tunnel is up and one flow has passed twice."""
    lab = Lab(*overrides).up()
    for _ in range(2):
        lab.send(df=True)
        lab.run()
    assert lab.boxes["bob"].seqs == [0, 1]
    assert (lanes(lab, "moon"), lanes(lab, "sun")) == ((1, 0), (0, 1))
    return lab


def test_a_lane_changes_no_octet() -> None:
    first, second = (Lab().up() for _ in range(2))
    second.stack("moon")._remember = lambda packet, data: None  # type: ignore[method-assign]
    ears = [lab.listen("moon:wan", "sun:lan") for lab in (first, second)]
    for lab in (first, second):
        for size in (100, 1000, 57):
            lab.send(size=size, df=True)
            lab.run()

    assert lanes(second, "moon") == (0, 0)
    assert ears[0].seen == ears[1].seen


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
    lab.world.nodes["sun"].receive(Packet(data, lab.now), lab.world.ports["sun:wan"], lab.now)
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
