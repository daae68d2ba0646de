"""SAs in SAs on one node: ESP in ESP, AH over ESP (RFC 4301 4.1, appendix E)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sim.ipsec.nesting import MAX_DEPTH
from sim.ipsec.policy import Action, Policy
from sim.ipsec.spec import ChildSpec
from sim.ipsec.verdict import BYPASS, Acquire
from sim.wire import ah, ip, udp
from sim.wire.esp import HEADER, Mode
from sim.wire.selector import Selector
from tests.ipsec.pair import (
    A4,
    A6,
    B4,
    B6,
    Pair,
    bare_engine,
    between,
    make_spec,
    mirrored,
    packet_of,
    reason_of,
)

ESP, AH, UDP = 50, 51, 17


def test_esp_in_esp_is_opened_by_both() -> None:
    pair = pair_of(hosts(), around(ESP, mode=Mode.TUNNEL, suite="aes256-sha256"))
    packet = data()

    sealed = pair.seal(packet)

    assert HEADER.unpack_from(sealed, 20)[0] == 0xD1
    assert pair.open(sealed) == packet
    assert [sa.inbound.packets for sa in pair.b.sad.values()] == [1, 1]
    assert len(sealed) == len(packet) + pair.a.overhead(hosts().spi_in, len(packet))


def test_ah_over_esp_stands_between_the_ip_header_and_esp() -> None:
    pair = pair_of(hosts(), around(ESP, suite="ah-sha256"))
    packet = data()

    sealed = pair.seal(packet)

    outer = ah.parse(sealed, 20)
    assert (outer.next_header, outer.spi) == (ESP, 0xD1)
    assert HEADER.unpack_from(sealed, 20 + outer.size)[0] == hosts().spi_out
    assert pair.open(sealed) == packet


def test_esp_over_ah_and_both_versions() -> None:
    for version in (4, 6):
        inner = hosts("ah-sha256", outer=version)
        pair = pair_of(inner, around(AH, outer=version, mode=Mode.TUNNEL))
        packet = data(version)
        sealed = pair.seal(packet)
        assert ip.parse(sealed).protocol == ESP
        assert pair.open(sealed) == packet


def test_esp_in_udp_is_nested_by_its_port() -> None:
    pair = pair_of(hosts(encap=True), around(UDP, (4500, 4500), suite="ah-sha256"))
    packet = data()
    sealed = pair.seal(packet)

    assert ah.parse(sealed, 20).next_header == UDP
    assert pair.open(sealed) == packet


def test_what_ike_sends_inside_the_outer_sa_comes_out_as_it_is() -> None:
    pair = pair_of(hosts(encap=True), around(UDP, (4500, 4500), suite="ah-sha256"))
    message = udp.build((A4, 4500), (B4, 4500), bytes(4) + b"an IKE message behind its marker")
    sealed = packet_of(pair.a.seal(0xC1, bytearray(message), 0))

    assert pair.open(sealed) == message
    assert pair.b.inbound(bytearray(message), 0) is BYPASS


def test_a_policy_for_everything_never_protects_its_own_esp() -> None:
    """Transport mode between the hosts, any protocol: what it makes is ESP between the same hosts."""
    pair = pair_of(hosts())
    sealed = pair.seal(data())

    assert HEADER.unpack_from(sealed, 20)[0] == hosts().spi_out
    assert pair.a.around(hosts().spi_in) == ()


def test_an_sa_for_esp_is_not_inside_itself() -> None:
    pair = pair_of(hosts(), around(ESP, mode=Mode.TUNNEL))
    sealed = pair.seal(data())

    assert pair.a.around(0xC1) == ()
    assert len(sealed) == len(data()) + pair.a.overhead(hosts().spi_in, len(data()))


def test_two_that_would_be_inside_each_other_end_there() -> None:
    """ESP in AH in ESP: the first one's policy fits again, and is used once."""
    pair = pair_of(hosts(), around(ESP, suite="ah-sha256"), third(AH))
    packet = data()
    sealed = pair.seal(packet)

    assert HEADER.unpack_from(sealed, 20)[0] == 0xD2
    assert pair.open(sealed) == packet


def test_esp_that_should_have_come_inside_may_not_come_without() -> None:
    """RFC 4301 5.2: policy wants AH over it."""
    pair = pair_of(hosts(), around(ESP, suite="ah-sha256"))
    bare = packet_of(pair.a.sad[hosts().spi_in].outbound.seal(data(), 0))

    assert reason_of(pair.b.inbound(bytearray(bare), 0)) == "clear text where policy demands protection"
    pair.b.remove(0xD1)
    assert isinstance(pair.b.inbound(bare, 0), bytearray)


def test_the_outer_sa_lets_nothing_in_but_what_its_selectors_name() -> None:
    pair = pair_of(hosts(), around(ESP, suite="ah-sha256"))
    sealed = packet_of(pair.a.seal(0xC1, data(), 0))  # not ESP

    assert reason_of(pair.open(sealed)) == "selector mismatch"


def test_the_inner_sa_checks_its_own_selectors() -> None:
    pair = pair_of(hosts(), around(ESP, suite="ah-sha256"))
    pair.b.remove(hosts().spi_out)
    narrow = replace(mirrored(hosts()), remote_ts=(Selector.host(A4, 6),))
    pair.b.install(narrow, 0)

    assert reason_of(pair.open(pair.seal(data()))) == "selector mismatch"


def test_without_an_sa_for_it_the_outer_one_is_asked_for() -> None:
    pair = pair_of(hosts())
    trap = Policy("site/way", Action.PROTECT, (Selector.host(A4, ESP),), (Selector.host(B4, ESP),))
    pair.a.spd.add(trap)
    outcome = pair.a.outbound(data(), 0)

    assert isinstance(outcome, Acquire)
    assert outcome.policy == trap
    assert (outcome.local, outcome.remote) == (Selector.host(A4, ESP), Selector.host(B4, ESP))


@pytest.mark.parametrize("action", [Action.DISCARD, Action.BYPASS])
def test_a_policy_for_esp_may_forbid_it_or_let_it_pass(action: Action) -> None:
    pair = pair_of(hosts())
    pair.a.spd.add(Policy("own", action, (Selector.host(A4, ESP),), (Selector.host(B4, ESP),)))
    outcome = pair.a.outbound(data(), 0)

    if action is Action.DISCARD:
        assert reason_of(outcome) == "policy says discard"
    else:
        assert isinstance(outcome, bytearray)


def test_a_change_of_policies_is_heeded_at_once() -> None:
    pair = pair_of(hosts(), around(ESP, suite="ah-sha256"))
    both = pair.seal(data())
    pair.a.remove(0xC1)
    alone = pair.seal(data())

    assert (both[9], alone[9]) == (AH, ESP)


def test_sizes_add_up() -> None:
    pair = pair_of(hosts(), around(ESP, mode=Mode.TUNNEL, suite="aes256-sha256"))
    spi = hosts().spi_in
    largest = pair.a.max_inner(1500, spi)

    assert len(pair.seal(data(size=largest))) <= 1500 < len(pair.seal(data(size=largest + 1)))
    for size in (60, 500, largest):
        assert len(pair.seal(data(size=size))) == size + pair.a.overhead(spi, size)


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_what_is_too_deep_is_not_opened(depth: int) -> None:
    specs = [replace(hosts(), spi_in=0xE00 + n, spi_out=0xF00 + n) for n in range(depth)]
    pair = pair_of(*specs)
    packet = data()
    for spec in specs:
        packet = packet_of(pair.a.sad[spec.spi_in].outbound.seal(packet, 0))

    outcome = pair.open(packet)

    if depth > MAX_DEPTH:
        assert reason_of(outcome) == "too many SAs, one inside the other"
    else:
        assert outcome == data()


def test_what_would_be_too_deep_is_not_sent() -> None:
    a = bare_engine(A4)
    ends = [B4, *(bytes((203, 0, 113, n)) for n in range(MAX_DEPTH))]
    a.install(hosts(), 0)
    for n, (inner, outer) in enumerate(pairwise(ends)):
        assert isinstance(a.outbound(data(), 0), bytearray)
        spec = make_spec(child=f"n{n}", spi_in=n + 1, spi_out=n + 1, remote=(outer, 0))
        near, far = (Selector.host(A4, ESP),), (Selector.host(inner, ESP),)
        a.install(replace(spec, local_ts=near, remote_ts=far), 0)

    assert reason_of(a.outbound(data(), 0)) == "too many SAs, one inside the other"


def hosts(suite: str = "aes128gcm16", **settings: Any) -> ChildSpec:
    """Transport mode between A and B for all protocols."""
    return make_spec(suite, mode=Mode.TRANSPORT, **settings)


def around(
    protocol: int,
    ports: tuple[int, int] = (0, 65535),
    *,
    suite: str = "aes128gcm16",
    mode: Mode = Mode.TRANSPORT,
    outer: int = 4,
) -> ChildSpec:
    """An SA for what another one makes between A and B."""
    local, remote = (A4, B4) if outer == 4 else (A6, B6)
    return make_spec(
        suite,
        mode=mode,
        outer=outer,
        child="way",
        local_ts=(Selector.host(local, protocol, ports),),
        remote_ts=(Selector.host(remote, protocol, ports),),
        spi_in=0xC1,
        spi_out=0xD1,
    )


def third(protocol: int) -> ChildSpec:
    spec = around(protocol)
    return replace(spec, child="third", spi_in=0xC2, spi_out=0xD2)


def pair_of(*specs: ChildSpec) -> Pair:
    a, b = bare_engine(A4, A6), bare_engine(B4, B6)
    for spec in specs:
        a.install(spec, 0)
        b.install(mirrored(spec), 0)
    return Pair(a, b, specs[0])


def data(version: int = 4, size: int = 100) -> bytearray:
    src, dst = (A4, B4) if version == 4 else (A6, B6)
    return between((src, 1), (dst, 2), size)
