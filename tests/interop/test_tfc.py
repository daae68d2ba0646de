"""TFC padding towards a real peer."""

from __future__ import annotations

import pytest

from tests.interop.netns import Lab
from tests.interop.ping import ping
from tests.interop.scene import Role, set_up

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("wanted", ["mtu", "1000 B"])
def test_c87_strongswan_opens_what_is_padded(lab: Lab, role: Role, wanted: str) -> None:
    """Its user-space ESP says nothing against padding, and so has to cut it off (RFC 7296 1.3.1)."""
    scene = set_up(lab, role, ours={"child_settings": {"tfc_padding": wanted}})
    scene.establish()

    assert not scene.ours.received("N(ESP_TFC_PADDING_NOT_SUPPORTED)")
    for size in (64, 300, 1300):
        assert ping(scene.ours.namespace, scene.their_inner, size=size).received == 1
        assert ping(scene.theirs.namespace, scene.our_inner, size=size).received == 1
    outbound = scene.ours.pair().outbound
    assert 1000 < outbound.size(64) <= 1500
    assert not scene.ours.drops
