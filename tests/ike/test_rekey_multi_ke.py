"""New Child SAs and rekeyings with several key exchanges, IKE_FOLLOWUP_KE (RFC 9370 2.2.4).

Nonces are the only draws of 32 octets here, so that a test can say which of four is the lowest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sim.ike.config import EndpointConfig
from sim.ike.constants import ExchangeType, NotifyType
from sim.ike.events import ChildFailed, ChildSaDown, ChildSaUp, IkeSaDown, IkeSaUp, Reason, RekeyFailed
from sim.ike.proposals import additional_exchanges
from sim.units import NS_PER_MS, NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET_A, NET_B, End, Pair, esp, ike
from tests.ike.test_rekey_child import force_nonces, old_spis, paired, rekey, rekey_ike
from tests.ike.test_rekey_ike import nothing_left, single

IKE_ONE, IKE_TWO = "aes128gcm16-prfsha256-ecp384", "aes128gcm16-prfsha256-ecp384-ke1_ecp521"
IKE_THREE = "aes128gcm16-prfsha256-ecp384-ke1_ecp521-ke2_mlkem768"
ONE, TWO = "aes128gcm16-ecp384", "aes128gcm16-ecp384-ke1_ecp521"
THREE = "aes128gcm16-ecp384-ke1_ecp521-ke2_mlkem768"
LOW, HIGH = bytes(32), b"\xff" * 32
FOLLOW_UP = "N(ADDITIONAL_KEY_EXCHANGE)"
LOWEST = [("N1", "b"), ("N2", "a"), ("N3", "b"), ("N4", "a")]
"""Which of the nonces of a's request, b's request, b's answer, a's answer is lowest, and whose SA stays."""

Start = Callable[[Pair, End], None]


# -- Child SAs ---------------------------------------------------------------------------------------------


def test_c57_child_create_multi_ke() -> None:
    """CREATE_CHILD_SA { SA, Ni, KEi, TSi, TSr }, then an IKE_FOLLOWUP_KE for each ADDKE."""
    pair = pair_of(THREE, children=("net", "more"))
    pair.initiate(None)
    pair.settle()

    assert pair.a.ladder[-3:] == [
        "HDR, SK {SAi, Ni, KEi, TSi, TSr}",
        f"HDR, SK {{KEi, {FOLLOW_UP}}}",
        f"HDR, SKF {{KEi, {FOLLOW_UP}}}",
    ]
    assert pair.b.ladder[-3:] == [
        f"HDR, SK {{SAr, Nr, KEr, TSi, TSr, {FOLLOW_UP}}}",
        f"HDR, SK {{KEr, {FOLLOW_UP}}}",
        "HDR, SK {KEr}",
    ]
    assert pair.sent[-1].octets[18] == ExchangeType.IKE_FOLLOWUP_KE
    assert agreed(pair, 2)


@pytest.mark.parametrize("suite", [TWO, THREE])
@pytest.mark.parametrize("side", ["a", "b"])
def test_c57_child_rekey_regular_multi_ke(side: str, suite: str) -> None:
    pair = pair_of(suite).establish()
    old = old_spis(pair)
    rekey(pair, getattr(pair, side))
    pair.settle()

    assert agreed(pair, 1)
    assert not old & old_spis(pair)


@pytest.mark.parametrize("side", ["a", "b"])
def test_c57_child_rekey_regular_ke_invalid_multi_ke(side: str) -> None:
    """The first guess is wrong: INVALID_KE_PAYLOAD, the request with the other group, then follow-ups."""
    first, second = f"{ONE}-ke1_ecp521", "aes128gcm16-modp2048-ke1_ecp521"
    ends = ((first, second), (second,))
    pair = pair_of(*(ends if side == "a" else ends[::-1])).establish()
    rekey(pair, getattr(pair, side))
    pair.settle()

    other = pair.b if side == "a" else pair.a
    assert "HDR, SK {N(INVALID_KE_PAYLOAD)}" in other.ladder
    assert FOLLOW_UP in "".join(other.ladder)
    assert agreed(pair, 1)


@pytest.mark.parametrize(("lowest", "kept"), LOWEST)
def test_c45_c57_child_rekey_collision_multi_ke(lowest: str, kept: str) -> None:
    pair = pair_of(THREE).establish()
    old = old_spis(pair)
    collide(pair, rekey, lowest)
    pair.drive(60 * NS_PER_S)

    assert agreed(pair, 1)
    assert next(iter(pair.a.children.values())).initiator is (kept == "a")
    assert not old & old_spis(pair)
    assert not pair.a.all(RekeyFailed) + pair.b.all(RekeyFailed)


@pytest.mark.parametrize("multi", ["a", "b"])
@pytest.mark.parametrize(("lowest", "kept"), LOWEST)
def test_c45_c57_child_rekey_collision_mixed(lowest: str, kept: str, multi: str) -> None:
    """One side's rekeying takes more exchanges than the other's; the nonces decide all the same."""
    pair = pair_mixed((ONE, TWO), multi).establish()
    old = old_spis(pair)
    collide(pair, rekey, lowest)
    pair.drive(60 * NS_PER_S)

    assert agreed(pair, 1)
    assert next(iter(pair.a.children.values())).initiator is (kept == "a")
    assert not old & old_spis(pair)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("late", range(4))
@pytest.mark.parametrize("lowest", ["N1", "N2"])
@pytest.mark.parametrize("extra", [15, 25, 300])
def test_c57_child_rekey_delayed_multi_ke(side: str, late: int, lowest: str, extra: int) -> None:
    """delayed_request, delayed_response: whichever message of the six is late, one pair is left."""
    pair = pair_of(TWO).establish()
    pair.delay(extra * NS_PER_MS, side, after=late)
    collide(pair, rekey, lowest)
    pair.drive(60 * NS_PER_S)

    assert agreed(pair, 1)
    assert not pair.a.all(IkeSaDown)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize("lowest", ["N1", "N2"])
def test_c57_child_rekey_collision_multi_ke_with_one_message_lost(side: str, after: int, lowest: str) -> None:
    pair = pair_of(TWO).establish()
    pair.drop(1, side, after=after)
    collide(pair, rekey, lowest)
    pair.drive(60 * NS_PER_S)

    assert agreed(pair, 1)


@pytest.mark.parametrize("deleter", ["a", "b"])
@pytest.mark.parametrize("at", [5, 15, 25, 35, 45])
def test_c50_c57_child_rekey_delete_multi_ke(deleter: str, at: int) -> None:
    """a rekeys the Child SA, one side deletes it meanwhile: none is left, whoever was first."""
    pair = pair_of(THREE).establish()
    rekey(pair, pair.a)
    pair.drive(at * NS_PER_MS)
    end = getattr(pair, deleter)
    old = next(iter(end.children))
    pair.command(end, lambda endpoint: endpoint.delete_child(old, pair.now))
    pair.drive(120 * NS_PER_S)

    assert agreed(pair, 0)


def test_c57_a_peer_that_forgot_says_state_not_found_and_the_rekeying_begins_again() -> None:
    """The responder waits 20 s at most; then the link means nothing to it (RFC 9370 2.2.4)."""
    pair = pair_of(TWO).establish()
    (sa,) = pair.b.endpoint._ctx.sas.values()
    rekey(pair, pair.a)
    pair.drive(2 * pair.latency)
    assert len(sa.followups) == 1
    sa.followups.close()
    pair.drive(NS_PER_S)
    assert "HDR, SK {N(STATE_NOT_FOUND)}" in pair.b.ladder
    assert pair.a.last(RekeyFailed).reason is Reason.STATE_NOT_FOUND
    pair.drive(60 * NS_PER_S)

    assert agreed(pair, 1)
    assert len(pair.a.all(ChildSaUp)) == 2


def test_c57_a_child_whose_follow_up_is_refused_is_told_as_failed() -> None:
    pair = pair_of(TWO, children=("net", "more")).establish()
    pair.command(pair.a, lambda end: end.initiate("rw", "more", pair.now))
    pair.drive(2 * pair.latency)
    (sa,) = pair.b.endpoint._ctx.sas.values()
    sa.followups.close()
    pair.drive(NS_PER_S)

    assert pair.a.last(ChildFailed).reason is Reason.STATE_NOT_FOUND
    assert agreed(pair, 1)
    assert len(pair.a.endpoint._ctx._spis) == len(pair.b.endpoint._ctx._spis) == 1


def test_c57_what_the_peer_does_not_follow_up_is_forgotten() -> None:
    """The initiator vanishes between its exchanges: after 20 s nothing of it is left."""
    pair = pair_of(TWO, b_config=EndpointConfig(followup_timeout=5 * NS_PER_S)).establish()
    (sa,) = pair.b.endpoint._ctx.sas.values()
    rekey(pair, pair.a)
    pair.drop(100, "a")
    pair.drive(4 * NS_PER_S)
    assert len(sa.followups) == 1
    assert len(pair.b.endpoint._ctx._spis) == 2
    pair.drive(2 * NS_PER_S)

    assert not len(sa.followups)
    assert len(pair.b.endpoint._ctx._spis) == 1
    assert next(iter(sa.children.values())).rival is None


@pytest.mark.parametrize("side", ["a", "b"])
def test_c51_c57_an_ike_rekey_while_a_child_has_key_exchanges_left_must_wait(side: str) -> None:
    pair = pair_of(THREE, ike_suites=(IKE_THREE,)).establish()
    rekey(pair, pair.a)
    pair.drive(25 * NS_PER_MS)
    rekey_ike(pair, getattr(pair, side))
    pair.drive(60 * NS_PER_S)

    assert agreed(pair, 1)
    assert len(pair.a.all(IkeSaUp)) == len(pair.b.all(IkeSaUp)) == 2


# -- IKE SAs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [IKE_TWO, IKE_THREE])
@pytest.mark.parametrize("side", ["a", "b"])
def test_c57_ike_rekey_regular_multi_ke(side: str, suite: str) -> None:
    pair = pair_of(ike_suites=(suite,)).establish()
    children = dict(pair.a.children)
    rekey_ike(pair, getattr(pair, side))
    pair.drive(60 * NS_PER_S)

    assert pair.a.children == children
    assert sound(pair)
    assert single(pair.a).initiator is (side == "a")
    assert pair.a.last(IkeSaUp).proposal == suite


@pytest.mark.parametrize("side", ["a", "b"])
def test_c16_c57_ike_rekey_regular_ke_invalid_multi_ke(side: str) -> None:
    first, second = IKE_TWO, "aes128gcm16-prfsha256-modp2048-ke1_ecp521"
    pair = pair_of(ike_suites=(first,)).establish()
    asking, answering = (pair.a, pair.b) if side == "a" else (pair.b, pair.a)
    for end, suites in ((asking, (first, second)), (answering, (second,))):
        (sa,) = end.endpoint._ctx.sas.values()
        sa.connection = replace(sa.connection, proposals=ike(*suites))
    rekey_ike(pair, asking)
    pair.drive(60 * NS_PER_S)

    assert "HDR, SK {N(INVALID_KE_PAYLOAD)}" in answering.ladder
    assert asking.last(IkeSaUp).proposal == second
    assert sound(pair)


@pytest.mark.parametrize(("lowest", "kept"), LOWEST)
def test_c47_c57_ike_rekey_collision_multi_ke(lowest: str, kept: str) -> None:
    pair = pair_of(ike_suites=(IKE_THREE,)).establish()
    collide(pair, rekey_ike, lowest)
    pair.drive(60 * NS_PER_S)

    assert sound(pair)
    assert single(pair.a).initiator is (kept == "a")


@pytest.mark.parametrize("multi", ["a", "b"])
@pytest.mark.parametrize(("lowest", "kept"), LOWEST)
def test_c47_c57_ike_rekey_collision_mixed(lowest: str, kept: str, multi: str) -> None:
    pair = pair_mixed((ONE, ONE), multi, (IKE_ONE, IKE_TWO)).establish()
    collide(pair, rekey_ike, lowest)
    pair.drive(60 * NS_PER_S)

    assert sound(pair)
    assert single(pair.a).initiator is (kept == "a")


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("late", range(4))
@pytest.mark.parametrize("lowest", ["N1", "N2"])
@pytest.mark.parametrize("extra", [15, 25, 300])
def test_c57_ike_rekey_delayed_multi_ke(side: str, late: int, lowest: str, extra: int) -> None:
    pair = pair_of(ike_suites=(IKE_TWO,)).establish()
    pair.delay(extra * NS_PER_MS, side, after=late)
    collide(pair, rekey_ike, lowest)
    pair.drive(120 * NS_PER_S)

    assert sound(pair)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize("lowest", ["N1", "N2"])
def test_c57_ike_rekey_collision_multi_ke_with_one_message_lost(side: str, after: int, lowest: str) -> None:
    pair = pair_of(ike_suites=(IKE_TWO,)).establish()
    pair.drop(1, side, after=after)
    collide(pair, rekey_ike, lowest)
    pair.drive(200 * NS_PER_S)

    assert sound(pair)


@pytest.mark.parametrize("deleter", ["a", "b"])
@pytest.mark.parametrize("at", [5, 15, 25, 35])
def test_c51_c57_ike_rekey_delete_multi_ke(deleter: str, at: int) -> None:
    """Either side deletes the IKE SA while a rekeys it: nothing is left of it, nor of its successor."""
    pair = pair_of(ike_suites=(IKE_THREE,)).establish()
    rekey_ike(pair, pair.a)
    pair.drive(at * NS_PER_MS)
    pair.command(getattr(pair, deleter), lambda endpoint: endpoint.delete("rw", pair.now))
    pair.drive(120 * NS_PER_S)

    for end in (pair.a, pair.b):
        context = end.endpoint._ctx
        assert not context.sas
        assert not context.children
        assert not end.children
    assert {event.reason for event in pair.a.all(ChildSaDown)} <= {Reason.DELETED, Reason.DELETED_BY_PEER}


def test_c57_a_follow_up_of_another_method_than_agreed_is_refused() -> None:
    pair = pair_of(TWO).establish()
    (sa,) = pair.b.endpoint._ctx.sas.values()
    rekey(pair, pair.a)
    pair.drive(2 * pair.latency)
    (pending,) = sa.followups._pending.values()
    pending.methods = additional_exchanges(esp(THREE)[0])[1:]
    pair.drive(NS_PER_S)

    assert pair.b.last(IkeSaDown).reason is Reason.INVALID_SYNTAX
    assert not len(sa.followups)


def test_c57_no_link_to_the_next_key_exchange_is_an_error() -> None:
    """The responder's answer must say how to go on."""
    pair = pair_of(TWO).establish()
    (sa,) = pair.b.endpoint._ctx.sas.values()
    expect = sa.followups.expect
    sa.followups.expect = (  # type: ignore[method-assign]
        lambda pending, now: replace(expect(pending, now), type=NotifyType.ADDITIONAL_TS_POSSIBLE)
    )
    rekey(pair, pair.a)
    pair.drive(30 * NS_PER_S)

    assert "no link" in pair.a.last(RekeyFailed).text
    assert agreed(pair, 1)


# -- helpers -----------------------------------------------------------------------------------------------


def pair_of(
    a_suites: str | tuple[str, ...] = ONE,
    b_suites: str | tuple[str, ...] = (),
    *,
    ike_suites: tuple[str, ...] = (IKE_ONE,),
    b_ike_suites: tuple[str, ...] = (),
    children: tuple[str, ...] = ("net",),
    b_config: EndpointConfig | None = None,
) -> Pair:
    a_suites = (a_suites,) if isinstance(a_suites, str) else a_suites
    b_suites = (b_suites,) if isinstance(b_suites, str) else b_suites or a_suites
    ours = tuple(replace(NET_A, name=name, esp_proposals=esp(*a_suites)) for name in children)
    theirs = tuple(replace(NET_B, name=name, esp_proposals=esp(*b_suites)) for name in children)
    return Pair(
        replace(CONNECTION_A, children=ours, proposals=ike(*ike_suites)),
        replace(CONNECTION_B, children=theirs, proposals=ike(*(b_ike_suites or ike_suites))),
        b_config=b_config,
    )


def pair_mixed(suites: tuple[str, str], multi: str, ike_suites: tuple[str, str] = (IKE_ONE, IKE_ONE)) -> Pair:
    """The responder's order decides: the rekeyings of `multi` take more exchanges than the other's."""
    first, second = (suites, suites[::-1]), (ike_suites, ike_suites[::-1])
    ours, theirs = (0, 1) if multi == "a" else (1, 0)
    return pair_of(first[ours], first[theirs], ike_suites=second[ours], b_ike_suites=second[theirs])


def collide(pair: Pair, start: Start, lowest: str) -> None:
    """Both begin at once; draws are a request's nonce, then that of the answer to the other's request."""
    low = {name: LOW if name == lowest else HIGH for name in ("N1", "N2", "N3", "N4")}
    force_nonces(pair.a, low["N1"], low["N4"])
    force_nonces(pair.b, low["N2"], low["N3"])
    start(pair, pair.a)
    start(pair, pair.b)


def agreed(pair: Pair, count: int) -> bool:
    """Both ends have the same Child SAs with the same keys, and nothing waits any more."""
    ours = {(up.spi_in, up.keys_in, up.keys_out) for up in pair.a.children.values()}
    theirs = {(up.spi_out, up.keys_out, up.keys_in) for up in pair.b.children.values()}
    waiting = [len(sa.followups) for end in (pair.a, pair.b) for sa in end.endpoint._ctx.sas.values()]
    return paired(pair, count) and ours == theirs and not any(waiting)


def sound(pair: Pair) -> bool:
    """One IKE SA with one Child SA, the same at both ends; a liveness check shows that the keys are."""
    one, other = single(pair.a), single(pair.b)
    before = single(pair.a).received
    pair.command(pair.a, lambda end: end.check_liveness(one.ike_id, pair.now))
    pair.settle()
    heard = single(pair.a).received == before + 1
    return agreed(pair, 1) and nothing_left(pair) and heard and one.spi_i == other.spi_i
