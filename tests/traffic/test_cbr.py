"""Constant-rate UDP against closed forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.net.link import LinkParams
from sim.net.packet import Packet
from sim.traffic.cbr import DISCARD_PORT, ConstantRate
from sim.wire import ip, udp
from sim.wire.address import pack_address
from tests.traffic.line import B4, B6, MS, Line, S


@settings(max_examples=40)
@given(st.integers(28, 1500), st.integers(10_000, 2_000_000), st.integers(0, S), st.integers(0, S))
def test_the_number_and_times_of_packets_follow_from_rate_and_size(
    size: int, rate: int, start: int, length: int
) -> None:
    """Packet n leaves at start + n * size / rate, without drift, as long as that is before the stop."""
    line = Line()
    flow = _flow(line, size=size, rate=rate, start=start, stop=start + length)
    line.sim.run(3 * S)
    expected = -(-length * rate // (size * 8 * S))
    assert flow.record.sent == flow.record.received == expected
    assert [at - start for at in flow.record.sent_at] == [n * size * 8 * S // rate for n in range(expected)]
    assert all(len(data) == size for _, data in line.seen)
    assert set(flow.record.latencies()) <= {5 * MS}


@pytest.mark.parametrize("dst", [B4, B6])
@pytest.mark.parametrize("size", [48, 55, 56, 57, 63, 64, 65, 1399, 1400])
def test_every_packet_is_a_right_datagram_that_carries_its_number(dst: bytes, size: int) -> None:
    line = Line()
    flow = _flow(line, dst=dst, size=size, rate=size * 8 * 1000, stop=300 * MS)
    line.sim.run(S)
    assert flow.record.received == len(line.seen) == 300
    for seq, (_, data) in enumerate(line.seen):
        header = ip.parse(data)
        datagram = udp.parse(data, header.upper_offset)
        assert udp.checksum_ok(data, header.upper_offset)
        assert datagram.checksum != 0
        assert (datagram.src_port, datagram.dst_port, header.dst) == (10_000, DISCARD_PORT, dst)
        assert header.df
        assert header.identification == 0
        payload = data[header.upper_offset + 8 :]
        assert len(payload) < 8 or payload[:8] == seq.to_bytes(8, "big")


def test_loss_is_counted() -> None:
    line = Line(LinkParams(delay_ns=MS, loss=0.1))
    flow = _flow(line, size=100, rate=800_000, stop=10 * S)
    line.sim.run(11 * S)
    assert flow.record.sent == 10_000
    assert 800 < flow.record.lost() < 1200
    assert flow.record.received + flow.record.lost() == 10_000


def test_goodput_is_the_rate_when_nothing_is_lost() -> None:
    line = Line()
    flow = _flow(line, size=1000, rate=1_000_000, stop=S)
    line.sim.run(2 * S)
    assert flow.record.goodput_bps() == 1_000_000


def test_without_a_route_packets_are_lost_until_there_is_one() -> None:
    line = Line()
    line.port_a.set_up(False)
    flow = _flow(line, size=1000, rate=800_000, stop=S)
    line.sim.at(500 * MS, lambda _: line.port_a.set_up(True))
    line.sim.run(2 * S)
    assert (flow.record.sent, flow.record.received) == (100, 50)
    assert [outage.packets for outage in flow.record.outages(2 * S)] == [50]


def test_the_source_address_stays_what_it_was_at_the_first_packet() -> None:
    line = Line()
    flow = _flow(line, size=1000, rate=800_000, stop=S)
    line.sim.at(500 * MS, lambda _: _renumber(line))
    line.sim.run(2 * S)
    assert {ip.addresses(data)[0] for _, data in line.seen} == {pack_address("10.0.0.1")}
    assert flow.record.received == 100


@given(st.integers(0, 299), st.integers(1, 255))
def test_a_damaged_packet_is_not_received(offset: int, flip: int) -> None:
    """Whatever octet behind the IP header is not what was sent, with no checksum to excuse it."""
    line = Line()
    flow = _flow(line, size=300, rate=2_400_000, stop=MS)
    line.sim.run(1)
    packet = Packet(flow._packet(0), 0, flow, 0)
    at = 20 + offset % 280
    packet.data[at] ^= flip
    assert flow.arrived(packet, line.b, 5 * MS)
    assert (flow.record.received, flow.record.damaged) == (0, 1)


def test_a_rewritten_port_with_its_checksum_is_no_damage() -> None:
    line = Line()
    flow = _flow(line, size=301, rate=2_408_000, stop=MS)
    line.sim.run(1)
    payload = flow._packet(0)[28:]
    data = udp.build((pack_address("198.51.100.7"), 61_234), (B4, DISCARD_PORT), payload)
    assert flow.arrived(Packet(data, 0, flow, 0), line.b, 5 * MS)
    assert (flow.record.received, flow.record.damaged) == (1, 0)


def test_a_packet_for_another_node_is_not_ours() -> None:
    line = Line()
    flow = _flow(line, size=300, rate=2_400_000, stop=MS)
    line.sim.run(1)
    assert not flow.arrived(Packet(flow._packet(0), 0, flow, 0), line.a, 5 * MS)


def test_a_size_that_holds_no_header_is_refused() -> None:
    with pytest.raises(ValueError, match="47 octets"):
        _flow(Line(), dst=B6, size=47)


def _flow(
    line: Line, *, dst: bytes = B4, size: int = 500, rate: int = 400_000, start: int = 0, stop: int = S
) -> ConstantRate:
    flow = ConstantRate(
        line.sim, "up", line.a, line.b, dst, size=size, rate=rate, start=start, stop=stop, port=10_000
    )
    flow.start()
    return flow


def _renumber(line: Line) -> None:
    line.port_a.add_address(pack_address("10.0.0.9"), 24)
    line.port_a.remove_address(pack_address("10.0.0.1"))
