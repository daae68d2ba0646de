"""Fragments that wait until all of their packet is known, and then go on as they came."""

from __future__ import annotations

from sim.net.packet import Packet
from sim.wire import ip
from sim.wire.buffer import WireError
from sim.wire.fragment import TIMEOUT_NS

_MOST = 4096
_Key = tuple[bytes, bytes, int, int]


class Holdback:
    """The pieces of packets by what tells packets apart; what was not asked for within 30 s is forgotten."""

    def __init__(self) -> None:
        self._held: dict[_Key, tuple[int, list[Packet]]] = {}

    def keep(self, packet: Packet, now: int) -> _Key:
        """Keep a copy of a sound fragment until `release`; the key is what to release it by."""
        self._forget(now)
        key = _key(packet)
        _, pieces = self._held.setdefault(key, (now + TIMEOUT_NS, []))
        pieces.append(packet.derive(packet.data.copy()))
        return key

    def release(self, key: _Key) -> list[Packet]:
        """All that was kept, in the order of arrival."""
        return self._held.pop(key, (0, []))[1]

    def _forget(self, now: int) -> None:
        """Oldest first: the order of insertion is that of the deadlines."""
        while self._held:
            oldest = next(iter(self._held))
            if self._held[oldest][0] > now and len(self._held) < _MOST:
                return
            del self._held[oldest]


def _key(packet: Packet) -> _Key:
    try:
        header = ip.parse(packet.data)
    except WireError:
        return *ip.addresses(packet.data), -1, 0  # reassembly will refuse it
    protocol = header.protocol if header.version == 4 else -1
    return header.src, header.dst, protocol, header.identification
