"""Several Child SAs with the same selectors, one for each CPU (RFC 9611)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sim.ike.config import EndpointConfig, PerCpuSas, StartAction
from sim.ike.constants import NotifyType
from sim.ike.errors import PeerError
from sim.ike.events import ChildFailed, ChildSaDown, ChildSaUp, Reason, ResourceRefused
from sim.ike.payloads import NotifyPayload
from sim.ike.tasks import child_respond
from sim.units import NS_PER_S
from sim.wire.resource import ALL, Share
from tests.ike.calm import check_calm
from tests.ike.meeting import sides
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET_A, NET_B, A, End, Pair
from tests.ike.test_rekey_child import rekey

RESOURCE = "N(SA_RESOURCE_INFO)"


@pytest.mark.parametrize("side", ["a", "b"])
def test_the_first_child_sa_is_for_all_and_says_that_more_may_follow(side: str) -> None:
    pair = shared()
    asks, answers = sides(pair, side)
    pair.command(asks, lambda end: end.initiate("rw", "net", pair.now))
    check_calm(pair.calm())

    assert RESOURCE in asks.ladder[-1]
    assert RESOURCE in answers.ladder[-1]
    assert pair.a.last(ChildSaUp).share == Share(4, asks=True)
    assert pair.b.last(ChildSaUp).share == Share(2)


def test_a_cpu_gets_a_child_sa_of_its_own_beside_the_one_for_all() -> None:
    """a -> b {N(SA_RESOURCE_INFO), SA, Ni, TSi, TSr}; a <- b {N(SA_RESOURCE_INFO), SA, Nr, TSi, TSr}."""
    pair = shared().establish()
    first = pair.a.last(ChildSaUp)
    add(pair, pair.a, 3)
    check_calm(pair.calm())

    new = pair.a.last(ChildSaUp)
    assert len(pair.a.children) == len(pair.b.children) == 2
    assert (new.local_ts, new.remote_ts, new.mode) == (first.local_ts, first.remote_ts, first.mode)
    assert (new.share, new.replaces) == (Share(4, 3, asks=True), 0)
    assert RESOURCE in pair.a.ladder[-1]
    assert RESOURCE in pair.b.ladder[-1]


@pytest.mark.parametrize("cpus", [1, 2, 3])
def test_a_responder_spreads_them_over_its_own_cpus_the_highest_first(cpus: int) -> None:
    pair = shared(b_cpus=cpus).establish()
    for cpu in range(2 * cpus):
        add(pair, pair.a, cpu)
    shares = [up.share.cpu for up in pair.b.all(ChildSaUp) if up.share is not None]
    assert shares == [ALL, *(2 * list(reversed(range(cpus))))]


def test_beyond_two_for_each_of_its_cpus_a_responder_refuses_and_all_else_goes_on() -> None:
    """TS_MAX_QUEUE: the CPU goes on with the Child SA for all, and nobody's connection has failed."""
    pair = shared(b_cpus=1).establish()
    for cpu in range(3):
        add(pair, pair.a, cpu)
    check_calm(pair.calm())

    assert "N(TS_MAX_QUEUE)" in pair.b.ladder[-1]
    ours, theirs = pair.a.last(ResourceRefused), pair.b.last(ResourceRefused)
    assert (ours.cpu, ours.initiator, ours.reason) == (2, True, Reason.TS_MAX_QUEUE)
    assert (theirs.cpu, theirs.initiator, theirs.reason) == (ALL, False, Reason.TS_MAX_QUEUE)
    assert "2 Child SAs for 1 CPUs" in theirs.text
    assert len(pair.a.children) == 3
    assert not pair.a.all(ChildFailed)
    assert not pair.b.all(ChildFailed)


def test_a_deleted_one_makes_room_for_another() -> None:
    pair = shared(b_cpus=1).establish()
    for cpu in range(2):
        add(pair, pair.a, cpu)
    spi = bound(pair.a)[0]
    pair.command(pair.b, lambda end: end.delete_child(pair.a.children[spi].spi_out, pair.now))
    pair.settle()
    add(pair, pair.a, 2)
    check_calm(pair.calm())
    assert not pair.a.all(ResourceRefused)
    assert len(pair.a.children) == 3


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("cpu", [ALL, 2])
def test_a_successor_keeps_the_part_of_its_predecessor_without_a_word(side: str, cpu: int) -> None:
    pair = shared().establish()
    add(pair, pair.a, 2)
    old = next(up for up in pair.a.children.values() if up.share is not None and up.share.cpu == cpu)
    spi = old.spi_in if side == "a" else old.spi_out
    before = {up.spi_in: up.share for end in (pair.a, pair.b) for up in end.children.values()}
    pair.command(getattr(pair, side), lambda end: end.rekey(spi, pair.now))
    pair.settle()
    check_calm(pair.calm())

    assert not any(RESOURCE in line for line in pair.a.ladder[-2:] + pair.b.ladder[-2:] if "REKEY_SA" in line)
    for end in (pair.a, pair.b):
        new = end.last(ChildSaUp)
        assert new.share == before[new.replaces]
    assert len(pair.a.children) == 2


@pytest.mark.parametrize("who", ["a", "b"])
def test_one_end_that_does_not_want_it_is_enough(who: str) -> None:
    no = PerCpuSas.NO
    pair = (shared(a_wants=no) if who == "a" else shared(b_wants=no)).establish()
    check_calm(pair.calm())
    assert (RESOURCE in pair.a.ladder[-1]) is (who == "b")
    assert RESOURCE not in pair.b.ladder[-1]
    assert pair.a.last(ChildSaUp).share is None
    assert pair.b.last(ChildSaUp).share is None


def test_a_start_action_of_none_never_asks_but_answers() -> None:
    pair = shared().establish()
    share = pair.b.last(ChildSaUp).share
    assert share is not None
    assert not share.asks
    add(pair, pair.b, 0)  # its user may
    assert len(pair.b.children) == 2


def test_after_a_temporary_failure_it_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = shared().establish()
    with monkeypatch.context() as patch:
        patch.setattr(child_respond, "check_child_may_change", busy)
        add(pair, pair.a, 1)
    assert pair.a.last(ResourceRefused).reason is Reason.TEMPORARY_FAILURE
    pair.drive(20 * NS_PER_S)
    check_calm(pair.calm())
    assert len(pair.a.children) == 2


def test_a_cpu_waits_in_vain_if_the_common_one_goes_first() -> None:
    pair = shared().establish()
    spi = pair.a.last(ChildSaUp).spi_in

    def both(end: Any) -> None:
        end.delete_child(spi, pair.now)
        end.add_resource(spi, 1, pair.now)

    pair.command(pair.a, both)
    check_calm(pair.calm())
    assert not pair.a.children


def test_who_closes_one_of_a_cpu_gets_no_new_one_by_close_action() -> None:
    """The Child SA for all is there: a packet of the CPU asks again."""
    pair = shared(close_action=StartAction.START).establish()
    add(pair, pair.a, 1)
    spi = bound(pair.a)[0]
    twin = pair.a.children[spi].spi_out
    pair.command(pair.b, lambda end: end.delete_child(twin, pair.now))
    check_calm(pair.calm())
    assert len(pair.a.children) == 1
    assert pair.a.last(ChildSaDown).reason is Reason.DELETED_BY_PEER


def test_reauthentication_takes_the_one_for_all_along_and_asks_for_the_others_later() -> None:
    pair = shared().establish()
    add(pair, pair.a, 1)
    pair.command(pair.a, lambda end: end.reauthenticate(1, pair.now))
    check_calm(pair.calm())
    assert [up.share for up in pair.a.children.values()] == [Share(4, asks=True)]


def test_an_ike_sa_that_is_rekeyed_keeps_all_of_them() -> None:
    pair = shared().establish()
    add(pair, pair.a, 1)
    pair.command(pair.a, lambda end: end.rekey_ike(1, pair.now))
    pair.settle()
    add(pair, pair.a, 2)
    check_calm(pair.calm())
    assert sorted(up.share.cpu for up in pair.a.children.values() if up.share) == [ALL, 1, 2]


def test_the_one_for_all_is_missed_though_others_are_there() -> None:
    """A packet without an SA asks for the one for all; those of other CPUs are no answer."""
    pair = shared().establish()
    spi = pair.a.last(ChildSaUp).spi_in
    add(pair, pair.a, 1)
    pair.command(pair.a, lambda end: end.delete_child(spi, pair.now))
    pair.settle()
    pair.command(pair.a, lambda end: end.initiate("rw", "net", pair.now))
    check_calm(pair.calm())
    assert sorted(up.share.cpu for up in pair.a.children.values() if up.share) == [ALL, 1]


def test_an_answer_without_the_notification_makes_an_ordinary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that knows of no resources after all."""
    pair = shared().establish()
    monkeypatch.setattr(child_respond.RespondChild, "_share", lambda self, sa, terms, message: None)
    add(pair, pair.a, 1)
    check_calm(pair.calm())
    assert pair.a.last(ChildSaUp).share is None


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x07", b"queue seven"])
def test_a_resource_may_have_any_name(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = shared().establish()
    told = NotifyPayload(NotifyType.SA_RESOURCE_INFO, data)
    monkeypatch.setattr("sim.ike.resource.notify", lambda octets: told)
    add(pair, pair.a, 1)
    check_calm(pair.calm())
    assert pair.b.last(ChildSaUp).share == Share(2, 1)


def test_rekeying_one_of_many_at_once_from_both_ends() -> None:
    pair = shared().establish()
    add(pair, pair.a, 1)
    for end in (pair.a, pair.b):
        rekey(pair, end)
    check_calm(pair.calm())
    assert len(pair.a.children) == 2


# -- helpers ---------------------------------------------------------------------------------------------


def shared(
    *,
    b_cpus: int = 2,
    a_wants: PerCpuSas = PerCpuSas.YES,
    b_wants: PerCpuSas = PerCpuSas.YES,
    **settings: Any,
) -> Pair:
    """A has four CPUs and may ask, B has two and answers."""
    child_a = replace(NET_A, per_cpu_sas=a_wants, start=StartAction.TRAP, **settings)
    child_b = replace(NET_B, per_cpu_sas=b_wants)
    a = replace(CONNECTION_A, children=(child_a,))
    b = replace(CONNECTION_B, children=(child_b,), remote_addrs=(A,))
    return Pair(a, b, a_config=EndpointConfig(cpus=4), b_config=EndpointConfig(cpus=b_cpus))


def add(pair: Pair, end: End, cpu: int) -> None:
    """A packet of this CPU has used the Child SA for all."""
    common = next(up.spi_in for up in end.children.values() if up.share is not None and not up.share.is_bound)
    pair.command(end, lambda endpoint: endpoint.add_resource(common, cpu, pair.now))
    pair.settle()


def bound(end: End) -> list[int]:
    return [up.spi_in for up in end.children.values() if up.share is not None and up.share.is_bound]


def busy(sa: object) -> None:
    raise PeerError(NotifyType.TEMPORARY_FAILURE, "busy")
