"""AGGFRAG mode is agreed on with a Child SA (RFC 9347 5.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike import aggfrag
from sim.ike.config import ChildConfig
from sim.ike.constants import NotifyType
from sim.ike.events import ChildFailed, ChildSaUp, Reason
from sim.ike.payloads import NotifyPayload
from sim.wire.aggfrag import Requirement
from sim.wire.esp import Mode
from sim.wire.iptfs import Iptfs
from tests.ike.calm import check_calm
from tests.ike.meeting import sides
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET2_A, NET2_B, NET_A, NET_B, A, End, Pair
from tests.ike.test_child_notifies import ask_for
from tests.ike.test_rekey_child import rekey

AGGFRAG = "N(USE_AGGFRAG)"
WHOLE = Iptfs(accept_fragments=False)
CONTROLLED = Iptfs(congestion_control=True, l3_fixed_rate=10**6)


@pytest.mark.parametrize("exchange", ["IKE_AUTH", "CREATE_CHILD_SA"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_c94_both_sides_send_use_aggfrag_with_what_they_demand(side: str, exchange: str) -> None:
    """a -> b {N(USE_AGGFRAG), SA, ...}; a <- b {N(USE_AGGFRAG), SA, ...}."""
    pair = aggregating(WHOLE, CONTROLLED)
    asks, answers = sides(pair, side)
    initiate(pair, asks, "net")
    if exchange == "CREATE_CHILD_SA":
        initiate(pair, asks, "net2")
    check_calm(pair.calm())

    assert AGGFRAG in asks.ladder[-1]
    assert AGGFRAG in answers.ladder[-1]
    a, b = pair.a.last(ChildSaUp), pair.b.last(ChildSaUp)
    assert (a.mode, b.mode) == (Mode.IPTFS, Mode.IPTFS)
    assert a.aggfrag is Requirement.CONGESTION_CONTROL, "what b demands"
    assert b.aggfrag is Requirement.DONT_FRAGMENT, "what a demands"
    assert (a.iptfs, b.iptfs) == (WHOLE, CONTROLLED)


@pytest.mark.parametrize("who", ["a", "b"])
def test_c94_one_side_that_does_not_want_it_means_tunnel_mode(who: str) -> None:
    pair = aggregating(Iptfs() if who == "a" else None, Iptfs() if who == "b" else None)
    initiate(pair, pair.a, "net")
    check_calm(pair.calm())

    assert (AGGFRAG in pair.a.ladder[-1]) is (who == "a")
    assert AGGFRAG not in pair.b.ladder[-1]
    assert {end.last(ChildSaUp).mode for end in (pair.a, pair.b)} == {Mode.TUNNEL}


@pytest.mark.parametrize("who", ["a", "b"])
@pytest.mark.parametrize("agreed", [True, False])
def test_c94_a_successor_has_the_mode_of_its_predecessor(who: str, agreed: bool) -> None:
    """Rekeying keeps AGGFRAG mode, and does not begin to ask for it again where it was declined."""
    pair = aggregating(Iptfs(), WHOLE if agreed else None)
    initiate(pair, pair.a, "net")
    rekey(pair, pair.a if who == "a" else pair.b)
    check_calm(pair.calm())

    mode = Mode.IPTFS if agreed else Mode.TUNNEL
    for end in (pair.a, pair.b):
        assert [up.mode for up in end.all(ChildSaUp)] == [mode, mode]
    assert pair.a.last(ChildSaUp).aggfrag is (Requirement.DONT_FRAGMENT if agreed else Requirement.NONE)


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\x04", b"\x81"])
def test_c94_a_request_that_cannot_be_met_is_declined_by_silence(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9347 5.1: a requirement that is not understood must not be promised."""
    pair = aggregating(None, Iptfs())
    ask_for(NotifyPayload(NotifyType.USE_AGGFRAG, data), monkeypatch)
    initiate(pair, pair.a, "net")
    check_calm(pair.calm())

    assert AGGFRAG in pair.a.ladder[-1]
    assert AGGFRAG not in pair.b.ladder[-1]
    assert pair.b.last(ChildSaUp).mode is Mode.TUNNEL


def test_c94_it_is_never_combined_with_transport_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = aggregating(Iptfs(), Iptfs())
    ask_for(NotifyPayload(NotifyType.USE_TRANSPORT_MODE), monkeypatch)
    initiate(pair, pair.a, "net")
    check_calm(pair.calm())

    assert AGGFRAG not in pair.b.ladder[-1]
    assert pair.b.last(ChildSaUp).mode is Mode.TUNNEL


@pytest.mark.parametrize("data", [b"", b"\x04"])
def test_c94_an_answer_that_cannot_be_met_costs_the_child_sa(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer believes in AGGFRAG mode: it must delete what it has made (RFC 9347 5.1)."""
    pair = aggregating(Iptfs(), Iptfs())
    monkeypatch.setattr(aggfrag, "notify", lambda config: NotifyPayload(NotifyType.USE_AGGFRAG, data))
    monkeypatch.setattr(aggfrag, "agreed_mode", lambda mode, config, message: config.mode)
    refused(pair)


def test_c94_an_answer_nobody_asked_for_costs_the_child_sa(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = aggregating(None, Iptfs())
    monkeypatch.setattr(aggfrag, "agreed_mode", lambda mode, config, message: config.mode)
    refused(pair)


def refused(pair: Pair) -> None:
    initiate(pair, pair.a, "net")
    check_calm(pair.calm())
    failed = pair.a.last(ChildFailed)
    assert (failed.reason, "AGGFRAG" in failed.text) == (Reason.INVALID_SYNTAX, True)
    assert pair.a.children == pair.b.children == {}


def aggregating(a: Iptfs | None, b: Iptfs | None) -> Pair:
    """A pair of which each end wants AGGFRAG mode so, or not at all."""
    return Pair(
        replace(CONNECTION_A, children=children((NET_A, NET2_A), a)),
        replace(CONNECTION_B, children=children((NET_B, NET2_B), b), remote_addrs=(A,)),
    )


def children(configs: tuple[ChildConfig, ...], iptfs: Iptfs | None) -> tuple[ChildConfig, ...]:
    if iptfs is None:
        return configs
    return tuple(replace(config, mode=Mode.IPTFS, iptfs=iptfs) for config in configs)


def initiate(pair: Pair, end: End, child: str) -> None:
    pair.command(end, lambda endpoint: endpoint.initiate("rw", child, pair.now))
    pair.settle()
