"""What a packet costs does not grow with the number of SAs and policies (counted, not timed)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from sim.ipsec.engine import Engine
from tests.bench.policies import KINDS, _packet, crowd, known_flows, new_flows

MANY = 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_packet_takes_no_more_steps_among_a_thousand_policies(kind: str) -> None:
    """Lines of Python that run, which no neighbour can make slower."""
    remote = KINDS[kind](0)
    few, many = (crowd(kind, count) for count in (1, MANY))
    for engine in (few, many):
        engine.outbound(_packet(remote, 5), 0)
        engine.outbound(_packet(remote, 6), 0)  # any index is there now
    assert lines(many, _packet(remote, 5)[:]) == lines(few, _packet(remote, 5)[:])
    one, thousand = lines(few, _packet(remote, 8)), lines(many, _packet(remote, 9))
    assert thousand <= one + 40


@pytest.mark.parametrize("kind", KINDS)
def test_both_measurements_send_every_packet(kind: str) -> None:
    assert known_flows(kind, 10, 100).done == 100
    assert new_flows(kind, 10, 100).done == 100


def lines(engine: Engine, packet: bytearray) -> int:
    return lines_of(lambda: engine.outbound(packet, 0))


def lines_of(act: Callable[[], object]) -> int:
    """How many lines of Python run."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(None)
    return count
