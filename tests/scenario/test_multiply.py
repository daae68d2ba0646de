"""`count` makes many of a node, with its links, tunnels, flows, events and checks."""

from __future__ import annotations

from pathlib import Path

import sim
from sim.experiment.render_crowds import joined_checks, joined_drops, joined_flows
from sim.scenario.load import dump, load_text
from sim.scenario.schema import Scenario
from sim.units import NS_PER_S
from tests.scenario.base import changed, line_of, problems

MASS = Path("topologies/mobike/mass-migration.yaml")
THREE = changed(
    ("alice: {kind: host, interfaces: {wlan: 192.168.1.10/24, lte: 203.0.113.77/24}}",
     "alice: {kind: host, count: 3, interfaces: {wlan: 192.168.1.10/24, lte: 203.0.113.78/24}}"),
    ("auth: {psk: secret}", "auth: {psk: secret, local_id: alice@example.org, remote_id: moon}"),
    ("  - {flow: up,", "  - {connection: rw, node: alice, encap: false}\n  - {flow: up,"),
)  # fmt: skip


def test_each_has_a_link_of_its_own_with_two_addresses_of_the_network() -> None:
    scenario = load_text(THREE)
    assert [name for name in scenario.nodes if name.startswith("alice")] == ["alice-1", "alice-2", "alice-3"]
    assert scenario.nodes["alice-1"].interfaces["lte"] == ("203.0.113.78/31",)
    assert scenario.nodes["alice-3"].interfaces["lte"] == ("203.0.113.82/31",)
    assert scenario.nodes["core"].interfaces["cell-3"] == ("203.0.113.83/31",)
    assert scenario.nodes["home"].interfaces["lan-2"] == ("192.168.1.13/31",)
    assert ("alice-2:lte", "core:cell-2") in {link.ends for link in scenario.links}
    assert len(scenario.links) == 3 + 3 + 3


def test_each_calls_by_an_identity_of_its_own_and_one_connection_answers_all() -> None:
    scenario = load_text(THREE)
    assert not scenario.tunnels
    ids = [scenario.connections[f"alice-{n}"]["rw"].local_id for n in (1, 2, 3)]
    assert ids == ["alice-1@example.org", "alice-2@example.org", "alice-3@example.org"]
    assert list(scenario.connections["moon"]) == ["rw"]
    assert scenario.connections["moon"]["rw"].remote_id is None


def test_all_of_them_move_and_every_check_is_asked_of_each() -> None:
    result = sim.run(load_text(THREE), seed=2)
    assert result.ok, [check for check in result.summary["checks"] if not check["ok"]]
    assert {flow["name"] for flow in result.summary["flows"]} == {"up-1", "up-2", "up-3"}
    names = [check["name"] for check in result.summary["checks"]]
    assert names[1:] == [
        *(f"rw at alice-{n} is established" for n in (1, 2, 3)),
        *(f"flow up-{n}" for n in (1, 2, 3)),
    ]
    assert len(result.events[result.events.event == "move"]) == 3


def test_the_expanded_scenario_loads_to_an_equal_one() -> None:
    scenario = sim.expand(load_text(THREE))
    assert load_text(dump(scenario)) == scenario


def test_an_event_may_spread_over_the_clients_and_over_conditions_of_their_own() -> None:
    text = THREE.replace(
        "{at: 2 s, node: alice, do: move, from: wlan, to: lte}",
        "{when: {connection: rw, is: established}, after: 1 s, spread: 300 ms, node: alice, do: move, "
        "from: wlan, to: lte}",
    )
    events = load_text(text).events
    assert [(event.after, event.when and event.when.node) for event in events] == [
        (NS_PER_S, "alice-1"), (NS_PER_S * 11 // 10, "alice-2"), (NS_PER_S * 12 // 10, "alice-3"),
    ]  # fmt: skip


def test_a_home_for_each_keeps_its_addresses_behind_its_nat() -> None:
    text = THREE.replace("home: {kind: nat,", "home: {kind: nat, count: 3,").replace(
        "    children:", "    vips: [0.0.0.0]\n    pools: [clients]\n    children:"
    )
    text += "pools: {moon: {clients: {addrs: 10.3.0.0/24}}}\n"
    scenario = load_text(text)
    assert [scenario.nodes[f"alice-{n}"].interfaces["wlan"] for n in (1, 2, 3)] == [("192.168.1.10/24",)] * 3
    assert scenario.nodes["home-3"].interfaces["wan"] == ("198.18.0.14/31",)
    assert sim.run(scenario).ok


def test_a_network_that_is_too_small_is_told_with_its_line() -> None:
    found = problems(THREE, "nodes.alice.count=100")
    where = f"lab.yaml:{line_of(THREE, 'alice: {kind')}: nodes.alice.interfaces.lte"
    assert found == [
        f"{where}: 203.0.113.0/24 has addresses for 89 from 203.0.113.78 on, 2 for each, and count is 100: "
        "write a wider network at both ends, or a lower first address"
    ]


def test_a_name_that_is_taken_is_told_with_its_line() -> None:
    bob = "  bob: {kind: host, interfaces: {eth: 10.1.0.10/16}}"
    text = THREE.replace(bob, f"{bob}\n  alice-2: {{kind: host, interfaces: {{e: 10.9.9.9/9}}}}")
    assert any("makes alice-2, and there is a node of that name" in line for line in problems(text))


def test_an_address_that_is_made_twice_is_told_with_its_line() -> None:
    text = THREE.replace("lan: 10.1.0.1/16}", "lan: 10.1.0.1/16, x: 203.0.113.80/24}").replace(
        "  - {ends: [moon:lan", "  - {ends: [moon:x, core:x]}\n  - {ends: [moon:lan"
    )
    text = text.replace("cell: 203.0.113.1/24,", "cell: 203.0.113.1/24, x: 203.0.113.200/24,")
    lines = problems(text)
    assert any("203.0.113.80 is the address of alice-2:lte already" in line for line in lines)
    assert all(line.startswith("lab.yaml:") for line in lines)


def test_one_identity_for_all_is_refused() -> None:
    lines = problems(THREE.replace("local_id: alice@example.org", "local_id: anna@example.org"))
    where = line_of(THREE, "local_id")
    assert lines == [
        f"lab.yaml:{where}: tunnels.rw.auth.local_id: is one identity for all of alice: write its name in it,"
        " such as alice@example.org"
    ]


def test_a_responder_is_one() -> None:
    lines = problems(THREE, "nodes.alice.count=1", "nodes.moon.count=2")
    assert any("tunnels.rw.responder: is 2 nodes" in line for line in lines)


def test_counts_that_do_not_pair_are_refused() -> None:
    lines = problems(THREE, "nodes.home.count=2")
    assert any("joins 3 nodes to 2" in line for line in lines)


def test_spread_of_one_node_is_refused() -> None:
    lines = problems(THREE, "nodes.alice.count=1", "events.0.spread=1 s")
    assert any("events.0.spread: has no effect" in line for line in lines)


def test_a_thousand_are_made_in_time_that_grows_with_them() -> None:
    small, large = (sim.load(MASS, {"nodes.alice.count": count}) for count in (10, 100))
    assert (len(small.links), len(large.links)) == (23, 203)
    assert (len(small.traffic), len(large.traffic)) == (10, 100)


def test_the_table_has_one_row_for_all_of_them() -> None:
    result = sim.run(_small_mass())
    crowds = result.world.scenario.crowds
    flows = joined_flows(result.summary["flows"], crowds)
    assert [(row["name"], row["sent"]) for row in flows] == [
        ("up (12)", sum(row["sent"] for row in result.summary["flows"]))
    ]
    assert [row["name"] for row in joined_checks(result.summary["checks"], crowds)] == [
        "rw is established by 12 s", "rw at alice is established (12)", "flow up (12)",
    ]  # fmt: skip
    total = sum(row["packets"] for row in result.summary["drops"])
    assert sum(row["packets"] for row in joined_drops(result.summary["drops"], crowds)) == total


def test_all_come_over_with_their_sas() -> None:
    result = sim.run(_small_mass())
    assert result.ok
    assert len(result.events[(result.events.event == "path changed") & (result.events.node == "moon")]) >= 12
    assert not len(result.events[result.events.event == "ike down"])


def _small_mass() -> Scenario:
    return sim.load(MASS, {"nodes.alice.count": 12})
