"""IPv6 fragments: their header, cutting a packet at its source, and taking the header out (RFC 8200 4.5).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+-------------------------+---+-+
    |  Next Header  |   Reserved    |     Fragment Offset     |Res|M|
    +---------------+---------------+-------------------------+---+-+
    |                        Identification                         |
    +---------------------------------------------------------------+

Offsets in octets: 0 next header, 2 offset in units of 8 octets and M, 4 identification. In front of it stand
the headers that nodes on the way look at: every fragment has them. Reassembly is in `sim.wire.fragment`.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sim.wire.buffer import Buf, WireError
from sim.wire.ip import IPV6_HEADER_BYTES, Protocol

FRAGMENT_HEADER_BYTES = 8

_FRAGMENT = Struct(">BBHI")
_UNIT = 8
_M = 1
_NEXT_HEADER_AT = 6
_LENGTH_AT = 4
_ON_THE_WAY = frozenset({Protocol.IPV6_HOP, Protocol.IPV6_ROUTE, Protocol.IPV6_DEST})
_UPPER_BYTES: dict[int, int] = {
    Protocol.TCP: 20,
    Protocol.UDP: 8,
    Protocol.ICMPV6: 8,
    Protocol.ESP: 8,
    Protocol.NO_NEXT: 0,
}


class FragmentHeader(NamedTuple):
    """`offset` is in octets, a multiple of 8; `more` says that this is not the last fragment."""

    next_header: int
    offset: int
    more: bool
    identification: int

    def emit(self) -> bytes:
        return _FRAGMENT.pack(self.next_header, 0, self.offset | self.more, self.identification)


def parse_header(data: Buf, at: int) -> FragmentHeader:
    """The fragment header at an offset; reserved bits are not looked at. WireError when it is cut off."""
    if len(data) < at + FRAGMENT_HEADER_BYTES:
        raise WireError(f"{max(len(data) - at, 0)} octets are too few for a fragment header")
    next_header, _, word, identification = _FRAGMENT.unpack_from(data, at)
    return FragmentHeader(next_header, word & 0xFFF8, bool(word & _M), identification)


class Place(NamedTuple):
    """Where a fragment header is or would be, and the octet before it that names what stands there."""

    at: int
    named_at: int


def locate(packet: Buf) -> Place | None:
    """Where an IPv6 packet of at least 40 octets has a fragment header; None if it has none, or a cut one."""
    named_at, at = _NEXT_HEADER_AT, IPV6_HEADER_BYTES
    while packet[named_at] in _ON_THE_WAY and at + _UNIT <= len(packet):
        named_at, at = at, at + _UNIT + _UNIT * packet[at + 1]
    if packet[named_at] == Protocol.IPV6_FRAGMENT and at + FRAGMENT_HEADER_BYTES <= len(packet):
        return Place(at, named_at)
    return None


def fragment6(packet: bytearray, mtu: int, identification: int) -> list[bytearray]:
    """A whole IPv6 packet as fragments of at most `mtu` octets, in order; `[packet]` itself when it fits.

    For the packet's source only. ValueError when the packet is a fragment already, and when the first
    fragment has no room for all headers up to the upper layer's (RFC 7112 5).
    """
    if len(packet) <= mtu:
        return [packet]
    if locate(packet) is not None:
        raise ValueError("this packet is a fragment already")
    place, chain_end = _cut_at(packet)
    room = mtu - place.at - FRAGMENT_HEADER_BYTES
    step = room // _UNIT * _UNIT
    if step < max(_UNIT, chain_end - place.at):
        raise ValueError(f"an MTU of {mtu} octets leaves no room for the headers of this packet")
    front = packet[: place.at]
    next_header, front[place.named_at] = front[place.named_at], Protocol.IPV6_FRAGMENT
    pieces = []
    at = place.at
    while at < len(packet):
        more = len(packet) - at > room  # only the last may have a length that is no multiple of 8
        end = at + step if more else len(packet)
        header = FragmentHeader(next_header, at - place.at, more, identification)
        pieces.append(front + header.emit() + packet[at:end])
        write_length(pieces[-1])
        at = end
    return pieces


def without_header(packet: bytearray, place: Place) -> bytearray:
    """The packet without the fragment header that it has at `place`; the length stays what it was."""
    whole = packet[: place.at] + packet[place.at + FRAGMENT_HEADER_BYTES :]
    whole[place.named_at] = packet[place.at]
    return whole


def write_length(packet: bytearray) -> None:
    packet[_LENGTH_AT : _LENGTH_AT + 2] = (len(packet) - IPV6_HEADER_BYTES).to_bytes(2, "big")


def upper_bytes(protocol: int) -> int:
    """How many octets of an upper layer the first fragment must have at least (RFC 7112 5)."""
    return _UPPER_BYTES.get(protocol, 1)


def _cut_at(packet: bytearray) -> tuple[Place, int]:
    """Where the fragment header goes (RFC 8200 4.5), and where the upper-layer header ends.

    Behind the Routing header, and what is before it; else behind Hop-by-Hop Options; else behind the IPv6
    header.
    """
    named_at, at = _NEXT_HEADER_AT, IPV6_HEADER_BYTES
    place = Place(at, named_at)
    while packet[named_at] in _ON_THE_WAY and at + _UNIT <= len(packet):
        kind = packet[named_at]
        named_at, at = at, at + _UNIT + _UNIT * packet[at + 1]
        if kind != Protocol.IPV6_DEST:
            place = Place(at, named_at)
    return place, at + upper_bytes(packet[named_at])
