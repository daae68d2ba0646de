"""What ESP holds on an AGGFRAG SA, and how such an SA is asked for (RFC 9347 2.2, 6.1).

Sub-type 0 (6.1.1)                            Sub-type 1 (6.1.2)

0 sub-type 0                                  0  sub-type 1
1 reserved                                    1  reserved 6 | P | E
2 BlockOffset                                 2  BlockOffset
4 data blocks                                 4  LossEventRate
                                              8  RTT 22 | Echo Delay 21 | Transmit Delay 21
                                              16 TVal
                                              20 TEcho
                                              24 data blocks

USE_AGGFRAG's one octet (6.1.4): reserved 6 | C | D

BlockOffset is where, after the header, the first data block begins that begins here; a block that began in
an earlier payload comes before it. It may lie beyond the end. A data block is an IPv4 or IPv6 packet, told by
the first four bits and as long as its header says, or padding (first four bits 0) up to the payload's end.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct

from sim.wire.buffer import Buf, WireError, too_short
from sim.wire.ip import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES
from sim.wire.value import value

_COMMON = Struct(">BBH")
_CONGESTION = Struct(">IQII")
HEADER_BYTES = _COMMON.size
CONGESTION_HEADER_BYTES = _COMMON.size + _CONGESTION.size
MAX_OFFSET = 0xFFFF
MAX_RTT_US = 0x3FFFFF
MAX_DELAY_US = 0x1FFFFF
_PROBING, _ECN = 2, 1
_MAX32 = 0xFFFFFFFF
PADDING = 0
"""The length of a block of padding, which says none itself."""


class Subtype(IntEnum):
    """RFC 9347 7.2."""

    PLAIN = 0
    CONGESTION_CONTROL = 1


class Requirement(IntFlag):
    """What a side demands of its peer in USE_AGGFRAG."""

    NONE = 0
    DONT_FRAGMENT = 1
    CONGESTION_CONTROL = 2


@value
class CongestionInfo:
    """What each side tells the other of the path (RFC 9347 3). Times are microseconds.

    `loss_interval` is 1 / the loss event rate, 0 for no loss; `rtt` 0 is not known yet. `t_val` is an opaque
    time of the sender's, `t_echo` the peer's last one, 0 for none, which came `echo_delay` ago.
    """

    loss_interval: int = 0
    rtt: int = 0
    echo_delay: int = 0
    transmit_delay: int = 0
    t_val: int = 0
    t_echo: int = 0
    probing: bool = False
    ecn: bool = False


@value
class Header:
    """`offset` is BlockOffset, `size` how many octets stand before the data blocks."""

    offset: int
    size: int
    congestion: CongestionInfo | None = None


def parse(payload: Buf) -> Header:
    """The header of a payload; WireError when it is cut off or of an unknown sub-type."""
    if len(payload) < HEADER_BYTES:
        raise too_short(HEADER_BYTES, 0, len(payload))
    subtype, bits, offset = _COMMON.unpack_from(payload)
    if subtype == Subtype.PLAIN:
        return Header(offset, HEADER_BYTES)
    if subtype != Subtype.CONGESTION_CONTROL:
        raise WireError(f"AGGFRAG sub-type {subtype} at offset 0 is not known")
    if len(payload) < CONGESTION_HEADER_BYTES:
        raise too_short(CONGESTION_HEADER_BYTES, 0, len(payload))
    return Header(offset, CONGESTION_HEADER_BYTES, _parse_congestion(payload, bits))


def emit(offset: int, congestion: CongestionInfo | None = None) -> bytes:
    """The header before data blocks. Times too long for their fields become the longest (RFC 9347 6.1.2)."""
    if congestion is None:
        return _COMMON.pack(Subtype.PLAIN, 0, offset)
    bits = _PROBING * congestion.probing + _ECN * congestion.ecn
    return _COMMON.pack(Subtype.CONGESTION_CONTROL, bits, offset) + _emit_congestion(congestion)


def _parse_congestion(payload: Buf, bits: int) -> CongestionInfo:
    loss, times, t_val, t_echo = _CONGESTION.unpack_from(payload, HEADER_BYTES)
    return CongestionInfo(
        loss_interval=loss,
        rtt=times >> 42,
        echo_delay=times >> 21 & MAX_DELAY_US,
        transmit_delay=times & MAX_DELAY_US,
        t_val=t_val,
        t_echo=t_echo,
        probing=bool(bits & _PROBING),
        ecn=bool(bits & _ECN),
    )


def _emit_congestion(info: CongestionInfo) -> bytes:
    rtt = min(info.rtt, MAX_RTT_US)
    echo, transmit = min(info.echo_delay, MAX_DELAY_US), min(info.transmit_delay, MAX_DELAY_US)
    times = rtt << 42 | echo << 21 | transmit
    return _CONGESTION.pack(min(info.loss_interval, _MAX32), times, info.t_val & _MAX32, info.t_echo & _MAX32)


def block_length(data: Buf, at: int = 0) -> int | None:
    """How long the data block is that begins at `at`: PADDING, or the length that its header says.

    None when too few octets are there to tell. WireError when it is no data block, or shorter than a header.
    """
    left = len(data) - at
    if left <= 0:
        return None
    kind = data[at] >> 4
    if kind == 0:
        return PADDING
    if kind == 4:
        return None if left < 4 else _at_least(IPV4_HEADER_BYTES, data[at + 2] << 8 | data[at + 3])
    if kind == 6:
        return None if left < 6 else IPV6_HEADER_BYTES + (data[at + 4] << 8 | data[at + 5])
    raise WireError(f"a data block of type {kind} at offset {at}")


def parse_requirements(data: Buf) -> Requirement | None:
    """What USE_AGGFRAG demands; None when it is something that is not known, and so cannot be met.

    WireError when it is not one octet.
    """
    if len(data) != 1:
        raise WireError(f"USE_AGGFRAG has {len(data)} octets, not 1")
    known = Requirement.DONT_FRAGMENT | Requirement.CONGESTION_CONTROL
    return Requirement(data[0]) if data[0] <= known else None


def _at_least(least: int, length: int) -> int:
    if length < least:
        raise WireError(f"a data block says that it has {length} octets, fewer than its header")
    return length
