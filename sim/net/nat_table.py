"""The mappings of a NAT as a pure table: what maps to what, what is let in, and for how long.

An endpoint is an address and a port, or for ICMP queries an address and an identifier; the remote side of
an ICMP query has port 0. Every mapping owns one external port of its protocol. Left out: the states of
TCP, whose mappings simply time out.

RFC 4787 (UDP), RFC 5382 (TCP), RFC 5508 (ICMP).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from sim.net.nat_profile import DependsOn, NatProfile, PortAssignment
from sim.wire.address import Sock
from sim.wire.ip import Protocol

_View = Sock | bytes | None
"""What an axis keeps of a remote endpoint."""

_VIEWS: dict[DependsOn, Callable[[Sock], _View]] = {
    DependsOn.ENDPOINT_INDEPENDENT: lambda _remote: None,
    DependsOn.ADDRESS_DEPENDENT: lambda remote: remote[0],
    DependsOn.ADDRESS_AND_PORT_DEPENDENT: lambda remote: remote,
}
_Key = tuple[int, Sock, _View]
_PRUNE_AT = 64


class Mapping:
    """One internal endpoint's external port. It is dead from `expires_at` on.

    `permits` holds what the filter has seen of contacted remotes, and until when it lets them in.
    """

    __slots__ = ("expires_at", "external", "internal", "key", "permits", "protocol", "prune_at")

    def __init__(self, key: _Key, external: Sock) -> None:
        self.key = key
        self.protocol, self.internal, _ = key
        self.external = external
        self.expires_at = 0
        self.permits: dict[_View, int] = {}
        self.prune_at = _PRUNE_AT

    def permit(self, view: _View, until: int, now: int) -> None:
        self.permits[view] = until
        if len(self.permits) > self.prune_at:
            self.permits = {view: at for view, at in self.permits.items() if at > now}
            self.prune_at = max(_PRUNE_AT, 2 * len(self.permits))


class NatTable:
    """Mappings behind one external address. `choose(n)` draws a number below n."""

    def __init__(self, profile: NatProfile, address: bytes, choose: Callable[[int], int]) -> None:
        self.profile = profile
        self.address = address
        self._choose = choose
        self._mapping_view = _VIEWS[profile.mapping]
        self._filter_view = _VIEWS[profile.filtering]
        self._by_key: dict[_Key, Mapping] = {}
        self._by_port: dict[tuple[int, int], Mapping] = {}
        self._pools: dict[int, PortPool] = {}
        self._deadlines: list[tuple[int, int, Mapping]] = []  # not later than expires_at of each
        self._serial = 0

    def __len__(self) -> int:
        """How many mappings are held, of which some may have expired."""
        return len(self._by_key)

    def outbound(self, protocol: int, src: Sock, dst: Sock, now: int) -> Sock | None:
        """The external endpoint for a packet from inside, which refreshes its mapping or makes one.

        None when no port is left.
        """
        key = (protocol, src, self._mapping_view(dst))
        mapping = self._by_key.get(key)
        if mapping is None or mapping.expires_at <= now:
            mapping = self._create(key, now)
            if mapping is None:
                return None
        mapping.expires_at = until = now + self.profile.timeout(protocol)
        mapping.permit(self._filter_view(dst), until, now)
        return mapping.external

    def inbound(self, protocol: int, src: Sock, dst: Sock, now: int) -> Sock | None:
        """The internal endpoint for a packet from outside; None when nothing maps or the filter objects."""
        mapping = self._live(protocol, dst, now)
        if mapping is None:
            return None
        view = self._filter_view(src)
        if mapping.permits.get(view, now) <= now:
            return None
        if self.profile.inbound_refresh:
            mapping.expires_at = mapping.permits[view] = now + self.profile.timeout(protocol)
        return mapping.internal

    def uninvited(self, _protocol: int, _src: Sock, _dst: Sock, _now: int) -> bool:
        """Whether the box itself takes a packet from outside that is for nobody inside; it does not."""
        return False

    def internal_of(self, protocol: int, external: Sock, now: int, remote: Sock | None = None) -> Sock | None:
        """Who an external endpoint stands for, whatever the filter says; refreshes nothing (RFC 5508 4)."""
        mapping = self._live(protocol, external, now)
        return None if mapping is None else mapping.internal

    def external_of(self, protocol: int, internal: Sock, remote: Sock, now: int) -> Sock | None:
        """What stands for an internal endpoint towards a remote one; makes and refreshes nothing."""
        mapping = self._by_key.get((protocol, internal, self._mapping_view(remote)))
        return None if mapping is None or mapping.expires_at <= now else mapping.external

    def mappings(self, now: int) -> Iterator[Mapping]:
        """Those alive, oldest first."""
        return (mapping for mapping in self._by_key.values() if mapping.expires_at > now)

    def rebind(self, now: int) -> None:
        """Move every mapping to another external port; one for which no other is left is lost."""
        for mapping in list(self._by_key.values()):
            if mapping.expires_at <= now:
                self._remove(mapping)
                continue
            port = self._random_port(mapping.protocol, mapping.internal[1])
            if port is None:
                self._remove(mapping)
                continue
            self._release(mapping)
            mapping.external = (self.address, port)
            self._by_port[mapping.protocol, port] = mapping

    def clear(self) -> None:
        """Forget all mappings, as a box does that reboots."""
        self._by_key.clear()
        self._by_port.clear()
        self._pools.clear()
        self._deadlines.clear()

    def move(self, address: bytes) -> None:
        """Take another external address; mappings of the old one are gone."""
        self.address = address
        self.clear()

    def _live(self, protocol: int, external: Sock, now: int) -> Mapping | None:
        if external[0] != self.address:
            return None
        mapping = self._by_port.get((protocol, external[1]))
        return None if mapping is None or mapping.expires_at <= now else mapping

    def _create(self, key: _Key, now: int) -> Mapping | None:
        self._expire(now)
        protocol, (_, internal_port), _ = key
        port = self._assign(protocol, internal_port)
        if port is None:
            return None
        mapping = Mapping(key, (self.address, port))
        self._by_key[key] = self._by_port[protocol, port] = mapping
        self._watch(mapping, now + self.profile.timeout(protocol))
        return mapping

    def _assign(self, protocol: int, port: int) -> int | None:
        if self.profile.port_assignment is PortAssignment.PRESERVING:
            low, high = self._range(protocol, port)
            if low <= port <= high and self._pool(protocol).take(port):
                return port
        return self._random_port(protocol, port)

    def _random_port(self, protocol: int, internal_port: int) -> int | None:
        pool = self._pool(protocol)
        low, high = self._range(protocol, internal_port)
        port = pool.take_random(low, high, self._choose)
        if port is None and low < self.profile.port_range[0]:
            port = pool.take_random(*self.profile.port_range, self._choose)
        return port

    def _range(self, protocol: int, port: int) -> tuple[int, int]:
        if protocol in (Protocol.ICMP, Protocol.ICMPV6):
            return 0, 65535
        preserving = self.profile.port_assignment is PortAssignment.PRESERVING
        return (1, 1023) if preserving and port < 1024 else self.profile.port_range

    def _pool(self, protocol: int) -> PortPool:
        if protocol not in self._pools:
            self._pools[protocol] = PortPool()
        return self._pools[protocol]

    def _expire(self, now: int) -> None:
        """Remove what has expired; each mapping is looked at once per timeout."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            mapping = heappop(deadlines)[2]
            if self._by_key.get(mapping.key) is not mapping:
                continue
            if mapping.expires_at <= now:
                self._remove(mapping)
            else:
                self._watch(mapping, mapping.expires_at)

    def _watch(self, mapping: Mapping, at: int) -> None:
        self._serial += 1
        heappush(self._deadlines, (at, self._serial, mapping))

    def _remove(self, mapping: Mapping) -> None:
        del self._by_key[mapping.key]
        self._release(mapping)

    def _release(self, mapping: Mapping) -> None:
        port = mapping.external[1]
        del self._by_port[mapping.protocol, port]
        self._pool(mapping.protocol).free(port)


class PortPool:
    """The external ports of one protocol."""

    def __init__(self) -> None:
        self._used = bytearray(65536)

    def take(self, port: int) -> bool:
        """Take that very port, if it is free."""
        if self._used[port]:
            return False
        self._used[port] = 1
        return True

    def take_random(self, low: int, high: int, choose: Callable[[int], int]) -> int | None:
        """Take the first free port from a random one on, going round from `high` to `low`."""
        start = low + choose(high - low + 1)
        port = self._used.find(0, start, high + 1)
        if port < 0:
            port = self._used.find(0, low, start)
        if port < 0:
            return None
        self._used[port] = 1
        return port

    def free(self, port: int) -> None:
        self._used[port] = 0
