"""Fragmentation of IPv4, reassembly of IPv4 and IPv6 (RFC 791 3.2, RFC 815, RFC 8200 4.5, RFC 3168 5.3).

Reassembly refuses what only attacks send, as Linux does: overlapping fragments (RFC 5722 for IPv6, RFC 1858 4
for IPv4) discard all of the datagram that has come, and a fragment is refused that would hide TCP's ports or
flags in a later one (RFC 1858 3, RFC 3128), or a part of the header chain (RFC 7112). An IPv6 packet that is
its only fragment is whole whatever else has its identification (RFC 6946).
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from struct import Struct
from typing import NamedTuple

from sim.units import NS_PER_S
from sim.wire import fragment6, ip
from sim.wire.buffer import WireError
from sim.wire.ip import IpHeader, Protocol

TIMEOUT_NS = 30 * NS_PER_S
"""How long a datagram may stay incomplete. RFC 791 3.2 suggests 15 s, RFC 1122 3.3.2 60 to 120 s; Linux and
this project take 30 s."""
MAX_BYTES = 4 << 20
"""How much memory the incomplete datagrams of a host may take: Linux's net.ipv4.ipfrag_high_thresh."""
DATAGRAM_COST, FRAGMENT_COST = 1280, 256
"""What a datagram, and each of its fragments, takes beside the octets: objects of Python, measured."""

_LENGTH_TO_FLAGS = Struct(">HHH")  # total length, identification, flags and offset, at offset 2
_TCP_LEAST_BYTES = 16  # tmin of RFC 1858 3.2.1: ports, sequence numbers, flags
_NOT_ECT, _CE = 0, 3

MALFORMED = "malformed packet"
OVERLAP = "overlapping fragment"
BEYOND_END = "fragment beyond the end"
ECN_CONTRADICTS = "ECN of fragments contradicts"
EMPTY = "empty fragment"
UNEVEN = "fragment of no multiple of 8 octets"
TOO_LONG = "datagram of more than 65535 octets"
TINY = "tiny fragment"
TIME_EXCEEDED = "reassembly time exceeded"

_Key = tuple[bytes, bytes, int, int]


class _Piece(NamedTuple):
    """A fragment, of either version: its data starts at `at` in the packet, and at `start` in the datagram.

    `place` is where an IPv6 packet has its fragment header.
    """

    packet: bytearray
    header: IpHeader
    at: int
    place: fragment6.Place | None

    @property
    def key(self) -> _Key:
        """RFC 791 3.2, RFC 8200 4.5: only IPv4 tells protocols apart."""
        header = self.header
        protocol = header.protocol if self.place is None else Protocol.IPV6_FRAGMENT
        return header.src, header.dst, protocol, header.identification

    @property
    def start(self) -> int:
        return self.header.fragment_offset

    @property
    def more(self) -> bool:
        return self.header.mf

    @property
    def data(self) -> bytearray:
        return self.packet[self.at :]


def fragment(packet: bytearray, mtu: int) -> list[bytearray]:
    """An IPv4 packet as packets of at most `mtu` octets, in order; `[packet]` itself when it fits.

    A fragment may be cut again. DF is the caller's to look at. Later fragments keep the options whose copied
    bit is set; from an option on whose length is wrong none is kept. ValueError when no 8 octets of data fit
    beside the header; a header of no sound IPv4 packet is a WireError.
    """
    if len(packet) <= mtu:
        return [packet]
    header = ip.parse(packet)
    if header.version != 4:
        raise ValueError("an IPv6 packet is fragmented by its source only")
    size = header.upper_offset
    if mtu < size + 8:
        raise ValueError(f"an MTU of {mtu} octets leaves no room for data")
    later = _later_header(packet[:size])
    cut = size + (mtu - size) // 8 * 8
    pieces = [packet[:cut]]
    step = (mtu - len(later)) // 8 * 8
    pieces += [later + packet[at : at + step] for at in range(cut, len(packet), step)]
    _number(pieces, header)
    return pieces


def _number(pieces: list[bytearray], header: IpHeader) -> None:
    """Give every piece its length, offset, MF and checksum."""
    offset = header.fragment_offset
    for piece in pieces:
        more = header.mf or piece is not pieces[-1]
        flags = (ip.DF if header.df else 0) | (ip.MF if more else 0) | offset // 8
        _LENGTH_TO_FLAGS.pack_into(piece, 2, len(piece), header.identification, flags)
        ip.write_checksum(piece)
        offset += len(piece) - (piece[0] & 15) * 4


def _later_header(header: bytearray) -> bytearray:
    """The header of all fragments but the first: its options are those with the copied bit (RFC 791 3.1)."""
    kept = header[: ip.IPV4_HEADER_BYTES]
    at = ip.IPV4_HEADER_BYTES
    while at < len(header) and header[at] != 0:
        if header[at] == 1:  # no operation, the only other option without a length
            at += 1
            continue
        size = header[at + 1] if at + 1 < len(header) else 0
        if size < 2 or at + size > len(header):
            break
        if header[at] & 0x80:
            kept += header[at : at + size]
        at += size
    kept += bytes(-len(kept) % 4)
    kept[0] = 0x40 | len(kept) // 4
    return kept


class _Partial:
    """A datagram of which some fragments are here.

    `pieces` maps an offset in octets to the data there and `starts` has these offsets in order; `first` is
    the fragment at 0, None until it comes; `total` is known from the last fragment on; `charge` counts
    what it takes of memory.
    """

    __slots__ = ("charge", "deadline_at", "ecn", "first", "pieces", "received", "starts", "total")

    def __init__(self, deadline_at: int) -> None:
        self.deadline_at = deadline_at
        self.first: _Piece | None = None
        self.pieces: dict[int, bytearray] = {}
        self.starts: list[int] = []
        self.total: int | None = None
        self.received = 0
        self.charge = DATAGRAM_COST
        self.ecn: set[int] = set()

    @property
    def complete(self) -> bool:
        return self.received == self.total

    def insert(self, piece: _Piece) -> str | None:
        """Take a fragment in, or say why it spoils the datagram."""
        start, data = piece.start, piece.data
        end = start + len(data)
        index = bisect(self.starts, start)
        if self._overlaps(index, start, end):
            return OVERLAP
        if self._contradicts_end(piece.more, index, end):
            return BEYOND_END
        self.ecn.add(piece.header.tos & 3)
        if {_NOT_ECT, _CE} <= self.ecn:
            return ECN_CONTRADICTS
        self.first = self.first if start else piece
        self.total = self.total if piece.more else end
        self.starts.insert(index, start)
        self.pieces[start] = data
        self.received += len(data)
        self.charge += FRAGMENT_COST + len(piece.packet)
        return None

    def _overlaps(self, index: int, start: int, end: int) -> bool:
        if index < len(self.starts) and self.starts[index] < end:
            return True
        before = self.starts[index - 1] if index else None
        return before is not None and before + len(self.pieces[before]) > start

    def _contradicts_end(self, more: bool, index: int, end: int) -> bool:
        if more:
            return self.total is not None and end > self.total
        return self.total is not None or index < len(self.starts)

    def join(self) -> bytearray:
        """The datagram, with the first fragment's headers and any congestion mark (RFC 3168 5.3)."""
        assert self.first is not None, "a datagram is complete"
        packet, _, at, place = self.first
        whole = packet[:at] if place is None else fragment6.without_header(packet[:at], place)
        for start in self.starts:
            whole += self.pieces[start]
        if _CE in self.ecn:
            whole[1] |= _CE if place is None else _CE << 4
        if place is None:
            _, identification, flags = _LENGTH_TO_FLAGS.unpack_from(whole, 2)
            _LENGTH_TO_FLAGS.pack_into(whole, 2, len(whole), identification, flags & ip.DF)
            ip.write_checksum(whole)
        else:
            fragment6.write_length(whole)
        return whole


class Reassembler:
    """Joins the fragments that arrive at one node, in bounded memory.

    `refused` counts, by reason, fragments and datagrams that were given up. `max_bytes` bounds the memory of
    all fragments held, as far as it is known; beyond it the oldest datagrams are given up.
    """

    def __init__(self, timeout_ns: int = TIMEOUT_NS, max_bytes: int = MAX_BYTES) -> None:
        self.refused: Counter[str] = Counter()
        self._timeout_ns = timeout_ns
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._partials: dict[_Key, _Partial] = {}  # oldest first, thus in the order of deadlines

    def add(self, packet: bytearray, now: int) -> bytearray | None:
        """The whole datagram when `packet` is one or completes one, else None.

        A fragment header is taken out. `packet` belongs to the reassembler from here on. Octets that are no
        IP packet are refused.
        """
        try:
            header = ip.parse(packet)
        except WireError:
            self.refused[MALFORMED] += 1
            return None
        place = None if header.version == 4 else fragment6.locate(packet)
        if not header.is_fragment:
            return packet if place is None else _atom(packet, place)
        at = header.upper_offset if place is None else place.at + fragment6.FRAGMENT_HEADER_BYTES
        piece = _Piece(packet, header, at, place)
        reason = _unfit(piece)
        if reason:
            self.refused[reason] += 1
            return None
        return self._hold(piece, now)

    def expire(self, now: int) -> list[bytearray]:
        """Give up the datagrams whose time is over.

        Returns the first fragments among them: only about these is "reassembly time exceeded" sent (RFC 792,
        RFC 8200 4.5).
        """
        late = [key for key, partial in self._partials.items() if partial.deadline_at <= now]
        firsts = []
        for key in late:
            partial = self._give_up(key, TIME_EXCEEDED)
            if partial.first is not None:
                firsts.append(partial.first.packet)
        return firsts

    def next_timer(self) -> int | None:
        """When `expire` next has something to do; any `add` may change it."""
        return next((partial.deadline_at for partial in self._partials.values()), None)

    def _hold(self, piece: _Piece, now: int) -> bytearray | None:
        key = piece.key
        partial = self._partials.get(key)
        if partial is not None and partial.deadline_at <= now:
            self._give_up(key, TIME_EXCEEDED)
            partial = None
        if partial is None:
            partial = self._partials[key] = _Partial(now + self._timeout_ns)
            self._held_bytes += partial.charge
        elif partial.pieces.get(piece.start) == piece.data:
            self.refused["duplicate fragment"] += 1
            return None
        before = partial.charge
        reason = partial.insert(piece)
        self._held_bytes += partial.charge - before
        if reason:
            self._give_up(key, reason)
            return None
        if partial.complete:
            self._forget(key)
            return partial.join()
        while self._held_bytes > self._max_bytes:
            self._give_up(next(iter(self._partials)), "reassembly buffer full")
        return None

    def _give_up(self, key: _Key, reason: str) -> _Partial:
        self.refused[reason] += 1
        return self._forget(key)

    def _forget(self, key: _Key) -> _Partial:
        partial = self._partials.pop(key)
        self._held_bytes -= partial.charge
        return partial


def _atom(packet: bytearray, place: fragment6.Place) -> bytearray:
    """What an atomic fragment holds: a packet by itself (RFC 6946 4)."""
    whole = fragment6.without_header(packet, place)
    fragment6.write_length(whole)
    return whole


def _unfit(piece: _Piece) -> str | None:
    """Why a fragment cannot be part of any datagram."""
    size = len(piece.packet) - piece.at
    if size == 0:
        return EMPTY
    if piece.more and size % 8:
        return UNEVEN
    if piece.start + size > ip.MAX_PACKET_BYTES - _outside(piece):
        return TOO_LONG
    return TINY if _tiny(piece, size) else None


def _outside(piece: _Piece) -> int:
    """How much of what a length field counts are headers that all fragments have."""
    return ip.IPV4_HEADER_BYTES if piece.place is None else piece.place.at - ip.IPV6_HEADER_BYTES


def _tiny(piece: _Piece, size: int) -> bool:
    """Whether a fragment would hide from a filter on the way what that looks at.

    TCP ports or flags (RFC 1858 3.2, RFC 3128), and in IPv6 any upper-layer header (RFC 7112 5).
    """
    header = piece.header
    if piece.place is not None:
        chain_end = header.upper_offset + fragment6.upper_bytes(header.protocol)
        return piece.start == 0 and len(piece.packet) < chain_end
    if header.protocol != Protocol.TCP:
        return False
    return size < _TCP_LEAST_BYTES if piece.start == 0 else piece.start == 8
