"""The headers in front of AH as its ICV covers them (RFC 4302 3.3.3.1, appendix A).

    field                                  in the ICV
    IPv4 TOS, flags, offset, TTL, checksum   as zero
    IPv4 options that routers rewrite        as zero, type and length too; see `_IMMUTABLE`
    IPv6 traffic class, flow label, hops     as zero
    IPv6 options that may change en route    data as zero (their type says so: RFC 8200 4.2)
    source routes and routing headers        as they will be at the destination
    all else                                 as it is

Headers behind AH are its payload and covered as they are. A routing header of type 2 (RFC 6275 6.4) is
rearranged as one of type 0; of other types nobody can say what the destination will see.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.wire.buffer import WireError
from sim.wire.ip import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, Protocol

_LOOSE_ROUTE, _STRICT_ROUTE = 131, 137
_IMMUTABLE = frozenset({130, 133, 134, 148, 149})
"""Security, extended and commercial security, router alert, sender directed delivery (RFC 4302 A1)."""
_END, _NO_OPERATION = 0, 1
_PAD1 = 0
_CHANGES_EN_ROUTE = 0x20
_REARRANGED = frozenset({0, 2})
_ROUTING_ADDRESSES_AT = 8
_WITH_OPTIONS = frozenset({Protocol.IPV6_HOP, Protocol.IPV6_DEST})


def masked(packet: bytearray, at: int) -> bytearray:
    """A copy of the headers before AH at `at` with all that may change on the way set to zero.

    WireError for options whose lengths contradict the header's.
    """
    headers = packet[:at]
    if headers[0] >= 0x60:
        _mask_v6(headers)
    else:
        _mask_v4(headers)
    return headers


def predicted(packet: bytearray, at: int) -> bytearray:
    """As `masked`, for a packet that is to be sent: with source routes as they arrive at the end.

    WireError, too, for a routing header that nobody can foretell.
    """
    headers = packet[:at]
    if headers[0] >= 0x60:
        _foretell_v6(headers)
        _mask_v6(headers)
    else:
        _foretell_v4(headers)
        _mask_v4(headers)
    return headers


def _mask_v4(headers: bytearray) -> None:
    headers[1] = 0
    headers[6:9] = bytes(3)  # flags, fragment offset, TTL
    headers[10:12] = bytes(2)
    if len(headers) > IPV4_HEADER_BYTES:
        for start, end in _options_v4(headers):
            if headers[start] not in _IMMUTABLE:
                headers[start:end] = bytes(end - start)


def _foretell_v4(headers: bytearray) -> None:
    """The destination is the last address of a source route that is not at its end (RFC 791 3.1)."""
    if len(headers) == IPV4_HEADER_BYTES:
        return
    for start, end in _options_v4(headers):
        routed = headers[start] in (_LOOSE_ROUTE, _STRICT_ROUTE)
        if routed and end - start >= 7 and headers[start + 2] <= end - start:
            headers[16:20] = headers[end - 4 : end]


def _options_v4(headers: bytearray) -> Iterator[tuple[int, int]]:
    """Where each option that has a length starts and ends, one after the other."""
    at, size = IPV4_HEADER_BYTES, len(headers)
    while at < size and headers[at] != _END:
        if headers[at] == _NO_OPERATION:
            at += 1
            continue
        length = headers[at + 1] if at + 1 < size else 0
        if length < 2 or at + length > size:
            raise WireError(f"IPv4 option {headers[at]} at offset {at} has the length {length}")
        yield at, at + length
        at += length


def _mask_v6(headers: bytearray) -> None:
    headers[0:4] = b"\x60\0\0\0"
    headers[7] = 0
    if len(headers) > IPV6_HEADER_BYTES:
        for protocol, start, end in extensions(headers):
            if protocol in _WITH_OPTIONS:
                _mask_options(headers, start + 2, end)


def _mask_options(headers: bytearray, at: int, end: int) -> None:
    while at < end:
        if headers[at] == _PAD1:
            at += 1
            continue
        data = at + 2
        after = data + headers[at + 1] if data <= end else data
        if after > end:
            raise WireError(f"IPv6 option {headers[at]} at offset {at} reaches beyond its header")
        if headers[at] & _CHANGES_EN_ROUTE:
            headers[data:after] = bytes(after - data)
        at = after


def _foretell_v6(headers: bytearray) -> None:
    """Make a routing header look as at its last hop (RFC 4302 A2, RFC 8200 4.4)."""
    if len(headers) == IPV6_HEADER_BYTES:
        return
    for protocol, start, end in extensions(headers):
        if protocol == Protocol.IPV6_ROUTE and headers[start + 3]:
            _rearrange(headers, start, end)


def _rearrange(headers: bytearray, start: int, end: int) -> None:
    """Each hop that is left swaps the next address with the destination, which is the last in the end."""
    kind, left = headers[start + 2], headers[start + 3]
    first = start + _ROUTING_ADDRESSES_AT
    if kind not in _REARRANGED or left > (end - first) // 16:
        raise WireError(f"a routing header of type {kind} with {left} segments left")
    waiting = first + ((end - first) // 16 - left) * 16
    path = headers[24:40] + headers[waiting : waiting + left * 16]
    headers[waiting : waiting + left * 16] = path[:-16]
    headers[24:40] = path[-16:]
    headers[start + 3] = 0


def extensions(headers: bytearray) -> Iterator[tuple[int, int, int]]:
    """Each extension header of IPv6 headers that are known to be sound: protocol, start, end."""
    protocol, at, size = headers[6], IPV6_HEADER_BYTES, len(headers)
    while at < size:
        end = at + (8 if protocol == Protocol.IPV6_FRAGMENT else 8 + 8 * headers[at + 1])
        yield protocol, at, end
        protocol, at = headers[at], end
