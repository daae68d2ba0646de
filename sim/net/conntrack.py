"""A NAT that tracks connections, as Linux does: one entry for each protocol, source and destination.

    inside                        the entry                     outside
    src -> dst    original:  src -> dst                         external -> dst
                  reply:     dst -> external  (must be unique)

An external port may stand for several sources at once, as long as no remote endpoint is the same. A source
keeps its port, or the port that another of its entries has, wherever that leaves the reply unique. From
outside nothing comes in that does not match a reply; UDP that was not asked for reaches the box itself, and
the entry that it makes stands in the way of a mapping with that reply.

The model is nf_conntrack and nf_nat of Linux 6; tests/interop compares the two. TCP has its states. Left out:
protocols without ports, helpers, limits; what Linux calls invalid and lets out untranslated is dropped here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sim.net.conntrack_tcp import TcpState, is_ignored, next_state, state_timeout
from sim.net.nat_profile import NatProfile, PortAssignment
from sim.net.nat_tcp import RST
from sim.units import NS_PER_S
from sim.wire.address import Sock
from sim.wire.ip import Protocol

NO_PORT = "NAT has no port left"

_STREAM_AFTER = 2 * NS_PER_S  # an exchange that lasts longer is no query
_ROUNDS = (128, 64, 32, 16)  # ports tried one after the other, each round from another start
_LOW, _MIDDLE = (1, 511), (600, 1023)  # ranges of their own for low ports
_FIRST_SWEEP = 64
_Key = tuple[int, Sock, Sock]


class Entry:
    """One tracked exchange; `internal` None is the box itself. It is dead from `expires_at` on."""

    __slots__ = (
        "asked",
        "born_at",
        "expires_at",
        "external",
        "internal",
        "protocol",
        "remote",
        "replied",
        "state",
    )

    def __init__(
        self, protocol: int, internal: Sock | None, external: Sock, remote: Sock, born_at: int
    ) -> None:
        self.protocol = protocol
        self.internal = internal
        self.external = external
        self.remote = remote
        self.born_at = born_at
        self.expires_at = born_at
        self.replied = False
        self.state = TcpState.NONE
        """Of TCP."""
        self.asked = True
        """Whether the inside began it; a rule lets the outside begin."""


class ConnectionTracker:
    """Entries behind one external address. `choose(n)` draws a number below n."""

    def __init__(
        self, profile: NatProfile, addresses: tuple[bytes, ...], choose: Callable[[int], int]
    ) -> None:
        """Masquerading uses the first of several addresses."""
        self.profile = profile
        self.addresses = addresses
        self._choose = choose
        self._by_origin: dict[_Key, Entry] = {}  # protocol, internal, remote
        self._by_reply: dict[_Key, Entry] = {}  # protocol, external, remote
        self._by_source: dict[tuple[int, Sock], list[Entry]] = {}  # oldest first
        self._rules: dict[tuple[int, int], Sock] = {}  # protocol and external port: where it leads
        self._sweep_at = _FIRST_SWEEP
        self.exhausted = False
        """Whether others have taken what was left of the ports: what is tracked stays."""

    @property
    def address(self) -> bytes:
        return self.addresses[0]

    def __len__(self) -> int:
        """How many entries of the inside are held, of which some may have expired."""
        return len(self._by_origin)

    def outbound(self, protocol: int, src: Sock, dst: Sock, now: int, flags: int = 0) -> Sock | None:
        """The external endpoint for a packet from inside; None when no port was found, or see `refusal`."""
        entry = self._by_origin.get((protocol, src, dst))
        if entry is None or entry.expires_at <= now:
            if protocol == Protocol.TCP and next_state(TcpState.NONE, flags, answers=False) is None:
                return None
            external = None if self.exhausted else self._assign(protocol, src, dst, now)
            if external is None:
                return None
            entry = self._add(Entry(protocol, src, external, dst, now), now)
        return entry.external if self._passes(entry, flags, now, answers=not entry.asked) else None

    def refusal(self, protocol: int, src: Sock, dst: Sock, now: int, flags: int) -> str:
        """Why `outbound` gave nothing."""
        if protocol == Protocol.TCP:
            entry = self._by_origin.get((protocol, src, dst))
            alive = entry is not None and entry.expires_at > now
            state = entry.state if entry is not None and alive else TcpState.NONE
            answers = entry is not None and alive and not entry.asked
            if next_state(state, flags, answers=answers) is None:
                return "no segment of a known connection"
        return NO_PORT

    def inbound(self, protocol: int, src: Sock, dst: Sock, now: int, flags: int = 0) -> Sock | None:
        """The internal endpoint for a packet from outside; None when it answers nothing."""
        entry = self._live((protocol, dst, src), now)
        if entry is None:
            return self._forwarded(protocol, src, dst, now, flags)
        if entry.internal is None:
            return None
        internal = entry.internal
        return internal if self._passes(entry, flags, now, answers=entry.asked) else None

    def forward(self, protocol: int, port: int, internal: Sock) -> None:
        """Let what comes to a port of the external address in, to `internal` (a rule of dnat).

        ValueError when another rule has the port.
        """
        if (protocol, port) in self._rules:
            raise ValueError(f"port {port} of protocol {protocol} has a rule already")
        self._rules[protocol, port] = internal

    def forwards(self) -> dict[tuple[int, int], Sock]:
        """The rules: protocol and external port, and where they lead."""
        return self._rules

    def uninvited(self, protocol: int, src: Sock, dst: Sock, now: int) -> bool:
        """Take a packet for the box itself, as is all UDP to its address that answers nothing."""
        if protocol != Protocol.UDP or dst[0] != self.address:
            return False
        entry = self._live((protocol, dst, src), now)
        if entry is None:
            entry = self._add(Entry(protocol, None, dst, src, now), now)
        self._refresh(entry, now)
        return True

    def internal_of(self, protocol: int, external: Sock, now: int, remote: Sock | None = None) -> Sock | None:
        """Who an external endpoint stands for towards a remote one; refreshes nothing."""
        if remote is None:
            same = (e for e in self.mappings(now) if (e.protocol, e.external) == (protocol, external))
            return next((entry.internal for entry in same), None)
        entry = self._live((protocol, external, remote), now)
        return None if entry is None else entry.internal

    def external_of(self, protocol: int, internal: Sock, remote: Sock, now: int) -> Sock | None:
        """What stands for an internal endpoint towards a remote one; makes and refreshes nothing."""
        entry = self._by_origin.get((protocol, internal, remote))
        return None if entry is None or entry.expires_at <= now else entry.external

    def mappings(self, now: int) -> Iterator[Entry]:
        """Those of the inside that are alive, oldest first."""
        return (entry for entry in self._by_origin.values() if entry.expires_at > now)

    def rebind(self, now: int) -> None:
        """Move every entry to another external port; one for which no other is found is lost."""
        for entry in list(self._by_origin.values()):
            external = None
            if entry.expires_at > now and entry.internal is not None:
                external = self._search(entry.protocol, entry.internal, entry.remote, now)
            if external is None:
                self._remove(entry)
                continue
            del self._by_reply[entry.protocol, entry.external, entry.remote]
            entry.external = external
            self._by_reply[entry.protocol, external, entry.remote] = entry

    def clear(self) -> None:
        """Forget all entries, as a box does that reboots."""
        self._by_origin.clear()
        self._by_reply.clear()
        self._by_source.clear()

    def configure(self, profile: NatProfile) -> None:
        """Work by other timeouts from now on; entries live as they were told to."""
        self.profile = profile

    def move(self, addresses: tuple[bytes, ...]) -> None:
        """Take other external addresses; entries of the old ones are gone."""
        self.addresses = addresses
        self.clear()

    def _forwarded(self, protocol: int, src: Sock, dst: Sock, now: int, flags: int) -> Sock | None:
        """Begin what a rule lets in."""
        internal = self._rules.get((protocol, dst[1])) if dst[0] == self.address else None
        if internal is None:
            return None
        if protocol == Protocol.TCP and next_state(TcpState.NONE, flags, answers=False) is None:
            return None
        entry = Entry(protocol, internal, dst, src, now)
        entry.asked = False
        self._passes(self._add(entry, now), flags, now, answers=False)
        return internal

    def _passes(self, entry: Entry, flags: int, now: int, *, answers: bool) -> bool:
        """Whether a packet belongs to an entry, whose state and life then follow it."""
        if entry.protocol != Protocol.TCP:
            entry.replied = answers or entry.replied
            self._refresh(entry, now)
            return True
        state = next_state(entry.state, flags, answers=answers)
        if state is None:
            return False
        if answers and flags & RST and not entry.replied:
            self._remove(entry)  # nothing was ever established
            return True
        entry.replied = answers or entry.replied
        if not is_ignored(entry.state, flags, answers=answers):
            if state is TcpState.SYN_SENT and not answers:
                entry.replied = False  # begins, or begins again
            entry.state = state
            profile = self.profile
            entry.expires_at = now + state_timeout(state, profile.tcp_timeout, profile.tcp_state_timeouts)
        return True

    def _refresh(self, entry: Entry, now: int) -> None:
        """UDP that went both ways and on for a while is a stream, and may be silent for longer."""
        profile = self.profile
        timeout = profile.timeout(entry.protocol)
        if entry.protocol == Protocol.UDP and entry.replied and now > entry.born_at + _STREAM_AFTER:
            timeout = profile.udp_stream_timeout or timeout
        entry.expires_at = now + timeout

    def _assign(self, protocol: int, src: Sock, dst: Sock, now: int) -> Sock | None:
        if self.profile.port_assignment is PortAssignment.PRESERVING:
            for entry in reversed(self._by_source.get((protocol, src), ())):
                if entry.expires_at > now and self._free(protocol, entry.external, dst, now):
                    return entry.external
            same = (self.address, src[1])
            if self._free(protocol, same, dst, now):
                return same
        return self._search(protocol, src, dst, now)

    def _search(self, protocol: int, src: Sock, dst: Sock, now: int) -> Sock | None:
        low, high = self._range(protocol, src[1])
        size = high - low + 1
        for tries in _ROUNDS:
            start = self._choose(size)
            for step in range(min(tries, size)):
                external = (self.address, low + (start + step) % size)
                if self._free(protocol, external, dst, now):
                    return external
        return None

    def _range(self, protocol: int, port: int) -> tuple[int, int]:
        if protocol == Protocol.ICMP:
            return 0, 65535
        if port < 512:
            return _LOW
        return _MIDDLE if port < 1024 else self.profile.port_range

    def _free(self, protocol: int, external: Sock, remote: Sock, now: int) -> bool:
        return self._live((protocol, external, remote), now) is None

    def _live(self, reply: _Key, now: int) -> Entry | None:
        entry = self._by_reply.get(reply)
        return None if entry is None or entry.expires_at <= now else entry

    def _add(self, entry: Entry, now: int) -> Entry:
        if len(self._by_reply) >= self._sweep_at:
            for old in [old for old in self._by_reply.values() if old.expires_at <= now]:
                self._remove(old)
            self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._by_reply))
        if (expired := self._by_reply.get(_reply(entry))) is not None:
            self._remove(expired)
        if entry.internal is not None:
            expired = self._by_origin.get((entry.protocol, entry.internal, entry.remote))
            if expired is not None:
                self._remove(expired)
            self._by_origin[entry.protocol, entry.internal, entry.remote] = entry
            if entry.asked:  # what a rule let in gives its port to nothing else
                self._by_source.setdefault((entry.protocol, entry.internal), []).append(entry)
        self._by_reply[_reply(entry)] = entry
        return entry

    def _remove(self, entry: Entry) -> None:
        if self._by_reply.get(_reply(entry)) is entry:
            del self._by_reply[_reply(entry)]
        if entry.internal is None:
            return
        self._by_origin.pop((entry.protocol, entry.internal, entry.remote), None)
        source = (entry.protocol, entry.internal)
        entries = self._by_source.get(source, [])
        if entry in entries:
            entries.remove(entry)
        if not entries:
            self._by_source.pop(source, None)


def _reply(entry: Entry) -> _Key:
    return entry.protocol, entry.external, entry.remote
