"""Every key of a check can hold and can fail, and says what was found."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

import sim
from sim.experiment.checks import _is_replaced
from sim.ike.events import Reason
from sim.scenario.load import load_text
from sim.scenario.schema import ConnectionCheck, FlowCheck
from sim.tunnels.ledger import IkeRecord
from tests.scenario.base import TEXT

MOVING = ("links.4.loss=2 %", "events.0.gap=300 ms")
FAILING = (
    "tunnels.rw.auth={psk: a, responder: {psk: b}}",
    "traffic.0.start=2500 ms",
    "traffic.0.rate=4 kbit/s",
)
CLOSING = (  # the network goes away, and libreswan's patience for a liveness check is half a minute
    *("duration=60 s", "tunnels.rw.dpd_delay=5 s", "tunnels.rw.retransmit=libreswan", "traffic.0.stop=2 s"),
    "events=[{at: 3 s, node: core, do: down, interface: moon}]",
)
STILL = ("events=[]",)
SHARED = (*STILL, "tunnels.rw.children.net.per_cpu_sas=yes")
ONE = (*STILL, "tunnels.rw.children.net.ipcomp=true", "traffic.0.duration=1 ms", "traffic.0.pattern=aa")
"""One packet, which compresses."""
CASES: list[tuple[str, tuple[str, ...], str, str, str]] = [
    # what it is about, the run, who is asked, what holds, what fails
    ("is established", MOVING, "connection: rw", "is: established", "is: failed"),
    ("is established by", MOVING, "connection: rw", "by: 1 s", "by: 10 ms"),
    ("is failed", FAILING, "connection: rw", "is: failed", "is: established"),
    ("is failed by", FAILING, "connection: rw", "is: failed, by: 1 s", "is: failed, by: 1 ms"),
    ("is closed", CLOSING, "connection: rw, node: alice", "is: closed", "is: established"),
    ("is closed by", CLOSING, "connection: rw, node: alice", "is: closed, by: 50 s", "is: closed, by: 30 s"),
    (
        *("reason", FAILING, "connection: rw, is: failed"),
        *("reason: AUTHENTICATION_FAILED", "reason: TIMEOUT"),
    ),
    ("node", STILL, "connection: rw, nat_local: true", "node: alice", "node: moon"),
    ("nat_local", STILL, "connection: rw, node: moon", "nat_local: false", "nat_local: true"),
    ("nat_remote", STILL, "connection: rw, node: moon", "nat_remote: true", "nat_remote: false"),
    ("encap", STILL, "connection: rw", "encap: true", "encap: false"),
    ("ppk", STILL, "connection: rw", "ppk: false", "ppk: true"),
    ("min_keepalive", STILL, "connection: rw", "min_keepalive: 20 s", "min_keepalive: 21 s"),
    ("max_keepalive", STILL, "connection: rw", "max_keepalive: 20 s", "max_keepalive: 19 s"),
    ("resumed", STILL, "connection: rw", "resumed: false", "resumed: true"),
    ("setup_round_trips", STILL, "connection: rw", "setup_round_trips: 2", "setup_round_trips: 3"),
    ("sas", STILL, "child: net, connection: rw", "sas: 1", "sas: 2"),
    ("cpu", SHARED, "child: net, connection: rw", "cpu: all, sas: 1", "cpu: all, sas: 0"),
    ("one cpu", SHARED, "child: net, connection: rw, node: alice", "cpu: 0, sas: 1", "cpu: 1, sas: 1"),
    ("packets_in", ONE, "child: net, connection: rw, node: moon", "packets_in: 1", "packets_in: 0"),
    ("packets_out", ONE, "child: net, connection: rw, node: alice", "packets_out: 1", "packets_out: 2"),
    ("ipcomp", ONE, "child: net, connection: rw", "ipcomp: true", "ipcomp: false"),
    ("compressed_in", ONE, "child: net, connection: rw", "node: moon, compressed_in: 1", "compressed_in: 2"),
    (
        "compressed_out",
        ONE,
        "child: net, connection: rw, node: alice",
        "compressed_out: 1",
        "compressed_out: 0",
    ),
    ("min_ratio", ONE, "child: net, connection: rw, node: alice", "min_ratio: 10", "min_ratio: 1000"),
    ("max_outage", MOVING, "flow: up", "max_outage: 500 ms", "max_outage: 250 ms"),
    ("max_loss", MOVING, "flow: up", "max_loss: 20 %", "max_loss: 5 %"),
    ("min_goodput", MOVING, "flow: up", "min_goodput: 300 kbit/s", "min_goodput: 390 kbit/s"),
    ("max_latency", MOVING, "flow: up", "max_latency: 30 ms", "max_latency: 20 ms"),
    ("min_received", MOVING, "flow: up", "min_received: 200", "min_received: 240"),
    ("max_received", MOVING, "flow: up", "max_received: 240", "max_received: 200"),
]


@pytest.mark.parametrize(
    ("overrides", "asked", "holds", "fails"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_check_can_hold_and_can_fail(
    overrides: tuple[str, ...], asked: str, holds: str, fails: str
) -> None:
    good, bad = checked(overrides, (f"{asked}, {holds}", f"{asked}, {fails}"))
    assert good["ok"], good
    assert not bad["ok"], bad
    assert good["detail"]
    assert bad["detail"]


def test_every_key_of_a_check_is_among_the_cases() -> None:
    keys = {*ConnectionCheck.model_fields, *FlowCheck.model_fields} - {"connection", "flow"}
    text = " ".join(f"{case[3]} {case[4]}" for case in CASES)
    assert [key for key in keys if f"{key.rstrip('_')}: " not in text] == []


def test_all_keys_of_a_check_must_hold() -> None:
    both, one, other = checked(
        MOVING,
        (
            "flow: up, max_loss: 20 %, min_received: 100",
            "flow: up, max_loss: 20 %, min_received: 249",
            "flow: up, max_loss: 0 %, min_received: 100",
        ),
    )
    assert (both["ok"], one["ok"], other["ok"]) == (True, False, False)
    assert "lost" not in one["detail"], "only what failed is told"
    assert "received" not in other["detail"]


def test_without_a_node_every_end_is_asked() -> None:
    """alice is behind the NAT, moon is not."""
    (check,) = checked(("events=[]",), ("connection: rw, nat_local: true",))
    assert not check["ok"]
    assert check["detail"].startswith("moon: ")


def test_a_state_that_was_left_again_was_reached() -> None:
    """`by` asks when, not whether it lasted."""
    was, still = checked(CLOSING, ("connection: rw, node: alice, by: 1 s", "connection: rw, node: alice"))
    assert was["ok"]
    assert not still["ok"]
    assert "TIMEOUT" in still["detail"], "and it says why it is no longer so"


@pytest.mark.parametrize("mobike", ["true", "false"])
@pytest.mark.parametrize("moved_at", ["4 ms", "12 ms", "26 ms"])
def test_an_attempt_that_a_move_replaces_has_not_failed_the_connection(moved_at: str, mobike: str) -> None:
    """Neither at alice, which starts afresh, nor at moon, where the first one runs out after 30 s."""
    overrides = (f"events.0.at={moved_at}", f"tunnels.rw.mobike={mobike}", "duration=40 s", "traffic=[]")
    up, *others = checked(
        overrides,
        (
            "connection: rw, is: established",
            "connection: rw, is: failed, by: 35 s, node: alice",
            "connection: rw, is: failed, by: 35 s, node: moon",
            "connection: rw, is: closed, by: 35 s, node: alice",
        ),
    )
    assert up["ok"]
    assert [check["ok"] for check in others] == [False] * 3


@pytest.mark.parametrize(
    ("reason", "up_until", "replaced"),
    [
        (Reason.TIMEOUT, -1, True),
        (Reason.TIMEOUT, 40, True),
        (Reason.TIMEOUT, 20, False),
        (Reason.AUTHENTICATION_FAILED, -1, False),
    ],
)
def test_only_what_ran_out_while_another_was_up_is_replaced(
    reason: Reason, up_until: int, replaced: bool
) -> None:
    """A caller with a wrong secret has failed, whoever else is connected at the time."""
    up = IkeRecord(1, "rw", state="established", established_at=10, ended_at=up_until)
    ended = IkeRecord(2, "rw", state="failed", reason=reason, ended_at=30)
    assert _is_replaced(ended, [up, ended], "failed") is replaced
    assert not _is_replaced(up, [up, ended], "closed")


def test_an_attempt_that_fails_after_a_move_has_failed_the_connection() -> None:
    """What replaces the first one decides."""
    overrides = ("events.0.at=4 ms", "tunnels.rw.retransmit=libreswan", "links.3.loss=100 %", "traffic=[]")
    moved, failed = checked(
        (*overrides, "duration=40 s"),
        (
            "connection: rw, is: failed, by: 1 s, node: alice",
            "connection: rw, is: failed, by: 35 s, node: alice",
        ),
    )
    assert not moved["ok"]
    assert failed["ok"]


def test_nothing_sent_is_not_without_loss() -> None:
    """The run ends before the flow begins: nobody knows what the loss would have been."""
    (_, loss) = sim.run(load_text(TEXT), until=400_000_000).summary["checks"]
    assert not loss["ok"]


def test_packets_whose_fate_is_unknown_do_not_lower_the_loss() -> None:
    """All that was sent waits for an SA that never comes up."""
    overrides = ("links.0.loss=100 %", "events=[]", "traffic.up.rate=40 kbit/s")
    (check,) = checked(overrides, ("flow: up, max_loss: 50 %",))
    assert (check["ok"], check["detail"]) == (False, "100.00 % lost of 50 % allowed")


def test_nothing_received_has_no_latency_to_be_content_with() -> None:
    (check,) = checked(("links.0.loss=100 %", "events=[]"), ("flow: up, max_latency: 1 s",))
    assert not check["ok"]
    assert "nothing arrived" in check["detail"]


def test_the_detail_names_found_and_wanted() -> None:
    loss, goodput, by = checked(
        ("links.0.loss=100 %", "events=[]"),
        ("flow: up, max_loss: 1 %", "flow: up, min_goodput: 1 Mbit/s", "connection: rw, by: 1 s"),
    )
    assert loss["detail"] == "100.00 % lost of 1 % allowed"
    assert goodput["detail"] == "goodput 0.000 Mbit/s, at least 1 Mbit/s wanted"
    assert "never established" in by["detail"]


@cache
def checked(overrides: tuple[str, ...], checks: tuple[str, ...]) -> list[dict[str, Any]]:
    listed = ", ".join(f"{{{check}}}" for check in checks)
    summary = sim.run(load_text(TEXT, overrides=[*overrides, f"checks=[{listed}]"])).summary
    rows: list[dict[str, Any]] = summary["checks"]
    assert len(rows) == len(checks)
    return rows
