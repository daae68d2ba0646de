"""Nothing that is done for one node or one SA takes longer when there are more of them.

Measured in lines of Python that run, which are the same each time: a search through all others shows as many
more lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import pytest

from sim.scenario.build import build
from sim.scenario.world import World
from tests.bench.road_warriors import road_warriors

T = TypeVar("T")
FEW, MANY = 20, 120
_SLACK = 8
"""Lines that each one may cost more: a search through the others would cost half of MANY - FEW."""


class Effort(NamedTuple):
    """Lines by phase, for one road warrior."""

    loading: float
    building: float
    running: float


@pytest.fixture(scope="module", params=[False, True], ids=["own addresses", "virtual IPs"])
def efforts(request: pytest.FixtureRequest) -> tuple[Effort, Effort]:
    _effort(MANY, request.param)  # fills the caches of the codecs with all that comes again
    return _effort(FEW, request.param), _effort(MANY, request.param)


@pytest.mark.parametrize("phase", Effort._fields)
def test_a_road_warrior_costs_no_more_among_many(efforts: tuple[Effort, Effort], phase: str) -> None:
    few, many = (getattr(effort, phase) for effort in efforts)
    assert many <= few + _SLACK


def _effort(count: int, virtual: bool) -> Effort:
    scenario, loading = _lines(lambda: road_warriors(count, virtual=virtual))
    world, building = _lines(lambda: build(scenario, 1))
    _, running = _lines(lambda: world.sim.run(scenario.duration))
    assert _pairs(world) == count
    return Effort(loading / count, building / count, running / count)


def _pairs(world: World) -> int:
    up = {name: len(stack.engine.sad) for name, stack in world.stacks.items()}
    gateway = up.pop("moon")
    assert set(up.values()) == {1}
    return gateway


def _lines(act: Callable[[], T]) -> tuple[T, int]:
    lines = 0

    def count(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        result = act()
    finally:
        sys.settrace(before)
    return result, lines
