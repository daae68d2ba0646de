"""EAP between a peer and a server (RFC 3748 4, 5), MD5 and MSCHAPv2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ike.eap.method import EapError
from sim.ike.eap.packets import EapCode, EapPacket, EapType
from sim.ike.events import Reason
from sim.wire.buffer import WireError
from tests.ike.eap.talk import Talk, peer, server

IDENTITY, NAK, MD5, MSCHAPV2, TLS = (
    EapType.IDENTITY,
    EapType.NAK,
    EapType.MD5,
    EapType.MSCHAPV2,
    EapType.TLS,
)
SUCCESS, FAILURE = -EapCode.SUCCESS, -EapCode.FAILURE


def test_the_peer_is_asked_for_its_name_then_proves_by_mschapv2() -> None:
    """RFC 3748 2; draft-kamath-pppext-eap-mschapv2 1.2."""
    talk = Talk(peer(MSCHAPV2), server(MSCHAPV2))
    assert talk.succeeded
    assert talk.kinds == [IDENTITY] * 2 + [MSCHAPV2] * 4 + [SUCCESS]
    assert talk.authenticator.user == b"carol"
    assert len(talk.client.msk) == 64
    assert talk.client.msk == talk.authenticator.msk


def test_a_known_name_is_not_asked_for() -> None:
    """RFC 3748 5.1: the identity exchange may be left out."""
    talk = Talk(peer(MSCHAPV2), server(MSCHAPV2, user=b"carol"))
    assert talk.succeeded
    assert IDENTITY not in talk.kinds


def test_md5_succeeds_without_a_key() -> None:
    """RFC 3748 5.4: one challenge, one response, no MSK."""
    talk = Talk(peer(MD5), server(MD5, user=b"carol"))
    assert talk.succeeded
    assert talk.kinds == [MD5, MD5, SUCCESS]
    assert talk.client.msk == talk.authenticator.msk == b""


@pytest.mark.parametrize("kind", [MSCHAPV2, MD5])
def test_a_wrong_password_is_refused_and_both_sides_know_why(kind: EapType) -> None:
    talk = Talk(peer(kind, password=b"wrong"), server(kind))
    assert not talk.succeeded
    assert talk.kinds[-1] == FAILURE
    assert talk.at_server is not None
    assert talk.at_server.reason is Reason.WRONG_PASSWORD
    assert talk.at_peer is not None
    # MD5 has no words for it: the peer only learns that it was refused.
    expected = Reason.WRONG_PASSWORD if kind is MSCHAPV2 else Reason.EAP_FAILURE
    assert talk.at_peer.reason is expected


@pytest.mark.parametrize("kind", [MSCHAPV2, MD5])
def test_an_unknown_user_is_told_no_more_than_one_with_a_wrong_password(kind: EapType) -> None:
    """RFC 2759 6: error 691 says nothing of which of both it is."""
    talk = Talk(peer(kind, name=b"mallory"), server(kind))
    assert talk.at_server is not None
    assert talk.at_server.reason is Reason.UNKNOWN_USER
    known = Talk(peer(kind, password=b"wrong"), server(kind))
    assert talk.kinds == known.kinds
    requests = [
        [len(packet.data) for packet in each.packets if packet.code == EapCode.REQUEST]
        for each in (talk, known)
    ]
    assert requests[0] == requests[1]


@pytest.mark.parametrize("kind", [MSCHAPV2, MD5])
def test_the_name_in_the_proof_must_be_the_user_that_is_looked_up(kind: EapType) -> None:
    """RFC 2759 4, RFC 1994 4.1: whoever knows carol's password but calls itself mallory is not carol."""
    talk = Talk(peer(kind, name=b"mallory"), server(kind, user=b"carol"))
    assert not talk.succeeded
    assert talk.kinds[-1] == FAILURE
    assert talk.at_server is not None
    assert talk.at_server.reason is Reason.UNKNOWN_USER
    assert "mallory" in talk.at_server.text
    assert "carol" in talk.at_server.text


@pytest.mark.parametrize(
    ("name", "user", "same"),
    [
        (b"SALES\\carol", b"carol", True),
        (b"carol", b"SALES\\carol", True),
        (b"SALES\\carol", b"SALES\\carol", True),
        (b"LAB\\carol", b"SALES\\carol", False),
        (b"carol\\mallory", b"carol", False),
    ],
)
def test_the_domain_in_an_mschapv2_name_may_be_left_out(name: bytes, user: bytes, same: bool) -> None:
    """RFC 2759 4: `DOMAIN\\user` is the user as well."""
    assert Talk(peer(MSCHAPV2, name=name), server(MSCHAPV2, user=user)).succeeded is same


def test_an_md5_response_without_a_name_is_for_the_user_who_was_asked() -> None:
    assert Talk(peer(MD5, name=b""), server(MD5, user=b"carol")).succeeded


def test_the_peer_proposes_another_method() -> None:
    """RFC 3748 5.3.1: a Nak names what the peer wants, and the server begins with that."""
    talk = Talk(peer(MD5), server(MSCHAPV2, MD5))
    assert talk.succeeded
    assert talk.kinds == [IDENTITY, IDENTITY, MSCHAPV2, NAK, MD5, MD5, SUCCESS]
    assert talk.packets[3].data == bytes((MD5,))


def test_no_method_in_common_is_an_error_that_names_both() -> None:
    talk = Talk(peer(MD5), server(MSCHAPV2))
    assert talk.at_server is not None
    assert talk.at_server.reason is Reason.EAP_METHOD_REFUSED
    assert "eap-mschapv2" in talk.at_server.text
    assert "eap-md5" in talk.at_server.text
    assert talk.at_peer is not None
    assert talk.at_peer.reason is Reason.EAP_METHOD_REFUSED


def test_a_nak_says_none_when_the_peer_has_no_method() -> None:
    """RFC 3748 5.3.1: one octet of zero; here the list is simply what we allow."""
    client = peer(MD5)
    answer = client.receive(EapPacket(EapCode.REQUEST, 1, 43).emit(), 0)
    assert answer is not None
    assert EapPacket.parse(answer) == EapPacket(EapCode.RESPONSE, 1, NAK, bytes((MD5,)))


def test_a_nak_after_the_method_has_begun_is_refused() -> None:
    """RFC 3748 5.3.1: a Nak is only valid in response to the first request of a method."""
    authenticator, client = server(MSCHAPV2, MD5, user=b"carol"), peer(MSCHAPV2)
    response = client.receive(authenticator.begin(), 0)
    assert response is not None
    second = EapPacket.parse(authenticator.receive(response, 0))
    with pytest.raises(WireError):
        authenticator.receive(EapPacket(EapCode.RESPONSE, second.identifier, NAK, bytes((MD5,))).emit(), 0)


def test_success_before_the_method_is_over_does_not_count() -> None:
    """RFC 3748 4.2: nobody may skip the proof that the server owes us."""
    client, authenticator = peer(MSCHAPV2), server(MSCHAPV2, user=b"carol")
    client.receive(authenticator.begin(), 0)
    with pytest.raises(EapError):
        client.receive(EapPacket(EapCode.SUCCESS, 8).emit(), 0)


def test_a_server_that_does_not_know_the_password_is_refused() -> None:
    """RFC 2759 5: the peer checks the authenticator response."""

    def lie(octets: bytes) -> bytes:
        packet = EapPacket.parse(octets)
        if packet.data[:1] != b"\x03":
            return octets
        return EapPacket(
            packet.code, packet.identifier, packet.type, packet.data[:6] + b"0" * 40 + packet.data[46:]
        ).emit()

    talk = Talk(peer(MSCHAPV2), server(MSCHAPV2), lie)
    assert talk.at_peer is not None
    assert talk.at_peer.reason is Reason.WRONG_PASSWORD


def test_a_response_to_another_request_is_no_response() -> None:
    """RFC 3748 4.1: the identifier of a response is that of the request."""
    authenticator = server(MD5, user=b"carol")
    request = EapPacket.parse(authenticator.begin())
    with pytest.raises(WireError):
        authenticator.receive(EapPacket(EapCode.RESPONSE, request.identifier ^ 1, MD5, b"\x01a").emit(), 0)


def test_a_notification_is_answered_and_changes_nothing() -> None:
    """RFC 3748 5.2."""
    answer = peer(MD5).receive(EapPacket(EapCode.REQUEST, 3, EapType.NOTIFICATION, b"hello").emit(), 0)
    assert answer == EapPacket(EapCode.RESPONSE, 3, EapType.NOTIFICATION).emit()


def test_a_password_beyond_ascii_is_hashed_as_utf_16() -> None:
    """RFC 2759 8.3: the Unicode password."""
    talk = Talk(peer(MSCHAPV2, name=b"dave", password="äö".encode()), server(MSCHAPV2))
    assert talk.succeeded


@given(st.builds(EapPacket, st.sampled_from([1, 2]), st.integers(0, 255), st.integers(1, 255), st.binary()))
def test_packets_survive_emit_and_parse(packet: EapPacket) -> None:
    assert EapPacket.parse(packet.emit()) == packet


def test_a_packet_cut_anywhere_is_refused() -> None:
    whole = EapPacket(EapCode.REQUEST, 1, MD5, b"\x02ab").emit()
    for size in range(len(whole)):
        with pytest.raises(WireError):
            EapPacket.parse(whole[:size])


@given(st.binary(max_size=80), st.sampled_from([MD5, MSCHAPV2]))
def test_arbitrary_type_data_is_an_answer_or_an_error(data: bytes, kind: EapType) -> None:
    client, authenticator = peer(kind), server(kind, user=b"carol")
    request = EapPacket.parse(authenticator.begin())
    for side, octets in (
        (client.receive, EapPacket(EapCode.REQUEST, 1, kind, data).emit()),
        (authenticator.receive, EapPacket(EapCode.RESPONSE, request.identifier, kind, data).emit()),
    ):
        try:
            side(octets, 0)
        except (WireError, EapError):
            continue
    assert not authenticator.succeeded, "nobody has proved anything"
    assert not client.msk


def test_an_mschapv2_message_cut_anywhere_is_refused() -> None:
    """Neither side takes half a message for a whole one."""
    authenticator, client = server(MSCHAPV2, user=b"carol"), peer(MSCHAPV2)
    request = EapPacket.parse(authenticator.begin())
    for size in range(len(request.data)):
        cut = EapPacket(EapCode.REQUEST, request.identifier, MSCHAPV2, request.data[:size])
        with pytest.raises(WireError):
            peer(MSCHAPV2).receive(cut.emit(), 0)
    answer = client.receive(request.emit(), 0)
    assert answer is not None
    response = EapPacket.parse(answer)
    for size in range(len(response.data)):
        cut = EapPacket(EapCode.RESPONSE, response.identifier, MSCHAPV2, response.data[:size])
        with pytest.raises(WireError):
            authenticator.receive(cut.emit(), 0)
