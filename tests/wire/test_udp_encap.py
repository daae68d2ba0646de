"""Telling IKE, ESP and keepalives apart on port 4500 (RFC 3948 2)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire import udp
from sim.wire.pcapng import read_capture, strip_link_layer
from sim.wire.udp_encap import KEEPALIVE, NON_ESP_MARKER, Kind, classify
from tests.wire.samples import DATA, packets


def test_captured_datagrams_on_4500_are_told_apart_as_tshark_does() -> None:
    """`tshark -r isakmp4500.pcap` shows 8 ESP packets, 4 keepalives, and the rest of port 4500 as ISAKMP."""
    on_4500 = [p for p in packets("tcpdump/isakmp4500.pcap") if 4500 in udp.parse(p, 20)[:2]]
    kinds = Counter(classify(packet[28:]) for packet in on_4500)
    assert kinds == {Kind.ESP: 8, Kind.KEEPALIVE: 4, Kind.IKE: len(on_4500) - 12}


def test_an_esp_header_that_is_cut_off_is_malformed() -> None:
    (frame,) = read_capture(DATA / "tcpdump/esp_truncated.pcap")
    packet = strip_link_layer(frame.linktype, frame.data)
    assert packet is not None
    assert classify(packet[28:]) is Kind.MALFORMED


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", Kind.MALFORMED),
        (KEEPALIVE, Kind.KEEPALIVE),
        (b"\xfe", Kind.MALFORMED),
        (b"\xff\xff", Kind.MALFORMED),
        (b"\xff" * 4, Kind.MALFORMED),
        (b"\0\0\0", Kind.MALFORMED),
        (NON_ESP_MARKER, Kind.IKE),
        (b"\0\0\0\x01\0\0\0", Kind.MALFORMED),
        (b"\0\0\0\x01\0\0\0\0", Kind.ESP),
    ],
)
def test_kind_of_short_payloads(payload: bytes, kind: Kind) -> None:
    for octets in (payload, bytearray(payload), memoryview(payload)):
        assert classify(octets) is kind


@given(st.binary(max_size=64))
def test_arbitrary_octets_have_a_kind(payload: bytes) -> None:
    kind = classify(payload)
    assert (kind is Kind.IKE) == payload.startswith(NON_ESP_MARKER)
    assert kind is not Kind.ESP or len(payload) >= 8
