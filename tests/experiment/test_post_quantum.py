"""What additional key exchanges cost, in a whole run: round trips by event times, sizes on the wire."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

import sim
from sim.experiment.result import Result

ONE_WAY = 10_000_000
"""The delays of the two links between a road warrior and the gateway, in ns."""


@pytest.fixture(scope="module")
def result() -> Result:
    return sim.run("topologies/post-quantum.yaml", seed=3, capture=True)


@pytest.mark.parametrize(
    ("name", "node", "additional"), [("plain", "ann", 0), ("hybrid", "ben", 1), ("double", "cleo", 2)]
)
def test_c57_c58_set_up_takes_exactly_two_round_trips_and_one_more_each(
    result: Result, name: str, node: str, additional: int
) -> None:
    """(2 + k) RTT, but for the time that the octets themselves take on the links."""
    row = row_of(result, name, node)
    trips = 2 + additional
    assert row["setup_round_trips"] == trips
    delay = 2 * trips * ONE_WAY
    on_links = round(row["established_s"] * 1e9) - delay
    assert 0 < on_links < trips * 1_000_000
    sent = [e for e in result.world.log if e.node == node and e.event == "ike sent" and "request" in e.detail]
    starts = [entry.at for entry in sent[:trips]]
    gaps = [after - before for before, after in pairwise(starts)]
    assert all(2 * ONE_WAY < gap < 2 * ONE_WAY + 1_000_000 for gap in gaps)


def test_c82_a_message_is_one_line_of_the_ladder_whatever_it_is_cut_into(result: Result) -> None:
    sent = [e for e in result.world.log if e.node == "ben" and e.event == "ike sent"]
    exchange = next(e for e in sent if "IKE_INTERMEDIATE" in e.detail)
    assert "HDR, SKF {KEi}" in exchange.detail
    assert exchange.size > 1184 + 8


def test_sizes_add_up_and_are_the_same_at_both_ends(result: Result) -> None:
    for name, node in (("plain", "ann"), ("hybrid", "ben"), ("double", "cleo"), ("shared", "dora")):
        ours, theirs = row_of(result, name, node), row_of(result, name, "moon")
        for key in ("setup_round_trips", "setup_messages", "setup_datagrams", "setup_bytes", "ppk"):
            assert ours[key] == theirs[key], (name, key)
    plain, hybrid = row_of(result, "plain", "ann"), row_of(result, "hybrid", "ben")
    assert (plain["setup_messages"], plain["setup_datagrams"]) == (4, 4)
    assert (hybrid["setup_messages"], hybrid["setup_datagrams"]) == (6, 7)
    assert hybrid["setup_bytes"] > plain["setup_bytes"] + 1184 + 1088


def test_a_repeated_message_counts_its_octets_and_no_round_trip() -> None:
    changes = ["links.1.loss=15 %", "checks=[]", "traffic=[]", "duration=60 s"]
    lossy = sim.run(sim.load("topologies/post-quantum.yaml", changes), seed=3)
    row, clean = row_of(lossy, "hybrid", "ben"), 3
    assert row["retransmits"] > 0
    assert row["setup_round_trips"] == clean
    assert row["setup_messages"] > 6


def test_rekeyings_with_ml_kem_lose_nothing(result: Result) -> None:
    """Three Child SAs in a row, each by CREATE_CHILD_SA and an IKE_FOLLOWUP_KE."""
    details = [entry.detail for entry in result.world.log if entry.node in ("ben", "moon")]
    assert sum("IKE_FOLLOWUP_KE" in detail for detail in details) >= 8
    flow = next(row for row in result.summary["flows"] if row["name"] == "ben")
    assert (flow["lost"], flow["sent"]) == (0, 70)


def row_of(result: Result, name: str, node: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = result.summary["connections"]
    (row,) = [row for row in rows if (row["name"], row["node"]) == (name, node)]
    return row
