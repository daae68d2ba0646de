"""What a live peer says: strangers cannot fill the log, and what is known is never left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sim.ike.events import Event, IkeSaDown, IkeSaUp, MessageReceived, PathChanged, Reason, Rejected
from sim.live.report import Reporter
from sim.units import NS_PER_S
from sim.wire.address import pack_address

A, B = (pack_address("192.0.2.1"), 500), (pack_address("198.51.100.1"), 500)
NOISE = Rejected("malformed message", A, "cut off")
FAILED = IkeSaDown(9, "rw", False, Reason.AUTHENTICATION_FAILED, "wrong secret")
UP = IkeSaUp(1, "rw", False, b"i" * 8, b"r" * 8, A, B, "alice", "moon", False, False, False, True, "suite")
KNOWN = MessageReceived(1, "INFORMATIONAL", 3, False, "HDR, SK {}", 80, B, A, 0)
AGAIN = MessageReceived(1, "INFORMATIONAL", 3, False, "HDR, SK {}", 80, B, A, 1)
MANY = 5000


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(as_json=True, verbose=True)


@pytest.mark.parametrize("event", [NOISE, FAILED, AGAIN], ids=["rejected", "half-open SA", "copy"])
def test_what_a_stranger_causes_is_limited_and_the_rest_counted(
    reporter: Reporter, event: Event, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter.ike(UP, 0)
    for n in range(MANY):
        reporter.ike(event, n)
    assert reporter.has_untold
    reporter.summarise()
    said = told(capsys)
    shown = len(said) - 2
    assert 0 < shown < 300
    assert said[-1]["event"] == "suppressed"
    assert said[-1]["count"] == reporter.left_out == MANY - shown
    assert said[-1]["detail"].startswith(f"{MANY - shown} more suppressed: {MANY - shown} ")


def test_events_of_an_established_sa_and_of_our_own_attempts_are_never_left_out(
    reporter: Reporter, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter.ike(UP, 0)
    for n in range(MANY):
        reporter.ike(NOISE, n)
    told(capsys)
    ours = IkeSaDown(2, "rw", True, Reason.TIMEOUT, "nobody there")
    for event in (KNOWN, ours, IkeSaDown(1, "rw", False, Reason.DELETED_BY_PEER, "gone")):
        reporter.ike(event, MANY)
    assert [row["event"] for row in told(capsys)] == ["ike received", "ike down", "ike down"]
    reporter.ike(IkeSaDown(1, "rw", False, Reason.TIMEOUT, "it is not up any more"), MANY)
    assert told(capsys) == []


def test_the_log_goes_on_when_the_flood_is_over(
    reporter: Reporter, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(MANY):
        reporter.ike(NOISE, n)
    reporter.summarise()
    told(capsys)
    reporter.ike(NOISE, 2 * NS_PER_S)
    reporter.summarise()
    assert [row["event"] for row in told(capsys)] == ["rejected"]


def test_a_change_of_path_says_where_ike_goes_on_if_that_is_elsewhere(
    reporter: Reporter, capsys: pytest.CaptureFixture[str]
) -> None:
    for ike_remote in (None, B):
        reporter.ike(PathChanged(1, "rw", A, (B[0], 4501), True, False, True, (7,), ike_remote), 0)
    assert [row["ike_remote"] for row in told(capsys)] == ["", "198.51.100.1[500]"]


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
