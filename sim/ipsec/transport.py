"""Transport mode: ESP or AH between IP headers and upper layer (RFC 4303 3.1.1, RFC 4302 3.1.1).

    IPv4   header and options | ESP or AH | upper layer
    IPv6   header | hop by hop, destination, routing, fragment | ESP or AH | destination options | upper layer

So destination options go in front where a routing header follows, whose hops read them, else they go behind:
ESP hides no others. Whole datagrams only (RFC 4303 3.3.4). With UDP encapsulation a NAT may have changed the
addresses that a checksum of the upper layer covers, so that is made to fit, behind the ICV that vouches for
the octets: see `natted`.
"""

from __future__ import annotations

from typing import Protocol as Shape

from sim.ipsec.natted import Addresses, fix_checksum
from sim.ipsec.outer import write_udp
from sim.ipsec.verdict import PacketError, Reason
from sim.wire import ip
from sim.wire.ip import (
    IPV6_HEADER_BYTES,
    MAX_PACKET_BYTES,
    MF,
    OFFSET_MASK,
    Protocol,
    parse_quoted,
)
from sim.wire.udp import UDP_HEADER_BYTES

_FRAGMENT_BITS = MF | OFFSET_MASK
_IN_FRONT = frozenset({Protocol.IPV6_HOP, Protocol.IPV6_ROUTE, Protocol.IPV6_FRAGMENT})
_EXTENSIONS = _IN_FRONT | {Protocol.IPV6_DEST}
_PLAIN_V4 = 9
_PLAIN_V6 = 6
"""Where the octet is that names the upper layer."""


class Wrapper(Shape):
    """ESP or AH of one direction: what a mode puts between the headers and the payload."""

    def size(self, payload: int) -> int:
        """The size of it all with a payload of `payload` octets."""

    def max_payload(self, size: int) -> int:
        """The largest payload with which it fits into `size` octets; negative if none does."""

    def seal(self, room: int, payload: bytearray, next_header: bytes) -> bytearray:
        """It, behind `room` zero octets that the caller fills with headers."""


class TransportSealer:
    """What an outbound SA in transport mode does to a packet.

    `header` is the size of an IP header without options; `ports` (of UDP) are there only with encapsulation.
    """

    __slots__ = ("_esp", "_header", "_ports", "_protocol", "_shell")

    def __init__(
        self,
        esp: Wrapper,
        header: int,
        ports: tuple[int, int] | None,
        protocol: Protocol = Protocol.ESP,
    ) -> None:
        self._esp = esp
        self._header = header
        self._ports = ports
        self._shell = UDP_HEADER_BYTES if ports else 0
        self._protocol = Protocol.UDP if ports else protocol

    def seal(self, packet: bytearray) -> bytearray:
        """A packet with the headers of `packet` and ESP or AH around the rest; `packet` stays as it was."""
        header, named_at = _place(packet)
        payload = packet[header:]
        if len(payload) > self._esp.max_payload(MAX_PACKET_BYTES - header - self._shell):
            raise PacketError(Reason.TOO_BIG)
        out = self._esp.seal(header + self._shell, payload, bytes((packet[named_at],)))
        out[:header] = packet[:header]
        if self._ports:
            write_udp(out, header, *self._ports)
        _relabel(out, named_at, self._protocol)
        return out

    def dummy(self, noise: bytearray, src: bytes, dst: bytes) -> bytearray:
        """What a packet as long as `noise` becomes that has no upper layer (RFC 4303 2.6)."""
        return self.seal(ip.build(src, dst, Protocol.NO_NEXT, noise[self._header :]))

    def size(self, inner: int) -> int:
        """The size of the protected form of a packet of `inner` octets."""
        return self._header + self._shell + self._esp.size(inner - self._header)

    def max_inner(self, mtu: int) -> int:
        return max(0, self._header + self._esp.max_payload(mtu - self._header - self._shell))


class TransportOpener:
    """What an inbound SA in transport mode does to what ESP held.

    `original` is what the peer took for source and destination, if that is known.
    """

    __slots__ = ("_original",)
    alarms = 0
    """There is one IP header, whose ECN field contradicts no other."""

    def __init__(self, original: Addresses | None = None) -> None:
        self._original = original

    def open(self, packet: bytearray, at: int, payload: bytearray, next_header: int) -> bytearray:
        """A packet with the headers of `packet`, which stays as it was, and the payload."""
        header, named_at = _end(packet)
        out = packet[:header] + payload
        _relabel(out, named_at, next_header)
        if at > header:
            fix_checksum(out, header, next_header, self._original)
        return out


def _place(packet: bytearray) -> tuple[int, int]:
    """Where in a sound packet ESP or AH goes, and the octet that names what stands there now."""
    if packet[0] < 0x60:
        if (packet[6] << 8 | packet[7]) & _FRAGMENT_BITS:
            raise PacketError(Reason.NOT_WHOLE)
        return (packet[0] & 15) * 4, _PLAIN_V4
    return _place_v6(packet) if packet[6] in _EXTENSIONS else (IPV6_HEADER_BYTES, _PLAIN_V6)


def _place_v6(packet: bytearray) -> tuple[int, int]:
    protocol, named_at, at = packet[6], _PLAIN_V6, IPV6_HEADER_BYTES
    place = at, named_at
    while protocol in _EXTENSIONS:
        if protocol == Protocol.IPV6_FRAGMENT and (packet[at + 2] or packet[at + 3] & 0xF9):
            raise PacketError(Reason.NOT_WHOLE)
        in_front = protocol in _IN_FRONT
        size = 8 if protocol == Protocol.IPV6_FRAGMENT else 8 + 8 * packet[at + 1]
        protocol, named_at, at = packet[at], at, at + size
        if in_front:
            place = at, named_at
    return place


def _end(packet: bytearray) -> tuple[int, int]:
    """Where the headers of a sound packet end that came with ESP, AH or UDP, and the octet that names it."""
    if packet[0] < 0x60:
        return (packet[0] & 15) * 4, _PLAIN_V4
    if packet[6] not in _EXTENSIONS:
        return IPV6_HEADER_BYTES, _PLAIN_V6
    header = parse_quoted(packet)
    return header.upper_offset, header.protocol_at


def _relabel(packet: bytearray, named_at: int, protocol: int) -> None:
    """Make the headers say the packet's length and `protocol`, by RFC 1624 in IPv4."""
    size = len(packet)
    if packet[0] >= 0x60:
        packet[4:6] = (size - IPV6_HEADER_BYTES).to_bytes(2, "big")
        packet[named_at] = protocol
        return
    old = (packet[2] << 8 | packet[3]) + packet[9] + (packet[10] << 8 | packet[11])
    packet[2:4] = size.to_bytes(2, "big")
    packet[9] = protocol
    packet[10:12] = ((old - size - protocol) % 0xFFFF).to_bytes(2, "big")
