"""The capture of a run: every packet at every chosen attachment, in the order of its time stamp.

An outgoing packet is stamped when its last bit leaves the interface and an incoming one when its last bit
arrives, so the difference between the two ends of a link is the link's delay and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from io import RawIOBase
from typing import BinaryIO

from sim.net.port import Port
from sim.wire.pcapng import PcapngWriter


class HashingStream(RawIOBase):
    """Writes through to `target`, or nowhere when it is None, and keeps the SHA-256 of what was written."""

    def __init__(self, target: BinaryIO | None) -> None:
        super().__init__()
        self._target = target
        self._sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, octets: bytes) -> int:  # type: ignore[override]
        self._sha256.update(octets)
        if self._target is not None:
            self._target.write(octets)
        return len(octets)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


class CaptureRecorder:
    """Taps the given ports and writes one pcapng interface for each, named `node:iface`."""

    def __init__(self, stream: BinaryIO, ports: Mapping[str, Port]) -> None:
        self._writer = PcapngWriter(stream, list(ports), application="ipsec-sim")
        self._interface = {port: index for index, port in enumerate(ports.values())}
        self.packets = 0
        for port in ports.values():
            port.tap = self._tap

    def _tap(self, port: Port, data: bytearray, at: int, outbound: bool) -> None:
        self.packets += 1
        self._writer.write(at, self._interface[port], data, outbound=outbound)
