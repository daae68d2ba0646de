"""The mappings of a NAT as a pure table: what maps to what, what is let in, and for how long.

An endpoint is an address and a port, or for ICMP queries an address and an identifier; the remote side of
an ICMP query has port 0. Every mapping owns one external port of its protocol.

RFC 4787 (UDP), RFC 5382 and 7857 (TCP), RFC 5508 (ICMP).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from sim.net.nat_ports import Choose, PortBook
from sim.net.nat_profile import DependsOn, NatProfile, Refresh
from sim.net.nat_tcp import IN, OUT, TcpSession
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
_TCP = int(Protocol.TCP)
FOREVER = 1 << 62


class Mapping:
    """One internal endpoint's external one. It is dead from `expires_at` on.

    `permits` holds what the filter has seen of contacted remotes, and until when it lets them in. What was
    `forwarded` by a rule stays for ever and lets everybody in. `sessions` are those of TCP, by remote.
    """

    __slots__ = (
        "expires_at",
        "external",
        "forwarded",
        "internal",
        "key",
        "permits",
        "protocol",
        "prune_at",
        "sessions",
        "watched_at",
    )

    def __init__(self, key: _Key, external: Sock, *, forwarded: bool = False) -> None:
        self.key = key
        self.protocol, self.internal, _ = key
        self.external = external
        self.forwarded = forwarded
        self.expires_at = FOREVER if forwarded else 0
        self.watched_at = 0
        self.permits: dict[_View, int] = {}
        self.prune_at = _PRUNE_AT
        self.sessions: dict[Sock, TcpSession] = {}

    def permit(self, view: _View, until: int, now: int) -> None:
        self.permits[view] = until
        if len(self.permits) > self.prune_at:
            self.permits = {view: at for view, at in self.permits.items() if at > now}
            self.sessions = {remote: s for remote, s in self.sessions.items() if s.expires_at > now}
            self.prune_at = max(_PRUNE_AT, 2 * len(self.permits))


class NatTable:
    """Mappings behind some external addresses. `choose(n)` draws a number below n."""

    def __init__(self, profile: NatProfile, addresses: tuple[bytes, ...], choose: Choose) -> None:
        self._choose = choose
        self._by_key: dict[_Key, Mapping] = {}
        self._by_external: dict[tuple[int, Sock], Mapping] = {}
        self._forwards: dict[tuple[int, Sock], Mapping] = {}  # by protocol and internal endpoint
        self._rules: list[tuple[int, int, Sock]] = []
        self._deadlines: list[tuple[int, int, Mapping]] = []  # not later than expires_at of each
        self._serial = 0
        self.exhausted = False
        """Whether others have taken what was left of the ports: what is mapped stays."""
        self.profile = profile
        self.addresses = addresses
        self._adopt(profile)
        self.book = self._new_book()

    def __len__(self) -> int:
        """How many mappings are held, of which some may have expired; those of rules do not count."""
        return len(self._by_key)

    def outbound(self, protocol: int, src: Sock, dst: Sock, now: int, flags: int = 0) -> Sock | None:
        """The external endpoint for a packet from inside, which refreshes its mapping or makes one.

        `flags` are those of TCP. None when no port is left.
        """
        if self._forwards and (forward := self._forwards.get((protocol, src))) is not None:
            return forward.external
        key = (protocol, src, self._mapping_view(dst))
        mapping = self._by_key.get(key)
        if mapping is None or mapping.expires_at <= now:
            mapping = self._create(key, now)
            if mapping is None:
                return None
        if protocol == _TCP:
            self._track(mapping, dst, OUT, flags, now)
        else:
            mapping.expires_at = until = now + self.profile.timeout(protocol)
            mapping.permit(self._filter_view(dst), until, now)
        return mapping.external

    def inbound(self, protocol: int, src: Sock, dst: Sock, now: int, flags: int = 0) -> Sock | None:
        """The internal endpoint for a packet from outside; None when nothing maps or the filter objects."""
        mapping = self._live(protocol, dst, now)
        if mapping is None:
            return None
        if mapping.forwarded:
            return mapping.internal
        view = self._filter_view(src)
        if mapping.permits.get(view, now) <= now:
            return None
        if protocol == _TCP:
            self._track(mapping, src, IN, flags, now)
        elif self.profile.refresh is Refresh.ANY:
            mapping.expires_at = mapping.permits[view] = now + self.profile.timeout(protocol)
        return mapping.internal

    def refusal(self, _protocol: int, _src: Sock, _dst: Sock, _now: int, _flags: int) -> str:
        """Why `outbound` gave nothing."""
        return "NAT has no port left"

    def forward(self, protocol: int, port: int, internal: Sock) -> None:
        """Let what comes to a port of the first external address in, to `internal`: a rule that stays.

        What `internal` itself sends comes from that port. ValueError when another rule has the port, or the
        internal endpoint.
        """
        for other_protocol, other_port, other in self._rules:
            if other_protocol == protocol and (other_port == port or other == internal):
                raise ValueError(
                    f"port {port} of protocol {protocol}, or where it leads to, has a rule already"
                )
        self._rules.append((protocol, port, internal))
        self._apply_rules()

    def forwards(self) -> dict[tuple[int, int], Sock]:
        """The rules: protocol and external port, and where they lead."""
        return {(protocol, port): internal for protocol, port, internal in self._rules}

    def uninvited(self, _protocol: int, _src: Sock, _dst: Sock, _now: int) -> bool:
        """Whether the box itself takes a packet from outside that is for nobody inside; it does not."""
        return False

    def internal_of(self, protocol: int, external: Sock, now: int, remote: Sock | None = None) -> Sock | None:
        """Who an external endpoint stands for, whatever the filter says; refreshes nothing (RFC 5508 4)."""
        mapping = self._live(protocol, external, now)
        return None if mapping is None else mapping.internal

    def external_of(self, protocol: int, internal: Sock, remote: Sock, now: int) -> Sock | None:
        """What stands for an internal endpoint towards a remote one; makes and refreshes nothing."""
        mapping = self._forwards.get((protocol, internal))
        if mapping is None:
            mapping = self._by_key.get((protocol, internal, self._mapping_view(remote)))
        return None if mapping is None or mapping.expires_at <= now else mapping.external

    def mappings(self, now: int) -> Iterator[Mapping]:
        """Those alive, oldest first; without those of rules."""
        return (mapping for mapping in self._by_key.values() if mapping.expires_at > now)

    def configure(self, profile: NatProfile) -> None:
        """Work by other timeouts and axes from now on; mappings stay, and live as they were told to."""
        self._adopt(profile)
        self.book.profile = profile

    def rebind(self, now: int) -> None:
        """Move every mapping to another external port; one for which no other is left is lost."""
        for mapping in list(self._by_key.values()):
            external = None
            if mapping.expires_at > now:
                external = self.book.take_another(mapping.protocol, mapping.internal, mapping.external)
            if external is None:
                self._remove(mapping)
                continue
            del self._by_external[mapping.protocol, mapping.external]
            mapping.external = external
            self._by_external[mapping.protocol, external] = mapping

    def clear(self) -> None:
        """Forget all mappings but those of rules, as a box does that reboots."""
        self._by_key.clear()
        self._by_external.clear()
        self._deadlines.clear()
        self.book = self._new_book()
        self._apply_rules()

    def move(self, addresses: tuple[bytes, ...]) -> None:
        """Take other external addresses; mappings of the old ones are gone."""
        self.addresses = addresses
        self.clear()

    def _new_book(self) -> PortBook:
        return PortBook(self.profile, self.addresses, self._choose)

    def _adopt(self, profile: NatProfile) -> None:
        self.profile = profile
        self._mapping_view = _VIEWS[profile.mapping]
        self._filter_view = _VIEWS[profile.filtering]

    def _apply_rules(self) -> None:
        self._forwards.clear()
        for protocol, port, internal in self._rules:
            external = (self.addresses[0], port)
            old = self._by_external.get((protocol, external))
            if old is not None and not old.forwarded:
                self._remove(old)
            self.book.reserve(protocol, external)
            mapping = Mapping((protocol, internal, None), external, forwarded=True)
            self._forwards[protocol, internal] = self._by_external[protocol, external] = mapping

    def _track(self, mapping: Mapping, remote: Sock, side: int, flags: int, now: int) -> None:
        """Bring a TCP connection's state and its mapping's life in line with a segment."""
        session = mapping.sessions.get(remote)
        if session is None:
            session = mapping.sessions[remote] = TcpSession()
        session.saw(side, flags)
        if side == OUT or self.profile.refresh is Refresh.ANY or not session.established:
            before, session.expires_at = session.expires_at, now + session.timeout(self.profile)
        else:
            return
        if session.expires_at >= before:
            mapping.expires_at = max(mapping.expires_at, session.expires_at)
            view = self._filter_view(remote)
            mapping.permit(view, max(mapping.permits.get(view, 0), session.expires_at), now)
        else:
            self._recount(mapping)

    def _recount(self, mapping: Mapping) -> None:
        """A connection ends sooner than it was thought to: so may its mapping and its permission."""
        permits: dict[_View, int] = {}
        for remote, session in mapping.sessions.items():
            view = self._filter_view(remote)
            permits[view] = max(permits.get(view, 0), session.expires_at)
        mapping.permits = permits
        mapping.expires_at = max(permits.values())
        if mapping.expires_at < mapping.watched_at:
            self._watch(mapping, mapping.expires_at)

    def _live(self, protocol: int, external: Sock, now: int) -> Mapping | None:
        mapping = self._by_external.get((protocol, external))
        return None if mapping is None or mapping.expires_at <= now else mapping

    def _create(self, key: _Key, now: int) -> Mapping | None:
        self._expire(now)
        protocol, internal, _ = key
        external = None if self.exhausted else self.book.take(protocol, internal)
        if external is None:
            return None
        mapping = Mapping(key, external)
        self._by_key[key] = self._by_external[protocol, external] = mapping
        shortest = min(self.profile.timeout(protocol), self.profile.tcp_transitory_timeout)
        self._watch(mapping, now + (shortest if protocol == _TCP else self.profile.timeout(protocol)))
        return mapping

    def _expire(self, now: int) -> None:
        """Remove what has expired; each mapping is looked at once per timeout."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            at, _, mapping = heappop(deadlines)
            if self._by_key.get(mapping.key) is not mapping or at != mapping.watched_at:
                continue
            if mapping.expires_at <= now:
                self._remove(mapping)
            else:
                self._watch(mapping, mapping.expires_at)

    def _watch(self, mapping: Mapping, at: int) -> None:
        mapping.watched_at = at
        self._serial += 1
        heappush(self._deadlines, (at, self._serial, mapping))

    def _remove(self, mapping: Mapping) -> None:
        del self._by_key[mapping.key]
        del self._by_external[mapping.protocol, mapping.external]
        self.book.give_back(mapping.protocol, mapping.internal, mapping.external)
