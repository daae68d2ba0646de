"""Which address a flow of a tunnel's own end comes from."""

from __future__ import annotations

import pytest

from sim.traffic.source import TrafficFlow
from sim.tunnels.driver import GONE, LEFT
from sim.units import NS_PER_S
from tests.tunnels.lab import BOB, MOON, Lab
from tests.tunnels.test_mobility import LTE, ROAD, WLAN, road


def test_a_flow_that_begins_after_a_move_fits_the_sa() -> None:
    lab = road()
    alice = lab.world.nodes["alice"]
    before = alice.bind_address(BOB)
    lab.world.ports["alice:wlan"].set_up(False)
    lab.world.ports["alice:lte"].set_up(True)
    lab.run(2 * NS_PER_S)

    assert alice.bind_address(BOB) == before
    assert alice.source_address(BOB) != before
    lab.send(src=before or b"", sender="alice", to="bob")
    lab.run()
    assert len(lab.boxes["bob"].seqs) == 1


def test_ike_and_what_no_tunnel_protects_follow_the_routes() -> None:
    alice = road().world.nodes["alice"]

    assert alice.bind_address(MOON) == alice.source_address(MOON)


CBR = "kind: cbr, size: 500 B, rate: 400 kbit/s, start: 500 ms"
PING = "kind: ping, interval: 100 ms, start: 500 ms"
DEAD = ("tunnels.rw.dpd_delay=1 s", "tunnels.rw.retransmit=libreswan")  # found out within 35 s


@pytest.mark.parametrize("kind", [CBR, PING])
def test_a_flow_is_bound_again_when_the_sas_of_the_address_that_was_left_are_gone(kind: str) -> None:
    """Without MOBIKE the SAs stay behind; those that follow are for the new address, and serve the flow."""
    lab = moving(kind, "tunnels.rw.mobike=false", *DEAD).run(50 * NS_PER_S)
    flow = lab.world.flows["up"]
    assert isinstance(flow, TrafficFlow)
    assert flow.src == LTE
    assert flow.record.received_at[-20] > 0
    assert set(lab.drops("alice")) <= {GONE, "port down"}, "nothing but what the dead SAs cost"
    assert [pair.outbound.spec.local_ts[0].start for pair in lab.stack("alice").engine.sad.values()] == [LTE]


@pytest.mark.parametrize(
    "change", ["tunnels.rw.mobike=true", "tunnels.rw.children.net.local_ts=[192.168.1.10/32]"]
)
def test_a_flow_stays_bound_while_sas_are_for_its_address(change: str) -> None:
    """MOBIKE carries them over; and selectors that are written do not follow a move."""
    lab = moving(CBR, "tunnels.rw.mobike=false", change, *DEAD).run(50 * NS_PER_S)
    flow = lab.world.flows["up"]
    assert isinstance(flow, TrafficFlow)
    assert flow.src == WLAN
    assert flow.record.received_at[-20] > 0
    assert set(lab.drops("alice")) <= {GONE, "port down"}


def test_a_packet_from_an_address_that_was_left_is_dropped_for_that_reason() -> None:
    """What is recorded keeps the address that it had, as an application does that never looks."""
    lab = moving(CBR, "tunnels.rw.mobike=false", *DEAD).run(50 * NS_PER_S)
    lab.send(WLAN, BOB, sender="alice")
    lab.run()
    assert lab.drops("alice")[LEFT] == 1


def moving(flow: str, *overrides: str) -> Lab:
    """alice sends to bob, and leaves the WLAN after 2 s."""
    traffic = f"traffic: [{{name: up, from: alice, to: bob, {flow}}}]\n"
    events = "events: [{at: 2 s, node: alice, do: move, from: wlan, to: lte}]\n"
    return Lab(*overrides, text=ROAD + traffic + events)
