"""The MTU black hole, its remedies, and the words for it."""

from __future__ import annotations

from typing import Any

import pytest

import sim

HOLE, PATH = "topologies/mtu-black-hole.yaml", "topologies/path-mtu.yaml"
CHILD = "tunnels.sites.children.lans"


def big(summary: dict[str, Any]) -> tuple[int, int]:
    (flow,) = (flow for flow in summary["flows"] if flow["name"] == "big")
    return flow["sent"], flow["lost"]


def test_the_explanation_says_who_kept_the_source_from_hearing() -> None:
    result = sim.run(HOLE)
    (outage,) = result.events[result.events.event == "outage"].detail
    assert "dropped at slim (packet too big)" in outage
    assert outage.endswith("nobody told the source what fits: wall dropped the ICMP that says so")


def test_what_is_too_big_without_a_filter_is_explained_without_one() -> None:
    result = sim.run(sim.load(PATH, ["traffic.big.pmtud=probe"]))
    (outage,) = result.events[result.events.event == "outage"].detail
    assert "dropped at moon (packet too big)" in outage
    assert "nobody told" not in outage


@pytest.mark.parametrize(
    ("remedy", "lost"),
    [
        ("nodes.wall.drop_icmp=[]", 2),
        ("nodes.wall.drop_icmp=[time-exceeded]", 2),
        (f"{CHILD}.copy_df=false", 0),
        ("links.0.mtu=1400 B", 0),
        ("links.1.mtu=1492 B", 1),
        ("traffic.big.pmtud=dont", 0),
    ],
)
def test_each_remedy_lets_large_packets_through(remedy: str, lost: int) -> None:
    sent, gone = big(sim.run(sim.load(HOLE, [remedy])).summary)
    assert (sent, gone) == (348, lost)


@pytest.mark.parametrize("kind", ["errors", "too-big"])
def test_it_takes_one_kind_of_icmp_for_a_black_hole(kind: str) -> None:
    sent, lost = big(sim.run(sim.load(HOLE, [f"nodes.wall.drop_icmp=[{kind}]"])).summary)
    assert sent == lost
