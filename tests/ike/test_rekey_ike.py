"""Rekeying the IKE SA, one side and both at once (RFC 7296 1.3.2, 2.8.2, 2.18, 2.25.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import EndpointConfig
from sim.ike.events import ChildSaDown, IkeSaDown, IkeSaUp, MessageSent, Reason, RekeyFailed
from sim.ike.exchanges import State
from sim.ike.view import SaView
from sim.units import NS_PER_MS, NS_PER_S
from tests.ike.calm import check_calm
from tests.ike.pair import CONNECTION_A, CONNECTION_B, LATENCY, NET2_A, NET2_B, NET_A, NET_B, End, Pair, ike
from tests.ike.test_rekey_child import paired, rekey, rekey_ike

SUITES = ("aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-ecp256")


@pytest.mark.parametrize("side", ["a", "b"])
def test_c42_the_new_ike_sa_inherits_and_the_old_one_is_deleted(side: str) -> None:
    """a -> b {SA, Ni, KEi}; a <- b {SA, Nr, KEr}; then {D} as the last request of the old IKE SA."""
    pair = Pair().establish()
    children = dict(pair.a.children)
    rekey_ike(pair, getattr(pair, side))
    pair.settle()

    assert pair.a.children == children
    assert paired(pair, 1)
    assert single(pair.a).spi_i == single(pair.b).spi_i
    assert single(pair.a).initiator is (side == "a")
    assert pair.a.last(IkeSaUp).replaces == pair.b.last(IkeSaUp).replaces == 1
    assert not pair.a.all(ChildSaDown)
    assert getattr(pair, side).ladder[-1] == "HDR, SK {D}"


def test_c05_c06_message_ids_start_at_0_again() -> None:
    pair = Pair().establish()
    rekey_ike(pair, pair.b)
    pair.settle()
    for end in (pair.a, pair.b):
        ike_id = single(end).ike_id
        end.endpoint.check_liveness(ike_id, pair.now)
        end.pump(pair.now)
        pair.settle()
        sent = [event for event in end.all(MessageSent) if event.ike_id == ike_id and not event.response]
        assert [event.message_id for event in sent] == [0]


def test_c42_again_and_again_with_children_rekeyed_in_between() -> None:
    pair = Pair().establish()
    for turn in range(6):
        rekey_ike(pair, (pair.a, pair.b)[turn % 2])
        pair.settle()
        rekey(pair, (pair.b, pair.a)[turn % 2])
        pair.settle()
    pair.drive(40 * NS_PER_S)

    assert paired(pair, 1)
    assert len(pair.a.endpoint.sas) == len(pair.b.endpoint.sas) == 1
    assert nothing_left(pair)


def test_c16_another_group_is_asked_for_and_all_suites_are_offered_again() -> None:
    pair = Pair(
        replace(CONNECTION_A, proposals=ike(*SUITES)), replace(CONNECTION_B, proposals=ike(SUITES[0]))
    ).establish()
    context = pair.a.endpoint._ctx
    (sa,) = context.sas.values()
    sa.connection = replace(sa.connection, proposals=ike(*SUITES[::-1]))
    sa.chosen = sa.connection.proposals[0]  # so that the first guess is wrong
    rekey_ike(pair, pair.a)
    pair.settle()

    assert "HDR, SK {N(INVALID_KE_PAYLOAD)}" in pair.b.ladder
    assert len(pair.a.all(IkeSaUp)) == 2
    assert paired(pair, 1)


@pytest.mark.parametrize("winner", ["a", "b"])
def test_c47_collision_the_ike_sa_with_the_lowest_nonce_goes(winner: str) -> None:
    """The survivor inherits; the redundant one is deleted by who asked for it (RFC 7296 2.8.2)."""
    pair = Pair().establish()
    for name, end in (("a", pair.a), ("b", pair.b)):
        force_next_nonce(end, b"\xff" * 32 if name == winner else b"\x00" * 32)
    rekey_ike(pair, pair.a)
    rekey_ike(pair, pair.b)
    pair.drive(60 * NS_PER_S)

    assert paired(pair, 1)
    assert single(pair.a).spi_i == single(pair.b).spi_i
    assert single(pair.a).initiator is (winner == "a")
    loser = pair.b if winner == "a" else pair.a
    assert [e.reason for e in loser.all(IkeSaDown)].count(Reason.REDUNDANT) == 1
    assert nothing_left(pair)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("seed", ["1", "2", "3", "4"])
@pytest.mark.parametrize("extra", [15, 25, 300])
def test_c47_collision_with_one_message_late(side: str, late: int, seed: str, extra: int) -> None:
    pair = Pair(seed=seed).establish()
    pair.delay(extra * NS_PER_MS, side, after=late)
    rekey_ike(pair, pair.a)
    rekey_ike(pair, pair.b)
    pair.drive(120 * NS_PER_S)

    assert paired(pair, 1)
    assert single(pair.a).spi_i == single(pair.b).spi_i
    assert nothing_left(pair)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_c47_collision_with_one_message_lost(side: str, after: int, seed: str) -> None:
    """If only one side noticed, the other refuses or deletes, and both end with the same IKE SA."""
    pair = Pair(seed=seed).establish()
    pair.drop(1, side, after=after)
    rekey_ike(pair, pair.a)
    rekey_ike(pair, pair.b)
    pair.drive(200 * NS_PER_S)

    assert paired(pair, 1)
    assert single(pair.a).spi_i == single(pair.b).spi_i
    assert nothing_left(pair)


def test_c51_rekeying_an_ike_sa_that_is_being_deleted_must_wait() -> None:
    """Our Delete is on its way: TEMPORARY_FAILURE; the other side accepts the Delete (RFC 7296 2.25.2)."""
    pair = Pair().establish()
    pair.command(pair.b, lambda end: end.delete("rw", pair.now))
    rekey_ike(pair, pair.a)
    pair.drive(60 * NS_PER_S)

    assert "HDR, SK {N(TEMPORARY_FAILURE)}" in pair.b.ladder
    assert not alive(pair)
    assert len(pair.a.all(IkeSaUp)) == 1


def test_c51_deleting_a_child_while_the_ike_sa_is_rekeyed_goes_on_as_usual() -> None:
    pair = Pair().establish()
    (spi,) = pair.b.children
    rekey_ike(pair, pair.a)
    pair.command(pair.b, lambda end: end.delete_child(spi, pair.now))
    pair.drive(60 * NS_PER_S)

    assert paired(pair, 0)
    assert len(pair.a.endpoint.sas) == len(pair.b.endpoint.sas) == 1


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("seed", ["1", "2", "3", "4"])
def test_c51_who_closes_an_ike_sa_that_it_is_rekeying_closes_the_new_one_as_well(
    side: str, both: bool, seed: str
) -> None:
    """The peer may have agreed to the new IKE SA already, which has the Child SAs then."""
    pair = Pair(seed=seed).establish()
    end, other = (pair.a, pair.b) if side == "a" else (pair.b, pair.a)
    rekey_ike(pair, end)
    if both:
        rekey_ike(pair, other)
    pair.drive(LATENCY + 1)
    pair.command(end, lambda endpoint: endpoint.delete("rw", pair.now))
    pair.calm()

    check_calm(pair)
    assert not alive(pair)


def test_c47_a_request_on_an_ike_sa_that_stands_by_settles_that_it_stays() -> None:
    """Its initiator has won the collision and uses it; its Delete of the old IKE SA comes later (2.8.2)."""
    pair = Pair().establish()
    spi = next(iter(pair.a.children))
    force_next_nonce(pair.a, b"\xff" * 32)
    force_next_nonce(pair.b, b"\x00" * 32)
    pair.delay(15 * NS_PER_MS, "b", after=1)  # b's answer, so that b hears of its own rekeying last
    pair.delay(5 * NS_PER_S, "a", after=1)
    rekey_ike(pair, pair.a)
    rekey_ike(pair, pair.b)
    pair.command(pair.a, lambda end: end.rekey(spi, pair.now))  # waits, and starts in the new IKE SA
    pair.calm()

    check_calm(pair)
    assert paired(pair, 1)
    assert not pair.a.all(RekeyFailed)
    assert single(pair.a).initiator


@pytest.mark.parametrize("verb", ["create", "delete", "rekey"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_c51_what_begins_between_additional_key_exchanges_comes_first(side: str, verb: str) -> None:
    """Who has agreed to a rekeying uses the old IKE SA meanwhile: the next step must wait (2.25.2)."""
    suites = ike("aes128gcm16-prfsha256-x25519-ke1_mlkem768")
    pair = Pair(
        replace(CONNECTION_A, proposals=suites, children=(NET_A, NET2_A)),
        replace(CONNECTION_B, proposals=suites, children=(NET_B, NET2_B)),
    ).establish()
    asks, answers = (pair.a, pair.b) if side == "a" else (pair.b, pair.a)
    rekey_ike(pair, asks)
    pair.drive(LATENCY)
    spi = next(iter(answers.children))
    pair.drop(1, asks.side, after=2)  # behind two fragments: its answer to the request that begins now
    acts = {
        "create": lambda end: end.initiate("rw", "net2", pair.now),
        "delete": lambda end: end.delete_child(spi, pair.now),
        "rekey": lambda end: end.rekey(spi, pair.now),
    }
    pair.command(answers, acts[verb])
    pair.calm()

    check_calm(pair)
    assert paired(pair, {"create": 2, "delete": 0, "rekey": 1}[verb])
    assert len(pair.a.all(IkeSaUp)) == 2
    assert "HDR, SK {N(TEMPORARY_FAILURE)}" in answers.ladder


def test_c44_an_ike_sa_is_rekeyed_at_its_time() -> None:
    limits = {"rekey_time": 100 * NS_PER_S, "rand_time": 10 * NS_PER_S, "over_time": 20 * NS_PER_S}
    pair = Pair(replace(CONNECTION_A, **limits)).establish()  # type: ignore[arg-type]
    start = pair.now
    pair.drive(101 * NS_PER_S)

    assert 90 * NS_PER_S <= pair.a.times(IkeSaUp)[1] - start <= 101 * NS_PER_S
    assert paired(pair, 1)


def test_c44_an_ike_sa_that_the_peer_will_not_rekey_ends_at_its_hard_limit() -> None:
    limits = {"rekey_time": 50 * NS_PER_S, "rand_time": 0, "over_time": 20 * NS_PER_S}
    pair = Pair(replace(CONNECTION_A, **limits)).establish()  # type: ignore[arg-type]
    (sa,) = pair.b.endpoint._ctx.sas.values()
    sa.standby = True  # refuses to rekey, and for nothing else
    pair.drive(80 * NS_PER_S)

    assert pair.a.last(RekeyFailed).child == ""
    assert pair.a.last(IkeSaDown).reason is Reason.EXPIRED


def test_c44_an_expired_ike_sa_takes_its_child_sas_with_it_at_once() -> None:
    """The peer does not answer: nothing waits for it (RFC 7296 2.8)."""
    limits = {"rekey_time": 50 * NS_PER_S, "rand_time": 0, "over_time": 20 * NS_PER_S}
    pair = Pair(replace(CONNECTION_A, **limits)).establish()  # type: ignore[arg-type]
    pair.drive(49 * NS_PER_S)
    pair.drop(20, "a")
    pair.drive(40 * NS_PER_S)

    hard_at = pair.a.times(IkeSaUp)[0] + 70 * NS_PER_S
    assert pair.a.times(ChildSaDown) == pair.a.times(IkeSaDown) == [hard_at]


def test_a_lost_delete_of_the_old_ike_sa_leaves_nothing_behind() -> None:
    """Every Delete is lost: the responder forgets the old IKE SA after half_open_timeout."""
    pair = Pair(a_config=EndpointConfig()).establish()
    pair.drop(20, "a", after=1)
    rekey_ike(pair, pair.a)
    pair.drive(300 * NS_PER_S)

    assert paired(pair, 1)
    assert [sa.state for sa in pair.b.endpoint._ctx.sas.values()] == [State.ESTABLISHED]


# -- helpers ---------------------------------------------------------------------------------------------


def alive(pair: Pair) -> list[SaView]:
    return [sa for end in (pair.a, pair.b) for sa in end.endpoint.sas if sa.state != "closed"]


def single(end: End) -> SaView:
    (sa,) = [sa for sa in end.endpoint.sas if sa.state == "established"]
    return sa


def force_next_nonce(end: End, nonce: bytes) -> None:
    """The first draw of 32 octets for our request is its nonce."""
    context = end.endpoint._ctx
    rand, left = context.rand, [nonce]
    context.rand = lambda count: left.pop() if count == 32 and left else rand(count)


def nothing_left(pair: Pair) -> bool:
    """No index of either endpoint knows an SA that is gone."""
    return all(
        len(context.sas) == len(context.by_spi) == len(context.by_connection["rw"]) == 1
        for context in (pair.a.endpoint._ctx, pair.b.endpoint._ctx)
    )
