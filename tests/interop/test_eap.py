"""EAP against strongSwan, in both roles; tshark decrypts what was said.

The responder signs with a certificate unless EAP is the only proof. Dates are real: the live peer looks at
the clock.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sim.ike.constants import ExchangeType
from sim.ike.events import IkeSaDown, IkeSaUp, MessageSent, Reason
from tests.interop.netns import Lab
from tests.interop.ping import ping
from tests.interop.scene import ROLES, Role, Scene, set_up
from tests.interop.sniffer import Sniffer
from tests.interop.test_certificates import LEFT, RIGHT, Sides, made
from tests.interop.test_tshark import asked, read
from tests.peers import require, require_plugin

USER, PASSWORD = "carol@example.org", "Ar3etTnp-äöü"
INSECURE = "EAP type"
"""tshark warns of EAP-MD5."""
METHODS = ("eap-mschapv2", "eap-md5", "eap-tls")

pytestmark = pytest.mark.peers


def stage(
    lab: Lab,
    role: Role,
    method: str,
    *,
    accept: str | None = None,
    alone: bool = False,
    ask: bool = True,
    ours: str = PASSWORD,
    theirs: str = PASSWORD,
    sides: Sides | None = None,
    daemon: str = "",
) -> Scene:
    """The initiator authenticates by `method`, the responder wants `accept`, and signs unless `alone`.

    Without `ask` the initiator's name in IKE is that in EAP, too.
    """
    require_plugin(method)
    sides, accept = sides or made(role), accept or method
    answer = method if alone else "pubkey"
    tls = "eap-tls" in (method, accept)
    initiator = {"auth": method} | ({"eap_id": USER} if ask and not tls else {})
    wanted = {"auth": accept} | ({"eap_id": "%any"} if ask else {})
    we_initiate = role == "we initiate"
    names = (LEFT if ask or tls else USER, RIGHT)
    mine, yours = names if we_initiate else names[::-1]
    certificate = {"certs": [sides.ours.chain_pem], "key": sides.ours.key_pem}
    trust = {"cacerts": [sides.we_trust.cert_pem]}
    our_local, our_remote = (initiator, {"auth": answer}) if we_initiate else ({"auth": answer}, wanted)
    has_key = tls or our_local["auth"] == "pubkey"
    their_local, their_remote = ({"auth": answer}, wanted) if we_initiate else (initiator, {"auth": answer})
    if tls or their_local["auth"] == "pubkey":
        their_local = {**their_local, "certs": "theirs.pem"}
    return set_up(
        lab,
        role,
        ours={
            "local_id": mine,
            "remote_id": yours,
            "passwords": {} if method == "eap-tls" else {USER: ours},
            "sides": {
                "local": {**our_local, **(certificate if has_key else {})},
                "remote": {**our_remote, **trust},
            },
        },
        theirs={
            "local_id": yours,
            "remote_id": mine,
            "passwords": {} if method == "eap-tls" else {USER: theirs},
            "local_auth": their_local,
            "remote_auth": their_remote,
        },
        files=files_of(sides),
        daemon=daemon,
        keys=True,
    )


def files_of(sides: Sides) -> dict[str, str]:
    """strongSwan's certificates and key."""
    above = {
        f"x509ca/sub{number}.pem": cert.public_bytes(Encoding.PEM).decode()
        for number, cert in enumerate(sides.theirs.chain)
    }
    return above | {
        "x509/theirs.pem": sides.theirs.cert_pem,
        "x509ca/root.pem": sides.they_trust.cert_pem,
        "private/theirs.pem": sides.theirs.key_pem,
    }


def assert_tunnel(lab: Lab, scene: Scene, *, rounds: int, warning: str = "") -> None:
    """It comes up, carries packets, goes down, and tshark reads all of it."""
    require("tshark")
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    assert ping(scene.ours.namespace, scene.their_inner, count=3).received == 3
    scene.ours.delete()
    scene.idle()
    seen = read(lab, scene, wire, warning=warning)
    assert sum(1 for one in seen if one.frame.spi) == 6
    assert len(asked(seen, ExchangeType.IKE_AUTH)) >= rounds


@pytest.mark.parametrize("ask", [True, False], ids=["asked", "known"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", METHODS)
def test_c29_every_method(lab: Lab, method: str, role: Role, ask: bool) -> None:
    scene = stage(lab, role, method, ask=ask)
    assert_tunnel(lab, scene, rounds=3 + ask, warning=INSECURE if method == "eap-md5" else "")
    if role == "we respond":
        assert scene.ours.events(IkeSaUp)[0].remote_id == (LEFT if method == "eap-tls" else USER)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["rsa-2048", "ed25519"])
def test_c29_eap_tls_with_other_keys_and_an_intermediate(lab: Lab, role: Role, kind: str) -> None:
    """Long flights are fragmented by both."""
    scene = stage(lab, role, "eap-tls", sides=made(role, kind, deep=True), daemon=SMALL_FRAGMENTS)
    assert_tunnel(lab, scene, rounds=6)


SMALL_FRAGMENTS = "plugins { eap-tls { fragment_size = 400 } }"


def test_c29_a_nak_leads_to_another_method(lab: Lab) -> None:
    """We begin with a method that strongSwan does not want; its own server offers one alone."""
    assert_tunnel(lab, stage(lab, "we respond", "eap-md5", accept="eap"), rounds=4, warning=INSECURE)


@pytest.mark.parametrize("role", ROLES)
def test_c30_eap_alone(lab: Lab, role: Role) -> None:
    scene = stage(lab, role, "eap-tls", alone=True)
    assert_tunnel(lab, scene, rounds=4)
    first = next(event for event in scene.ours.events(MessageSent) if event.exchange == "IKE_AUTH")
    if role == "we respond":
        assert first.payloads == "HDR, SK {IDr, EAP}"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", ["eap-mschapv2", "eap-md5"])
def test_c29_a_wrong_password_is_refused(lab: Lab, method: str, role: Role) -> None:
    scene = stage(lab, role, method, ours="guessed", theirs=PASSWORD)
    scene.attempt()
    down = scene.ours.event(IkeSaDown)
    expected = Reason.EAP_FAILURE if (role, method) == ("we initiate", "eap-md5") else Reason.WRONG_PASSWORD
    assert down.reason is expected, down.text
    scene.idle()


@pytest.mark.parametrize("role", ROLES)
def test_c29_a_certificate_that_nobody_trusts_is_refused_in_eap_tls(lab: Lab, role: Role) -> None:
    sides = made(role)
    stranger = made(role, "ed25519")
    scene = stage(
        lab,
        role,
        "eap-tls",
        alone=True,
        sides=Sides(sides.ours, stranger.theirs, sides.we_trust, sides.they_trust),
    )
    scene.attempt()
    assert scene.ours.event(IkeSaDown).reason in (Reason.NO_TRUSTED_ISSUER, Reason.TLS_FAILURE)
    scene.idle()
