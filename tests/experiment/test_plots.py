"""Plots show what a run has: checked in the drawn objects, not in pixels."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

import sim
from sim.scenario.load import load_text

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
ALL = sorted(path.stem for path in TOPOLOGIES.glob("*.yaml"))


@pytest.mark.parametrize("name", ALL)
def test_every_shipped_topology_is_drawn_with_all_its_words(name: str) -> None:
    scenario = sim.load(TOPOLOGIES / f"{name}.yaml")
    words = " ".join(texts(sim.plots.topology(scenario)))
    for node, model in scenario.nodes.items():
        assert node in words
        for interface, addresses in model.interfaces.items():
            assert all(f"{interface} {address}" in words for address in addresses)
    for tunnel in scenario.tunnels:
        assert f"{tunnel}: " in words


@pytest.mark.parametrize("name", ALL)
def test_no_two_nodes_share_a_place_and_no_text_is_cut_off(name: str) -> None:
    figure = sim.plots.topology(sim.load(TOPOLOGIES / f"{name}.yaml"))
    figure.canvas.draw()
    (ax,) = figure.axes
    outside = [text for text in ax.texts if not inside(figure, text.get_window_extent().bounds)]
    assert not outside
    assert len({text.get_position() for text in ax.texts}) == len(ax.texts)


def test_a_link_shows_what_it_does_in_the_direction_of_the_arrow() -> None:
    scenario = sim.load(TOPOLOGIES / "road-warrior-mobike.yaml")
    assert "→ 20 Mbit/s ← 80 Mbit/s\n35 ms, ± 5 ms" in texts(sim.plots.topology(scenario))


def test_the_arrow_follows_the_drawing_when_the_file_names_the_ends_the_other_way() -> None:
    changes = {"links.1.ends": ["carrier:cell", "alice:lte"]}
    scenario = sim.load(TOPOLOGIES / "road-warrior-mobike.yaml", changes)
    assert "→ 80 Mbit/s ← 20 Mbit/s\n35 ms, ± 5 ms" in texts(sim.plots.topology(scenario))


def test_islands_parallel_links_and_tunnels_within_a_column_keep_apart() -> None:
    figure = sim.plots.topology(load_text(ODD))
    figure.canvas.draw()
    (ax,) = figure.axes
    assert all(inside(figure, text.get_window_extent().bounds) for text in ax.texts)
    assert len({tuple(map(tuple, line.get_xydata())) for line in ax.lines}) == 7  # type: ignore[arg-type]
    assert len({tuple(places.get_offsets()[0]) for places in ax.collections}) == 8  # type: ignore[index, arg-type]
    (arc,) = ax.patches
    assert np.ptp(np.asarray(arc.get_path().vertices)[:, 0]) > 1


def test_latency_has_a_point_for_each_arrival_and_a_cross_for_each_loss() -> None:
    result = moved()
    (ax,) = sim.plots.latency(result, "up").axes
    points, crosses = (line for line in ax.lines if line.get_marker() in (".", "x"))
    (row,) = (row for row in result.summary["flows"] if row["name"] == "up")
    assert len(points.get_xdata(orig=True)) == row["received"]  # type: ignore[arg-type]
    assert len(crosses.get_xdata(orig=True)) == row["lost"]  # type: ignore[arg-type]
    assert row["lost"] > 0


def test_latency_shades_outages_and_marks_the_event_behind_them() -> None:
    result = moved()
    (ax,) = sim.plots.latency(result).axes
    (outage,) = (outage for row in result.summary["flows"] for outage in row["outages"])
    shaded = [patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches]
    assert [(box.x0, box.x1) for box in shaded] == [pytest.approx((outage["from_s"], outage["to_s"]))]
    assert "alice: move" in notes(ax)


def test_loss_is_the_share_of_each_interval() -> None:
    result = moved()
    (ax,) = sim.plots.loss(result, "up", interval_s=1.0).axes
    (stairs,) = ax.patches
    values = stairs.get_data().values  # type: ignore[attr-defined]
    up = result.flows[result.flows.flow == "up"]
    second = up[(up.sent_s >= 15) & (up.sent_s < 16)]
    assert values[15] == pytest.approx(100 * second.received_s.isna().mean())
    assert values[15] > 0
    assert np.isnan(values[0])  # the flow starts at 1 s


def test_messages_pair_sending_and_arrival_across_a_nat() -> None:
    found = moved().ladder("rw").passages
    assert [passage.node for passage in found[:4]] == ["alice", "moon", "alice", "moon"]
    for passage in found:
        assert passage.received_at > passage.at
        assert passage.end != passage.node


def test_lost_messages_end_half_way() -> None:
    result = cut_off()
    found = result.ladder().passages
    assert found
    assert all(passage.received_at < 0 for passage in found)
    words = f"IKE_SA_INIT request 0, retransmission 1: {found[1].size} octets"
    assert words in texts(sim.plots.messages(result))
    assert len([line for line in sim.plots.messages(result).axes[0].lines if line.get_marker() == "x"]) == 2


def test_messages_show_the_notation_of_the_events_table() -> None:
    words = " ".join(texts(sim.plots.messages(moved(), "rw"))).replace("\n", " ")
    assert "HDR, SAi1, KEi, Ni, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)" in words
    assert "N(UPDATE_SA_ADDRESSES)" in words


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="there is up, echo"):
        sim.plots.latency(moved(), "down")
    with pytest.raises(ValueError, match="connections: rw"):
        sim.plots.messages(moved(), "wr")


def test_plots_go_into_axes_that_the_caller_has() -> None:
    figure = Figure()
    above, below = figure.subplots(2, 1)
    assert sim.plots.latency(moved(), ax=above) is figure
    assert sim.plots.topology(moved().world.scenario, ax=below) is figure
    assert above.lines
    assert below.texts


def test_a_notebook_shows_a_png_and_it_is_the_same_each_time() -> None:
    first, second = (sim.plots.latency(moved(), "up")._repr_png_() for _ in range(2))  # type: ignore[attr-defined]
    assert first.startswith(b"\x89PNG")
    assert first == second


def test_plots_are_loaded_on_demand_and_never_pyplot() -> None:
    program = (
        "import sys, sim\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert callable(sim.plots.topology)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=TOPOLOGIES.parent)


ODD = """
name: odd
duration: 5 s
nodes:
  middle: {kind: router, interfaces: {a: 10.0.1.1/24, b: 10.0.2.1/24, c: ["fd00:5::1/64", 10.0.3.1/24]}}
  gateway-with-a-name: {kind: gateway, interfaces: {w: 10.0.1.2/24, x: 10.1.0.1/24, y: 10.9.0.1/24}}
  g2: {kind: gateway, interfaces: {w: 10.0.2.2/24}}
  h1: {kind: host, interfaces: {x: 10.1.0.2/24, y: 10.9.0.2/24}}
  six: {kind: host, interfaces: {eth: ["fd00:5::2/64", 10.0.3.2/24]}}
  lone: {kind: host, interfaces: {eth: 172.16.0.1/24}}
  other: {kind: host, interfaces: {eth: 172.16.0.2/24, more: 172.17.0.2/24}}
  last: {kind: host, interfaces: {eth: 172.17.0.1/24}}
links:
  - {ends: [middle:a, gateway-with-a-name:w], jitter: {distribution: exponential, scale: 2 ms}}
  - {ends: [middle:b, g2:w], mtu: 1400 B}
  - {ends: [middle:c, six:eth], delay: 1 ms}
  - {ends: [gateway-with-a-name:x, h1:x]}
  - {ends: [gateway-with-a-name:y, h1:y], delay: 3 ms}
  - {ends: [lone:eth, other:eth]}
  - {ends: [other:more, last:eth]}
tunnels:
  t: {initiator: g2, responder: six, auth: {psk: "x"}, children: {n: {mode: transport}}}
"""


@cache
def moved() -> sim.Result:
    """A road warrior that moves once: 17 of the 40 s."""
    return sim.run(TOPOLOGIES / "road-warrior-mobike.yaml", seed=7, until=17_000_000_000)


@cache
def cut_off() -> sim.Result:
    """Nothing gets from one gateway to the other."""
    changes = {"links.2.loss": "100 %", "traffic": [], "checks": []}
    return sim.run(sim.load(TOPOLOGIES / "site-to-site.yaml", changes))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def notes(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts if isinstance(text, Annotation)]


def inside(figure: Figure, bounds: tuple[float, float, float, float]) -> bool:
    left, low, width, height = bounds
    return left >= 0 and low >= 0 and left + width <= figure.bbox.width and low + height <= figure.bbox.height
