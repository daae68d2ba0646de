"""What `value` promises of the classes that it makes."""

from __future__ import annotations

import pytest

from sim.wire.value import value


@value
class Point:
    x: int
    y: int = 0


def test_equal_fields_make_equal_values_with_equal_hashes() -> None:
    assert Point(1) == Point(1, 0) != Point(0, 1)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_a_value_has_no_other_fields() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]


def test_the_type_checker_refuses_a_change() -> None:
    """mypy calls the comment superfluous, which is an error here, as soon as it allows the assignment."""
    Point(1).x = 2  # type: ignore[misc]
