"""The external addresses and ports of a NAT: who gets which (RFC 4787 4.1 and 4.2, RFC 6888 for blocks).

Each external address has all ports of each protocol. A subscriber is an address of the inside that has
mappings; with paired pooling all of them are of one external address (RFC 4787 REQ-2).
"""

from __future__ import annotations

from collections.abc import Callable

from sim.net.nat_profile import NatProfile, Pooling, PortAssignment
from sim.wire.address import Sock
from sim.wire.ip import Protocol

Choose = Callable[[int], int]
"""`choose(n)` draws a number below n."""

_KEEP_LOW = frozenset({PortAssignment.PRESERVING, PortAssignment.PARITY})
_LOW_PORTS = 1, 1023
_ICMP = frozenset({Protocol.ICMP, Protocol.ICMPV6})


class PortPool:
    """The external ports of one protocol at one address."""

    __slots__ = ("_next", "_used")

    def __init__(self) -> None:
        self._used = bytearray(65536)
        self._next = 0

    def take(self, port: int) -> bool:
        """Take that very port, if it is free."""
        if self._used[port]:
            return False
        self._used[port] = 1
        return True

    def take_from(self, start: int, ports: range) -> int | None:
        """Take the first free one of `ports` from `start` on, which is one of them, going round."""
        used = self._used[ports.start : ports.stop : ports.step]
        at = ports.index(start)
        found = used.find(0, at)
        if found < 0:
            found = used.find(0, 0, at)
        if found < 0:
            return None
        port = ports[found]
        self._used[port] = 1
        return port

    def take_random(self, low: int, high: int, choose: Choose) -> int | None:
        """Take the first free port from a random one on, going round from `high` to `low`."""
        return self.take_from(low + choose(high - low + 1), range(low, high + 1))

    def take_alike(self, port: int, low: int, high: int, choose: Choose) -> int | None:
        """Take a random port that is even or odd as `port` is (RFC 4787 4.2.2)."""
        ports = range(low + ((low ^ port) & 1), high + 1, 2)
        return self.take_from(ports[choose(len(ports))], ports) if ports else None

    def take_next(self, low: int, high: int) -> int | None:
        """Take the port after the one that this gave last, or the next that is free."""
        start = self._next if low <= self._next <= high else low
        port = self.take_from(start, range(low, high + 1))
        if port is not None:
            self._next = port + 1
        return port

    def free(self, port: int) -> None:
        self._used[port] = 0

    def __len__(self) -> int:
        """How many ports are taken."""
        return self._used.count(1)


class Subscriber:
    """An address of the inside: how many mappings it has, its external address and its blocks of ports."""

    __slots__ = ("address", "blocks", "mappings")

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.blocks: list[int] = []  # the first port of each
        self.mappings = 0


class PortBook:
    """Gives external endpoints to mappings and takes them back."""

    def __init__(self, profile: NatProfile, addresses: tuple[bytes, ...], choose: Choose) -> None:
        self.profile = profile
        self.addresses = addresses
        self._choose = choose
        self._pools: dict[tuple[bytes, int], PortPool] = {}
        self._subscribers: dict[bytes, Subscriber] = {}
        self._blocks: dict[bytes, set[int]] = {}  # by external address: first ports of blocks in use

    def take(self, protocol: int, internal: Sock) -> Sock | None:
        """An external endpoint for a new mapping of `internal`; None when none is left for it."""
        inside, port = internal
        subscriber = self._subscribers.get(inside)
        if subscriber is None:
            subscriber = Subscriber(self._any_address())
        address = subscriber.address
        if self.profile.pooling is Pooling.ARBITRARY and not subscriber.blocks:
            address = self._any_address()
        found = self._assign(protocol, port, address, subscriber)
        if found is None:
            return None
        subscriber.mappings += 1
        self._subscribers[inside] = subscriber
        return address, found

    def take_another(self, protocol: int, internal: Sock, external: Sock) -> Sock | None:
        """Another port of the same address instead of `external`; None when there is no other."""
        subscriber = self._subscribers[internal[0]]
        profile = self.profile
        if profile.port_assignment in _KEEP_LOW:
            port = self._random(self._pool(external[0], protocol), protocol, internal[1])
        else:
            port = self._assign(protocol, internal[1], external[0], subscriber)
        if port is None:
            return None
        self._pool(external[0], protocol).free(external[1])
        return external[0], port

    def reserve(self, protocol: int, external: Sock) -> bool:
        """Keep a port for a forwarding rule; False when it is taken."""
        return self._pool(external[0], protocol).take(external[1])

    def give_back(self, protocol: int, internal: Sock, external: Sock) -> None:
        """The mapping is gone."""
        self._pool(external[0], protocol).free(external[1])
        subscriber = self._subscribers[internal[0]]
        subscriber.mappings -= 1
        if not subscriber.mappings:
            del self._subscribers[internal[0]]
            self._blocks.get(subscriber.address, set()).difference_update(subscriber.blocks)

    def held(self) -> int:
        """How many ports are taken in all."""
        return sum(map(len, self._pools.values()))

    def blocks_of(self, inside: bytes) -> tuple[tuple[int, int], ...]:
        """First and last port of each block that a subscriber has, in the order in which it got them."""
        subscriber = self._subscribers.get(inside)
        size = self.profile.block_size
        return tuple((low, low + size - 1) for low in subscriber.blocks) if subscriber else ()

    def _any_address(self) -> bytes:
        """With one address nothing is drawn, so that the stream of a box with one is what it always was."""
        many = len(self.addresses)
        return self.addresses[self._choose(many) if many > 1 else 0]

    def _assign(self, protocol: int, port: int, address: bytes, subscriber: Subscriber) -> int | None:
        pool = self._pool(address, protocol)
        kind = self.profile.port_assignment
        if kind is PortAssignment.BLOCK:
            return self._from_blocks(pool, address, subscriber)
        low, high = self._range(protocol, port)
        if kind is PortAssignment.PRESERVING and low <= port <= high and pool.take(port):
            return port
        if kind is PortAssignment.CONTIGUOUS:
            return pool.take_next(low, high)
        return self._random(pool, protocol, port)

    def _random(self, pool: PortPool, protocol: int, port: int) -> int | None:
        """A random port, of the same parity if that is kept; from the high ones when no low one is left."""
        ranges = [self._range(protocol, port)]
        if ranges[0][0] < self.profile.port_range[0]:
            ranges.append(self.profile.port_range)
        for low, high in ranges:
            if self.profile.port_assignment is PortAssignment.PARITY:
                found = pool.take_alike(port, low, high, self._choose)
            else:
                found = pool.take_random(low, high, self._choose)
            if found is not None:
                return found
        return None

    def _from_blocks(self, pool: PortPool, address: bytes, subscriber: Subscriber) -> int | None:
        size = self.profile.block_size
        for low in subscriber.blocks:
            port = pool.take_random(low, low + size - 1, self._choose)
            if port is not None:
                return port
        if len(subscriber.blocks) == self.profile.blocks_per_subscriber:
            return None
        block = self._free_block(address)
        if block is None:
            return None
        subscriber.blocks.append(block)
        return pool.take_random(block, block + size - 1, self._choose)

    def _free_block(self, address: bytes) -> int | None:
        low, high = self.profile.port_range
        size = self.profile.block_size
        used = self._blocks.setdefault(address, set())
        free = next((at for at in range(low, high - size + 2, size) if at not in used), None)
        if free is not None:
            used.add(free)
        return free

    def _range(self, protocol: int, port: int) -> tuple[int, int]:
        if protocol in _ICMP:
            return 0, 65535
        low = self.profile.port_assignment in _KEEP_LOW and port < 1024
        return _LOW_PORTS if low else self.profile.port_range

    def _pool(self, address: bytes, protocol: int) -> PortPool:
        key = (address, protocol)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = PortPool()
        return pool
