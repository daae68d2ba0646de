"""Tunnel mode: a whole IP packet in ESP or AH in new outer headers (RFC 4303 and 4302 3.1.2, RFC 4301 5.1.2).

On the way in: TFC padding behind the inner packet is cut off (RFC 4303 2.7), the outer ECN field is folded
into the inner one, and the outer DSCP is copied where that is asked for (RFC 2983 3). The inner TTL is not
touched; forwarding nodes do what they do.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.ipsec.flow_label import LABELLERS
from sim.ipsec.outer import Outer, Outer6
from sim.ipsec.transport import Wrapper
from sim.ipsec.verdict import PacketError, Reason
from sim.wire.checksum import update
from sim.wire.ip import DF, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, MAX_PACKET_BYTES, Protocol
from sim.wire.outer_fields import DEFAULT_FIELDS, OuterFields

_NEXT_IPV4 = bytes((Protocol.IPV4,))
_NEXT_NONE = bytes((Protocol.NO_NEXT,))
_NEXT_IPV6 = bytes((Protocol.IPV6,))
_IPV4, _IPV6 = int(Protocol.IPV4), int(Protocol.IPV6)
_DF_OCTET = DF >> 8
_ECN = 3
_UNFIT = -1

# RFC 6040 figure 4, rows the inner and columns the outer field: Not-ECT 0, ECT(1) 1, ECT(0) 2, CE 3.
_DECAPSULATED_ECN = (
    (0, 0, 0, _UNFIT),
    (1, 1, 1, 3),
    (2, 1, 2, 3),
    (3, 3, 3, 3),
)
_ALARMING = frozenset({(0, 1), (0, 2), (0, 3), (3, 1)})
"""Inner and outer field where that figure has (!!!): no sender and no router makes that of anything sound."""


class TunnelSealer:
    """What an outbound SA in tunnel mode does to a packet."""

    __slots__ = ("_copy_df", "_df", "_esp", "_label", "_outer", "_tos", "longest")

    def __init__(
        self, esp: Wrapper, outer: Outer, *, copy_df: bool, df: bool, fields: OuterFields = DEFAULT_FIELDS
    ) -> None:
        self._esp = esp
        self._outer = outer
        self._copy_df = copy_df
        self._df = df
        self._tos = fields.tos_table()
        self._label: Callable[[bytearray], int] | None = None
        if isinstance(outer, Outer6):
            self._label = LABELLERS[fields.flow_label]
        self.longest = self.max_inner(MAX_PACKET_BYTES)

    def seal(self, packet: bytearray) -> bytearray:
        """The outer packet around `packet`, a whole one, which stays as it was."""
        if len(packet) > self.longest:
            raise PacketError(Reason.TOO_BIG)
        if packet[0] < 0x60:
            next_header, tos, df = _NEXT_IPV4, packet[1], bool(packet[6] & _DF_OCTET)
        else:
            # An IPv6 packet is never fragmented on the way, as if it had DF.
            next_header, tos, df = _NEXT_IPV6, (packet[0] & 15) << 4 | packet[1] >> 4, True
        out = self._esp.seal(self._outer.size, packet, next_header)
        label = 0 if self._label is None else self._label(packet)
        self._outer.write(out, self._tos[tos], df if self._copy_df else self._df, label)
        return out

    def dummy(self, noise: bytearray, _src: bytes, _dst: bytes) -> bytearray:
        """An outer packet with no inner one, but as long as around one (RFC 4303 2.6)."""
        out = self._esp.seal(self._outer.size, noise, _NEXT_NONE)
        self._outer.write(out, self._tos[0], self._df)
        return out

    def headers(self, inner: int, tos: int) -> bytes:
        """What stands before ESP in IPv4 around a packet of `inner` octets, with DF."""
        out = bytearray(self.size(inner))
        self._outer.write(out, self._tos[tos], True)
        return bytes(out[: self._outer.size])

    def size(self, inner: int) -> int:
        """The size of the outer packet around one of `inner` octets."""
        return self._outer.size + self._esp.size(inner)

    def max_inner(self, mtu: int) -> int:
        return max(0, self._esp.max_payload(mtu - self._outer.size))


class TunnelOpener:
    """What an inbound SA in tunnel mode does to what ESP held.

    `alarms` counts packets with a pair of ECN fields that nothing sound makes (RFC 6040 4.2).
    """

    __slots__ = ("_copy_dscp", "alarms")

    def __init__(self, fields: OuterFields = DEFAULT_FIELDS) -> None:
        self._copy_dscp = fields.copy_dscp.inwards
        self.alarms = 0

    def open(self, packet: bytearray, at: int, payload: bytearray, next_header: int) -> bytearray:
        """The inner packet, which is `payload` itself; `packet` is the outer one."""
        if next_header == _IPV4:
            if len(payload) < IPV4_HEADER_BYTES or payload[0] >> 4 != 4:
                raise PacketError(Reason.MALFORMED_INNER)
            _cut(payload, payload[2] << 8 | payload[3])
        elif next_header == _IPV6:
            if len(payload) < IPV6_HEADER_BYTES or payload[0] >> 4 != 6:
                raise PacketError(Reason.MALFORMED_INNER)
            _cut(payload, IPV6_HEADER_BYTES + (payload[4] << 8 | payload[5]))
        else:
            raise PacketError(Reason.NEXT_HEADER)
        tos = packet[1] if packet[0] < 0x60 else (packet[0] & 15) << 4 | packet[1] >> 4
        if tos & _ECN or self._copy_dscp:
            self._fold(payload, tos)
        return payload

    def _fold(self, inner: bytearray, outer: int) -> None:
        """Write what comes of both TOS octets into a packet whose headers are complete."""
        tos = inner[1] if inner[0] < 0x60 else (inner[0] & 15) << 4 | inner[1] >> 4
        before, arrived = tos & _ECN, outer & _ECN
        if (before, arrived) in _ALARMING:
            self.alarms += 1
        ecn = _DECAPSULATED_ECN[before][arrived]
        if ecn == _UNFIT:
            raise PacketError(Reason.CONGESTION_UNFIT)
        after = (outer if self._copy_dscp else tos) & ~_ECN | ecn
        if after != tos:
            _set_tos(inner, after)


def _cut(inner: bytearray, total: int) -> None:
    """Leave the `total` octets that the inner header claims."""
    if total < len(inner):
        del inner[total:]
    elif total > len(inner):
        raise PacketError(Reason.MALFORMED_INNER)


def _set_tos(inner: bytearray, tos: int) -> None:
    if inner[0] >= 0x60:
        inner[0] = 0x60 | tos >> 4
        inner[1] = inner[1] & 15 | (tos & 15) << 4
        return
    old = inner[0] << 8 | inner[1]
    inner[1] = tos
    checksum = update(inner[10] << 8 | inner[11], old, inner[0] << 8 | tos)
    inner[10:12] = checksum.to_bytes(2, "big")
