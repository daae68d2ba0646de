"""What passes an interface in UDP, in the order on the wire: packets, and each SA's sequence numbers."""

from __future__ import annotations

import select
import socket
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from sim.live.netns import inside
from sim.units import NS_PER_MS
from sim.wire.esp import parse_header
from sim.wire.pcapng import PcapngWriter
from tests.interop.netns import Namespace

_ALL_PROTOCOLS = 0x0003  # ETH_P_ALL: what leaves as well as what comes
_SO_RCVBUFFORCE = 33
_BUFFER = 1 << 24
_UDP, _UDP_BYTES, _ESP_PORT = 17, 8, 4500


class Sniffer:
    """Hears an interface from now until it is asked what was heard; until then the kernel keeps it."""

    def __init__(self, namespace: Namespace, interface: str = "eth0") -> None:
        self._socket = inside(namespace.name, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.bind((interface, _ALL_PROTOCOLS))

    def close(self) -> dict[int, list[int]]:
        """The sequence numbers by SPI."""
        numbers: dict[int, list[int]] = defaultdict(list)
        for packet in self.packets():
            if (esp := _esp_offset(packet)) is not None:
                spi, number = parse_header(packet, esp)
                numbers[spi].append(number)
        return dict(numbers)

    def packets(self) -> list[bytes]:
        """The IPv4 packets with UDP, in order; nothing is heard any more."""
        found = []
        with self._socket:
            while select.select([self._socket], [], [], 0)[0]:
                packet = self._socket.recv(65535)
                if packet[0] >> 4 == 4 and packet[9] == _UDP:
                    found.append(packet)
        return found


def write_capture(path: Path, packets: Iterable[bytes]) -> None:
    """A pcapng for tshark; its times are only an order."""
    with path.open("wb") as stream:
        writer = PcapngWriter(stream, ["eth0"], application="tests")
        for number, packet in enumerate(packets):
            writer.write(number * NS_PER_MS, 0, packet, outbound=False)


def _esp_offset(packet: bytes) -> int | None:
    """Where ESP begins in an IPv4 packet with UDP; IKE has four zero octets there (RFC 3948 2.2)."""
    udp = (packet[0] & 0xF) * 4
    ports = {int.from_bytes(packet[at : at + 2], "big") for at in (udp, udp + 2)}
    esp = udp + _UDP_BYTES
    is_esp = _ESP_PORT in ports and len(packet) >= esp + 8 and packet[esp : esp + 4] != bytes(4)
    return esp if is_esp else None
