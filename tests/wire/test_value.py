"""What `value` and `quick` promise of the classes that they make."""

from __future__ import annotations

from enum import IntEnum

import pytest

from sim.wire.value import quick, value


@value
class Point:
    x: int
    y: int = 0


@quick
class _Colour(IntEnum):
    RED = 1
    ROUGE = 1
    BLUE = 2


def test_equal_fields_make_equal_values_with_equal_hashes() -> None:
    assert Point(1) == Point(1, 0) != Point(0, 1)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_a_value_has_no_other_fields() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]


def test_the_type_checker_refuses_a_change() -> None:
    """mypy calls the comment superfluous, which is an error here, as soon as it allows the assignment."""
    Point(1).x = 2  # type: ignore[misc]


def test_a_quick_enumeration_is_one_like_any_other_with_plain_attributes() -> None:
    assert _Colour.__dict__["BLUE"] is _Colour.BLUE is _Colour(2) is _Colour["BLUE"]
    assert _Colour["ROUGE"] is _Colour.RED
    assert list(_Colour) == [1, 2]
    assert (_Colour.RED.name, repr(_Colour.RED)) == ("RED", "<_Colour.RED: 1>")
