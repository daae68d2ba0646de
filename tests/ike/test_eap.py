"""IKE_AUTH with EAP between two endpoints (RFC 7296 2.16, RFC 5998)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.ike.config import ConnectionConfig, EndpointConfig, Unique
from sim.ike.constants import NotifyType, PayloadType
from sim.ike.credentials import LocalAuth, Method, RemoteAuth
from sim.ike.eap.method import EapError
from sim.ike.eap.names import METHODS
from sim.ike.eap.packets import EapCode, EapPacket, EapType
from sim.ike.eap.peer import EapPeer
from sim.ike.eap.server import EapServer
from sim.ike.events import IkeSaDown, IkeSaUp, MessageSent, Reason
from sim.ike.identity import Identity
from sim.ike.payloads import AuthPayload, EapPayload
from sim.ike.sa import IkeSa
from sim.ike.tasks.auth import RespondAuth
from sim.ike.tasks.base import Outgoing
from sim.ike.tasks.eap import InitiateEap
from sim.scenario.issue import Span
from sim.units import NS_PER_S
from tests.crypto.authority import NOW, make_leaf, make_root
from tests.ike.pair import CONNECTION_A, CONNECTION_B, Pair, ike
from tests.ike.test_pubkey import A_CERT, B_CERT, CERT_A, CERT_B, ROOT, credential, remote

CAROL = Identity.parse("carol@example.org")
SECRETS = {b"carol@example.org": b"Ar3etTnp", b"alice@example.org": b"not carol's"}
ALL = ["eap-mschapv2", "eap-md5", "eap-tls"]


def by(name: str, *, cert: bool = False) -> LocalAuth:
    return LocalAuth(Method.EAP, (credential(A_CERT),) if cert else (), eap=METHODS[name], eap_id=None)


def wants(name: str, **more: object) -> RemoteAuth:
    return replace(remote(), method=Method.EAP, eap=METHODS[name], **more)  # type: ignore[arg-type]


def initiator(name: str = "eap-mschapv2", **more: object) -> ConnectionConfig:
    """alice authenticates by EAP, as `carol@example.org` unless by certificate, and wants a signature."""
    own = by(name, cert=name in ("eap-tls", "eap"))
    if name != "eap-tls":
        own = replace(own, eap_id=CAROL)
    config = replace(CERT_A, local=own, eap_secrets=SECRETS)
    return replace(config, **more)  # type: ignore[arg-type]


def responder(name: str = "eap-mschapv2", *, ask: bool = True, **more: object) -> ConnectionConfig:
    config = replace(CERT_B, remote=wants(name, ask_eap_id=ask), eap_secrets=SECRETS)
    return replace(config, **more)  # type: ignore[arg-type]


def refused(a: ConnectionConfig, b: ConnectionConfig) -> tuple[Pair, IkeSaDown, IkeSaDown]:
    pair = Pair(a, b)
    pair.initiate()
    pair.drive(10 * NS_PER_S)
    assert not pair.a.all(IkeSaUp)
    assert not pair.b.all(IkeSaUp)
    assert not pair.a.children
    assert not pair.b.children
    return pair, pair.a.last(IkeSaDown), pair.b.last(IkeSaDown)


# -- the exchange ------------------------------------------------------------------------------------------


def test_c29_the_responder_signs_first_and_child_sas_come_last() -> None:
    pair = Pair(initiator(), responder()).establish()
    # a -> b  HDR, SK {IDi, CERTREQ, IDr, SAi2, TSi, TSr, ...}     b -> a  HDR, SK {IDr, CERT, AUTH, EAP}
    # a -> b  HDR, SK {EAP} (identity, response, success)          b -> a  HDR, SK {EAP}, at last EAP-Success
    # a -> b  HDR, SK {AUTH}                                       b -> a  HDR, SK {AUTH, SAr2, TSi, TSr, ...}

    asked = pair.a.ladder[1:]
    assert asked[0].startswith("HDR, SK {IDi, CERTREQ, IDr, SAi2, TSi, TSr")
    assert "N(MOBIKE_SUPPORTED)" in asked[0]
    assert "N(INITIAL_CONTACT)" in asked[0]
    assert asked[1:] == ["HDR, SK {EAP}"] * 3 + ["HDR, SK {AUTH}"]
    answered = pair.b.ladder[1:]
    assert answered[:4] == ["HDR, SK {IDr, CERT, AUTH, EAP}"] + ["HDR, SK {EAP}"] * 3
    assert answered[4].startswith("HDR, SK {AUTH, SAr2, TSi, TSr")
    assert "N(MOBIKE_SUPPORTED)" in answered[4]
    assert len(pair.a.children) == len(pair.b.children) == 1


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("ask", [True, False])
def test_c29_every_method_brings_the_connection_up(name: str, ask: bool) -> None:
    known = replace(wants(name), eap_id=None if name == "eap-tls" else CAROL)
    b = responder(name) if ask else responder(name, remote=known)
    pair = Pair(initiator(name), b).establish()
    (up,) = pair.b.all(IkeSaUp)
    # Who it is for us is whom it proved to be, not what IDi says (RFC 7296 2.16).
    assert up.remote_id == ("alice@example.org" if name == "eap-tls" else "carol@example.org")
    assert pair.a.last(IkeSaUp).remote_id == "moon.example.org"
    assert len(pair.a.children) == len(pair.b.children) == 1


def test_c29_a_responder_with_a_shared_key_authenticates_first_as_well() -> None:
    a = replace(initiator(), remote=CONNECTION_A.remote, psk=CONNECTION_A.psk)
    b = replace(responder(), local=CONNECTION_B.local, psk=CONNECTION_B.psk)
    pair = Pair(a, b).establish()
    assert pair.b.ladder[1] == "HDR, SK {IDr, AUTH, EAP}"


@pytest.mark.parametrize(("name", "has_key"), [("eap-mschapv2", True), ("eap-tls", True), ("eap-md5", False)])
def test_c29_auth_is_made_with_the_msk_or_else_with_sk_p(
    name: str, has_key: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that takes the other key for AUTH is not believed."""
    Pair(initiator(name), responder(name)).establish()

    def other(eap: EapPeer, octets: bytes, now: int) -> bytes | None:
        response = receive(eap, octets, now)
        if response is None:
            eap.msk = b"" if has_key else bytes(64)
        return response

    receive = EapPeer.receive
    monkeypatch.setattr(EapPeer, "receive", other)
    _, _, there = refused(initiator(name), responder(name))
    assert there.reason is Reason.AUTHENTICATION_FAILED


def test_c29_lost_messages_are_repeated_in_every_round() -> None:
    quiet = len(Pair(initiator(), responder()).establish().sent)
    for after in range(quiet // 2):
        for side in ("a", "b"):
            pair = Pair(initiator(), responder())
            pair.drop(1, side, after)
            pair.initiate()
            pair.drive(6 * NS_PER_S)
            assert pair.up, (after, side)
            assert len(pair.a.children) == len(pair.b.children) == 1


def test_c29_a_peer_without_the_method_proposes_its_own() -> None:
    pair = Pair(initiator("eap-md5"), responder("eap")).establish()
    assert pair.up
    _, here, there = refused(initiator("eap-md5"), responder("eap-mschapv2"))
    assert here.reason is there.reason is Reason.EAP_METHOD_REFUSED
    assert "eap-md5" in here.text
    assert "eap-mschapv2" in there.text


def test_c29_a_connection_that_wants_no_eap_says_so() -> None:
    _, here, there = refused(initiator(), CERT_B)
    assert here.reason is Reason.AUTHENTICATION_FAILED
    assert there.reason is Reason.WRONG_METHOD
    assert "wants pubkey" in there.text


def test_c29_an_initiator_that_proves_otherwise_is_told_so() -> None:
    _, here, there = refused(CERT_A, responder())
    assert here.reason is Reason.AUTHENTICATION_FAILED
    assert there.reason is Reason.WRONG_METHOD


# -- failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "here", "there"),
    [
        ("eap-mschapv2", Reason.WRONG_PASSWORD, Reason.WRONG_PASSWORD),
        ("eap-md5", Reason.EAP_FAILURE, Reason.WRONG_PASSWORD),
    ],
)
def test_c29_a_wrong_password_ends_it_for_a_reason_at_both_sides(
    name: str, here: Reason, there: Reason
) -> None:
    wrong = initiator(name, eap_secrets={b"carol@example.org": b"guess"})
    pair, at_a, at_b = refused(wrong, responder(name))
    assert pair.b.ladder[-1] == "HDR, SK {EAP, N(AUTHENTICATION_FAILED)}"
    assert (at_a.reason, at_b.reason) == (here, there)
    assert "carol@example.org" in at_b.text


def test_c29_a_peer_that_only_takes_note_of_its_refusal_is_told_of_by_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """strongSwan answers MSCHAPv2's Failure by giving up, in an INFORMATIONAL exchange."""

    def give_up(eap: EapPeer, octets: bytes, now: int) -> bytes | None:
        if EapPacket.parse(octets).data[:1] == b"\x04":
            raise EapError(Reason.WRONG_PASSWORD, "our password is wrong")
        return receive(eap, octets, now)

    receive = EapPeer.receive
    monkeypatch.setattr(EapPeer, "receive", give_up)
    pair, _, there = refused(initiator(eap_secrets={b"carol@example.org": b"guess"}), responder())
    assert pair.a.ladder[-1] == "HDR, SK {N(AUTHENTICATION_FAILED), D}"
    assert there.reason is Reason.WRONG_PASSWORD


def test_c29_an_unknown_user_is_refused() -> None:
    _, _, there = refused(initiator(), responder(eap_secrets={b"dave": b"x"}))
    assert there.reason is Reason.UNKNOWN_USER


def test_c29_a_server_without_the_password_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The initiator tells it by a Delete, while the responder still waits (RFC 7296 2.21.2)."""

    def skip(server: EapServer, octets: bytes, now: int) -> bytes:
        server.succeeded = True
        return EapPacket(EapCode.SUCCESS, octets[1]).emit()

    monkeypatch.setattr(EapServer, "receive", skip)
    pair, here, there = refused(initiator(), responder())
    assert here.reason is Reason.EAP_FAILURE
    assert pair.a.ladder[-1] == "HDR, SK {N(AUTHENTICATION_FAILED), D}"
    assert there.reason is Reason.AUTHENTICATION_FAILED
    assert pair.b.ladder[-1] == "HDR, SK {}"


def test_c29_a_responder_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def chat(server: EapServer, octets: bytes, now: int) -> bytes:
        return EapPacket(EapCode.REQUEST, octets[1], EapType.NOTIFICATION, b"wait").emit()

    monkeypatch.setattr(EapServer, "receive", chat)
    pair, here, _ = refused(initiator(), responder())
    assert here.reason is Reason.EAP_FAILURE
    assert "256 rounds" in here.text
    assert len(pair.a.ladder) < 300


def test_c29_auth_before_the_end_of_eap_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def early(task: InitiateEap, sa: object, out: object, now: int) -> object:
        if task._eap is not None:
            task._answer = None
        return build(task, sa, out, now)  # type: ignore[arg-type]

    build = InitiateEap.build
    monkeypatch.setattr(InitiateEap, "build", early)
    _, here, there = refused(initiator(), responder())
    assert here.reason is Reason.AUTHENTICATION_FAILED
    assert there.reason is Reason.EAP_FAILURE


OLD = Span(NOW - 2000, NOW - 1000)


def test_c29_an_expired_certificate_of_the_peer_is_judged_in_virtual_time() -> None:
    expired = make_leaf(ROOT, "O=Example, CN=alice", names=["alice@example.org"], span=OLD)
    own = replace(by("eap-tls", cert=True), credentials=(credential(expired),))
    _, here, there = refused(initiator("eap-tls", local=own), responder("eap-tls"))
    assert here.reason is Reason.TLS_FAILURE
    assert there.reason is Reason.CERTIFICATE_EXPIRED


def test_c30_an_expired_certificate_of_the_server_is_judged_in_virtual_time() -> None:
    a, b = alone("eap-tls")
    expired = make_leaf(ROOT, "O=Example, CN=moon", span=OLD)
    _, here, there = refused(a, replace(b, local=replace(b.local, credentials=(credential(expired),))))
    assert here.reason is Reason.CERTIFICATE_EXPIRED
    assert there.reason is Reason.TLS_FAILURE


def test_c29_eap_tls_wants_a_certificate_for_the_identity_in_eap() -> None:
    other = make_leaf(ROOT, "CN=mallory", names=["mallory@example.org"])
    a = replace(
        initiator("eap-tls"), local=replace(by("eap-tls", cert=True), credentials=(credential(other),))
    )
    _, _, there = refused(a, responder("eap-tls"))
    assert there.reason is Reason.ID_NOT_CONFIRMED


def test_c29_a_half_open_sa_that_stops_in_the_middle_of_eap_is_forgotten() -> None:
    pair = Pair(initiator(), responder())
    pair.drop(100, "a", after=3)
    pair.initiate()
    pair.drive(31 * NS_PER_S)
    assert pair.b.last(IkeSaDown).reason is Reason.ABANDONED


def test_c29_an_older_sa_of_the_same_user_is_replaced_after_eap_alone() -> None:
    """Nobody who has not proved it ends another's IKE SA (RFC 7296 2.4)."""
    pair = Pair(initiator(), responder(unique=Unique.REPLACE)).establish()
    wrong = initiator(eap_secrets={b"carol@example.org": b"guess"})
    pair.restart(pair.a, EndpointConfig(connections=(wrong,)))
    pair.initiate()
    pair.drive(3 * NS_PER_S)
    assert len(pair.b.children) == 1
    assert pair.b.all(IkeSaUp)[0].ike_id not in {down.ike_id for down in pair.b.all(IkeSaDown)}
    pair.restart(pair.a, EndpointConfig(connections=(initiator(),)), "again")
    pair.initiate()
    pair.drive(3 * NS_PER_S)
    assert pair.b.all(IkeSaDown)[-1].reason is Reason.REPLACED
    assert len(pair.b.children) == 1


# -- EAP alone ---------------------------------------------------------------------------------------------


def alone(name: str, *, cert: bool = True) -> tuple[ConnectionConfig, ConnectionConfig]:
    a = replace(initiator(name), remote=wants(name))
    own = LocalAuth(Method.EAP, (credential(B_CERT),) if cert else (), eap=METHODS[name])
    return a, responder(name, local=own)


def test_c30_eap_alone_proves_both_sides() -> None:
    pair = Pair(*alone("eap-tls")).establish()
    assert "N(EAP_ONLY_AUTHENTICATION)" in pair.a.ladder[1]
    assert pair.b.ladder[1] == "HDR, SK {IDr, EAP}"
    assert len(pair.a.children) == len(pair.b.children) == 1


@pytest.mark.parametrize("name", ["eap-md5", "eap-mschapv2"])
def test_c30_a_method_that_falls_to_a_dictionary_does_not_stand_alone(name: str) -> None:
    """RFC 5998 4: only mutual methods that give a key and withstand a dictionary."""
    _, here, there = refused(*alone(name))
    assert there.reason is Reason.EAP_METHOD_REFUSED
    assert here.reason is Reason.AUTHENTICATION_FAILED


def test_c30_an_initiator_that_only_knows_md5_does_not_take_part() -> None:
    a, b = alone("eap")
    a = replace(a, local=replace(a.local, eap=(EapType.MD5,)))
    _, _, there = refused(a, b)
    assert there.reason is Reason.EAP_METHOD_REFUSED


def test_c30_a_responder_must_not_leave_its_proof_out_unasked() -> None:
    """RFC 5998 3: the initiator did not send EAP_ONLY_AUTHENTICATION, so nobody may take EAP for enough."""
    _, b = alone("eap-tls")
    pair, here, there = refused(initiator("eap-tls"), b)
    assert "EAP_ONLY" not in pair.a.ladder[1]
    assert there.reason is Reason.WRONG_METHOD
    assert here.reason is Reason.AUTHENTICATION_FAILED


def test_c30_an_initiator_that_wants_a_signature_refuses_to_do_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, b = alone("eap-tls")
    monkeypatch.setattr("sim.ike.tasks.eap.only_eap", lambda connection: not connection.remote_addrs)
    monkeypatch.setattr("sim.ike.message.Message.notify", _claims(NotifyType.EAP_ONLY_AUTHENTICATION))
    _, here, _ = refused(initiator("eap-tls"), b)
    assert here.reason is Reason.WRONG_METHOD


def _claims(kind: NotifyType) -> Callable[[object, int], object]:
    from sim.ike.message import Message

    notify = Message.notify
    return lambda message, wanted: True if wanted == kind else notify(message, wanted)  # type: ignore[arg-type]


def test_c30_an_untrusted_server_is_refused_in_eap_tls_alone() -> None:
    a, b = alone("eap-tls")
    stranger = make_root("CN=stranger")
    leaf = make_leaf(stranger, "CN=moon")
    _, here, there = refused(a, replace(b, local=replace(b.local, credentials=(credential(leaf),))))
    assert here.reason is Reason.NO_TRUSTED_ISSUER
    assert there.reason is Reason.TLS_FAILURE


def test_eap_that_nobody_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The initiator has proved itself by a signature and wants one."""

    def build(task: RespondAuth, sa: IkeSa, out: Outgoing, now: int) -> None:
        assert sa.local_id is not None
        out.add(sa.local_id.payload(PayloadType.ID_R), EapPayload(EapPacket(EapCode.REQUEST, 1, 1).emit()))

    monkeypatch.setattr(RespondAuth, "build", build)
    pair = Pair(CERT_A, CERT_B)
    pair.initiate()
    pair.drive(NS_PER_S)
    assert pair.a.last(IkeSaDown).reason is Reason.WRONG_METHOD


def test_a_proof_that_is_no_auth_method_2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296 2.16: the AUTH payloads after EAP are shared-key MICs."""
    made = AuthPayload(1, bytes(32))
    monkeypatch.setattr("sim.ike.tasks.eap.session_proof", lambda *_, **__: made)
    _, _, there = refused(initiator(), responder())
    assert there.reason is Reason.AUTHENTICATION_FAILED


def test_c29_auth_covers_additional_key_exchanges_after_eap_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9242 3.3.2: the message ID of the first IKE_AUTH counts, however many follow."""
    covered: list[bytes] = []
    signed_later = IkeSa.signed_later.__get__

    def watched(sa: IkeSa) -> bytes:
        covered.append(signed_later(sa))
        return covered[-1]

    monkeypatch.setattr(IkeSa, "signed_later", property(watched))
    suite = ike("aes128gcm16-prfsha256-x25519-ke1_ecp256")
    pair = Pair(initiator(proposals=suite), responder(proposals=suite)).establish()
    assert "IKE_INTERMEDIATE" in [event.exchange for event in pair.a.all(MessageSent)]
    assert {octets[-4:] for octets in covered} == {(2).to_bytes(4, "big")}


EAP_PACKETS = st.builds(
    EapPacket, st.sampled_from(EapCode), st.integers(0, 255), st.integers(1, 255), st.binary(max_size=80)
)


@given(st.lists(EAP_PACKETS, min_size=1, max_size=3), st.sampled_from([*ALL, "eap"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_eap_a_peer_says_ends_the_sa_or_leaves_it_half_open(
    said: list[EapPacket], name: str, by_server: bool
) -> None:
    """No exception escapes, and nobody gets in."""
    packets = iter(said)

    def babble(*_: object) -> bytes:
        return next(packets, EapPacket(EapCode.FAILURE, 0)).emit()

    with pytest.MonkeyPatch.context() as patch:
        if by_server:
            patch.setattr(EapServer, "begin", babble)
        patch.setattr(EapServer if by_server else EapPeer, "receive", babble)
        pair = Pair(initiator(name), responder(name))
        pair.initiate()
        pair.drive(35 * NS_PER_S)
    assert not pair.a.all(IkeSaUp)
    assert not pair.b.all(IkeSaUp)
    assert not pair.b.endpoint._ctx.sas
