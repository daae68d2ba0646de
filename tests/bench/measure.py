"""What the bench measures by: the chain's numbers, one sample, and ratios of runs that take turns."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

HOPS = 5
PAYLOAD_BYTES = 1372
PACKET_BYTES = PAYLOAD_BYTES + 28
INTERVAL_NS = 10_000
"""From packet to packet: a ninth of what a link carries, so that no queue builds up in any simulator."""


class Sample(NamedTuple):
    """How much was done in how many seconds of processor time: a busy neighbour hurts that less."""

    done: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.done / self.seconds


Contestant = Callable[[], Sample]


def take_turns(contestants: Sequence[Contestant], rounds: int) -> list[list[float]]:
    """Rates by contestant and round, run as A B C, A B C ...: what slows the machine down slows all."""
    results = [[_rate(contestant) for contestant in contestants] for _ in range(rounds)]
    return [list(rates) for rates in zip(*results, strict=True)]


def _rate(contestant: Contestant) -> float:
    gc.collect()  # nobody pays for what the one before left behind
    return contestant().rate


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios within a round."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))
