"""Transport mode: ESP between a packet's IP header and its upper layer (RFC 4303 3.1.1).

Whole datagrams only (RFC 4303 3.3.4). With UDP encapsulation a NAT may have changed the addresses that a TCP
or UDP checksum covers, so the checksum is made anew behind the ICV that vouches for the octets (RFC 3948
3.1.2). IPv6 extension headers are refused.
"""

from __future__ import annotations

from sim.ipsec.esp import EspSealer
from sim.ipsec.outer import write_udp
from sim.ipsec.verdict import PacketError, Reason
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.ip import (
    IPV6_HEADER_BYTES,
    MAX_PACKET_BYTES,
    MF,
    OFFSET_MASK,
    Protocol,
    addresses,
)
from sim.wire.udp import UDP_HEADER_BYTES

_FRAGMENT_BITS = MF | OFFSET_MASK
_EXTENSIONS = frozenset(
    {Protocol.IPV6_HOP, Protocol.IPV6_ROUTE, Protocol.IPV6_FRAGMENT, Protocol.IPV6_DEST, Protocol.AH}
)
_CHECKSUM_AT: dict[int, int] = {Protocol.TCP: 16, Protocol.UDP: 6}


class TransportSealer:
    """What an outbound SA in transport mode does to a packet.

    `header` is the size of an IP header without options; `ports` (of UDP) are there only with encapsulation.
    """

    __slots__ = ("_esp", "_header", "_ports", "_protocol", "_shell")

    def __init__(self, esp: EspSealer, header: int, ports: tuple[int, int] | None) -> None:
        self._esp = esp
        self._header = header
        self._ports = ports
        self._shell = UDP_HEADER_BYTES if ports else 0
        self._protocol = Protocol.UDP if ports else Protocol.ESP

    def seal(self, packet: bytearray) -> bytearray:
        """A packet with the header of `packet` and ESP around the rest; `packet` stays as it was."""
        header = _header_bytes(packet)
        payload = packet[header:]
        if len(payload) > self._esp.max_payload(MAX_PACKET_BYTES - header - self._shell):
            raise PacketError(Reason.TOO_BIG)
        next_header = packet[6] if packet[0] >= 0x60 else packet[9]
        out = self._esp.seal(header + self._shell, payload, bytes((next_header,)))
        out[:header] = packet[:header]
        if self._ports:
            write_udp(out, header, *self._ports)
        _relabel(out, self._protocol)
        return out

    def size(self, inner: int) -> int:
        """The size of the protected form of a packet of `inner` octets."""
        return self._header + self._shell + self._esp.size(inner - self._header)

    def max_inner(self, mtu: int) -> int:
        return max(0, self._header + self._esp.max_payload(mtu - self._header - self._shell))


class TransportOpener:
    """What an inbound SA in transport mode does to what ESP held."""

    __slots__ = ()

    def open(self, packet: bytearray, at: int, payload: bytearray, next_header: int) -> bytearray:
        """A packet with the header of `packet`, which stays as it was, and the payload."""
        header = _header_bytes(packet)
        out = packet[:header] + payload
        _relabel(out, next_header)
        if at > header:
            _renew_checksum(out, header, next_header)
        return out


def _header_bytes(packet: bytearray) -> int:
    """The size of the IP header of a packet that may be protected in transport mode."""
    if packet[0] >= 0x60:
        if packet[6] in _EXTENSIONS:
            raise PacketError(Reason.UNSUPPORTED_HEADERS)
        return IPV6_HEADER_BYTES
    if (packet[6] << 8 | packet[7]) & _FRAGMENT_BITS:
        raise PacketError(Reason.NOT_WHOLE)
    return (packet[0] & 15) * 4


def _relabel(packet: bytearray, protocol: int) -> None:
    """Make the IP header say the packet's length and `protocol`, by RFC 1624 in IPv4."""
    size = len(packet)
    if packet[0] >= 0x60:
        packet[4:6] = (size - IPV6_HEADER_BYTES).to_bytes(2, "big")
        packet[6] = protocol
        return
    old = (packet[2] << 8 | packet[3]) + packet[9] + (packet[10] << 8 | packet[11])
    packet[2:4] = size.to_bytes(2, "big")
    packet[9] = protocol
    packet[10:12] = ((old - size - protocol) % 0xFFFF).to_bytes(2, "big")


def _renew_checksum(packet: bytearray, at: int, protocol: int) -> None:
    """Compute the TCP or UDP checksum for the addresses at hand; an absent one (UDP, IPv4) stays absent."""
    if protocol not in _CHECKSUM_AT:
        return
    field = at + _CHECKSUM_AT[protocol]
    absent = protocol == Protocol.UDP and packet[field : field + 2] == b"\0\0"
    if absent or field + 2 > len(packet):
        return
    packet[field : field + 2] = b"\0\0"
    pseudo = pseudo_header_sum(*addresses(packet), protocol, len(packet) - at)
    checksum = internet_checksum(memoryview(packet)[at:], pseudo)
    if checksum == 0 and protocol == Protocol.UDP:
        checksum = 0xFFFF
    packet[field : field + 2] = checksum.to_bytes(2, "big")
