"""Which of several SAs for the same traffic a packet takes (RFC 9611)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.engine import Engine
from sim.ipsec.events import PeerMoved, ResourceWanted
from sim.ipsec.spec import ChildSpec
from sim.wire import udp
from sim.wire.esp import Mode
from sim.wire.ip import addresses
from sim.wire.resource import Share, cpu_of, scattered_port
from tests.ipsec.pair import A4, B4, SPI_A, SPI_B, bare_engine, datagram, make_spec, mirrored

MODES = [Mode.TUNNEL, Mode.TRANSPORT]
CPUS = 4
COMMON = Share(CPUS, asks=True)


def test_the_first_packet_of_a_cpu_takes_the_common_sa_and_asks_once() -> None:
    a = engine()
    seen: list[int] = []
    a.alert = seen.append
    flow = datagram(ports=(1000, 2000))
    for now in range(3):
        assert sent_on(a, flow, now) == SPI_B
    event = a.next_event()
    assert isinstance(event, ResourceWanted)
    assert (event.spi_in, event.cpu in range(CPUS)) == (SPI_A, True)
    assert a.next_event() is None
    assert seen == [0], "the control plane hears of it when it happens"


def test_each_cpu_sends_on_its_own_sa_and_all_flows_of_it_do() -> None:
    a = engine()
    specs = [bind(a, cpu) for cpu in range(CPUS)]
    taken = {port: sent_on(a, datagram(ports=(port, 9))) for port in range(1000, 1200)}
    assert set(taken.values()) == {spec.spi_out for spec in specs}
    assert a.next_event() is None, "nobody lacks anything"
    assert taken == {port: sent_on(a, datagram(ports=(port, 9))) for port in range(1000, 1200)}
    counts = [list(taken.values()).count(spec.spi_out) for spec in specs]
    assert min(counts) > 30, "they share the work"


@pytest.mark.parametrize("mode", MODES)
def test_what_is_sealed_on_any_of_them_is_opened(mode: Mode) -> None:
    a, b = engine(mode), bare_engine(B4)
    b.install(replace(mirrored(common(mode)), share=Share(1)), 0)
    for cpu in range(CPUS):
        b.install(replace(mirrored(bind(a, cpu, mode)), share=Share(1, 0)), 0)
    for port in range(1000, 1040):
        ports = (port, 9)
        packet = datagram(ports=ports) if mode is Mode.TUNNEL else udp.build((A4, port), (B4, 9), b"x")
        sealed = a.outbound(packet, 0)
        assert isinstance(sealed, bytearray)
        assert b.inbound(sealed, 0) == packet


def test_a_cpu_whose_sa_is_gone_goes_on_with_the_common_one_and_asks_again() -> None:
    a = engine()
    packet = datagram()
    sent_on(a, packet)
    first = a.next_event()
    assert isinstance(first, ResourceWanted)
    own = bind(a, first.cpu)
    assert sent_on(a, packet) == own.spi_out
    a.remove(own.spi_in)
    assert sent_on(a, packet) == SPI_B
    assert a.next_event() == first


def test_a_retired_one_receives_and_no_longer_sends() -> None:
    a = engine()
    packet = datagram()
    own = [bind(a, cpu) for cpu in range(CPUS)]
    before = sent_on(a, packet)
    (spec,) = (spec for spec in own if spec.spi_out == before)
    a.retire(spec.spi_in)
    assert sent_on(a, packet) == SPI_B
    assert spec.spi_in in a.openers


def test_a_successor_is_sent_on_at_once_by_who_asked_and_later_by_who_agreed() -> None:
    """RFC 7296 2.8: the peer may not know of it until something comes in on it."""
    a = engine()
    packet = datagram()
    own = {spec.spi_out: spec for spec in (bind(a, cpu) for cpu in range(CPUS))}
    old = own[sent_on(a, packet)]
    assert old.share is not None
    new = bind(a, old.share.cpu, offset=100)
    assert sent_on(a, packet) == new.spi_out

    waiting = bind(a, old.share.cpu, offset=200, successor_of=new.spi_in)
    assert sent_on(a, packet) == new.spi_out
    a.pair(waiting.spi_in)[0].on_first()  # type: ignore[misc]
    assert sent_on(a, packet) == waiting.spi_out


def test_the_successor_of_the_common_one_leads_to_the_same_resources() -> None:
    a = engine()
    own = [bind(a, cpu) for cpu in range(CPUS)]
    a.install(replace(common(), spi_in=0x777, spi_out=0x888), 0)
    a.remove(SPI_A)
    taken = {sent_on(a, datagram(ports=(port, 9))) for port in range(100)}
    assert taken == {spec.spi_out for spec in own}


def test_a_refusal_is_final_until_the_common_one_has_a_successor() -> None:
    a = engine()
    packet = datagram()
    sent_on(a, packet)
    assert a.next_event() is not None
    a.local_addresses = (A4, B4)  # flows are forgotten
    sent_on(a, packet)
    assert a.next_event() is None
    a.install(replace(common(), spi_in=0x777, spi_out=0x888), 0)
    a.retire(SPI_A)
    sent_on(a, packet)
    event = a.next_event()
    assert isinstance(event, ResourceWanted)
    assert event.spi_in == 0x777


def test_those_of_another_peer_are_not_taken() -> None:
    """Two peers with the same selectors: the one whose common SA is used."""
    a = engine()
    for cpu in range(CPUS):
        spec = bound_spec(cpu, offset=300)
        a.install(replace(spec, remote=(bytes(4), 4500)), 0)
    assert {sent_on(a, datagram(ports=(port, 9))) for port in range(50)} == {SPI_B}


def test_who_may_not_ask_is_silent() -> None:
    a = bare_engine(A4)
    a.install(replace(common(), share=Share(CPUS)), 0)
    sent_on(a, datagram())
    assert a.next_event() is None


def test_questions_of_size_are_asked_of_the_sa_that_would_take_the_packet() -> None:
    a = engine()
    own = {spec.spi_out: spec.spi_in for spec in (bind(a, cpu) for cpu in range(CPUS))}
    for port in range(20):
        packet = datagram(ports=(port, 9))
        assert a.protecting(packet) == own[sent_on(a, packet)]


@pytest.mark.parametrize("mode", MODES)
def test_scattered_ones_leave_from_a_port_of_their_own_in_udp(mode: Mode) -> None:
    a = bare_engine(A4)
    a.install(replace(common(mode, encap=True), share=replace(COMMON, scatter=True)), 0)
    ports = {source_port(a, mode)}
    assert ports == {4500}, "the common one has IKE's"
    for cpu in range(CPUS):
        spec = replace(bound_spec(cpu, mode=mode, encap=True), share=Share(CPUS, cpu, scatter=True))
        a.install(spec, 0)
        ports.add(scattered_port(spec.spi_out))
    before = source_port(a, mode)
    assert before in ports - {4500}
    for spi in list(a.sad):
        a.move(spi, (A4, 4500), (B4, 4501), True)
    assert source_port(a, mode) == before, "it moves with the others, and keeps its port"


def test_a_bound_sa_reports_no_move_for_it_may_come_from_any_port() -> None:
    """What strongSwan does with inbound per-CPU SAs; the common one still tells of a NAT's new mapping."""
    a, b = bare_engine(A4), bare_engine(B4)
    for scattered, spec in ((False, common(encap=True)), (True, bound_spec(0, encap=True))):
        a.install(replace(spec, share=None, local=(A4, 5555)), 0)
        b.install(mirrored(spec), 0)
        sealed = a.pair(spec.spi_in)[1].seal(datagram(), 0)
        assert isinstance(sealed, bytearray)
        assert isinstance(b.inbound(sealed, 0), bytearray)
        event = b.next_event()
        assert event is None if scattered else isinstance(event, PeerMoved)


@given(st.binary(min_size=1, max_size=40), st.integers(1, 64))
def test_a_flow_stays_with_its_cpu(flow: bytes, cpus: int) -> None:
    assert cpu_of(flow, cpus) == cpu_of(flow, cpus) < cpus


def test_the_hash_is_the_same_for_ever() -> None:
    """A change would move the packets of every recorded run (CRC-32 of "123456789" is 0xcbf43926)."""
    assert cpu_of(b"123456789", 1 << 32) == 0xCBF43926


# -- helpers ---------------------------------------------------------------------------------------------


def common(mode: Mode = Mode.TUNNEL, *, encap: bool = False) -> ChildSpec:
    return replace(make_spec(mode=mode, encap=encap), share=COMMON)


def engine(mode: Mode = Mode.TUNNEL) -> Engine:
    a = bare_engine(A4)
    a.install(common(mode), 0)
    return a


def bound_spec(cpu: int, *, mode: Mode = Mode.TUNNEL, offset: int = 0, encap: bool = False) -> ChildSpec:
    spis = 0x1000 + offset + cpu, 0x2000 + offset + cpu
    spec = make_spec(mode=mode, encap=encap, spi_in=spis[0], spi_out=spis[1])
    return replace(spec, share=Share(CPUS, cpu, asks=True))


def bind(
    a: Engine, cpu: int, mode: Mode = Mode.TUNNEL, *, offset: int = 0, successor_of: int = 0
) -> ChildSpec:
    spec = bound_spec(cpu, mode=mode, offset=offset)
    a.install(spec, 0, successor_of=successor_of)
    return spec


def sent_on(a: Engine, packet: bytearray, now: int = 0) -> int:
    """The SPI of the ESP that a packet becomes."""
    sealed = a.outbound(packet, now)
    assert isinstance(sealed, bytearray)
    assert addresses(sealed) == (A4, B4)
    return int.from_bytes(sealed[20:24], "big")


def source_port(a: Engine, mode: Mode) -> int:
    packet = datagram() if mode is Mode.TUNNEL else udp.build((A4, 1), (B4, 2), b"x")
    sealed = a.outbound(packet, 0)
    assert isinstance(sealed, bytearray)
    return udp.parse(sealed, 20).src_port
