"""Every ESP suite that strongSwan has as well: a thousand packets of mixed sizes each way, none lost.

All suites are Child SAs of one IKE SA between one daemon and our endpoint, each with addresses of its own; so
nothing is started or negotiated twice. A flood keeps a few datagrams in flight through both TUN devices and
sends the next when one arrives: as quick as the two stacks are, without a wait and without a full queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sim.ike.events import ChildFailed, ChildSaUp
from tests.interop.connection import FurtherChild
from tests.interop.flood import Flood, flood
from tests.interop.netns import Lab, until
from tests.interop.ours import Ours
from tests.interop.scene import connections, ground
from tests.interop.strongswan import PLUGINS, StrongSwan
from tests.ipsec.pair import EVERY_SUITE

PACKETS = 1000
LACKING = {suite for suite in EVERY_SUITE if suite.endswith(("iiv", "gmac"))}
"""strongSwan has no implicit IVs, and its user-space ESP no AES-GMAC."""
SUITES = sorted(EVERY_SUITE.keys() - LACKING)
CHILDREN = [
    FurtherChild(suite, f"10.1.{number}.1/32", f"10.2.{number}.1/32", suite)
    for number, suite in enumerate([*SUITES, "aes128gmac"], 1)
]

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        " aes " not in Path("/proc/cpuinfo").read_text(),
        reason="Debian's strongSwan has CCM, counter mode and CMAC from its plugin for AES-NI alone",
    ),
]


@pytest.fixture(scope="module")
def tunnel() -> Iterator[tuple[Ours, StrongSwan]]:
    """Our endpoint and strongSwan, with an IKE SA and a Child SA that none of the tests needs."""
    lab = Lab()
    try:
        initiator, responder, _ = ground(lab, "veth")
        for child in CHILDREN:
            initiator.inner_address(child.local_ts)
            responder.inner_address(child.remote_ts)
        one, other = connections("veth", "aes128gcm16-prfsha256-x25519")
        one, other = (
            replace(one, further=tuple(CHILDREN)),
            replace(other, further=tuple(child.mirrored() for child in CHILDREN)),
        )
        theirs = StrongSwan(responder, settings=f"load = {PLUGINS} aesni xcbc")
        theirs.load(other.swanctl())
        ours = Ours(lab, initiator, one)
        ours.initiate("net")
        ours.sa()
        yield ours, theirs
    finally:
        lab.close()


@pytest.mark.parametrize("child", CHILDREN[:-1], ids=lambda child: str(child.name))
def test_a_thousand_packets_each_way_and_none_is_lost(
    tunnel: tuple[Ours, StrongSwan], child: FurtherChild
) -> None:
    ours, theirs = tunnel
    ours.initiate(child.name)
    until(lambda: any(event.child == child.name for event in ups(ours)), ours.story)
    here, there = child.local_ts.partition("/")[0], child.remote_ts.partition("/")[0]
    drops = dict(ours.drops)

    assert flood(ours.namespace, theirs.namespace, (here, there), PACKETS) == Flood(PACKETS, PACKETS, 0)
    assert flood(theirs.namespace, ours.namespace, (there, here), PACKETS) == Flood(PACKETS, PACKETS, 0)

    assert dict(ours.drops) == drops
    (pair,) = (pair for pair in ours.pairs() if pair.policy.child == child.name)
    assert (pair.inbound.packets, pair.outbound.packets) == (PACKETS, PACKETS)


def test_strongswan_lacks_aes_gmac_in_user_space(tunnel: tuple[Ours, StrongSwan]) -> None:
    ours, _ = tunnel
    ours.initiate("aes128gmac")
    until(lambda: any(event.child == "aes128gmac" for event in ours.events(ChildFailed)), ours.story)


def ups(ours: Ours) -> list[ChildSaUp]:
    return ours.events(ChildSaUp)
