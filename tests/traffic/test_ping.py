"""Ping: answered by the other host's own stack."""

from __future__ import annotations

import pytest

from sim.net.link import LinkParams
from sim.traffic.ping import Ping
from sim.wire import icmp, ip
from tests.traffic.line import B4, B6, MS, Line, S


@pytest.mark.parametrize("dst", [B4, B6])
def test_the_round_trip_is_twice_the_delay(dst: bytes) -> None:
    line = Line(LinkParams(rate_bps=None, delay_ns=7 * MS))
    ping = _ping(line, dst=dst)
    line.sim.run(2 * S)
    assert (ping.record.sent, ping.record.received) == (10, 10)
    assert set(ping.record.latencies()) == {14 * MS}


def test_serialisation_counts_both_ways() -> None:
    """84 octets at 84 kbit/s take 8 ms each way."""
    line = Line(LinkParams(rate_bps=84_000, delay_ns=5 * MS))
    ping = _ping(line)
    line.sim.run(2 * S)
    assert set(ping.record.latencies()) == {2 * (8 + 5) * MS}


def test_requests_are_numbered_from_one_at_the_interval() -> None:
    line = Line()
    _ping(line, size=100)
    line.sim.run(2 * S)
    assert [at for at, _ in line.seen] == [5 * MS + n * 100 * MS for n in range(10)]
    for number, (_, data) in enumerate(line.seen, 1):
        message = icmp.parse(data, ip.parse(data).upper_offset)
        assert len(data) == 100
        assert message.rest == (7).to_bytes(2, "big") + number.to_bytes(2, "big")


@pytest.mark.parametrize(("count", "sent"), [(None, 10), (3, 3), (50, 10)])
def test_count_or_the_end_stops_it(count: int | None, sent: int) -> None:
    line = Line()
    ping = _ping(line, count=count)
    line.sim.run(2 * S)
    assert ping.record.sent == sent


def test_a_lost_answer_is_a_lost_packet() -> None:
    line = Line()
    ping = _ping(line)
    line.b.protocols.pop(ip.Protocol.ICMP)
    line.sim.run(2 * S)
    assert (ping.record.received, ping.record.lost()) == (0, 10)


def test_a_size_that_holds_no_header_is_refused() -> None:
    with pytest.raises(ValueError, match="27 octets"):
        _ping(Line(), size=27)


def _ping(line: Line, *, dst: bytes = B4, size: int = 84, count: int | None = None) -> Ping:
    ping = Ping(
        line.sim,
        "echo",
        line.a,
        dst,
        size=size,
        interval=100 * MS,
        count=count,
        start=0,
        stop=S,
        identifier=7,
        target=line.b,
    )
    ping.start()
    return ping
