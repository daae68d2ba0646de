"""Faults do to chosen messages what they say, count as documented, and the exchange survives what it must."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.crypto.ids import KeyExchangeId
from sim.ike.constants import ExchangeType
from sim.ike.events import FaultApplied, IkeSaDown, MessageSent, Reason, Rejected
from sim.ike.faults import Fault, Verb
from sim.units import NS_PER_MS, NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, Pair, ike

AUTH, INIT = ExchangeType.IKE_AUTH, ExchangeType.IKE_SA_INIT
GROUPS = ike("aes128gcm16-prfsha256-x25519-ecp256")


def test_the_first_sending_is_dropped_and_the_second_gets_through() -> None:
    pair = Pair(a_faults=[Fault(Verb.DROP, AUTH, False)])
    pair.initiate()
    pair.drive(5 * NS_PER_S)

    assert pair.up
    assert pair.a.faults.applied == [1]
    assert [event.retransmission for event in pair.a.all(MessageSent)] == [0, 0, 1]


def test_retransmissions_count_and_all_means_all() -> None:
    pair = Pair(a_faults=[Fault(Verb.DROP, INIT, nth=2, count=None)], b_faults=[Fault(Verb.DROP, INIT, True)])
    pair.initiate()
    pair.drive(200 * NS_PER_S)

    assert pair.a.faults.applied == [5]
    assert pair.a.last(IkeSaDown).reason is Reason.TIMEOUT


def test_a_repeated_request_is_answered_with_the_same_octets() -> None:
    """RFC 7296 2.1."""
    pair = Pair(a_faults=[Fault(Verb.DUPLICATE, AUTH, False, delay=3 * NS_PER_MS)]).establish()

    first, second = pair.octets("b")[-2:]
    assert first == second
    assert [sa.state for sa in pair.a.endpoint.sas] == ["established"]


def test_a_replay_long_after_changes_nothing() -> None:
    pair = Pair(a_faults=[Fault(Verb.REPLAY, AUTH, False, delay=2 * NS_PER_S)]).establish()
    pair.drive(3 * NS_PER_S)

    assert pair.octets("b")[-1] == pair.octets("b")[-2]
    assert len(pair.a.children) == len(pair.b.children) == 1


def test_a_delayed_message_comes_after_its_time() -> None:
    pair = Pair(b_faults=[Fault(Verb.DELAY, INIT, True, delay=70 * NS_PER_MS)]).establish()

    assert pair.now == 110 * NS_PER_MS, "four passages of 10 ms, and 70 ms"


def test_a_reordered_message_leaves_behind_the_next_one() -> None:
    pair = Pair(a_faults=[Fault(Verb.REORDER, INIT, False)])
    pair.initiate()
    assert pair.octets("a") == []
    assert pair.a.faults.held == 1
    pair.drive(5 * NS_PER_S)

    assert pair.a.faults.held == 0
    assert pair.octets("a")[0] == pair.octets("a")[1]
    assert pair.up


@pytest.mark.parametrize("bit", [8 * 28 + 40, None])
def test_a_flipped_bit_is_noticed_and_changes_nothing(bit: int | None) -> None:
    """RFC 7296 2.21.2: what fails its integrity check is dropped."""
    pair = Pair(b_faults=[Fault(Verb.CORRUPT, AUTH, True, bit=bit)])
    pair.initiate()
    pair.settle()
    assert not pair.a.children
    (rejected,) = pair.a.all(Rejected)
    assert rejected.reason == "integrity check failed"
    pair.drive(5 * NS_PER_S)
    assert pair.up


def test_exactly_the_bit_that_is_named_differs() -> None:
    whole, flipped = Pair(), Pair(a_faults=[Fault(Verb.CORRUPT, INIT, False, bit=8 * 40 + 3)])
    for pair in (whole, flipped):
        pair.initiate()
    before, after = whole.octets("a")[0], flipped.octets("a")[0]

    assert len(before) == len(after)
    assert int.from_bytes(before, "big") ^ int.from_bytes(after, "big") == 1 << 8 * len(before) - (8 * 40 + 4)


def test_a_bit_beyond_the_message_is_no_fault_applied() -> None:
    pair = Pair(a_faults=[Fault(Verb.CORRUPT, INIT, False, bit=10**6)]).establish()
    assert pair.a.faults.applied == [0]


def test_equal_seeds_flip_equal_bits() -> None:
    fault = Fault(Verb.CORRUPT, INIT, False)
    octets = []
    for seed in ("1", "1", "2"):
        pair = Pair(a_faults=[fault], seed=seed)
        pair.initiate()
        octets.append(pair.octets("a")[0])
    assert octets[0] == octets[1] != octets[2]


def test_another_major_version_is_refused_with_ours() -> None:
    """RFC 7296 2.5."""
    pair = Pair(a_faults=[Fault(Verb.BUMP_VERSION, INIT)])
    pair.initiate()
    pair.drive(12 * NS_PER_S)

    assert pair.octets("a")[0][17] == 0x30
    assert pair.b.ladder[0] == "HDR, N(INVALID_MAJOR_VERSION)"
    assert pair.a.last(IkeSaDown).reason is Reason.INVALID_MAJOR_VERSION


@pytest.mark.parametrize("exchange", [INIT, AUTH])
def test_an_unknown_critical_payload_ends_the_attempt(exchange: ExchangeType) -> None:
    """RFC 7296 2.5, 2.21.2."""
    pair = Pair(a_faults=[Fault(Verb.CRITICAL_PAYLOAD, exchange, False)])
    pair.initiate()
    pair.drive(12 * NS_PER_S)

    assert pair.a.last(IkeSaDown).reason is Reason.UNSUPPORTED_CRITICAL_PAYLOAD
    assert pair.b.ladder[-1].endswith("N(UNSUPPORTED_CRITICAL_PAYLOAD)" + ("}" if exchange is AUTH else ""))


def test_a_cookie_is_demanded_once_and_the_answer_to_it_accepted() -> None:
    """RFC 7296 2.6."""
    pair = Pair(b_faults=[Fault(Verb.COOKIE, count=None)]).establish()

    assert pair.b.ladder[0] == "HDR, N(COOKIE)"
    assert pair.a.ladder[1].startswith("HDR, N(COOKIE), SAi1")
    assert [event.text for event in pair.b.all(FaultApplied)] == ["cookie", "cookie"]


def test_a_responder_that_takes_no_cookie_is_given_up_and_both_know_why() -> None:
    pair = Pair(b_faults=[Fault(Verb.COOKIE, count=None, accept=False)])
    pair.initiate()
    pair.drive(60 * NS_PER_S)

    assert pair.a.last(IkeSaDown).reason is Reason.COOKIE_REFUSED
    assert pair.b.last(Rejected).why is Reason.COOKIE_REFUSED
    assert pair.b.last(Rejected).spi_i == pair.octets("a")[0][:8]


def test_a_wrong_guess_costs_one_round_trip() -> None:
    """RFC 7296 1.2: INVALID_KE_PAYLOAD names the group, and the initiator tries that."""
    offer = ike("aes128gcm16-prfsha256-x25519-ecp256")
    pair = Pair(
        replace(CONNECTION_A, proposals=offer),
        CONNECTION_B,
        a_faults=[Fault(Verb.GUESS_GROUP, group=KeyExchangeId.ECP_256)],
    ).establish()

    assert pair.b.ladder[0] == "HDR, N(INVALID_KE_PAYLOAD)"
    assert pair.a.faults.applied == [1]


def test_a_responder_that_asks_for_another_group_gets_it() -> None:
    pair = Pair(
        replace(CONNECTION_A, proposals=GROUPS),
        replace(CONNECTION_B, proposals=GROUPS),
        b_faults=[Fault(Verb.ASK_GROUP)],
    ).establish()

    assert pair.b.ladder[0] == "HDR, N(INVALID_KE_PAYLOAD)"
    assert pair.a.endpoint.sas[0].proposal.endswith("ecp256")


def test_a_responder_that_asks_for_groups_in_a_circle_is_given_up() -> None:
    """RFC 7296 1.2: a group that was sent already is not sent again."""
    pair = Pair(
        replace(CONNECTION_A, proposals=GROUPS),
        replace(CONNECTION_B, proposals=GROUPS),
        b_faults=[Fault(Verb.ASK_GROUP, count=None)],
    )
    pair.initiate()
    pair.drive(60 * NS_PER_S)

    assert pair.a.last(IkeSaDown).reason is Reason.INVALID_KE_PAYLOAD
    assert "asks for group 31, not offered or sent already" in pair.a.last(IkeSaDown).text


def test_a_fault_of_another_connection_does_nothing() -> None:
    pair = Pair(a_faults=[Fault(Verb.DROP, connection="other", count=None)]).establish()
    assert pair.a.faults.applied == [0]


def test_without_faults_nothing_is_different() -> None:
    """The seam costs no random octet."""
    assert Pair().establish().octets("a") == Pair(a_faults=[Fault(Verb.DROP, AUTH, True)]).establish().octets(
        "a"
    )
