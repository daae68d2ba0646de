"""The security policy database: an ordered list, first match wins (RFC 4301 4.4.1)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator

from sim.ipsec.lookup import ByRemote
from sim.ipsec.nesting import names_ipsec
from sim.ipsec.policy import Action, Policy
from sim.ipsec.traffic import Traffic

_GAP = 1 << 32
"""Between the ranks of neighbours, for those that will stand between them."""
_BAND = 1 << 80
"""Ranks for the policies of one priority."""


class Spd:
    """The policies of one node.

    Their order is that of their priorities, and among equals as the methods say. `default` is what happens to
    a packet that no policy matches. Every change calls `changed`, because whoever remembers a lookup must
    forget it. Neither a lookup nor a change takes longer for policies that have nothing to do with it.
    """

    __slots__ = ("_by_rank", "_by_remote", "_called", "_changed", "_default", "_ranks", "nesting")

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._ranks: list[int] = []  # ascending: the order of the policies
        self._by_rank: dict[int, Policy] = {}
        self._called: dict[tuple[str, int], list[int]] = {}  # name and SPI: ascending ranks
        self._by_remote = ByRemote()
        self._default = Action.BYPASS
        self.nesting = 0
        """How many policies are for ESP or AH by name: see `nesting`."""

    def __iter__(self) -> Iterator[Policy]:
        return iter([self._by_rank[rank] for rank in self._ranks])

    def __len__(self) -> int:
        return len(self._ranks)

    def __contains__(self, policy: Policy) -> bool:
        return self._rank(policy) is not None

    @property
    def default(self) -> Action:
        return self._default

    @default.setter
    def default(self, action: Action) -> None:
        if action is Action.PROTECT:
            raise ValueError("the default of an SPD is bypass or discard: protection needs a policy")
        self._default = action
        self._changed()

    def add(self, policy: Policy, *, first: bool = False) -> None:
        """Put a policy behind all others of its priority, or before them."""
        ranks, base = self._ranks, policy.priority * _BAND
        low, high = bisect_left(ranks, base), bisect_left(ranks, base + _BAND)
        if low == high:
            self._put(policy, base + _BAND // 2)
        else:
            self._put(policy, ranks[low] - _GAP if first else ranks[high - 1] + _GAP)

    def add_sa(self, policy: Policy, behind: Iterable[Policy] = ()) -> None:
        """Put the policy of a new pair of SAs before its equals, but for those for a part of it with an SA.

        So of two SAs for the same traffic the newer is used, and one for a part of it keeps that part. Those
        in `behind` keep what they share with it, as their order decides: a part of it, though they may only
        ask for an SA as yet, or what lies across it. A successor of theirs is put before this one again.
        """
        before = [
            rank
            for rank, old in self._by_remote.within(policy.remote_ts)
            if old.priority == policy.priority and old.spi_in and old.is_inside(policy)
        ]
        for old in behind:
            if old.priority == policy.priority and (old.is_inside(policy) or old.crosses(policy)):
                before += self._ranks_of(old)
        if before:
            self._put_after(policy, max(before))
        else:
            self.add(policy, first=True)

    def add_after(self, policy: Policy, other: Policy) -> None:
        """Put a policy right behind an equal one; ValueError when that is not in the list, or no equal."""
        if policy.priority != other.priority:
            raise ValueError(f"{policy.name} and {other.name} have different priorities")
        self._put_after(policy, self._rank_of(other))

    def remove(self, policy: Policy) -> None:
        """Forget a policy; ValueError when it is not in the list."""
        rank = self._rank_of(policy)
        self._by_remote.remove(rank, self._by_rank.pop(rank))
        self.nesting -= names_ipsec(policy)
        del self._ranks[bisect_left(self._ranks, rank)]
        called = self._called[policy.name, policy.spi_in]
        called.remove(rank)
        if not called:
            del self._called[policy.name, policy.spi_in]
        self._changed()

    def outbound(self, traffic: Traffic) -> Policy | None:
        """The first policy for a packet that leaves: its source is the local side."""
        src, dst, protocol, src_port, dst_port = traffic
        return self._by_remote.first(dst, protocol, dst_port, src, src_port)

    def inbound(self, traffic: Traffic) -> Policy | None:
        """The first policy for a packet that arrives: its source is the remote side."""
        src, dst, protocol, src_port, dst_port = traffic
        return self._by_remote.first(src, protocol, src_port, dst, dst_port)

    def towards(self, remote: bytes) -> Iterator[Policy]:
        """The policies with this address on the far side, in their order; one may come more than once."""
        return self._by_remote.towards(remote)

    def _put_after(self, policy: Policy, rank: int) -> None:
        at = bisect_right(self._ranks, rank)
        if at == len(self._ranks) or self._ranks[at] // _BAND != rank // _BAND:
            self._put(policy, rank + _GAP)
            return
        between = (rank + self._ranks[at]) // 2
        if between == rank:
            self._spread_out()
            self._put_after(policy, self._ranks[at - 1])
        else:
            self._put(policy, between)

    def _put(self, policy: Policy, rank: int) -> None:
        insort(self._ranks, rank)
        self._by_rank[rank] = policy
        insort(self._called.setdefault((policy.name, policy.spi_in), []), rank)
        self._by_remote.add(rank, policy)
        self.nesting += names_ipsec(policy)
        self._changed()

    def _spread_out(self) -> None:
        """Make room between all neighbours; rarely needed, so its cost is spread over many changes."""
        policies = list(self)
        self._ranks, self._by_rank, self._called, self._by_remote = [], {}, {}, ByRemote()
        self.nesting = 0
        for at, policy in enumerate(policies):
            self._put(policy, policy.priority * _BAND + _BAND // 2 + at * _GAP)

    def _rank(self, policy: Policy) -> int | None:
        return next(iter(self._ranks_of(policy)), None)

    def _ranks_of(self, policy: Policy) -> list[int]:
        """The places of a policy, which may stand in the list more than once."""
        ranks = self._called.get((policy.name, policy.spi_in), ())
        return [rank for rank in ranks if self._by_rank[rank] == policy]

    def _rank_of(self, policy: Policy) -> int:
        rank = self._rank(policy)
        if rank is None:
            raise ValueError(f"there is no policy {policy.name} in the list")
        return rank
