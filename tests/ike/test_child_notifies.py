"""Notifications in the making of Child SAs: heeded, or declined by silence (RFC 7296 1.3, 1.3.1, 2.22)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.constants import NotifyType
from sim.ike.errors import PeerError
from sim.ike.events import ChildFailed, ChildSaUp, IkeSaDown, IkeSaUp, Reason, RekeyFailed
from sim.ike.payloads import NotifyPayload
from sim.ike.sa import IkeSa
from sim.ike.tasks import child_respond
from sim.ike.tasks.base import Outgoing
from sim.ike.tasks.child_initiate import InitiateChild
from sim.ike.tasks.child_respond import RespondChild
from sim.wire.esp import Mode
from sim.wire.handling import TO_MTU, Handling
from tests.ike.calm import check_calm
from tests.ike.meeting import sides
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET_A, NET_B, A, Pair
from tests.ike.test_rekey_child import pair_of_two, rekey

IPCOMP = NotifyPayload(NotifyType.IPCOMP_SUPPORTED, b"\x12\x34\x02")  # CPI, DEFLATE
FRAGMENTS = NotifyPayload(NotifyType.NON_FIRST_FRAGMENTS_ALSO)
NO_TFC = NotifyPayload(NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED)


@pytest.mark.parametrize("make_before_break", [False, True])
def test_c53_a_peer_without_room_for_a_successor_gets_a_new_ike_sa(
    make_before_break: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_ADDITIONAL_SAS: old ones are deleted and made anew, which needs no CREATE_CHILD_SA (1.3, 4)."""
    pair = Pair(replace(CONNECTION_A, make_before_break=make_before_break)).establish()
    monkeypatch.setattr(child_respond, "check_child_may_change", no_room)
    rekey(pair, pair.a)
    check_calm(pair.calm())

    assert pair.a.last(RekeyFailed).reason is Reason.NO_ADDITIONAL_SAS
    assert [e.reason for e in pair.a.all(IkeSaDown)] == [Reason.REAUTHENTICATED]
    assert len(pair.a.all(IkeSaUp)) == 2
    assert len(pair.a.children) == 1


def test_c53_who_cannot_call_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A responder could not make the IKE SA anew."""
    pair = Pair().establish()
    monkeypatch.setattr(child_respond, "check_child_may_change", no_room)
    rekey(pair, pair.b)
    check_calm(pair.calm())

    assert pair.b.last(RekeyFailed).reason is Reason.NO_ADDITIONAL_SAS
    assert not pair.a.all(IkeSaDown)
    assert len(pair.a.children) == 1


def test_c53_no_room_for_one_more_child_leaves_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = pair_of_two().establish()
    monkeypatch.setattr(child_respond, "check_child_may_change", no_room)
    pair.command(pair.a, lambda end: end.initiate("rw", "net2", pair.now))
    check_calm(pair.calm())

    assert pair.a.last(ChildFailed).reason is Reason.NO_ADDITIONAL_SAS
    assert len(pair.a.children) == 1


@pytest.mark.parametrize("side", ["a", "b"])
def test_c54_transport_mode_says_that_tfc_padding_is_not_supported(side: str) -> None:
    """Only tunnel mode can cut padding off, as an inner IP header tells its length (RFC 4303 2.7)."""
    transport = replace(NET_A, mode=Mode.TRANSPORT, local_ts=(), remote_ts=())
    pair = Pair(
        replace(CONNECTION_A, children=(transport,)),
        replace(CONNECTION_B, children=(transport,), remote_addrs=(A,)),
    )
    asks, answers = sides(pair, side)
    pair.command(asks, lambda end: end.initiate("rw", "net", pair.now))
    check_calm(pair.calm())

    assert pair.a.last(ChildSaUp).mode is Mode.TRANSPORT
    for end in (asks, answers):
        assert "N(ESP_TFC_PADDING_NOT_SUPPORTED)" in end.ladder[1]


@pytest.mark.parametrize("asked", ["a", "b", ""])
@pytest.mark.parametrize("refuses", ["asks", "answers", "both", "nobody"])
def test_c54_only_who_was_told_that_padding_is_not_supported_sends_none(
    asked: str, refuses: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 7296 1.3.1: the other direction may be padded all the same; after rekeyings as well."""
    padded = replace(NET_A, handling=Handling(tfc_padding=TO_MTU))
    mirrored = replace(NET_B, handling=Handling(tfc_padding=1000))
    pair = Pair(replace(CONNECTION_A, children=(padded,)), replace(CONNECTION_B, children=(mirrored,)))
    if refuses in ("asks", "both"):
        ask_for(NO_TFC, monkeypatch)
    if refuses in ("answers", "both"):
        answer_with(NO_TFC, monkeypatch)
    pair.establish()
    asker, answerer = (pair.b, pair.a) if asked == "b" else (pair.a, pair.b)
    if asked:
        rekey(pair, asker)
        check_calm(pair.calm())

    own, others = asker.last(ChildSaUp).handling, answerer.last(ChildSaUp).handling
    wanted = {pair.a: TO_MTU, pair.b: 1000}
    assert own.tfc_padding == (0 if refuses in ("answers", "both") else wanted[asker])
    assert others.tfc_padding == (0 if refuses in ("asks", "both") else wanted[answerer])


@pytest.mark.parametrize("exchange", ["IKE_AUTH", "CREATE_CHILD_SA"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_c55_ipcomp_is_declined_by_silence(side: str, exchange: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without IPCOMP_SUPPORTED in the answer nothing is compressed (RFC 7296 2.22)."""
    check_declined(side, exchange, IPCOMP, monkeypatch)


@pytest.mark.parametrize("notify", [FRAGMENTS, NO_TFC])
@pytest.mark.parametrize("exchange", ["IKE_AUTH", "CREATE_CHILD_SA"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_c54_no_rule_for_later_fragments_and_no_tfc_padding(
    side: str, exchange: str, notify: NotifyPayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not echoed is not in use: we take padding in tunnel mode even from a peer that takes none."""
    check_declined(side, exchange, notify, monkeypatch)


# -- helpers ---------------------------------------------------------------------------------------------


def check_declined(side: str, exchange: str, notify: NotifyPayload, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Child SA comes up, and the answer does not have the request's notification."""
    base = pair_of_two()
    a, b = (end.endpoint.config.connections[0] for end in (base.a, base.b))
    pair = Pair(a, replace(b, remote_addrs=(A,)))
    asks, answers = sides(pair, side)
    name = "net"
    if exchange == "CREATE_CHILD_SA":
        pair.command(asks, lambda end: end.initiate("rw", "net", pair.now))
        pair.settle()
        name = "net2"
    ask_for(notify, monkeypatch)
    pair.command(asks, lambda end: end.initiate("rw", name, pair.now))
    check_calm(pair.calm())

    word = f"N({NotifyType(notify.type).name})"
    assert word in asks.ladder[-1]
    assert word not in answers.ladder[-1]
    assert asks.last(ChildSaUp).child == name


def no_room(sa: IkeSa) -> None:
    raise PeerError(NotifyType.NO_ADDITIONAL_SAS, "there is no room for more Child SAs")


def ask_for(notify: NotifyPayload, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on requests for Child SAs hold this notification."""
    build = InitiateChild.build

    def built(self: InitiateChild, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(notify)
        build(self, sa, out, now)

    monkeypatch.setattr(InitiateChild, "build", built)


def answer_with(notify: NotifyPayload, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on answers that make Child SAs hold this notification."""
    build = RespondChild.build

    def built(self: RespondChild, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(notify)
        build(self, sa, out, now)

    monkeypatch.setattr(RespondChild, "build", built)
