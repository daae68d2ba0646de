"""Identities as strongSwan writes them (RFC 7296 3.5)."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from hypothesis import given

from sim.ike.constants import IdType, PayloadType
from sim.ike.identity import Identity, Match
from sim.ike.payloads import IdPayload
from sim.wire.dn import pairs
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
    "text",
    ["", " ", "@", "@#", "@#xyz", "two words", "mön", "CH=C, O=strongSwan", "C=CH,, O=x", "10:xy", "a\tb"],
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


def test_distinguished_names_are_octets_and_text() -> None:
    """RFC 5280 4.1.2.4; country and organisation as PrintableString, what has an umlaut as UTF8String."""
    identity = Identity.parse("C=CH, O=Müller, CN=moon, E=m@example.org")
    assert identity is not None
    assert identity.type == IdType.DER_ASN1_DN
    assert identity.data[2:15].hex() == "310b3009060355040613024348"
    assert [value for _, value in pairs(identity.data)] == ["CH", "Müller", "moon", "m@example.org"]
    judged = [x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in pairs(identity.data)]
    printable = {0: _ASN1Type.PrintableString, 2: _ASN1Type.PrintableString}
    typed = [
        x509.NameAttribute(a.oid, a.value, printable.get(index, a._type)) for index, a in enumerate(judged)
    ]
    assert identity.data == x509.Name(typed).public_bytes()
    assert str(identity) == "C=CH, O=Müller, CN=moon, E=m@example.org"
    assert identity.data.endswith(b"\x16\x0dm@example.org")
    for same in (
        "/C=CH/O=Müller/CN=moon/emailAddress=m@example.org",
        'c=CH,O="Müller",2.5.4.3=moon,E=m@example.org',
    ):
        assert Identity.parse(same) == identity
    tricky = Identity.parse('CN="a, b", O=c\\,d')
    assert tricky is not None
    assert str(tricky) == 'CN="a, b", O="c,d"'
    assert Identity.parse(str(tricky)) == tricky


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("%any", "moon.example.org", True),
        ("C=CH, O=x, CN=*", "C=CH, O=x, CN=moon", True),
        ("C=CH, O=x, CN=*", "C=CH, O=y, CN=moon", False),
        ("C=CH, O=x, CN=*", "C=CH, O=x", False),
        ("C=CH, CN=moon", "CN=moon, C=CH", False),
        ("C=CH, CN=Moon  One", "C=CH, CN=moon one", True),
        ("*.example.org", "moon.Example.ORG", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "moon@x.example.org", False),
        ("*@example.org", "Alice@example.org", True),
        ("Moon.example.org", "moon.example.org", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("@#aabb", "@#aabb", True),
        ("@#aabb", "@#aabc", False),
        ("%null", "%null", True),
        ("%null", "moon", False),
    ],
)
def test_patterns_fit_whom_they_mean(pattern: str, text: str, fits: bool) -> None:
    identity = Identity.parse(text)
    assert identity is not None
    assert bool(identity.match(Identity.parse(pattern))) is fits


def test_a_distinguished_name_may_be_any_octets_from_a_peer() -> None:
    for octets in (b"", b"0", bytes(40), b"\x30\x03\x31\x01\x30"):
        identity = Identity(IdType.DER_ASN1_DN, octets)
        assert str(identity).isprintable()
        assert not identity.match(Identity.parse("CN=*"))
