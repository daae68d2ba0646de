"""Which address a flow of a tunnel's own end comes from."""

from __future__ import annotations

from sim.units import NS_PER_S
from tests.tunnels.lab import BOB, MOON
from tests.tunnels.test_mobility import road


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
