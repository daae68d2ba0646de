"""Who speaks with whom through SAs that have the same selectors: clients behind one NAT (RFC 3948 5.2).

What came in through an SA says where the answers go, as strongSwan's `connmark` does it with Linux's
connection tracking. A conversation is told by its addresses, protocol and ports, of ICMP echo by its
identifier. Two clients with all of these equal cannot be told apart: the second is refused, until the first
has been silent for long.
"""

from __future__ import annotations

from sim.ipsec.traffic import classify
from sim.ipsec.verdict import PacketError, Reason
from sim.units import NS_PER_S
from sim.wire.buffer import WireError
from sim.wire.ip import IpHeader, Protocol

IDLE_NS = 180 * NS_PER_S
"""As long as Linux keeps a UDP stream."""
MAX_CONVERSATIONS = 65536
_ECHO: dict[int, tuple[int, ...]] = {Protocol.ICMP: (0, 8), Protocol.ICMPV6: (128, 129)}

Key = tuple[object, ...]


class Conversations:
    """By addresses and ports, as seen in packets that arrive: the owner, and when it last spoke (ns)."""

    def __init__(self) -> None:
        self._held: dict[Key, tuple[int, int]] = {}

    def claim(self, packet: bytearray, owner: int, now: int) -> bool:
        """Octets arrived from `owner`; False if another has this conversation.

        PacketError if they are no sound packet.
        """
        try:
            key = _key(packet, back=False)
        except WireError:
            raise PacketError(Reason.MALFORMED_INNER) from None
        holder, last_at = self._held.pop(key, (owner, now))
        mine = holder == owner or now - last_at > IDLE_NS
        self._held[key] = (owner, now) if mine else (holder, last_at)
        if len(self._held) > MAX_CONVERSATIONS:
            del self._held[next(iter(self._held))]  # who has been silent for longest
        return mine

    def owner_of_answer(self, packet: bytearray) -> int | None:
        """Whose conversation a packet that leaves belongs to; None if nobody began it."""
        try:
            found = self._held.get(_key(packet, back=True))
        except WireError:
            return None
        return None if found is None else found[0]

    def forget(self, owner: int) -> None:
        self._held = {key: held for key, held in self._held.items() if held[0] != owner}


class Tracked:
    """The pairs of SAs that are told apart, by inbound SPI: an owner has one, and those that rekeyed it."""

    def __init__(self) -> None:
        self._owners: dict[int, int] = {}
        self._senders: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._owners)

    def add(self, spi_in: int, successor_of: int) -> int:
        """The owner of a new pair: that of the one it succeeds, which goes on sending until `prefer`."""
        owner = self._owners[spi_in] = self._owners.get(successor_of, spi_in)
        self._senders.setdefault(owner, spi_in)
        return owner

    def prefer(self, spi_in: int) -> None:
        if spi_in in self._owners:
            self._senders[self._owners[spi_in]] = spi_in

    def sender(self, owner: int) -> int:
        """What packets for an owner leave by."""
        return self._senders[owner]

    def remove(self, spi_in: int) -> int | None:
        """Forget a pair; its owner if that has none left."""
        owner = self._owners.pop(spi_in)
        left = [other for other, its in self._owners.items() if its == owner]
        if not left:
            del self._senders[owner]
            return owner
        if self._senders[owner] == spi_in:
            self._senders[owner] = left[-1]
        return None


def _key(packet: bytearray, *, back: bool) -> Key:
    traffic, header = classify(packet)
    ends = (traffic.src, traffic.src_port), (traffic.dst, traffic.dst_port)
    if header.protocol in _ECHO:
        ends = (traffic.src, 0), (traffic.dst, 0)
    here, there = reversed(ends) if back else ends
    return here, there, header.protocol, _identifier(packet, header)


def _identifier(packet: bytearray, header: IpHeader) -> bytes:
    """Of ICMP echo, request or answer."""
    at = header.upper_offset
    if (
        header.fragment_offset
        or packet[at : at + 1] == b""
        or packet[at] not in _ECHO.get(header.protocol, ())
    ):
        return b""
    return bytes(packet[at + 4 : at + 6])
