"""Random extra delay as a value: what a link adds to each packet, in nanoseconds.

A jitter is drawn from the link's own random stream and is never negative: what a distribution would put
below zero counts as zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Random(Protocol):
    """The draws that distributions need; `random.Random` has them."""

    def random(self) -> float: ...
    def gauss(self, mu: float, sigma: float, /) -> float: ...
    def expovariate(self, lambd: float, /) -> float: ...
    def paretovariate(self, alpha: float, /) -> float: ...


class Jitter(Protocol):
    def draw(self, rng: Random) -> int:
        """One sample, at least 0."""


@dataclass(frozen=True, slots=True)
class Constant:
    value_ns: int

    def draw(self, _rng: Random) -> int:
        return self.value_ns


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every value from `low_ns` to `high_ns`, both included, equally often."""

    low_ns: int
    high_ns: int

    def __post_init__(self) -> None:
        if not 0 <= self.low_ns <= self.high_ns:
            raise ValueError(f"a uniform jitter needs 0 <= low <= high, not {self.low_ns}, {self.high_ns}")

    def draw(self, rng: Random) -> int:
        return self.low_ns + math.floor(rng.random() * (self.high_ns - self.low_ns + 1))


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution cut off at zero."""

    mean_ns: int
    deviation_ns: int

    def draw(self, rng: Random) -> int:
        return max(0, round(rng.gauss(self.mean_ns, self.deviation_ns)))


@dataclass(frozen=True, slots=True)
class Exponential:
    mean_ns: int

    def __post_init__(self) -> None:
        if self.mean_ns <= 0:
            raise ValueError("the mean of an exponential jitter must be above 0 ns")

    def draw(self, rng: Random) -> int:
        return round(rng.expovariate(1 / self.mean_ns))


@dataclass(frozen=True, slots=True)
class Pareto:
    """A Pareto distribution from zero (Lomax): mostly small, with a heavy tail of rare long delays.

    `shape` above 1 gives the mean `scale_ns / (shape - 1)`.
    """

    scale_ns: int
    shape: float

    def __post_init__(self) -> None:
        if self.scale_ns <= 0 or self.shape <= 0:
            raise ValueError("scale and shape of a Pareto jitter must be above 0")

    def draw(self, rng: Random) -> int:
        return round(self.scale_ns * (rng.paretovariate(self.shape) - 1))
