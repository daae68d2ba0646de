"""The order of policies, whatever finds them: the first that matches wins (RFC 4301 4.4.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.policy import Action, Policy, covers_both
from sim.ipsec.spd import Spd
from sim.ipsec.traffic import Traffic
from sim.wire.address import pack_address
from sim.wire.selector import ANY_PORTS, Selector

NEAR = pack_address("10.0.0.1")


class ListSpd:
    """What an SPD is by its definition: a list, and a look at each policy in turn."""

    def __init__(self) -> None:
        self.policies: list[Policy] = []

    def add_sa(self, policy: Policy, behind: tuple[Policy, ...]) -> None:
        inner = [
            at
            for at, old in enumerate(self.policies)
            if old.priority == policy.priority
            and (
                ((old.spi_in or old in behind) and old.is_inside(policy))
                or (old in behind and lies_across(old, policy))
            )
        ]
        self.policies.insert(inner[-1] + 1 if inner else self.start(policy), policy)

    def start(self, policy: Policy) -> int:
        """Where the policies of its priority begin."""
        return sum(old.priority < policy.priority for old in self.policies)

    def end(self, policy: Policy) -> int:
        return sum(old.priority <= policy.priority for old in self.policies)

    def outbound(self, traffic: Traffic) -> Policy | None:
        return next((p for p in self.policies if covers_both(traffic, p.local_ts, p.remote_ts)), None)

    def inbound(self, traffic: Traffic) -> Policy | None:
        return next((p for p in self.policies if covers_both(traffic, p.remote_ts, p.local_ts)), None)


def lies_across(one: Policy, other: Policy) -> bool:
    """By trying every host, protocol and port that the strategies know of."""
    ends = [
        (host, protocol, port)
        for host in (NEAR, bytes([10, 2, 0, 0]), *(bytes([10, 1, 0, octet]) for octet in range(16)))
        for protocol in (1, 6, 17)
        for port in (79, 80, 90, 91)
    ]

    def parts(policy: Policy) -> list[set[tuple[bytes, int, int]]]:
        sides = (policy.local_ts, policy.remote_ts)
        return [{end for end in ends if any(selector.matches(*end) for selector in side)} for side in sides]

    mine, theirs = parts(one), parts(other)
    shared = [a & b for a, b in zip(mine, theirs, strict=True)]
    return all(shared) and shared != mine and shared != theirs


def _selector(first: int, last: int, protocol: int, ports: tuple[int, int]) -> Selector:
    low, high = sorted((first, last))
    return Selector(bytes([10, 1, 0, low]), bytes([10, 1, 0, high]), protocol, ports)


octets = st.integers(0, 15)
selectors = st.builds(
    _selector, octets, octets, st.sampled_from([0, 6, 17]), st.sampled_from([ANY_PORTS, (80, 90)])
)
hosts = octets.map(lambda octet: Selector.host(bytes([10, 1, 0, octet])))
sides = st.lists(selectors | hosts, min_size=1, max_size=3).map(tuple)
policies = st.builds(
    Policy,
    st.sampled_from(["a", "b"]),
    st.just(Action.PROTECT),
    st.just((Selector.host(NEAR), Selector.from_prefix("10.2.0.0/16"))),
    sides,
    spi_in=st.integers(0, 2),
    priority=st.sampled_from([1, 1, 2]),
)
steps = st.lists(
    st.tuples(st.sampled_from(["add", "first", "sa", "after", "remove"]), policies, st.integers(0, 9)),
    max_size=40,
)
packets = [
    Traffic(NEAR, bytes([10, 1, 0, octet]), protocol, 1024, port)
    for octet in range(16)
    for protocol in (6, 17)
    for port in (85, 99)
]


@given(steps)
def test_the_first_policy_that_matches_wins(steps: list[tuple[str, Policy, int]]) -> None:
    changes: list[None] = []
    spd, model = Spd(lambda: changes.append(None)), ListSpd()
    for verb, policy, number in steps:
        _change(spd, model, verb, policy, number)
        assert list(spd) == model.policies
        assert len(spd) == len(model.policies)
    for packet in packets:
        src, dst, protocol, src_port, dst_port = packet
        assert spd.outbound(packet) == model.outbound(packet)
        back = Traffic(dst, src, protocol, dst_port, src_port)
        assert spd.inbound(back) == model.inbound(back)
        met = [p for p in model.policies if any(ts.start <= dst <= ts.end for ts in p.remote_ts)]
        assert list(dict.fromkeys(spd.towards(dst))) == list(dict.fromkeys(met))


def test_a_policy_can_be_put_behind_the_same_one_any_number_of_times() -> None:
    spd = Spd(lambda: None)
    first, last = (_policy(name) for name in ("first", "last"))
    spd.add(first)
    spd.add(last)
    for number in range(100):
        spd.add_after(_policy(f"p{number}"), first)
    assert [policy.name for policy in spd] == ["first", *(f"p{n}" for n in reversed(range(100))), "last"]


def test_what_is_not_in_the_list_cannot_be_removed_or_followed() -> None:
    spd = Spd(lambda: None)
    spd.add(_policy("known"))
    with pytest.raises(ValueError, match="unknown"):
        spd.remove(_policy("unknown"))
    with pytest.raises(ValueError, match="unknown"):
        spd.add_after(_policy("more"), _policy("unknown"))
    assert _policy("known") in spd
    assert _policy("unknown") not in spd


def test_every_change_is_told() -> None:
    told: list[int] = []
    spd = Spd(lambda: told.append(len(spd)))
    spd.add(_policy("a"))
    spd.add_sa(_policy("b"))
    spd.add_after(_policy("c"), _policy("a"))
    spd.remove(_policy("b"))
    spd.default = Action.DISCARD
    assert told == [1, 2, 3, 2, 2]


def _policy(name: str) -> Policy:
    everything = (Selector.from_prefix("0.0.0.0/0"),)
    return Policy(name, Action.PROTECT, everything, everything)


def _change(spd: Spd, model: ListSpd, verb: str, policy: Policy, number: int) -> None:
    known = model.policies
    other = known[number % len(known)] if known else None
    if verb == "add":
        spd.add(policy)
        known.insert(model.end(policy), policy)
    elif verb == "first":
        spd.add(policy, first=True)
        known.insert(model.start(policy), policy)
    elif verb == "sa":
        behind = tuple(known[: number // 3])
        spd.add_sa(policy, behind)
        model.add_sa(policy, behind)
    elif other is not None and verb == "after":
        if policy.priority != other.priority:
            with pytest.raises(ValueError, match="different priorities"):
                spd.add_after(policy, other)
            return
        spd.add_after(policy, other)
        known.insert(known.index(other) + 1, policy)
    elif other is not None:
        spd.remove(other)
        known.remove(other)
