"""The security association database and the SAs in it (RFC 4301 4.4.2)."""

from __future__ import annotations

from typing import NamedTuple


class Usage(NamedTuple):
    """When a pair of SAs last carried an authenticated packet, in ns; -1 for never."""

    last_in_at: int
    last_out_at: int


class OutboundSa:
    """Counters and state of what leaves."""

    packets: int
    bytes: int
    last_at: int


class InboundSa:
    """Counters and state of what arrives."""

    packets: int
    bytes: int
    last_at: int


class Sad:
    """Pairs of SAs by inbound SPI."""
