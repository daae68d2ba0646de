"""Session resumption (RFC 5723): tickets, IKE_SESSION_RESUME, and the way back to IKE_SA_INIT."""

from __future__ import annotations

import hmac
from dataclasses import replace
from hashlib import sha256

import pytest

from sim.crypto.cipher import Cipher, cipher
from sim.crypto.ids import EncryptionId
from sim.ike.config import ConnectionConfig, EndpointConfig, RedirectWhen, StartAction
from sim.ike.constants import ExchangeType, Flags, NotifyType
from sim.ike.context import Context
from sim.ike.errors import PeerError
from sim.ike.events import IkeKeysDerived, IkeSaDown, IkeSaUp, Reason, Rejected
from sim.ike.keymat import IkeKeys
from sim.ike.message import Header, emit_message, open_message, parse_message
from sim.ike.payloads import AuthPayload, NoncePayload, NotifyPayload
from sim.ike.resumption import Session, TicketKey
from sim.ike.sa import IkeSa
from sim.ike.tasks.ticket import OfferTicket, ask_for_ticket
from sim.units import NS_PER_S
from tests.ike.pair import (
    CONNECTION_A,
    CONNECTION_B,
    LATENCY,
    NET2_A,
    NET2_B,
    NET_A,
    NET_B,
    A,
    B,
    End,
    NatBox,
    Pair,
    ike,
)
from tests.ike.test_eap import initiator, responder
from tests.ike.test_rekey_child import rekey_ike

CLIENT = replace(CONNECTION_A, resumption=True, children=(replace(NET_A, dpd_action=StartAction.START),))
GATEWAY = replace(CONNECTION_B, resumption=True)


def test_rfc5723_4_1_who_asks_gets_a_ticket_in_ike_auth() -> None:
    pair = Pair(CLIENT, GATEWAY).establish()
    assert "N(TICKET_REQUEST)" in pair.a.ladder[1]
    assert "N(TICKET_LT_OPAQUE)" in pair.b.ladder[1]
    assert list(_context(pair.a).tickets) == ["rw"]


@pytest.mark.parametrize(("ours", "theirs"), [(True, False), (False, True), (False, False)])
def test_both_must_want_it(ours: bool, theirs: bool) -> None:
    pair = Pair(replace(CLIENT, resumption=ours), replace(GATEWAY, resumption=theirs)).establish()
    assert ("N(TICKET_REQUEST)" in pair.a.ladder[1]) is ours
    assert "TICKET" not in pair.b.ladder[1]
    assert not _context(pair.a).tickets


def test_rfc5723_4_3_a_lost_ike_sa_is_resumed_in_two_round_trips_without_a_key_exchange() -> None:
    pair = _lost(Pair(CLIENT, GATEWAY))
    said, began = len(pair.a.ladder), pair.now
    _resume(pair)
    # a -> b  HDR, Ni, N(TICKET_OPAQUE);  b -> a  HDR, Nr;  then IKE_AUTH

    resume, auth = pair.a.ladder[said : said + 2]
    assert resume.startswith("HDR, Ni, N(TICKET_OPAQUE)")
    assert "KEi" not in resume
    assert "SAi1" not in resume
    assert auth.startswith("HDR, SK {IDi, AUTH")
    assert "TSr" in auth
    up = pair.a.last(IkeSaUp)
    assert up.resumed
    assert pair.a.times(IkeSaUp)[-1] - began == 4 * LATENCY
    assert len(pair.a.children) == len(pair.b.children) == 1
    assert (up.local_id, up.remote_id) == (pair.a.all(IkeSaUp)[0].local_id, pair.a.all(IkeSaUp)[0].remote_id)


def test_rfc5723_5_1_keys_and_auth_as_computed_again_from_the_wire() -> None:
    """By HMAC alone: SKEYSEED, prf+, and AUTH = prf(SK_px, the first message of that side)."""
    pair = _lost(Pair(CLIENT, GATEWAY))
    sk_d = _context(pair.a).tickets["rw"].session.sk_d
    before = len(pair.sent)
    _resume(pair)
    wire = [sent.octets for sent in pair.sent[before:]]
    resume, answer, auth, done = map(parse_message, wire[:4])
    assert resume.header.exchange == answer.header.exchange == 38
    assert resume.header.message_id == 0
    assert auth.header.message_id == 1
    nonces = b"".join(_nonce(octets) for octets in wire[:2])
    seed = _prf(sk_d, b"Resumption" + nonces)
    keys = _plus(seed, nonces + auth.header.spi_i + auth.header.spi_r, (32, 0, 0, 20, 20, 32, 32))
    derived = pair.a.last(IkeKeysDerived)
    assert (derived.sk_ei, derived.sk_er) == (keys.sk_ei, keys.sk_er)
    (sa,) = [one for one in _context(pair.b).sas.values() if one.alternatives.resumed]
    assert sa.keys == keys
    for key, protected, first in ((keys.sk_pi, auth, wire[0]), (keys.sk_pr, done, wire[1])):
        encryption = keys.sk_ei if protected is auth else keys.sk_er
        opened = open_message(protected, _aead(encryption, sa))
        proof = opened.find(AuthPayload)
        assert proof is not None
        assert (proof.method, proof.data) == (2, _prf(key, first))


def test_rfc5723_5_the_new_spis_and_keys_are_others() -> None:
    pair = _lost(Pair(CLIENT, GATEWAY))
    _resume(pair)
    first, second = pair.a.all(IkeKeysDerived)
    assert not {first.spi_i, first.spi_r} & {second.spi_i, second.spi_r}
    assert first.sk_ei != second.sk_ei


def test_rfc5723_4_3_each_resumption_brings_the_next_ticket() -> None:
    pair = Pair(CLIENT, GATEWAY)
    pair.establish()
    tickets = set()
    for _ in range(4):
        tickets.add(_context(pair.a).tickets["rw"].ticket)
        _lose(pair)
        _resume(pair)
        assert pair.a.last(IkeSaUp).resumed
    assert len(tickets) == 4


def test_rfc5723_4_3_a_ticket_is_shown_once_and_taken_once() -> None:
    pair = _lost(Pair(CLIENT, GATEWAY))
    held = _context(pair.a).tickets["rw"]
    _resume(pair)
    _lose(pair)
    _context(pair.a).tickets["rw"] = held
    _resume(pair)
    assert "N(TICKET_NACK)" in "".join(pair.b.ladder)
    assert not pair.a.last(IkeSaUp).resumed
    assert any("used before" in event.text for event in pair.b.all(Rejected))


def test_rfc5723_4_3_after_a_nack_ike_sa_init_follows_at_once() -> None:
    pair = _lost(Pair(CLIENT, GATEWAY))
    pair.restart(pair.b, pair.b.endpoint.config, "another gateway")
    began, said = pair.now, len(pair.a.ladder)
    _resume(pair)
    assert ["SAi1" in text for text in pair.a.ladder[said:][:3]] == [False, True, False]
    assert pair.b.ladder[:1] == ["HDR, N(TICKET_NACK)"]
    assert pair.a.times(IkeSaUp)[-1] - began == 6 * LATENCY
    assert len(pair.a.children) == 1


def test_rfc5723_6_the_key_of_tickets_outlives_the_gateways_restart() -> None:
    pair = Pair(CLIENT, GATEWAY).establish()
    pair.command(pair.b, lambda endpoint: endpoint.crash(pair.now))
    _lose(pair)
    _resume(pair)
    assert pair.a.last(IkeSaUp).resumed
    assert len(pair.a.children) == len(pair.b.children) == 1


def test_with_crash_detection_a_restarted_gateway_is_resumed_after_one_question() -> None:
    """The token ends the IKE SA, and the ticket, whose key was on the gateway's disk, brings it back."""
    pair = Pair(replace(CLIENT, qcd=True), replace(GATEWAY, qcd=True)).establish()
    (sa,) = pair.a.endpoint.sas
    pair.command(pair.b, lambda endpoint: endpoint.crash(pair.now))
    began = pair.now
    pair.command(pair.a, lambda endpoint: endpoint.check_liveness(sa.ike_id, pair.now))
    pair.settle()
    # a -> b  {};  b -> a  N(INVALID_IKE_SPI), N(QUICK_CRASH_DETECTION);  IKE_SESSION_RESUME;  IKE_AUTH

    assert pair.a.last(IkeSaDown).reason is Reason.CRASH_DETECTED
    assert pair.a.last(IkeSaUp).resumed
    assert pair.a.times(IkeSaUp)[-1] - began == 6 * LATENCY
    assert len(pair.a.children) == len(pair.b.children) == 1


def test_a_clients_own_restart_loses_its_tickets() -> None:
    pair = Pair(CLIENT, GATEWAY).establish()
    pair.command(pair.a, lambda endpoint: endpoint.crash(pair.now))
    _resume(pair)
    assert not pair.a.last(IkeSaUp).resumed


def test_rfc5723_4_3_3_the_gateway_drops_the_old_ike_sa_without_a_word() -> None:
    pair = _lost(Pair(CLIENT, GATEWAY))
    said = len(pair.b.ladder)
    _resume(pair)
    assert pair.b.all(IkeSaDown)[-1].reason is Reason.REPLACED
    assert not any("D}" in text for text in pair.b.ladder[said:])
    assert len([sa for sa in pair.b.endpoint.sas if sa.state == "established"]) == 1


def test_rfc5723_4_2_what_was_ended_on_purpose_is_not_resumed() -> None:
    for side in ("a", "b"):
        pair = Pair(CLIENT, GATEWAY).establish()
        end: End = getattr(pair, side)
        end.endpoint.delete("rw", pair.now)
        end.pump(pair.now)
        pair.settle()
        assert not _context(pair.a).tickets
        _resume(pair)
        assert not pair.a.last(IkeSaUp).resumed


def test_rfc5723_6_2_a_ticket_lives_as_long_as_the_ike_sa_and_the_authentication() -> None:
    rekeyed = replace(GATEWAY, rekey_time=100 * NS_PER_S, over_time=10 * NS_PER_S, rand_time=0)
    assert _lifetime(rekeyed) == 110
    assert _lifetime(replace(rekeyed, reauth_time=60 * NS_PER_S)) == 60
    assert _lifetime(GATEWAY) == 24 * 3600


def test_rfc5723_6_2_an_old_ticket_is_not_shown_and_not_taken() -> None:
    brief = replace(GATEWAY, rekey_time=100 * NS_PER_S, over_time=0, rand_time=0)
    pair = _lost(Pair(CLIENT, brief))
    held = _context(pair.a).tickets["rw"]
    pair.now += 200 * NS_PER_S
    _resume(pair)
    assert not pair.a.last(IkeSaUp).resumed
    assert "TICKET_NACK" not in "".join(pair.b.ladder)
    _lose(pair)
    late = replace(held.session, expires_at=pair.now + 10**12)
    _context(pair.a).tickets["rw"] = replace(held, session=late)
    _resume(pair)
    assert any("has expired" in event.text for event in pair.b.all(Rejected))
    assert not pair.a.last(IkeSaUp).resumed


def test_rfc5723_4_1_after_a_rekeying_the_client_asks_for_another_ticket() -> None:
    for side in ("a", "b"):
        pair = Pair(CLIENT, GATEWAY).establish()
        old = _context(pair.a).tickets["rw"]
        rekey_ike(pair, getattr(pair, side))
        pair.settle()
        new = _context(pair.a).tickets["rw"]
        assert new.session.sk_d != old.session.sk_d
        _lose(pair)
        _resume(pair)
        assert pair.a.last(IkeSaUp).resumed


def test_rfc5723_2_8_3_a_reauthentication_proves_afresh() -> None:
    for overlap in (True, False):
        client = replace(CLIENT, make_before_break=overlap)
        pair = Pair(client, GATEWAY).establish()
        (sa,) = pair.a.endpoint.sas
        pair.a.endpoint.reauthenticate(sa.ike_id, pair.now)
        pair.a.pump(pair.now)
        pair.settle()
        assert len(pair.a.all(IkeSaUp)) == 2
        assert not pair.a.last(IkeSaUp).resumed


def test_a_resumption_does_not_lengthen_the_authentication() -> None:
    limit = 600 * NS_PER_S
    pair = Pair(replace(CLIENT, reauth_time=limit), replace(GATEWAY, reauth_time=limit)).establish()
    pair.drive(300 * NS_PER_S)
    _lose(pair)
    _resume(pair)
    assert pair.a.last(IkeSaUp).resumed
    pair.drive(310 * NS_PER_S)
    assert not pair.a.last(IkeSaUp).resumed, "the whole proof again, 600 s after the first one"


def test_with_eap_both_the_name_in_ike_and_the_one_in_eap_come_back() -> None:
    """alice in IKE, carol in EAP: IDi is what it was, and the gateway knows whom it serves (4.3.3)."""
    pair = Pair(replace(initiator(), resumption=True), replace(responder(), resumption=True)).establish()
    before = pair.b.last(IkeSaUp).remote_id, pair.a.last(IkeSaUp).local_id
    for _ in range(2):
        _lose(pair)
        _resume(pair)
        assert pair.b.last(IkeSaUp).resumed
        assert (pair.b.last(IkeSaUp).remote_id, pair.a.last(IkeSaUp).local_id) == before


def test_with_eap_a_resumption_needs_no_password() -> None:
    pair = Pair(replace(initiator(), resumption=True), replace(responder(), resumption=True)).establish()
    _lose(pair)
    said = len(pair.a.ladder)
    _resume(pair)
    assert pair.a.last(IkeSaUp).resumed
    assert len(pair.a.ladder) - said == 2
    assert "EAP" not in "".join(pair.a.ladder[said:])


def test_rfc5723_4_3_2_a_gateway_under_load_wants_a_cookie_first() -> None:
    busy = EndpointConfig(cookie_threshold=1, cookie_threshold_ip=0, block_threshold=0)
    pair = Pair(CLIENT, GATEWAY, b_config=busy).establish()
    _lose(pair)
    for number in range(2):  # half-open ones of others
        other = Pair(CLIENT, GATEWAY, seed=f"other{number}")
        other.initiate()
        request = other.octets("a")[0]
        pair.inject(pair.b, request, (b"\xc0\0\2\x63", 500), (B, 500))
    _resume(pair)
    assert pair.a.last(IkeSaUp).resumed
    assert any(text.startswith("HDR, N(COOKIE), Ni, N(TICKET_OPAQUE)") for text in pair.a.ladder)


def test_rfc5723_4_3_where_nobody_answers_ike_sa_init_is_tried_soon() -> None:
    pair = _lost(Pair(CLIENT, GATEWAY))
    delays = CLIENT.retransmit.delays
    pair.drop((len(delays) + 1) // 2)
    began = pair.now
    pair.initiate()
    pair.drive(400 * NS_PER_S)
    assert not pair.a.last(IkeSaUp).resumed
    assert pair.a.times(IkeSaUp)[-1] - began == sum(delays[: (len(delays) + 1) // 2]) + 4 * LATENCY


def test_a_ticket_that_nobody_has_answered_is_not_lost() -> None:
    pair = _lost(Pair(replace(CLIENT, keyingtries=0), GATEWAY))
    pair.drop(10)  # IKE_SESSION_RESUME three times, IKE_SA_INIT six times, and once again
    pair.initiate()
    pair.drive(400 * NS_PER_S)
    assert pair.a.last(IkeSaUp).resumed


def test_an_error_instead_of_an_answer_leads_to_ike_sa_init() -> None:
    pair = _lost(Pair(CLIENT, GATEWAY))
    pair.drop(1, "b")
    pair.initiate()
    pair.settle()
    request = parse_message(pair.octets("a")[-1]).header
    reply = Header(request.spi_i, bytes(8), ExchangeType.IKE_SESSION_RESUME, Flags.RESPONSE, 0)
    answer = emit_message(reply, [NotifyPayload(NotifyType.INVALID_SYNTAX)])
    pair.inject(pair.a, answer, (B, 500), (A, 500))
    pair.settle()
    assert not pair.a.last(IkeSaUp).resumed


@pytest.mark.parametrize("change", ["identity", "suite", "no resumption"])
def test_rfc5723_4_3_2_a_gateway_whose_policy_has_changed_takes_no_ticket(change: str) -> None:
    pair = _lost(Pair(CLIENT, GATEWAY))
    key = _context(pair.b).ticket_key
    changed = {
        "identity": replace(GATEWAY, remote_id=CLIENT.remote_id),
        "suite": replace(GATEWAY, proposals=ike("aes256gcm16-prfsha384-x25519")),
        "no resumption": replace(GATEWAY, resumption=False),
    }[change]
    pair.restart(pair.b, replace(pair.b.endpoint.config, connections=(changed,)))
    _context(pair.b).ticket_key = key
    pair.initiate()
    pair.settle()
    assert pair.b.ladder[0] == "HDR, N(TICKET_NACK)"


def test_rfc5723_4_3_3_another_ticket_holder_cannot_use_a_stolen_ticket() -> None:
    """A ticket without its SK_d is worth nothing: nobody without it makes what the gateway can open."""
    pair = _lost(Pair(CLIENT, GATEWAY))
    held = _context(pair.a).tickets["rw"]
    _context(pair.a).tickets["rw"] = replace(held, session=replace(held.session, sk_d=bytes(32)))
    pair.initiate()
    pair.drive(60 * NS_PER_S)
    assert pair.b.endpoint.counters["integrity check failed"]
    assert len(pair.b.all(IkeSaUp)) == 1
    assert not pair.b.all(IkeSaDown) or pair.b.last(IkeSaDown).reason is Reason.ABANDONED


def test_a_gateway_may_redirect_who_resumes() -> None:
    sun = b"\xc6\x33\x64\x02"
    client = replace(CLIENT, follow_redirects=True)
    pair = _lost(Pair(client, GATEWAY))
    away = replace(GATEWAY, redirect_to=sun, redirect_when=RedirectWhen.INIT, local_addrs=(B,))
    here = replace(GATEWAY, name="here", local_addrs=(sun,))
    key = _context(pair.b).ticket_key
    pair.restart(pair.b, EndpointConfig((away, here)))
    pair.set_addresses(pair.b, [B, sun])
    _context(pair.b).ticket_key = key
    pair.initiate()
    pair.settle()
    assert pair.b.ladder[0] == "HDR, N(REDIRECT)"
    assert pair.a.last(IkeSaUp).remote[0] == sun
    assert not pair.a.last(IkeSaUp).resumed


def test_a_resumption_behind_a_nat_finds_it_again() -> None:
    pair = Pair(CLIENT, GATEWAY)
    NatBox(pair)
    pair.establish()
    _lose(pair)
    _resume(pair)
    up = pair.a.last(IkeSaUp)
    assert up.resumed
    assert up.nat_local
    assert up.encap
    assert up.mobike


def test_all_child_sas_come_back() -> None:
    client = replace(CLIENT, children=(NET_A, NET2_A))
    pair = Pair(client, replace(GATEWAY, children=(NET_B, NET2_B))).establish_with(None)
    _lose(pair)
    pair.initiate(None)
    pair.settle()
    assert pair.a.last(IkeSaUp).resumed
    assert sorted(child.child for child in pair.a.children.values()) == ["net", "net2"]


def test_rfc5723_4_1_who_gets_no_answer_to_its_wish_asks_no_more() -> None:
    pair = Pair(CLIENT, replace(GATEWAY, resumption=False))
    pair.establish()
    (sa,) = _context(pair.a).sas.values()
    before = len(pair.a.ladder)
    ask_for_ticket(sa, pair.now)
    pair.a.pump(pair.now)
    pair.settle()
    assert pair.a.ladder[before:] == ["HDR, SK {N(TICKET_REQUEST)}"]
    assert not _context(pair.a).tickets


@pytest.mark.parametrize(("first", "asked"), [("TICKET_ACK", 2), ("TICKET_NACK", 1)])
def test_rfc5723_4_1_after_an_ack_the_client_asks_once_more(first: str, asked: int) -> None:
    pair = Pair(CLIENT, replace(GATEWAY, resumption=False))
    answers = iter([NotifyType[first]] * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OfferTicket, "build", lambda task, sa, out, now: out.add(NotifyPayload(next(answers))))
        pair.establish()
    assert "".join(pair.a.ladder).count("TICKET_REQUEST") == asked
    assert not _context(pair.a).tickets


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_no_ticket_but_its_own_opens_and_none_raises(cut: int) -> None:
    pair = Pair(CLIENT, GATEWAY).establish()
    ticket, key = _context(pair.a).tickets["rw"].ticket, _context(pair.b).ticket_key
    assert key.open(ticket, pair.now).sk_d == _context(pair.a).tickets["rw"].session.sk_d
    changed = bytearray(ticket)
    changed[cut % len(ticket)] ^= 1
    for bad in (ticket[: cut % len(ticket)], bytes(changed), ticket + b"\0"):
        with pytest.raises(PeerError):
            key.open(bad, pair.now)


def test_rfc5723_6_1_a_ticket_hides_what_it_holds() -> None:
    pair = Pair(CLIENT, GATEWAY).establish()
    held = _context(pair.a).tickets["rw"]
    assert held.session.sk_d not in held.ticket
    assert b"alice" not in held.ticket


def test_a_session_is_kept_octet_for_octet() -> None:
    pair = Pair(CLIENT, GATEWAY).establish()
    session = _context(pair.a).tickets["rw"].session
    assert Session.parse(session.emit(17), 17) == session
    key = TicketKey(bytes, 0)
    assert key.open(key.seal(session, 0), 0) == session
    assert key.seal(session, 0) != key.seal(session, 0)


# -- helpers -------------------------------------------------------------------------------------------------


def _lost(pair: Pair) -> Pair:
    pair.establish()
    _lose(pair)
    return pair


def _lose(pair: Pair) -> None:
    """The client gives its IKE SA up as one whose peer does not answer; the gateway still has it."""
    for sa in list(_context(pair.a).sas.values()):
        for child in list(sa.children.values()):
            child.config = replace(child.config, dpd_action=StartAction.NONE)
        sa.end(Reason.TIMEOUT, "nobody answers", pair.now)
    pair.a.pump(pair.now)


def _resume(pair: Pair) -> None:
    pair.initiate()
    pair.settle()


def _context(end: End) -> Context:
    return end.endpoint._ctx


def _lifetime(gateway: ConnectionConfig) -> int:
    pair = Pair(CLIENT, gateway).establish()
    held = _context(pair.a).tickets["rw"]
    return (held.session.expires_at - pair.a.times(IkeSaUp)[0]) // NS_PER_S


def _nonce(octets: bytes) -> bytes:
    nonce = parse_message(octets).find(NoncePayload)
    assert nonce is not None
    return nonce.data


def _prf(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, sha256)


def _plus(key: bytes, seed: bytes, sizes: tuple[int, ...]) -> IkeKeys:
    stream, block, number = b"", b"", 1
    while len(stream) < sum(sizes):
        block = _prf(key, block + seed + bytes((number,)))
        stream += block
        number += 1
    parts = []
    for size in sizes:
        parts.append(stream[:size])
        stream = stream[size:]
    return IkeKeys(*parts)


def _aead(key: bytes, sa: IkeSa) -> Cipher:
    assert sa.suite.encryption.id == EncryptionId.ENCR_AES_GCM_16
    return cipher(sa.suite.encryption, None, key, b"", bytes)
