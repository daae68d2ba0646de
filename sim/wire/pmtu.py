"""What ICMP says about the path MTU, and for how long it is believed (RFC 1191, RFC 8201).

A report must quote a packet that was longer than the MTU that it tells. Routers older than RFC 1191 tell
none: then it is the next lower of the sizes in use (RFC 1191 7.1). A known MTU is only ever lowered by a
report, and forgotten after a while, because paths change (RFC 1191 6.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from sim.units import NS_PER_S
from sim.wire import ip
from sim.wire.buffer import WireError
from sim.wire.icmp import IcmpMessage, IcmpType, Icmpv6Type, UnreachableCode
from sim.wire.ip import IpHeader

AGING_NS = 600 * NS_PER_S
"""Ten minutes, as RFC 1191 6.3 and RFC 8201 4 recommend."""
MIN_PMTU = 576
"""The least MTU that a report about IPv4 can bring about, unless it is set."""
NO_LIMIT = ip.MAX_V6_PACKET_BYTES
MAX_PATHS = 65536

_PLATEAUS = (32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)


class TooBig(NamedTuple):
    """A report: the MTU of a hop (octets), and the packet that did not fit, as far as it is quoted."""

    mtu: int
    quoted: IpHeader
    quote: bytes


def too_big(message: IcmpMessage) -> TooBig | None:
    """The report in a message; None when it is no such message, or one that cannot be true.

    IPv6 links carry 1280 octets at least, so a report of less is none (RFC 8201 4).
    """
    if not _is_report(message):
        return None
    try:
        quoted = ip.parse_quoted(message.body)
    except WireError:
        return None
    if quoted.version != message.version:
        return None
    mtu = message.mtu
    if mtu == 0 and message.version == 4:
        mtu = next(plateau for plateau in (*_PLATEAUS, 0) if plateau < quoted.total_length)
    if mtu >= quoted.total_length or mtu < (68 if message.version == 4 else ip.IPV6_MIN_MTU):
        return None
    return TooBig(mtu, quoted, message.body)


def _is_report(message: IcmpMessage) -> bool:
    if message.version == 4:
        needed = (IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.FRAGMENTATION_NEEDED)
        return (message.type, message.code) == needed
    return message.type == Icmpv6Type.PACKET_TOO_BIG


@dataclass(frozen=True, slots=True)
class PmtuRules:
    """How reports are taken: the least MTU that one can bring about, and how long it is believed (ns)."""

    least: int = MIN_PMTU
    aging_ns: int = AGING_NS

    def bounded(self, mtu: int, version: int) -> int:
        return max(mtu, self.least, ip.IPV6_MIN_MTU if version == 6 else 0)


K = TypeVar("K")


class PathMtus(Generic[K]):
    """The MTUs of paths that reports have told of, by whatever tells paths apart; bounded in number."""

    def __init__(self, rules: PmtuRules) -> None:
        self.rules = rules
        self._known: dict[K, tuple[int, int]] = {}  # MTU, and until when; the latest report last
        self.smallest = NO_LIMIT
        """Of all paths: what is no longer needs no look at `of`."""

    def __len__(self) -> int:
        return len(self._known)

    def of(self, path: K) -> int:
        """The MTU of a path, NO_LIMIT where nothing is known."""
        known = self._known.get(path)
        return NO_LIMIT if known is None else known[0]

    def learn(self, path: K, mtu: int, version: int, now: int) -> bool:
        """Take a report in; whether the MTU of the path is another one now. None makes it larger."""
        mtu, before = self.rules.bounded(mtu, version), self.of(path)
        if mtu > before:
            return False
        if path not in self._known and len(self._known) >= MAX_PATHS:
            self.forget(next(iter(self._known)))
        self._known.pop(path, None)
        self._known[path] = mtu, now + self.rules.aging_ns
        self.smallest = min(self.smallest, mtu)
        return mtu < before

    def inherit(self, path: K, heir: K) -> None:
        """What is known of one path holds for another one too, as long."""
        known = self._known.get(path)
        if known is not None:
            self._known[heir] = known

    def forget(self, path: K) -> None:
        known = self._known.pop(path, None)
        if known is not None and known[0] == self.smallest:
            self.smallest = min((mtu for mtu, _ in self._known.values()), default=NO_LIMIT)

    def expire(self, now: int) -> list[K]:
        """Forget what was reported too long ago, and tell of which paths that was."""
        late = [path for path, (_, until) in self._known.items() if until <= now]
        for path in late:
            self.forget(path)
        return late

    def next_timer(self) -> int | None:
        """When `expire` next has something to do; `learn` and `forget` may change it."""
        return min((until for _, until in self._known.values()), default=None)
