"""Exchanges that meet, each under the name by which strongSwan's and pyikev2's suites know the situation.

Every case ends with a calm network, the same SAs at both ends, packets that pass, and nothing left over. What
is tested elsewhere is not repeated: regular rekeyings, responder_lost_sa (c49), child_create's collision with
the rekeying of the IKE SA (c51), delayed_response_delete (c52), childless (c56). ike_mid_sync (RFC 6311, for
clusters) is not supported.
"""

from __future__ import annotations

import pytest

from sim.ike.events import ChildSaUp, IkeSaDown, IkeSaUp, Reason, RekeyFailed
from sim.units import NS_PER_MS, NS_PER_S
from tests.ike.meeting import (
    LATE,
    LATER,
    NONCES,
    SPI_BASE,
    by_a,
    collide,
    collide_ike,
    delete_children,
    delete_ike,
    forget_the_group,
    guessing_pair,
    ike_by_a,
    number_spis,
    octets,
    settled,
    sides,
    start,
    watch_deletes,
)
from tests.ike.test_rekey_child import pair_with, rekey, rekey_ike

both_sides = pytest.mark.parametrize("side", ["a", "b"])
each_lowest = pytest.mark.parametrize("lowest", NONCES)


# -- child_create, child_delete, ike_delete --------------------------------------------------------------


@both_sides
def test_child_create_duplicate(side: str) -> None:
    """What is there already is not made again; a packet that it is for does not ask for another one."""
    pair = pair_with().establish()
    end = getattr(pair, side)
    count = len(end.ladder)
    pair.command(end, lambda endpoint: endpoint.initiate("rw", "net", pair.now))
    settled(pair, 1)

    assert len(end.ladder) == count


@both_sides
def test_child_delete_collision_drop(side: str) -> None:
    """Deletes cross, and one of them comes late: its answer has no Delete, as the pair is gone (1.4.1)."""
    pair = pair_with().establish()
    pair.delay(LATER, side)
    delete_children(pair, pair.a)
    delete_children(pair, pair.b)
    settled(pair, 0)

    assert pair.a.ladder[-2:] == pair.b.ladder[-2:] == ["HDR, SK {D}", "HDR, SK {}"]


@both_sides
def test_child_delete_collision_ike_rekey(side: str) -> None:
    """The Delete is answered as usual; the rekeying must wait, and comes later (2.25.1, 2.25.2)."""
    pair = pair_with().establish()
    deletes, rekeys = sides(pair, side)
    delete_children(pair, deletes)
    rekey_ike(pair, rekeys)
    settled(pair, 0)

    assert deletes.ladder.count("HDR, SK {N(TEMPORARY_FAILURE)}") == 1
    assert len(pair.a.all(IkeSaUp)) == 2


@both_sides
def test_child_delete_collision_ike_delete(side: str) -> None:
    pair = pair_with().establish()
    child, whole = sides(pair, side)
    delete_children(pair, child)
    delete_ike(pair, whole)
    settled(pair, 0, ike_sas=0)


# -- child_rekey, one side -------------------------------------------------------------------------------


@both_sides
def test_child_rekey_regular_ke_invalid(side: str) -> None:
    """INVALID_KE_PAYLOAD, then the group of the peer's choice, whoever rekeys."""
    pair = guessing_pair().establish()
    asks, answers = sides(pair, side)
    rekey(pair, asks)
    settled(pair, 1)

    assert "HDR, SK {N(INVALID_KE_PAYLOAD)}" in answers.ladder


@both_sides
def test_child_rekey_responder_ignores_its_soft_limit_until_the_old_one_is_deleted(side: str) -> None:
    """responder_ignore_soft_expire: the peer has rekeyed it already, and its Delete is on its way."""
    pair = pair_with().establish()
    asks, answers = sides(pair, side)
    (old,) = answers.children
    rekey(pair, asks)
    pair.drive(pair.latency)
    pair.command(answers, lambda end: end.expire(old, hard=False, now=pair.now))
    settled(pair, 1)

    assert "REKEY_SA" not in "".join(answers.ladder)


@both_sides
def test_child_rekey_responder_handles_its_hard_limit_before_the_old_one_is_deleted(side: str) -> None:
    """responder_handle_hard_expire: it deletes the old one, and both Deletes cross."""
    pair = pair_with().establish()
    asks, answers = sides(pair, side)
    (old,) = answers.children
    rekey(pair, asks)
    pair.drive(pair.latency)
    pair.command(answers, lambda end: end.expire(old, hard=True, now=pair.now))
    settled(pair, 1)

    assert old not in answers.children


@both_sides
def test_child_rekey_responder_deletes_the_new_one_at_once(side: str) -> None:
    """responder_delete: its Delete of the new Child SA crosses ours of the old one; none is left."""
    pair = pair_with().establish()
    asks, answers = sides(pair, side)
    rekey(pair, asks)
    pair.drive(pair.latency)
    new = answers.last(ChildSaUp).spi_in
    pair.command(answers, lambda end: end.delete_child(new, pair.now))
    settled(pair, 0)


@both_sides
def test_child_rekey_responder_loses_the_old_one_before_our_delete(side: str) -> None:
    """Its answer to our Delete names nothing; the new one is not affected."""
    pair = pair_with().establish()
    asks, answers = sides(pair, side)
    rekey(pair, asks)
    pair.drive(pair.latency)
    context = answers.endpoint._ctx
    (sa,) = context.sas.values()
    (old,) = (child for child in sa.children.values() if child.replaced)
    sa.remove_child(old, Reason.DELETED, "lost")
    settled(pair, 1)

    assert answers.ladder[-1] == "HDR, SK {}"


@both_sides
def test_child_rekey_delete_timeout(side: str) -> None:
    """delete_timeout: no Delete of the old one arrives; its peer sends on the new one meanwhile."""
    pair = pair_with().establish()
    asks, _ = sides(pair, side)
    pair.drop(4, side, after=1)
    rekey(pair, asks)
    settled(pair, 1)

    assert pair.now > 40 * NS_PER_S


# -- child_rekey, both sides -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lowest", "a_deletes", "b_deletes", "kept"),
    [("N1", 3, 2, (6, 4)), ("N3", 3, 2, (6, 4)), ("N2", 1, 4, (3, 5)), ("N4", 1, 4, (3, 5))],
)
def test_c45_child_rekey_collision(
    lowest: str, a_deletes: int, b_deletes: int, kept: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPIs 1 and 2 are rekeyed; a's request and its answer make 3 and 5, b's make 4 and 6 (2.8.1)."""
    pair = number_spis(pair_with()).establish()
    deletes = watch_deletes(pair, monkeypatch)
    collide(pair, lowest)
    settled(pair, 1)

    assert sorted(deletes) == [("a", (octets(a_deletes),)), ("b", (octets(b_deletes),))]
    (at_a,), (at_b,) = pair.a.children, pair.b.children
    assert (at_a - SPI_BASE, at_b - SPI_BASE) == kept


@each_lowest
def test_c45_child_rekey_collision_delayed_response(lowest: str) -> None:
    """The answer to b's request is late: a acts on its own, b learns of its own SA last."""
    pair = pair_with().establish()
    pair.delay(LATE, "a", after=1)
    collide(pair, lowest)
    settled(pair, 1)

    assert by_a(pair) is (lowest in ("N2", "N4"))


@each_lowest
def test_c45_child_rekey_collision_delayed_response_until_all_else_is_over(lowest: str) -> None:
    """delayed_response_delete: whatever is deleted meanwhile, the late answer brings nothing back."""
    pair = pair_with().establish()
    pair.delay(LATER, "a", after=1)
    collide(pair, lowest)
    settled(pair, 1)

    assert by_a(pair) is (lowest in ("N2", "N4"))


@pytest.mark.parametrize("lowest", ["N1", "N2", "N3"])
@both_sides
def test_c46_child_rekey_collision_delayed_request(side: str, lowest: str) -> None:
    """One request is late: the other rekeying is done, or its Delete on its way; the late one is refused."""
    pair = pair_with().establish()
    pair.delay(LATE, side)
    collide(pair, lowest)
    settled(pair, 1)

    assert by_a(pair) is (side == "b")
    late, _ = sides(pair, side)
    assert not late.all(RekeyFailed), "it knows why it was refused"


@pytest.mark.parametrize("lowest", ["N1", "N2", "N3"])
def test_c46_child_rekey_collision_delayed_request_until_the_old_one_is_gone(lowest: str) -> None:
    """delayed_request_more: CHILD_SA_NOT_FOUND, and b does not start again."""
    pair = pair_with().establish()
    pair.delay(LATER, "b")
    collide(pair, lowest)
    settled(pair, 1)

    assert "N(CHILD_SA_NOT_FOUND)" in "".join(pair.a.ladder)
    assert by_a(pair)


@pytest.mark.parametrize("lowest", ["N1", "N2", "N3"])
def test_c46_child_rekey_collision_delayed_request_and_the_new_one_is_deleted(lowest: str) -> None:
    """delayed_request_more_delete: a deletes the new one while b's request is on its way."""
    pair = pair_with().establish()
    pair.delay(LATER, "b")
    collide(pair, lowest)
    pair.drive(2 * pair.latency + NS_PER_MS)
    new = pair.a.last(ChildSaUp).spi_in
    pair.command(pair.a, lambda end: end.delete_child(new, pair.now))
    settled(pair, 0)


@pytest.mark.parametrize("seed", ["1", "2", "3", "4"])
def test_c45_child_rekey_collision_ke_invalid(seed: str) -> None:
    """Both are asked for another group, and collide when they ask again."""
    pair = guessing_pair(seed).establish()
    rekey(pair, pair.a)
    rekey(pair, pair.b)
    settled(pair, 1)

    assert all("HDR, SK {N(INVALID_KE_PAYLOAD)}" in end.ladder for end in (pair.a, pair.b))


@pytest.mark.parametrize("seed", ["1", "2", "3"])
@both_sides
def test_c45_child_rekey_collision_ke_invalid_delayed_retry(side: str, seed: str) -> None:
    """One asks again late, when the other's rekeying is done."""
    pair = guessing_pair(seed).establish()
    pair.delay(LATER, side, after=2)  # its request, its refusal of the other's, its second request
    rekey(pair, pair.a)
    rekey(pair, pair.b)
    settled(pair, 1)

    assert by_a(pair) is (side == "b")


@each_lowest
def test_child_rekey_collision_responder_answers_a_delete_without_the_other_half(lowest: str) -> None:
    """responder_incorrect_delete: the loser has lost the old SA; nothing but its answer differs."""
    pair = pair_with().establish()
    collide(pair, lowest)
    pair.drive(2 * pair.latency)
    loser = pair.b if lowest in ("N2", "N4") else pair.a
    (sa,) = loser.endpoint._ctx.sas.values()
    for child in [child for child in sa.children.values() if child.replaced and not child.deleting]:
        sa.remove_child(child, Reason.DELETED, "lost")
    settled(pair, 1)


@both_sides
def test_c50_child_rekey_collision_delete(side: str) -> None:
    """The rekeying of what is being deleted gets TEMPORARY_FAILURE, the Delete its answer (2.25.1)."""
    pair = pair_with().establish()
    rekeys, deletes = sides(pair, side)
    rekey(pair, rekeys)
    delete_children(pair, deletes)
    settled(pair, 0)

    assert deletes.ladder.count("HDR, SK {N(TEMPORARY_FAILURE)}") == 1
    assert not rekeys.all(RekeyFailed)


@pytest.mark.parametrize("lost", ["delete", "rekey", "refusal"])
@both_sides
def test_c50_child_rekey_collision_delete_with_a_message_lost(side: str, lost: str) -> None:
    """delete_drop_delete, delete_drop_rekey, delete_delayed_response."""
    pair = pair_with().establish()
    rekeys, deletes = sides(pair, side)
    pair.drop(1, rekeys.side if lost == "rekey" else deletes.side, after=lost == "refusal")
    rekey(pair, rekeys)
    delete_children(pair, deletes)
    settled(pair, 0)


@both_sides
def test_c51_child_rekey_collision_ike_delete(side: str) -> None:
    """A Child SA of an IKE SA that is being deleted is not rekeyed."""
    pair = pair_with().establish()
    rekeys, deletes = sides(pair, side)
    rekey(pair, rekeys)
    delete_ike(pair, deletes)
    settled(pair, 0, ike_sas=0)

    assert len(pair.a.all(ChildSaUp)) == len(pair.b.all(ChildSaUp)) == 1


# -- ike_rekey -------------------------------------------------------------------------------------------


@both_sides
def test_c16_ike_rekey_regular_ke_invalid(side: str) -> None:
    pair = forget_the_group(guessing_pair().establish())
    asks, answers = sides(pair, side)
    rekey_ike(pair, asks)
    settled(pair, 1)

    assert "HDR, SK {N(INVALID_KE_PAYLOAD)}" in answers.ladder
    assert len(pair.a.all(IkeSaUp)) == 2


@each_lowest
def test_c47_ike_rekey_collision(lowest: str) -> None:
    """The IKE SA with the lowest nonce goes, by who asked for it; the other one deletes the old."""
    pair = pair_with().establish()
    collide_ike(pair, lowest)
    settled(pair, 1)

    assert ike_by_a(pair) is (lowest in ("N2", "N4"))
    loser = pair.b if lowest in ("N2", "N4") else pair.a
    assert sorted(e.reason for e in loser.all(IkeSaDown)) == [Reason.REDUNDANT, Reason.REKEYED]


@pytest.mark.parametrize("seed", ["1", "2", "3", "4"])
def test_c47_ike_rekey_collision_ke_invalid(seed: str) -> None:
    pair = forget_the_group(guessing_pair(seed).establish())
    rekey_ike(pair, pair.a)
    rekey_ike(pair, pair.b)
    settled(pair, 1)

    assert all("HDR, SK {N(INVALID_KE_PAYLOAD)}" in end.ladder for end in (pair.a, pair.b))


@pytest.mark.parametrize("seed", ["1", "2", "3"])
@both_sides
def test_c47_ike_rekey_collision_ke_invalid_delayed_retry(side: str, seed: str) -> None:
    pair = forget_the_group(guessing_pair(seed).establish())
    pair.delay(LATER, side, after=2)
    rekey_ike(pair, pair.a)
    rekey_ike(pair, pair.b)
    settled(pair, 1)


@each_lowest
@pytest.mark.parametrize("late", [LATE, LATER])
def test_c47_ike_rekey_collision_delayed_response(lowest: str, late: int) -> None:
    pair = pair_with().establish()
    pair.delay(late, "a", after=1)
    collide_ike(pair, lowest)
    settled(pair, 1)

    assert ike_by_a(pair) is (lowest in ("N2", "N4"))


@pytest.mark.parametrize("lowest", ["N1", "N2", "N3"])
@both_sides
def test_c47_ike_rekey_collision_dropped_request(side: str, lowest: str) -> None:
    """One side never hears of the other's attempt: its own is the one, and its Delete ends the other."""
    pair = pair_with().establish()
    pair.drop(1, side)
    collide_ike(pair, lowest)
    settled(pair, 1)

    assert ike_by_a(pair) is (side == "b")


@pytest.mark.parametrize("late", [LATE, LATER])
@pytest.mark.parametrize("lowest", ["N1", "N2", "N3"])
@both_sides
def test_c47_ike_rekey_collision_delayed_request(side: str, lowest: str, late: int) -> None:
    """delayed_request, delayed_request_and_delete: it comes when the other rekeying is done, or over."""
    pair = pair_with().establish()
    pair.delay(late, side)
    collide_ike(pair, lowest)
    settled(pair, 1)

    assert ike_by_a(pair) is (side == "b")


@pytest.mark.parametrize("lost", ["nothing", "delete", "rekey", "refusal"])
@both_sides
def test_c51_ike_rekey_collision_delete(side: str, lost: str) -> None:
    """delete, delete_drop_delete: one side rekeys the IKE SA, the other one deletes it."""
    pair = pair_with().establish()
    rekeys, deletes = sides(pair, side)
    if lost != "nothing":
        pair.drop(1, rekeys.side if lost == "rekey" else deletes.side, after=lost == "refusal")
    rekey_ike(pair, rekeys)
    delete_ike(pair, deletes)
    settled(pair, 0, ike_sas=0)


# -- pyikev2's simultaneous exchanges: rekey or delete, Child SA or IKE SA, on both sides -----------------


SIMULTANEOUS = ("rekey child", "delete child", "rekey ike", "delete ike")


@pytest.mark.parametrize("second", SIMULTANEOUS)
@pytest.mark.parametrize("first", SIMULTANEOUS)
def test_simultaneous(first: str, second: str) -> None:
    """Sixteen pairs of commands in the same instant; a deletion always counts."""
    pair = pair_with().establish()
    start(pair, pair.a, first)
    start(pair, pair.b, second)
    both = {first, second}
    settled(pair, 0 if both & {"delete child", "delete ike"} else 1, ike_sas=int("delete ike" not in both))
