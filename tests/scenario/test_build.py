"""What a link, a node or an interface of the file becomes: measured in the run, not read from the object."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from sim.net.nat import NAT_PRESETS, NatBox
from sim.scenario.build import build
from sim.scenario.load import load_text
from sim.scenario.world import World
from sim.units import NS_PER_MS, NS_PER_S, NS_PER_US
from sim.wire.address import pack_address
from tests.scenario.base import TEXT

PAIR = """\
name: pair
duration: 20 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  b: {kind: host, interfaces: {eth: 192.0.2.2/24}}
links: [{ends: [a:eth, b:eth]}]
traffic:
  - {name: there, kind: cbr, from: a, to: b, size: 1000 B, rate: 800 kbit/s}
  - {name: back, kind: cbr, from: b, to: a, size: 500 B, rate: 400 kbit/s, start: 1 us}
"""
"""100 packets a second in each direction; `up` is from the first end to the second."""


def test_a_link_without_settings_takes_no_time() -> None:
    there, back = delays(run())
    assert set(there) == set(back) == {0}


def test_rate_is_the_time_that_the_whole_packet_takes() -> None:
    there, back = delays(run("links.0.rate=8 Mbit/s"))
    assert set(there) == {1000 * NS_PER_US}
    assert set(back) == {500 * NS_PER_US}


def test_rate_and_delay_may_differ_by_direction() -> None:
    there, back = delays(
        run("links.0.rate={up: 8 Mbit/s, down: 4 Mbit/s}", "links.0.delay={up: 5 ms, down: 9 ms}")
    )
    assert set(there) == {NS_PER_MS + 5 * NS_PER_MS}
    assert set(back) == {NS_PER_MS + 9 * NS_PER_MS}


def test_uniform_jitter_spreads_around_the_delay() -> None:
    """delay - scale to delay + scale, every value as often as any other."""
    there, _ = delays(run("links.0.delay=6 ms", "links.0.jitter=2 ms"))
    assert 4 * NS_PER_MS <= there.min() < 4.1 * NS_PER_MS
    assert 7.9 * NS_PER_MS < there.max() <= 8 * NS_PER_MS
    quarters = np.histogram(there, 4, (4 * NS_PER_MS, 8 * NS_PER_MS))[0]
    assert quarters == pytest.approx([len(there) / 4] * 4, rel=0.15)


def test_normal_jitter_has_the_delay_as_its_mean() -> None:
    there, _ = delays(run("links.0.delay=6 ms", "links.0.jitter={distribution: normal, scale: 1 ms}"))
    assert there.mean() == pytest.approx(6 * NS_PER_MS, rel=0.02)
    assert there.std() == pytest.approx(NS_PER_MS, rel=0.05)


def test_exponential_jitter_comes_on_top_of_the_delay() -> None:
    there, _ = delays(run("links.0.delay=6 ms", "links.0.jitter={distribution: exponential, scale: 1 ms}"))
    assert there.min() >= 6 * NS_PER_MS
    assert there.mean() == pytest.approx(7 * NS_PER_MS, rel=0.02)


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_jitter_wider_than_the_delay_makes_no_negative_delay(distribution: str) -> None:
    there, _ = delays(
        run("links.0.delay=1 ms", f"links.0.jitter={{distribution: {distribution}, scale: 3 ms}}")
    )
    assert 0 <= there.min() < 0.1 * NS_PER_MS
    assert there.max() > 3.5 * NS_PER_MS


def test_jitter_may_differ_by_direction() -> None:
    there, back = delays(run("links.0.delay=6 ms", "links.0.jitter={up: 1 ns, down: 2 ms}"))
    assert there.max() - there.min() <= 2
    assert back.max() - back.min() > 3 * NS_PER_MS


@pytest.mark.parametrize("reorder", [True, False])
def test_packets_overtake_each_other_only_where_that_is_allowed(reorder: bool) -> None:
    wide = ("links.0.delay=50 ms", "links.0.jitter=50 ms")
    world = run(*wide, f"links.0.reorder={str(reorder).lower()}")
    assert (world.flows["there"].record.reordered > 100) is reorder
    if not reorder:
        assert world.flows["there"].record.reordered == 0


def test_loss_is_a_share_of_the_packets_in_its_direction() -> None:
    world = run("links.0.loss={up: 20 %, down: 5 %}")
    there, back = (world.flows[name].record for name in ("there", "back"))
    assert 1 - there.received / there.sent == pytest.approx(0.2, abs=0.03)
    assert 1 - back.received / back.sent == pytest.approx(0.05, abs=0.02)
    assert world.nodes["a"].drops == {"lost on link": there.sent - there.received}


@pytest.mark.parametrize(
    ("limit", "waiting"), [("3 packets", 3), ("1 packet", 1), ("2500 B", 2), ("3 KiB", 3)]
)
def test_a_queue_holds_as_many_as_it_says(limit: str, waiting: int) -> None:
    """At half the rate that is sent, a packet waits behind those in the queue and the one on the wire."""
    world = run(
        f"links.0.queue={{up: {limit}, down: 100 packets}}", "links.0.rate={up: 400 kbit/s, down: 1 Gbit/s}"
    )
    there, _ = delays(world)
    serialise = 20 * NS_PER_MS
    assert waiting * serialise < there.max() <= (waiting + 1) * serialise
    assert world.nodes["a"].drops["queue full"] > 900
    assert world.nodes["b"].drops == {}


def test_mtu_is_the_longest_packet_that_passes() -> None:
    """Of packets that go whole or not at all."""
    whole = "traffic.0.pmtud=probe"
    at, below = run("links.0.mtu=1000 B", whole), run("links.0.mtu=999 B", whole)
    assert at.flows["there"].record.received == at.flows["there"].record.sent
    assert below.flows["there"].record.received == 0
    assert below.flows["back"].record.received == below.flows["back"].record.sent
    assert below.nodes["a"].drops["packet too big"] == below.flows["there"].record.sent


def test_an_interface_has_all_its_addresses() -> None:
    text = PAIR.replace("eth: 192.0.2.2/24", "eth: [192.0.2.2/24, '2001:db8::2/64']").replace(
        "eth: 192.0.2.1/24", "eth: ['2001:db8::1/64', 192.0.2.1/24]"
    )
    world = run(text=text)
    assert world.ports["b:eth"].addresses == [
        (pack_address("192.0.2.2"), 24),
        (pack_address("2001:db8::2"), 64),
    ]
    assert world.flows["there"].dst == pack_address("192.0.2.2"), "the target's first address"
    assert world.flows["back"].dst == pack_address("2001:db8::1")
    assert world.flows["back"].record.received == world.flows["back"].record.sent > 0


@pytest.mark.parametrize("preset", NAT_PRESETS)
def test_a_nat_is_its_preset(preset: str) -> None:
    assert nat(f"nodes.home.preset={preset}").nat.profile == NAT_PRESETS[preset]


def test_a_nat_differs_from_its_preset_where_the_file_says_so() -> None:
    box = nat(
        *("nodes.home.mapping=address-dependent", "nodes.home.filtering=endpoint-independent"),
        *("nodes.home.udp_timeout=7 s", "nodes.home.port_assignment=random"),
    )
    changes = {
        "mapping": "address-dependent",
        "filtering": "endpoint-independent",
        "udp_timeout": 7 * NS_PER_S,
        "port_assignment": "random",
    }
    assert box.nat.profile == NAT_PRESETS["home"].override(changes) != NAT_PRESETS["home"]


def test_hosts_do_not_forward_and_all_others_do() -> None:
    world = build(load_text(TEXT))
    assert {name: node.forwarding for name, node in world.nodes.items()} == {
        "alice": False, "home": True, "core": True, "moon": True, "bob": False,
    }  # fmt: skip


def test_only_ends_of_connections_have_ipsec() -> None:
    world = build(load_text(TEXT))
    assert set(world.stacks) == {"alice", "moon"}
    assert {name for name, node in world.nodes.items() if node.hook is not None} == {"alice", "moon"}


def test_an_interface_whose_first_event_brings_it_up_is_down_until_then() -> None:
    world = build(load_text(TEXT))
    assert {label for label, port in world.ports.items() if not port.up} == {"alice:lte"}
    world.sim.run(2 * NS_PER_S + 1)
    assert {label for label, port in world.ports.items() if not port.up} == {"alice:wlan"}


def test_a_world_begins_at_zero_and_has_done_nothing() -> None:
    world = build(load_text(TEXT))
    assert (world.sim.now, world.log) == (0, [])
    assert Counter(port.link.packets for port in world.ports.values() if port.link) == {0: 10}


def test_the_same_scenario_builds_worlds_that_share_nothing() -> None:
    scenario = load_text(TEXT)
    first, second = build(scenario), build(scenario)
    first.sim.run(NS_PER_S)
    assert (second.sim.now, second.log) == (0, [])
    second.sim.run(NS_PER_S)
    assert first.log == second.log


def run(*overrides: str, text: str = PAIR) -> World:
    scenario = load_text(text, overrides=overrides)
    world = build(scenario)
    world.sim.run(scenario.duration)
    return world


def delays(world: World) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of the packets that arrived, in both directions (ns)."""
    return world.flows["there"].record.latencies(), world.flows["back"].record.latencies()


def nat(*overrides: str) -> NatBox:
    box = build(load_text(TEXT, overrides=overrides)).nodes["home"]
    assert isinstance(box, NatBox)
    return box
