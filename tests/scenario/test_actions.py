"""The `events:` of a file: what each does, when, and what is written down."""

from __future__ import annotations

import pytest

from sim.net.nat import NatBox
from sim.scenario.actions import initially_down
from sim.scenario.build import build
from sim.scenario.load import load_text
from sim.scenario.world import World
from sim.units import NS_PER_MS, NS_PER_S
from tests.scenario.base import TEXT

MOVE = "{at: 1 s, node: alice, do: move, from: wlan, to: lte}"


def test_a_move_without_a_gap_takes_no_time() -> None:
    world = at_work(MOVE)
    changes = watch(world)
    world.sim.run(2 * NS_PER_S)
    assert changes == [(NS_PER_S, {"wlan", "lte"}), (NS_PER_S, {"lte"})], "never without a network"


def test_a_move_with_a_gap_has_nothing_in_between() -> None:
    world = at_work(MOVE.replace("}", ", gap: 300 ms}"))
    changes = watch(world)
    world.sim.run(2 * NS_PER_S)
    assert changes == [(NS_PER_S, set()), (NS_PER_S + 300 * NS_PER_MS, {"lte"})]


def test_down_and_up_switch_one_interface() -> None:
    events = (
        "{at: 1 s, node: alice, do: down, interface: wlan}, {at: 2 s, node: alice, do: up, interface: wlan}"
    )
    world = at_work(events)
    changes = watch(world)
    world.sim.run(3 * NS_PER_S)
    assert changes == [(NS_PER_S, {"lte"}), (2 * NS_PER_S, {"lte", "wlan"})]


def test_an_interface_that_is_down_carries_nothing() -> None:
    events = "{at: 1 s, node: bob, do: down, interface: eth}, {at: 2 s, node: bob, do: up, interface: eth}"
    world = at_work(events)
    world.sim.run(3 * NS_PER_S)
    arrivals = [at for at in world.flows["up"].record.received_at if at >= 0]
    gap = [at for at in arrivals if NS_PER_S <= at < 2 * NS_PER_S]
    assert gap == []
    assert min(arrivals) < NS_PER_S < 2 * NS_PER_S < max(arrivals)


def test_a_rebinding_moves_every_mapping_to_another_port() -> None:
    world = at_work("{at: 1 s, node: home, do: rebind}")
    home = world.nodes["home"]
    assert isinstance(home, NatBox)
    world.sim.run(NS_PER_S)
    before = remote_port(world)
    world.sim.run(NS_PER_S + 200 * NS_PER_MS)
    assert remote_port(world) != before


@pytest.mark.parametrize(
    ("event", "node", "words"),
    [
        (MOVE, "alice", "alice moves from wlan to lte"),
        (
            MOVE.replace("}", ", gap: 300 ms}"),
            "alice",
            "alice moves from wlan to lte, lte is up after 300 ms",
        ),
        ("{at: 1 s, node: home, do: rebind}", "home", "home gives every mapping another external port"),
        ("{at: 1 s, node: bob, do: down, interface: eth}", "bob", "bob:eth goes down"),
        ("{at: 1 s, node: alice, do: up, interface: lte}", "alice", "alice:lte comes up"),
    ],
)
def test_an_event_is_a_row_of_the_events_table(event: str, node: str, words: str) -> None:
    world = at_work(event)
    world.sim.run(2 * NS_PER_S)
    kind = event.split("do: ")[1].split(",")[0].strip("}")
    rows = [(entry.at, entry.node, entry.detail) for entry in world.log if entry.event == kind]
    assert rows == [(NS_PER_S, node, words)]


def test_events_of_one_instant_happen_in_the_order_of_the_file() -> None:
    down, up = (
        "{at: 1 s, node: bob, do: down, interface: eth}",
        "{at: 1 s, node: bob, do: up, interface: eth}",
    )
    for events, last in ((f"{down}, {up}", True), (f"{up}, {down}", False)):
        world = at_work(events)
        world.sim.run(2 * NS_PER_S)
        assert world.ports["bob:eth"].up is last
        assert [entry.event for entry in world.log if entry.event in ("up", "down")][-1] == (
            "up" if last else "down"
        )


def test_the_order_of_the_file_does_not_matter_otherwise() -> None:
    events = "{at: 2 s, node: bob, do: up, interface: eth}, {at: 1 s, node: bob, do: down, interface: eth}"
    world = at_work(events)
    world.sim.run(NS_PER_S + 1)
    assert not world.ports["bob:eth"].up
    world.sim.run(2 * NS_PER_S + 1)
    assert world.ports["bob:eth"].up


@pytest.mark.parametrize(
    ("events", "down"),
    [
        (MOVE, {"alice:lte"}),
        ("{at: 1 s, node: alice, do: up, interface: lte}", {"alice:lte"}),
        ("{at: 1 s, node: alice, do: down, interface: lte}", set()),
        ("{at: 1 s, node: home, do: rebind}", set()),
        (
            f"{MOVE}, {{at: 500 ms, node: alice, do: down, interface: lte}}",
            set(),
        ),
        (f"{MOVE}, {{at: 2 s, node: alice, do: move, from: lte, to: wlan}}", {"alice:lte"}),
        ("{at: 0 s, node: alice, do: up, interface: wlan}", {"alice:wlan"}),
        ("", set()),
    ],
)
def test_an_interface_is_down_until_what_first_brings_it_up(events: str, down: set[str]) -> None:
    assert initially_down(load_text(TEXT, overrides=[f"events=[{events}]"]).events) == down


def test_an_event_at_zero_happens() -> None:
    world = at_work("{at: 0 s, node: alice, do: up, interface: lte}")
    world.sim.run(1)
    assert world.ports["alice:lte"].up


def at_work(events: str) -> World:
    return build(load_text(TEXT, overrides=[f"events=[{events}]", "checks=[]"]))


def watch(world: World) -> list[tuple[int, set[str]]]:
    """When which of alice's interfaces were up, at every change from now on."""
    changes: list[tuple[int, set[str]]] = []
    alice = world.nodes["alice"]

    def note(now: int) -> None:
        changes.append((now, {name for name, port in alice.ports.items() if port.up}))

    alice.on_port_change.append(note)
    return changes


def remote_port(world: World) -> int:
    """Where moon sends alice's ESP."""
    ((_, outbound, _),) = world.stacks["moon"].engine.sad.values()
    port: int = outbound.spec.remote[1]
    return port
