"""The security policy database: an ordered list, first match wins (RFC 4301 4.4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sim.ipsec.policy import Action, Policy
from sim.ipsec.traffic import Traffic


class Spd:
    """The policies of one node.

    `default` is what happens to a packet that no policy matches. Every change calls `changed`, because
    whoever remembers a lookup must forget it.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._policies: list[Policy] = []
        self._default = Action.BYPASS

    def __iter__(self) -> Iterator[Policy]:
        return iter(tuple(self._policies))

    def __len__(self) -> int:
        return len(self._policies)

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
        """Append a policy, or put it before all others."""
        self._policies.insert(0 if first else len(self._policies), policy)
        self._changed()

    def add_sa(self, policy: Policy, behind: Iterable[Policy] = ()) -> None:
        """Put the policy of a new pair of SAs before all others but those for a part of it that have an SA.

        So of two SAs for the same traffic the newer is used, and one for a part of it keeps that part. Those
        in `behind` count as having one: they ask for it, and until then keep their part from this one.
        """
        keeping = tuple(behind)
        inner = [
            at
            for at, old in enumerate(self._policies)
            if (old.spi_in or old in keeping) and old.is_inside(policy)
        ]
        self._policies.insert(inner[-1] + 1 if inner else 0, policy)
        self._changed()

    def add_after(self, policy: Policy, other: Policy) -> None:
        """Put a policy right behind another one; ValueError when that is not in the list."""
        self._policies.insert(self._policies.index(other) + 1, policy)
        self._changed()

    def remove(self, policy: Policy) -> None:
        """Forget a policy; ValueError when it is not in the list."""
        self._policies.remove(policy)
        self._changed()

    def outbound(self, traffic: Traffic) -> Policy | None:
        """The first policy for a packet that leaves: its source is the local side."""
        return next((policy for policy in self._policies if policy.covers_outbound(traffic)), None)

    def inbound(self, traffic: Traffic) -> Policy | None:
        """The first policy for a packet that arrives: its source is the remote side."""
        return next((policy for policy in self._policies if policy.covers_inbound(traffic)), None)
