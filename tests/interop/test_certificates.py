"""Certificates and raw keys against strongSwan, in both roles; tshark decrypts what was said.

Both sides have a certificate of the same CA unless a test says otherwise. Dates are real: the live peer looks
at the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sim.ike.events import IkeSaDown, IkeSaUp, Reason
from sim.scenario.issue import DAY, Issued, Span, root
from tests.crypto.authority import key, make_ca, make_leaf
from tests.interop.netns import Lab
from tests.interop.ping import ping
from tests.interop.scene import ROLES, Role, Scene, set_up
from tests.interop.sniffer import Sniffer
from tests.interop.test_tshark import read
from tests.peers import require

NOW = Span(int(time()) - DAY, int(time()) + 365 * DAY)
PAST = Span(NOW.start - 9 * DAY, NOW.start)
KINDS = ("rsa-2048", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "ed448")
LEFT, RIGHT = "left.example", "right.example"

pytestmark = pytest.mark.peers


@dataclass(frozen=True)
class Sides:
    """Our certificate, theirs, and the CA that each trusts."""

    ours: Issued
    theirs: Issued
    we_trust: Issued
    they_trust: Issued


def made(role: Role, kind: str = "ecdsa-p256", *, deep: bool = False, span: Span = NOW) -> Sides:
    top = make_ca_root("O=Example, CN=root", kind)
    above = make_ca(top, "O=Example, CN=sub", span=NOW) if deep else top
    mine, yours = (LEFT, RIGHT) if role == "we initiate" else (RIGHT, LEFT)
    ours = make_leaf(above, f"O=Example, CN={mine}", names=[mine], kind=kind, span=span)
    theirs = make_leaf(above, f"O=Example, CN={yours}", names=[yours], kind=kind, span=span)
    return Sides(ours, theirs, top, top)


def make_ca_root(name: str, kind: str) -> Issued:
    return root(name, key(name, kind), NOW)


def stage(
    lab: Lab,
    role: Role,
    sides: Sides,
    *,
    auth: str = "pubkey",
    accept: str = "pubkey",
    more: Mapping[str, str] | None = None,
    daemon: str = "",
    names: str = "{}",
) -> Scene:
    """Both sides with their certificates; `auth` is how either signs, `accept` what either wants."""
    files = {
        "x509/theirs.pem": sides.theirs.cert_pem,
        "x509ca/root.pem": sides.they_trust.cert_pem,
        "private/theirs.pem": sides.theirs.key_pem,
    }
    for number, cert in enumerate(sides.theirs.chain):
        files[f"x509ca/sub{number}.pem"] = cert.public_bytes(Encoding.PEM).decode()
    ours = {
        "local": {"auth": auth, "certs": [sides.ours.chain_pem], "key": sides.ours.key_pem},
        "remote": {"auth": accept, "cacerts": [sides.we_trust.cert_pem], **(more or {})},
    }
    theirs = {
        "local_auth": {"auth": auth, "certs": "theirs.pem"},
        "remote_auth": {"auth": accept},
    }
    mine, yours = (LEFT, RIGHT) if role == "we initiate" else (RIGHT, LEFT)
    known = {"local_id": names.format(mine), "remote_id": names.format(yours)}
    mirrored = {"local_id": known["remote_id"], "remote_id": known["local_id"]}
    return set_up(
        lab,
        role,
        ours={"sides": ours, **known},
        theirs={**theirs, **mirrored},
        files=files,
        daemon=daemon,
        keys=True,
    )


def assert_tunnel(lab: Lab, scene: Scene) -> None:
    """It comes up, carries packets, goes down, and tshark reads all of it."""
    require("tshark")
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    assert ping(scene.ours.namespace, scene.their_inner, count=3).received == 3
    scene.ours.delete()
    scene.idle()
    assert sum(1 for one in read(lab, scene, wire) if one.frame.spi) == 6


@pytest.mark.parametrize("deep", [False, True], ids=["root", "intermediate"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", KINDS)
def test_c26_certificates_of_every_kind_of_key(lab: Lab, kind: str, role: Role, deep: bool) -> None:
    scene = stage(lab, role, made(role, kind, deep=deep))
    assert_tunnel(lab, scene)
    assert scene.ours.events(IkeSaUp)[0].remote_id == (RIGHT if role == "we initiate" else LEFT)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
def test_c27_pss(lab: Lab, role: Role, name: str) -> None:
    """Both sign by RSASSA-PSS, and accept nothing else."""
    scheme = f"ike:rsa/pss-{name}"
    assert_tunnel(lab, stage(lab, role, made(role, "rsa-2048"), auth=scheme, accept=scheme))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["rsa-2048", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521"])
def test_c24_older_methods_where_strongswan_announces_no_hashes(lab: Lab, role: Role, kind: str) -> None:
    """Method 1, which is SHA-1, or 9 to 11 (RFC 4754)."""
    scene = stage(lab, role, made(role, kind), daemon="signature_authentication = no")
    assert_tunnel(lab, scene)


@pytest.mark.parametrize("role", ROLES)
def test_a_distinguished_name_is_an_identity(lab: Lab, role: Role) -> None:
    scene = stage(lab, role, made(role), names="O=Example, CN={}")
    assert_tunnel(lab, scene)
    peer = RIGHT if role == "we initiate" else LEFT
    assert scene.ours.events(IkeSaUp)[0].remote_id == f"O=Example, CN={peer}"


@pytest.mark.parametrize("role", ROLES)
def test_each_side_in_its_own_way(lab: Lab, role: Role) -> None:
    """The responder by its certificate, the initiator by the shared secret."""
    sides = made(role)
    ours: dict[str, object] = {"local": {"auth": "psk"}, "remote": {"auth": "psk"}}
    files: dict[str, str] = {}
    if role == "we initiate":
        ours["remote"] = {"auth": "pubkey", "cacerts": [sides.we_trust.cert_pem]}
        files = {"x509/theirs.pem": sides.theirs.cert_pem, "private/theirs.pem": sides.theirs.key_pem}
        theirs = {"local_auth": {"auth": "pubkey", "certs": "theirs.pem"}}
    else:
        ours["local"] = {"auth": "pubkey", "certs": [sides.ours.chain_pem], "key": sides.ours.key_pem}
        files = {"x509ca/root.pem": sides.they_trust.cert_pem}
        theirs = {"remote_auth": {"auth": "pubkey"}}
    assert_tunnel(lab, set_up(lab, role, ours={"sides": ours}, theirs=theirs, files=files, keys=True))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519", "rsa-2048"])
def test_raw_public_keys(lab: Lab, role: Role, kind: str) -> None:
    """strongSwan has our key as a file, and sends none of its own: we know it, too."""
    sides = made(role, kind)
    mine, yours = (_public(side) for side in (sides.ours, sides.theirs))
    ours = {
        "local": {"auth": "pubkey", "key": sides.ours.key_pem, "send_cert": "never"},
        "remote": {"auth": "pubkey", "pubkeys": [yours]},
    }
    theirs = {
        "local_auth": {"auth": "pubkey", "pubkeys": "theirs.pem"},
        "remote_auth": {"auth": "pubkey", "pubkeys": "ours.pem"},
    }
    files = {"pubkey/ours.pem": mine, "pubkey/theirs.pem": yours, "private/theirs.pem": sides.theirs.key_pem}
    assert_tunnel(lab, set_up(lab, role, ours={"sides": ours}, theirs=theirs, files=files, keys=True))


@pytest.mark.parametrize("role", ROLES)
def test_we_refuse_a_ca_that_we_do_not_trust(lab: Lab, role: Role) -> None:
    sides = made(role)
    stranger = make_ca_root("O=Example, CN=stranger", "ecdsa-p256")
    scene = stage(lab, role, Sides(sides.ours, sides.theirs, stranger, sides.they_trust))
    scene.attempt()
    down = scene.ours.event(IkeSaDown)
    assert down.reason is Reason.NO_TRUSTED_ISSUER
    assert "O=Example, CN=root, who issued the certificate of O=Example, CN=" in down.text
    scene.theirs.expect("AUTH_FAILED")
    scene.idle()


@pytest.mark.parametrize("role", ROLES)
def test_strongswan_refuses_a_ca_that_it_does_not_trust(lab: Lab, role: Role) -> None:
    sides = made(role)
    stranger = make_ca_root("O=Example, CN=stranger", "ecdsa-p256")
    mine = LEFT if role == "we initiate" else RIGHT
    ours = make_leaf(stranger, f"O=Example, CN={mine}", names=[mine], span=NOW)
    scene = stage(lab, role, Sides(ours, sides.theirs, sides.we_trust, sides.they_trust))
    scene.attempt()
    scene.theirs.expect("no issuer certificate found")
    assert scene.ours.event(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED
    scene.idle()


@pytest.mark.parametrize("role", ROLES)
def test_we_refuse_an_expired_certificate(lab: Lab, role: Role) -> None:
    """By the real clock, which strongSwan does not look at for its own."""
    sides = made(role)
    yours = RIGHT if role == "we initiate" else LEFT
    old = make_leaf(sides.they_trust, f"O=Example, CN={yours}", names=[yours], span=PAST)
    scene = stage(lab, role, Sides(sides.ours, old, sides.we_trust, sides.they_trust))
    scene.attempt()
    assert scene.ours.event(IkeSaDown).reason is Reason.CERTIFICATE_EXPIRED
    scene.idle()


@pytest.mark.parametrize("role", ROLES)
def test_we_refuse_an_identity_that_the_certificate_does_not_confirm(lab: Lab, role: Role) -> None:
    sides = made(role)
    other = make_leaf(sides.they_trust, "O=Example, CN=other", names=["other.example"], span=NOW)
    scene = stage(lab, role, Sides(sides.ours, other, sides.we_trust, sides.they_trust))
    scene.attempt()
    # strongSwan falls back to the subject of a certificate that does not confirm its own `id`.
    assert scene.ours.event(IkeSaDown).reason in (Reason.AUTHENTICATION_FAILED, Reason.ID_NOT_CONFIRMED)
    scene.idle()


def _public(issued: Issued) -> str:
    public = issued.key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
