"""Which event explains an outage: one on the flow's way, at the right time."""

from __future__ import annotations

import pytest

import sim
from sim.experiment.causes import concerning, explain
from sim.experiment.result import Result
from sim.ike.events import PathChanged
from sim.scenario.build import build
from sim.scenario.load import load_text
from sim.units import NS_PER_S
from tests.scenario.base import TEXT

TWO = """\
name: two flows
duration: 10 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  b: {kind: host, interfaces: {eth: 198.51.100.1/24}}
  c: {kind: host, interfaces: {eth: 203.0.113.1/24, spare: 203.0.112.1/24}}
  core:
    kind: router
    interfaces: {a: 192.0.2.254/24, b: 198.51.100.254/24, c: 203.0.113.254/24, d: 203.0.112.254/24}
links:
  - {ends: [a:eth, core:a], delay: 5 ms}
  - {ends: [b:eth, core:b], delay: 5 ms}
  - {ends: [c:eth, core:c], delay: 5 ms}
  - {ends: [c:spare, core:d], delay: 5 ms}
traffic:
  - {name: ab, kind: cbr, from: a, to: b, size: 100 B, rate: 80 kbit/s}
  - {name: ac, kind: ping, from: a, to: c, interval: 20 ms}
"""

CUT = "events: [{at: 4 s, node: c, do: down, interface: eth}, {at: 6 s, node: c, do: up, interface: eth}]\n"


def causes(text: str, *overrides: str) -> dict[str, list[str]]:
    """By flow, what explains each of its outages."""
    result = sim.run(load_text(text, overrides=overrides))
    return told(result)


def told(result: Result) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {row["name"]: [] for row in result.summary["flows"]}
    for entry in result.world.log:
        if entry.event == "outage":
            name, _, rest = entry.detail.partition(":")
            found[name].append(rest.partition("; ")[2])
    return found


def test_an_event_on_the_way_explains_an_outage() -> None:
    assert causes(TWO + CUT) == {"ab": [], "ac": ["at 4.000 s c:eth goes down"]}


def test_an_event_of_another_node_does_not() -> None:
    """Each flow has its own; they are 100 ms apart."""
    at_b, at_c = "at: 4 s, node: b", "at: 4100 ms, node: c"
    found = causes(
        TWO + f"events: [{{{at_b}, do: down, interface: eth}}, {{{at_c}, do: down, interface: eth}}]\n"
    )
    assert found == {"ab": ["at 4.000 s b:eth goes down"], "ac": ["at 4.100 s c:eth goes down"]}


def test_an_event_at_an_interface_that_the_flow_does_not_pass_does_not() -> None:
    """c has a spare link; the flow's own loses packets by itself."""
    events = "events: [{at: 4 s, node: c, do: down, interface: spare}]\n"
    (cause,) = set(causes(TWO + events, "links.2.loss={up: 0 %, down: 100 %}")["ac"])
    assert cause == "no event explains it: 500 dropped at core (lost on link)"


def test_loss_of_a_link_has_no_event_even_when_one_is_near() -> None:
    """The interface is down for a moment in which no packet meets it."""
    found = causes(TWO + CUT, "links.2.loss=60 %", "events.0.at=5012 ms", "events.1.at=5013 ms")
    assert found["ac"]
    for cause in found["ac"]:
        assert cause.startswith("no event explains it: ")
        assert "(lost on link)" in cause


def test_an_event_after_the_first_drop_explains_nothing() -> None:
    """The queue is what stops it, then something else happens on the way."""
    events = "events: [{at: 5 s, node: c, do: down, interface: eth}]\n"
    overrides = ["links.2.queue=1 packets", "links.2.rate=1 bit/s"]
    (cause,) = causes(TWO + events, *overrides)["ac"]
    assert cause.startswith("no event explains it: ")
    assert "dropped at core (queue full)" in cause


def test_what_went_down_before_a_flow_began_explains_it_while_it_is_down() -> None:
    down = "events: [{at: 1 s, node: c, do: down, interface: eth}]\n"
    assert causes(TWO + down, "traffic.ac.start=3 s")["ac"] == ["at 1.000 s c:eth goes down"]
    again = CUT.replace("at: 4", "at: 1").replace("at: 6", "at: 2")
    (cause,) = set(causes(TWO + again, "traffic.ac.start=3 s", "links.2.loss=100 %")["ac"])
    assert cause.startswith("no event explains it: ")


def test_the_nearest_of_several_events_is_named() -> None:
    events = ("4 s, node: c, do: down, interface: eth", "4500 ms, node: c, do: up, interface: eth",
              "5 s, node: core, do: down, interface: c")  # fmt: skip
    listed = ", ".join(f"{{at: {event}}}" for event in events)
    found = causes(TWO + f"events: [{listed}]\n")["ac"]
    assert found == ["at 4.000 s c:eth goes down", "at 5.000 s core:c goes down"]


def test_the_move_of_a_node_explains_the_outage_of_a_flow_in_its_tunnel() -> None:
    result = sim.run(load_text(TEXT, overrides=["events.0.gap=300 ms"]))
    assert told(result)["up"] == ["at 2.000 s alice moves from wlan to lte, lte is up after 300 ms"]


def test_an_sa_that_goes_elsewhere_by_itself_explains_the_outage_of_its_flow() -> None:
    """Nothing happens in the scenario: the endpoint alone has made its SAs go where nobody is."""
    flow = "{name: down, kind: cbr, from: bob, to: alice, size: 500 B, rate: 400 kbit/s, start: 1 s}"
    world = build(load_text(TEXT, overrides=["events=[]", "checks=[]", f"traffic=[{flow}]"]), 1)
    moon = world.stacks["moon"]

    def astray(now: int) -> None:
        ((spi, (_, outbound, _)),) = moon.engine.sad.items()
        event = PathChanged(
            1, "rw", outbound.spec.local, (bytes([192, 0, 2, 99]), 4500), True, False, True, (spi,)
        )
        moon.apply(event, now)

    world.sim.at(2 * NS_PER_S, astray)
    world.sim.run(world.scenario.duration)
    outage = world.flows["down"].record.outages(world.sim.now)[0]
    assert explain(world, "down", outage).startswith("at 2.000 s SAs now run ")


def test_a_connection_that_fails_explains_the_flow_that_it_carries() -> None:
    overrides = ["events=[]", "checks=[]", "tunnels.rw.auth={psk: one, responder: {psk: two}}"]
    (cause,) = causes(TEXT, *overrides)["up"]
    assert "AUTHENTICATION_FAILED" in cause


def test_a_rebind_concerns_the_flows_through_its_nat() -> None:
    """alice reaches bob through home's mapping; what goes from bob to moon alone does not."""
    flows = (
        "traffic=[{name: up, kind: cbr, from: alice, to: bob, size: 500 B, rate: 400 kbit/s, start: 500 ms}, "
        "{name: down, kind: cbr, from: bob, to: alice, size: 500 B, rate: 400 kbit/s, start: 500 ms}, "
        "{name: lan, kind: cbr, from: bob, to: moon, size: 500 B, rate: 400 kbit/s}]"
    )
    overrides = [flows, "checks=[]", "events=[{at: 2 s, node: home, do: rebind}]"]
    world = sim.run(load_text(TEXT, overrides=overrides)).world
    concerned = {name: [entry.event for entry in concerning(world, name)] for name in world.flows}
    assert concerned == {"up": ["rebind"], "down": ["rebind"], "lan": []}


@pytest.mark.parametrize("name", ["web.up", "web.down"])
def test_both_directions_of_a_replay_depend_on_the_same_way(name: str) -> None:
    flow = "{name: web, kind: replay, from: alice, to: bob, file: topologies/captures/web-download.pcap}"
    scenario = load_text(TEXT, "./lab.yaml", [f"traffic=[{flow}]", "checks=[]"])
    world = sim.run(scenario).world
    assert [entry.event for entry in concerning(world, name)] == ["move"]
