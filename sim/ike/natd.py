"""NAT detection (RFC 7296 2.23)."""

from __future__ import annotations

from hashlib import sha1

HASH_BYTES = 20


def nat_detection_hash(spi_i: bytes, spi_r: bytes, address: bytes, port: int) -> bytes:
    """SHA-1(SPIi | SPIr | IP | port), the data of NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP.

    SPIs in the order of the header; the responder's is zero in the first message. `address` is packed.
    """
    return sha1(spi_i + spi_r + address + port.to_bytes(2, "big"), usedforsecurity=False).digest()
