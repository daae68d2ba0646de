"""Policies that bypass and discard stand in one ordered list with those that protect (RFC 4301 4.4.1)."""

from __future__ import annotations

import pytest

from sim.net.packet import Packet
from sim.scenario.errors import ScenarioError
from sim.scenario.load import load_text
from sim.units import NS_PER_S
from sim.wire import ip, udp
from tests.tunnels.lab import ALICE, BOB, SITES, SUN, Lab

CHILDREN = "tunnels.sites.children"
LANS = "local_ts: [10.1.0.0/16], remote_ts: [10.2.0.0/16]"
PASS = f"{CHILDREN}.past={{mode: pass, local_ts: ['10.1.0.0/16[udp]'], remote_ts: ['10.2.0.0/16[udp/9999]']}}"
DROP = f"{CHILDREN}.past={{mode: drop, {LANS}}}"


def test_a_pass_policy_stands_before_what_is_protected_in_both_directions() -> None:
    lab = Lab(PASS).up()
    ear = lab.listen("moon:wan")
    lab.send()  # to port 9999
    lab.run()
    lab.world.nodes["bob"].send(packet(BOB, ALICE, (9999, 7777)), lab.now)
    lab.run()
    assert [ip.addresses(seen.data) for seen in ear.clear] == [(ALICE, BOB), (BOB, ALICE)]
    assert len(lab.boxes["bob"].seqs) == 1
    lab.world.nodes["alice"].send(packet(ALICE, BOB, (7777, 9998)), lab.now)
    lab.run()
    assert len(ear.clear) == 2, "another port is protected"
    assert ear.seen[-1].is_esp


def test_a_drop_policy_stands_behind_what_is_protected() -> None:
    lab = Lab(DROP).up()
    lab.send()
    lab.run()
    assert len(lab.boxes["bob"].seqs) == 1


def test_a_drop_policy_with_a_priority_stands_before_it() -> None:
    lab = Lab(DROP, f"{CHILDREN}.past.priority=1000").up()
    lab.send()
    lab.run()
    assert lab.boxes["bob"].seqs == []
    assert lab.drops("moon") == {"policy says discard": 1}
    assert lab.stack("moon").xfrm == {"XfrmOutPolBlock": 1}


def test_the_lower_priority_is_first_whatever_their_places_in_the_file() -> None:
    """Both before 100,000, where strongSwan puts pass policies."""
    for of_pass, of_drop, arrived in ((20, 10, 0), (10, 20, 1)):
        lab = Lab(
            DROP.replace(".past=", ".refuse="),
            f"{CHILDREN}.refuse.priority={of_drop}",
            PASS,
            f"{CHILDREN}.past.priority={of_pass}",
        )
        lab.send()
        lab.run()
        assert len(lab.boxes["bob"].seqs) == arrived


def test_an_sa_takes_the_priority_of_its_child() -> None:
    lab = Lab(PASS, f"{CHILDREN}.lans.priority=10").up()
    lab.run()
    ear = lab.listen("moon:wan")
    lab.send()
    lab.run()
    assert ear.clear == []
    assert len(lab.boxes["bob"].seqs) == 1


def test_what_a_drop_policy_covers_is_dropped_on_arrival_too() -> None:
    lab = Lab(DROP, f"{CHILDREN}.past.priority=1000")
    sun = lab.world.nodes["sun"]
    sun.receive(packet(ALICE, BOB, (1, 2)), sun.ports["wan"], lab.now)
    assert lab.drops("sun") == {"policy says discard": 1}
    assert lab.stack("sun").xfrm == {"XfrmInPolBlock": 1}


@pytest.mark.parametrize("node", ["moon", "sun"])
def test_by_default_a_strict_gateway_lets_by_what_policies_name_and_ike_alone(node: str) -> None:
    lab = Lab(f"nodes.{node}.default_policy=discard", PASS).up()
    lab.send()  # by the pass policy
    lab.world.nodes["alice"].send(packet(ALICE, BOB, (7777, 1)), lab.now)  # by the SA
    lab.run()
    assert len(lab.boxes["bob"].seqs) == 1
    assert lab.drops(node) == {}
    lab.world.nodes["alice"].send(packet(ALICE, SUN, (7777, 7)), lab.now)
    lab.run()
    assert lab.drops(node).get("policy says discard") == 1


def test_a_host_without_connections_may_be_strict() -> None:
    lab = Lab("nodes.bob.default_policy=discard").up()
    lab.send()
    lab.run()
    assert lab.drops("bob") == {"policy says discard": 1}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (f"{CHILDREN}.past={{mode: pass, copy_df: false}}", "copy_df means nothing with `mode: pass`"),
        (f"{CHILDREN}.past={{mode: drop, start: none}}", "would never be in force"),
        (f"{CHILDREN}.past={{mode: drop, priority: -1}}", "must be at least 0"),
        ("nodes.net.default_policy=discard", "default_policy"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(override: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_text(SITES, "lab.yaml", [override])


def test_a_connection_of_policies_alone_needs_no_secret() -> None:
    text = SITES.partition("tunnels:")[0] + (
        "connections:\n  moon:\n    local:\n      children:\n"
        "        past: {mode: drop, local_ts: [10.1.0.0/16], start_action: trap}\n"
    )
    lab = Lab(text=text)
    lab.send()
    lab.run(NS_PER_S)
    assert lab.drops("moon") == {"policy says discard": 1}


def packet(src: bytes, dst: bytes, ports: tuple[int, int]) -> Packet:
    return Packet(udp.build((src, ports[0]), (dst, ports[1]), bytes(40)), 0)
