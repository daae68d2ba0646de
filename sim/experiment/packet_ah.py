"""The Authentication Header octet by octet, for people (RFC 4302 2). It hides nothing: no keys are needed."""

from __future__ import annotations

from collections.abc import Iterator

from sim.experiment.packet_fields import Field, field, protocol_name
from sim.wire import ah


def ah_fields(packet: bytes, at: int, icv_bytes: int | None = None) -> Iterator[Field]:
    """All of AH at `at`. Where the suite's `icv_bytes` are known, padding behind the ICV stands by itself.

    WireError when the header is cut off.
    """
    header = ah.parse(packet, at)
    body, end = at + ah.HEADER_BYTES, at + header.size
    icv_end = min(end, body + icv_bytes) if icv_bytes is not None else end
    length = f"{header.size} octets"
    yield field(packet, at, at + 1, "AH", "next header", protocol_name(header.next_header), "RFC 4302 2.1")
    yield field(packet, at + 1, at + 2, "AH", "payload length", length, "RFC 4302 2.2")
    yield field(packet, at + 2, at + 4, "AH", "reserved", "0", "RFC 4302 2.3")
    yield field(packet, at + 4, at + 8, "AH", "SPI", f"0x{header.spi:08x}", "RFC 4302 2.4")
    yield field(packet, at + 8, body, "AH", "sequence number", str(header.seq), "RFC 4302 2.5")
    yield field(packet, body, icv_end, "AH", "ICV", f"{icv_end - body} octets", "RFC 4302 2.6")
    if end > icv_end:
        reason = "to a multiple of 8 octets" if (end - at) % 8 == 0 else "explicit"
        yield field(packet, icv_end, end, "AH", "padding", reason, "RFC 4302 3.3.3.2.1")
