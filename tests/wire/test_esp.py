"""The ESP header (RFC 4303 2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire import esp, ip, udp, udp_encap
from sim.wire.buffer import WireError
from tests.wire.samples import packets


def test_header_of_captured_esp_packets_counts_up() -> None:
    """The ESP SA of the capture has SPI 0xf4dc0ae5 (tshark) and starts at sequence number 1."""
    heads = [esp.parse_header(payload, 0) for payload in _esp_payloads()]
    assert heads == [(0xF4DC0AE5, number) for number in range(1, len(heads) + 1)]
    assert heads


def test_header_packs_and_parses_at_any_offset() -> None:
    buffer = bytearray(b"\xa5" * 32)
    esp.HEADER.pack_into(buffer, 20, 0x01020304, 0xFFFFFFFF)
    assert esp.parse_header(buffer, 20) == (0x01020304, 0xFFFFFFFF)
    assert buffer == b"\xa5" * 20 + bytes.fromhex("01020304ffffffff") + b"\xa5" * 4


def test_truncation_at_every_length_is_an_error() -> None:
    for size in range(8):
        with pytest.raises(WireError, match="too few"):
            esp.parse_header(bytes(size), 0)


@given(st.binary(max_size=24), st.integers(0, 30))
def test_arbitrary_octets_give_a_header_or_a_wire_error(data: bytes, offset: int) -> None:
    try:
        spi, sequence = esp.parse_header(data, offset)
    except WireError:
        return
    assert data[offset : offset + 8] == spi.to_bytes(4, "big") + sequence.to_bytes(4, "big")


def _esp_payloads() -> list[bytes]:
    payloads = [
        packet[28:]
        for packet in packets("tcpdump/isakmp4500.pcap")
        if packet[9] == ip.Protocol.UDP and udp.parse(packet, 20).dst_port == 4500
    ]
    return [payload for payload in payloads if udp_encap.classify(payload) is udp_encap.Kind.ESP]
