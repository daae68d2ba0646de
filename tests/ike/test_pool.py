"""Leases of a pool: no address twice, the same one again for the same identity, at the same cost for all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sim.ike.identity import Identity
from sim.ike.pool import Pool, PoolConfig, Pools
from sim.wire.address import pack_address

ANY = bytes(4)


def who(name: object) -> Identity:
    identity = Identity.parse(f"{name}@example.org")
    assert identity is not None
    return identity


ALICE, CAROL, DAVE = who("alice"), who("carol"), who("dave")


def pool(first: str = "10.3.0.1", last: str = "10.3.0.2", name: str = "rw") -> PoolConfig:
    return PoolConfig(name, pack_address(first), pack_address(last))


def lease(pools: Pools, identity: Identity, wanted: str = "0.0.0.0", names: tuple[str, ...] = ("rw",)) -> str:
    found = pools.acquire(names, identity, pack_address(wanted))
    return "" if found is None else str(Identity.of_address(found[1]))


def test_c31_two_peers_get_different_addresses_and_a_third_none() -> None:
    pools = Pools([pool()])
    assert [lease(pools, each) for each in (ALICE, CAROL, DAVE)] == ["10.3.0.1", "10.3.0.2", ""]


def test_c31_who_comes_back_gets_the_same_address_again() -> None:
    """Though somebody else came in between, and other addresses were free (libreswan#166)."""
    pools = Pools([pool(last="10.3.0.9")])
    lease(pools, CAROL)
    own = lease(pools, ALICE)
    pools.by_name["rw"].release(pack_address(own))

    assert lease(pools, DAVE) != own
    assert lease(pools, ALICE) == own


def test_c31_an_online_lease_is_not_given_to_a_second_sa_of_the_same_identity() -> None:
    pools = Pools([pool()])
    assert lease(pools, ALICE) != lease(pools, ALICE, "10.3.0.1")


def test_c31_the_lease_that_is_offline_longest_goes_to_others_only_when_no_fresh_one_is_left() -> None:
    pools = Pools([pool(last="10.3.0.3")])
    for identity in (ALICE, CAROL):
        lease(pools, identity)
    for address in ("10.3.0.2", "10.3.0.1"):
        pools.by_name["rw"].release(pack_address(address))

    assert [lease(pools, who(n)) for n in range(4)] == ["10.3.0.3", "10.3.0.2", "10.3.0.1", ""]


def test_c31_a_wanted_address_is_given_if_nobody_has_had_it() -> None:
    pools = Pools([pool(last="10.3.0.9")])
    assert lease(pools, ALICE, "10.3.0.7") == "10.3.0.7"
    assert lease(pools, CAROL, "10.3.0.7") == "10.3.0.1"
    assert lease(pools, DAVE, "192.0.2.1") == "10.3.0.2"


def test_c31_several_pools_are_used_in_their_order_and_by_family() -> None:
    pools = Pools(
        [pool(last="10.3.0.1"), pool("10.4.0.1", "10.4.0.1", "more"), pool("fd00::1", "fd00::5", "v6")]
    )
    names = ("v6", "rw", "more")
    assert [lease(pools, each, names=names) for each in (ALICE, CAROL, DAVE)] == ["10.3.0.1", "10.4.0.1", ""]
    assert lease(pools, ALICE, "::", names) == "fd00::1"


def test_c31_a_lease_of_a_later_pool_is_found_again_before_a_fresh_one() -> None:
    pools = Pools([pool(last="10.3.0.1"), pool("10.4.0.1", "10.4.0.9", "more")])
    lease(pools, CAROL, names=("rw", "more"))
    assert lease(pools, ALICE, names=("rw", "more")) == "10.4.0.1"
    pools.by_name["more"].release(pack_address("10.4.0.1"))
    pools.by_name["rw"].release(pack_address("10.3.0.1"))

    assert lease(pools, ALICE, names=("rw", "more")) == "10.4.0.1"


def test_a_pool_is_a_range_of_one_family() -> None:
    for first, last in (("10.3.0.2", "10.3.0.1"), ("10.3.0.1", "fd00::1")):
        with pytest.raises(ValueError, match="no range"):
            pool(first, last)


@pytest.mark.parametrize("size", [100, 10_000])
def test_c31_the_steps_of_a_lease_do_not_depend_on_how_many_there_are(size: int) -> None:
    """Counted, not timed: how often addresses and identities are looked at for the last of `size` leases."""
    counted = _CountedPool(pool(last="10.3.255.254"))
    for number in range(size):
        counted.fresh(who(number), ANY)
    for online in list(counted.online):
        counted.release(online)

    counted.looks = 0
    address = counted.again(who(size - 1), ANY)
    assert address is not None
    counted.release(address)
    assert counted.left_over(ALICE) is not None
    assert counted.fresh(CAROL, ANY) is not None
    assert counted.looks == 1


class _CountedPool(Pool):
    looks = 0

    def _is_fresh(self, address: bytes) -> bool:
        self.looks += 1
        return super()._is_fresh(address)


class Leases(RuleBasedStateMachine):
    """Against a reference that knows who has what, and who had it last."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.pools = Pools([pool(last="10.3.0.6"), pool("10.4.0.1", "10.4.0.2", "more")])
        self.online: dict[bytes, Identity] = {}
        self.had: dict[bytes, Identity] = {}

    @rule(target=taken, name=st.sampled_from("abcdefghij"), wanted=st.sampled_from([0, 3, 200]))
    def acquire(self, name: str, wanted: int) -> bytes | None:
        asked = ANY if not wanted else bytes((10, 3, 0, wanted))
        identity = who(name)
        own = {a for a, i in self.had.items() if i == identity and a not in self.online}
        found = self.pools.acquire(("rw", "more"), identity, asked)
        if found is None:
            assert len(self.online) == 8, "an address was free"
            return None
        assert found[1] not in self.online
        assert not own or found[1] in own
        assert asked not in own or found[1] == asked
        self.online[found[1]] = self.had[found[1]] = identity
        return found[1]

    @rule(address=consumes(taken))
    def release(self, address: bytes | None) -> None:
        if address is not None:
            found = self.pools.of(("rw", "more"), address)
            assert found is not None
            found.release(address)
            del self.online[address]

    @invariant()
    def nothing_is_lost(self) -> None:
        pools = self.pools.by_name.values()
        assert {k: v for each in pools for k, v in each.online.items()} == self.online
        offline = {k: v for each in pools for k, v in each.offline.items()}
        assert offline == {k: v for k, v in self.had.items() if k not in self.online}


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=50, deadline=None)
@given(names=st.lists(st.integers(0, 5), max_size=30))
def test_c31_no_address_is_online_twice(names: list[int]) -> None:
    pools = Pools([pool(last="10.3.0.9")])
    given_out = [address for name in names if (address := lease(pools, who(name)))]
    assert len(set(given_out)) == len(given_out) == min(9, len(names))
