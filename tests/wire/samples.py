"""Captured packets, and strategies that draw addresses and payloads."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from sim.wire.pcapng import read_capture, strip_link_layer

DATA = Path(__file__).parents[1] / "data"
LINUX = ("linux-icmp/a.pcap", "linux-icmp/b.pcapng")
CAPTURES = (
    *LINUX,
    "linux-icmp/sll.pcap",
    "linux-icmp/sll2.pcap",
    "tcpdump/isakmp4500.pcap",
    "tcpdump/ikev2four.pcap",
)

V4 = st.binary(min_size=4, max_size=4)
V6 = st.binary(min_size=16, max_size=16)
PAIRS = st.tuples(V4, V4) | st.tuples(V6, V6)
"""Source and destination of one family."""
WORDS = st.integers(0, 0xFFFF)
OCTETS = st.integers(0, 0xFF)
PAYLOADS = st.binary(max_size=200)


@cache
def packets(name: str) -> tuple[bytes, ...]:
    """The IP packets of a capture in tests/data, without their link layer."""
    frames = (strip_link_layer(frame.linktype, frame.data) for frame in read_capture(DATA / name))
    return tuple(packet for packet in frames if packet is not None)


@cache
def captured() -> tuple[bytes, ...]:
    """Every IP packet of every sound capture."""
    return tuple(packet for name in CAPTURES for packet in packets(name))
