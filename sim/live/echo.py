"""The inner side of a peer without a TUN device: a host that answers pings, and can send some itself.

It has every address that the peer's selectors give to this side. Of all packets it knows only ICMP echo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sim.ipsec.policy import Action
from sim.ipsec.spd import Spd
from sim.wire import icmp, ip
from sim.wire.buffer import WireError
from sim.wire.fragment import Reassembler
from sim.wire.ip import Protocol
from sim.wire.selector import Selector

_ICMP = frozenset({Protocol.ICMP, Protocol.ICMPV6})
_PAYLOAD = bytes(range(56))

Send = Callable[[bytearray, int], None]


class Pong(NamedTuple):
    """An answer to a ping of ours; `rtt` in ns."""

    address: bytes
    sequence: int
    rtt: int


class EchoHost:
    """Answers echo requests; `send` takes its packets into the tunnel, `pong` is told of answers."""

    def __init__(self, send: Send, pong: Callable[[Pong], None], identifier: int) -> None:
        self._send = send
        self._pong = pong
        self._identifier = identifier
        self._reassembler = Reassembler()
        self._sent_at: dict[tuple[bytes, int], int] = {}
        self.answered = 0
        self.ignored = 0

    def deliver(self, packet: bytearray, now: int) -> None:
        """A packet came out of a tunnel."""
        try:
            whole = self._whole(packet, now)
            if whole is not None:
                self._deliver(whole, now)
        except WireError:
            self.ignored += 1

    def ping(self, src: bytes, dst: bytes, sequence: int, now: int) -> None:
        self._sent_at[dst, sequence] = now
        self._send(icmp.echo_request(src, dst, self._identifier, sequence, _PAYLOAD), now)

    def _whole(self, packet: bytearray, now: int) -> bytearray | None:
        self._reassembler.expire(now)
        return self._reassembler.add(packet, now) if ip.parse(packet).is_fragment else packet

    def _deliver(self, packet: bytearray, now: int) -> None:
        header = ip.parse(packet)
        if header.protocol not in _ICMP:
            self.ignored += 1
            return
        message = icmp.parse(packet, header.upper_offset)
        if message.is_echo_request:
            self.answered += 1
            self._send(icmp.echo_reply_to(packet), now)
        elif message.is_echo_reply and message.identifier == self._identifier:
            sent_at = self._sent_at.pop((header.src, message.sequence), None)
            if sent_at is not None:
                self._pong(Pong(header.src, message.sequence, now - sent_at))


def ping_source(spd: Spd, dst: bytes) -> bytes | None:
    """An address of this side from which a tunnel leads to `dst`; None when there is none."""
    for policy in spd:
        if policy.action is Action.PROTECT and any(_holds(selector, dst) for selector in policy.remote_ts):
            return next((first_host(s) for s in policy.local_ts if len(s.start) == len(dst)), None)
    return None


def first_host(selector: Selector) -> bytes:
    """The first address of a network that a host may have; the address itself where it is only one."""
    if selector.start == selector.end or selector.start[-1] & 1:
        return selector.start
    return selector.start[:-1] + bytes([selector.start[-1] | 1])


def _holds(selector: Selector, address: bytes) -> bool:
    return len(selector.start) == len(address) and selector.start <= address <= selector.end
