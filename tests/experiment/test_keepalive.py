"""What keepalives cost in a month."""

from __future__ import annotations

import pytest

import sim
from sim.experiment.keepalive import MONTH_S


def test_golden_2_7_liveness_checks_every_50_s_cost_16_mb_a_month() -> None:
    """strongswan#292 counted 16 MB; what is encoded here depends on the suite."""
    suites = ("aes128gcm16-prfsha256-x25519", "aes128-sha256-x25519", "aes256-sha512-modp2048")
    costs = [sim.keepalive_cost(50, "dpd", proposal=suite).megabytes for suite in suites]
    assert [round(cost) for cost in costs] == pytest.approx([16, 16, 16], abs=2)


def test_a_keepalive_is_29_octets_of_ipv4_and_49_of_ipv6() -> None:
    turns = MONTH_S / 20
    assert sim.keepalive_cost(20).bytes == 29 * turns
    assert sim.keepalive_cost(20, ip=6).bytes == 49 * turns
    assert sim.keepalive_cost(20).packets == turns


def test_a_radio_wakes_up_only_after_its_tail() -> None:
    assert sim.keepalive_cost(20).wakeups == MONTH_S / 20
    assert sim.keepalive_cost(9).wakeups == 0
    assert sim.keepalive_cost(9, tail_s=5).wakeups == MONTH_S / 9


@pytest.mark.parametrize("interval", [0, -1])
def test_an_interval_must_be_longer_than_nothing(interval: float) -> None:
    with pytest.raises(ValueError, match="longer than 0"):
        sim.keepalive_cost(interval)


def test_a_run_counts_what_the_formula_says() -> None:
    path = "topologies/alternatives/keepalive-adaptive.yaml"
    idle = ["tunnels.rw.keepalive_policy=fixed", "traffic=[]", "checks=[]"]
    result = sim.run(sim.load(path, overrides=idle))
    (row,) = [one for one in result.summary["connections"] if one["node"] == "alice"]
    kept, month = row["keepalives"], sim.keepalive_cost(20)
    assert kept["bytes"] == 29 * kept["sent"]
    assert kept["per_month"]["sent"] == pytest.approx(month.packets, rel=0.02)
    assert kept["per_month"]["wakeups"] == pytest.approx(month.wakeups, rel=0.02)
    assert kept["interval_s"] == 20
