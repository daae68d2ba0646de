"""strongSwan 5.9.8 has no additional key exchanges (RFC 9370): what is left when only we have them."""

from __future__ import annotations

import pytest

from sim.ike.events import IkeSaDown, Reason
from tests.interop.netns import Lab
from tests.interop.scene import Role, set_up

pytestmark = pytest.mark.peers

PLAIN = "aes128gcm16-prfsha256-x25519"
HYBRID = f"{PLAIN}-ke1_mlkem768"


def test_c57_the_classical_proposal_is_chosen_where_there_is_one(lab: Lab, role: Role) -> None:
    """A proposal with a transform type that it does not know is none for it (RFC 7296 3.3.6)."""
    scene = set_up(lab, role, ours={"proposals": f"{HYBRID},{PLAIN}"}, theirs={"proposals": PLAIN})
    scene.establish()

    assert scene.ours.sa().proposal == PLAIN
    assert not scene.ours.sent("HDR, SK {KE")
    scene.assert_works()


def test_c57_who_insists_on_ml_kem_gets_no_tunnel(lab: Lab) -> None:
    scene = set_up(
        lab,
        "we initiate",
        ours={"proposals": HYBRID},
        theirs={"proposals": PLAIN},
        limits={"error_patience": 10**8},
    )
    scene.attempt()

    assert scene.ours.event(IkeSaDown).reason is Reason.NO_PROPOSAL_CHOSEN
    scene.idle()


def test_c57_a_child_falls_back_alike(lab: Lab, role: Role) -> None:
    """In IKE_AUTH nobody exchanges keys for the Child SA; in a rekeying we offer both, and it takes one."""
    both = {"esp_proposals": "aes128gcm16-x25519-ke1_mlkem768,aes128gcm16-x25519"}
    scene = set_up(lab, role, ours=both, theirs={"esp_proposals": "aes128gcm16-x25519"})
    scene.establish()
    old = scene.ours.child().spi_in
    scene.ours.rekey_child(old)
    scene.theirs.expect("CHILD_SA net.* established", times=2)

    assert not scene.ours.sent("N(ADDITIONAL_KEY_EXCHANGE)")
    scene.assert_works()
