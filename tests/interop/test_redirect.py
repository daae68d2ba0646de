"""Redirection with strongSwan, either way round (RFC 5685): while an IKE SA is up, and when one begins.

One host has both gateways' addresses, so that whoever is sent from one to the other stays with the same peer.
"""

from __future__ import annotations

from time import monotonic_ns

import pytest

from sim.ike.events import IkeSaDown, Reason
from sim.wire.address import format_address, pack_address
from tests.interop.netns import Lab, until
from tests.interop.ping import ping
from tests.interop.scene import RESPONDER, Scene, set_up

SECOND = "203.0.113.3"
ANYWHERE = {"local": "%any"}

pytestmark = pytest.mark.peers


def test_strongswan_sends_us_on_while_the_sa_is_up(lab: Lab) -> None:
    ours = {"local": "%any", "settings": {"follow_redirects": True}}
    scene = _with_second_address(set_up(lab, "we initiate", ours=ours, theirs=ANYWHERE))
    scene.establish()
    assert _our_remotes(scene) == [RESPONDER]

    scene.theirs.swanctl("--redirect", "--ike", "home", "--gateway", SECOND)

    until(lambda: SECOND in _our_remotes(scene), scene.ours.story)
    down = scene.ours.event(IkeSaDown)
    assert down.reason is Reason.REDIRECTED
    until(lambda: len(scene.theirs.sas()) == 1, scene.theirs.log)
    assert scene.theirs.sa().local[0] == SECOND
    assert ping(scene.ours.namespace, scene.their_inner).received == 1


def test_we_send_strongswan_on_while_the_sa_is_up(lab: Lab) -> None:
    scene = _with_second_address(set_up(lab, "we respond", ours=ANYWHERE))
    scene.establish()

    scene.ours.call(lambda peer: peer.endpoint.redirect("home", pack_address(SECOND), monotonic_ns()))
    scene.ours.call(lambda peer: peer.pump(monotonic_ns()))

    until(lambda: [sa.remote[0] for sa in scene.theirs.sas()] == [SECOND], scene.theirs.log)
    assert scene.ours.sent("N(REDIRECT)")
    until(lambda: [format_address(sa.local[0]) for sa in scene.ours.sas()] == [SECOND], scene.ours.story)
    assert ping(scene.theirs.namespace, scene.our_inner).received == 1


def test_we_send_strongswan_on_when_it_calls(lab: Lab) -> None:
    ours = {"local": "%any", "settings": {"redirect_to": SECOND, "redirect_when": "init"}}
    scene = _with_second_address(set_up(lab, "we respond", ours=ours))

    scene.theirs.initiate("net")

    assert scene.theirs.sa().remote[0] == SECOND
    assert format_address(scene.ours.sa().local[0]) == SECOND
    assert scene.ours.received("N(REDIRECTED_FROM)")
    (told,) = scene.ours.sent("N(REDIRECT)")
    assert told.exchange == "IKE_SA_INIT"
    assert ping(scene.theirs.namespace, scene.our_inner).received == 1


def test_strongswan_takes_our_redirection_in_ike_auth(lab: Lab) -> None:
    """It authenticates us, and sets out for the other address; there strongSwan 5.9.8 itself breaks down."""
    ours = {"local": "%any", "settings": {"redirect_to": SECOND}}
    scene = _with_second_address(set_up(lab, "we respond", ours=ours))

    scene.theirs.initiate("net", patience=2)

    scene.theirs.expect("authentication of 'right.example' with pre-shared key successful")
    scene.theirs.expect(f"redirected to {SECOND}")
    scene.theirs.expect(f"initiating IKE_SA home.* to {SECOND}")


def _with_second_address(scene: Scene) -> Scene:
    scene.responder.ip("addr", "add", f"{SECOND}/24", "dev", "eth0")
    return scene


def _our_remotes(scene: Scene) -> list[str]:
    return [format_address(sa.remote[0]) for sa in scene.ours.sas() if sa.children]
