"""IPv4 fragmentation and reassembly (RFC 791 3.2, RFC 815, RFC 3168 5.3).

Reassembly refuses what only attacks send, as Linux does: overlapping fragments (RFC 5722 for IPv6, RFC 1858 4
for IPv4) discard the whole datagram, and so does TCP whose ports or flags would lie in a later fragment
(RFC 1858 3, RFC 3128). IPv6 fragments are left out: they are refused, and counted.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from struct import Struct

from sim.units import NS_PER_S
from sim.wire import ip
from sim.wire.buffer import WireError
from sim.wire.ip import IpHeader, Protocol

TIMEOUT_NS = 30 * NS_PER_S
"""How long a datagram may stay incomplete. RFC 791 3.2 suggests 15 s, RFC 1122 3.3.2 60 to 120 s; Linux and
this project take 30 s."""
MAX_BYTES = 1 << 20

_LENGTH_TO_FLAGS = Struct(">HHH")  # total length, identification, flags and offset, at offset 2
_TCP_LEAST_BYTES = 16  # tmin of RFC 1858 3.2.1: ports, sequence numbers, flags
_NOT_ECT, _CE = 0, 3

_Key = tuple[bytes, bytes, int, int]


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
    the fragment at 0, empty until it comes; `total` is known from the last fragment on; `charge` counts
    octets held, headers included.
    """

    __slots__ = ("charge", "deadline_at", "ecn", "first", "pieces", "received", "starts", "total")

    def __init__(self, deadline_at: int) -> None:
        self.deadline_at = deadline_at
        self.first = bytearray()
        self.pieces: dict[int, bytearray] = {}
        self.starts: list[int] = []
        self.total: int | None = None
        self.received = 0
        self.charge = 0
        self.ecn: set[int] = set()

    @property
    def complete(self) -> bool:
        return self.received == self.total

    def insert(self, header: IpHeader, packet: bytearray) -> str | None:
        """Take a fragment in, or say why it spoils the datagram."""
        start, data = header.fragment_offset, packet[header.upper_offset :]
        end = start + len(data)
        index = bisect(self.starts, start)
        if self._overlaps(index, start, end):
            return "overlapping fragment"
        if self._contradicts_end(header.mf, index, end):
            return "fragment beyond the end"
        self.ecn.add(header.tos & 3)
        if {_NOT_ECT, _CE} <= self.ecn:
            return "ECN of fragments contradicts"
        self.first = self.first if start else packet
        self.total = self.total if header.mf else end
        self.starts.insert(index, start)
        self.pieces[start] = data
        self.received += len(data)
        self.charge += len(packet)
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
        """The datagram, with the first fragment's header and any congestion mark (RFC 3168 5.3)."""
        whole = self.first[: (self.first[0] & 15) * 4]
        for at in self.starts:
            whole += self.pieces[at]
        _, identification, flags = _LENGTH_TO_FLAGS.unpack_from(whole, 2)
        _LENGTH_TO_FLAGS.pack_into(whole, 2, len(whole), identification, flags & ip.DF)
        if _CE in self.ecn:
            whole[1] |= _CE
        ip.write_checksum(whole)
        return whole


class Reassembler:
    """Joins the fragments that arrive at one node, in bounded memory.

    `refused` counts, by reason, fragments and datagrams that were given up. `max_bytes` bounds the octets of
    all fragments held, their headers included; beyond it the oldest datagrams are given up.
    """

    def __init__(self, timeout_ns: int = TIMEOUT_NS, max_bytes: int = MAX_BYTES) -> None:
        self.refused: Counter[str] = Counter()
        self._timeout_ns = timeout_ns
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._partials: dict[_Key, _Partial] = {}  # oldest first, thus in the order of deadlines

    def add(self, packet: bytearray, now: int) -> bytearray | None:
        """The whole datagram when `packet` is one or completes one, else None.

        `packet` belongs to the reassembler from here on. Octets that are no IP packet are refused.
        """
        try:
            header = ip.parse(packet)
        except WireError:
            self.refused["malformed packet"] += 1
            return None
        if not header.is_fragment:
            return packet
        reason = _unfit(header, packet)
        if reason:
            self.refused[reason] += 1
            return None
        return self._hold(header, packet, now)

    def expire(self, now: int) -> list[bytearray]:
        """Give up the datagrams whose time is over.

        Returns the first fragments among them: only about these is "reassembly time exceeded" sent (RFC 792).
        """
        late = [key for key, partial in self._partials.items() if partial.deadline_at <= now]
        firsts = []
        for key in late:
            partial = self._give_up(key, "reassembly time exceeded")
            if partial.first:
                firsts.append(partial.first)
        return firsts

    def next_timer(self) -> int | None:
        """When `expire` next has something to do; any `add` may change it."""
        return next((partial.deadline_at for partial in self._partials.values()), None)

    def _hold(self, header: IpHeader, packet: bytearray, now: int) -> bytearray | None:
        key = (header.src, header.dst, header.protocol, header.identification)
        partial = self._partials.get(key)
        if partial is not None and partial.deadline_at <= now:
            self._give_up(key, "reassembly time exceeded")
            partial = None
        if partial is None:
            partial = self._partials[key] = _Partial(now + self._timeout_ns)
        elif partial.pieces.get(header.fragment_offset) == packet[header.upper_offset :]:
            self.refused["duplicate fragment"] += 1
            return None
        before = partial.charge
        reason = partial.insert(header, packet)
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


def _unfit(header: IpHeader, packet: bytearray) -> str | None:
    """Why a fragment cannot be part of any datagram."""
    size = len(packet) - header.upper_offset
    if header.version != 4:
        return "IPv6 fragment"
    if size == 0:
        return "empty fragment"
    if header.mf and size % 8:
        return "fragment of no multiple of 8 octets"
    if header.fragment_offset + size > ip.MAX_PACKET_BYTES - ip.IPV4_HEADER_BYTES:
        return "datagram of more than 65535 octets"
    if header.protocol == Protocol.TCP and _tiny(header, size):
        return "tiny fragment"
    return None


def _tiny(header: IpHeader, size: int) -> bool:
    """Whether a fragment would hide TCP ports or flags from a filter on the way (RFC 1858 3.2, RFC 3128)."""
    if header.fragment_offset == 0:
        return size < _TCP_LEAST_BYTES
    return header.fragment_offset == 8
