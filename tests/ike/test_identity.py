"""Identities as strongSwan writes them (RFC 7296 3.5)."""

from __future__ import annotations

import pytest
from hypothesis import given

from sim.ike.constants import IdType, PayloadType
from sim.ike.identity import Identity, Match
from sim.ike.payloads import IdPayload
from tests.ike.strategies import OCTET, data


@pytest.mark.parametrize(
    ("text", "kind", "octets"),
    [
        ("moon.strongswan.org", IdType.FQDN, b"moon.strongswan.org"),
        ("moon", IdType.FQDN, b"moon"),
        ("carol@strongswan.org", IdType.RFC822_ADDR, b"carol@strongswan.org"),
        ("192.0.2.1", IdType.IPV4_ADDR, bytes([192, 0, 2, 1])),
        ("2001:db8::1", IdType.IPV6_ADDR, bytes.fromhex("20010db8" + "0" * 23 + "1")),
        ("@#0a1b", IdType.KEY_ID, b"\x0a\x1b"),
    ],
)
def test_a_text_becomes_an_identity_and_back(text: str, kind: IdType, octets: bytes) -> None:
    identity = Identity.parse(text)
    assert identity == Identity(kind, octets)
    assert str(identity) == text


def test_a_leading_at_sign_makes_a_name_of_anything() -> None:
    assert Identity.parse("@192.0.2.1") == Identity(IdType.FQDN, b"192.0.2.1")


@pytest.mark.parametrize("text", ["%any", "*"])
def test_any_is_no_identity(text: str) -> None:
    assert Identity.parse(text) is None


@pytest.mark.parametrize(
    ("text", "configured", "match"),
    [
        ("moon.example.org", "moon.example.org", Match.PERFECT),
        ("Moon.Example.ORG", "moon.example.org", Match.PERFECT),
        ("Carol@Example.org", "carol@example.ORG", Match.PERFECT),
        ("moon.example.org", "*.example.org", Match.WILDCARD),
        ("MOON.EXAMPLE.ORG", "*.example.org", Match.WILDCARD),
        ("a.b.example.org", "*.example.org", Match.WILDCARD),
        ("carol@example.org", "*@example.org", Match.WILDCARD),
        ("moon.example.org", "@*", Match.ANYBODY),
        ("moon.example.org", "%any", Match.ANYBODY),
        ("192.0.2.1", "*", Match.ANYBODY),
        ("@.example.org", "*.example.org", Match.NONE),
        ("example.org", "*.example.org", Match.NONE),
        ("moon.example.com", "*.example.org", Match.NONE),
        ("carol@example.org", "*.example.org", Match.NONE),
        ("moon.example.org", "*@example.org", Match.NONE),
        ("moon.example.org", "moon.*", Match.NONE),
        ("192.0.2.1", "192.0.2.2", Match.NONE),
        ("192.0.2.1", "@*", Match.NONE),
        ("@#4d", "@#6d", Match.NONE),
    ],
)
def test_an_identity_is_compared_as_strongswan_does(text: str, configured: str, match: Match) -> None:
    """An asterisk counts only at the head, for one octet at least, and only within one type."""
    identity = Identity.parse(text)
    assert identity is not None
    assert identity.match(Identity.parse(configured)) is match


@pytest.mark.parametrize(
    "text", ["", " ", "@", "@#", "@#xyz", "two words", "mön", "C=CH, O=strongSwan", "a\tb"]
)
def test_what_is_no_identity_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="identity"):
        Identity.parse(text)


def test_an_identity_travels_in_a_payload() -> None:
    identity = Identity(IdType.FQDN, b"moon")
    payload = identity.payload(PayloadType.ID_R)
    assert payload == IdPayload(PayloadType.ID_R, IdType.FQDN, b"moon")
    assert Identity.of_payload(payload) == identity


@given(OCTET, data())
def test_whatever_a_peer_sends_can_be_printed(kind: int, octets: bytes) -> None:
    """It ends up on terminals and in logs: no control characters, whatever the type and the octets."""
    assert str(Identity(kind, octets)).isprintable()
