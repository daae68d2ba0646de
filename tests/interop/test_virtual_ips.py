"""Virtual IPs with strongSwan, in both roles: who asks, who leases, who refuses; tshark reads along."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic_ns

import pytest

from sim.ike.constants import ConfigAttributeType
from sim.ike.events import ChildFailed, Reason, VirtualIpAssigned, VirtualIpReleased
from sim.ike.identity import Identity
from sim.ike.payloads import ConfigAttribute
from sim.ike.pool import Pool, PoolConfig
from sim.wire.address import format_address, pack_address
from tests.interop.netns import Lab, until
from tests.interop.scene import ROLES, Role, Scene, set_up
from tests.interop.sniffer import Sniffer
from tests.interop.test_tshark import read
from tests.peers import require

pytestmark = pytest.mark.peers

DNS = "10.2.0.20"
INNER = "10.2.0.0/16, fd00:2::/64"
TARGETS = ("10.2.0.1", "fd00:2::1")
BOTH = ("0.0.0.0", "::")
THEIR_POOLS = {"v4": {"addrs": "10.3.0.0/24", "dns": DNS}, "v6": {"addrs": "fd00:3::/64"}}
OUR_POOLS = (
    PoolConfig(
        "v4",
        pack_address("10.3.0.1"),
        pack_address("10.3.0.254"),
        (ConfigAttribute(ConfigAttributeType.INTERNAL_IP4_DNS, pack_address(DNS)),),
    ),
    PoolConfig("v6", pack_address("fd00:3::1"), pack_address("fd00:3::ff")),
)


def stage(
    lab: Lab,
    role: Role,
    *,
    vips: tuple[str, ...] = BOTH,
    pools: tuple[str, ...] = ("v4", "v6"),
    more: Mapping[str, object] | None = None,
) -> Scene:
    """The initiator asks for virtual IPs, if any, and the responder leases them, if it has pools."""
    asking: dict[str, object] = {"local_ts": "dynamic", "remote_ts": INNER}
    leasing: dict[str, object] = {"local_ts": INNER, "remote_ts": "dynamic"}
    if role == "we initiate":
        asking["settings"] = {"vips": list(vips), **(more or {})}
        leasing |= {"settings": {"pools": ", ".join(pools)} if pools else {}, "pools": THEIR_POOLS}
        scene = set_up(lab, role, ours=asking, theirs=leasing, keys=True)
    else:
        asking["settings"] = {"vips": ", ".join(vips)} if vips else {}
        leasing["settings"] = {"pools": list(pools), **(more or {})}
        scene = set_up(lab, role, ours=leasing, theirs=asking, keys=True, pools=OUR_POOLS)
    scene.responder.inner_address("fd00:2::1/128")
    return scene


def addresses(scene: Scene) -> str:
    return scene.initiator.ip("-o", "address", "show")


@pytest.mark.parametrize("role", ROLES)
def test_c31_addresses_of_both_families_carry_packets_and_go_with_the_ike_sa(lab: Lab, role: Role) -> None:
    require("tshark")
    scene = stage(lab, role)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    vips = [format_address(vip) for vip in scene.ours.sa().vips]
    assert vips == ["10.3.0.1", "fd00:3::1"]
    child = scene.ours.child()
    narrowed = child.local_ts if role == "we initiate" else child.remote_ts
    assert [str(ts) for ts in narrowed] == ["10.3.0.1/32", "fd00:3::1/128"]
    if role == "we initiate":
        assert scene.ours.events(VirtualIpAssigned)[0].dns == (pack_address(DNS),)
    assert all(vip in addresses(scene) for vip in vips)
    for target in TARGETS:
        scene.initiator.run("ping", "-c", "2", "-W", "5", target)

    scene.ours.delete()
    scene.idle()
    until(lambda: not any(vip in addresses(scene) for vip in vips), lambda: addresses(scene))
    assert sum(1 for one in read(lab, scene, wire) if one.frame.spi) >= 8


@pytest.mark.parametrize("role", ROLES)
def test_c31_the_responder_reaches_the_virtual_ip(lab: Lab, role: Role) -> None:
    scene = stage(lab, role, vips=("0.0.0.0",), pools=("v4",))
    scene.establish()
    scene.responder.run("ping", "-c", "2", "-W", "5", "-I", "10.2.0.1", "10.3.0.1")


@pytest.mark.parametrize("role", ROLES)
def test_c28_without_an_address_there_is_no_child_but_an_ike_sa(lab: Lab, role: Role) -> None:
    """The initiator asks for IPv6 alone, and the only pool has IPv4."""
    scene = stage(lab, role, vips=("::",), pools=("v4",))
    scene.attempt()

    failed = scene.ours.event(ChildFailed)
    assert failed.reason is Reason.INTERNAL_ADDRESS_FAILURE
    until(lambda: len(scene.theirs.sas()) == 1, scene.theirs.log)
    assert len(scene.ours.sas()) == 1
    assert not scene.ours.pairs()


@pytest.mark.parametrize("role", ROLES)
def test_c28_who_asks_for_none_gets_no_child_but_an_ike_sa(lab: Lab, role: Role) -> None:
    scene = stage(lab, role, vips=(), pools=("v4",))
    scene.attempt()

    assert scene.ours.event(ChildFailed).reason is Reason.FAILED_CP_REQUIRED
    until(lambda: len(scene.theirs.sas()) == 1, scene.theirs.log)
    assert len(scene.ours.sas()) == 1
    scene.theirs.expect("FAILED_CP_REQUIRED|FAIL_CP_REQ")


def test_c31_an_exhausted_pool_of_ours_is_told_to_strongswan(lab: Lab) -> None:
    scene = stage(lab, "we respond", vips=("0.0.0.0",), pools=("v4",))
    scene.ours.call(lambda peer: _exhaust(peer.endpoint._ctx.pools.by_name["v4"]))
    scene.attempt()
    assert scene.ours.event(ChildFailed).reason is Reason.INTERNAL_ADDRESS_FAILURE
    scene.theirs.expect("INTERNAL_ADDRESS_FAILURE|INT_ADDR_FAIL")


@pytest.mark.parametrize("role", ROLES)
def test_c31_reauthentication_keeps_the_address(lab: Lab, role: Role) -> None:
    """By us as the initiator, by strongSwan with ours as the responder; the old IKE SA goes first."""
    scene = stage(lab, role, vips=("0.0.0.0",), pools=("v4",))
    scene.establish()
    first = scene.ours.sa()
    if role == "we initiate":
        scene.ours.call(lambda peer: peer.command("reauthenticate", "home", None, monotonic_ns()))
    else:
        scene.theirs.swanctl("--rekey", "--ike", "home", "--reauth")
    until(
        lambda: [sa.ike_id for sa in scene.ours.sas() if sa.children] not in ([], [first.ike_id]),
        scene.ours.story,
    )
    assert scene.ours.sa().vips == first.vips
    scene.initiator.run("ping", "-c", "2", "-W", "5", "10.2.0.1")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("who", ["we rekey", "strongswan rekeys"])
def test_c31_rekeying_the_ike_sa_keeps_the_address(lab: Lab, role: Role, who: str) -> None:
    scene = stage(lab, role, vips=("0.0.0.0",), pools=("v4",))
    scene.establish()
    first = scene.ours.sa()
    if who == "we rekey":
        scene.ours.call(lambda peer: peer.command("rekey", "home", None, monotonic_ns()))
    else:
        scene.theirs.rekey(ike="home")
    until(lambda: scene.ours.sa().ike_id != first.ike_id, scene.ours.story)
    assert scene.ours.sa().vips == first.vips
    assert not scene.ours.events(VirtualIpReleased)
    scene.initiator.run("ping", "-c", "2", "-W", "5", "10.2.0.1")


def test_c31_strongswan_leases_us_the_address_that_we_had(lab: Lab) -> None:
    """When we leave and come back; and before that, when a new IKE SA takes over (make before break)."""
    scene = stage(lab, "we initiate", vips=("0.0.0.0",), pools=("v4",), more={"make_before_break": True})
    scene.establish()
    first = scene.ours.sa()
    scene.ours.call(lambda peer: peer.command("reauthenticate", "home", None, monotonic_ns()))
    until(lambda: first.ike_id not in [sa.ike_id for sa in scene.ours.sas()], scene.ours.story)
    assert scene.ours.sa().vips == first.vips
    assert not scene.ours.events(VirtualIpReleased)
    scene.ours.delete()
    scene.idle()
    scene.establish()
    assert scene.ours.sa().vips == first.vips


def _exhaust(pool: Pool) -> None:
    """Lease all of it to others."""
    for number in range(254):
        assert pool.fresh(Identity(2, str(number).encode()), bytes(4)) is not None
