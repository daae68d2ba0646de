"""IKE_AUTH by certificates, raw public keys and nothing (RFC 7296 2.15, 3.6, 3.7; RFC 7427, 7619, 7670)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from sim.crypto.certificate import Crl
from sim.crypto.ids import HashId
from sim.crypto.signature import PrivateKey
from sim.crypto.trust import Revocation, TrustStore
from sim.ike import proof
from sim.ike.certs import HASH_AND_URL
from sim.ike.config import ConnectionConfig, EndpointConfig
from sim.ike.constants import AuthMethod, CertEncoding, NotifyType
from sim.ike.credentials import Credential, LocalAuth, Method, RemoteAuth, SendCert, parse_auth
from sim.ike.events import IkeSaDown, IkeSaUp, Reason
from sim.ike.identity import Identity
from sim.ike.message import parse_message
from sim.ike.payloads import AuthPayload, CertPayload, CertReqPayload, Payload
from sim.ike.tasks import auth
from sim.scenario.issue import DAY, KEY_TYPES, Issued, Span, crl
from sim.units import NS_PER_S
from tests.crypto.authority import NOW, chain, key, make_ca, make_leaf, make_root, read
from tests.ike.pair import CONNECTION_A, CONNECTION_B, Pair

ROOT = make_root()
STORE = TrustStore((read(ROOT),))
A_CERT = make_leaf(ROOT, "O=Example, CN=alice", names=["alice@example.org"])
B_CERT = make_leaf(ROOT, "O=Example, CN=moon", names=["moon.example.org", "198.51.100.1"])


def credential(issued: Issued) -> Credential:
    return Credential(PrivateKey(issued.key), (read(issued), *chain(issued)), (read(ROOT),))


def local(issued: Issued, **more: Any) -> LocalAuth:
    return LocalAuth(Method.PUBKEY, (credential(issued),), **more)


def remote(store: TrustStore = STORE, **more: Any) -> RemoteAuth:
    return RemoteAuth(Method.PUBKEY, store, **more)


CERT_A = replace(CONNECTION_A, psk=b"", local=local(A_CERT), remote=remote())
CERT_B = replace(CONNECTION_B, psk=b"", local=local(B_CERT), remote=remote())


def fail(a: ConnectionConfig = CERT_A, b: ConnectionConfig = CERT_B) -> tuple[IkeSaDown, IkeSaDown]:
    """What both sides say of a connection that does not come up."""
    pair = Pair(a, b)
    pair.initiate()
    pair.drive(40 * NS_PER_S)
    # The responder may have thought that it was up, until the initiator told it otherwise.
    assert not pair.a.all(IkeSaUp)
    return pair.a.last(IkeSaDown), pair.b.last(IkeSaDown)


# -- who proves what -----------------------------------------------------------------------------------------


def test_c26_both_sides_prove_themselves_by_certificates() -> None:
    pair = Pair(CERT_A, CERT_B).establish()
    # a -> b  HDR, SAi1, KEi, Ni, N(NATD), N(NATD), N(SIGNATURE_HASH_ALGORITHMS);  b -> a  ..., CERTREQ
    # a -> b  HDR, SK {IDi, CERT, CERTREQ, IDr, AUTH, SAi2, TSi, TSr, ...};  b -> a  {IDr, CERT, AUTH, ...}

    assert pair.a.ladder[1].startswith("HDR, SK {IDi, CERT, CERTREQ, IDr, AUTH, SAi2, TSi, TSr")
    assert "N(SIGNATURE_HASH_ALGORITHMS), CERTREQ" in pair.b.ladder[0]
    assert pair.b.ladder[1].startswith("HDR, SK {IDr, CERT, AUTH, SAr2, TSi, TSr")
    assert pair.b.last(IkeSaUp).remote_id == "alice@example.org"
    assert len(pair.a.children) == len(pair.b.children) == 1


@pytest.mark.parametrize("kind", [kind for kind in KEY_TYPES if kind not in ("rsa-3072", "rsa-4096")])
@pytest.mark.parametrize("deep", [False, True])
def test_c26_any_kind_of_key_and_an_intermediate_authenticate(kind: str, deep: bool) -> None:
    above = make_ca(ROOT) if deep else ROOT
    one = make_leaf(above, "CN=alice", names=["alice@example.org"], kind=kind)
    two = make_leaf(above, "CN=moon", kind=kind)
    pair = Pair(replace(CERT_A, local=local(one)), replace(CERT_B, local=local(two))).establish()
    assert pair.a.ladder[1].count("CERT,") == (2 if deep else 1)


def test_c24_hash_algorithms_are_in_both_messages_before_method_14_is_used() -> None:
    seen = Spied(Pair(CERT_A, CERT_B))
    for side in ("a", "b"):
        notify = parse_message(seen.pair.octets(side)[0]).notify(NotifyType.SIGNATURE_HASH_ALGORITHMS)
        assert notify is not None
        assert notify.data.hex() == "0002000300040005"
    assert [p.method for p in seen.proofs] == [AuthMethod.DIGITAL_SIGNATURE] * 2


def test_c27_a_digital_signature_is_length_algorithm_and_signature() -> None:
    (one, two) = Spied(Pair(CERT_A, CERT_B)).proofs
    for found in (one, two):
        assert found.data[:13].hex() == "0c300a06082a8648ce3d040302"
        assert found.data[13] == 0x30  # ECDSA's r and s in a SEQUENCE
        assert len(found.data) == 13 + 2 + found.data[14]


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("ecdsa-p256", AuthMethod.ECDSA_256),
        ("ecdsa-p384", AuthMethod.ECDSA_384),
        ("ecdsa-p521", AuthMethod.ECDSA_521),
        ("rsa-2048", AuthMethod.RSA_SIGNATURE),
    ],
)
def test_c24_a_peer_that_announced_no_hashes_gets_an_older_method(kind: str, method: AuthMethod) -> None:
    one = make_leaf(ROOT, "CN=alice", names=["alice@example.org"], kind=kind)
    two = make_leaf(ROOT, "CN=moon", kind=kind)
    pair = Pair(replace(CERT_A, local=local(one)), replace(CERT_B, local=local(two)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.ike.tasks.sa_init.announced_hashes", lambda message: frozenset())
        seen = Spied(pair)
    assert [p.method for p in seen.proofs] == [method] * 2


def test_c24_eddsa_needs_method_14() -> None:
    """RFC 8420 has no other; the initiator waits a while for a better answer, as anyone can send this one."""
    one = make_leaf(ROOT, "CN=alice", names=["alice@example.org"], kind="ed25519")
    pair = Pair(replace(CERT_A, local=local(one)), CERT_B)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.ike.tasks.sa_init.announced_hashes", lambda message: frozenset())
        pair.initiate()
        pair.drive(5 * NS_PER_S)
        assert not pair.a.all(IkeSaDown)
        pair.drive(6 * NS_PER_S)
    down = pair.a.last(IkeSaDown)
    assert down.reason is Reason.NO_COMMON_SIGNATURE
    assert down.text == "our key (Ed25519) cannot sign by what the peer verifies (older methods)"
    two = make_leaf(ROOT, kind="ed25519")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.ike.tasks.sa_init.announced_hashes", lambda message: frozenset())
        _, theirs = fail(b=replace(CERT_B, local=local(two)))
    assert theirs.reason is Reason.NO_COMMON_SIGNATURE


def test_the_hash_is_one_that_the_peer_announced() -> None:
    only = frozenset({int(HashId.SHA2_512)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.ike.tasks.sa_init.announced_hashes", lambda message: only)
        seen = Spied(Pair(CERT_A, CERT_B))
    assert [p.data[:13].hex() for p in seen.proofs] == ["0c300a06082a8648ce3d040304"] * 2


def test_each_side_may_prove_itself_in_its_own_way() -> None:
    """RFC 7296 2.15: there is no requirement that both use the same method."""
    pair = Pair(
        replace(CONNECTION_A, remote=remote()), replace(CONNECTION_B, local=local(B_CERT))
    ).establish()
    assert "CERTREQ" in pair.a.ladder[1]
    assert "CERT," in pair.b.ladder[1]
    assert "IDi, CERT," not in pair.a.ladder[1]


def test_a_certificate_stands_for_its_subject_when_no_identity_is_configured() -> None:
    pair = Pair(
        replace(CERT_A, local_id=None, remote_id=None), replace(CERT_B, local_id=None, remote_id=None)
    ).establish()
    up = pair.b.last(IkeSaUp)
    assert (up.local_id, up.remote_id) == ("O=Example, CN=moon", "O=Example, CN=alice")


def test_patterns_of_identities_let_in_whom_they_mean() -> None:
    by_dn = replace(CERT_A, local_id=None)
    for pattern in ("O=Example, CN=*", "O=example, CN=Alice"):
        Pair(by_dn, replace(CERT_B, remote_id=Identity.parse(pattern))).establish()
    Pair(CERT_A, replace(CERT_B, remote_id=Identity.parse("*@example.org"))).establish()
    _, down = fail(by_dn, replace(CERT_B, remote_id=Identity.parse("O=Other, CN=*")))
    assert down.text.startswith("no connection is for a peer O=Example, CN=alice")


def test_a_pattern_is_not_sent_as_idr() -> None:
    pair = Pair(replace(CERT_A, remote_id=Identity.parse("*.example.org")), CERT_B).establish()
    assert "IDr" not in pair.a.ladder[1]


# -- raw keys and nothing ------------------------------------------------------------------------------------


def raw(issued: Issued) -> LocalAuth:
    return LocalAuth(Method.PUBKEY, (Credential(PrivateKey(issued.key)),))


def knows(*issued: Issued) -> RemoteAuth:
    return RemoteAuth(Method.PUBKEY, pubkeys=tuple(PrivateKey(each.key).public for each in issued))


def test_c26_raw_public_keys_authenticate_whom_the_configuration_knows() -> None:
    """RFC 7670: encoding 15 holds a SubjectPublicKeyInfo, and is asked for by an empty CERTREQ of 15."""
    a = replace(CONNECTION_A, local=raw(A_CERT), remote=knows(B_CERT))
    b = replace(CONNECTION_B, local=raw(B_CERT), remote=knows(A_CERT))
    seen = Spied(Pair(a, b))
    assert [(p.encoding, p.data) for p in seen.certs] == [
        (CertEncoding.RAW_PUBLIC_KEY, PrivateKey(A_CERT.key).public.spki),
        (CertEncoding.RAW_PUBLIC_KEY, PrivateKey(B_CERT.key).public.spki),
    ]
    assert [(p.encoding, p.data) for p in seen.certreqs] == [(CertEncoding.RAW_PUBLIC_KEY, b"")]

    never = replace(a, local=replace(a.local, send_cert=SendCert.NEVER))
    assert "IDi, CERTREQ" in Pair(never, b).establish().a.ladder[1]
    _, down = fail(replace(a, local=raw(make_leaf(ROOT, "CN=eve"))), b)
    assert down.reason is Reason.UNKNOWN_KEY


def test_an_rsa_key_may_come_in_the_old_form() -> None:
    """Encoding 11 is a PKCS #1 RSAPublicKey (RFC 7296 3.6)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    one = make_leaf(ROOT, "CN=alice", kind="rsa-2048")
    old = one.key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    a = replace(CONNECTION_A, local=raw(one), remote=knows(B_CERT))
    b = replace(CONNECTION_B, local=raw(B_CERT), remote=knows(one))
    with _changed(lambda payload: replace(payload, encoding=11, data=old), CertPayload):
        pair = Pair(a, b).establish()
    assert pair.b.last(IkeSaUp).remote_id == "alice@example.org"


@pytest.mark.parametrize("encoding", [201, *HASH_AND_URL])
def test_a_certificate_that_we_cannot_use_is_no_harm_if_the_key_is_known(encoding: int) -> None:
    """OpenIKED sends its ECDSA keys as 201, which is for private use (RFC 7296 3.6)."""
    a = replace(CONNECTION_A, local=raw(A_CERT), remote=knows(B_CERT))
    b = replace(CONNECTION_B, local=raw(B_CERT), remote=knows(A_CERT))
    with _changed(lambda payload: replace(payload, encoding=encoding), CertPayload):
        Pair(a, b).establish()
        _, down = fail(replace(a, local=raw(make_leaf(ROOT, "CN=eve"))), b)
    assert down.reason is Reason.WRONG_SIGNATURE


def test_null_authenticates_a_stranger_to_a_proven_responder() -> None:
    """RFC 7619: ID_NULL, method 13, and no INITIAL_CONTACT of somebody who has no name."""
    a = replace(CONNECTION_A, psk=b"", local_id=None, local=LocalAuth(Method.NULL), remote=remote())
    b = replace(CERT_B, remote_id=None, remote=RemoteAuth(Method.NULL))
    seen = Spied(Pair(a, b))
    assert [p.method for p in seen.proofs] == [AuthMethod.NULL_AUTHENTICATION, AuthMethod.DIGITAL_SIGNATURE]
    assert "INITIAL_CONTACT" not in seen.pair.a.ladder[1]
    assert seen.pair.b.last(IkeSaUp).remote_id == "%null"


def test_null_proves_at_least_the_keys_of_the_ike_sa() -> None:
    a = replace(CONNECTION_A, local_id=None, local=LocalAuth(Method.NULL))
    b = replace(CONNECTION_B, remote_id=None, remote=RemoteAuth(Method.NULL))
    Pair(a, b).establish()
    with _changed(lambda payload: replace(payload, data=bytes(32)), AuthPayload):
        _, down = fail(a, b)
    assert down.text == "%null did not prove that it holds the keys of this IKE SA"


def test_nobody_gets_by_with_less_than_is_wanted() -> None:
    """Neither NULL nor the shared key stands for a certificate."""
    for less in (LocalAuth(Method.NULL), LocalAuth()):
        _, down = fail(replace(CERT_A, psk=b"", local=less), CERT_B)
        assert down.reason is Reason.WRONG_METHOD
        assert down.text.endswith("but connection rw wants pubkey")


def test_a_connection_that_wants_the_peers_method_is_found() -> None:
    pair = Pair()
    config = EndpointConfig(
        connections=(replace(CERT_B, name="certs"), replace(CONNECTION_B, name="secrets"))
    )
    pair.restart(pair.b, config)
    pair.establish()
    assert pair.b.last(IkeSaUp).connection == "secrets"


# -- why not -------------------------------------------------------------------------------------------------

OLD, LATER = Span(NOW - 9 * DAY, NOW - DAY), Span(NOW + DAY, NOW + 9 * DAY)
STRANGER = make_root("CN=stranger")
USAGE = read(ROOT).extension(x509.KeyUsage)
assert USAGE is not None
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")
ONLY_SUN = x509.NameConstraints([x509.DNSName("sun.example.org")], None)
NARROW = make_ca(ROOT, "CN=narrow", path_length=0)
FLAWED = {
    Reason.CERTIFICATE_EXPIRED: (
        make_leaf(ROOT, span=OLD),
        "the certificate of CN=moon expired at 2025-12-31",
    ),
    Reason.CERTIFICATE_NOT_YET_VALID: (
        make_leaf(ROOT, span=LATER),
        "is not valid before 2026-01-02",
    ),
    Reason.NO_TRUSTED_ISSUER: (
        make_leaf(STRANGER),
        "CN=stranger, who issued the certificate of CN=moon, is not",
    ),
    Reason.WRONG_KEY_USAGE: (make_leaf(ROOT, extensions=[(USAGE, True)]), "lacks digitalSignature"),
    Reason.CRITICAL_EXTENSION: (make_leaf(ROOT, extensions=[(STRANGE, True)]), "1.3.6.1.4.1.99999.1"),
    Reason.ISSUER_IS_NO_CA: (
        make_leaf(make_leaf(ROOT, "CN=liar")),
        "CN=liar issued a certificate, but is no CA",
    ),
    Reason.PATH_TOO_LONG: (make_leaf(make_ca(NARROW, "CN=deep")), "CN=narrow allows 0 CAs below it"),
    Reason.NAME_NOT_PERMITTED: (
        make_leaf(make_ca(ROOT, extensions=[(ONLY_SUN, True)])),
        "CN=sub may not issue certificates for moon.example.org",
    ),
    Reason.ID_NOT_CONFIRMED: (
        make_leaf(ROOT, names=["sun.example.org"]),
        "the certificate of CN=moon does not confirm that the peer is moon.example.org",
    ),
}


@pytest.mark.parametrize("reason", FLAWED)
def test_every_flaw_of_a_certificate_has_its_reason_on_the_side_that_sees_it(reason: Reason) -> None:
    issued, text = FLAWED[reason]
    ours, theirs = fail(b=replace(CERT_B, local=local(issued)))
    assert ours.reason is reason
    assert text in ours.text
    # The other side is not told why (RFC 7296 2.21.2).
    assert theirs.reason is Reason.AUTHENTICATION_FAILED


def test_a_revoked_certificate_is_refused_by_a_list_at_hand_or_received() -> None:
    revoked = crl(ROOT, [B_CERT.cert], Span(NOW - DAY, NOW + DAY))
    ours, _ = fail(replace(CERT_A, remote=remote(TrustStore(STORE.anchors, crls=(Crl(revoked),)))))
    assert ours.reason is Reason.CERTIFICATE_REVOKED

    class Helpful(auth.RespondAuth):
        def build(self, sa, out, now) -> None:  # type: ignore[no-untyped-def]
            super().build(sa, out, now)
            out.add(CertPayload(CertEncoding.CRL, b"broken"), CertPayload(CertEncoding.CRL, revoked))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.ike.tasks.responders.RespondAuth", Helpful)
        ours, _ = fail()
    assert ours.reason is Reason.CERTIFICATE_REVOKED


def test_strict_revocation_wants_a_list() -> None:
    ours, _ = fail(replace(CERT_A, remote=remote(revocation=Revocation.STRICT)))
    assert ours.reason is Reason.REVOCATION_UNKNOWN
    fresh = Crl(crl(ROOT, [], Span(NOW - DAY, NOW + DAY)))
    store = TrustStore(STORE.anchors, crls=(fresh,))
    Pair(replace(CERT_A, remote=remote(store, revocation=Revocation.STRICT)), CERT_B).establish()


def test_certificates_grow_old_in_virtual_time() -> None:
    issued = make_leaf(ROOT, span=Span(NOW - DAY, NOW + DAY))
    b = replace(CERT_B, local=local(issued))
    pair = Pair(CERT_A, b)
    pair.drive(2 * DAY * NS_PER_S)
    pair.initiate()
    pair.settle()
    assert pair.a.last(IkeSaDown).reason is Reason.CERTIFICATE_EXPIRED
    later = EndpointConfig(epoch=(NOW + 2 * DAY) * NS_PER_S)
    pair = Pair(CERT_A, b, a_config=later)
    pair.initiate()
    pair.settle()
    assert pair.a.last(IkeSaDown).reason is Reason.CERTIFICATE_EXPIRED


def test_the_responder_says_why_as_well() -> None:
    ours, theirs = fail(replace(CERT_A, local=local(make_leaf(STRANGER, names=["alice@example.org"]))))
    assert theirs.reason is Reason.NO_TRUSTED_ISSUER
    assert ours.text == (
        "198.51.100.1[4500] rejected our certificate, signature or identity alice@example.org: "
        "AUTHENTICATION_FAILED"
    )


NAMESAKE = read(make_leaf(ROOT, names=["alice@example.org"])).der


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        (AuthPayload, lambda p: replace(p, data=p.data[:40] + b"\0" + p.data[41:]), Reason.WRONG_SIGNATURE),
        (AuthPayload, lambda p: replace(p, data=b""), Reason.WRONG_SIGNATURE),
        (AuthPayload, lambda p: replace(p, data=b"\xff" + p.data[1:]), Reason.WRONG_SIGNATURE),
        (AuthPayload, lambda p: replace(p, method=AuthMethod.ECDSA_384), Reason.WRONG_SIGNATURE),
        (AuthPayload, lambda p: replace(p, method=AuthMethod.RSA_SIGNATURE), Reason.WRONG_SIGNATURE),
        (AuthPayload, lambda p: replace(p, method=3), Reason.WRONG_METHOD),
        (CertPayload, lambda p: replace(p, data=p.data[:-1]), Reason.UNREADABLE_CERTIFICATE),
        (CertPayload, lambda p: replace(p, encoding=1), Reason.UNREADABLE_CERTIFICATE),
        (CertPayload, lambda p: replace(p, encoding=12, data=bytes(20) + b"http://x"), Reason.HASH_AND_URL),
        (CertPayload, lambda p: replace(p, data=NAMESAKE), Reason.WRONG_SIGNATURE),
    ],
)  # fmt: skip
def test_a_changed_proof_is_refused_with_its_reason(
    kind: type[Payload], change: Callable[[Any], Payload], reason: Reason
) -> None:
    with _changed(change, kind):
        ours, theirs = fail()
    assert theirs.reason is reason
    assert ours.reason is Reason.AUTHENTICATION_FAILED


def test_c26_the_first_certificate_holds_the_key_of_auth() -> None:
    """A proof by a later certificate is none (RFC 7296 3.6)."""
    deep = make_leaf(make_ca(ROOT), "CN=alice", names=["alice@example.org"])

    class Turned(auth.InitiateAuth):
        def build(self, sa, out, now) -> None:  # type: ignore[no-untyped-def]
            super().build(sa, out, now)
            certs = [p for p in out.payloads if isinstance(p, CertPayload)]
            others = [p for p in out.payloads if not isinstance(p, CertPayload)]
            out.payloads = others[:1] + certs[::-1] + others[1:]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.ike.sa.InitiateAuth", Turned)
        _, theirs = fail(replace(CERT_A, local=local(deep)))
    assert theirs.reason is Reason.WRONG_KEY_USAGE


def test_c26_nothing_is_fetched_and_nobody_is_asked_to_name_a_url() -> None:
    """HTTP_CERT_LOOKUP_SUPPORTED is never sent; hash-and-URL beside a certificate is ignored."""
    pair = Pair(CERT_A, CERT_B).establish()
    assert not any("HTTP_CERT_LOOKUP" in line for line in pair.a.ladder + pair.b.ladder)

    class Linked(auth.InitiateAuth):
        def build(self, sa, out, now) -> None:  # type: ignore[no-untyped-def]
            super().build(sa, out, now)
            out.payloads += [CertPayload(encoding, bytes(20) + b"http://x") for encoding in HASH_AND_URL]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.ike.sa.InitiateAuth", Linked)
        Pair(CERT_A, CERT_B).establish()


def test_c26_certreq_lists_the_hashes_of_the_trusted_keys() -> None:
    """SHA-1 of each SubjectPublicKeyInfo, side by side (RFC 7296 3.7)."""
    both = TrustStore((read(ROOT), read(STRANGER)))
    seen = Spied(Pair(replace(CERT_A, remote=remote(both)), CERT_B))
    hashes = read(ROOT).key_hash + read(STRANGER).key_hash
    assert [(p.encoding, p.data) for p in seen.certreqs] == [(CertEncoding.X509_SIGNATURE, hashes)]


def test_c26_the_credential_of_a_ca_that_the_peer_trusts_is_taken() -> None:
    mine = make_leaf(STRANGER, "CN=alice", names=["alice@example.org"])
    two = LocalAuth(Method.PUBKEY, (replace(credential(mine), roots=(read(STRANGER),)), credential(A_CERT)))
    Pair(replace(CERT_A, local=two), CERT_B).establish()
    other = TrustStore((read(STRANGER),))
    Pair(replace(CERT_A, local=two), replace(CERT_B, remote=remote(other))).establish()


def test_certificates_are_sent_when_asked_for_always_or_never() -> None:
    unasking = replace(CERT_B, remote=replace(remote(), send_certreq=False))
    _, theirs = fail(CERT_A, unasking)
    assert theirs.reason is Reason.NO_CERTIFICATE
    always = replace(CERT_A, local=replace(CERT_A.local, send_cert=SendCert.ALWAYS))
    Pair(always, unasking).establish()
    # What is at hand need not be sent, and is trusted without a CA.
    known = replace(unasking, remote=RemoteAuth(Method.PUBKEY, certs=(read(A_CERT),)))
    Pair(CERT_A, known).establish()
    never = replace(CERT_A, local=replace(CERT_A.local, send_cert=SendCert.NEVER))
    Pair(never, replace(CERT_B, remote=replace(remote(), certs=(read(A_CERT),)))).establish()


@pytest.mark.parametrize(
    ("ours", "theirs", "works"),
    [
        ("pubkey", "pubkey", True),
        ("pubkey-sha512", "pubkey-sha512-sha256", True),
        ("pubkey-sha384", "ike:pubkey-sha512", False),
        ("pubkey", "ecdsa-384", False),
        ("pubkey", "rsa", False),
        ("ecdsa", "ecdsa-256-sha256", True),
        ("ecdsa-sha384", "ike:ecdsa-sha384", True),
        ("ecdsa-sha384", "ecdsa-sha384", False),  # the certificate itself is signed with SHA-256
    ],
)
def test_constraints_choose_and_refuse_schemes(ours: str, theirs: str, works: bool) -> None:
    a = replace(CERT_A, local=replace(CERT_A.local, constraint=parse_auth(ours)[1]))
    b = replace(CERT_B, remote=replace(CERT_B.remote, constraint=parse_auth(theirs)[1]))
    if works:
        Pair(a, b).establish()
    else:
        assert fail(a, b)[1].reason is Reason.SIGNATURE_NOT_ALLOWED


def test_pss_is_made_where_it_is_wanted() -> None:
    issued = make_leaf(ROOT, "CN=alice", names=["alice@example.org"], kind="rsa-2048")
    a = replace(CERT_A, local=local(issued, constraint=parse_auth("rsa/pss-sha512")[1]))
    b = replace(CERT_B, remote=replace(remote(), constraint=parse_auth("ike:rsa/pss-sha512")[1]))
    Pair(a, b).establish()
    assert fail(replace(CERT_A, local=local(issued)), b)[1].reason is Reason.SIGNATURE_NOT_ALLOWED


def test_what_is_no_way_to_authenticate_is_refused() -> None:
    assert parse_auth("rsa-2048-ecdsa-256-sha256")[1].keys == (("rsa", 2048), ("ecdsa", 256))
    for text in ("", "eap-ttls", "pubkey-md5", "rsa-pubkey", "sha256", "2048", "rsa-2048-3072", "psk-sha256"):
        with pytest.raises(ValueError, match=repr(text)):
            parse_auth(text)


def test_configurations_that_could_never_work_are_refused() -> None:
    with pytest.raises(ValueError, match="not that of the certificate"):
        Credential(PrivateKey(key("other")), (read(A_CERT),))
    with pytest.raises(ValueError, match="a private key is what"):
        LocalAuth(Method.PUBKEY)
    with pytest.raises(ValueError, match="a key for ECDSA can make no signature"):
        local(A_CERT, constraint=parse_auth("rsa")[1])
    with pytest.raises(ValueError, match="needs a CA, a certificate or a key"):
        RemoteAuth(Method.PUBKEY)


def test_other_identities_are_confirmed_by_their_part_of_the_certificate() -> None:
    cert = read(B_CERT)
    for text in (
        "MOON.example.org", "198.51.100.1", "o=example, cn=MOON", f"@#{cert.subject_key_id.hex()}",
        "10:8210" + b"moon.example.org".hex(),
    ):  # fmt: skip
        a = replace(CERT_A, remote_id=None)
        Pair(a, replace(CERT_B, local_id=Identity.parse(text))).establish()
    for text in ("moon.example", "198.51.100.2", "CN=moon", "@#00", "10:8204" + b"moon".hex(), "@moon"):
        a = replace(CERT_A, remote_id=None)
        ours, _ = fail(a, replace(CERT_B, local_id=Identity.parse(text)))
        assert ours.reason is Reason.ID_NOT_CONFIRMED, text


def test_equal_seeds_sign_alike() -> None:
    first, second = (Pair(CERT_A, CERT_B).establish().octets("a") for _ in range(2))
    assert first == second


# -- helpers -------------------------------------------------------------------------------------------------


class Spied:
    """A pair that came up, and the interesting payloads of its IKE_AUTH as the receivers saw them."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.proofs: list[AuthPayload] = []
        self.certs: list[CertPayload] = []
        self.certreqs: list[CertReqPayload] = []
        verify = proof.verify

        def spy(sa, peer, message, own_proof, now) -> None:  # type: ignore[no-untyped-def]
            self.proofs += message.find_all(AuthPayload)
            self.certs += message.find_all(CertPayload)
            self.certreqs += message.find_all(CertReqPayload)
            verify(sa, peer, message, own_proof, now)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(auth, "verify", spy)
            pair.establish()


def _changed(change: Callable[[Any], Payload], kind: type[Payload]) -> Any:
    """While this lasts, initiators send payloads of a kind changed."""

    class Changed(auth.InitiateAuth):
        def build(self, sa, out, now) -> None:  # type: ignore[no-untyped-def]
            super().build(sa, out, now)
            out.payloads = [change(p) if isinstance(p, kind) else p for p in out.payloads]

    patch = pytest.MonkeyPatch()
    patch.setattr("sim.ike.sa.InitiateAuth", Changed)

    class Until:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            patch.undo()

    return Until()
