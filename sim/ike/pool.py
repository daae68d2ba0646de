"""Pools of addresses and their leases, by identity: no sockets, no IKE SAs (RFC 7296 2.19, 3.15).

A lease is online while an IKE SA has it and offline afterwards. Whoever comes back gets the offline lease of
its identity again; others get one, the oldest first, only when no address is left that nobody has had. An
online lease is never given to a second IKE SA, whatever identity that has, but to its own successor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sim.ike.identity import Identity
from sim.ike.payloads_cp import ConfigAttribute


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Addresses from `first` to `last`, of one family, and what is told to whoever gets one of them."""

    name: str
    first: bytes
    last: bytes
    attributes: tuple[ConfigAttribute, ...] = ()

    def __post_init__(self) -> None:
        if len(self.first) != len(self.last) or self.first > self.last:
            raise ValueError(f"pool {self.name} is no range of addresses, lowest first")

    def __contains__(self, address: bytes) -> bool:
        return len(address) == len(self.first) and self.first <= address <= self.last


class Pool:
    """The leases of one pool. Each step costs the same however many leases there are."""

    def __init__(self, config: PoolConfig) -> None:
        self.config = config
        self._bytes = len(config.first)
        self._next = int.from_bytes(config.first, "big")
        self._last = int.from_bytes(config.last, "big")
        self._online: dict[bytes, Identity] = {}
        self._uses: dict[bytes, int] = {}
        # The oldest first; a plain dict looks for its first entry among all that were deleted before it.
        self._offline: OrderedDict[bytes, Identity] = OrderedDict()
        self._of: dict[Identity, OrderedDict[bytes, None]] = {}

    @property
    def online(self) -> dict[bytes, Identity]:
        """Who has which address at the moment."""
        return dict(self._online)

    @property
    def offline(self) -> dict[bytes, Identity]:
        """Who had which address, and may have it again; the oldest first."""
        return dict(self._offline)

    def holder(self, address: bytes) -> Identity | None:
        """Who has an address at the moment."""
        return self._online.get(address)

    def again(self, identity: Identity, wanted: bytes) -> bytes | None:
        """An address that this identity has had and nobody has now, `wanted` if it is one of them."""
        own = self._of.get(identity)
        if not own:
            return None
        return self._take(wanted if wanted in own else next(iter(own)), identity)

    def fresh(self, identity: Identity, wanted: bytes) -> bytes | None:
        """An address that nobody has had yet, `wanted` if it is one; None when there is no more."""
        if wanted in self.config and self._is_fresh(wanted):
            return self._take(wanted, identity)
        while self._next <= self._last:
            address = self._next.to_bytes(self._bytes, "big")
            self._next += 1
            if self._is_fresh(address):
                return self._take(address, identity)
        return None

    def left_over(self, identity: Identity) -> bytes | None:
        """The address that has been offline longest, whoever had it; None when all are online."""
        oldest = next(iter(self._offline), None)
        return None if oldest is None else self._take(oldest, identity)

    def share(self, address: bytes) -> None:
        """Another IKE SA of the same peer takes it over from one that will soon be gone."""
        self._uses[address] += 1

    def release(self, address: bytes) -> None:
        """An IKE SA no longer has it."""
        self._uses[address] -= 1
        if self._uses[address]:
            return
        del self._uses[address]
        identity = self._online.pop(address)
        self._offline[address] = identity
        self._of.setdefault(identity, OrderedDict())[address] = None

    def _is_fresh(self, address: bytes) -> bool:
        return address not in self._online and address not in self._offline

    def _take(self, address: bytes, identity: Identity) -> bytes:
        before = self._offline.pop(address, None)
        if before is not None:
            del self._of[before][address]
            if not self._of[before]:
                del self._of[before]
        self._online[address] = identity
        self._uses[address] = 1
        return address


class Pools:
    """All pools of an endpoint, by name."""

    def __init__(self, configs: Iterable[PoolConfig]) -> None:
        self.by_name = {config.name: Pool(config) for config in configs}

    def acquire(self, names: Sequence[str], identity: Identity, wanted: bytes) -> tuple[Pool, bytes] | None:
        """An address of the family of `wanted`, which may be unspecified, from one of these pools.

        All of them are asked for a lease that the identity has had before one is asked for a fresh address.
        """
        pools = [self.by_name[name] for name in names]
        fitting = [pool for pool in pools if len(pool.config.first) == len(wanted)]
        for pool in fitting:
            if (address := pool.again(identity, wanted)) is not None:
                return pool, address
        for pool in sorted(fitting, key=lambda pool: wanted not in pool.config):
            if (address := pool.fresh(identity, wanted)) is not None:
                return pool, address
        for pool in fitting:
            if (address := pool.left_over(identity)) is not None:
                return pool, address
        return None

    def of(self, names: Iterable[str], address: bytes) -> Pool | None:
        """The pool that an address belongs to."""
        return next((pool for name in names if address in (pool := self.by_name[name]).config), None)
