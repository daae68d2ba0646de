"""A recorded exchange keeps its timing and payloads, and gets new addresses and right checksums."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from struct import pack

import pytest

from sim.traffic.replay import Exchange, Replay, left_out, read_exchange, replay
from sim.wire import icmp, ip, udp
from sim.wire.address import pack_address
from sim.wire.buffer import WireError
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.fragment import fragment
from sim.wire.ip import Protocol
from sim.wire.pcapng import PcapngWriter, read_capture
from tests.traffic.line import B4, B6, MS, Line, S

CAPTURE = Path("topologies/captures/web-download.pcap")
CLIENT = pack_address("192.0.2.10")
SERVER = pack_address("198.51.100.80")
OTHER = pack_address("203.0.113.5")
A4 = pack_address("10.0.0.1")


def test_the_shipped_capture_is_replayed_whole() -> None:
    exchange = read_exchange(CAPTURE)
    line = Line()
    up, down = _replay(line, exchange)
    line.sim.run(10 * S)
    packets = sum(1 for _ in read_capture(CAPTURE))
    assert (exchange.client, len(exchange.up) + len(exchange.down)) == (CLIENT, packets)
    assert up.record.received == len(exchange.up)
    assert down.record.received == len(exchange.down)
    assert not exchange.skipped


def test_timing_is_kept() -> None:
    line = Line()
    captured = list(read_capture(CAPTURE))
    up, down = _replay(line, read_exchange(CAPTURE), start=S)
    line.sim.run(10 * S)
    sent = sorted([*up.record.sent_at, *down.record.sent_at])
    assert sent == sorted(S + packet.at_ns - captured[0].at_ns for packet in captured)


def test_only_addresses_ttl_and_checksums_differ() -> None:
    line = Line()
    exchange = read_exchange(CAPTURE)
    _replay(line, exchange)
    line.sim.run(10 * S)
    assert len(line.seen) == len(exchange.up)
    for (_, data), original in zip(line.seen, exchange.up, strict=True):
        header, before = ip.parse(data), ip.parse(original.data)
        assert (header.src, header.dst, header.ttl) == (A4, B4, 64)
        assert header.identification == before.identification
        at = header.upper_offset
        checksum_at = at + {Protocol.TCP: 16, Protocol.UDP: 6}[Protocol(header.protocol)]
        assert data[at:checksum_at] == original.data[at:checksum_at]
        assert data[checksum_at + 2 :] == original.data[checksum_at + 2 :]
        total = pseudo_header_sum(header.src, header.dst, header.protocol, len(data) - at)
        assert internet_checksum(data[at:], total) == 0


def test_a_replay_ends_with_the_run() -> None:
    line = Line()
    up, down = _replay(line, read_exchange(CAPTURE), stop=S)
    line.sim.run(10 * S)
    assert all(at < S for at in (*up.record.sent_at, *down.record.sent_at))
    assert up.record.period == (0, S)


def test_whoever_sends_first_is_the_client_unless_said(tmp_path: Path) -> None:
    path = _capture(
        tmp_path, [_datagram(CLIENT, SERVER), _datagram(SERVER, CLIENT), _datagram(SERVER, CLIENT)]
    )
    exchange, other = read_exchange(path), read_exchange(path, SERVER)
    assert (exchange.client, len(exchange.up), len(exchange.down)) == (CLIENT, 1, 2)
    assert (other.client, len(other.up), len(other.down)) == (SERVER, 2, 1)


def test_what_is_not_of_the_exchange_is_skipped_and_counted(tmp_path: Path) -> None:
    broken = _datagram(CLIENT, SERVER)
    broken[2:4] = b"\xff\xff"
    packets = [
        _datagram(CLIENT, SERVER),
        _datagram(OTHER, SERVER),
        _datagram(CLIENT, pack_address("224.0.0.251")),
        _datagram(CLIENT, pack_address("255.255.255.255")),
        broken,
        bytearray(b"\x00garbage"),
    ]
    exchange = read_exchange(_capture(tmp_path, packets), CLIENT)
    assert (len(exchange.up), len(exchange.down)) == (1, 0)
    assert exchange.skipped == {
        "between other hosts": 1, "not unicast": 2, "malformed IP packet": 1, "not IP": 1
    }  # fmt: skip


def test_a_packet_cut_by_a_snap_length_is_refused(tmp_path: Path) -> None:
    whole = _datagram(CLIENT, SERVER)
    path = _pcap(tmp_path, [(bytes(whole), len(whole)), (bytes(whole[:24]), len(whole))])
    with pytest.raises(ValueError, match="1 packet is cut by a snap length of 24 octets: record with `-s 0`"):
        read_exchange(path)


def test_padding_that_a_snap_length_cuts_is_no_loss(tmp_path: Path) -> None:
    whole = bytes(_datagram(CLIENT, SERVER))
    assert len(read_exchange(_pcap(tmp_path, [(whole, len(whole) + 6)])).up) == 1


def test_a_link_type_that_is_not_supported_is_told_with_its_number(tmp_path: Path) -> None:
    path = _pcap(tmp_path, [(bytes(_datagram(CLIENT, SERVER)), 36)] * 2, linktype=105)
    with pytest.raises(ValueError, match=r"two hosts: 2 of link type 105, which is not supported$"):
        read_exchange(path)


def test_what_is_not_replayed_is_told_with_its_reasons(tmp_path: Path) -> None:
    packets = [_datagram(CLIENT, SERVER), _datagram(OTHER, SERVER), bytearray(b"\x00garbage")]
    exchange = read_exchange(_capture(tmp_path, packets))
    assert left_out(exchange) == "2 packets are not replayed: 1 not IP, 1 between other hosts"
    assert not left_out(read_exchange(_capture(tmp_path, packets[:1])))


def test_fragments_are_sent_as_the_packet_that_they_were(tmp_path: Path) -> None:
    whole = udp.build((CLIENT, 5000), (SERVER, 53), bytes(range(256)) * 8, identification=7)
    path = _capture(tmp_path, [_datagram(CLIENT, SERVER), *fragment(whole[:], 576)])
    exchange = read_exchange(path)
    assert [bytes(packet.data) for packet in exchange.up][1] == bytes(whole)
    line = Line()
    up, _ = _replay(line, exchange)
    line.sim.run(S)
    assert (up.record.sent, up.record.received, up.record.damaged) == (2, 2, 0)


def test_checksums_that_were_left_to_the_card_are_made_right(tmp_path: Path) -> None:
    data = _datagram(CLIENT, SERVER)
    data[26:28] = b"\x12\x34"
    line = Line()
    up, _ = _replay(line, read_exchange(_capture(tmp_path, [data])))
    line.sim.run(S)
    assert up.record.received == 1
    assert udp.checksum_ok(line.seen[0][1], 20)


def test_a_datagram_without_checksum_stays_without(tmp_path: Path) -> None:
    data = udp.build((CLIENT, 5000), (SERVER, 53), b"x", checksum=False)
    line = Line()
    up, _ = _replay(line, read_exchange(_capture(tmp_path, [data])))
    line.sim.run(S)
    assert up.record.received == 1
    assert line.seen[0][1][26:28] == b"\0\0"


def test_icmp_errors_and_other_protocols_are_replayed(tmp_path: Path) -> None:
    line = Line()
    echo = icmp.echo_request(CLIENT, SERVER, 1, 1, b"abc")
    other = ip.build(CLIENT, SERVER, 132, b"some SCTP")
    up, _ = _replay(line, read_exchange(_capture(tmp_path, [echo, other])))
    line.sim.run(S)
    assert (up.record.sent, up.record.received) == (2, 2)


def test_ipv6_is_replayed_between_ipv6_addresses(tmp_path: Path) -> None:
    client, server = pack_address("2001:db8:1::1"), pack_address("2001:db8:2::2")
    packets = [_datagram(client, server), _datagram(server, client), icmp.echo_request(client, server, 1, 1)]
    exchange = read_exchange(_capture(tmp_path, packets))
    line = Line()
    up, down = _replay(line, exchange, dst=B6)
    line.sim.run(S)
    assert (up.record.received, down.record.received) == (2, 1)
    with pytest.raises(ValueError, match=r"is IPv6, but 10\.0\.0\.2 is not"):
        _replay(Line(), exchange)


@pytest.mark.parametrize("field", [8, 20, 30])
def test_a_packet_that_changed_on_its_way_is_damaged(tmp_path: Path, field: int) -> None:
    line = Line()
    up, _ = _replay(line, read_exchange(_capture(tmp_path, [_datagram(CLIENT, SERVER)])))
    line.port_a.tap = lambda _port, data, _at, _outbound: _flip(data, field)
    line.sim.run(S)
    header = field < 20
    assert (up.record.received, up.record.damaged) == (0, 0 if header else 1)


def test_a_capture_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no IP packet"):
        read_exchange(_capture(tmp_path, []))
    with pytest.raises(ValueError, match=r"no packet from or to 203\.0\.113\.5"):
        read_exchange(CAPTURE, OTHER)


def test_a_damaged_capture_is_refused_with_the_offset(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(CAPTURE.read_bytes()[:-5])
    with pytest.raises(WireError, match=r"\d+"):
        read_exchange(path)


def _datagram(src: bytes, dst: bytes) -> bytearray:
    return udp.build((src, 5000), (dst, 53), b"question")


def _capture(folder: Path, packets: Iterable[bytes | bytearray]) -> Path:
    path = folder / "made.pcapng"
    with path.open("wb") as stream:
        writer = PcapngWriter(stream, ["eth"], application="test")
        for index, packet in enumerate(packets):
            writer.write(S + index * MS, 0, packet, outbound=True)
    return path


def _pcap(folder: Path, frames: Iterable[tuple[bytes, int]], linktype: int = 101) -> Path:
    """Of frames with their lengths on the wire."""
    path = folder / "made.pcap"
    head = pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, linktype)
    path.write_bytes(head + b"".join(pack("<IIII", 1, 0, len(data), size) + data for data, size in frames))
    return path


def _replay(
    line: Line, exchange: Exchange, *, dst: bytes = B4, start: int = 0, stop: int = 10 * S
) -> tuple[Replay, Replay]:
    flows = replay(line.sim, ("web.up", "web.down"), exchange, line.a, line.b, dst, start=start, stop=stop)
    for flow in flows:
        flow.start()
    return flows


def _flip(data: bytearray, at: int) -> None:
    data[at] ^= 1
