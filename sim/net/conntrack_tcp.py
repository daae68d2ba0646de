"""The states of TCP as Linux's connection tracking has them (nf_conntrack_proto_tcp), and how long.

A segment is one of five kinds, and comes from who began or from who answers. What it makes of a state is the
next one, or nothing (it passes and changes nothing), or it is invalid and belongs to no connection.
Left out: sequence numbers and windows (`nf_conntrack_tcp_be_liberal`), counts of retransmissions.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from sim.net.nat_tcp import ACK, FIN, RST, SYN
from sim.units import NS_PER_S


class TcpState(StrEnum):
    NONE = "none"
    SYN_SENT = "syn_sent"
    SYN_RECV = "syn_recv"
    ESTABLISHED = "established"
    FIN_WAIT = "fin_wait"
    CLOSE_WAIT = "close_wait"
    LAST_ACK = "last_ack"
    TIME_WAIT = "time_wait"
    CLOSE = "close"
    SYN_SENT2 = "syn_sent2"


_S = TcpState
STATE_TIMEOUTS: Mapping[str, int] = {
    _S.SYN_SENT: 120 * NS_PER_S,
    _S.SYN_RECV: 60 * NS_PER_S,
    _S.FIN_WAIT: 120 * NS_PER_S,
    _S.CLOSE_WAIT: 60 * NS_PER_S,
    _S.LAST_ACK: 30 * NS_PER_S,
    _S.TIME_WAIT: 120 * NS_PER_S,
    _S.CLOSE: 10 * NS_PER_S,
}
"""Defaults of net.netfilter.nf_conntrack_tcp_timeout_*; `established` is a `tcp_timeout`."""

_INVALID, _IGNORED = "invalid", "ignored"
_IV, _IG = _INVALID, _IGNORED
_ORDER = tuple(TcpState)
_Row = tuple[str, ...]

# Columns: NONE, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE, SYN_SENT2
_BEGAN: dict[str, _Row] = {
    "syn": (_S.SYN_SENT, _S.SYN_SENT, _IG, _IG, _IG, _IG, _IG, _S.SYN_SENT, _S.SYN_SENT, _S.SYN_SENT2),
    "synack": (_IV, _IV, _S.SYN_RECV, _IV, _IV, _IV, _IV, _IV, _IV, _S.SYN_RECV),
    "fin": (
        _IV, _IV, _S.FIN_WAIT, _S.FIN_WAIT, _S.LAST_ACK, _S.LAST_ACK, _S.LAST_ACK, _S.TIME_WAIT,
        _S.CLOSE, _IV,
    ),
    "ack": (
        _S.ESTABLISHED, _IV, _S.ESTABLISHED, _S.ESTABLISHED, _S.CLOSE_WAIT, _S.CLOSE_WAIT, _S.TIME_WAIT,
        _S.TIME_WAIT, _S.CLOSE, _IV,
    ),
    "rst": (_IV, *[_S.CLOSE] * 9),
}  # fmt: skip
_ANSWERS: dict[str, _Row] = {
    "syn": (_IV, _S.SYN_SENT2, _IV, _IV, _IV, _IV, _IV, _S.SYN_SENT, _IV, _S.SYN_SENT2),
    "synack": (_IV, _S.SYN_RECV, _IG, _IG, _IG, _IG, _IG, _IG, _IG, _S.SYN_RECV),
    "fin": _BEGAN["fin"],
    "ack": (
        _IV, _IG, _S.SYN_RECV, _S.ESTABLISHED, _S.CLOSE_WAIT, _S.CLOSE_WAIT, _S.TIME_WAIT, _S.TIME_WAIT,
        _S.CLOSE, _IG,
    ),
    "rst": (_IV, *[_S.CLOSE] * 9),
}  # fmt: skip
_NEXT = {
    (state, answers, kind): row[index]
    for answers, rows in ((False, _BEGAN), (True, _ANSWERS))
    for kind, row in rows.items()
    for index, state in enumerate(_ORDER)
}


def next_state(state: TcpState, flags: int, *, answers: bool) -> TcpState | None:
    """The state after a segment: the same one where it changes nothing, None where it is invalid."""
    kind = _kind(flags)
    found = _INVALID if kind is None else _NEXT[state, answers, kind]
    if found == _INVALID:
        return None
    return state if found == _IGNORED else TcpState(found)


def is_ignored(state: TcpState, flags: int, *, answers: bool) -> bool:
    """Whether a segment passes without keeping anything alive."""
    kind = _kind(flags)
    return kind is not None and _NEXT[state, answers, kind] == _IGNORED


def state_timeout(state: TcpState, established: int, changes: Mapping[str, int]) -> int:
    """How long a state lives (ns), with what differs from the defaults."""
    if state is TcpState.ESTABLISHED:
        return established
    known = TcpState.SYN_SENT if state is TcpState.SYN_SENT2 else state
    return changes.get(known, STATE_TIMEOUTS[known])


def _kind(flags: int) -> str | None:
    """What a segment counts as; None for one without any of these flags."""
    if flags & RST:
        return "rst"
    if flags & SYN:
        return "synack" if flags & ACK else "syn"
    if flags & FIN:
        return "fin"
    return "ack" if flags & ACK else None
