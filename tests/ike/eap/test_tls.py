"""EAP-TLS (RFC 5216, RFC 9190): the handshake in fragments, the key, and refused certificates."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.crypto.certificate import Certificate
from sim.crypto.signature import PrivateKey
from sim.crypto.tls import TLS_1_2, TLS_1_3, Check, TlsEnd
from sim.ike.eap.method import EapError
from sim.ike.eap.packets import EapCode, EapPacket, EapType
from sim.ike.eap.tls import (
    FRAGMENT_BYTES,
    MAX_MESSAGE_BYTES,
    CertificateRefusedError,
    Flags,
    Fragments,
    TlsPeer,
    TlsServer,
    Trust,
)
from sim.ike.events import Reason
from sim.scenario.issue import Issued
from sim.wire.buffer import WireError
from tests.crypto.authority import make_leaf, make_root, read
from tests.ike.eap.talk import TRUST_ALL, Talk, peer, server

ROOT = make_root()
KINDS = ["ecdsa-p256", "ed25519", "rsa-2048"]


def end(is_server: bool, leaf: Issued, newest: int, check: Check) -> TlsEnd:
    authorities = (read(ROOT),) if is_server else ()
    return TlsEnd(is_server, PrivateKey(leaf.key), (read(leaf),), check, authorities, newest)


def talk(
    newest: int = TLS_1_3,
    *,
    kind: str = "ecdsa-p256",
    at_peer: Trust = TRUST_ALL,
    at_server: Trust = TRUST_ALL,
) -> Talk:
    moon, carol = (
        make_leaf(ROOT, "CN=moon", kind=kind),
        make_leaf(ROOT, "CN=carol", names=["carol"], kind=kind),
    )
    client = TlsPeer(partial(end, False, carol, newest), at_peer)
    authenticator = TlsServer(partial(end, True, moon, newest), at_server)
    return Talk(peer(EapType.TLS, tls=client), server(EapType.TLS, user=b"carol", tls=authenticator))


@pytest.mark.parametrize("newest", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_derive_the_same_msk(newest: int, kind: str) -> None:
    """RFC 5216 2.3, RFC 9190 2.3: 64 octets from the exporter."""
    done = talk(newest, kind=kind)
    assert done.succeeded, (done.at_peer, done.at_server)
    assert len(done.client.msk) == 64
    assert done.client.msk == done.authenticator.msk


def test_the_conversation_starts_and_ends_as_rfc_5216_2_1_1_shows() -> None:
    done = talk(TLS_1_2)
    start, *_, last_response, success = done.packets
    assert start.data == bytes((Flags.START,))
    assert last_response.data == b"\0"
    assert success.code == EapCode.SUCCESS


def test_a_server_of_tls_1_3_commits_to_send_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9190 2.1.1: without the octet of zero, the peer does not take Success for one."""
    monkeypatch.setattr(TlsEnd, "send", lambda *_: None)
    done = talk()
    assert done.at_peer is not None
    assert done.at_peer.reason is Reason.EAP_FAILURE


def test_long_flights_are_fragmented_and_acknowledged() -> None:
    """RFC 5216 2.1.5: L and M in the first fragment, M in those between, an empty packet for each."""
    done = talk(TLS_1_2, kind="rsa-2048")
    assert max(len(packet.data) for packet in done.packets) <= FRAGMENT_BYTES + 5
    first = next(i for i, packet in enumerate(done.packets) if packet.data[:1] == b"\xc0")
    assert done.packets[first + 1].data == b"\0"
    assert done.succeeded


@pytest.mark.parametrize("size", [1, FRAGMENT_BYTES, FRAGMENT_BYTES + 1, 5 * FRAGMENT_BYTES + 7])
def test_fragments_are_put_together_as_they_were(size: int) -> None:
    message = bytes(i & 0xFF for i in range(size))
    out, into = Fragments(), Fragments()
    packet = out.send(message)
    while (whole := into.receive(packet)) is None:
        packet = out.following()
    assert whole == message
    assert not out.sending


def test_a_message_that_never_ends_is_refused() -> None:
    """Nobody fills our memory before having proved anything."""
    into, more = Fragments(), bytes((Flags.MORE,)) + bytes(FRAGMENT_BYTES)
    for _ in range(MAX_MESSAGE_BYTES // FRAGMENT_BYTES):
        assert into.receive(more) is None
    with pytest.raises(WireError):
        into.receive(more)
    with pytest.raises(WireError):
        Fragments().receive(bytes((Flags.LENGTH | Flags.MORE,)) + b"\xff\xff\xff\xff")


def refuse(cert: Certificate, others: tuple[Certificate, ...], now: int) -> None:
    raise CertificateRefusedError(Reason.CERTIFICATE_EXPIRED, f"{cert} expired")


@pytest.mark.parametrize("newest", [TLS_1_2, TLS_1_3])
def test_a_peer_that_does_not_trust_the_server_says_so_by_an_alert(newest: int) -> None:
    """RFC 5216 2.1.3: the alert in a response, then EAP-Failure."""
    done = talk(newest, at_peer=refuse)
    assert not done.succeeded
    assert done.at_peer is not None
    assert (done.at_peer.reason, done.at_peer.text) == (Reason.CERTIFICATE_EXPIRED, "CN=moon expired")
    assert done.at_server is not None
    assert done.at_server.reason is Reason.TLS_FAILURE
    assert "alert" in done.at_server.text


@pytest.mark.parametrize("newest", [TLS_1_2, TLS_1_3])
def test_a_server_that_does_not_trust_the_peer_says_so_by_an_alert(newest: int) -> None:
    done = talk(newest, at_server=refuse)
    assert not done.succeeded
    assert done.at_server is not None
    assert done.at_server.reason is Reason.CERTIFICATE_EXPIRED
    assert done.at_peer is not None
    assert done.at_peer.reason is Reason.TLS_FAILURE
    assert "alert" in done.at_peer.text


@given(st.binary(max_size=60))
@settings(max_examples=50)
def test_octets_that_are_no_tls_end_in_an_error(data: bytes) -> None:
    """Whatever comes: an answer (an alert), or one of the two errors that a caller expects."""
    make = partial(end, True, make_leaf(ROOT), TLS_1_3)
    authenticator = server(EapType.TLS, user=b"carol", tls=TlsServer(make, TRUST_ALL))
    request = EapPacket.parse(authenticator.begin())
    rubbish = EapPacket(EapCode.RESPONSE, request.identifier, EapType.TLS, data).emit()
    with suppress(WireError, EapError):
        authenticator.receive(rubbish, 0)
    assert not authenticator.succeeded


def test_what_is_no_tls_is_told_in_openssls_words() -> None:
    make = partial(end, True, make_leaf(ROOT), TLS_1_3)
    authenticator = server(EapType.TLS, user=b"carol", tls=TlsServer(make, TRUST_ALL))
    request = EapPacket.parse(authenticator.begin())
    rubbish = EapPacket(EapCode.RESPONSE, request.identifier, EapType.TLS, b"\0GET / HTTP/1.0\r\n")
    with pytest.raises(EapError, match="http request"):
        authenticator.receive(rubbish.emit(), 0)
