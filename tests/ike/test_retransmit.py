"""Requests are repeated by their sender alone, by the policy, octet for octet (RFC 7296 2.1 to 2.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import RETRANSMIT, RetransmitPolicy
from sim.ike.events import IkeSaDown, IkeSaUp, MessageReceived, MessageSent, Reason
from sim.units import NS_PER_MS, NS_PER_S
from tests.ike.pair import CONNECTION_A, A, B, Pair


@pytest.mark.parametrize(
    ("preset", "sends", "gives_up"),
    [
        ("strongswan", [0, 4, 11.2, 24.16, 47.488, 89.4784], 165.06112),
        ("libreswan", [0, 0.5, 1, 2, 4, 8, 16], 32),
        ("iked", [0, 2, 6, 14, 30, 62], 126),
    ],
)
def test_c3_requests_are_sent_at_the_times_of_the_preset(
    preset: str, sends: list[float], gives_up: float
) -> None:
    """Golden 2.5 and section 9: 0 4 11 24 47 89 s, and 165 s for giving up, with strongSwan's."""
    pair = Pair(replace(CONNECTION_A, retransmit=RETRANSMIT[preset]))
    pair.drop(100)
    pair.initiate()
    pair.drive(200 * NS_PER_S)

    assert [at / NS_PER_S for at in pair.a.times(MessageSent)] == sends
    assert [at / NS_PER_S for at in pair.a.times(IkeSaDown)] == [gives_up]
    down = pair.a.last(IkeSaDown)
    assert down.reason is Reason.TIMEOUT
    assert "198.51.100.1[500] did not answer" in down.text


def test_c1_a_repeated_request_is_bitwise_identical() -> None:
    pair = Pair()
    pair.drop(3)
    pair.initiate()
    pair.drive(30 * NS_PER_S)

    requests = [sent.datagram.data for sent in pair.sent if sent.side == "a"][:4]
    assert len(set(requests)) == 1
    assert [event.retransmission for event in pair.a.all(MessageSent)][:4] == [0, 1, 2, 3]
    assert pair.up


def test_c1_only_the_initiator_of_an_exchange_repeats_it() -> None:
    pair = Pair()
    pair.drop(1, "b")
    pair.initiate()
    pair.drive(3 * NS_PER_S)
    # a -> b  IKE_SA_INIT request;  b -> a  response, lost

    assert len(pair.b.all(MessageSent)) == 1
    pair.drive(2 * NS_PER_S)
    assert pair.up
    assert [event.retransmission for event in pair.b.all(MessageSent)] == [0, 1, 0]


def test_c2_a_response_is_resent_for_a_repeated_request() -> None:
    pair = Pair()
    pair.drop(1, "b", after=1)
    pair.initiate()
    pair.drive()
    # a -> b  IKE_AUTH;  b -> a  response, lost;  a -> b  the same IKE_AUTH;  b -> a  the same response

    responses = [sent.datagram.data for sent in pair.sent if sent.side == "b"]
    assert responses[1] == responses[2]
    assert len(pair.b.all(IkeSaUp)) == 1
    assert [e.retransmission for e in pair.b.all(MessageReceived)] == [0, 0, 1]
    assert pair.up


def test_c2_a_request_whose_response_is_forgotten_is_ignored() -> None:
    pair = Pair().establish()
    old = next(
        sent.datagram for sent in pair.sent if sent.side == "a"
    )  # IKE_SA_INIT, answered before IKE_AUTH
    before = len(pair.sent)
    pair.inject(pair.b, old.data, old.src, old.dst)

    assert len(pair.sent) == before
    assert pair.b.endpoint.counters["response forgotten"] == 1


def test_c4_two_peers_behind_one_nat_may_choose_the_same_spi() -> None:
    """The responder looks at the whole request, not at SPIi and address."""
    first, second = Pair(seed="1"), Pair(seed="2")
    first.drop(100)
    second.drop(100)
    first.initiate()
    second.initiate()
    one, two = first.sent[0].datagram, second.sent[0].datagram
    same_spi = one.data[:8] + two.data[8:]

    gateway = Pair()
    gateway.inject(gateway.b, one.data, (A, 1025), (B, 500))
    gateway.inject(gateway.b, same_spi, (A, 1026), (B, 500))
    gateway.inject(gateway.b, one.data, (A, 1025), (B, 500))
    answers = [sent.datagram for sent in gateway.sent]
    assert [datagram.dst[1] for datagram in answers] == [1025, 1026, 1025]
    assert answers[0].data == answers[2].data != answers[1].data


def test_c5_message_ids_start_at_zero_in_each_direction() -> None:
    pair = Pair().establish()
    pair.a.endpoint.check_liveness(1, pair.now)
    pair.a.pump(pair.now)
    pair.settle()
    pair.b.endpoint.check_liveness(1, pair.now)
    pair.b.pump(pair.now)
    pair.settle()

    requests = [(e.exchange, e.message_id) for e in pair.a.all(MessageSent) if not e.response]
    assert requests == [("IKE_SA_INIT", 0), ("IKE_AUTH", 1), ("INFORMATIONAL", 2)]
    requests = [(e.exchange, e.message_id) for e in pair.b.all(MessageSent) if not e.response]
    assert requests == [("INFORMATIONAL", 0)]


def test_c6_one_request_at_a_time_is_outstanding() -> None:
    pair = Pair().establish()
    before = len(pair.sent)
    pair.a.endpoint.check_liveness(1, pair.now)
    pair.a.endpoint.delete_child(next(iter(pair.a.children)), pair.now)
    pair.a.pump(pair.now)

    assert len(pair.sent) == before + 1
    pair.settle()
    assert len(pair.sent) == before + 4
    assert not pair.a.children


def test_c6_a_request_beyond_the_window_is_ignored() -> None:
    pair = Pair().establish()
    pair.drop(1)
    pair.a.endpoint.check_liveness(1, pair.now)
    pair.a.pump(pair.now)
    lost = pair.sent[-1].datagram
    ahead = bytearray(lost.data)
    ahead[4 + 23] += 1  # the last octet of the message ID, behind the non-ESP marker
    pair.inject(pair.b, bytes(ahead), lost.src, lost.dst)

    assert pair.b.endpoint.counters["message ID outside the window"] == 1


def test_c7_a_request_is_served_while_an_own_one_is_outstanding() -> None:
    pair = Pair().establish()
    pair.drop(1, "a")
    pair.a.endpoint.check_liveness(1, pair.now)
    pair.a.pump(pair.now)
    pair.b.endpoint.check_liveness(1, pair.now)
    pair.b.pump(pair.now)
    pair.settle()
    # a -> b  INFORMATIONAL, lost;  b -> a  INFORMATIONAL;  a -> b  its response

    assert pair.b.last(MessageReceived).response
    pair.drive()
    assert pair.a.last(MessageReceived).response


def test_c8_a_message_id_that_was_used_before_gets_no_answer() -> None:
    """Another request under an old message ID is not confirmed, and changes nothing."""
    pair = Pair().establish()
    auth = [sent.datagram for sent in pair.sent if sent.side == "a"][-1]
    forged = auth.data[:-1] + bytes((auth.data[-1] ^ 1,))
    before = len(pair.sent)
    pair.inject(pair.b, forged, auth.src, auth.dst)

    assert len(pair.sent) == before
    assert pair.b.endpoint.counters["message ID used before"] == 1


def test_c9_a_response_goes_to_where_the_request_came_from() -> None:
    pair = Pair().establish()
    pair.drop(1)
    pair.a.endpoint.check_liveness(1, pair.now)
    pair.a.pump(pair.now)
    request = pair.sent[-1].datagram
    pair.inject(pair.b, request.data, (A, 31337), request.dst)

    answer = pair.sent[-1].datagram
    assert (answer.src, answer.dst) == (request.dst, (A, 31337))


def test_c10_a_message_of_3000_octets_is_handled() -> None:
    """Vendor IDs swell the request; nobody knows them."""
    pair = Pair()
    pair.initiate()
    request = pair.sent[-1].datagram
    vendor = bytes((0, 0)) + (2800).to_bytes(2, "big") + bytes(2796)
    chain = bytearray(request.data + vendor)
    last = _last_payload(request.data)
    chain[last] = 43
    chain[24:28] = len(chain).to_bytes(4, "big")
    pair.inject(pair.b, bytes(chain), request.src, request.dst)

    assert len(chain) >= 3000
    assert pair.b.last(MessageSent).response


def test_a_response_lost_at_the_end_is_repeated_after_the_sa_is_gone() -> None:
    """The deleted side still answers its peer's repeated Delete."""
    pair = Pair().establish()
    pair.drop(1, "b")
    pair.a.endpoint.delete("rw", pair.now)
    pair.a.pump(pair.now)
    pair.drive(60 * NS_PER_S)
    # a -> b  INFORMATIONAL {D};  b -> a  {}, lost;  a -> b  the same;  b -> a  the same

    assert [view.state for view in pair.a.endpoint.sas] == ["closed"]
    assert pair.b.last(MessageSent).retransmission == 1
    assert pair.a.endpoint.next_timer() is None
    assert pair.b.endpoint.next_timer() is None


def test_a_policy_without_waits_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one wait"):
        RetransmitPolicy(())


def test_a_delayed_response_is_accepted_once() -> None:
    pair = Pair()
    pair.delay(5000 * NS_PER_MS, "b")
    pair.initiate()
    pair.drive(10 * NS_PER_S)
    # the response to the first request comes after the one to its repetition

    assert pair.up
    assert len(pair.a.all(IkeSaUp)) == 1
    assert pair.a.endpoint.counters["response to no request"] == 1


def _last_payload(data: bytes) -> int:
    """The offset of the Next Payload field of the last payload."""
    offset = 28
    while data[offset]:
        offset += int.from_bytes(data[offset + 2 : offset + 4], "big")
    return offset
