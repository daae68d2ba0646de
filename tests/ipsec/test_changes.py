"""Whatever changes, the next packet meets what a plain list of policies says: nothing stale is left."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from sim.ipsec.policy import Action, Policy, covers_both
from sim.ipsec.traffic import Traffic, classify
from sim.ipsec.verdict import BYPASS, Acquire, Drop
from sim.wire import ip, udp
from sim.wire.selector import ANY_PORTS, Selector
from tests.ipsec.pair import A4, B4, HOST_A4, bare_engine, make_spec, mirrored

PORTS = [ANY_PORTS, (1, 3), (2, 2), (3, 9)]


def _remote(low: int, high: int, ports: tuple[int, int]) -> tuple[Selector, ...]:
    first, last = sorted((low, high))
    return (Selector(bytes([10, 2, 0, first]), bytes([10, 2, 0, last]), 17, ports),)


remotes = st.builds(_remote, st.integers(0, 3), st.integers(0, 3), st.sampled_from(PORTS))
LOCAL = (Selector.from_prefix("10.1.0.0/16"),)
numbers = st.integers(0, 99)


class Changes(RuleBasedStateMachine):
    """An engine against a list of policies, in which an SA stands as RFC 4301 4.4.1 and `add_sa` say."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = bare_engine(A4), bare_engine(B4)
        self.model: list[Policy] = []
        self.outer: dict[int, bytes] = {}  # by SPI in, where its packets go
        self.next_spi = 0x1000

    @rule(
        remote=remotes, action=st.sampled_from(Action), first=st.booleans(), priority=st.sampled_from([1, 2])
    )
    def add(self, remote: tuple[Selector, ...], action: Action, first: bool, priority: int) -> None:
        policy = Policy(f"p{self.next_spi}", action, LOCAL, remote, priority=priority)
        self.next_spi += 1
        self.a.spd.add(policy, first=first)
        below = sum(old.priority < priority + (not first) for old in self.model)
        self.model.insert(below, policy)

    @precondition(lambda self: self.model)
    @rule(number=numbers)
    def remove(self, number: int) -> None:
        policy = self.model[number % len(self.model)]
        if policy.spi_in:
            self.a.remove(policy.spi_in)
        else:
            self.a.spd.remove(policy)
        self.model.remove(policy)

    @rule(remote=remotes, priority=st.sampled_from([1, 2]))
    def install(self, remote: tuple[Selector, ...], priority: int) -> None:
        spi = self.next_spi
        self.next_spi += 1
        spec = make_spec(
            spi_in=spi, spi_out=spi + 0x100000, local_ts=LOCAL, remote_ts=remote, priority=priority
        )
        self.a.install(spec, 0)
        self.b.install(mirrored(spec), 0)
        self.outer[spi] = B4
        policy = self.a.sad[spi].policy
        inner = [
            at
            for at, old in enumerate(self.model)
            if old.priority == priority and old.spi_in and old.is_inside(policy)
        ]
        start = sum(old.priority < priority for old in self.model)
        self.model.insert(inner[-1] + 1 if inner else start, policy)

    @precondition(lambda self: self.outer)
    @rule(number=numbers)
    def retire(self, number: int) -> None:
        spi = list(self.outer)[number % len(self.outer)]
        self.a.retire(spi)
        self.model = [policy for policy in self.model if policy.spi_in != spi]

    @precondition(lambda self: self.outer)
    @rule(number=numbers, last=st.integers(1, 9))
    def move(self, number: int, last: int) -> None:
        spi = list(self.outer)[number % len(self.outer)]
        if spi in self.a.sad:
            self.outer[spi] = bytes([198, 51, 100, last])
            spec = self.a.sad[spi].outbound.spec
            self.a.move(spi, spec.local, (self.outer[spi], 4500), False)

    @rule(strict=st.booleans())
    def default(self, strict: bool) -> None:
        self.a.spd.default = Action.DISCARD if strict else Action.BYPASS

    @rule(host=st.integers(0, 3), port=st.integers(1, 9))
    def leaves(self, host: int, port: int) -> None:
        packet = udp.build((HOST_A4, 7), (bytes([10, 2, 0, host]), port), b"hello")
        traffic, _ = classify(packet)
        policy = self.first(traffic)
        action = policy.action if policy else self.a.spd.default
        for _ in range(2):  # as decided on, and as remembered
            outcome = self.a.outbound(bytearray(packet), 0)
            if action is Action.BYPASS:
                assert outcome is BYPASS
            elif action is Action.DISCARD:
                assert isinstance(outcome, Drop)
            elif policy is not None and policy.spi_in:
                assert isinstance(outcome, bytearray)
                assert ip.addresses(outcome)[1] == self.outer[policy.spi_in]
                assert int.from_bytes(outcome[20:24], "big") == policy.spi_in + 0x100000
                outcome[16:20] = B4
                ip.write_checksum(outcome)
                assert self.b.inbound(outcome, 0) == packet
            else:
                assert isinstance(outcome, Acquire)
                assert outcome.policy == policy

    @rule(host=st.integers(0, 3), port=st.integers(1, 9))
    def arrives_in_clear(self, host: int, port: int) -> None:
        packet = udp.build((bytes([10, 2, 0, host]), port), (HOST_A4, 7), b"hello")
        policy = self.first(Traffic(HOST_A4, bytes([10, 2, 0, host]), 17, 7, port))
        action = policy.action if policy else self.a.spd.default
        for _ in range(2):
            outcome = self.a.inbound(bytearray(packet), 0)
            assert (outcome is BYPASS) is (action is Action.BYPASS)
            assert outcome is BYPASS or isinstance(outcome, Drop)

    def first(self, traffic: Traffic) -> Policy | None:
        found = (p for p in self.model if covers_both(traffic, p.local_ts, p.remote_ts))
        return next(found, None)


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
