"""The routing table: longest prefix match over packed addresses (RFC 1812 5.2.4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sim.net.port import Port


class Route(NamedTuple):
    """To a prefix through a port; among routes to one prefix the lowest metric wins, then the oldest."""

    prefix: bytes
    length: int
    port: Port
    metric: int = 0


class RouteTable:
    """Routes of both families, looked up by destination; a route through a port that is down is skipped.

    Results are cached per destination. Whoever changes the state of a port calls `flush`; `changed` is
    called whenever routes come or go.
    """

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        self._changed = changed
        self._levels: dict[tuple[int, int], dict[int, list[Route]]] = {}  # (address size, length) -> prefix
        self._order: list[tuple[int, int]] = []  # longest first
        self._cache: dict[bytes, Port | None] = {}

    def __iter__(self) -> Iterator[Route]:
        """All of them, longest prefixes first; to one prefix the best first."""
        for level in self._order:
            for routes in self._levels[level].values():
                yield from routes

    def add(self, prefix: bytes, length: int, port: Port, metric: int = 0) -> None:
        """Bits of `prefix` behind `length` are ignored; ValueError when the length does not fit."""
        level, key = self._place(prefix, length)
        if level not in self._levels:
            self._levels[level] = {}
            self._order = sorted(self._levels, reverse=True)
        routes = self._levels[level].setdefault(key, [])
        routes.append(Route(prefix, length, port, metric))
        routes.sort(key=lambda route: route.metric)
        self.flush()

    def remove(self, prefix: bytes, length: int, port: Port) -> None:
        """Take the oldest route to that prefix through that port away; ValueError when there is none."""
        level, key = self._place(prefix, length)
        routes = self._levels.get(level, {}).get(key, [])
        for route in routes:
            if route.port is port:
                routes.remove(route)
                self.flush()
                return
        raise ValueError(f"no such route through {port!r}")

    def lookup(self, dst: bytes) -> Port | None:
        """The port towards `dst`, or None when there is no route."""
        try:
            return self._cache[dst]
        except KeyError:
            if len(self._cache) >= 65536:  # a scan over addresses must not eat the memory
                self._cache.clear()
            port = self._cache[dst] = self._search(dst)
            return port

    def leads(self, port: Port, dst: bytes) -> bool:
        """Whether any route through a port that is up is one to `dst`, the best or not."""
        return port.up and any(
            route.port is port
            for level in self._order
            if level[0] == len(dst)
            for route in self._levels[level].get(_prefix(dst, level[1]), ())
        )

    def flush(self) -> None:
        self._cache.clear()
        if self._changed is not None:
            self._changed()

    def _search(self, dst: bytes) -> Port | None:
        size = len(dst)
        for level in self._order:
            if level[0] != size:
                continue
            for route in self._levels[level].get(_prefix(dst, level[1]), ()):
                if route.port.up:
                    return route.port
        return None

    @staticmethod
    def _place(prefix: bytes, length: int) -> tuple[tuple[int, int], int]:
        size = len(prefix)
        if size not in (4, 16) or not 0 <= length <= 8 * size:
            raise ValueError(f"a prefix of {size} octets cannot have the length {length}")
        return (size, length), int.from_bytes(prefix, "big") >> (8 * size - length)


def _prefix(address: bytes, length: int) -> int:
    return int.from_bytes(address, "big") >> (8 * len(address) - length)
