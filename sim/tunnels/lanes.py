"""The short way through a gateway, for flows whose packets went the long way before.

    link -> enter -> known? -> forward | seal and forward | open -> known inside? -> forward | seal | deliver
                       |                                                |
                       +-> IpNode.receive (the long way)                +-> IpNode.unwrapped

A lane stands for what the long way decided about one flow, found by addresses and ports, or SPI. It takes
whole IPv4 packets with a right header of 20 octets; it does what the long way would, or nothing. Whatever may
change a decision takes all lanes away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct

from sim.ipsec.sad import MAX_FLOWS, InboundSa
from sim.ipsec.verdict import Drop, Reason
from sim.net.node import Enter
from sim.net.packet import Packet
from sim.net.port import Port
from sim.wire.address import Sock
from sim.wire.esp import HEADER, HEADER_BYTES
from sim.wire.ip import (
    IPV4_HEADER_BYTES,
    MF,
    OFFSET_MASK,
    ONE_HOP,
    ONE_HOP_CARRY,
    TWO_HOPS,
    addresses,
)
from sim.wire.udp import UDP_HEADER_BYTES

Send = Callable[[Packet, int], None]
Seal = Callable[[bytearray, int], bytearray | Drop]
Dropped = Callable[[Packet, Reason, int], None]
Settle = Callable[[int], None]
Unwrapped = Callable[[Packet, InboundSa, int], None]
Act = Callable[[Packet, int, int, int], bool]
"""(packet, TTL to checksum on the way on or 0, what follows ports or SPI, now); False: nothing was done."""

_LOOK = Struct(">QI12sI")  # version to fragment offset, TTL to checksum, addresses and ports or SPI, the next
_LOOK_BYTES = _LOOK.size
_look = _LOOK.unpack_from
_put_hop = Struct(">I").pack_into
_PORT = Struct(">H")
_esp_header = HEADER.unpack_from
_SHAPE = 0xFF00FFFF0000 << 16 | MF | OFFSET_MASK
_IPV4_SHAPE = 0x45 << 56
_PROTOCOL = 0xFF << 16
_IN_UDP = IPV4_HEADER_BYTES + UDP_HEADER_BYTES


class Lane:
    """What to do with packets of one flow, which the SA `opener` admitted if they came out of one.

    `first`, `hop` and `size` are of the last packet that was found right: the same once more is right, too.
    So it is in most flows that do not number their packets (RFC 6864 4.1), and in ESP. `onward` is its `hop`
    with the TTL counted down and the checksum to match, 0 when that ends here.
    """

    __slots__ = ("_ends", "_shape", "act", "first", "hop", "onward", "opener", "size")

    def __init__(self, data: bytearray, opener: InboundSa | None, act: Act) -> None:
        self._shape = _IPV4_SHAPE | data[9] << 16
        self._ends = int.from_bytes(data[12:IPV4_HEADER_BYTES], "big") % 0xFFFF
        self.opener = opener
        self.act = act
        self.first = self.hop = self.size = self.onward = 0

    def fits(self, first: int, hop: int, size: int) -> bool:
        """Whether a packet of this key is whole and of the flow's protocol, and its header checksum right."""
        if (first & _SHAPE) + (hop & _PROTOCOL) != size << 32 | self._shape:
            return False
        if (first + hop + self._ends) % 0xFFFF:
            return False
        self.first, self.hop, self.size = first, hop, size
        less = ONE_HOP if hop & 0xFFFF < 0xFEFF else ONE_HOP_CARRY
        self.onward = hop - less if hop >= TWO_HOPS else 0
        return True


Flows = dict[bytes, Lane]


class Lanes:
    """Of one node: those for packets from links, and those for packets that came out of an SA."""

    def __init__(
        self, unwrapped: Unwrapped, drop_arriving: Dropped, drop_leaving: Dropped, settle: Settle
    ) -> None:
        """`settle` is called before an inner packet goes on: its SA may have noticed that a peer moved."""
        self.outside: Flows = {}
        self.inside: Flows = {}
        self._unwrapped = unwrapped
        self._drop_arriving = drop_arriving
        self._drop_leaving = drop_leaving
        self._settle = settle

    def forget(self) -> None:
        self.outside.clear()
        self.inside.clear()

    def entry(self, receive: Enter) -> Enter:
        """A function for links to call, which leaves to `receive` what has no lane."""
        known = self.outside

        def enter(packet: Packet, port: Port, now: int) -> None:
            data = packet.data
            size = len(data)
            if size >= _LOOK_BYTES:
                first, hop, key, word = _look(data)
                lane = known.get(key)
                if lane is not None and (
                    (first == lane.first and hop == lane.hop and size == lane.size)
                    or lane.fits(first, hop, size)
                ):
                    act = lane.act
                    if act(packet, lane.onward, word, now):
                        return
            receive(packet, port, now)

        return enter

    def forward(self, data: bytearray, send: Send, longest: int, opener: InboundSa | None) -> None:
        """Send on what is like `data`, which `opener` admitted if any did, and no longer than `longest`."""

        def act(packet: Packet, onward: int, _word: int, now: int) -> bool:
            if not onward or len(packet.data) > longest:
                return False
            _put_hop(packet.data, 8, onward)
            send(packet, now)
            return True

        self._learn(data, opener, act)

    def seal(self, data: bytearray, seal: Seal, send: Send, longest: int, opener: InboundSa | None) -> None:
        """As `forward`, but seal it before."""
        drop = self._drop_leaving

        def act(packet: Packet, onward: int, _word: int, now: int) -> bool:
            data = packet.data
            if not onward or len(data) > longest:
                return False
            _put_hop(data, 8, onward)
            sealed = seal(data, now)
            if type(sealed) is bytearray:
                packet.data = sealed
                send(packet, now)
            else:
                assert isinstance(sealed, Drop)
                drop(packet, sealed.reason, now)
            return True

        self._learn(data, opener, act)

    def deliver(self, data: bytearray, deliver: Send, opener: InboundSa) -> None:
        """Give to the node itself what is like `data`, which `opener` admitted."""

        def act(packet: Packet, _onward: int, _word: int, now: int) -> bool:
            deliver(packet, now)
            return True

        self._learn(data, opener, act)

    def open(self, data: bytearray, sa: InboundSa) -> None:
        """Open ESP like `data` with an SA."""
        open_with = self._open_with

        def act(packet: Packet, _onward: int, low: int, now: int) -> bool:
            open_with(sa, packet, IPV4_HEADER_BYTES, low, None, now)
            return True

        _learn(self.outside, data, None, act)

    def open_in_udp(self, data: bytearray, sas: Mapping[int, InboundSa]) -> None:
        """Open ESP in UDP between the same ports as `data`; IKE and keepalives go the long way."""
        open_with = self._open_with
        peer = addresses(data)[0], _PORT.unpack_from(data, IPV4_HEADER_BYTES)[0]

        def act(packet: Packet, _onward: int, word: int, now: int) -> bool:
            data = packet.data
            if len(data) < _IN_UDP + HEADER_BYTES or word >> 16 != len(data) - IPV4_HEADER_BYTES:
                return False
            spi, low = _esp_header(data, _IN_UDP)
            sa = sas.get(spi)
            if sa is None:
                return False
            open_with(sa, packet, _IN_UDP, low, peer, now)
            return True

        _learn(self.outside, data, None, act)

    def _open_with(
        self, sa: InboundSa, packet: Packet, at: int, low: int, peer: Sock | None, now: int
    ) -> None:
        """A flow with a lane that this very SA has admitted before needs no second look at its selectors."""
        data = packet.data
        open_plain = sa.open_plain
        inner = open_plain(data, at, low)
        if inner is None:
            self._opened(packet, sa, sa.open_any(data, at, low, peer, now), now)
            return
        size = len(inner)
        if size >= _LOOK_BYTES:
            first, hop, key, word = _look(inner)
            lane = self.inside.get(key)
            if (
                lane is not None
                and lane.opener is sa
                and (
                    (first == lane.first and hop == lane.hop and size == lane.size)
                    or lane.fits(first, hop, size)
                )
            ):
                sa.admit_known(inner, peer, now)
                packet.data = inner
                if peer is not None:
                    self._settle(now)  # which may take the lane away
                act = lane.act
                if (peer is not None and key not in self.inside) or not act(packet, lane.onward, word, now):
                    self._unwrapped(packet, sa, now)
                return
        self._opened(packet, sa, sa.admit(data, at, inner, peer, now), now)

    def _opened(self, packet: Packet, sa: InboundSa, inner: bytearray | Drop, now: int) -> None:
        self._settle(now)
        if isinstance(inner, Drop):
            self._drop_arriving(packet, inner.reason, now)
            return
        packet.data = inner
        size = len(inner)
        if size >= _LOOK_BYTES:
            first, hop, key, word = _look(inner)
            lane = self.inside.get(key)
            if lane is not None and lane.fits(first, hop, size) and lane.act(packet, lane.onward, word, now):
                return
        self._unwrapped(packet, sa, now)

    def _learn(self, data: bytearray, opener: InboundSa | None, act: Act) -> None:
        _learn(self.outside if opener is None else self.inside, data, opener, act)


def _learn(flows: Flows, data: bytearray, opener: InboundSa | None, act: Act) -> None:
    if len(data) < _LOOK_BYTES or data[0] != _IPV4_SHAPE >> 56:
        return
    if len(flows) >= MAX_FLOWS:
        flows.clear()
    flows[_look(data)[2]] = Lane(data, opener, act)
