"""Which interfaces and connections each flow depends on, and how that changes with a scenario's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Course(NamedTuple):
    """`node:iface` of every interface that a flow's packets pass, there and back, and whose tunnels.

    A connection is (node, its name), for both ends.
    """

    ports: frozenset[str]
    connections: frozenset[tuple[str, str]]


class Courses:
    """The courses of all flows over time, computed once for each set of interfaces that are down."""

    def __init__(self) -> None:
        self._states: dict[frozenset[str], dict[str, Course]] = {}
        self._history: list[tuple[int, dict[str, Course]]] = []

    def note(self, now: int, down: frozenset[str], compute: Callable[[], dict[str, Course]]) -> None:
        """From now on these interfaces are down; `compute` is asked unless they have been before."""
        if down not in self._states:
            self._states[down] = compute()
        self._history.append((now, self._states[down]))

    def around(self, flow: str, at: int) -> tuple[Course, Course]:
        """The course of a flow before and after what happened at an instant."""
        first = self._history[0][1]
        before = [courses for since, courses in self._history if since < at]
        after = [courses for since, courses in self._history if since <= at]
        return (before or [first])[-1][flow], (after or [first])[-1][flow]
