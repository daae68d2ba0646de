"""Rekeying Child SAs, one side and both at once (RFC 7296 1.3.3, 2.8, 2.8.1, 2.25.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import EndpointConfig
from sim.ike.events import (
    ChildFailed,
    ChildSaDown,
    ChildSaRetired,
    ChildSaUp,
    IkeSaDown,
    IkeSaUp,
    MessageSent,
    Reason,
    RekeyFailed,
)
from sim.ike.tasks.ike_rekey import RekeyIke
from sim.units import NS_PER_MS, NS_PER_S
from tests.ike.calm import check_calm
from tests.ike.pair import CONNECTION_A, CONNECTION_B, LATENCY, NET2_A, NET2_B, NET_A, NET_B, End, Pair, esp

PFS = ("aes128gcm16-x25519", "aes128gcm16-ecp256")


@pytest.mark.parametrize("suite", ["aes128gcm16", "aes128gcm16-x25519"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_c41_c43_either_side_rekeys_and_deletes_the_old(side: str, suite: str) -> None:
    """a -> b {N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr}; a <- b {SA, Nr, [KEr,] TSi, TSr}; a -> b {D}."""
    pair = pair_with(suite).establish()
    old = old_spis(pair)
    rekey(pair, getattr(pair, side))
    pair.settle()

    assert paired(pair, 1)
    assert not old & {*pair.a.children, *pair.b.children}
    assert pair.a.last(ChildSaUp).replaces in old
    assert {pair.a.last(ChildSaRetired).spi_in, pair.b.last(ChildSaRetired).spi_in} == old


def test_c43_the_old_one_receives_for_a_while_longer() -> None:
    """Both ends keep the inbound half for delete_rekeyed_delay: packets may overtake the Delete."""
    pair = pair_with().establish()
    rekey(pair, pair.a)
    pair.settle()
    assert not pair.a.all(ChildSaDown)
    assert not pair.b.all(ChildSaDown)
    pair.drive(6 * NS_PER_S)

    assert pair.a.last(ChildSaDown).reason is pair.b.last(ChildSaDown).reason is Reason.REKEYED
    (silent_at,) = pair.a.times(ChildSaRetired)
    round_trip = 2 * LATENCY  # of the Delete
    assert pair.a.times(ChildSaDown) == [silent_at + round_trip + 5 * NS_PER_S]


@pytest.mark.parametrize("side", ["a", "b"])
def test_c43_nothing_is_sent_on_what_we_delete_from_the_moment_of_the_decision(side: str) -> None:
    """The replaced SA and the redundant one go silent before the Delete leaves, not when it is answered."""
    pair = pair_with().establish()
    rekey(pair, pair.a)
    rekey(pair, pair.b)
    pair.settle()
    end = getattr(pair, side)
    events = [event for _, event in end.events]
    delete = next(e for e in events if isinstance(e, MessageSent) and e.payloads == "HDR, SK {D}")
    assert any(isinstance(event, ChildSaRetired) for event in events[: events.index(delete)])


def test_c40_another_group_is_asked_for_once() -> None:
    """INVALID_KE_PAYLOAD names the group; the second request has it (RFC 7296 1.3)."""
    pair = pair_with(*PFS, b_suites=PFS[::-1]).establish()
    rekey(pair, pair.a)
    pair.settle()

    assert paired(pair, 1)


def test_c36_what_is_in_use_may_not_become_narrower() -> None:
    """The initiator offers the selectors in use, narrowed as they were (RFC 7296 2.9.2)."""
    pair = pair_with().establish()
    before = next(iter(pair.a.children.values()))
    rekey(pair, pair.b)
    pair.settle()

    (after,) = pair.a.children.values()
    assert (after.local_ts, after.remote_ts) == (before.local_ts, before.remote_ts)


@pytest.mark.parametrize(("lowest", "kept"), [("N1", "b"), ("N2", "a"), ("N3", "b"), ("N4", "a")])
def test_c45_collision_the_sa_with_the_lowest_nonce_goes(lowest: str, kept: str) -> None:
    """Both rekey at once; N1 and N2 are the nonces of a's and b's request, N3 and N4 of the answers to them.

    Who asked for the redundant SA deletes that; the other deletes the old one (RFC 7296 2.8.1).
    """
    pair = pair_with().establish()
    old_a, old_b = next(iter(pair.a.children)), next(iter(pair.b.children))
    nonces = {name: b"\x00" * 32 if name == lowest else b"\xff" * 32 for name in ("N1", "N2", "N3", "N4")}
    force_nonces(pair.a, nonces["N1"], nonces["N4"])
    force_nonces(pair.b, nonces["N2"], nonces["N3"])
    rekey(pair, pair.a)
    rekey(pair, pair.b)
    pair.drive(6 * NS_PER_S)

    assert paired(pair, 1)
    (stays,) = pair.a.children.values()
    assert stays.initiator is (kept == "a")
    reasons = [event.reason for event in (pair.a if kept == "b" else pair.b).all(ChildSaDown)]
    assert sorted(reasons) == [Reason.REDUNDANT, Reason.REKEYED]
    assert not {old_a, old_b} & {*pair.a.children, *pair.b.children}


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("late", ["request", "response"])
@pytest.mark.parametrize("seed", ["1", "2", "3", "4"])
def test_c45_collision_with_one_message_late(side: str, late: str, seed: str) -> None:
    """Whichever message is late, one pair of SAs is left at both ends and nothing leaks."""
    pair = pair_with(seed=seed).establish()
    pair.delay(15 * NS_PER_MS, side, after=late == "response")
    rekey(pair, pair.a)
    rekey(pair, pair.b)
    pair.drive(60 * NS_PER_S)

    assert paired(pair, 1)
    assert not pair.a.all(IkeSaDown)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", ["1", "2"])
def test_c45_collision_with_one_message_lost(side: str, after: int, seed: str) -> None:
    pair = pair_with(seed=seed).establish()
    pair.drop(1, side, after=after)
    rekey(pair, pair.a)
    rekey(pair, pair.b)
    pair.drive(60 * NS_PER_S)

    assert paired(pair, 1)


@pytest.mark.parametrize("seed", ["1", "2", "3", "4", "5", "6", "7", "8"])
@pytest.mark.parametrize("late", ["a", "b"])
def test_c45_a_winner_that_is_rekeyed_before_the_loser_hears_of_it_has_won(seed: str, late: str) -> None:
    """One response is lost; whoever knows of the winner rekeys it before that response is repeated."""
    pair = pair_with(seed=seed).establish()
    pair.drop(1, late, after=1)
    rekey(pair, pair.a)
    rekey(pair, pair.b)
    pair.drive(NS_PER_S)
    for end in (pair.a, pair.b):
        for spi in list(end.children):
            pair.command(end, lambda endpoint, spi=spi: endpoint.rekey(spi, pair.now))  # type: ignore[misc]
        pair.drive(100 * NS_PER_MS)
    pair.drive(60 * NS_PER_S)

    assert paired(pair, 1)


def test_c46_a_late_request_for_a_replaced_child_is_ignored_by_who_knows() -> None:
    """b's request is lost, a's rekeying is done and the old SA deleted when it comes again: no failure."""
    pair = pair_with().establish()
    pair.drop(1, "b")
    rekey(pair, pair.b)
    rekey(pair, pair.a)
    pair.drive(60 * NS_PER_S)

    assert paired(pair, 1)
    assert "N(CHILD_SA_NOT_FOUND)" in "".join(pair.a.ladder)
    assert not pair.b.all(RekeyFailed)


def test_c49_a_child_that_the_peer_does_not_know_is_made_afresh() -> None:
    """CHILD_SA_NOT_FOUND: ours goes without a Delete, and a new one is created (RFC 7296 2.25)."""
    pair = pair_with().establish()
    (old,) = pair.a.children
    lose_children(pair.b)
    rekey(pair, pair.a)
    pair.settle()

    assert pair.a.last(ChildSaDown).reason is Reason.CHILD_SA_NOT_FOUND
    assert pair.a.last(RekeyFailed).reason is Reason.CHILD_SA_NOT_FOUND
    assert old not in pair.a.children
    assert len(pair.a.children) == 1
    assert not any(" D}" in text for text in pair.a.ladder)


def test_c50_rekeying_a_child_that_the_peer_deletes_ends_with_none() -> None:
    """The peer's Delete crosses our request, which it answers with TEMPORARY_FAILURE; nobody retries."""
    pair = pair_with().establish()
    (other,) = pair.b.children
    pair.command(pair.b, lambda end: end.delete_child(other, pair.now))
    rekey(pair, pair.a)
    pair.drive(120 * NS_PER_S)

    assert "HDR, SK {N(TEMPORARY_FAILURE)}" in pair.b.ladder
    assert paired(pair, 0)
    assert not pair.a.all(RekeyFailed)


def test_c48_c51_a_temporary_failure_is_tried_again_later_not_at_once() -> None:
    """a rekeys the Child SA while b rekeys the IKE SA: both refuse, wait and succeed (RFC 7296 2.25)."""
    pair = pair_with().establish()
    rekey_ike(pair, pair.b)
    rekey(pair, pair.a)
    pair.drive(NS_PER_S)
    assert pair.a.ladder[-1] == pair.b.ladder[-1] == "HDR, SK {N(TEMPORARY_FAILURE)}"
    assert pair.a.last(RekeyFailed).reason is pair.b.last(RekeyFailed).reason is Reason.TEMPORARY_FAILURE
    pair.drive(30 * NS_PER_S)

    failed_at, done_at = pair.a.times(RekeyFailed)[-1], pair.a.times(ChildSaUp)[-1]
    assert 5 * NS_PER_S <= done_at - failed_at <= 11 * NS_PER_S
    assert len(pair.a.all(IkeSaUp)) == len(pair.b.all(IkeSaUp)) == 2
    assert paired(pair, 1)


@pytest.mark.parametrize("side", ["a", "b"])
def test_c51_a_child_that_is_asked_for_while_the_ike_sa_is_rekeyed_comes_later(side: str) -> None:
    """child_create collision_ike_rekey: both get TEMPORARY_FAILURE, both succeed after a while (2.25.2)."""
    pair = pair_of_two().establish()
    asks, rekeys = (pair.a, pair.b) if side == "a" else (pair.b, pair.a)
    rekey_ike(pair, rekeys)
    pair.command(asks, lambda end: end.initiate("rw", "net2", pair.now))
    pair.settle()
    assert pair.a.ladder[-1] == pair.b.ladder[-1] == "HDR, SK {N(TEMPORARY_FAILURE)}"
    assert asks.last(ChildFailed).reason is Reason.TEMPORARY_FAILURE
    pair.calm()

    assert paired(pair, 2)
    assert len(pair.a.all(IkeSaUp)) == 2


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("verb", ["create", "rekey"])
def test_c52_a_delete_that_overtakes_the_answer_which_made_its_child_counts(side: str, verb: str) -> None:
    """child_rekey delayed_response_delete: the answer is lost, and the peer deletes what it has made."""
    pair, asks, answers = made_unheard(side, verb)
    made = answers.last(ChildSaUp).spi_in
    pair.command(answers, lambda end: end.delete_child(made, pair.now))
    pair.calm()

    check_calm(pair)
    assert paired(pair, 0 if verb == "rekey" else 1)
    assert asks.last(ChildSaUp).spi_out == made


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("verb", ["create", "rekey"])
def test_c46_rekeying_a_child_whose_making_is_not_answered_must_wait(side: str, verb: str) -> None:
    """delayed_response: the peer rekeys what we do not know yet, and CHILD_SA_NOT_FOUND would end it."""
    pair, _, answers = made_unheard(side, verb)
    made = answers.last(ChildSaUp).spi_in
    pair.command(answers, lambda end: end.rekey(made, pair.now))
    pair.calm()

    check_calm(pair)
    assert paired(pair, 1 if verb == "rekey" else 2)
    assert answers.all(RekeyFailed)[0].reason is Reason.TEMPORARY_FAILURE
    assert made not in answers.children


def test_c48_a_peer_that_goes_on_refusing_loses_the_ike_sa() -> None:
    pair = pair_with(a_config=EndpointConfig(retry_for=60 * NS_PER_S)).establish()
    refuse_children(pair.b)
    rekey(pair, pair.a)
    pair.drive(200 * NS_PER_S)

    assert len(pair.a.all(RekeyFailed)) > 3
    assert pair.a.last(IkeSaDown).reason is Reason.TEMPORARY_FAILURE


def test_c44_lifetimes_are_jittered_and_local() -> None:
    """Each side's soft limit is earlier by a part of rand_time; the hard limit is not reached."""
    pair = pair_with(rekey_time=100 * NS_PER_S, life_time=120 * NS_PER_S, rand_time=20 * NS_PER_S).establish()
    start = pair.now
    pair.drive(130 * NS_PER_S)

    made = pair.a.times(ChildSaUp)[1]
    assert 80 * NS_PER_S <= made - start <= 100 * NS_PER_S + NS_PER_S
    assert paired(pair, 1)
    assert {event.reason for event in pair.a.all(ChildSaDown)} <= {Reason.REKEYED, Reason.REDUNDANT}


def test_c44_an_expired_child_is_used_no_more() -> None:
    """A peer that refuses to rekey: the hard limit ends the Child SA (RFC 7296 2.8)."""
    pair = pair_with(rekey_time=50 * NS_PER_S, life_time=60 * NS_PER_S).establish()
    refuse_children(pair.b)
    pair.drive(70 * NS_PER_S)

    assert pair.a.last(ChildSaDown).reason is Reason.EXPIRED
    assert paired(pair, 0)


def test_c44_an_expired_child_ends_at_once_even_when_the_peer_cannot_be_told() -> None:
    """A request is outstanding, and nothing arrives: only the SPI stays reserved (RFC 7296 2.8)."""
    pair = pair_with(rekey_time=0, life_time=60 * NS_PER_S).establish()
    (spi,) = pair.a.children
    up_at = pair.a.times(ChildSaUp)[0]
    pair.drive(59 * NS_PER_S)
    pair.drop(2, "a")
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    pair.drive(2 * NS_PER_S)

    assert pair.a.times(ChildSaDown) == [up_at + 60 * NS_PER_S]
    assert pair.a.last(ChildSaDown).reason is Reason.EXPIRED
    assert pair.a.endpoint.sas[0].children == ()
    assert spi in pair.a.endpoint._ctx._spis
    pair.drive(20 * NS_PER_S)
    assert len(pair.a.all(ChildSaDown)) == len(pair.b.all(ChildSaDown)) == 1
    assert spi not in pair.a.endpoint._ctx._spis


def test_c44_a_successor_that_comes_too_late_for_the_expired_child_stays() -> None:
    """The answer to our rekeying comes after the hard limit: the new one is no less wanted for that."""
    pair = pair_with(rekey_time=50 * NS_PER_S, life_time=52 * NS_PER_S, rand_time=0).establish()
    (old,) = pair.a.children
    pair.drive(49 * NS_PER_S)
    pair.drop(1, "a")
    pair.drive(10 * NS_PER_S)

    assert pair.a.all(ChildSaDown)[0].spi_in == old
    assert paired(pair, 1)


def test_c44_a_packet_may_ask_for_another_child_when_one_has_expired() -> None:
    pair = pair_with(rekey_time=0, life_time=60 * NS_PER_S).establish()
    pair.drive(59 * NS_PER_S)
    pair.drop(2, "a")
    pair.drive(2 * NS_PER_S)
    pair.command(pair.a, lambda end: end.initiate("rw", "net", pair.now))
    pair.drive(20 * NS_PER_S)
    assert paired(pair, 1)


# -- helpers ---------------------------------------------------------------------------------------------


def pair_with(
    *suites: str,
    b_suites: tuple[str, ...] = (),
    seed: str = "1",
    a_config: EndpointConfig | None = None,
    **limits: int,
) -> Pair:
    suites = suites or ("aes128gcm16",)
    a = replace(NET_A, esp_proposals=esp(*suites), **limits)  # type: ignore[arg-type]
    b = replace(NET_B, esp_proposals=esp(*(b_suites or suites)))
    return Pair(
        replace(CONNECTION_A, children=(a,)),
        replace(CONNECTION_B, children=(b,)),
        seed=seed,
        a_config=a_config,
    )


def pair_of_two() -> Pair:
    """With a second Child SA that is not up yet."""
    return Pair(
        replace(CONNECTION_A, children=(NET_A, NET2_A)),
        replace(CONNECTION_B, children=(NET_B, NET2_B)),
    )


def made_unheard(side: str, verb: str) -> tuple[Pair, End, End]:
    """Who asked for a Child SA, or for a successor, and who has made it; the answer is lost so far."""
    pair = pair_of_two().establish()
    asks, answers = (pair.a, pair.b) if side == "a" else (pair.b, pair.a)
    pair.drop(1, answers.side)
    if verb == "rekey":
        rekey(pair, asks)
    else:
        pair.command(asks, lambda end: end.initiate("rw", "net2", pair.now))
    pair.settle()
    return pair, asks, answers


def rekey(pair: Pair, end: End) -> None:
    spi = next(iter(end.children))
    pair.command(end, lambda endpoint: endpoint.rekey(spi, pair.now))


def rekey_ike(pair: Pair, end: End) -> None:
    (sa,) = end.endpoint.sas
    pair.command(end, lambda endpoint: endpoint.rekey_ike(sa.ike_id, pair.now))


def old_spis(pair: Pair) -> set[int]:
    return {*pair.a.children, *pair.b.children}


def paired(pair: Pair, count: int) -> bool:
    """Whether both ends have `count` Child SAs, each the other's counterpart, in one IKE SA."""
    ours = {(up.spi_in, up.spi_out) for up in pair.a.children.values()}
    theirs = {(up.spi_out, up.spi_in) for up in pair.b.children.values()}
    held = [{child.spi_in for sa in end.endpoint.sas for child in sa.children} for end in (pair.a, pair.b)]
    return ours == theirs and len(ours) == count and held == [set(pair.a.children), set(pair.b.children)]


def force_nonces(end: End, *nonces: bytes) -> None:
    """The next draws of 32 octets are these; without PFS those are the nonces."""
    context, left = end.endpoint._ctx, list(nonces)
    rand = context.rand
    context.rand = lambda count: left.pop(0) if count == 32 and left else rand(count)


def lose_children(end: End) -> None:
    """Forget the Child SAs, without a word."""
    for sa in end.endpoint._ctx.sas.values():
        for child in list(sa.children.values()):
            sa.remove_child(child, Reason.DELETED, "lost")


def refuse_children(end: End) -> None:
    """Answer every CREATE_CHILD_SA with TEMPORARY_FAILURE, as while rekeying the IKE SA."""
    for sa in end.endpoint._ctx.sas.values():
        sa.rekeying_ike = RekeyIke()
