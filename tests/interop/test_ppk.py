"""Post-quantum preshared keys with strongSwan (RFC 8784), in both roles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sim.ike.events import IkeSaDown, IkeSaUp, Reason
from tests.interop.netns import Lab, until
from tests.interop.scene import Role, Scene, set_up
from tests.interop.sniffer import Sniffer
from tests.interop.test_tshark import read

pytestmark = pytest.mark.peers

Stage = Callable[..., Scene]
SECRET = "0x" + "5a" * 32


@pytest.fixture
def stage(lab: Lab) -> Stage:
    return partial(set_up, lab)


@pytest.mark.parametrize("required", [False, True])
def test_both_sides_mix_the_ppk_in(stage: Stage, lab: Lab, role: Role, required: bool) -> None:
    scene = stage(role, ours=ours(required=required), theirs=theirs(required=required), keys=True)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()

    assert scene.ours.event(IkeSaUp).ppk
    scene.theirs.expect("using PPK")
    scene.assert_works()
    read(lab, scene, wire)


def test_a_ppk_of_one_side_is_left_out(stage: Stage, role: Role) -> None:
    """The initiator proves itself by NO_PPK_AUTH; a strongSwan that names no PPK itself accepts that."""
    lenient = {"ppk": {"ppk-1": SECRET}} if role == "we initiate" else theirs()
    scene = stage(role, ours=ours(name="unknown"), theirs=lenient)
    scene.establish()

    assert not scene.ours.event(IkeSaUp).ppk
    scene.assert_works()


def test_who_insists_on_a_ppk_refuses(stage: Stage, role: Role) -> None:
    scene = stage(role, ours=ours(required=True), limits={"error_patience": 10**8})
    scene.attempt()

    assert scene.ours.event(IkeSaDown).reason is Reason.PPK_REQUIRED
    scene.idle()


def test_strongswan_insists_and_we_have_none(stage: Stage, role: Role) -> None:
    scene = stage(role, theirs=theirs(required=True))
    scene.attempt()
    scene.theirs.expect("PPK")

    scene.theirs.idle()
    until(lambda: not scene.ours.sas(), scene.ours.story)
    assert not scene.ours.events(IkeSaUp)


def test_a_wrong_ppk_does_not_authenticate(stage: Stage, role: Role) -> None:
    scene = stage(role, ours=ours(secret="0x" + "66" * 32), theirs=theirs())
    scene.attempt()

    assert scene.ours.event(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED
    scene.idle()


@pytest.mark.parametrize("starter", ["we", "they"])
def test_rekeyed_keys_have_the_ppk_in_them(stage: Stage, role: Role, starter: str) -> None:
    """Its SK_d is in all that comes later."""
    scene = stage(role, ours=ours(), theirs=theirs())
    scene.establish()
    old = scene.ours.child().spi_in
    if starter == "they":
        scene.theirs.rekey(child="net")
    else:
        scene.ours.rekey_child(old)

    def replaced() -> bool:
        held = [child.spi_in for child in scene.ours.sa().children]
        return len(held) == 1 and held != [old]

    until(replaced, scene.ours.story)
    scene.assert_works()


def ours(*, name: str = "ppk-1", secret: str = SECRET, required: bool = False) -> dict[str, Any]:
    return {"settings": {"ppk": secret, "ppk_id": name, "ppk_required": required}}


def theirs(*, required: bool = False) -> dict[str, Any]:
    return {
        "settings": {"ppk_id": "ppk-1", "ppk_required": "yes" if required else "no"},
        "ppk": {"ppk-1": SECRET},
    }
