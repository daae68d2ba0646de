"""The `events:` of a file: what each does, when, and what is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.experiment.flows import outage_entries
from sim.ike.events import Reason
from sim.ipsec.verdict import BYPASS
from sim.net.nat import NatBox
from sim.scenario.actions import initially_down
from sim.scenario.build import build
from sim.scenario.load import load_text
from sim.scenario.world import World
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import udp
from sim.wire.address import pack_address
from tests.scenario.base import TEXT

MOVE = "{at: 1 s, node: alice, do: move, from: wlan, to: lte}"
WHEN_UP = "when: {connection: rw, is: established}"


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
        (
            MOVE.replace("}", ", overlap: 1 s}"),
            "alice",
            "alice moves from wlan to lte, wlan goes down after 1 s",
        ),
        (
            "{at: 1 s, node: bob, do: flap, interface: eth, gap: 1 s}",
            "bob",
            "bob:eth goes down for 1 s",
        ),
        (
            "{at: 1 s, node: home, do: rebind, address: 198.18.0.9/24}",
            "home",
            "home has another external address: 198.18.0.9",
        ),
        ("{at: 1 s, node: home, do: reboot}", "home", "home restarts"),
        (
            "{at: 1 s, node: moon, do: reboot, gap: 300 ms}",
            "moon",
            "moon restarts, and is away for 300 ms",
        ),
        (
            "{at: 1 s, node: home, do: retime, udp_timeout: 5 s}",
            "home",
            "home has other timeouts: udp_timeout 5 s",
        ),
        ("{at: 1 s, node: home, do: exhaust}", "home", "home has no port left for new mappings"),
        (
            "{at: 1 s, node: core, do: block, rule: r, protocol: udp, port: 500, network: 10.0.0.0/8}",
            "core",
            "core drops udp port 500 from and to 10.0.0.0/8 (rule r)",
        ),
        (
            "{at: 1 s, node: bob, do: add-address, interface: eth, address: 10.1.0.99/16}",
            "bob",
            "bob:eth has another address: 10.1.0.99/16",
        ),
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
        (MOVE.replace("at: 1 s", WHEN_UP), {"alice:lte"}),
        (f"{MOVE.replace('at: 1 s', WHEN_UP)}, {MOVE}", {"alice:lte"}),
        (f"{{{WHEN_UP}, node: alice, do: down, interface: lte}}", set()),
        (
            f"{{{WHEN_UP}, node: alice, do: up, interface: lte}}, "
            "{at: 1 s, node: alice, do: down, interface: lte}",
            set(),
        ),
        ("", set()),
    ],
)
def test_an_interface_is_down_until_what_first_brings_it_up(events: str, down: set[str]) -> None:
    scenario = load_text(TEXT, overrides=[f"events=[{events}]"])
    assert initially_down(scenario.events, scenario.duration) == down


def test_an_interface_that_goes_down_while_it_is_down_comes_up_after_the_last_time() -> None:
    flap = "node: alice, do: flap, interface: wlan, gap: 500 ms"
    world = at_work(f"{{at: 1 s, every: 250 ms, times: 3, {flap}}}")
    changes = watch(world)
    world.sim.run(3 * NS_PER_S)
    assert changes == [(NS_PER_S, {"lte"}), (2 * NS_PER_S, {"lte", "wlan"})]


@pytest.mark.parametrize("gap", ["500 ms", "0 s"])
def test_a_node_that_restarts_while_it_is_away_comes_back_after_the_last_time(gap: str) -> None:
    world = at_work(
        f"{{at: 1 s, node: home, do: reboot, gap: 1 s}}, {{at: 1800 ms, node: home, do: reboot, gap: {gap}}}"
    )
    back = 2 * NS_PER_S + (300 * NS_PER_MS if gap == "500 ms" else 0)
    for at, up in ((NS_PER_S + 1, False), (back - 1, False), (back + 1, True)):
        world.sim.run(at)
        assert {port.up for port in world.nodes["home"].ports.values()} == {up}, at


@pytest.mark.parametrize(("gap", "later"), [("1 s", False), ("200 ms", False), ("0 s", True)])
def test_a_nat_is_exhausted_until_the_last_of_several_gives_ports_back(gap: str, later: bool) -> None:
    first = "{at: 1 s, node: home, do: exhaust, gap: 1 s}"
    world = at_work(f"{first}, {{at: 1500 ms, node: home, do: exhaust, gap: {gap}}}")
    box = world.nodes["home"]
    assert isinstance(box, NatBox)
    back = 2500 if gap == "1 s" else 2000
    for at_ms, exhausted in ((1900, True), (back - 1, True), (back + 1, later)):
        world.sim.run(at_ms * NS_PER_MS)
        assert box.nat.exhausted is exhausted, at_ms


def test_a_move_with_an_overlap_has_both_for_a_while() -> None:
    world = at_work(MOVE.replace("}", ", overlap: 300 ms}"))
    changes = watch(world)
    world.sim.run(2 * NS_PER_S)
    assert changes == [(NS_PER_S, {"wlan", "lte"}), (NS_PER_S + 300 * NS_PER_MS, {"lte"})]


def test_an_event_may_happen_again_and_again() -> None:
    flap = "{at: 1 s, every: 500 ms, times: 3, node: alice, do: flap, interface: wlan, gap: 100 ms}"
    world = at_work(flap)
    world.sim.run(3 * NS_PER_S)
    assert [entry.at for entry in world.log if entry.event == "flap"] == [
        NS_PER_S + step * 500 * NS_PER_MS for step in range(3)
    ]
    assert world.ports["alice:wlan"].up


def test_an_event_may_wait_for_a_connection() -> None:
    world = at_work(
        "{when: {connection: rw, is: established, node: moon}, after: 70 ms, node: home, do: rebind}"
    )
    world.sim.run(3 * NS_PER_S)
    (up,) = [entry.at for entry in world.log if (entry.event, entry.node) == ("ike up", "moon")]
    assert [entry.at for entry in world.log if entry.event == "rebind"] == [up + 70 * NS_PER_MS]


def test_a_condition_may_come_true_several_times() -> None:
    told = "{when: {connection: rw, is: moved, node: alice}, times: 2, node: bob, do: up, interface: eth}"
    back = "{at: 1500 ms, node: alice, do: move, from: lte, to: wlan}"
    moves = f"{MOVE}, {back}, {MOVE.replace('1 s', '2 s')}"
    world = at_work(f"{moves}, {told}")
    world.sim.run(3 * NS_PER_S)
    assert len([entry for entry in world.log if entry.event == "up"]) == 2


def test_a_new_external_address_replaces_the_old_one() -> None:
    world = at_work("{at: 1 s, node: home, do: rebind, address: 198.18.0.77/24}")
    world.sim.run(2 * NS_PER_S)
    home = world.nodes["home"]
    assert isinstance(home, NatBox)
    assert home.nat.addresses == (bytes([198, 18, 0, 77]),)
    record = next(iter(world.stacks["moon"].ledger.records.values()))
    assert record.esp_remote is not None
    assert record.esp_remote[0] == home.nat.addresses[0], "ESP follows it (RFC 4555 3.8)"


def test_a_nat_that_reboots_has_no_mappings() -> None:
    world = at_work("{at: 1 s, node: home, do: reboot, gap: 50 ms}")
    home = world.nodes["home"]
    assert isinstance(home, NatBox)
    world.sim.run(NS_PER_S + 10 * NS_PER_MS)
    assert len(home.nat) == 0
    assert not any(port.up for port in home.ports.values())
    world.sim.run(NS_PER_S + 60 * NS_PER_MS)
    assert all(port.up for port in home.ports.values())


@pytest.mark.parametrize("node", ["alice", "moon"])
def test_a_peer_that_reboots_knows_no_sa_and_tells_nobody(node: str) -> None:
    world = at_work(f"{{at: 1 s, node: {node}, do: reboot, gap: 500 ms}}")
    world.sim.run(NS_PER_S + 1)
    stack = world.stacks[node]
    assert (list(stack.endpoint.sas), dict(stack.engine.sad)) == ([], {})
    (record,) = stack.ledger.records.values()
    assert (record.state, record.reason) == ("closed", Reason.CRASHED)
    other = world.stacks["moon" if node == "alice" else "alice"]
    world.sim.run(NS_PER_S + 400 * NS_PER_MS)
    assert [r.state for r in other.ledger.records.values()] == ["established"], "nobody has told it"


def test_an_initiator_calls_again_when_it_is_back() -> None:
    world = at_work("{at: 1 s, node: alice, do: reboot, gap: 200 ms}")
    world.sim.run(2 * NS_PER_S)
    assert [r.state for r in world.stacks["alice"].ledger.records.values()] == ["closed", "established"]
    sent, received = world.flows["up"].record.sent, world.flows["up"].record.received
    assert 0 < sent - received < 40, "what fell into the restart"


def test_policies_outlive_a_restart() -> None:
    """RFC 4301 4.4.1: without an SA nothing goes in clear."""
    world = at_work("{at: 1 s, node: moon, do: reboot, gap: 1 ms}")
    world.sim.run(NS_PER_S + 300 * NS_PER_MS)
    answer = udp.build((pack_address("10.1.0.10"), 9), (pack_address("192.168.1.10"), 1), b"")
    assert world.stacks["moon"].engine.outbound(answer, world.sim.now) is not BYPASS


def test_an_exhausted_nat_keeps_what_it_has() -> None:
    world = at_work("{at: 1 s, node: home, do: exhaust, gap: 500 ms}")
    home = world.nodes["home"]
    assert isinstance(home, NatBox)
    world.sim.run(1200 * NS_PER_MS)
    stranger, remote = (pack_address("192.168.1.99"), 7), (pack_address("198.51.100.1"), 9)
    assert home.nat.outbound(17, stranger, remote, world.sim.now) is None
    assert world.flows["up"].record.received > 60
    world.sim.run(1600 * NS_PER_MS)
    assert home.nat.outbound(17, stranger, remote, world.sim.now) is not None


def test_a_reboot_gives_an_exhausted_nat_its_ports_back() -> None:
    world = at_work("{at: 1 s, node: home, do: exhaust}, {at: 2 s, node: home, do: reboot}")
    home = world.nodes["home"]
    assert isinstance(home, NatBox)
    world.sim.run(1500 * NS_PER_MS)
    assert home.nat.exhausted
    world.sim.run(2100 * NS_PER_MS)
    assert not home.nat.exhausted


def test_a_rule_drops_until_it_is_lifted() -> None:
    block = "{at: 1 s, node: core, do: block, rule: natt, protocol: udp, port: 4500}"
    world = at_work(f"{block}, {{at: 1500 ms, node: core, do: unblock, rule: natt}}")
    world.sim.run(3 * NS_PER_S)
    arrivals = [at for at in world.flows["up"].record.received_at if at >= 0]
    gap = [at for at in arrivals if NS_PER_S + 20 * NS_PER_MS < at < 1500 * NS_PER_MS]
    assert gap == []
    assert max(arrivals) > 2900 * NS_PER_MS
    assert world.nodes["core"].drops["firewall"] == 50


def test_a_black_hole_that_a_rule_makes_is_explained_as_one() -> None:
    """By the same words as `drop_icmp`: an outage says who kept the source from hearing of the MTU."""
    text = Path("topologies/mtu-black-hole.yaml").read_text()
    wall = "{at: 0 s, node: wall, do: block, rule: icmp, protocol: icmp-errors}"
    hole = sim.run(load_text(text, overrides=["nodes.wall.drop_icmp=[]", f"events=[{wall}]", "checks=[]"]))
    told = [entry.detail for entry in outage_entries(hole.world)]
    assert any("wall dropped the ICMP that says so" in detail for detail in told), told


def test_timeouts_change_from_now_on() -> None:
    world = at_work("{at: 1 s, node: home, do: retime, udp_timeout: 20 ms}")
    home = world.nodes["home"]
    assert isinstance(home, NatBox)
    world.sim.run(2 * NS_PER_S)
    assert home.nat.profile.udp_timeout == 20 * NS_PER_MS


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
