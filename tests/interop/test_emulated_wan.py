"""Real strongSwans over simulated networks: the peer is our own stack in there, or another strongSwan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sim.ike.events import IkeSaDown
from tests.interop.connection import Connection
from tests.interop.netns import Lab, Namespace, until
from tests.interop.ours import Ours
from tests.interop.ping import Pings, ping, replies, start_pinging, stop_pinging
from tests.interop.strongswan import StrongSwan
from tests.live.emulation import emulation

pytestmark = pytest.mark.peers

ROAD_WARRIOR = Path("topologies/road-warrior-nat.yaml")
WAN = Path("topologies/emulate-wan.yaml")
TIMES = ("events.0.at=9 s", "events.1.at=15 s", "duration=5 min")
BOB = "198.51.100.1"
AT_HOME = ("203.0.113.10", 4500)
VIEW = Connection(
    *("%any", BOB, "10.8.0.1/32", "10.9.0.1/32"), local_id="alice.example", remote_id="bob.example"
)
QUICK = {"dpd_delay": "200 ms", "retransmit": "libreswan"}
"""The first repetition after half a second: one packet in a hundred is lost."""


@pytest.mark.slow  # real time: IKE and pings over 22 ms
def test_strongswan_behind_a_simulated_nat_reaches_a_simulated_gateway(lab: Lab) -> None:
    alice = lab.namespace("alice")
    with emulation(ROAD_WARRIOR, f"alice=wlan@{alice.name}", overrides=("duration=5 min",)) as run:
        swan = StrongSwan(alice)
        swan.load(
            Connection(
                *("192.168.1.10", "198.51.100.1", "192.168.1.10/32", "10.1.0.0/16"),
                local_id="alice@example.org",
                remote_id="moon.example.org",
                esp_proposals="aes256gcm16",
                psk="correct horse battery staple",
            ).swanctl()
        )
        said = swan.initiate("net")
        assert "initiate completed successfully" in said, said
        for size in (84, 1000, 1400):
            assert ping(alice, "10.1.0.10", size=size, count=20).received == 20
        sa = swan.sa()
        assert sa.remote == ("198.51.100.1", 4500)
    (moon,) = run.summary["connections"]
    assert (moon["state"], moon["nat_remote"], moon["nat_local"]) == ("established", True, False)
    assert moon["remote"] == "203.0.113.10[4500]"
    (child,) = moon["children"]
    assert (child["packets_in"], child["packets_out"]) == (60, 60)
    assert child["spi_in"] == f"{sa.child.spi_out:08x}"


@pytest.mark.slow  # events on the wall clock: 30 s
def test_two_strongswans_survive_a_rebinding_and_a_move_over_a_simulated_wan(lab: Lab) -> None:
    alice, bob, attach = hosts(lab)
    with emulation(WAN, *attach, overrides=TIMES) as run:
        ours, theirs = StrongSwan(alice), StrongSwan(bob)
        ours.load(replace(VIEW, settings={"dpd_delay": "1s"}).swanctl())
        theirs.load(VIEW.mirrored(local=BOB, remote="%any").swanctl())
        said = ours.initiate("net")
        assert "initiate completed successfully" in said, said
        assert theirs.sa().remote == AT_HOME
        ours.expect(r"generating INFORMATIONAL request \d+ \[ N\(NATD_S_IP\)")  # so it knows its mapping
        result = ping_over_both_events(alice, theirs, ours.log)
        assert ours.sa().local[0] == "100.64.0.10"
    assert result.longest_gap <= 25, (
        "its liveness check comes a second after the last answer, at the earliest"
    )
    events = run.summary["realtime"]["events"]
    assert events["count"] > 1000
    assert run.summary["realtime"]["left_out"][:2] == ["connection pair at alice", "connection pair at bob"]


@pytest.mark.slow  # events on the wall clock: 20 s
def test_we_survive_a_rebinding_and_a_move_over_a_simulated_wan_within_a_second(lab: Lab) -> None:
    """What is lost is found out by a check each 200 ms, and told to a strongSwan that rekeys."""
    alice, bob, attach = hosts(lab)
    with emulation(WAN, *attach, overrides=("events.0.at=6 s", "events.1.at=10 s", "duration=5 min")):
        theirs = StrongSwan(bob)
        theirs.load(VIEW.mirrored(local=BOB, remote="%any").swanctl())
        ours = Ours(lab, alice, replace(VIEW, settings=QUICK))
        ours.initiate()
        assert ours.child().spi_in == theirs.sa().child.spi_out
        assert theirs.sa().remote == AT_HOME
        result = ping_over_both_events(alice, theirs, ours.story)
        assert ours.sa().local[0] == bytes([100, 64, 0, 10])
        assert not ours.events(IkeSaDown)
    assert result.longest_gap < 10


def hosts(lab: Lab) -> tuple[Namespace, Namespace, tuple[str, ...]]:
    alice, bob = lab.namespace("alice"), lab.namespace("bob")
    alice.inner_address("10.8.0.1/32")
    bob.inner_address("10.9.0.1/32")
    return alice, bob, (f"alice:wlan=wlan@{alice.name}", f"alice:lte=lte@{alice.name}", f"bob=eth@{bob.name}")


def ping_over_both_events(alice: Namespace, bob: StrongSwan, story: Callable[[], str]) -> Pings:
    """Ping until some time after the second event; bob must hear of both."""
    pinging = start_pinging(alice, "10.9.0.1", interval=0.1)
    rebound = until(
        lambda: bob.sa().remote if bob.sa().remote != AT_HOME else None,
        lambda: f"bob never heard of another port:\n{bob.log()}",
    )
    assert rebound[0] == AT_HOME[0], story()
    until(
        lambda: bob.sa().remote[0] == "198.18.0.10",
        lambda: f"bob never heard of the move:\n{story()}\n{bob.log()}",
    )
    heard = len(replies(pinging))
    until(lambda: len(replies(pinging)) > heard + 20, lambda: f"nothing after the move:\n{story()}")
    result = stop_pinging(pinging)
    print(f"{result.sent} pings, {result.received} answered, longest gap {result.longest_gap} of 0.1 s")
    return result
