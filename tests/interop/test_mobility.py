"""Addresses change and a real NAT forgets, while pings run through a tunnel with strongSwan.

strongSwan's user-space ESP cannot move an SA, so it makes a new Child SA after UPDATE_SA_ADDRESSES.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from sim.ike.events import IkeSaDown, PathChanged
from tests.interop.nat import forget
from tests.interop.netns import Lab, until
from tests.interop.ping import Pings, replies, start_pinging, stop_pinging
from tests.interop.scene import OUTSIDE, Scene, set_up
from tests.interop.sniffer import Sniffer

INTERVAL = 0.05
AT_MOST_LOST = round(1 / INTERVAL)
"""Pings in a row, which is a second."""
ANYWHERE = {"local": "%any"}

pytestmark = pytest.mark.peers


def test_strongswan_moves_and_we_follow(lab: Lab) -> None:
    scene = set_up(lab, "we respond", "masquerade", theirs=ANYWHERE)
    scene.establish()

    pings = ping_over(scene, lambda: scene.initiator.move("eth0", "192.168.1.77/24", "192.168.1.1"))

    assert scene.ours.received("N(UPDATE_SA_ADDRESSES)")
    assert scene.ours.events(PathChanged)
    assert_recovered(scene, pings)


def test_we_move_and_strongswan_follows(lab: Lab) -> None:
    scene = set_up(lab, "we initiate", "masquerade", ours=ANYWHERE)
    scene.establish()

    pings = ping_over(scene, lambda: scene.initiator.move("eth0", "192.168.1.77/24", "192.168.1.1"))

    assert scene.ours.sent("N(UPDATE_SA_ADDRESSES)")
    assert scene.ours.sa().local[0] == bytes([192, 168, 1, 77])
    assert_recovered(scene, pings)


def test_we_follow_esp_from_a_new_port_of_the_nat(lab: Lab) -> None:
    """Nobody rekeys: SPIs stay and the sequence number goes on (RFC 4555 3.8)."""
    scene = set_up(lab, "we respond", "masquerade", random_ports=True)
    wire = Sniffer(scene.responder, "eth0")
    scene.establish()
    before = scene.ours.pair()
    port = before.outbound.spec.remote[1]

    assert scene.router is not None
    router = scene.router
    pings = ping_over(scene, lambda: forget(router))

    after = scene.ours.pair()
    assert after.outbound.spec.remote[1] != port
    assert after.inbound is before.inbound
    assert_recovered(scene, pings)
    numbers = wire.close()
    assert numbers.keys() == {after.inbound.spi, after.outbound.spi}
    assert numbers[after.outbound.spi] == list(range(1, after.outbound.seq + 1))
    assert len(numbers[after.outbound.spi]) >= 30
    assert all(one < next_one for one, next_one in pairwise(numbers[after.inbound.spi]))


def test_we_find_the_way_back_through_a_nat_that_forgot_us(lab: Lab) -> None:
    """strongSwan's ESP does not follow, so our liveness check finds out (RFC 4555 3.8)."""
    ours = {"settings": {"dpd_delay": "200 ms"}}
    scene = set_up(lab, "we initiate", "masquerade", ours=ours, random_ports=True)
    scene.establish()

    assert scene.router is not None
    router = scene.router
    pings = ping_over(scene, lambda: forget(router))

    assert scene.ours.sent("N(UPDATE_SA_ADDRESSES)")
    assert_recovered(scene, pings)


def ping_over(scene: Scene, happens: Callable[[], None]) -> Pings:
    """Ping from the initiator's network, let something happen in between and replies come again after it."""
    pinging = start_pinging(scene.initiator, OUTSIDE, interval=INTERVAL)
    until(lambda: len(replies(pinging)) >= 10, pinging.output)
    happens()
    here = max(replies(pinging))
    until(
        lambda: len([seq for seq in replies(pinging) if seq > here + 2]) >= 20,
        lambda: f"no pings any more:\n{pinging.output()}\n{scene.ours.story()}\n{scene.theirs.log()}",
    )
    return stop_pinging(pinging)


def assert_recovered(scene: Scene, pings: Pings) -> None:
    assert pings.longest_gap <= AT_MOST_LOST, pings
    assert not scene.ours.events(IkeSaDown)
    until(lambda: len(scene.ours.pairs()) == 1, scene.ours.story)
    assert len(scene.ours.sas()) == len(scene.theirs.sas()) == 1
