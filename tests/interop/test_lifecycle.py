"""Rekeying, reauthentication and further Child SAs with strongSwan, begun by either side (RFC 7296 2.8)."""

from __future__ import annotations

import pytest

from sim.ike.events import (
    ChildFailed,
    ChildSaDown,
    IkeSaDown,
    IkeSaUp,
    MessageReceived,
    MessageSent,
    Reason,
    RekeyFailed,
)
from tests.interop.connection import FurtherChild
from tests.interop.netns import Lab, until
from tests.interop.ping import ping
from tests.interop.scene import Role, Scene, set_up

pytestmark = pytest.mark.peers

PFS = {"esp_proposals": "aes128gcm16-x25519"}
SECOND = FurtherChild("second", "10.1.0.1/32", "10.2.0.1/32", "aes256gcm16")


@pytest.mark.parametrize("esp", ["aes128gcm16", "aes128gcm16-x25519", "aes256-sha256-modp2048"])
def test_c41_we_rekey_a_child(lab: Lab, role: Role, esp: str) -> None:
    """Pings go on over the change of keys, with and without PFS; each side is left with one pair."""
    both = {"esp_proposals": esp}
    scene = set_up(lab, role, ours=both, theirs=both)
    scene.establish()
    old = scene.ours.child()

    scene.ours.rekey_child(old.spi_in)
    assert ping(scene.ours.namespace, scene.their_inner, count=200).received == 200
    until(lambda: scene.ours.child().spi_in != old.spi_in, scene.ours.story)

    until(lambda: len(scene.theirs.sa().children) == 1, scene.theirs.log)
    assert scene.theirs.sa().child.spi_out == scene.ours.child().spi_in
    assert not scene.ours.events(RekeyFailed)
    assert ping(scene.theirs.namespace, scene.our_inner, count=50).received == 50


@pytest.mark.parametrize("who", ["ours", "theirs"])
def test_c42_either_side_rekeys_the_ike_sa(lab: Lab, role: Role, who: str) -> None:
    """New SPIs and keys, the same Child SA, and the old IKE SA is gone on both sides."""
    scene = set_up(lab, role)
    scene.establish()
    before, child = scene.ours.sa(), scene.ours.child()

    if who == "ours":
        scene.ours.rekey_ike()
    else:
        scene.theirs.rekey(ike="home")
    until(lambda: scene.ours.sa().spi_i != before.spi_i, scene.ours.story)
    until(lambda: len(scene.theirs.sas()) == 1, scene.theirs.log)
    until(lambda: bool(scene.ours.events(IkeSaDown)), scene.ours.story)

    assert [event.reason for event in scene.ours.events(IkeSaDown)] == [Reason.REKEYED]
    assert scene.ours.child().spi_in == child.spi_in
    assert ping(scene.ours.namespace, scene.their_inner, count=50).received == 50
    rekey_child_both_ways(scene)


def test_c45_both_sides_rekey_the_child_at_once(lab: Lab, role: Role) -> None:
    """strongSwan is told while our request is on its way: the two cross, one pair is left, and works."""
    scene = set_up(lab, role, "simulated", ours=PFS, theirs=PFS, delay="400 ms")
    scene.establish()
    for _ in range(8):
        if collided(scene):
            break
        old = scene.ours.child().spi_in
        scene.ours.rekey_child(old)
        scene.theirs.rekey(child="net")
        until(lambda: same_pair(scene, old), scene.ours.story)  # noqa: B023
        assert ping(scene.ours.namespace, scene.their_inner, count=5).received == 5

    assert collided(scene), "a busy machine told strongSwan too late, eight times"


@pytest.mark.parametrize("make_before_break", ["yes", "no"])
def test_we_reauthenticate(lab: Lab, make_before_break: str) -> None:
    """Break before make: the old IKE SA goes first. Make before break: no ping is lost (RFC 7296 2.8.3)."""
    overlap = {"make_before_break": make_before_break == "yes"}
    scene = set_up(lab, "we initiate", ours={"settings": overlap}, theirs={"settings": {"unique": "never"}})
    scene.establish()
    before = scene.ours.sa()

    scene.ours.reauthenticate()
    answered = ping(scene.ours.namespace, scene.their_inner, count=200).received
    until(lambda: scene.ours.sa().spi_i != before.spi_i, scene.ours.story)
    until(lambda: len(scene.theirs.sas()) == 1, scene.theirs.log)

    assert answered == 200 or make_before_break == "no"
    assert scene.ours.events(IkeSaDown)[-1].reason is Reason.REAUTHENTICATED
    scene.assert_works()


def test_strongswan_reauthenticates(lab: Lab) -> None:
    scene = set_up(lab, "we respond")
    scene.establish()
    scene.theirs.swanctl("--rekey", "--ike", "home", "--reauth")
    until(lambda: len(scene.ours.events(IkeSaUp)) == 2, scene.ours.story)
    until(lambda: len(scene.theirs.sas()) == 1, scene.theirs.log)

    scene.assert_works()


def test_c32_strongswan_heeds_our_auth_lifetime(lab: Lab) -> None:
    """We respond and cannot call: strongSwan schedules to authenticate again in time (RFC 4478)."""
    scene = set_up(lab, "we respond", ours={"remote": "%any", "settings": {"reauth_time": "1 h"}})
    scene.establish()

    assert scene.ours.sent("N(AUTH_LIFETIME)")
    scene.theirs.expect(r"received AUTH_LIFETIME of 3600s, scheduling reauthentication")
    scene.assert_works()


def test_c56_an_ike_sa_without_a_child_comes_first(lab: Lab, role: Role) -> None:
    """Both know RFC 6023; the initiator prefers it, and creates the Child SA afterwards."""
    both = {"settings": {"childless": "force"}}
    scene = set_up(lab, role, ours=both, theirs=both)
    scene.establish()

    auths: list[MessageSent] | list[MessageReceived] = scene.ours.received("AUTH")
    if role == "we initiate":
        auths = scene.ours.sent("AUTH")
    assert "SAi2" not in next(event.payloads for event in auths if not event.response)
    scene.assert_works()


def test_several_children_in_one_ike_sa(lab: Lab, role: Role) -> None:
    """A second Child SA with another suite, by CREATE_CHILD_SA; then each is rekeyed."""
    initiators, responders = {"further": (SECOND,)}, {"further": (SECOND.mirrored(),)}
    we_initiate = role == "we initiate"
    scene = set_up(
        lab,
        role,
        ours=initiators if we_initiate else responders,
        theirs=responders if we_initiate else initiators,
    )
    scene.establish()
    if we_initiate:
        scene.ours.initiate("second")
    else:
        scene.theirs.initiate("second")
    until(lambda: len(scene.ours.sa().children) == 2, scene.ours.story)
    until(lambda: len(scene.theirs.sa().children) == 2, scene.theirs.log)

    old = {child.spi_in for child in scene.ours.sa().children}
    for spi in old:
        scene.ours.rekey_child(spi)
    until(lambda: not old & {child.spi_in for child in scene.ours.sa().children}, scene.ours.story)
    assert not scene.ours.events(ChildFailed)
    assert ping(scene.ours.namespace, scene.their_inner, count=20).received == 20


def collided(scene: Scene) -> bool:
    """Whether either side has deleted a redundant Child SA."""
    ours = any(event.reason is Reason.REDUNDANT for event in scene.ours.events(ChildSaDown))
    return ours or "redundant" in scene.theirs.log()


def test_c35_the_responder_narrows_and_nobody_widens(lab: Lab, role: Role) -> None:
    """The initiator asks for two /16, the responder allows two /24: that is what both protect."""
    wide = {"local_ts": "10.1.0.0/16", "remote_ts": "10.2.0.0/16"}
    we_initiate = role == "we initiate"
    scene = set_up(lab, role, ours=wide if we_initiate else None, theirs=None if we_initiate else wide)
    scene.establish()

    child = scene.ours.child()
    mine, yours = ("10.1.0.0/24", "10.2.0.0/24") if we_initiate else ("10.2.0.0/24", "10.1.0.0/24")
    assert [str(ts) for ts in child.local_ts] == [mine]
    assert [str(ts) for ts in child.remote_ts] == [yours]
    scene.theirs.expect(r"TS 10\.[12]\.0\.0/24 === 10\.[12]\.0\.0/24")
    scene.assert_works()
    scene.ours.rekey_child(child.spi_in)
    until(lambda: same_pair(scene, child.spi_in), scene.ours.story)
    assert scene.ours.child().local_ts == child.local_ts


def same_pair(scene: Scene, old: int) -> bool:
    """Whether both sides have one Child SA, the same, and not the old one."""
    ours = scene.ours.sa().children
    theirs = [child for child in scene.theirs.sa().children if child.state == "INSTALLED"]
    return len(ours) == len(theirs) == 1 and ours[0].spi_in != old and theirs[0].spi_out == ours[0].spi_in


def rekey_child_both_ways(scene: Scene) -> None:
    """In the new IKE SA either side can ask, and message IDs start at 0 again."""
    old = scene.ours.child().spi_in
    scene.ours.rekey_child(old)
    until(lambda: same_pair(scene, old), scene.ours.story)
    newer = scene.ours.child().spi_in
    scene.theirs.rekey(child="net")
    until(lambda: same_pair(scene, newer), scene.ours.story)
    assert ping(scene.theirs.namespace, scene.our_inner, count=20).received == 20
