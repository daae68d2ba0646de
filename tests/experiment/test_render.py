"""What people read of a run, where there is too much of it to be told one by one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import sim
from sim.experiment.result import Result
from sim.scenario.load import load_text
from tests.scenario.base import TEXT


@pytest.mark.parametrize(("cuts", "told"), [(10, 10), (11, 5)])
def test_of_many_outages_only_the_longest_are_told_one_by_one(cuts: int, told: int) -> None:
    result = _cut_off(cuts)
    lines = [line for line in _printed(result).splitlines() if line.startswith("outage of up")]
    rows = result.summary["flows"][0]["outages"]
    longest = sorted(rows, key=lambda row: row["to_s"] - row["from_s"])[-told:]
    assert len(rows) == cuts
    assert len(lines) == told
    for line, row in zip(lines, sorted(longest, key=lambda row: row["from_s"]), strict=True):
        assert f"from {row['from_s']:.3f} s to {row['to_s']:.3f} s" in line


def test_of_the_other_outages_number_time_and_longest_are_told() -> None:
    result = _cut_off(11)
    rows = sorted(result.summary["flows"][0]["outages"], key=lambda row: row["to_s"] - row["from_s"])[:6]
    first, last = min(row["from_s"] for row in rows), max(row["to_s"] for row in rows)
    text = f"... and 6 more, from {first:.3f} s to {last:.3f} s"
    assert f"{text}, the longest of {rows[-1]['to_s'] - rows[-1]['from_s']:.3f} s" in _printed(result)
    assert "... and" not in _printed(_cut_off(10))


@pytest.mark.parametrize(("window", "told"), [(32, True), (4096, False)])
def test_many_packets_left_of_the_replay_window_are_a_hint_at_it(window: int, told: bool) -> None:
    children = f"tunnels.rw.children.net.replay_window={window}"
    overrides = ["links.0.jitter=100 ms", "links.0.reorder=true", children, "traffic.0.rate=4 Mbit/s"]
    result = sim.run(load_text(TEXT, overrides=overrides))
    rows = [row for row in result.summary["drops"] if row["reason"] == "older than the replay window"]
    hint = "behind its replay window: a child with a larger `replay_window` takes them"
    assert bool(rows) is (hint in _printed(result)) is told


def test_names_of_flows_are_whole_in_80_columns() -> None:
    """Rather the share of what was lost stands below its number."""
    result = sim.run(load_text(TEXT))
    row = result.summary["flows"][0]
    row |= {"name": "web.down", "sent": 123456, "lost": 12345, "reordered": 54321}
    console = Console(width=80, file=io.StringIO())
    console.print(result.render())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert " web.down  " in text
    assert "12345" in text
    assert max(map(len, text.splitlines())) <= 80


def _cut_off(times: int) -> Result:
    """The longer, the later, but for the last one, which is the longest but one."""
    events = []
    for number in range(times):
        lasts = 60 + 10 * (number if number < times - 1 else times - 3) + number % 2
        for at, do in ((200 * number, "down"), (200 * number + lasts, "up")):
            events.append(f"{{at: {600 + at} ms, node: bob, do: {do}, interface: eth}}")
    return sim.run(load_text(TEXT, overrides=[f"events=[{', '.join(events)}]"]))


def _printed(result: Result) -> str:
    console = Console(width=400, file=io.StringIO())
    console.print(result.render())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text
