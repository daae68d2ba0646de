"""What keeping a NAT's mapping alive costs in a month: packets, octets, and how often a radio wakes up.

A radio of LTE stays awake for a while after each packet, for 11.6 s where it was measured (Huang et al., A
Close Examination of Performance and Power Characteristics of 4G LTE Networks, MobiSys 2012): a packet after a
longer pause wakes it up. What counts is what this packet costs when nothing else is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sim.crypto.cipher import cipher
from sim.ike.constants import ExchangeType, NotifyType, ProtocolId
from sim.ike.message import Header, emit_payloads, seal_inside
from sim.ike.natd import HASH_BYTES
from sim.ike.payloads import EncryptedPayload, NotifyPayload
from sim.ike.proposals import ike_suite, parse_proposal
from sim.ike.tasks.probe_mapping import HEADERS
from sim.wire.udp_encap import KEEPALIVE, NON_ESP_MARKER

MONTH_S = 30 * 24 * 3600
"""Thirty days."""
TAIL_S = 10.0
_SIZES = {4: 4, 6: 16}


@dataclass(frozen=True, slots=True)
class KeepaliveCost:
    """Of one idle tunnel in thirty days; octets are those of IP packets, in both directions together."""

    packets: float
    bytes: float
    wakeups: float

    @property
    def megabytes(self) -> float:
        return self.bytes / 1e6


def keepalive_cost(
    interval_s: float,
    kind: Literal["keepalive", "dpd"] = "keepalive",
    *,
    ip: Literal[4, 6] = 4,
    proposal: str = "aes128gcm16-prfsha256-x25519",
    tail_s: float = TAIL_S,
) -> KeepaliveCost:
    """The monthly cost of a packet each `interval_s`: a NAT keepalive, or a liveness check and its answer.

    A check is as MOBIKE makes it, with NAT detection; its size is that of an encoded message of the suite.
    ValueError for an interval that is not above 0, and for a proposal that cannot be read.
    """
    if interval_s <= 0:
        raise ValueError(f"an interval of {interval_s} s: it must be longer than 0 s")
    turns = MONTH_S / interval_s
    around = HEADERS[_SIZES[ip]]
    packets, size = (
        (1, around + len(KEEPALIVE)) if kind == "keepalive" else (2, around + _check_bytes(proposal))
    )
    return KeepaliveCost(packets * turns, packets * turns * size, turns if interval_s > tail_s else 0.0)


def _check_bytes(proposal: str) -> int:
    """A liveness check from the non-ESP marker on."""
    suite = ike_suite(parse_proposal(proposal, ProtocolId.IKE))
    kinds = (NotifyType.NAT_DETECTION_SOURCE_IP, NotifyType.NAT_DETECTION_DESTINATION_IP)
    inside = EncryptedPayload(*emit_payloads([NotifyPayload(kind, bytes(HASH_BYTES)) for kind in kinds]))
    integrity = b"" if suite.integrity is None else bytes(suite.integrity.key_bytes)
    key = bytes(range(suite.encryption.keymat_bytes))
    own = cipher(suite.encryption, suite.integrity, key, integrity, bytes)
    header = Header(b"i" * 8, b"r" * 8, ExchangeType.INFORMATIONAL, 0, 1)
    return len(NON_ESP_MARKER) + len(seal_inside(header, inside, own, 1, bytes))
