"""Real strongSwans over simulated networks: the peer is our own stack in there, or another strongSwan."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.connection import Connection
from tests.interop.netns import Lab, until
from tests.interop.ping import ping, replies, start_pinging, stop_pinging
from tests.interop.strongswan import StrongSwan
from tests.live.emulation import emulation

pytestmark = pytest.mark.peers

ROAD_WARRIOR = Path("topologies/road-warrior-nat.yaml")
WAN = Path("topologies/emulate-wan.yaml")


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
    alice, bob = lab.namespace("alice"), lab.namespace("bob")
    alice.inner_address("10.8.0.1/32")
    bob.inner_address("10.9.0.1/32")
    attach = (f"alice:wlan=wlan@{alice.name}", f"alice:lte=lte@{alice.name}", f"bob=eth@{bob.name}")
    times = ("events.0.at=10 s", "events.1.at=20 s", "duration=5 min")
    view = Connection(
        *("%any", "198.51.100.1", "10.8.0.1/32", "10.9.0.1/32"),
        local_id="alice.example",
        remote_id="bob.example",
        settings={"dpd_delay": "1s"},
    )
    with emulation(WAN, *attach, overrides=times) as run:
        ours, theirs = StrongSwan(alice), StrongSwan(bob)
        ours.load(view.swanctl())
        theirs.load(view.mirrored(local="198.51.100.1", remote="%any").swanctl())
        said = ours.initiate("net")
        assert "initiate completed successfully" in said, said
        at_home = theirs.sa().remote
        assert at_home == ("203.0.113.10", 4500)
        ours.expect(r"generating INFORMATIONAL request \d+ \[ N\(NATD_S_IP\)")  # so it knows its mapping
        pinging = start_pinging(alice, "10.9.0.1", interval=0.1)
        rebound = until(
            lambda: theirs.sa().remote if theirs.sa().remote != at_home else None,
            lambda: f"bob never heard of another port:\n{theirs.log()}",
        )
        assert rebound[0] == "203.0.113.10", ours.log()
        until(
            lambda: theirs.sa().remote[0] == "198.18.0.10",
            lambda: f"bob never heard of the move:\n{ours.log()}\n{theirs.log()}",
        )
        heard = len(replies(pinging))
        until(lambda: len(replies(pinging)) > heard + 20, lambda: f"nothing after the move:\n{ours.log()}")
        result = stop_pinging(pinging)
        assert ours.sa().local[0] == "100.64.0.10"
    print(f"{result.sent} pings, {result.received} answered, longest gap {result.longest_gap} of 0.1 s")
    assert result.longest_gap < 50, "within 5 s it is back, each time"
    events = run.summary["realtime"]["events"]
    assert events["count"] > 1000
    assert run.summary["realtime"]["left_out"][:2] == ["connection pair at alice", "connection pair at bob"]
