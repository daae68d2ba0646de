"""A node's virtual IPs and what must come from them."""

from __future__ import annotations

from sim.ike.config import ChildConfig, ConnectionConfig, StartAction
from sim.ike.events import VirtualIpAssigned, VirtualIpReleased
from sim.ipsec.policy import Action, Policy
from sim.tunnels.traps import traps
from sim.tunnels.virtual import VirtualIps
from sim.wire.address import pack_address
from sim.wire.selector import Selector

VIP, OWN = pack_address("10.3.0.1"), pack_address("192.0.2.1")
NET = Selector.from_prefix("10.1.0.0/16")
CHILD = ChildConfig("net", (), remote_ts=(NET,), start=StartAction.TRAP)
FIXED = ChildConfig("fixed", (), local_ts=(Selector.host(OWN),), remote_ts=(NET,))
RW = ConnectionConfig("rw", b"x", (), (CHILD, FIXED), remote_addrs=(OWN,), vips=(bytes(4), bytes(16)))


def policy(child: str) -> Policy:
    return Policy("p", Action.PROTECT, (), (NET,), connection="rw", child=child)


def assigned(connection: str) -> VirtualIpAssigned:
    return VirtualIpAssigned(1, connection, True, VIP, "moon")


def released(connection: str) -> VirtualIpReleased:
    return VirtualIpReleased(1, connection, True, VIP, "moon")


def test_c31_an_address_that_two_connections_have_goes_with_the_last_of_them() -> None:
    vips = VirtualIps((RW,))
    assert [vips.assigned(assigned(name)) for name in ("rw", "rw", "other")] == [True, False, False]
    assert vips.of("rw") == [VIP]
    assert [vips.released(released(name)) for name in ("rw", "other")] == [False, True]
    assert VIP not in vips
    assert not vips


def test_c31_only_the_virtual_ip_may_use_a_child_that_is_for_it() -> None:
    vips = VirtualIps((RW,))
    assert vips.excludes(policy("net"), VIP)
    vips.assigned(assigned("rw"))
    assert (vips.excludes(policy("net"), VIP), vips.excludes(policy("net"), OWN)) == (False, True)
    assert not vips.excludes(policy("fixed"), OWN)


def test_c31_nothing_leaves_in_clear_whatever_the_host_is_called() -> None:
    """The trap is for every source, because virtual IPs come and go."""
    dynamic, fixed = traps((RW,), [OWN], {})
    assert [str(ts) for ts in dynamic.policy.local_ts] == ["0.0.0.0/0", "::/0"]
    assert fixed.policy.local_ts == FIXED.local_ts
