"""What `sim.run` takes and how far it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sim
from sim.scenario.load import load_text
from sim.units import NS_PER_S
from tests.scenario.base import TEXT, changed


def test_it_takes_a_scenario_or_the_file_of_one(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(TEXT)
    scenario = load_text(TEXT)
    summaries = [
        sim.run(what).summary for what in (scenario, tmp_path / "lab.yaml", str(tmp_path / "lab.yaml"))
    ]
    for summary in summaries:
        for key in ("wall_s", "build_s"):
            del summary[key]
    assert summaries[0] == summaries[1] == summaries[2]


def test_until_replaces_the_duration() -> None:
    result = sim.run(load_text(TEXT), until=NS_PER_S)
    assert result.summary["duration_s"] == 1.0
    assert len(result.flows) == 50, "from 0.5 s on, one each 10 ms"
    assert "move" not in set(result.events.event), "that comes at 2 s"


def test_until_may_lie_beyond_the_duration() -> None:
    assert sim.run(load_text(TEXT), until=5 * NS_PER_S).summary["flows"][0]["sent"] == 450


def test_until_may_be_text_with_a_unit() -> None:
    assert sim.run(load_text(TEXT), until="600 ms").summary["duration_s"] == 0.6
    with pytest.raises(ValueError, match="unit"):
        sim.run(load_text(TEXT), until="5")


@pytest.mark.parametrize("until", [0.5, True, [1]])
def test_until_without_a_unit_is_a_whole_number_of_ns(until: Any) -> None:
    with pytest.raises(
        TypeError, match="write text with a unit such as until='5 s', or a whole number of ns"
    ):
        sim.run(load_text(TEXT), until=until)


@pytest.mark.parametrize("seed", ["x", 1.5, None, True])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(TypeError, match=f"seed={seed!r}: a seed is a whole number, such as seed=7"):
        sim.run(load_text(TEXT), seed=seed)


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(ValueError, match="seed=-3: a seed is at least 0"):
        sim.run(load_text(TEXT), seed=-3)


@pytest.mark.parametrize("until", [0, -1])
def test_a_run_lasts_longer_than_nothing(until: int) -> None:
    with pytest.raises(sim.ScenarioError, match="longer than 0 s"):
        sim.run(load_text(TEXT), until=until)


def test_what_happens_at_the_end_does_not_happen_any_more() -> None:
    """The run is [0, duration)."""
    scenario = load_text(changed(("at: 2 s", "at: 1 s")))
    assert "move" not in set(sim.run(scenario, until=NS_PER_S).events.event)
    assert "move" in set(sim.run(scenario, until=NS_PER_S + 1).events.event)


def test_progress_is_told_the_time_reached_up_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    sim.run(load_text(TEXT), progress=lambda now, end: told.append((now, end)))
    times = [now for now, _ in told]
    assert times == sorted(times)
    assert told[-1] == (3 * NS_PER_S, 3 * NS_PER_S)
    assert len(told) > 10


def test_progress_does_not_change_the_run() -> None:
    scenario = load_text(TEXT)
    watched = sim.run(scenario, progress=lambda now, end: None)
    assert watched.events.equals(sim.run(scenario).events)


def test_a_scenario_can_be_run_again_and_again() -> None:
    """It is frozen; a run leaves no trace in it."""
    scenario = load_text(TEXT)
    before = scenario.hash
    first, second = sim.run(scenario), sim.run(scenario)
    assert first.events.equals(second.events)
    assert first.flows.equals(second.flows)
    assert load_text(TEXT).hash == before == scenario.hash


def test_an_error_in_the_scenario_is_found_before_a_folder_is_made(tmp_path: Path) -> None:
    unroutable = load_text(
        TEXT, overrides=["tunnels={}", "checks=[]", "traffic.0.from=bob", "traffic.0.to=alice"]
    )
    with pytest.raises(sim.ScenarioError, match="unroutable"):
        sim.run(unroutable, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
