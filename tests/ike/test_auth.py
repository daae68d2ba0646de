"""IKE_AUTH with a shared key (RFC 7296 2.15): who is who, and every way of not being it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike import proof
from sim.ike.auth import psk_auth
from sim.ike.config import EndpointConfig
from sim.ike.events import ChildSaDown, IkeSaDown, IkeSaUp, Reason
from sim.ike.identity import Identity
from sim.ike.payloads import AuthPayload
from sim.ike.tasks import auth
from sim.units import NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, A, Pair


def test_c25_both_sides_authenticate_and_name_each_other() -> None:
    pair = Pair().establish()

    a, b = pair.a.last(IkeSaUp), pair.b.last(IkeSaUp)
    assert (a.local_id, a.remote_id) == (b.remote_id, b.local_id) == ("alice@example.org", "moon.example.org")
    assert (a.spi_i, a.spi_r) == (b.spi_i, b.spi_r)
    assert (a.initiator, b.initiator) == (True, False)


def test_what_ike_auth_alone_needs_is_forgotten_after_it() -> None:
    pair = Pair().establish()

    for end in (pair.a, pair.b):
        (sa,) = end.endpoint._ctx.sas.values()
        assert not any((sa.init_i, sa.init_r, sa.nonce_i, sa.nonce_r, sa.offered, sa.int_auth))
        assert sa.candidates == (sa.connection,)


@pytest.mark.parametrize("psk", [b"", bytes(64), b"k" * 200])
def test_c25_a_key_of_any_length_works_and_has_no_terminator(psk: bytes) -> None:
    pair = Pair(replace(CONNECTION_A, psk=psk), replace(CONNECTION_B, psk=psk))
    pair.establish()

    wrong = Pair(replace(CONNECTION_A, psk=psk), replace(CONNECTION_B, psk=psk + b"\0x"))
    wrong.initiate()
    wrong.settle()
    assert not wrong.up


def test_a_wrong_key_is_named_at_both_ends() -> None:
    pair = Pair(replace(CONNECTION_A, psk=b"battery"))
    pair.initiate()
    pair.settle()
    # a -> b  {IDi, IDr, AUTH, ...};  b -> a  {N(AUTHENTICATION_FAILED)}

    assert pair.b.ladder[-1] == "HDR, SK {N(AUTHENTICATION_FAILED)}"
    down = pair.a.last(IkeSaDown)
    assert down.reason is Reason.AUTHENTICATION_FAILED
    assert down.text == (
        "198.51.100.1[4500] rejected our pre-shared key or identity alice@example.org: AUTHENTICATION_FAILED"
    )
    assert pair.b.last(IkeSaDown).text == "alice@example.org did not prove that it knows our pre-shared key"
    assert not pair.a.all(IkeSaUp)
    assert not pair.b.all(IkeSaUp)
    assert len(pair.sent) == 4
    (row,) = pair.a.endpoint.sas
    assert (row.state, row.reason, row.established_at) == ("closed", Reason.AUTHENTICATION_FAILED, -1)


def test_an_initiator_that_rejects_the_responder_says_so_in_an_exchange_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 7296 2.21.2: N(AUTHENTICATION_FAILED) in INFORMATIONAL, and both sides are down."""
    pair = Pair()
    pair.drop(0)
    pair.initiate()
    pair.drive(25_000_000)
    monkeypatch.setattr(proof, "psk_auth", lambda *rest: psk_auth(*rest)[::-1])
    pair.settle()
    # b -> a  {IDr, AUTH (wrong), ...};  a -> b  {N(AUTHENTICATION_FAILED), D};  b -> a  {}

    assert pair.a.ladder[-1] == "HDR, SK {N(AUTHENTICATION_FAILED), D}"
    assert pair.b.ladder[-1] == "HDR, SK {}"
    assert not pair.a.all(IkeSaUp)
    assert pair.a.last(IkeSaDown).text == "moon.example.org did not prove that it knows our pre-shared key"
    assert pair.b.last(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED
    assert pair.b.last(ChildSaDown).reason is Reason.AUTHENTICATION_FAILED
    assert [view.state for view in pair.a.endpoint.sas] == ["closed"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"local_id": Identity.parse("eve@example.org")}, "no connection is for a peer eve@example.org"),
        ({"remote_id": Identity.parse("sun.example.org")}, "that asks for sun.example.org"),
    ],
)
def test_an_unknown_identity_fails_like_a_wrong_key(change: dict[str, Identity], text: str) -> None:
    pair = Pair(replace(CONNECTION_A, **change))  # type: ignore[arg-type]
    pair.initiate()
    pair.settle()

    assert pair.a.last(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED
    assert text in pair.b.last(IkeSaDown).text


def test_a_responder_with_another_name_is_rejected_by_the_initiator() -> None:
    pair = Pair(replace(CONNECTION_A, remote_id=None))
    pair.establish()
    assert pair.a.last(IkeSaUp).remote_id == "moon.example.org"


def test_identities_default_to_addresses() -> None:
    pair = Pair(
        replace(CONNECTION_A, local_id=None, remote_id=None),
        replace(CONNECTION_B, local_id=None, remote_id=None),
    )
    pair.establish()

    assert pair.b.last(IkeSaUp).remote_id == "192.0.2.1"
    assert pair.b.last(IkeSaUp).local_id == "198.51.100.1"


def test_a_connection_that_names_the_peer_comes_before_one_for_any() -> None:
    named = replace(CONNECTION_B, name="alice")
    any_peer = replace(CONNECTION_B, name="any", remote_id=None, psk=b"other")
    pair = Pair()
    pair.restart(pair.b, EndpointConfig(connections=(any_peer, named)))
    pair.establish()

    assert pair.b.last(IkeSaUp).connection == "alice"


def test_the_secret_tells_which_of_two_connections_for_whoever_knows_it_is_meant() -> None:
    one, two = (
        replace(CONNECTION_B, name=name, remote_id=None, psk=name.encode()) for name in ("one", "two")
    )
    pair = Pair(replace(CONNECTION_A, psk=b"two"))
    pair.restart(pair.b, EndpointConfig(connections=(one, two)))
    pair.establish()

    assert pair.b.last(IkeSaUp).connection == "two"


def test_whoever_knows_no_secret_is_refused_by_the_first_connection() -> None:
    one, two = (
        replace(CONNECTION_B, name=name, remote_id=None, psk=name.encode()) for name in ("one", "two")
    )
    pair = Pair(replace(CONNECTION_A, psk=b"three"))
    pair.restart(pair.b, EndpointConfig(connections=(one, two)))
    pair.initiate()
    pair.settle()

    down = pair.b.last(IkeSaDown)
    assert (down.connection, down.reason) == ("one", Reason.AUTHENTICATION_FAILED)
    assert down.text == "alice@example.org did not prove that it knows our pre-shared key"


def test_who_is_named_needs_the_secret_of_that_name() -> None:
    """What another connection lets anybody in with is no proof to be alice."""
    named = replace(CONNECTION_B, name="alice", psk=b"hers")
    any_peer = replace(CONNECTION_B, name="any", remote_id=None)
    pair = Pair()
    pair.restart(pair.b, EndpointConfig(connections=(any_peer, named)))
    pair.initiate()
    pair.settle()

    assert not pair.up
    assert pair.b.last(IkeSaDown).connection == "alice"


def test_names_and_mail_addresses_are_compared_without_case() -> None:
    """And the peer's own spelling stands in what is reported and authenticated."""
    alice, moon = Identity.parse("ALICE@example.org"), Identity.parse("Moon.Example.Org")
    shouting = replace(CONNECTION_A, local_id=alice, remote_id=moon)
    pair = Pair(shouting).establish()
    up = pair.b.last(IkeSaUp)
    assert (up.local_id, up.remote_id) == ("Moon.Example.Org", "ALICE@example.org")
    pair.restart(pair.a, EndpointConfig((replace(shouting, local_id=CONNECTION_A.local_id),)))
    pair.initiate()
    pair.settle()
    # a -> b  {IDi, IDr, AUTH, N(INITIAL_CONTACT), ...}
    assert pair.b.last(IkeSaDown).reason is Reason.REPLACED


def test_a_wildcard_lets_in_all_that_it_fits_and_asks_the_responder_for_no_name() -> None:
    anyone = replace(CONNECTION_B, remote_id=Identity.parse("*@example.org"))
    pair = Pair(replace(CONNECTION_A, remote_id=Identity.parse("*.example.org")), anyone).establish()
    # a -> b  {IDi, AUTH, ...}
    assert "IDr" not in next(line for line in pair.a.ladder if "IDi" in line)
    assert pair.b.last(IkeSaUp).remote_id == "alice@example.org"

    other = Pair(b=replace(CONNECTION_B, remote_id=Identity.parse("*@example.com")))
    other.initiate()
    other.settle()
    assert other.b.last(IkeSaDown).text.startswith("no connection is for a peer alice@example.org")


def test_the_connection_that_fits_a_peer_best_is_taken() -> None:
    named = replace(CONNECTION_B, name="named")
    pattern = replace(CONNECTION_B, name="pattern", remote_id=Identity.parse("*@example.org"))
    anybody = replace(CONNECTION_B, name="any", remote_id=None)
    for configured, taken in (((anybody, pattern, named), "named"), ((anybody, pattern), "pattern")):
        pair = Pair()
        pair.restart(pair.b, EndpointConfig(configured))
        pair.initiate()
        pair.settle()
        assert pair.b.last(IkeSaUp).connection == taken


def test_c13_initial_contact_comes_with_the_only_ike_sa_and_replaces_what_is_left_over() -> None:
    """a crashes and starts afresh; b drops the old IKE SA without a word."""
    pair = Pair().establish()
    assert "N(INITIAL_CONTACT)" in pair.a.ladder[1]
    old_spi = pair.b.last(IkeSaUp).spi_r
    pair.restart(pair.a, EndpointConfig(connections=(CONNECTION_A,)))
    pair.drive(NS_PER_S)
    pair.initiate()
    pair.settle()

    assert [(event.ike_id, event.reason) for event in pair.b.all(IkeSaDown)] == [(1, Reason.REPLACED)]
    assert pair.b.last(IkeSaUp).spi_r != old_spi
    assert len(pair.b.children) == 1
    assert len(pair.b.endpoint.sas) == 1


def test_c13_initial_contact_spares_an_sa_that_came_up_meanwhile() -> None:
    """Both sides initiate at once: neither IKE SA is left over."""
    pair = Pair(b=replace(CONNECTION_B, remote_addrs=(A,)))
    pair.a.endpoint.initiate("rw", "net", 0)
    pair.b.endpoint.initiate("rw", "net", 0)
    pair.a.pump(0)
    pair.b.pump(0)
    pair.drive(60 * NS_PER_S)

    assert len(pair.a.endpoint.sas) == len(pair.b.endpoint.sas) == 2
    assert {c.spi_out for c in pair.a.children.values()} == set(pair.b.children)


def test_eap_is_refused_by_name() -> None:
    """A first IKE_AUTH without AUTH asks for EAP (RFC 7296 2.16)."""

    class NoProof(auth.InitiateAuth):
        def build(self, sa, out, now) -> None:  # type: ignore[no-untyped-def]
            super().build(sa, out, now)
            out.payloads = [p for p in out.payloads if not isinstance(p, AuthPayload)]

    pair = Pair()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.ike.sa.InitiateAuth", NoProof)
        pair.initiate()
        pair.settle()
    assert "EAP" in pair.b.last(IkeSaDown).text


def test_unknown_commands_are_refused() -> None:
    pair = Pair()
    with pytest.raises(ValueError, match="no connection 'nowhere'"):
        pair.a.endpoint.initiate("nowhere", None, 0)
    with pytest.raises(ValueError, match="has no child 'lan'"):
        pair.a.endpoint.initiate("rw", "lan", 0)
    with pytest.raises(ValueError, match="names no remote address"):
        pair.b.endpoint.initiate("rw", None, 0)
    with pytest.raises(ValueError, match="same name"):
        EndpointConfig(connections=(CONNECTION_A, CONNECTION_A))


def test_an_initiator_without_an_address_waits_for_one() -> None:
    pair = Pair()
    pair.set_addresses(pair.a, [])
    pair.initiate()
    pair.drive(NS_PER_S)
    assert pair.sent == []

    pair.a_addr = A
    pair.settle()
    assert pair.up
