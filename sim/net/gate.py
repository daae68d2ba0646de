"""A firewall without memory in front of a node: rules that drop what comes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.net.icmp_filter import ERRORS, dropped, icmp_kind
from sim.wire import ip
from sim.wire.buffer import WireError
from sim.wire.ip import IpHeader, Protocol

if TYPE_CHECKING:
    from sim.net.packet import Packet
    from sim.net.port import Port

    Enter = Callable[[Packet, Port, int], None]

BLOCKED = "firewall"
_PORTED = frozenset({Protocol.UDP, Protocol.TCP})


@dataclass(frozen=True, slots=True)
class Rule:
    """What is dropped: a protocol (None: any), a port of UDP or TCP at either end, a network at either end.

    `network` is a packed prefix and its length. With `errors`, ICMP errors alone.
    """

    protocol: int | None = None
    port: int | None = None
    network: tuple[bytes, int] | None = None
    errors: bool = False

    def fits(self, data: bytearray, header: IpHeader) -> bool:
        """Whether a whole packet, or a fragment, is one of those; later fragments show no port."""
        if self.errors and icmp_kind(data) not in ERRORS:
            return False
        if self.protocol is not None and header.protocol not in _alike(self.protocol):
            return False
        if self.port is not None and self.port not in _ports(data, header):
            return False
        return self.network is None or any(_inside(end, self.network) for end in (header.src, header.dst))


class Gate:
    """The rules of one node, by name."""

    def __init__(self, drop: Callable[[Packet, str, int], None]) -> None:
        self.rules: dict[str, Rule] = {}
        self._drop = drop

    def why_not(self, data: bytearray) -> str:
        """The reason to drop a packet; empty to let it pass, as with what is no packet."""
        try:
            header = ip.parse(data)
        except WireError:
            return ""  # whoever it is for will say so
        rule = next((rule for rule in self.rules.values() if rule.fits(data, header)), None)
        if rule is None:
            return ""
        kind = icmp_kind(data) if rule.errors else None
        return BLOCKED if kind is None else dropped(kind)

    def entry(self, enter: Enter) -> Enter:
        """What links call instead of `enter`."""

        def guarded(packet: Packet, port: Port, now: int) -> None:
            if reason := self.why_not(packet.data):
                self._drop(packet, reason, now)
            else:
                enter(packet, port, now)

        return guarded


def _alike(protocol: int) -> tuple[int, ...]:
    """ICMP is another protocol in IPv6."""
    return (Protocol.ICMP, Protocol.ICMPV6) if protocol == Protocol.ICMP else (protocol,)


def _ports(data: bytearray, header: IpHeader) -> tuple[int, ...]:
    at = header.upper_offset
    if header.protocol not in _PORTED or header.fragment_offset or len(data) < at + 4:
        return ()
    return data[at] << 8 | data[at + 1], data[at + 2] << 8 | data[at + 3]


def _inside(address: bytes, network: tuple[bytes, int]) -> bool:
    prefix, length = network
    free = 8 * len(prefix) - length
    return len(address) == len(prefix) and (
        int.from_bytes(address, "big") >> free == int.from_bytes(prefix, "big") >> free
    )
