"""Which certificates are trusted, and why others are not (RFC 5280 6, RFC 4945 5)."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from sim.crypto.certificate import Certificate, CertificateReadError, Crl
from sim.crypto.trust import Flaw, Revocation, TrustError, TrustStore
from sim.scenario.issue import DAY, KEY_TYPES, Issued, Span, crl, root
from tests.crypto.authority import ALWAYS, NOW, chain, key, make_ca, make_leaf, make_root, read

ROOT = make_root()
STORE = TrustStore((read(ROOT),))


def judge(leaf: Issued, store: TrustStore = STORE, now: int = NOW, **more: object) -> Flaw | None:
    try:
        store.validate(read(leaf), now, received=chain(leaf), **more)  # type: ignore[arg-type]
    except TrustError as error:
        return error.flaw
    return None


@pytest.mark.parametrize(
    "kind", [kind for kind in KEY_TYPES if not kind.startswith("rsa-") or kind == "rsa-2048"]
)
def test_a_certificate_of_a_trusted_ca_is_trusted_whatever_its_key(kind: str) -> None:
    top = make_root(kind=kind)
    leaf = make_leaf(make_ca(top), kind=kind)
    store = TrustStore((read(top),))
    path = store.validate(read(leaf), NOW, received=chain(leaf))
    assert [str(cert) for cert in path] == ["CN=moon", "CN=sub", "CN=root"]


def test_an_intermediate_may_be_at_hand_instead_of_being_sent() -> None:
    sub = make_ca(ROOT)
    leaf = read(make_leaf(sub))
    assert judge(make_leaf(sub)) is None
    with pytest.raises(TrustError, match="CN=sub, who issued the certificate of CN=moon, is not trusted"):
        STORE.validate(leaf, NOW)
    assert TrustStore(STORE.anchors, (read(sub),)).validate(leaf, NOW)


def test_a_ca_below_the_root_may_be_the_trust_anchor() -> None:
    sub = make_ca(ROOT)
    assert judge(make_leaf(sub), TrustStore((read(sub),))) is None


@pytest.mark.parametrize("now", [ALWAYS.start - 1, ALWAYS.start, ALWAYS.end, ALWAYS.end + 1])
def test_dates_count_at_the_second(now: int) -> None:
    expected = {ALWAYS.start - 1: Flaw.NOT_YET_VALID, ALWAYS.end + 1: Flaw.EXPIRED}
    assert judge(make_leaf(ROOT), now=now) is expected.get(now)


def test_dates_of_every_certificate_count() -> None:
    old = Span(NOW - 9 * DAY, NOW - DAY)
    assert judge(make_leaf(make_ca(ROOT, span=old))) is Flaw.EXPIRED
    stale = make_root(span=old)
    assert judge(make_leaf(stale), TrustStore((read(stale),))) is Flaw.EXPIRED


def test_another_ca_of_the_same_name_is_not_trusted() -> None:
    other = root("CN=root", key("other"), ALWAYS)
    assert judge(make_leaf(other)) is Flaw.NO_TRUSTED_ISSUER
    assert judge(make_leaf(other), TrustStore((read(ROOT), read(other)))) is None


def test_a_self_signed_certificate_proves_nothing() -> None:
    assert judge(make_root("CN=me")) is Flaw.NO_TRUSTED_ISSUER


def test_an_end_entity_issues_nothing() -> None:
    assert judge(make_leaf(make_leaf(ROOT, "CN=liar"), "CN=victim")) is Flaw.NO_CA


def test_a_ca_needs_the_usage_to_sign_certificates() -> None:
    leaf_usage = read(make_leaf(ROOT)).extension(x509.KeyUsage)
    assert leaf_usage is not None
    ca = make_leaf(
        ROOT, "CN=half", extensions=[(x509.BasicConstraints(True, None), True), (leaf_usage, True)]
    )
    assert judge(make_leaf(ca)) is Flaw.NO_CA


def test_path_length_is_obeyed() -> None:
    narrow = make_ca(ROOT, "CN=narrow", path_length=0)
    assert judge(make_leaf(narrow)) is None
    assert judge(make_leaf(make_ca(narrow, "CN=too deep"))) is Flaw.PATH_TOO_LONG
    wide = make_ca(ROOT, "CN=wide", path_length=1)
    assert judge(make_leaf(make_ca(wide, "CN=deep"))) is None


def test_loops_and_crowds_end() -> None:
    """A peer may send what it likes: the work is bounded."""
    a = make_ca(ROOT, "CN=a")
    ring = make_ca(make_ca(a, "CN=b"), "CN=a")
    assert judge(make_leaf(ring), TrustStore()) is Flaw.NO_TRUSTED_ISSUER
    deep = ROOT
    for level in range(9):
        deep = make_ca(deep, f"CN=level {level}")
    assert judge(make_leaf(deep)) is Flaw.NO_TRUSTED_ISSUER


def test_key_usage_and_purposes_must_suit_ike() -> None:
    ca_usage = read(ROOT).extension(x509.KeyUsage)
    assert ca_usage is not None
    assert judge(make_leaf(ROOT, extensions=[(ca_usage, True)])) is Flaw.WRONG_USAGE
    assert judge(make_leaf(ROOT, extensions=[])) is None
    for purpose, flaw in {
        ExtendedKeyUsageOID.IPSEC_IKE: None,
        ExtendedKeyUsageOID.SERVER_AUTH: None,
        ExtendedKeyUsageOID.CLIENT_AUTH: None,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: None,
        ExtendedKeyUsageOID.CODE_SIGNING: Flaw.WRONG_USAGE,
    }.items():
        leaf = make_leaf(ROOT, extensions=[(x509.ExtendedKeyUsage([purpose]), False)])
        assert judge(leaf) is flaw, purpose


def test_an_unknown_critical_extension_is_refused_and_another_is_not() -> None:
    strange = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")
    assert judge(make_leaf(ROOT, extensions=[(strange, False)])) is None
    assert judge(make_leaf(ROOT, extensions=[(strange, True)])) is Flaw.CRITICAL_EXTENSION
    assert judge(make_leaf(make_ca(ROOT, extensions=[(strange, True)]))) is Flaw.CRITICAL_EXTENSION


IN_EXAMPLE: list[x509.GeneralName] = [
    x509.DNSName("example.org"),
    x509.RFC822Name("example.org"),
    x509.IPAddress(ipaddress.ip_network("192.0.2.0/24")),
    x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example")])),
]


@pytest.mark.parametrize(
    ("subject", "name", "permitted"),
    [
        ("O=Example, CN=moon", "moon.example.org", True),
        ("O=example, CN=moon", "EXAMPLE.org", True),
        ("O=Example, CN=moon", "moon.example.com", False),
        ("O=Example, CN=moon", "badexample.org", False),
        ("O=Example, CN=moon", "alice@example.org", True),
        ("O=Example, CN=moon", "alice@sub.example.org", False),
        ("O=Example, CN=moon", "192.0.2.77", True),
        ("O=Example, CN=moon", "192.0.3.77", False),
        ("O=Other, CN=moon", "moon.example.org", False),
        ("CN=moon, O=Example", "moon.example.org", False),
    ],
)
def test_name_constraints_permit_and_exclude(subject: str, name: str, permitted: bool) -> None:
    within = make_ca(ROOT, extensions=[(x509.NameConstraints(IN_EXAMPLE, None), True)])
    leaf = make_leaf(within, subject, names=[name])
    assert judge(leaf) is (None if permitted else Flaw.NAME_NOT_PERMITTED)
    if subject == "O=Example, CN=moon":
        without = make_ca(ROOT, extensions=[(x509.NameConstraints(None, IN_EXAMPLE[:3]), True)])
        leaf = make_leaf(without, subject, names=[name])
        assert judge(leaf) is (Flaw.NAME_NOT_PERMITTED if permitted else None)


def test_a_revoked_certificate_is_refused_under_every_policy() -> None:
    leaf, other = make_leaf(ROOT), make_leaf(ROOT, "CN=sun")
    store = TrustStore(STORE.anchors, crls=(Crl(crl(ROOT, [leaf.cert], Span(NOW - DAY, NOW + DAY))),))
    for revocation in Revocation:
        assert judge(leaf, store, revocation=revocation) is Flaw.REVOKED
        assert judge(other, store, revocation=revocation) is None
    # A list that is overdue still says who is revoked.
    assert judge(leaf, store, now=NOW + 2 * DAY) is Flaw.REVOKED


def test_a_revoked_intermediate_is_refused() -> None:
    sub = make_ca(ROOT)
    received = (Crl(crl(ROOT, [sub.cert], Span(NOW - DAY, NOW + DAY))),)
    assert judge(make_leaf(sub), crls=received) is Flaw.REVOKED


def test_the_policy_says_what_a_missing_or_old_list_means() -> None:
    where = x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://crl.example")], None, None, None)]
    )
    plain, named = make_leaf(ROOT), make_leaf(ROOT, "CN=sun", extensions=[(where, False)])
    old = (Crl(crl(ROOT, [], Span(NOW - 9 * DAY, NOW - DAY))),)
    for crls in ((), old):
        assert judge(plain, crls=crls) is judge(named, crls=crls) is None
        assert judge(plain, crls=crls, revocation=Revocation.IFURI) is None
        assert judge(named, crls=crls, revocation=Revocation.IFURI) is Flaw.REVOCATION_UNKNOWN
        assert judge(plain, crls=crls, revocation=Revocation.STRICT) is Flaw.REVOCATION_UNKNOWN


def test_only_the_issuer_revokes() -> None:
    leaf, stranger = make_leaf(ROOT), make_root("CN=stranger")
    forged = (Crl(crl(stranger, [leaf.cert], Span(NOW - DAY, NOW + DAY))),)
    assert judge(leaf, crls=forged) is None
    assert judge(leaf, crls=forged, revocation=Revocation.STRICT) is Flaw.REVOCATION_UNKNOWN


@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_changed_octets_are_an_error_or_no_longer_trusted(at: int, change: bytes) -> None:
    octets = bytearray(read(make_leaf(ROOT)).der)
    before = bytes(octets)
    at %= len(octets)
    octets[at : at + len(change)] = change
    try:
        cert = Certificate(bytes(octets))
    except CertificateReadError:
        return
    if cert.der != before:
        with pytest.raises(TrustError):
            STORE.validate(cert, NOW)


@given(st.binary(max_size=300))
def test_arbitrary_octets_are_no_certificate_and_no_list(octets: bytes) -> None:
    with pytest.raises(CertificateReadError):
        Certificate(octets)
    with pytest.raises(CertificateReadError):
        Crl(octets)
