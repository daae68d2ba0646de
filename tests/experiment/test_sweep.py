"""A scenario over a grid of overrides and seeds, and the confidence of what it finds."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import sim
from sim.experiment.sweep import grid
from sim.experiment.sweep_command import read_vary, run_sweep
from sim.scenario.errors import ScenarioError

TOPOLOGY = Path("topologies/mobike/handover.yaml")
SHORT: dict[str, list[object]] = {"duration": ["3 s"], "links.1.loss": ["0 %", "20 %"]}


def test_there_is_a_row_for_each_variant_and_seed() -> None:
    table = sim.sweep(TOPOLOGY, SHORT, seeds=2, processes=1)
    assert list(zip(table["links.1.loss"], table.seed, strict=True)) == [
        ("0 %", 1), ("0 %", 2), ("20 %", 1), ("20 %", 2),
    ]  # fmt: skip
    assert (table["down.lost"][2:] > table["down.lost"][0]).all()
    assert table["down.lost"][0] == table["down.lost"][1]
    assert table["down.lost"][2] != table["down.lost"][3]


def test_processes_change_nothing() -> None:
    alone, together = (sim.sweep(TOPOLOGY, SHORT, seeds=[3], processes=count) for count in (1, 2))
    pd.testing.assert_frame_equal(alone, together)


def test_the_last_key_varies_fastest() -> None:
    assert grid({"a": [1, 2], "b": [3, 4]}) == [
        {"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4},
    ]  # fmt: skip


def test_a_variant_that_cannot_be_built_is_told_before_anything_runs() -> None:
    told: list[tuple[int, int]] = []
    with pytest.raises(ScenarioError, match=r"links\.1\.delay"):
        sim.sweep(TOPOLOGY, {"links.1.delay": ["5 ms", "5"]}, progress=lambda *done: told.append(done))
    assert not told


def test_no_runs_are_no_sweep() -> None:
    with pytest.raises(ScenarioError, match="has 0 runs"):
        sim.sweep(TOPOLOGY, {"links.1.delay": []})


def test_an_error_of_another_process_arrives_whole() -> None:
    with pytest.raises(ScenarioError) as caught:
        sim.load("no-such-file.yaml")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_interval_by_student_is_scipy_s() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    found = sim.interval(pd.DataFrame({"cell": ["a"] * 4, "x": values}), "x", by="cell", method="t").iloc[0]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found["mean"], found.low, found.high) == pytest.approx((3.75, low, high))


def test_bootstrap_covers_the_mean_and_is_the_same_each_time() -> None:
    values = np.random.default_rng(5).exponential(3, 200)
    table = pd.DataFrame({"cell": "a", "x": values})
    first, second = (sim.interval(table, "x", by="cell") for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    width = 1.96 * values.std() / np.sqrt(200)
    assert first.low[0] == pytest.approx(values.mean() - width, rel=0.05)
    assert first.high[0] == pytest.approx(values.mean() + width, rel=0.05)


def test_equal_values_have_an_interval_without_width_and_one_value_has_none() -> None:
    found = sim.interval(pd.DataFrame({"cell": ["a", "a", "b"], "x": [2.0, 2.0, 7.0]}), "x", by=["cell"])
    assert [found[name][0] for name in ("mean", "low", "high", "runs")] == [2, 2, 2, 2]
    assert found["mean"][1] == 7
    assert np.isnan(found.low[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"value": "y"}, "no column y"), ({"method": "guess"}, "no method"), ({"level": 95}, "no level")],
)
def test_an_interval_of_nothing_is_refused(arguments: dict[str, object], words: str) -> None:
    table = pd.DataFrame({"cell": ["a"], "x": [1.0]})
    with pytest.raises(ValueError, match=words):
        sim.interval(table, **{"value": "x", "by": "cell", **arguments})  # type: ignore[arg-type]


def test_the_command_writes_csv_and_parquet_of_one_content(tmp_path: Path) -> None:
    vary = ["links.1.delay=5 ms,50 ms"]
    for name in ("runs.csv", "runs.parquet"):
        told = run_sweep(TOPOLOGY, vary, 1, ["duration=3 s"], tmp_path / name, 1)
        assert told == f"2 runs, written to {tmp_path / name}\n"
    tables = [pd.read_csv(tmp_path / "runs.csv"), pd.read_parquet(tmp_path / "runs.parquet")]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_dtype=False)
    assert list(tables[0]["links.1.delay"]) == ["5 ms", "50 ms"]
    assert "duration" not in tables[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.csv", "runs.parquet"]


def test_a_file_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    """A result must not be lost after hours; the name is the user's."""
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "runs.csv"
    with pytest.raises(OSError, match=r"Not a directory|File exists") as told:
        run_sweep(TOPOLOGY, ["links.1.delay=5 ms"], 1, [], out, 1, lambda *_: pytest.fail("it ran"))
    assert told.value.filename == str(out)
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        run_sweep(TOPOLOGY, ["links.1.delay=5 ms"], 1, [], tmp_path / "d.csv", 1)


def test_folders_above_the_table_are_made(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder" / "runs.csv"
    run_sweep(TOPOLOGY, ["links.1.delay=5 ms"], 1, ["duration=3 s"], out, 1)
    assert [path.name for path in out.parent.iterdir()] == ["runs.csv"]


def test_a_comma_in_brackets_parts_nothing() -> None:
    path, values = read_vary("links.0.delay={up: 1 ms, down: 2 ms},5 ms")
    assert path == "links.0.delay"
    assert values == [{"up": "1 ms", "down": "2 ms"}, "5 ms"]


@pytest.mark.parametrize("text", ["links.0.delay", "=5 ms", "a=", "a=[", "a={b"])
def test_values_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(ScenarioError):
        read_vary(text)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"must end in \.csv or \.parquet"):
        run_sweep(TOPOLOGY, [], 1, [], tmp_path / "runs.txt", 1)
