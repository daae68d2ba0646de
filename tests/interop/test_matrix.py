"""Every suite, in both roles, without a NAT, behind a real and behind a simulated one, against strongSwan.

One of them also with IKE and ESP over IPv6.
"""

from __future__ import annotations

import pytest

from sim.ike.events import IkeSaDown, Reason, Rejected
from tests.interop.netns import Lab, until
from tests.interop.ping import ping
from tests.interop.scene import ROLES, SUITES, Path, Role, Scene, set_up

PACKETS = 2000
PATHS = (
    "veth",
    "masquerade",
    pytest.param("simulated", marks=pytest.mark.slow),  # real time: 2,000 pings through an emulation
)

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("suite", SUITES)
def test_tunnel_carries_everything_both_ways(lab: Lab, suite: str, role: Role, path: Path) -> None:
    carry_everything(lab, suite, role, path)


@pytest.mark.parametrize("role", ROLES)
def test_tunnel_over_ipv6_carries_everything_both_ways(lab: Lab, role: Role) -> None:
    carry_everything(lab, "aes128gcm16-prfsha256-x25519", role, "veth6")


def carry_everything(lab: Lab, suite: str, role: Role, path: Path) -> None:
    """Pings of 64 to 1400 octets from each side, then 2,000 packets each way: none lost, none rejected."""
    scene = set_up(lab, role, path, suite=suite)
    scene.establish()
    ours, theirs = scene.ours, scene.theirs

    sent = 0
    for size in (64, 84, 255, 576, 1000, 1281, 1400):
        assert ping(ours.namespace, scene.their_inner, size=size, count=3).received == 3, size
        assert ping(theirs.namespace, scene.our_inner, size=size, count=3).received == 3, size
        sent += 6
    for source, target in ((ours, scene.their_inner), (theirs, scene.our_inner)):
        assert ping(source.namespace, target, size=500, count=PACKETS // 2).received == PACKETS // 2
    sent += PACKETS

    assert_nothing_lost(scene, sent)
    sa, their_sa = ours.sa(), theirs.sa()
    assert sa.spi_i.hex() == their_sa.spi_i
    assert sa.spi_r.hex() == their_sa.spi_r
    assert (ours.child().spi_in, ours.child().spi_out) == (their_sa.child.spi_out, their_sa.child.spi_in)
    assert sa.nat_local == (scene.nat and role == "we initiate")
    scene.assert_seen_by_responder()
    check_liveness_and_delete(scene)


def check_liveness_and_delete(scene: Scene) -> None:
    """We ask whether they are there; then we delete the SA, it is set up again, and they delete it."""
    ours, theirs = scene.ours, scene.theirs
    before = ours.sa()
    ours.check_liveness()
    until(lambda: ours.sa().received > before.received, ours.story)
    assert not ours.events(Rejected)

    ours.delete()
    ours.idle()
    theirs.idle()
    assert ours.events(IkeSaDown)[-1].reason is Reason.DELETED
    scene.establish()
    assert ping(ours.namespace, scene.their_inner).received == 1
    theirs.terminate(ike="home")
    theirs.idle()
    ours.idle()
    assert ours.events(IkeSaDown)[-1].reason is Reason.DELETED_BY_PEER


def assert_nothing_lost(scene: Scene, packets: int) -> None:
    """So many packets went each way, as either side counts them, and nothing was refused by us."""
    pair = scene.ours.pair()
    assert (pair.inbound.packets, pair.outbound.packets) == (packets, packets)
    child = scene.theirs.sa().child
    assert (child.packets_in, child.packets_out) == (packets, packets)
    assert not scene.ours.drops, scene.ours.drops
    assert not scene.ours.events(Rejected)
