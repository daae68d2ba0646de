"""What a host knows of the MTUs of its paths, by destination (RFC 1191 6, RFC 8201 5.2, RFC 1122 3.3.3).

A report counts if it quotes a packet that this node can have sent: a traffic source's, of a UDP socket that
is open, or a recent echo reply. Anybody can forge the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from struct import Struct

from sim.net.engine import Simulation
from sim.net.local import UdpHandler
from sim.wire.icmp import IcmpMessage
from sim.wire.ip import IpHeader, Protocol
from sim.wire.pmtu import PathMtus, PmtuRules, TooBig, too_big

Claim = Callable[[IpHeader, bytes], bool]
"""(header of a quoted packet, the octets quoted): whether the asked one has sent it."""

_PORT = Struct(">H")
_ANSWERS = 64


class HostMtus(PathMtus[bytes]):
    """Of one node; `udp` has its open sockets."""

    def __init__(self, sim: Simulation, udp: dict[int, UdpHandler]) -> None:
        super().__init__(PmtuRules())
        self.claims: list[Claim] = []
        self.listeners: list[Callable[[], None]] = []
        """Called when the MTU of a path is another one."""
        self._udp = udp
        self._answered: deque[bytes] = deque(maxlen=_ANSWERS)
        self._alarm = sim.alarm(self._aged)

    def answered(self, peer: bytes) -> None:
        """An echo reply goes there."""
        self._answered.append(peer)

    def hear(self, message: IcmpMessage, now: int) -> None:
        """Take in what an ICMP message to this node says, if it says anything about a path."""
        report = too_big(message)
        if report is None or report.quoted.fragment_offset or not self._is_ours(report):
            return
        changed = self.learn(report.quoted.dst, report.mtu, message.version, now)
        self._alarm.set(self.next_timer())
        if changed:
            self._tell()

    def _is_ours(self, report: TooBig) -> bool:
        quoted, quote = report.quoted, report.quote
        if quoted.protocol in (Protocol.ICMP, Protocol.ICMPV6) and quoted.dst in self._answered:
            return True
        at = quoted.upper_offset
        is_udp = quoted.protocol == Protocol.UDP and len(quote) >= at + _PORT.size
        if is_udp and _PORT.unpack_from(quote, at)[0] in self._udp:
            return True
        return any(claim(quoted, quote) for claim in self.claims)

    def _aged(self, now: int) -> None:
        late = self.expire(now)
        self._alarm.set(self.next_timer())
        if late:
            self._tell()

    def _tell(self) -> None:
        for listener in tuple(self.listeners):
            listener()
