"""What ESP holds in AGGFRAG mode, for people (RFC 9347 6.1): a header, packets, pieces, padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sim.experiment.packet_fields import Field, field, ip_fields, rest, transport_fields
from sim.wire import aggfrag, ip
from sim.wire.buffer import WireError

_LAYER, _INNER = "AGGFRAG", "inner "
_BLOCKS = "RFC 9347 6.1.3"
_COMMON = (("sub-type", 1), ("reserved", 1), ("BlockOffset", 2))
_CONGESTION = (
    *(("sub-type", 1), ("reserved, P, E", 1), ("BlockOffset", 2), ("LossEventRate", 4)),
    *(("RTT, Echo Delay, Transmit Delay", 8), ("TVal", 4), ("TEcho", 4)),
)
_PLAIN_LAYOUT = _COMMON, "RFC 9347 6.1.1"
_CONGESTION_LAYOUT = _CONGESTION, "RFC 9347 6.1.2"


def aggfrag_fields(payload: bytes) -> Iterator[Field]:
    """All of a payload; offsets count from its beginning."""
    try:
        header = aggfrag.parse(payload)
    except WireError:
        yield rest(payload, 0, _LAYER, "damaged payload", "RFC 9347 6.1")
        return
    layout, source = _PLAIN_LAYOUT if payload[0] == aggfrag.Subtype.PLAIN else _CONGESTION_LAYOUT
    at = 0
    for name, size in layout:
        value = str(int.from_bytes(payload[at : at + size], "big"))
        yield field(payload, at, at + size, _LAYER, name, value, source)
        at += size
    first = min(at + header.offset, len(payload))
    if first > at:
        yield field(payload, at, first, _INNER + "piece", "end of a packet", f"{first - at} octets", _BLOCKS)
    yield from _blocks(payload, first)


def _blocks(payload: bytes, at: int) -> Iterator[Field]:
    while at < len(payload):
        length = _length(payload, at)
        if length == aggfrag.PADDING:
            yield rest(payload, at, _LAYER, "padding", "RFC 9347 6.1.3.3")
            return
        if length is None or at + length > len(payload):
            yield rest(payload, at, _INNER + "piece", "beginning of a packet", _BLOCKS)
            return
        yield from (replace(item, offset=at + item.offset) for item in _packet(payload[at : at + length]))
        at += length


def _length(payload: bytes, at: int) -> int | None:
    try:
        return aggfrag.block_length(payload, at)
    except WireError:
        return None


def _packet(packet: bytes) -> Iterator[Field]:
    try:
        header = ip.parse(packet)
    except WireError:
        yield rest(packet, 0, "inner IP", "damaged packet", _BLOCKS)
        return
    yield from ip_fields(packet, header, "inner IP")
    if header.is_fragment:
        yield rest(packet, header.upper_offset, "inner IP", "fragment of the payload", "RFC 791 3.2")
    else:
        yield from transport_fields(packet, header.upper_offset, header.protocol, _INNER)
