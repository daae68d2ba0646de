"""Answers by the shape of a message are remembered, but not without bounds."""

from __future__ import annotations

from sim.ike.shapes import LONGEST, Shape, remembered


def test_an_answer_is_worked_out_once_unless_its_shape_is_huge() -> None:
    asked: list[int] = []

    @remembered
    def size(shape: Shape, exchange: int) -> int:
        asked.append(exchange)
        return len(shape)

    assert [size((33, 40), 34), size((33, 40), 34), size((33, 40), 35)] == [2, 2, 2]
    assert asked == [34, 35]
    huge = (43,) * (LONGEST + 1)
    assert size(huge, 36) == size(huge, 36) == LONGEST + 1
    assert asked == [34, 35, 36, 36]
