"""IKE fragmentation with strongSwan (RFC 7383): both cut and put together, and tshark reads it all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from sim.ike.constants import PayloadType
from tests.interop.netns import Lab
from tests.interop.scene import Role, Scene, set_up
from tests.interop.sniffer import Sniffer
from tests.interop.test_certificates import assert_tunnel, made
from tests.interop.test_certificates import stage as certified
from tests.interop.test_tshark import read

pytestmark = pytest.mark.peers

Stage = Callable[..., Scene]
SMALL = {"settings": {"fragment_size": "200 B"}}
THEIR_SMALL = "fragment_size = 200"


@pytest.fixture
def stage(lab: Lab) -> Stage:
    return partial(set_up, lab)


def test_c82_c83_both_sides_cut_their_messages(stage: Stage, role: Role) -> None:
    scene = stage(role, ours=SMALL, daemon=THEIR_SMALL)
    scene.establish()

    assert scene.ours.sent("SKF {ID")[0].fragments > 1
    assert scene.ours.received("SKF {ID")[0].fragments > 1
    scene.theirs.expect(r"received fragment #\d+ of \d+, reassembled fragmented IKE message")
    scene.theirs.expect(r"splitting IKE message \(\d+ bytes\) into \d+ fragments")
    scene.assert_works()


def test_c82_strongswan_cuts_nothing_for_us_when_we_do_not_want_it(stage: Stage, role: Role) -> None:
    ours = {"settings": {"fragment_size": "200 B", "fragmentation": "no"}}
    scene = stage(role, ours=ours, daemon=THEIR_SMALL)
    scene.establish()

    assert {event.fragments for event in scene.ours.received("HDR")} == {1}
    assert {event.fragments for event in scene.ours.sent("HDR")} == {1}
    assert "splitting IKE message" not in scene.theirs.log()


def test_c82_a_rekeyed_ike_sa_goes_on_cutting(stage: Stage, role: Role) -> None:
    scene = stage(role, ours=SMALL, daemon=THEIR_SMALL)
    scene.establish()
    scene.theirs.rekey(ike="home")
    scene.theirs.expect("scheduling .*|IKE_SA home.* rekeyed between")
    before = len(scene.ours.received("SKF {"))
    scene.theirs.rekey(child="net")
    scene.theirs.expect(r"CHILD_SA closed|outbound CHILD_SA net")

    assert len(scene.ours.received("SKF {")) >= before


@pytest.mark.parametrize("suite", ["aes128gcm16-prfsha256-x25519", "aes256-sha256-modp2048"])
def test_c82_tshark_decrypts_and_joins_the_fragments(stage: Stage, lab: Lab, role: Role, suite: str) -> None:
    scene = stage(role, ours=SMALL, daemon=THEIR_SMALL, suite=suite, keys=True)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    scene.ours.delete()
    scene.idle()

    seen = read(lab, scene, wire)

    cut = [one for one in seen if one.frame.fragment]
    joined = [one for one in cut if one.frame.joined]
    assert {one.by for one in cut} == {one.by for one in joined} == {"we", "they"}
    assert sum(int(one.frame.joined) for one in joined) == len(cut)
    assert all(str(int(PayloadType.AUTH)) in one.frame.payloads.split(",") for one in joined)


@pytest.mark.parametrize("kind", ["rsa-2048", "ecdsa-p256", "ed25519"])
def test_c82_certificates_with_an_intermediate_travel_in_fragments(lab: Lab, role: Role, kind: str) -> None:
    """Those of RSA are larger than 1280 octets, which both sides have by default."""
    daemon = "" if kind == "rsa-2048" else THEIR_SMALL
    scene = certified(lab, role, made(role, kind, deep=True), daemon=daemon)
    assert_tunnel(lab, scene)

    received = scene.ours.received("CERT")
    assert max(event.fragments for event in received) > 1
    if kind == "rsa-2048":
        assert max(event.fragments for event in scene.ours.sent("CERT")) > 1
        scene.theirs.expect(r"received fragment #\d+ of \d+, reassembled fragmented IKE message")
