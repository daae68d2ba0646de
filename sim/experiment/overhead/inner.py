"""The inner packets of the study: whole IP packets of any size, from one host to another.

UDP and TCP carry right checksums; a TCP segment has no options; `raw` is an IP header and data of the
experimental protocol 253 (RFC 3692 2.1), for sizes below any transport's header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from struct import Struct

from sim.experiment.overhead.errors import OverheadError
from sim.wire import icmp, ip, udp
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.ip import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, MAX_PACKET_BYTES, Protocol

TCP_HEADER_BYTES = 20
EXPERIMENTAL = 253
IP_HEADER_BYTES = {4: IPV4_HEADER_BYTES, 6: IPV6_HEADER_BYTES}
_TCP = Struct(">HHIIBBHHH")
_PORTS = (50000, 443)
_ACK_PSH = 0x18


class Kind(StrEnum):
    """What the inner packet carries."""

    UDP = "udp"
    TCP = "tcp"
    ICMP = "icmp"
    RAW = "raw"


HEADER_BYTES = {Kind.UDP: 8, Kind.TCP: TCP_HEADER_BYTES, Kind.ICMP: 8, Kind.RAW: 0}
NAMES = {Kind.UDP: "UDP", Kind.TCP: "TCP", Kind.ICMP: "ICMP", Kind.RAW: "raw"}


@dataclass(frozen=True, slots=True)
class Inner:
    """All inner packets of one kind and IP version. `payload` makes the octets behind the headers."""

    kind: Kind
    version: int
    payload: Callable[[int], bytes]

    def __post_init__(self) -> None:
        if self.version not in IP_HEADER_BYTES:
            raise OverheadError(f"there is no IP version {self.version}: it is 4 or 6")

    @property
    def least(self) -> int:
        """The size of both headers, and so of the smallest packet."""
        return IP_HEADER_BYTES[self.version] + HEADER_BYTES[self.kind]

    @property
    def name(self) -> str:
        return f"{NAMES[self.kind]} over IPv{self.version}"

    def build(self, size: int, src: bytes, dst: bytes) -> bytearray:
        """A packet of `size` octets in all; OverheadError when that is impossible."""
        self.check(size)
        return _BUILDERS[self.kind](src, dst, self.payload(size - self.least))

    def check(self, size: int) -> None:
        if size < self.least:
            raise OverheadError(
                f"{size} bytes are too few for {self.name}: its headers alone take {self.least}; "
                f"ask for {self.least} or more{_smaller(self, size)}"
            )
        if size > MAX_PACKET_BYTES:
            raise OverheadError(f"{size} bytes are too many: an IP packet has at most {MAX_PACKET_BYTES}")


def _smaller(inner: Inner, size: int) -> str:
    """A hint at what is as small as that."""
    if size >= IP_HEADER_BYTES[inner.version]:
        return ", or for --inner raw, an IP header and nothing else"
    return ", or for --ip 4" if inner.version == 6 and size >= IP_HEADER_BYTES[4] else ""


def _udp(src: bytes, dst: bytes, payload: bytes) -> bytearray:
    return udp.build((src, _PORTS[0]), (dst, _PORTS[1]), payload)


def _tcp(src: bytes, dst: bytes, payload: bytes) -> bytearray:
    fields = (*_PORTS, 1, 1, TCP_HEADER_BYTES // 4 << 4, _ACK_PSH, 65535)
    words = pseudo_header_sum(src, dst, Protocol.TCP, TCP_HEADER_BYTES + len(payload))
    total = internet_checksum(_TCP.pack(*fields, 0, 0) + payload, words)
    return ip.build(src, dst, Protocol.TCP, _TCP.pack(*fields, total, 0) + payload)


def _icmp(src: bytes, dst: bytes, payload: bytes) -> bytearray:
    return icmp.echo_request(src, dst, 1, 1, payload)


def _raw(src: bytes, dst: bytes, payload: bytes) -> bytearray:
    return ip.build(src, dst, EXPERIMENTAL, payload)


_BUILDERS: dict[Kind, Callable[[bytes, bytes, bytes], bytearray]] = {
    Kind.UDP: _udp,
    Kind.TCP: _tcp,
    Kind.ICMP: _icmp,
    Kind.RAW: _raw,
}
