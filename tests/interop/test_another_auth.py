"""A second round of authentication with strongSwan in both roles: a machine's proof, then a password."""

from __future__ import annotations

import pytest

from sim.ike.constants import ExchangeType
from sim.ike.events import IkeSaDown, IkeSaUp, MessageSent, Reason
from tests.interop.netns import Lab
from tests.interop.scene import ROLES, Role, Scene, set_up
from tests.interop.test_certificates import LEFT, RIGHT, made
from tests.interop.test_eap import INSECURE, PASSWORD, USER, assert_tunnel, files_of
from tests.peers import require_plugin

pytestmark = pytest.mark.peers

METHODS = ("eap-mschapv2", "eap-md5")


def stage(lab: Lab, role: Role, method: str, *, first: str = "pubkey", ours: str = PASSWORD) -> Scene:
    """Both authenticate as in `first`, then the initiator as USER by `method`."""
    require_plugin(method)
    sides, we_initiate = made(role), role == "we initiate"
    mine, yours = (LEFT, RIGHT) if we_initiate else (RIGHT, LEFT)
    certificate = {"certs": [sides.ours.chain_pem], "key": sides.ours.key_pem}
    trust = {"cacerts": [sides.we_trust.cert_pem]}
    signs = first == "pubkey"
    local = {"auth": first, **(certificate if signs else {})}
    remote = {"auth": first, **(trust if signs else {})}
    shows, wants = {"auth": method, "id": USER}, {"auth": method, "eap_id": "%any"}
    second = {"local": {**local, "second": shows}} if we_initiate else {"remote": {**remote, "second": wants}}
    key = {"certs": "theirs.pem"} if signs else {}
    return set_up(
        lab,
        role,
        ours={
            "local_id": mine,
            "remote_id": yours,
            "passwords": {USER: ours},
            "sides": {"local": local, "remote": remote} | second,
        },
        theirs={
            "local_id": yours,
            "remote_id": mine,
            "passwords": {USER: PASSWORD},
            "local_auth": {"auth": first} | key,
            "remote_auth": {"auth": first},
            "second": {"remote2": wants} if we_initiate else {"local2": shows | {"eap_id": USER}},
        },
        files=files_of(sides),
        keys=True,
    )


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("first", ["pubkey", "psk"])
@pytest.mark.parametrize("method", METHODS)
def test_c33_a_password_after_the_first_proof(lab: Lab, method: str, first: str, role: Role) -> None:
    scene = stage(lab, role, method, first=first)
    assert_tunnel(lab, scene, rounds=5, warning=INSECURE if method == "eap-md5" else "")
    up = scene.ours.events(IkeSaUp)[0]
    assert (up.local_id if role == "we initiate" else up.remote_id) == USER
    said = [e.payloads for e in scene.ours.events(MessageSent) if e.exchange == ExchangeType.IKE_AUTH.name]
    if role == "we initiate":
        assert "N(ANOTHER_AUTH_FOLLOWS)" in said[0]
        assert said[1] == "HDR, SK {IDi}"


@pytest.mark.parametrize("role", ROLES)
def test_c33_a_wrong_second_password_is_refused(lab: Lab, role: Role) -> None:
    scene = stage(lab, role, "eap-mschapv2", ours="guessed")
    scene.attempt()
    assert scene.ours.event(IkeSaDown).reason is Reason.WRONG_PASSWORD
    scene.idle()
