"""Every reason for a drop under the name that users of Linux know from /proc/net/xfrm_stat.

Linux counts by the stage that fails, and so one reason has two names: for a packet that arrives and for one
that leaves. Not every name can occur here: no state is half acquired.
"""

from __future__ import annotations

from collections import Counter

from sim.ipsec.verdict import Reason

NAMES = (
    *("XfrmInError", "XfrmInBufferError", "XfrmInHdrError", "XfrmInNoStates", "XfrmInStateProtoError"),
    *("XfrmInStateModeError", "XfrmInStateSeqError", "XfrmInStateExpired", "XfrmInStateMismatch"),
    *("XfrmInStateInvalid", "XfrmInTmplMismatch", "XfrmInNoPols", "XfrmInPolBlock", "XfrmInPolError"),
    *("XfrmOutError", "XfrmOutBundleGenError", "XfrmOutBundleCheckError", "XfrmOutNoStates"),
    *("XfrmOutStateProtoError", "XfrmOutStateModeError", "XfrmOutStateSeqError", "XfrmOutStateExpired"),
    *("XfrmOutPolBlock", "XfrmOutPolDead", "XfrmOutPolError", "XfrmFwdHdrError", "XfrmOutStateInvalid"),
    *("XfrmAcquireError", "XfrmOutStateDirError", "XfrmInStateDirError"),
    *("XfrmInIptfsError", "XfrmOutNoQueueSpace"),
)
"""In the order of /proc/net/xfrm_stat."""

NO_STATE = "XfrmOutNoStates"
"""A packet that waits for an SA or may not ask for one, and gets none."""

_ARRIVING = {
    Reason.CLEAR_TEXT: "XfrmInTmplMismatch",
    Reason.COMPRESSION: "XfrmInStateProtoError",
    Reason.CONGESTION_UNFIT: "XfrmInStateModeError",
    Reason.DISCARD_POLICY: "XfrmInPolBlock",
    Reason.DUMMY: "XfrmInStateProtoError",  # Linux counts them so, though they are no error
    Reason.EXPIRED: "XfrmInStateExpired",
    Reason.FRAGMENT: "XfrmInHdrError",
    Reason.ICMP_PAYLOAD: "XfrmInNoPols",
    Reason.HIDDEN_PORTS: "XfrmInPolBlock",
    Reason.INTEGRITY: "XfrmInStateProtoError",
    Reason.LATE: "XfrmInStateSeqError",
    Reason.MALFORMED_AGGFRAG: "XfrmInIptfsError",
    Reason.MALFORMED_AH: "XfrmInStateProtoError",
    Reason.MALFORMED_ESP: "XfrmInHdrError",
    Reason.MALFORMED_INNER: "XfrmInStateModeError",
    Reason.MALFORMED_IP: "XfrmInHdrError",
    Reason.NESTED: "XfrmInBufferError",  # Linux: too deep for its list of states
    Reason.NEXT_HEADER: "XfrmInStateModeError",
    Reason.NOT_TOLD_APART: "XfrmInTmplMismatch",
    Reason.OUT_OF_TURN: "XfrmInIptfsError",
    Reason.PADDING: "XfrmInStateProtoError",
    Reason.PIECE_LOST: "XfrmInIptfsError",
    Reason.REPLAYED: "XfrmInStateSeqError",
    Reason.SELECTOR_MISMATCH: "XfrmInNoPols",
    Reason.UNKNOWN_CPI: "XfrmInNoStates",  # of Linux's own state for IPComp
    Reason.UNKNOWN_SPI: "XfrmInNoStates",
    Reason.WRONG_PROTOCOL: "XfrmInNoStates",  # Linux looks an SA up by SPI and protocol at once
}
_LEAVING = {
    Reason.DISCARD_POLICY: "XfrmOutPolBlock",
    Reason.EXPIRED: "XfrmOutStateExpired",
    Reason.ICMP_IN_CLEAR: "XfrmOutPolBlock",
    Reason.HIDDEN_PORTS: "XfrmOutPolBlock",
    Reason.MALFORMED_IP: "XfrmFwdHdrError",
    Reason.NESTED: "XfrmOutBundleGenError",
    Reason.NOT_WHOLE: "XfrmOutStateModeError",
    Reason.QUEUE_FULL: "XfrmOutNoQueueSpace",
    Reason.SEQUENCE_EXHAUSTED: "XfrmOutStateSeqError",
    Reason.TOO_BIG: "XfrmOutStateModeError",
    Reason.UNSUPPORTED_HEADERS: "XfrmOutStateProtoError",
}


def arriving(reason: Reason) -> str:
    """The counter for a packet that came in; what only those that leave can meet is XfrmInError."""
    return _ARRIVING.get(reason, "XfrmInError")


def leaving(reason: Reason) -> str:
    return _LEAVING.get(reason, "XfrmOutError")


def is_known(reason: Reason) -> bool:
    """Whether a reason has a name of its own in one direction at least."""
    return reason in _ARRIVING or reason in _LEAVING


def in_order(counts: Counter[str]) -> dict[str, int]:
    """What is not zero, in Linux's order."""
    return {name: counts[name] for name in NAMES if counts[name]}
