"""Redirection to another gateway (RFC 5685): at IKE_SA_INIT, in IKE_AUTH, and while an IKE SA is up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import EndpointConfig, RedirectWhen
from sim.ike.constants import ExchangeType, Flags, NotifyType
from sim.ike.events import ChildSaUp, IkeSaDown, IkeSaUp, Reason, Rejected
from sim.ike.message import Header, emit_message, parse_message
from sim.ike.payloads import EapPayload, NoncePayload, NotifyPayload
from sim.ike.redirect import Gateway, redirect_payload
from sim.ike.sa import IkeSa
from sim.ike.tasks.base import Outgoing
from sim.ike.tasks.eap import RespondEap
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from sim.wire.buffer import WireError
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET2_A, NET2_B, NET_A, NET_B, A, B, Pair
from tests.ike.test_eap import initiator, responder

SUN = pack_address("198.51.100.2")
"""The other gateway: the same endpoint, which has both addresses."""
CLIENT = replace(CONNECTION_A, follow_redirects=True)
AT_INIT = replace(CONNECTION_B, redirect_to=SUN, redirect_when=RedirectWhen.INIT)
AT_AUTH = replace(CONNECTION_B, redirect_to=SUN)


class Pairs(Pair):
    """Both gateways are `b`: whatever comes to the second address is served."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.set_addresses(self.b, [B, SUN])


def test_rfc5685_3_at_init_the_gateway_keeps_no_state() -> None:
    pair = Pairs(CLIENT, AT_INIT)
    pair.initiate()
    pair.settle()
    # a -> moon  SAi1, KEi, Ni, N(REDIRECT_SUPPORTED);  moon -> a  N(REDIRECT)
    # a -> sun   SAi1, KEi, Ni, N(REDIRECTED_FROM) ...

    assert "N(REDIRECT_SUPPORTED)" in pair.a.ladder[0]
    assert pair.b.ladder[0] == "HDR, N(REDIRECT)"
    assert "N(REDIRECTED_FROM)" in pair.a.ladder[1]
    assert "N(REDIRECT_SUPPORTED)" not in pair.a.ladder[1]
    assert pair.a.last(IkeSaUp).remote[0] == pair.b.last(IkeSaUp).local[0] == SUN
    assert pair.a.last(IkeSaDown).reason is Reason.REDIRECTED
    assert not pair.b.all(IkeSaDown)
    assert len(pair.b.endpoint.sas) == 1


def test_rfc5685_3_the_answer_brings_back_the_nonce_of_the_request() -> None:
    pair = Pairs(CLIENT, AT_INIT)
    pair.initiate()
    pair.settle()
    asked, answered = (parse_message(pair.octets(side)[0]) for side in ("a", "b"))
    nonce, notify = asked.find(NoncePayload), answered.notify(NotifyType.REDIRECT)
    assert nonce is not None
    assert notify is not None
    assert notify.data == b"\x01\x04" + SUN + nonce.data
    told = parse_message(pair.octets("a")[1]).notify(NotifyType.REDIRECTED_FROM)
    assert told is not None
    assert told.data == b"\x01\x04" + B


def test_rfc5685_3_without_the_nonce_nobody_sends_us_away() -> None:
    pair = Pairs(CLIENT, CONNECTION_B)
    pair.drop(1, "b")
    pair.initiate()
    pair.settle()
    _forge(pair, Gateway(SUN, bytes(32)).emit())
    assert pair.a.last(Rejected).reason == "malformed message"
    pair.drive(10 * NS_PER_S)
    assert pair.a.last(IkeSaUp).remote[0] == B


@pytest.mark.parametrize("when", list(RedirectWhen))
def test_rfc5685_3_who_has_not_said_so_is_not_sent(when: RedirectWhen) -> None:
    pair = Pairs(CONNECTION_A, replace(AT_AUTH, redirect_when=when)).establish()
    assert pair.a.last(IkeSaUp).remote[0] == B
    assert "REDIRECT" not in "".join(pair.a.ladder + pair.b.ladder)


def test_who_follows_none_ignores_a_redirection_that_comes_all_the_same() -> None:
    pair = Pairs(CONNECTION_A, CONNECTION_B)
    pair.drop(1, "b")
    pair.initiate()
    pair.settle()
    nonce = parse_message(pair.octets("a")[0]).find(NoncePayload)
    assert nonce is not None
    _forge(pair, Gateway(SUN, nonce.data).emit())
    assert pair.a.last(Rejected).reason == "malformed message"
    pair.drive(10 * NS_PER_S)
    assert pair.a.last(IkeSaUp).remote[0] == B


def test_rfc5685_4_in_ike_auth_the_gateway_proves_itself_and_makes_no_child_sa() -> None:
    pair = Pairs(CLIENT, AT_AUTH)
    pair.initiate()
    pair.settle()
    # a -> moon  IDi, AUTH, SAi2, TSi, TSr;  moon -> a  IDr, AUTH, N(REDIRECT);  a -> moon  D

    assert "IDr, AUTH" in pair.b.ladder[1]
    assert "N(REDIRECT)" in pair.b.ladder[1]
    assert "SAr2" not in pair.b.ladder[1]
    assert "HDR, SK {D}" in pair.a.ladder
    assert [event.local[0] for event in pair.b.all(IkeSaUp)] == [B, SUN]
    assert [event.remote[0] for event in pair.a.all(IkeSaUp)] == [SUN]
    assert len(pair.a.all(ChildSaUp)) == len(pair.b.all(ChildSaUp)) == 1
    assert pair.a.last(IkeSaDown).reason is Reason.REDIRECTED
    assert pair.b.last(IkeSaDown).reason is Reason.DELETED_BY_PEER
    pair.drive(100 * NS_PER_S)
    assert len(pair.b.all(IkeSaDown)) == 1


def test_rfc5685_4_a_redirection_by_who_does_not_prove_itself_counts_for_nothing() -> None:
    pair = Pairs(CLIENT, replace(AT_AUTH, psk=b"another secret"))
    pair.initiate()
    pair.settle()
    assert pair.a.last(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED
    assert not pair.a.all(IkeSaUp)


def test_rfc5685_4_with_eap_the_last_answer_redirects() -> None:
    a, b = replace(initiator(), follow_redirects=True), replace(responder(), redirect_to=SUN)
    pair = Pairs(a, b)
    pair.initiate()
    pair.settle()
    assert [event.remote[0] for event in pair.a.all(IkeSaUp)] == [SUN]
    assert len(pair.a.all(ChildSaUp)) == 1


def test_rfc5685_4_with_eap_the_first_answer_may_redirect_too() -> None:
    """The gateway has proved itself in it; EAP does not take place."""
    a, b = replace(initiator(), follow_redirects=True), responder()
    pair = Pairs(a, b)
    original = RespondEap.build

    def build(task: RespondEap, sa: IkeSa, out: Outgoing, now: int) -> None:
        original(task, sa, out, now)
        if sa.path.local[0] == B:
            out.payloads = [one for one in out.payloads if not isinstance(one, EapPayload)]
            out.add(redirect_payload(SUN))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RespondEap, "build", build)
        pair.initiate()
        pair.settle()
    assert [event.remote[0] for event in pair.a.all(IkeSaUp)] == [SUN]
    assert pair.a.last(IkeSaDown).reason is Reason.REDIRECTED


def test_rfc5685_4_who_does_not_go_is_deleted_after_a_while() -> None:
    pair = Pairs(CLIENT, AT_AUTH)
    pair.drop(1, "a", after=2)  # its Delete, which it repeats
    pair.rewrite = lambda datagram: None if pair.now and pair.b.all(IkeSaUp) else datagram
    pair.initiate()
    pair.settle()
    pair.drive(31 * NS_PER_S)
    assert pair.b.last(IkeSaDown).reason is Reason.REDIRECTED


def test_rfc5685_5_a_gateway_sends_the_clients_that_it_has() -> None:
    pair = Pairs(CLIENT, CONNECTION_B).establish()
    old = dict(pair.a.children)
    assert pair.b.endpoint.redirect("rw", SUN, pair.now) == 1
    pair.b.pump(pair.now)
    pair.settle()
    # moon -> a  N(REDIRECT);  a -> moon  {};  a -> sun  all anew;  a -> moon  D

    assert pair.b.ladder[2] == "HDR, SK {N(REDIRECT)}"
    assert [event.remote[0] for event in pair.a.all(IkeSaUp)] == [B, SUN]
    assert len(pair.a.children) == len(pair.b.children) == 1
    assert not set(pair.a.children) & set(old)
    up, down = pair.a.times(IkeSaUp)[-1], pair.a.times(IkeSaDown)[-1]
    assert up <= down, "the new gateway serves it before the old one goes"
    assert pair.a.last(IkeSaDown).reason is Reason.REDIRECTED
    pair.drive(100 * NS_PER_S)
    assert len(pair.b.all(IkeSaDown)) == 1


def test_rfc5685_5_a_client_that_cannot_go_is_not_told() -> None:
    pair = Pairs(CONNECTION_A, CONNECTION_B).establish()
    assert pair.b.endpoint.redirect("rw", SUN, pair.now) == 0
    assert pair.a.endpoint.redirect("rw", SUN, pair.now) == 0, "and no client sends its gateway away"


def test_rfc5685_5_the_old_gateway_serves_on_where_the_new_one_does_not_answer() -> None:
    nowhere = pack_address("198.51.100.77")
    pair = Pairs(CLIENT, CONNECTION_B).establish()
    _send_on(pair, nowhere)
    pair.drive(20 * NS_PER_S)
    assert len(pair.a.children) == 1
    pair.drive(20 * NS_PER_S)
    assert pair.b.last(IkeSaDown).reason is Reason.REDIRECTED


def test_after_a_rekeying_the_gateway_can_still_send_it() -> None:
    pair = Pairs(CLIENT, CONNECTION_B).establish()
    (sa,) = pair.b.endpoint.sas
    pair.command(pair.b, lambda endpoint: endpoint.rekey_ike(sa.ike_id, pair.now))
    pair.settle()
    assert pair.b.endpoint.redirect("rw", SUN, pair.now) == 1
    pair.b.pump(pair.now)
    pair.settle()
    assert pair.a.last(IkeSaUp).remote[0] == SUN


def test_rfc5685_6_five_redirections_are_followed_and_no_more() -> None:
    """Two gateways that send their clients to each other."""

    there = replace(AT_INIT, local_addrs=(B,))
    back = replace(AT_INIT, name="back", local_addrs=(SUN,), redirect_to=B)
    pair = Pairs(CLIENT, AT_INIT)
    pair.restart(pair.b, EndpointConfig((there, back)))
    pair.initiate()
    pair.settle()
    assert sum("REDIRECT" in text for text in pair.a.ladder) == 6
    assert pair.a.last(IkeSaDown).reason is Reason.REDIRECT_LOOP
    assert "5 redirections in 300 s" in pair.a.last(IkeSaDown).text


def test_rfc5685_6_they_count_within_five_minutes() -> None:
    pair = Pairs(CLIENT, CONNECTION_B).establish()
    for turn in range(8):
        pair.drive(61 * NS_PER_S)
        to = (SUN, B)[turn % 2]
        _send_on(pair, to)
        pair.settle()
        assert pair.a.last(IkeSaUp).remote[0] == to


def test_a_gateway_that_is_named_by_an_fqdn_is_refused_with_the_reason() -> None:
    pair = Pairs(CLIENT, CONNECTION_B)
    pair.drop(100, "b")
    pair.initiate()
    pair.settle()
    nonce = parse_message(pair.octets("a")[0]).find(NoncePayload)
    assert nonce is not None
    _forge(pair, b"\x03\x0fsun.example.org" + nonce.data)
    pair.drive(20 * NS_PER_S)
    down = pair.a.last(IkeSaDown)
    assert down.reason is Reason.REDIRECT_REFUSED
    assert "sun.example.org, and names are not resolved here" in down.text


@pytest.mark.parametrize(
    ("to", "text"), [(B, "to itself"), (pack_address("2001:db8::2"), "where no address of this host leads")]
)
def test_an_active_redirection_that_leads_nowhere_is_refused(to: bytes, text: str) -> None:
    pair = Pairs(CLIENT, CONNECTION_B).establish()
    _send_on(pair, to)
    pair.settle()
    refused = pair.a.last(Rejected)
    assert refused.reason == "redirection refused"
    assert text in refused.text
    assert len(pair.a.all(IkeSaUp)) == 1


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x01\x04abc", b"\x01\x03abc", b"\x02\x04abcd", b"\x04\x04abcd", b"\x03\x00"]
)
def test_rfc5685_9_an_identity_without_sense_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        Gateway.parse(data)


@pytest.mark.parametrize("address", [SUN, pack_address("2001:db8::2")])
def test_rfc5685_9_identities_both_ways(address: bytes) -> None:
    for nonce in (b"", bytes(range(32))):
        assert Gateway.parse(Gateway(address, nonce).emit()) == Gateway(address, nonce)


def test_a_client_that_is_sent_keeps_all_its_child_sas() -> None:
    a, b = replace(CLIENT, children=(NET_A, NET2_A)), replace(CONNECTION_B, children=(NET_B, NET2_B))
    for gateway in (
        replace(b, redirect_to=SUN, redirect_when=RedirectWhen.INIT),
        replace(b, redirect_to=SUN),
    ):
        pair = Pairs(a, gateway)
        pair.initiate(None)
        pair.settle()
        assert sorted(child.child for child in pair.a.children.values()) == ["net", "net2"]
    later = Pairs(a, b).establish_with(None)
    _send_on(later, SUN)
    later.settle()
    assert sorted(child.child for child in later.a.children.values()) == ["net", "net2"]
    assert len(later.b.children) == 2


def _forge(pair: Pair, data: bytes) -> None:
    """An answer to the first IKE_SA_INIT that somebody else makes."""
    header = parse_message(pair.octets("a")[0]).header
    reply = Header(header.spi_i, bytes(8), ExchangeType.IKE_SA_INIT, Flags.RESPONSE, 0)
    pair.inject(pair.a, emit_message(reply, [NotifyPayload(NotifyType.REDIRECT, data)]), (B, 500), (A, 500))


def _send_on(pair: Pair, to: bytes) -> None:
    pair.b.endpoint.redirect("rw", to, pair.now)
    pair.b.pump(pair.now)
