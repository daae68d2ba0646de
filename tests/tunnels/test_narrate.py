"""The events table: a word to filter by, a sentence to read."""

from __future__ import annotations

from typing import get_args

import pytest

from sim.ike.events import (
    ChildFailed,
    ChildSaDown,
    Event,
    IkeKeysDerived,
    IkeSaDown,
    IkeSaUp,
    KeepaliveSent,
    MessageReceived,
    MessageSent,
    PathChanged,
    Reason,
    Rejected,
    VirtualIpAssigned,
    VirtualIpReleased,
)
from sim.tunnels.narrate import _TELL, LogEntry, narrate
from sim.wire.address import pack_address
from tests.tunnels.lab import Lab

A, B = (pack_address("192.0.2.1"), 500), (pack_address("2001:db8::1"), 4500)
VIP = pack_address("10.3.0.1")
UP = IkeSaUp(1, "rw", True, b"i" * 8, b"r" * 8, A, B, "alice", "moon", False, False, False, True, "suite")
PATH = PathChanged(1, "rw", A, B, True, False, False, (7,))
SENT = MessageSent(1, "IKE_AUTH", 1, False, "HDR, SK {IDi, AUTH}", 200, A, B, 0)
RECEIVED = MessageReceived(1, "IKE_AUTH", 1, True, "HDR, SK {IDr, AUTH}", 180, B, A, 0)


def test_every_event_but_keys_and_keepalives_has_a_sentence() -> None:
    """Keys belong into the key log, not into a table that is shown around; keepalives are counted."""
    assert set(get_args(Event)) - set(_TELL) == {IkeKeysDerived, KeepaliveSent}


@pytest.mark.parametrize(
    ("event", "word", "parts"),
    [
        (UP, "ike up", ["alice", "192.0.2.1[500]", "2001:db8::1[4500]", "moon", "suite"]),
        (IkeSaDown(1, "rw", True, Reason.TIMEOUT, "B is silent"), "ike down", ["TIMEOUT: B is silent"]),
        (ChildSaDown(1, "rw", "net", 1, 2, Reason.DELETED, "by us"), "child down", ["DELETED: by us"]),
        (
            ChildFailed(1, "rw", "net", Reason.TS_UNACCEPTABLE, "no", True),
            "child failed",
            ["TS_UNACCEPTABLE: no"],
        ),
        (
            VirtualIpAssigned(1, "rw", True, VIP, "moon", (A[0],)),
            "virtual ip assigned",
            ["10.3.0.1 is ours, from moon, DNS 192.0.2.1"],
        ),
        (
            VirtualIpAssigned(1, "rw", False, VIP, "alice"),
            "virtual ip assigned",
            ["10.3.0.1 is leased to alice"],
        ),
        (
            VirtualIpReleased(1, "rw", True, VIP, "moon"),
            "virtual ip released",
            ["10.3.0.1 is ours no longer"],
        ),
        (
            VirtualIpReleased(1, "rw", False, VIP, "alice"),
            "virtual ip released",
            ["alice had it"],
        ),
        (PATH, "path changed", ["192.0.2.1[500]", "ESP in UDP"]),
        (SENT, "ike sent", ["IKE_AUTH request 1 { HDR, SK {IDi, AUTH} }"]),
        (RECEIVED, "ike received", ["IKE_AUTH response 1 { HDR, SK {IDr, AUTH} }"]),
        (Rejected("malformed message", A, "cut off"), "rejected", ["malformed message: cut off"]),
    ],
)
def test_a_sentence_names_what_matters(event: Event, word: str, parts: list[str]) -> None:
    entry = told(event)
    assert (entry.node, entry.at, entry.event) == ("moon", 5, word)
    assert [part for part in parts if part not in entry.detail] == []


@pytest.mark.parametrize(
    ("local", "remote", "words"),
    [
        (True, False, "this end behind a NAT"),
        (False, True, "the peer behind a NAT"),
        (True, True, "both ends behind a NAT"),
    ],
)
def test_it_says_who_is_behind_a_nat(local: bool, remote: bool, words: str) -> None:
    event = IkeSaUp(1, "rw", True, b"i" * 8, b"r" * 8, A, B, "a", "b", local, remote, True, True, "suite")
    assert told(event).detail.endswith(words)
    assert "NAT" not in told(UP).detail


def test_messages_carry_their_size_and_addresses() -> None:
    entry = told(SENT)
    assert (entry.src, entry.dst, entry.size) == ("192.0.2.1[500]", "2001:db8::1[4500]", 200)
    again = MessageSent(1, "IKE_AUTH", 1, False, "HDR", 200, A, B, 2)
    assert told(again).detail.endswith("(again)")


def test_the_rows_of_a_handshake_are_a_message_ladder() -> None:
    lab = Lab().up()
    ladder = [
        (e.node, e.event, e.detail.split(" {")[0]) for e in lab.world.log if "ike" in e.event[:3] and e.size
    ]
    both = [("sent", "received")] * 4
    steps = ["IKE_SA_INIT request 0", "IKE_SA_INIT response 0", "IKE_AUTH request 1", "IKE_AUTH response 1"]
    expected = []
    for index, (step, words) in enumerate(zip(steps, both, strict=True)):
        ends = ("moon", "sun") if index % 2 == 0 else ("sun", "moon")
        expected += [(end, f"ike {word}", step) for end, word in zip(ends, words, strict=True)]
    assert ladder == expected


def test_no_row_holds_a_key() -> None:
    lab = Lab().up()
    table = lab.world.keys.esp_sa() + lab.world.keys.ikev2_decryption_table()
    keys = {word for word in table.replace('"', ",").replace("0x", "").split(",") if len(word) >= 32}
    assert keys
    assert not [entry for entry in lab.world.log if any(key in entry.detail for key in keys)]


def told(event: Event) -> LogEntry:
    entry = narrate("moon", event, 5)
    assert entry is not None
    return entry
