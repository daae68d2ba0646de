"""How late things were: percentiles within a sixteenth, exact limits, flat memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.live.lateness import Lateness
from sim.units import NS_PER_MS


@given(st.lists(st.integers(0, 10**11), min_size=1), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_at_most_a_sixteenth_too_high(durations: list[int], share: float) -> None:
    late = Lateness()
    for duration in durations:
        late.add(duration)
    wanted = next(d for n, d in enumerate(sorted(durations), 1) if n >= share * len(durations))
    assert wanted <= late.percentile(share) <= wanted * 17 / 16


def test_limits_are_counted_exactly_and_early_is_not_late() -> None:
    late = Lateness()
    for duration in (-5, NS_PER_MS, NS_PER_MS + 1, 10 * NS_PER_MS, 10 * NS_PER_MS + 1):
        late.add(duration)
    row = late.row()
    assert (row["count"], row["over_1_ms"], row["over_10_ms"]) == (5, 3, 1)
    assert row["max_s"] == 0.010000001


def test_memory_does_not_grow_with_the_number() -> None:
    late = Lateness()
    for duration in range(0, 10**7, 100):
        late.add(duration)
    assert len(late._buckets) < 400


def test_without_any_nothing_was_late() -> None:
    assert Lateness().row() == {
        "count": 0, "p50_s": 0, "p95_s": 0, "p99_s": 0, "max_s": 0, "over_1_ms": 0, "over_10_ms": 0,
    }  # fmt: skip
