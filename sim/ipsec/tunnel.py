"""Tunnel mode: a whole IP packet in ESP or AH in new outer headers (RFC 4303 and 4302 3.1.2, RFC 4301 5.1.2).

On the way in: TFC padding behind the inner packet is cut off (RFC 4303 2.7) and the outer ECN field is
folded into the inner one. The inner TTL and DSCP are not touched; forwarding nodes do what they do.
"""

from __future__ import annotations

from sim.ipsec.outer import Outer
from sim.ipsec.transport import Wrapper
from sim.ipsec.verdict import PacketError, Reason
from sim.wire.checksum import update
from sim.wire.ip import DF, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, MAX_PACKET_BYTES, Protocol

_NEXT_IPV4 = bytes((Protocol.IPV4,))
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


class TunnelSealer:
    """What an outbound SA in tunnel mode does to a packet."""

    __slots__ = ("_copy_df", "_df", "_esp", "_outer", "longest")

    def __init__(self, esp: Wrapper, outer: Outer, *, copy_df: bool, df: bool) -> None:
        self._esp = esp
        self._outer = outer
        self._copy_df = copy_df
        self._df = df
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
        self._outer.write(out, tos, df if self._copy_df else self._df)
        return out

    def headers(self, inner: int, tos: int) -> bytes:
        """What stands before ESP around a packet of `inner` octets, with DF."""
        out = bytearray(self.size(inner))
        self._outer.write(out, tos, df=True)
        return bytes(out[: self._outer.size])

    def size(self, inner: int) -> int:
        """The size of the outer packet around one of `inner` octets."""
        return self._outer.size + self._esp.size(inner)

    def max_inner(self, mtu: int) -> int:
        return max(0, self._esp.max_payload(mtu - self._outer.size))


class TunnelOpener:
    """What an inbound SA in tunnel mode does to what ESP held."""

    __slots__ = ()

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
        ecn = packet[1] & _ECN if packet[0] < 0x60 else packet[1] >> 4 & _ECN
        if ecn:
            _fold_ecn(payload, ecn)
        return payload


def _cut(inner: bytearray, total: int) -> None:
    """Leave the `total` octets that the inner header claims."""
    if total < len(inner):
        del inner[total:]
    elif total > len(inner):
        raise PacketError(Reason.MALFORMED_INNER)


def _fold_ecn(inner: bytearray, outer: int) -> None:
    """Write what RFC 6040 4.2 makes of the outer ECN field into a packet whose headers are complete."""
    v4 = inner[0] < 0x60
    before = inner[1] & _ECN if v4 else inner[1] >> 4 & _ECN
    after = _DECAPSULATED_ECN[before][outer]
    if after == _UNFIT:
        raise PacketError(Reason.CONGESTION_UNFIT)
    if after == before:
        return
    if v4:
        _set_ecn_v4(inner, after)
    else:
        inner[1] = inner[1] & 0xCF | after << 4


def _set_ecn_v4(inner: bytearray, ecn: int) -> None:
    old = inner[0] << 8 | inner[1]
    inner[1] = inner[1] & 0xFC | ecn
    checksum = update(inner[10] << 8 | inner[11], old, inner[0] << 8 | inner[1])
    inner[10:12] = checksum.to_bytes(2, "big")
