"""A peer that knows no RFC 9611, such as strongSwan 5.9.8, passes its notification over."""

from __future__ import annotations

import pytest

from sim.ike.events import ChildSaUp
from tests.interop.netns import Lab
from tests.interop.ping import ping
from tests.interop.scene import Role, set_up

pytestmark = pytest.mark.peers


def test_strongswan_without_it_gets_one_child_sa_for_all(lab: Lab, role: Role) -> None:
    scene = set_up(lab, role, ours={"child_settings": {"per_cpu_sas": "yes"}}, limits={"cpus": 4})
    scene.establish()
    for size in (84, 600):
        assert ping(scene.ours.namespace, scene.their_inner, size=size).received == 1
        assert ping(scene.theirs.namespace, scene.our_inner, size=size).received == 1
    assert scene.ours.event(ChildSaUp).share is None
    assert len(scene.ours.sa().children) == 1
    if role == "we initiate":
        assert scene.ours.sent("N(SA_RESOURCE_INFO)")
