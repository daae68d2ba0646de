"""strongSwan reads our proposals for AH, and we read its: what is chosen, before any kernel is asked for AH.

Its user-space data plane has no AH and always asks for ESP in UDP, so no Child SA with AH comes of it.
"""

from __future__ import annotations

import pytest

from sim.ike.events import ChildFailed, Reason
from tests.interop.netns import Lab
from tests.interop.scene import Role, set_up

pytestmark = pytest.mark.peers

CHOSEN = {
    "sha1": "HMAC_SHA1_96/NO_EXT_SEQ",
    "sha256-esn": "HMAC_SHA2_256_128/EXT_SEQ",
    "sha384": "HMAC_SHA2_384_192/NO_EXT_SEQ",
    "sha512": "HMAC_SHA2_512_256/NO_EXT_SEQ",
    "aesxcbc": "AES_XCBC_96/NO_EXT_SEQ",
    "aescmac": "AES_CMAC_96/NO_EXT_SEQ",
    "aes256gmac": "AES_256_GMAC/NO_EXT_SEQ",  # which it chooses, and has no key length for
}


def ah(suite: str) -> dict[str, object]:
    return {"child_settings": {"ah_proposals": suite}}


def our_ah(suite: str) -> dict[str, object]:
    return {"child_settings": {"ah_proposals": [suite], "esp_proposals": []}}


@pytest.mark.parametrize("suite", CHOSEN)
def test_strongswan_chooses_what_we_offer(lab: Lab, suite: str) -> None:
    scene = set_up(lab, "we initiate", ours=our_ah(suite), theirs=ah(suite))
    scene.attempt()

    scene.theirs.expect(f"selected proposal: AH:{CHOSEN[suite]}")
    assert scene.ours.event(ChildFailed).reason is Reason.NO_PROPOSAL_CHOSEN


def test_what_strongswan_offers_behind_a_nat_is_refused_with_the_reason(lab: Lab) -> None:
    role: Role = "we respond"
    scene = set_up(lab, role, ours=our_ah("sha256"), theirs=ah("sha256"))
    scene.attempt()

    failed = scene.ours.event(ChildFailed)
    assert failed.reason is Reason.NO_PROPOSAL_CHOSEN
    assert "which changes addresses that AH protects" in failed.text
    scene.theirs.expect("received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built")
