"""Which interfaces and connections each flow depends on, and how that changes with a scenario's events."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Course(NamedTuple):
    """`node:iface` of every interface that a flow's packets pass, there and back, and whose tunnels.

    A connection is (node, its name), for both ends.
    """

    ports: frozenset[str]
    connections: frozenset[tuple[str, str]]

    def nodes(self) -> frozenset[str]:
        """Every node whose interfaces can make it another course."""
        return frozenset(
            (*(port.partition(":")[0] for port in self.ports), *(node for node, _ in self.connections))
        )


class _History:
    """The courses of one flow, and since when."""

    __slots__ = ("courses", "known", "nodes", "since")

    def __init__(self, ends: Iterable[str]) -> None:
        self.since: list[int] = []
        self.courses: list[Course] = []
        self.known: dict[frozenset[str], Course] = {}
        """By the interfaces that are down on its nodes."""
        self.nodes: dict[str, None] = dict.fromkeys(ends)
        """Its ends, and all that it has come by at any time."""


class Courses:
    """The courses of all flows over time.

    A course follows from what is down on the nodes that it passes, and is computed once for each of these:
    a thousand hosts that move one after the other change one flow each.
    """

    def __init__(self) -> None:
        self._histories: dict[str, _History] = {}
        self._passing: dict[str, dict[str, None]] = {}
        """Node to the flows that have come by it at any time."""
        self._down: dict[str, set[str]] = {}
        """Node to its interfaces that are down."""

    def begin(
        self,
        now: int,
        states: Iterable[tuple[str, bool]],
        courses: Iterable[tuple[str, frozenset[str], Course]],
    ) -> None:
        """`node:iface` of all interfaces and whether each is up; the flows with their ends and courses."""
        self._switch(states)
        for name, ends, course in courses:
            self._histories[name] = _History(sorted(ends))
            self._put(name, now, course)

    def note(self, now: int, states: Iterable[tuple[str, bool]], compute: Callable[[str], Course]) -> None:
        """From now on these interfaces are up or down; `compute` is asked for flows that this can change."""
        nodes = self._switch(states)
        for name in dict.fromkeys(name for node in nodes for name in self._passing.get(node, ())):
            history = self._histories[name]
            here = self._down_at(history)
            if here not in history.known:
                self._put(name, now, compute(name))
            elif history.known[here] is not history.courses[-1]:
                history.since.append(now)
                history.courses.append(history.known[here])

    def around(self, flow: str, at: int) -> tuple[Course, Course]:
        """The course of a flow before and after what happened at an instant."""
        history = self._histories[flow]
        before = max(0, bisect_left(history.since, at) - 1)
        after = max(0, bisect_right(history.since, at) - 1)
        return history.courses[before], history.courses[after]

    def _switch(self, states: Iterable[tuple[str, bool]]) -> list[str]:
        """The nodes on which anything has changed."""
        changed: dict[str, None] = {}
        for label, up in states:
            node = label.partition(":")[0]
            down = self._down.setdefault(node, set())
            if up is (label in down):
                (down.discard if up else down.add)(label)
                changed[node] = None
        return list(changed)

    def _put(self, name: str, now: int, course: Course) -> None:
        history = self._histories[name]
        history.nodes |= dict.fromkeys(sorted(course.nodes()))
        for node in history.nodes:
            self._passing.setdefault(node, {})[name] = None
        history.known[self._down_at(history)] = course
        history.since.append(now)
        history.courses.append(course)

    def _down_at(self, history: _History) -> frozenset[str]:
        return frozenset().union(*(self._down.get(node, ()) for node in history.nodes))
