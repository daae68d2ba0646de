"""An idle tunnel is reachable while its keepalives are faster than the NAT forgets; they have their price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sim
from sim.experiment.studies import keepalive_cost, reachability
from sim.net.nat_profile import NAT_PRESETS
from sim.units import NS_PER_S

TOPOLOGY = Path("topologies/nat/idle-tunnel.yaml")
REACHABILITY = Path("results/reachability/reachability.csv")
COST = Path("results/keepalive-cost/keepalive-cost.csv")


@pytest.mark.parametrize("nat", ["home", "mobile", "cgn", "symmetric"])
def test_without_loss_keepalives_faster_than_the_timeout_keep_it_reachable(nat: str) -> None:
    """Golden figures 2.7: 120 s, 65 s, 300 s and 30 s; slower ones fail once the timeout has passed."""
    timeout_s = NAT_PRESETS[nat].udp_timeout // NS_PER_S
    for interval_s, reached in ((timeout_s - 2, 1), (4 * timeout_s, 0)):
        table = reachability.study(
            TOPOLOGY, nats=[nat], intervals_s=[interval_s], idle_s=[2 * timeout_s], losses=[0], phases=[0.9],
            seeds=1, processes=1,
        )  # fmt: skip
        assert table.reached.tolist() == [reached], interval_s


@pytest.mark.parametrize(("nat", "share"), [("linux", 0.6), ("symmetric", 0.0)])
def test_a_keepalive_brings_the_mapping_back_only_where_it_gets_the_same_port(nat: str, share: float) -> None:
    """Both forget after 30 s; a keepalive each 60 s makes Linux's port reachable half of the time again."""
    table = reachability.study(TOPOLOGY, nats=[nat], intervals_s=[60], idle_s=[900], losses=[0], processes=1)
    assert table.reached.mean() == pytest.approx(share)


def test_a_keepalive_costs_29_octets_whatever_protects_the_rest() -> None:
    """20 of IPv4, 8 of UDP and the one of RFC 3948 2.3: 3.76 MB in 30 days at 20 s."""
    table = keepalive_cost.study(TOPOLOGY, policies=["keepalives"], intervals_s=[20], processes=1)
    assert table.packets_month.tolist() == [30 * 24 * 3600 // 20] * 2
    assert table.mb_month.tolist() == pytest.approx([29 * 129_600 / 1e6] * 2)


def test_liveness_checks_every_50_s_cost_what_a_user_has_measured() -> None:
    """strongswan issue 292: 16 MB a month (golden figures 2.7)."""
    table = keepalive_cost.study(TOPOLOGY, policies=["liveness checks"], intervals_s=[50], processes=1)
    assert table.mb_month.mean() == pytest.approx(keepalive_cost.PUBLISHED[1], rel=0.05)
    kept = pd.read_csv(COST)
    kept = kept[(kept.policy == "liveness checks") & (kept.interval_s == 50)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, table, check_dtype=False, atol=0.001)


@pytest.mark.parametrize(("policy", "kind"), [("keepalives", "keepalive"), ("liveness checks", "dpd")])
def test_what_is_measured_is_what_sim_keepalive_cost_computes(policy: str, kind: Any) -> None:
    table = keepalive_cost.study(TOPOLOGY, policies=[policy], intervals_s=[60], processes=1)
    for proposal, mb_month in zip(table.proposal, table.mb_month, strict=True):
        assert mb_month == pytest.approx(sim.keepalive_cost(60, kind, proposal=proposal).megabytes, rel=1e-6)


def test_the_reference_result_is_what_a_new_run_gives() -> None:
    chosen = {"nats": ["mobile"], "intervals_s": [30, 120], "idle_s": [60], "losses": [0.1]}
    again = reachability.study(TOPOLOGY, processes=1, **chosen)  # type: ignore[arg-type]
    kept = pd.read_csv(REACHABILITY)
    kept = kept[(kept.nat == "mobile") & (kept.idle_s == 60) & (kept.loss == 0.1)]
    means = again.groupby("keepalive_s").reached.mean()
    for interval_s in (30, 120):
        row = kept[kept.keepalive_s == interval_s].iloc[0]
        assert (row["mean"], row.runs) == pytest.approx((means[interval_s], 20), abs=0.001)
