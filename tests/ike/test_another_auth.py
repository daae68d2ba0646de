"""A second round of the initiator's authentication between two endpoints (RFC 4739)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import ConnectionConfig, EndpointConfig
from sim.ike.constants import NotifyType, PayloadType
from sim.ike.credentials import LocalAuth, Method, RemoteAuth, SecondAuth
from sim.ike.eap.names import METHODS
from sim.ike.eap.packets import EapType
from sim.ike.events import IkeSaDown, IkeSaUp, Reason
from sim.ike.identity import Identity
from sim.ike.payloads import AuthPayload, NotifyPayload
from sim.ike.proof import session_proof
from sim.ike.sa import IkeSa
from sim.ike.tasks.another_auth import InitiateAnother
from sim.ike.tasks.auth import RespondAuth
from sim.ike.tasks.base import Outgoing
from sim.units import NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, Pair
from tests.ike.test_eap import refused
from tests.ike.test_pubkey import CERT_A, CERT_B

CAROL = Identity.parse("carol@example.org")
SECRETS = {b"carol@example.org": b"Ar3etTnp"}
GUESS = {b"carol@example.org": b"guess"}
FIRST = {"psk": (CONNECTION_A, CONNECTION_B), "pubkey": (CERT_A, CERT_B)}


def caller(first: str = "pubkey", name: str = "eap-mschapv2", **more: object) -> ConnectionConfig:
    """alice's machine authenticates as in `first`, then carol by EAP."""
    config = FIRST[first][0]
    local = replace(config.local, second=SecondAuth(METHODS[name], CAROL))
    return replace(config, local=local, eap_secrets=SECRETS, **more)  # type: ignore[arg-type]


def called(
    first: str = "pubkey", name: str = "eap-mschapv2", second: SecondAuth | None = None, **more: object
) -> ConnectionConfig:
    config = FIRST[first][1]
    remote = replace(config.remote, second=second or SecondAuth(METHODS[name], CAROL))
    config = replace(config, remote=remote, eap_secrets=SECRETS)
    return replace(config, **more)  # type: ignore[arg-type]


def test_c33_the_second_round_follows_the_first_and_child_sas_come_last() -> None:
    """RFC 4739 2.4: IDi begins the second round, and the last response answers the first request."""
    pair = Pair(caller(), called()).establish()
    asked, answered = pair.a.ladder, pair.b.ladder
    assert "N(MULTIPLE_AUTH_SUPPORTED)" in answered[0]
    assert asked[1].startswith("HDR, SK {IDi, CERT, CERTREQ, IDr, AUTH, SAi2, TSi, TSr")
    assert "N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS)" in asked[1]
    assert answered[1] == "HDR, SK {IDr, CERT, AUTH}"
    assert asked[2:] == ["HDR, SK {IDi}", "HDR, SK {EAP}", "HDR, SK {EAP}", "HDR, SK {AUTH}"]
    assert answered[2:5] == ["HDR, SK {EAP}"] * 3
    assert answered[5].startswith("HDR, SK {AUTH, SAr2, TSi, TSr")
    assert len(pair.a.children) == len(pair.b.children) == 1


@pytest.mark.parametrize("first", list(FIRST))
@pytest.mark.parametrize("name", ["eap-mschapv2", "eap-md5", "eap"])
@pytest.mark.parametrize("ask", [True, False])
def test_c33_every_pair_of_methods_brings_the_connection_up(first: str, name: str, ask: bool) -> None:
    kinds = tuple(kind for kind in METHODS[name] if kind is not EapType.TLS)
    second = SecondAuth(kinds, None if ask else CAROL, ask_eap_id=ask)
    a = caller(first, "eap-mschapv2" if name == "eap" else name)
    pair = Pair(a, called(first, second=second)).establish()
    (up,) = pair.b.all(IkeSaUp)
    assert up.remote_id == "carol@example.org"
    assert pair.a.last(IkeSaUp).local_id == "carol@example.org"
    assert len(pair.a.children) == len(pair.b.children) == 1


def test_c33_without_an_identity_of_its_own_the_second_round_is_of_our_address() -> None:
    a, b = caller(), called(second=SecondAuth(METHODS["eap-mschapv2"], ask_eap_id=True))
    own = SecondAuth(METHODS["eap-mschapv2"], eap_id=CAROL)
    pair = Pair(replace(a, local=replace(a.local, second=own)), b).establish()
    assert pair.a.last(IkeSaUp).local_id == "192.0.2.1"
    assert pair.b.last(IkeSaUp).remote_id == "carol@example.org"


@pytest.mark.parametrize("first", list(FIRST))
@pytest.mark.parametrize(
    ("name", "here"), [("eap-mschapv2", Reason.WRONG_PASSWORD), ("eap-md5", Reason.EAP_FAILURE)]
)
def test_c33_a_wrong_second_password_ends_it_for_its_own_reason(first: str, name: str, here: Reason) -> None:
    wrong = replace(caller(first, name), eap_secrets=GUESS)
    pair, at_a, at_b = refused(wrong, called(first, name))
    assert pair.b.ladder[-1] == "HDR, SK {EAP, N(AUTHENTICATION_FAILED)}"
    assert (at_a.reason, at_b.reason) == (here, Reason.WRONG_PASSWORD)
    assert "carol@example.org" in at_b.text


def test_c33_a_wrong_first_proof_ends_it_before_the_second_round() -> None:
    pair, here, there = refused(caller("psk", psk=b"guess"), called("psk"))
    assert here.reason is there.reason is Reason.AUTHENTICATION_FAILED
    assert len(pair.a.ladder) == 2


def test_c33_somebody_else_in_the_second_round_is_refused() -> None:
    dave = SecondAuth(METHODS["eap-mschapv2"], Identity.parse("dave@example.org"), CAROL)
    pair, here, there = refused(caller(), called(second=dave))
    assert there.reason is Reason.ID_NOT_ACCEPTED
    assert "carol@example.org" in there.text
    assert here.reason is Reason.AUTHENTICATION_FAILED
    assert "our proof by EAP" in here.text
    assert pair.a.ladder[-1] == "HDR, SK {IDi}"


def test_c33_a_responder_without_support_is_not_asked() -> None:
    """RFC 4739 2.1: only those who have announced it get a second round."""
    pair = Pair(caller(), CERT_B).establish()
    assert not any("MULTIPLE_AUTH" in each or "ANOTHER" in each for each in pair.a.ladder + pair.b.ladder)
    assert len(pair.a.ladder) == 2
    assert pair.b.last(IkeSaUp).remote_id == "alice@example.org"


def test_c33_an_initiator_without_a_second_proof_is_refused_where_one_is_wanted() -> None:
    pair, here, there = refused(CERT_A, called())
    assert there.reason is Reason.WRONG_METHOD
    assert "wants a second proof" in there.text
    assert here.reason is Reason.AUTHENTICATION_FAILED
    assert pair.b.ladder[-1] == "HDR, SK {N(AUTHENTICATION_FAILED)}"


def test_c33_an_unwanted_second_proof_is_refused() -> None:
    """One connection of the host wants two rounds, but that of this peer one."""
    pair = Pair(caller(), CERT_B)
    other = called(name="eap-md5", remote_id=Identity.parse("bob@example.org"))
    both = EndpointConfig(connections=(CERT_B, replace(other, name="other")))
    pair.restart(pair.b, both)
    pair.initiate()
    pair.drive(3 * NS_PER_S)
    assert pair.b.last(IkeSaDown).reason is Reason.WRONG_METHOD
    assert "wants one proof" in pair.b.last(IkeSaDown).text


def test_c33_among_connections_for_the_same_peer_the_announcement_chooses() -> None:
    for a, name in ((caller(), "twice"), (CERT_A, "rw")):
        pair = Pair(a)
        connections = (CERT_B, replace(called(), name="twice"))
        pair.restart(pair.b, EndpointConfig(connections=connections))
        pair.establish()
        assert pair.b.last(IkeSaUp).connection == name


def test_c33_lost_messages_are_repeated_in_both_rounds() -> None:
    quiet = len(Pair(caller(), called()).establish().sent)
    assert quiet == 12
    for after in range(quiet // 2):
        for side in ("a", "b"):
            pair = Pair(caller(), called())
            pair.drop(1, side, after)
            pair.initiate()
            pair.drive(6 * NS_PER_S)
            assert pair.up, (after, side)
            assert len(pair.a.children) == len(pair.b.children) == 1


def test_c33_the_first_proof_alone_establishes_nothing() -> None:
    pair = Pair(caller(), called())
    pair.drop(100, "a", after=2)
    pair.initiate()
    pair.drive(31 * NS_PER_S)
    assert not pair.b.all(IkeSaUp)
    assert not pair.b.children
    assert pair.b.last(IkeSaDown).reason is Reason.ABANDONED


def test_c33_auth_of_the_second_round_covers_its_own_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 4739 2.5, RFC 7296 2.15: that of the first round does not do."""

    def other(task: InitiateAnother, sa: IkeSa, out: Outgoing, now: int) -> None:
        build(task, sa, out, now)
        if task._begun and out.payloads and isinstance(out.payloads[0], AuthPayload):
            assert task._eap is not None
            first = Identity.parse("alice@example.org")
            assert first is not None
            own = first.payload(PayloadType.ID_I)
            out.payloads[0] = session_proof(sa, own, task._eap.msk, by_initiator=True)

    build = InitiateAnother.build
    monkeypatch.setattr(InitiateAnother, "build", other)
    _, _, there = refused(caller(), called())
    assert there.reason is Reason.AUTHENTICATION_FAILED
    assert "it was its EAP" in there.text


def test_c33_a_second_round_by_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def early(task: InitiateAnother, sa: IkeSa, out: Outgoing, now: int) -> None:
        build(task, sa, out, now)
        if task._begun and task._eap is None:
            out.add(session_proof(sa, task._own, b"", by_initiator=True))

    build = InitiateAnother.build
    monkeypatch.setattr(InitiateAnother, "build", early)
    _, _, there = refused(caller(), called())
    assert there.reason is Reason.WRONG_METHOD


def test_c33_a_responder_that_proves_itself_twice_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def more(task: RespondAuth, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add_last(NotifyPayload(NotifyType.ANOTHER_AUTH_FOLLOWS))
        build(task, sa, out, now)

    build = RespondAuth.build
    monkeypatch.setattr(RespondAuth, "build", more)
    _, here, _ = refused(caller(), called())
    assert here.reason is Reason.WRONG_METHOD
    assert "prove itself twice" in here.text


def test_c33_what_cannot_be_configured_is_refused() -> None:
    second = SecondAuth(METHODS["eap-md5"])
    with pytest.raises(ValueError, match="with a password"):
        SecondAuth(METHODS["eap-tls"])
    with pytest.raises(ValueError, match="after EAP"):
        LocalAuth(Method.EAP, eap=METHODS["eap-md5"], second=second)
    with pytest.raises(ValueError, match="only initiators"):
        replace(CONNECTION_B, local=LocalAuth(second=second))
    with pytest.raises(ValueError, match="proves itself once"):
        replace(CONNECTION_A, remote=RemoteAuth(second=second))
