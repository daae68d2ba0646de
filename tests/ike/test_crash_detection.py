"""Quick crash detection (RFC 6290): tokens in IKE_AUTH, and what they prove after a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import ConnectionConfig, StartAction
from sim.ike.constants import ExchangeType, Flags, NotifyType, ProtocolId
from sim.ike.context import Context
from sim.ike.events import IkeSaDown, IkeSaUp, Reason, Rejected
from sim.ike.message import NO_SPI, Header, Message, emit_message, parse_message
from sim.ike.payloads import NotifyPayload
from sim.ike.sa import IkeSa
from sim.ike.tasks.base import Job, Outgoing, Task
from sim.ike.view import SaView
from sim.units import NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, LATENCY, NET_A, A, B, End, NatBox, Pair
from tests.ike.test_eap import initiator, responder
from tests.ike.test_rekey_child import rekey_ike

RESTARTING = replace(NET_A, dpd_action=StartAction.START)
QCD_A = replace(CONNECTION_A, qcd=True, dpd_delay=30 * NS_PER_S, children=(RESTARTING,))
QCD_B = replace(CONNECTION_B, qcd=True)
TOKEN = "N(QUICK_CRASH_DETECTION)"


def test_rfc6290_4_2_both_pass_a_token_behind_auth_and_before_the_child_sa() -> None:
    pair = Pair(QCD_A, QCD_B).establish()
    asked, answered = pair.a.ladder[1], pair.b.ladder[1]
    for text, proof in ((asked, "AUTH"), (answered, "AUTH")):
        assert text.index(proof) < text.index(TOKEN) < text.index("SA", text.index(TOKEN))


def test_rfc6290_4_1_the_token_concerns_the_ike_sa_and_has_no_spi() -> None:
    pair = Pair(QCD_A, QCD_B).establish()
    tokens = [_known(end) for end in (pair.a, pair.b)]
    assert [len(token) for token in tokens] == [32, 32]
    assert tokens[0] != tokens[1]
    notify = _answer_to_stale(pair).notify(NotifyType.QUICK_CRASH_DETECTION)
    assert notify is not None
    assert (notify.protocol, notify.spi) == (ProtocolId.IKE, b"")


@pytest.mark.parametrize(("ours", "theirs"), [(True, False), (False, True), (False, False)])
def test_a_side_that_does_not_want_it_neither_gives_nor_takes_a_token(ours: bool, theirs: bool) -> None:
    pair = Pair(replace(QCD_A, qcd=ours), replace(QCD_B, qcd=theirs)).establish()
    assert (TOKEN in pair.a.ladder[1], TOKEN in pair.b.ladder[1]) == (ours, theirs)
    assert _known(pair.a) == _known(pair.b) == b""


def test_rfc6290_4_5_a_restart_is_noticed_with_the_first_answer() -> None:
    pair = _crashed(Pair(QCD_A, QCD_B))
    began = pair.now
    _check(pair)
    pair.settle()
    # a -> b  {}                                     b has forgotten the IKE SA
    # b -> a  N(INVALID_IKE_SPI), N(QUICK_CRASH_DETECTION)

    assert pair.a.last(IkeSaDown).reason is Reason.CRASH_DETECTED
    assert pair.a.times(IkeSaDown)[-1] - began == 2 * LATENCY
    assert pair.a.times(IkeSaUp)[-1] - began == 6 * LATENCY
    assert len(pair.a.children) == len(pair.b.children) == 1


def test_without_it_the_same_restart_takes_all_retransmissions() -> None:
    pair = _crashed(Pair(replace(QCD_A, qcd=False), replace(QCD_B, qcd=False)))
    began = pair.now
    _check(pair)
    pair.drive(400 * NS_PER_S)
    patience = sum(QCD_A.retransmit.delays)
    assert pair.a.last(IkeSaDown).reason is Reason.TIMEOUT
    assert pair.a.times(IkeSaDown)[-1] - began == patience
    assert pair.a.times(IkeSaUp)[-1] - began == patience + 4 * LATENCY


def test_rfc6290_5_the_secret_outlives_the_restart_but_not_the_host() -> None:
    pair = Pair(QCD_A, QCD_B).establish()
    pair.restart(pair.b, replace(pair.b.endpoint.config), "another host")
    _check(pair)
    pair.settle()
    assert not pair.a.all(IkeSaDown)
    assert pair.a.endpoint.counters["crash token refused"] == 1


def test_rfc6290_4_3_a_rekeyed_ike_sa_has_new_tokens() -> None:
    for side in ("a", "b"):
        pair = Pair(QCD_A, QCD_B).establish()
        before = [_known(end) for end in (pair.a, pair.b)]
        rekey_ike(pair, getattr(pair, side))
        pair.settle()
        after = [_known(end) for end in (pair.a, pair.b)]
        assert all(after)
        assert not set(before) & set(after)
        _crash(pair)
        _check(pair)
        pair.settle()
        assert pair.a.last(IkeSaDown).reason is Reason.CRASH_DETECTED


def test_rfc6290_4_2_with_eap_the_initiators_token_goes_first_and_the_responders_last() -> None:
    pair = Pair(replace(initiator(), qcd=True), replace(responder(), qcd=True)).establish()
    ours = [number for number, text in enumerate(pair.a.ladder) if TOKEN in text]
    theirs = [number for number, text in enumerate(pair.b.ladder) if TOKEN in text]
    assert ours == [1]
    assert theirs == [len(pair.b.ladder) - 1]
    assert _known(pair.a)
    assert _known(pair.b)


@pytest.mark.parametrize("kind", ["wrong", "short", "other"])
def test_rfc6290_4_5_a_wrong_token_changes_nothing(kind: str) -> None:
    pair = Pair(QCD_A, QCD_B).establish()
    good = _known(pair.a)
    token = {"wrong": bytes(32), "short": good[:16], "other": _known(pair.b)}[kind]
    _tell(pair, token)
    assert not pair.a.all(IkeSaDown)
    assert pair.a.last(Rejected).reason == "crash token refused"
    _tell(pair, good)
    assert pair.a.last(IkeSaDown).reason is Reason.CRASH_DETECTED


def test_the_right_token_may_be_one_of_several() -> None:
    pair = Pair(QCD_A, QCD_B).establish()
    _tell(pair, bytes(32), _known(pair.a))
    assert pair.a.last(IkeSaDown).reason is Reason.CRASH_DETECTED


@pytest.mark.parametrize("size", [0, 15, 129])
def test_rfc6290_5_a_token_of_a_wrong_size_is_none(size: int) -> None:
    pair = Pair(QCD_A, QCD_B).establish()
    kept = _known(pair.a)
    notify = NotifyPayload(NotifyType.QUICK_CRASH_DETECTION, bytes(size))
    (sa,) = _context(pair.b).sas.values()
    sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [Tell(notify)]), pair.now)
    pair.b.pump(pair.now)
    pair.settle()
    assert _known(pair.a) == kept


@pytest.mark.parametrize("from_initiator", [True, False])
@pytest.mark.parametrize("side", ["a", "b"])
def test_rfc6290_9_nobody_can_call_forth_the_token_of_a_living_ike_sa(
    side: str, from_initiator: bool
) -> None:
    """Whichever role a stranger claims: a token of a living SA would let her end it."""
    pair = Pair(QCD_A, QCD_B).establish()
    end: End = getattr(pair, side)
    token = _known(pair.b if side == "a" else pair.a)
    (sa,) = end.endpoint.sas
    for spis in ((sa.spi_i, sa.spi_r), (sa.spi_i, b"stranger"), (b"stranger", sa.spi_r)):
        flags = Flags.INITIATOR if from_initiator else 0
        data = emit_message(Header(*spis, ExchangeType.INFORMATIONAL, flags, 9), [])
        pair.inject(end, data, (b"\xcb\0\x71\x63", 500), (end.addresses[0], 500))
    assert token
    assert not any(token in octets for octets in pair.octets(side)[2:])


def test_rfc7296_2_21_4_answers_with_tokens_are_limited() -> None:
    pair = _crashed(Pair(QCD_A, QCD_B))
    before = len(pair.octets("b"))
    for number in range(100):
        spi_i = number.to_bytes(8, "big")
        data = emit_message(Header(b"i" + spi_i[1:], b"r" * 8, ExchangeType.INFORMATIONAL, 0x08, 0), [])
        pair.inject(pair.b, data, (A, 500), (B, 500))
    assert len(pair.octets("b")) - before == 10


def test_rfc7296_1_5_esp_after_a_restart_makes_the_sender_ask() -> None:
    """The hint is unauthenticated: it only leads to a question, whose answer has the token."""
    pair = _crashed(Pair(QCD_A, QCD_B))
    spi = next(iter(pair.a.children.values())).spi_out
    began = pair.now
    pair.b.endpoint.unknown_spi(spi, (A, 500), (B, 500), pair.now)
    pair.b.pump(pair.now)
    pair.settle()
    # b -> a  N(INVALID_SPI);  a -> b  {};  b -> a  N(INVALID_IKE_SPI), N(QUICK_CRASH_DETECTION)

    assert pair.a.times(IkeSaDown)[-1] - began == 3 * LATENCY
    assert pair.a.endpoint.counters["hints followed"] == 1


def test_a_flood_of_unknown_spis_leaves_room_for_the_token() -> None:
    pair = _crashed(Pair(QCD_A, QCD_B))
    before = len(pair.octets("b"))
    for spi in range(1000, 2000):
        pair.b.endpoint.unknown_spi(spi, (A, 500), (B, 500), pair.now)
    pair.b.pump(pair.now)
    assert len(pair.octets("b")) - before == 10
    _check(pair)
    pair.settle()
    assert pair.a.last(IkeSaDown).reason is Reason.CRASH_DETECTED


def test_rfc7296_2_4_a_hint_repeats_the_question_that_is_on_its_way() -> None:
    """The waits of the retransmission stay as they were."""
    pair = Pair(QCD_A, QCD_B).establish()
    pair.drop(1)
    asked_at = pair.now
    _check(pair)
    pair.drive(NS_PER_S)
    _crash(pair)
    _hint(pair, next(iter(pair.a.children.values())).spi_out, (B, 500))
    pair.settle()
    assert pair.a.times(IkeSaDown)[-1] - asked_at == NS_PER_S + 2 * LATENCY


def test_rfc6290_3_a_gateway_notices_the_restart_of_its_client_as_well() -> None:
    """Either side makes and takes tokens; who cannot call just forgets."""
    pair = Pair(QCD_A, QCD_B).establish()
    spi = next(iter(pair.b.children.values())).spi_out
    pair.command(pair.a, lambda endpoint: endpoint.crash(pair.now))
    pair.command(pair.a, lambda endpoint: endpoint.unknown_spi(spi, (B, 500), (A, 500), pair.now))
    pair.settle()
    assert pair.b.last(IkeSaDown).reason is Reason.CRASH_DETECTED
    assert not pair.b.children


def test_rfc7296_2_4_hints_make_few_questions_and_end_nothing() -> None:
    pair = Pair(QCD_A, QCD_B).establish()
    spi = next(iter(pair.a.children.values())).spi_out
    before = len(pair.octets("a"))
    for _ in range(20):
        _hint(pair, spi, (B, 500))
        pair.settle()
    assert len(pair.octets("a")) - before == 1
    assert not pair.a.all(IkeSaDown)


def test_a_hint_from_elsewhere_or_about_nothing_is_only_counted() -> None:
    pair = Pair(QCD_A, QCD_B).establish()
    before = len(pair.octets("a"))
    spi = next(iter(pair.a.children.values())).spi_out
    _hint(pair, spi, (b"\xcb\0\x71\x63", 500))
    _hint(pair, spi ^ 1, (B, 500))
    assert len(pair.octets("a")) == before
    assert pair.a.endpoint.counters["invalid SPI told"] == 2


def test_without_crash_detection_no_spi_is_told() -> None:
    pair = Pair().establish()
    before = len(pair.octets("b"))
    pair.b.endpoint.unknown_spi(7, (A, 500), (B, 500), pair.now)
    pair.b.pump(pair.now)
    assert len(pair.octets("b")) == before


def test_rfc6290_5_1_the_token_holds_after_a_move() -> None:
    """It is bound to SPIs, not to addresses, so that MOBIKE needs no new one."""
    pair = Pair(QCD_A, QCD_B)
    NatBox(pair)
    pair.establish()
    pair.a_addr = b"\xc0\0\2\x63"
    pair.settle()
    _crash(pair)
    _check(pair)
    pair.settle()
    assert pair.a.last(IkeSaDown).reason is Reason.CRASH_DETECTED


def test_the_sides_are_as_before_where_nobody_asks_for_it() -> None:
    assert ConnectionConfig("x", b"", ()).qcd is False
    assert TOKEN not in "".join(Pair().establish().a.ladder)


class Tell(Task):
    """Say something in an exchange of its own."""

    def __init__(self, notify: NotifyPayload) -> None:
        self._notify = notify

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(self._notify)


def _crashed(pair: Pair) -> Pair:
    pair.establish()
    _crash(pair)
    return pair


def _crash(pair: Pair) -> None:
    pair.command(pair.b, lambda endpoint: endpoint.crash(pair.now))


def _check(pair: Pair) -> None:
    (sa,) = _up(pair.a)
    pair.command(pair.a, lambda endpoint: endpoint.check_liveness(sa.ike_id, pair.now))


def _up(end: End) -> list[SaView]:
    return [sa for sa in end.endpoint.sas if sa.state == "established"]


def _context(end: End) -> Context:
    return end.endpoint._ctx


def _known(end: End) -> bytes:
    """The peer's token."""
    up = [sa for sa in _context(end).sas.values() if sa.state.value == "established"]
    return up[-1].alternatives.crash_token


def _tell(pair: Pair, *tokens: bytes) -> None:
    """Somebody claims that the responder has lost the IKE SA."""
    (sa,) = _up(pair.a)
    header = Header(sa.spi_i, sa.spi_r, ExchangeType.INFORMATIONAL, Flags.RESPONSE, 2)
    shown = [NotifyPayload(NotifyType.QUICK_CRASH_DETECTION, token, ProtocolId.IKE) for token in tokens]
    data = emit_message(header, [NotifyPayload(NotifyType.INVALID_IKE_SPI), *shown])
    marker = bytes(0 if sa.remote[1] == 500 else 4)
    pair.inject(pair.a, marker + data, sa.remote, sa.local)


def _hint(pair: Pair, spi: int, src: tuple[bytes, int]) -> None:
    payload = NotifyPayload(NotifyType.INVALID_SPI, spi.to_bytes(4, "big"))
    header = Header(NO_SPI, NO_SPI, ExchangeType.INFORMATIONAL, Flags.INITIATOR, 0)
    pair.inject(pair.a, emit_message(header, [payload]), src, (A, 500))


def _answer_to_stale(pair: Pair) -> Message:
    _crash(pair)
    _check(pair)
    pair.settle()
    said = [parse_message(octets) for octets in pair.octets("b")]
    return next(one for one in said if one.notify(NotifyType.INVALID_IKE_SPI) is not None)
