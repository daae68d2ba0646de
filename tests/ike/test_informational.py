"""INFORMATIONAL: liveness, and deletion in every direction and at once (RFC 7296 1.4, 2.4, 2.25)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.events import ChildSaDown, IkeSaDown, MessageReceived, MessageSent, Reason
from sim.units import NS_PER_S
from tests.ike.pair import CONNECTION_A, LATENCY, Pair, Used


def test_c12_an_empty_request_asks_whether_the_peer_is_there() -> None:
    pair = Pair(replace(CONNECTION_A, mobike=False)).establish()
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    pair.settle()

    assert (pair.a.ladder[-1], pair.b.ladder[-1]) == ("HDR, SK {}", "HDR, SK {}")


def test_c12_the_peer_is_asked_when_nothing_was_heard_for_dpd_delay() -> None:
    pair = Pair(replace(CONNECTION_A, dpd_delay=10 * NS_PER_S)).establish()
    up_at = pair.now
    pair.drive(25 * NS_PER_S)

    checks = [at for at in pair.a.times(MessageSent) if at > up_at]
    assert [at // NS_PER_S for at in checks] == [10, 20]


def test_c12_esp_that_is_heard_is_proof_of_life() -> None:
    pair = Pair(replace(CONNECTION_A, dpd_delay=10 * NS_PER_S)).establish()
    (spi,) = pair.a.children
    before = len(pair.sent)
    for second in range(1, 30):
        pair.drive(NS_PER_S)
        pair.a.uses[spi] = Used(last_in_at=second * NS_PER_S)

    assert len(pair.sent) == before


def test_c12_a_peer_that_does_not_answer_is_dead() -> None:
    pair = Pair(replace(CONNECTION_A, dpd_delay=10 * NS_PER_S)).establish()
    pair.drop(100)
    pair.drive(200 * NS_PER_S)

    down = pair.a.last(IkeSaDown)
    assert down.reason is Reason.TIMEOUT
    assert down.text.startswith("198.51.100.1[4500] did not answer HDR, SK {")
    assert pair.a.last(ChildSaDown).reason is Reason.TIMEOUT
    assert pair.a.children == {}
    assert pair.a.endpoint.next_timer() is None


def test_c52_deleting_an_ike_sa_gets_an_empty_answer() -> None:
    pair = Pair().establish()
    pair.command(pair.a, lambda end: end.delete("rw", pair.now))
    pair.settle()

    assert (pair.a.ladder[-1], pair.b.ladder[-1]) == ("HDR, SK {D}", "HDR, SK {}")
    assert pair.a.last(IkeSaDown).reason is Reason.DELETED
    assert pair.b.last(IkeSaDown).reason is Reason.DELETED_BY_PEER
    assert pair.a.children == pair.b.children == {}


def test_c52_the_responder_deletes_as_well() -> None:
    pair = Pair().establish()
    pair.command(pair.b, lambda end: end.delete(1, pair.now))
    pair.settle()

    assert pair.a.last(IkeSaDown).reason is Reason.DELETED_BY_PEER
    assert pair.b.last(IkeSaDown).reason is Reason.DELETED


def test_c52_a_delete_names_own_inbound_spis_and_is_answered_with_the_other_half() -> None:
    pair = Pair().establish()
    (a_spi,), (b_spi,) = pair.a.children, pair.b.children
    pair.command(pair.a, lambda end: end.delete_child(a_spi, pair.now))
    assert pair.a.children  # it receives until the peer has confirmed
    pair.settle()

    assert (pair.a.ladder[-1], pair.b.ladder[-1]) == ("HDR, SK {D}", "HDR, SK {D}")
    assert (pair.a.last(ChildSaDown).spi_in, pair.a.last(ChildSaDown).reason) == (a_spi, Reason.DELETED)
    assert (pair.b.last(ChildSaDown).spi_in, pair.b.last(ChildSaDown).reason) == (
        b_spi,
        Reason.DELETED_BY_PEER,
    )
    assert not pair.a.all(IkeSaDown)


def test_c52_crossing_deletes_of_a_child_are_answered_without_a_delete() -> None:
    pair = Pair().establish()
    (a_spi,), (b_spi,) = pair.a.children, pair.b.children
    pair.command(pair.a, lambda end: end.delete_child(a_spi, pair.now))
    pair.command(pair.b, lambda end: end.delete_child(b_spi, pair.now))
    pair.settle()
    # a -> b  {D} and b -> a  {D}, crossing;  both answer {}

    assert (pair.a.ladder[-1], pair.b.ladder[-1]) == ("HDR, SK {}", "HDR, SK {}")
    assert len(pair.a.all(ChildSaDown)) == len(pair.b.all(ChildSaDown)) == 1


def test_c52_a_delete_that_still_waits_for_the_window_does_not_cross() -> None:
    """The other half is named as long as our own Delete has not left (RFC 7296 1.4.1)."""
    pair = Pair().establish()
    (at_a,), (at_b,) = pair.a.children, pair.b.children
    pair.drop(1, "a")
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    pair.command(pair.a, lambda end: end.delete_child(at_a, pair.now))
    pair.command(pair.b, lambda end: end.delete_child(at_b, pair.now))
    pair.calm()

    answers = [event.payloads for event in pair.a.all(MessageSent) if event.response]
    assert answers[-1] == "HDR, SK {D}"
    assert not pair.b.children


def test_c52_crossing_deletes_of_the_ike_sa_end_it_once() -> None:
    pair = Pair().establish()
    pair.command(pair.a, lambda end: end.delete("rw", pair.now))
    pair.command(pair.b, lambda end: end.delete("rw", pair.now))
    pair.drive(200 * NS_PER_S)

    assert [event.reason for event in pair.a.all(IkeSaDown)] == [Reason.DELETED]
    assert [event.reason for event in pair.b.all(IkeSaDown)] == [Reason.DELETED]
    assert [view.state for end in (pair.a, pair.b) for view in end.endpoint.sas] == ["closed", "closed"]
    assert pair.a.endpoint.next_timer() is None


def test_c52_a_delete_of_an_unknown_child_is_answered_without_a_delete() -> None:
    pair = Pair().establish()
    (spi,) = pair.a.children
    pair.command(pair.a, lambda end: end.delete_child(spi, pair.now))
    pair.command(pair.b, lambda end: end.delete_child(next(iter(pair.b.children)), pair.now))
    pair.command(pair.a, lambda end: end.delete_child(spi, pair.now))
    pair.settle()

    assert pair.a.children == pair.b.children == {}


def test_what_was_asked_for_before_a_delete_is_not_installed_after_it() -> None:
    """The response to CREATE_CHILD_SA comes when the IKE SA is down already."""
    pair = Pair().establish()
    (spi,) = pair.a.children
    pair.command(pair.a, lambda end: end.delete_child(spi, pair.now))
    pair.settle()
    pair.initiate()
    pair.drive(LATENCY)
    pair.command(pair.a, lambda end: end.delete("rw", pair.now))
    pair.settle()

    assert pair.a.children == pair.b.children == {}
    assert isinstance(pair.a.events[-1][1], MessageReceived)
    assert pair.a.endpoint._ctx._spis == pair.b.endpoint._ctx._spis == set()


@pytest.mark.parametrize("end_of_it", ["wrong key", "timeout", "delete"])
def test_a_failed_set_up_leaves_nothing_behind(end_of_it: str) -> None:
    pair = Pair(replace(CONNECTION_A, psk=b"other")) if end_of_it == "wrong key" else Pair()
    pair.drop(100 if end_of_it == "timeout" else 0, after=1)
    pair.initiate()
    pair.drive(2 * LATENCY)
    if end_of_it == "delete":
        pair.command(pair.a, lambda end: end.delete("rw", pair.now))
    pair.drive(300 * NS_PER_S)

    for end in (pair.a, pair.b):
        context = end.endpoint._ctx
        assert not context._spis
        assert not context.by_spi
        assert not context.sas
        assert not context.by_peer
        assert not any(context.by_connection.values())
        assert end.endpoint.next_timer() is None


def test_deleting_what_is_not_there_is_harmless() -> None:
    pair = Pair()
    for what in (1, "rw", "nothing"):
        pair.command(pair.a, lambda end, what=what: end.delete(what, 0))  # type: ignore[misc]
    pair.command(pair.a, lambda end: end.delete_child(4711, 0))
    pair.command(pair.a, lambda end: end.check_liveness(1, 0))
    pair.command(pair.a, lambda end: end.handle_timer(0))

    assert pair.sent == []


def test_deleting_a_connection_that_is_coming_up_stops_it() -> None:
    pair = Pair()
    pair.initiate()
    pair.command(pair.a, lambda end: end.delete("rw", pair.now))
    pair.drive(60 * NS_PER_S)

    assert pair.a.last(IkeSaDown).reason is Reason.DELETED
    assert pair.b.last(IkeSaDown).reason is Reason.ABANDONED
    assert not pair.up


def test_an_sa_whose_peer_has_proved_nothing_is_dropped_without_a_word() -> None:
    """Nobody could verify a DELETE yet, and it would be sent to an address that may be forged."""
    pair = Pair()
    pair.drop(100, after=1)
    pair.initiate()
    pair.drive(NS_PER_S)
    (half_open,) = pair.b.endpoint.sas
    sent = len(pair.b.all(MessageSent))
    pair.command(pair.b, lambda end: end.delete(half_open.ike_id, pair.now))
    pair.drive(NS_PER_S)

    assert half_open.state == "half-open"
    assert pair.b.last(IkeSaDown).reason is Reason.DELETED
    assert len(pair.b.all(MessageSent)) == sent
    assert pair.b.endpoint.next_timer() is None


def test_a_connection_comes_up_again_after_a_delete() -> None:
    pair = Pair().establish()
    pair.command(pair.a, lambda end: end.delete("rw", pair.now))
    pair.settle()
    pair.initiate()
    pair.settle()

    assert [view.state for view in pair.a.endpoint.sas] == ["established"]
    assert len(pair.b.children) == 1
