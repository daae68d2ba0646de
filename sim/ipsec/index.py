"""Policies that share the prefix of their far side, found without a look at each.

What a selector fixes to one value (a host, a port) is a key of a hash table; there is one table for each set
of fixed fields in use. Ranges under one key become bit vectors when they are many: each field is cut where a
range begins or ends, every stretch between two cuts has a bit for each range that covers it, and a packet's
policy is the lowest bit that is set in the stretches of all its fields (Lakshman and Stiliadis, 1998).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sim.ipsec.policy import Policy
from sim.ipsec.traffic import OPAQUE, TYPED, covers
from sim.wire.selector import ANY_PORTS, OPAQUE_PORTS, Selector

FEW = 8
"""So many are looked at one by one as quickly."""

_REMOTE, _LOCAL, _REMOTE_PORT, _LOCAL_PORT = 1, 2, 4, 8
"""Fields of a packet that a key may have."""

_Key = tuple[object, ...]
_Shape = tuple[int, int]  # protocol, 0 for any; which fields are fixed


class Rule(NamedTuple):
    """A policy's place in the order, and one pair of its selectors."""

    rank: int
    remote: Selector
    local: Selector
    policy: Policy


class Index:
    """Rules of one prefix. `first` costs about the same for one as for a thousand."""

    __slots__ = ("_tables",)

    def __init__(self) -> None:
        self._tables: dict[_Shape, dict[_Key, Bucket]] = {}

    def add(self, rank: int, remote: Selector, policy: Policy) -> None:
        for rule in rules(rank, remote, policy):
            shape = _shape(rule)
            table = self._tables.setdefault(shape, {})
            table.setdefault(_key(rule, shape[1]), Bucket()).add(rule)

    def remove(self, rank: int, remote: Selector, policy: Policy) -> None:
        for rule in rules(rank, remote, policy):
            shape = _shape(rule)
            table, key = self._tables[shape], _key(rule, shape[1])
            bucket = table[key]
            bucket.remove(rule)
            if not bucket.rules:
                del table[key]
                if not table:
                    del self._tables[shape]

    def first(
        self, remote: bytes, protocol: int, remote_port: int, local: bytes, local_port: int
    ) -> tuple[int, Policy] | None:
        """The first policy for a packet between two ends, and its rank."""
        best: Rule | None = None
        for (wanted, fixed), table in self._tables.items():
            if wanted and wanted != protocol:
                continue
            key = (
                fixed & _REMOTE and remote,
                fixed & _LOCAL and local,
                fixed & _REMOTE_PORT and remote_port,
                fixed & _LOCAL_PORT and local_port,
            )
            bucket = table.get(key)
            if bucket is not None:
                rule = bucket.first(remote, protocol, remote_port, local, local_port)
                if rule is not None and (best is None or rule.rank < best.rank):
                    best = rule
        return None if best is None else (best.rank, best.policy)


def rules(rank: int, remote: Selector, policy: Policy) -> Iterator[Rule]:
    """Those of one remote selector; no packet has ends of two IP versions, or two protocols."""
    for local in dict.fromkeys(policy.local_ts):
        if len(local.start) != len(remote.start):
            continue
        if local.protocol and remote.protocol and local.protocol != remote.protocol:
            continue
        yield Rule(rank, remote, local, policy)


class Bucket:
    """Rules with the same key, in their order."""

    __slots__ = ("_vectors", "rules")

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._vectors: tuple[_Field, ...] = ()

    def add(self, rule: Rule) -> None:
        insort(self.rules, rule, key=_order)
        self._vectors = ()

    def remove(self, rule: Rule) -> None:
        del self.rules[bisect_left(self.rules, _order(rule), key=_order)]
        self._vectors = ()

    def first(
        self, remote: bytes, protocol: int, remote_port: int, local: bytes, local_port: int
    ) -> Rule | None:
        rules = self.rules
        if len(rules) <= FEW:
            for rule in rules:
                if covers(rule.remote, remote, protocol, remote_port) and covers(
                    rule.local, local, protocol, local_port
                ):
                    return rule
            return None
        far, near, far_port, near_port = self._vectors or self._cut()
        # All rules of a bucket are for the same protocol, or for any.
        bits = (
            far.at(int.from_bytes(remote, "big"))
            & near.at(int.from_bytes(local, "big"))
            & far_port.at(remote_port)
            & near_port.at(local_port)
        )
        return rules[(bits & -bits).bit_length() - 1] if bits else None

    def _cut(self) -> tuple[_Field, ...]:
        rules = self.rules
        self._vectors = (
            _Field([_addresses(rule.remote) for rule in rules]),
            _Field([_addresses(rule.local) for rule in rules]),
            _Field([rule.remote.ports for rule in rules]),
            _Field([rule.local.ports for rule in rules]),
        )
        return self._vectors


class _Field:
    """One field of many rules: for each stretch of values, bits of the rules that take them."""

    __slots__ = ("_all", "_bits", "_cuts", "_opaque")

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._all = (1 << len(ranges)) - 1
        self._opaque = 0
        flips: dict[int, int] = {0: 0}
        for number, (low, high) in enumerate(ranges):
            bit = 1 << number
            if (low, high) in (ANY_PORTS, OPAQUE_PORTS):
                self._opaque |= bit
            if low <= high:
                flips[low] = flips.get(low, 0) ^ bit
                flips[high + 1] = flips.get(high + 1, 0) ^ bit
        self._cuts = sorted(flips)
        self._bits: list[int] = []
        bits = 0
        for cut in self._cuts:
            bits ^= flips[cut]
            self._bits.append(bits)

    def at(self, value: int) -> int:
        if value >= 0:
            return self._bits[bisect_right(self._cuts, value) - 1]
        return self._opaque if value == OPAQUE else self._all


def _order(rule: Rule) -> tuple[int, Selector, Selector]:
    return rule.rank, rule.remote, rule.local


def _addresses(selector: Selector) -> tuple[int, int]:
    return int.from_bytes(selector.start, "big"), int.from_bytes(selector.end, "big")


def _shape(rule: Rule) -> _Shape:
    """Ports are fixed only where a packet surely shows one at both ends; not those of ICMP."""
    remote, local = rule.remote, rule.local
    protocol = remote.protocol or local.protocol
    fixed = _REMOTE * (remote.start == remote.end) + _LOCAL * (local.start == local.end)
    if protocol and protocol not in TYPED:
        fixed += _REMOTE_PORT * (remote.ports[0] == remote.ports[1])
        fixed += _LOCAL_PORT * (local.ports[0] == local.ports[1])
    return protocol, fixed


def _key(rule: Rule, fixed: int) -> _Key:
    return (
        fixed & _REMOTE and rule.remote.start,
        fixed & _LOCAL and rule.local.start,
        fixed & _REMOTE_PORT and rule.remote.ports[0],
        fixed & _LOCAL_PORT and rule.local.ports[0],
    )
