"""What ESP in UDP passes an interface: the sequence numbers of each SA, in the order on the wire."""

from __future__ import annotations

import select
import socket
from collections import defaultdict

from sim.live.netns import inside
from sim.wire.esp import parse_header
from tests.interop.netns import Namespace

_ALL_PROTOCOLS = 0x0003  # ETH_P_ALL: what leaves as well as what comes
_SO_RCVBUFFORCE = 33
_BUFFER = 1 << 24
_UDP, _UDP_BYTES, _ESP_PORT = 17, 8, 4500


class Sniffer:
    """Hears an interface from now until `close`; the kernel keeps what was heard."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self._socket = inside(namespace.name, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.bind((interface, _ALL_PROTOCOLS))

    def close(self) -> dict[int, list[int]]:
        """The sequence numbers by SPI."""
        numbers: dict[int, list[int]] = defaultdict(list)
        with self._socket:
            while select.select([self._socket], [], [], 0)[0]:
                packet = self._socket.recv(65535)
                if (esp := _esp_offset(packet)) is not None:
                    spi, number = parse_header(packet, esp)
                    numbers[spi].append(number)
        return dict(numbers)


def _esp_offset(packet: bytes) -> int | None:
    """Where ESP begins in an IPv4 packet; IKE has four zero octets there (RFC 3948 2.2)."""
    if packet[0] >> 4 != 4 or packet[9] != _UDP:
        return None
    udp = (packet[0] & 0xF) * 4
    ports = {int.from_bytes(packet[at : at + 2], "big") for at in (udp, udp + 2)}
    esp = udp + _UDP_BYTES
    is_esp = _ESP_PORT in ports and len(packet) >= esp + 8 and packet[esp : esp + 4] != bytes(4)
    return esp if is_esp else None
