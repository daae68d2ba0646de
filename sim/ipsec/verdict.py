"""What the engine answers when it does not answer with a packet, and the reasons for a drop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sim.ipsec.policy import Policy
from sim.wire.selector import Selector


class Reason(StrEnum):
    """Why a packet was dropped, in the words that summaries print."""

    CLEAR_TEXT = "clear text where policy demands protection"
    COMPRESSION = "malformed compressed payload"
    CONGESTION_UNFIT = "congestion mark on a packet without ECN"
    DISCARD_POLICY = "policy says discard"
    DUMMY = "dummy packet"
    EXPIRED = "lifetime of the SA is over"
    HIDDEN_PORTS = "later fragment, whose ports a policy asks for"
    """Its first fragment is not known, so nobody can tell whether it needs protection (RFC 4301 7)."""
    FRAGMENT = "fragment of an ESP or AH packet"
    ICMP_IN_CLEAR = "ICMP error that would quote protected traffic in clear"
    ICMP_PAYLOAD = "ICMP error about a packet that this SA has not carried"
    INTEGRITY = "integrity check failed"
    LATE = "older than the replay window"
    """Nobody can tell whether it is a copy (RFC 4303 3.4.3)."""
    MALFORMED_AGGFRAG = "malformed AGGFRAG payload"
    MALFORMED_AH = "malformed AH"
    MALFORMED_ESP = "malformed ESP"
    MALFORMED_INNER = "malformed inner packet"
    MALFORMED_IP = "malformed IP packet"
    NESTED = "too many SAs, one inside the other"
    NEXT_HEADER = "next header does not fit the mode"
    NOT_TOLD_APART = "another client behind the same NAT has this conversation"
    NOT_WHOLE = "transport mode needs a whole datagram"
    OUT_OF_TURN = "later than the reorder window"
    PADDING = "wrong padding"
    PIECE_LOST = "a piece of it was lost in the tunnel"
    QUEUE_FULL = "queue of the tunnel is full"
    REPLAYED = "replayed"
    SELECTOR_MISMATCH = "selector mismatch"
    SEQUENCE_EXHAUSTED = "sequence numbers exhausted"
    TOO_BIG = "too big to encapsulate"
    UNKNOWN_CPI = "unknown CPI"
    UNKNOWN_SPI = "unknown SPI"
    UNSUPPORTED_HEADERS = "headers of which AH cannot foretell what arrives"
    WRONG_PROTOCOL = "SPI of an SA of the other protocol, ESP or AH"


class Verdict:
    """Base of what is not a packet: BYPASS, Drop or Acquire."""

    __slots__ = ()


class Bypass(Verdict):
    """The packet goes on untouched; compare with `is BYPASS`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "BYPASS"


BYPASS = Bypass()


@dataclass(frozen=True, slots=True)
class Drop(Verdict):
    """The packet ends here; `DROP` holds one instance for each reason."""

    reason: Reason


DROP = {reason: Drop(reason) for reason in Reason}


@dataclass(frozen=True, slots=True)
class Acquire(Verdict):
    """A policy protects this packet but has no SA yet; hold the packet and let IKE negotiate.

    `local` and `remote` describe this very packet (RFC 7296 2.9: the first selectors to propose).
    """

    policy: Policy
    local: Selector
    remote: Selector


class PacketError(Exception):
    """A packet fails a rule of the SA that handles it; becomes a counter and a Drop inside the SA."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
