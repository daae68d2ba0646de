"""Policies by the addresses of their far side, so that one of many is found without looking at the others.

Each remote selector stands in the table of the narrowest prefix that holds all of it. A look-up asks one
table for each length of prefix that is in use, which are few however many policies there are. A table with
many policies has an index of its own from the first look-up on.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import merge

from sim.ipsec.index import FEW, Index
from sim.ipsec.policy import Policy
from sim.ipsec.traffic import covers
from sim.wire.selector import Selector

Entry = tuple[int, Selector, Policy]
"""A policy's place in the order, and one of its remote selectors."""

_Level = tuple[int, int]  # octets of an address, length of a prefix


class ByRemote:
    """Policies that are told apart by their rank: the lower comes first."""

    __slots__ = ("_indexes", "_levels", "_starts")

    def __init__(self) -> None:
        self._levels: dict[_Level, dict[int, list[Entry]]] = {}
        self._indexes: dict[tuple[_Level, int], Index] = {}
        self._starts: dict[int, list[tuple[bytes, int, Policy]]] = {}  # where the first selector begins

    def add(self, rank: int, policy: Policy) -> None:
        for selector in dict.fromkeys(policy.remote_ts):
            level, prefix = _place(selector)
            insort(self._levels.setdefault(level, {}).setdefault(prefix, []), (rank, selector, policy))
            if (index := self._indexes.get((level, prefix))) is not None:
                index.add(rank, selector, policy)
        for start in _first_start(policy):
            insort(self._starts.setdefault(len(start), []), (start, rank, policy))

    def remove(self, rank: int, policy: Policy) -> None:
        for selector in dict.fromkeys(policy.remote_ts):
            level, prefix = _place(selector)
            table = self._levels[level]
            entries = table[prefix]
            del entries[bisect_left(entries, (rank, selector))]
            if len(entries) <= FEW:
                self._indexes.pop((level, prefix), None)
            elif (index := self._indexes.get((level, prefix))) is not None:
                index.remove(rank, selector, policy)
            if not entries:
                del table[prefix]
                if not table:
                    del self._levels[level]
        for start in _first_start(policy):
            starts = self._starts[len(start)]
            del starts[bisect_left(starts, (start, rank))]

    def first(
        self, remote: bytes, protocol: int, remote_port: int, local: bytes, local_port: int
    ) -> Policy | None:
        """The first policy for a packet between two ends."""
        best, found = None, None
        for place, entries in self._tables(remote):
            if len(entries) > FEW:
                index = self._indexes.get(place) or self._indexed(place, entries)
                hit = index.first(remote, protocol, remote_port, local, local_port)
                if hit is not None and (best is None or hit[0] < best):
                    best, found = hit
                continue
            for rank, selector, policy in entries:
                if best is not None and rank > best:
                    break
                if covers(selector, remote, protocol, remote_port) and any(
                    covers(near, local, protocol, local_port) for near in policy.local_ts
                ):
                    best, found = rank, policy
                    break
        return found

    def towards(self, remote: bytes) -> Iterator[Policy]:
        """The policies for some packet to an address, in their order; one may come more than once."""
        entries: Iterable[Entry] = merge(*(entries for _, entries in self._tables(remote)))
        return (policy for _, selector, policy in entries if selector.start <= remote <= selector.end)

    def within(self, wide: Iterable[Selector]) -> Iterator[tuple[int, Policy]]:
        """Those whose first remote selector begins inside one of these, in no order, with their ranks."""
        for selector in wide:
            starts = self._starts.get(len(selector.start), [])
            for at in range(bisect_left(starts, (selector.start,)), len(starts)):
                start, rank, policy = starts[at]
                if start > selector.end:
                    break
                yield rank, policy

    def _indexed(self, place: tuple[_Level, int], entries: list[Entry]) -> Index:
        index = self._indexes[place] = Index()
        for rank, selector, policy in entries:
            index.add(rank, selector, policy)
        return index

    def _tables(self, remote: bytes) -> list[tuple[tuple[_Level, int], list[Entry]]]:
        size, value = len(remote), int.from_bytes(remote, "big")
        bits = 8 * size
        tables = []
        for level, table in self._levels.items():
            if level[0] == size:
                prefix = value >> (bits - level[1])
                entries = table.get(prefix)
                if entries is not None:
                    tables.append(((level, prefix), entries))
        return tables


def _first_start(policy: Policy) -> Iterator[bytes]:
    return (selector.start for selector in policy.remote_ts[:1])


def _place(selector: Selector) -> tuple[_Level, int]:
    """The narrowest prefix around a range of addresses."""
    size, start = len(selector.start), int.from_bytes(selector.start, "big")
    free = (start ^ int.from_bytes(selector.end, "big")).bit_length()
    return (size, 8 * size - free), start >> free
