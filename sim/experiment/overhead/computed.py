"""Protocols that are not here yet, by their formulas: WireGuard, and a VPN over TLS.

WireGuard: the transport data message of its paper (Donenfeld, "WireGuard: Next Generation Kernel Network
Tunnel", 5.4.6), always in UDP. The inner packet is padded to 16 octets, but not beyond the tunnel's own MTU.

TLS: each inner packet in a TLS 1.3 record, and each record in a TCP segment of its own with the timestamps
option, as Linux sends them. Framing that a product adds inside the record is not counted.
"""

from __future__ import annotations

from sim.experiment.overhead.alone import Alone
from sim.experiment.overhead.errors import OverheadError
from sim.experiment.overhead.inner import HEADER_BYTES, IP_HEADER_BYTES, NAMES, TCP_HEADER_BYTES, Inner
from sim.experiment.overhead.path import fragment_sizes
from sim.experiment.overhead.pieces import Piece, added_octets, laid_out
from sim.wire.udp import UDP_HEADER_BYTES

_TAG_BYTES = 16
_MAX_RECORD_BYTES = 1 << 14
_WIREGUARD_BLOCK = 16
_PAPER = "WireGuard paper 5.4.6"
_IP_SOURCE = {4: "RFC 791 3.1", 6: "RFC 8200 3"}
_TRANSPORT_SOURCE = {"UDP": "RFC 768", "TCP": "RFC 9293 3.1", "ICMP": "RFC 792", "raw": ""}

Part = tuple[int, str, str, str, str, bool]


class WireGuard(Alone):
    def __init__(self, outer: int, inner: Inner, mtu: int) -> None:
        self._outer = outer
        self._inner = inner
        self._device_mtu = mtu - IP_HEADER_BYTES[outer] - UDP_HEADER_BYTES - 16 - _TAG_BYTES

    def wire(self, size: int) -> int:
        header = IP_HEADER_BYTES[self._outer] + UDP_HEADER_BYTES + 16
        return header + size + self._padding(size) + _TAG_BYTES

    def on_path(self, size: int, mtu: int) -> list[int]:
        return fragment_sizes(self.wire(size), self._outer, mtu)

    def byte_map(self, size: int) -> list[Piece]:
        layer = "WireGuard"
        return laid_out(
            [
                _ip(self._outer),
                (UDP_HEADER_BYTES, "UDP", "header", "", "RFC 768", True),
                (1, layer, "type", "4 (transport data)", _PAPER, True),
                (3, layer, "reserved", "0", _PAPER, True),
                (4, layer, "receiver index", "", _PAPER, True),
                (8, layer, "counter", "the nonce, but for 4 zero octets", _PAPER, True),
                *_inner_parts(self._inner, size),
                (self._padding(size), layer, "padding", "zeros, to 16 but not past the MTU", _PAPER, True),
                (_TAG_BYTES, layer, "tag", "Poly1305", "RFC 8439 2.8", True),
            ]
        )

    def _padding(self, size: int) -> int:
        """Of a packet beyond the tunnel's MTU its last part alone is padded, as Linux does."""
        last = size % self._device_mtu if size > self._device_mtu else size
        return min(self._device_mtu, last + -last % _WIREGUARD_BLOCK) - last


class Tls(Alone):
    def __init__(self, outer: int, inner: Inner) -> None:
        self._outer = outer
        self._inner = inner

    def wire(self, size: int) -> int:
        if size > _MAX_RECORD_BYTES:
            raise OverheadError(
                f"TLS VPN cannot carry {size} bytes: a record holds {_MAX_RECORD_BYTES} (RFC 8446 5.1)"
            )
        return size + added_octets(self.byte_map(self._inner.least))

    def on_path(self, size: int, mtu: int) -> list[int]:
        """TCP cuts a stream into segments; nothing is fragmented."""
        header = IP_HEADER_BYTES[self._outer] + TCP_HEADER_BYTES + 12
        data, step = self.wire(size) - header, mtu - header
        return [header + min(step, data - at) for at in range(0, data, step)]

    def byte_map(self, size: int) -> list[Piece]:
        return laid_out(
            [
                _ip(self._outer),
                (TCP_HEADER_BYTES, "TCP", "header", "", "RFC 9293 3.1", True),
                (12, "TCP", "options", "timestamps, two NOPs", "RFC 7323 3.2", True),
                (5, "TLS 1.3", "record header", "type 23, version, length", "RFC 8446 5.1", True),
                *_inner_parts(self._inner, size),
                (1, "TLS 1.3", "content type", "23 (application data)", "RFC 8446 5.2", True),
                (_TAG_BYTES, "TLS 1.3", "tag", "of the AEAD", "RFC 8446 5.2", True),
            ]
        )


def _ip(version: int) -> Part:
    return IP_HEADER_BYTES[version], "IP", f"IPv{version} header", "", _IP_SOURCE[version], True


def _inner_parts(inner: Inner, size: int) -> list[Part]:
    name, header = NAMES[inner.kind], HEADER_BYTES[inner.kind]
    version = inner.version
    parts = [(IP_HEADER_BYTES[version], "inner IP", f"IPv{version} header", "", _IP_SOURCE[version], False)]
    if header:
        parts.append((header, f"inner {name}", f"{name} header", "", _TRANSPORT_SOURCE[name], False))
    if size > inner.least:
        data = size - inner.least
        parts.append((data, f"inner {name}", "data", f"{data} octets", "", False))
    return parts
