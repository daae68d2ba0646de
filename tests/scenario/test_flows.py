"""The `traffic:` of a file becomes packets: whose, from when to when, to which address and port."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.net.packet import Packet
from sim.scenario.build import build
from sim.scenario.errors import ScenarioError
from sim.scenario.load import load_text
from sim.scenario.world import World
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import ip, udp
from sim.wire.address import pack_address
from sim.wire.pcapng import PcapngWriter

CAPTURE = Path("topologies/captures/web-download.pcap").absolute()
LINE = """\
name: line
duration: 3 s
nodes:
  a: {kind: host, interfaces: {eth: [192.0.2.1/24, '2001:db8::1/64']}}
  r:
    kind: router
    interfaces: {a: [192.0.2.254/24, '2001:db8::254/64'], b: 198.51.100.254/24, c: '2001:db8:1::254/64'}
  b: {kind: host, interfaces: {eth: 198.51.100.2/24}}
  c: {kind: host, interfaces: {eth: '2001:db8:1::3/64'}}
links:
  - {ends: [a:eth, r:a], delay: 1 ms}
  - {ends: [r:b, b:eth], delay: 1 ms}
  - {ends: [r:c, c:eth], delay: 1 ms}
traffic: [TRAFFIC]
"""


def test_constant_rate_sends_from_start_to_stop() -> None:
    world = run("{name: x, kind: cbr, from: a, to: b, size: 1000 B, rate: 80 kbit/s, start: 1 s, stop: 2 s}")
    sent = world.flows["x"].record.sent_at
    assert list(sent) == [NS_PER_S + n * 100 * NS_PER_MS for n in range(10)]
    assert world.flows["x"].record.received == 10


def test_a_duration_counts_from_the_start() -> None:
    world = run(
        "{name: x, kind: cbr, from: a, to: b, size: 1000 B, rate: 80 kbit/s, start: 1 s, duration: 500 ms}"
    )
    assert len(world.flows["x"].record.sent_at) == 5


def test_without_a_stop_traffic_lasts_to_the_end() -> None:
    world = run("{name: x, kind: cbr, from: a, to: b, size: 1000 B, rate: 80 kbit/s, start: 2 s}")
    assert len(world.flows["x"].record.sent_at) == 10
    assert world.flows["x"].record.period == (2 * NS_PER_S, 3 * NS_PER_S)


def test_a_duration_beyond_the_end_is_cut_off() -> None:
    world = run(
        "{name: x, kind: cbr, from: a, to: b, size: 1000 B, rate: 80 kbit/s, start: 2 s, duration: 9 s}"
    )
    assert world.flows["x"].record.period == (2 * NS_PER_S, 3 * NS_PER_S)


def test_ping_keeps_its_interval_and_count() -> None:
    world = run("{name: x, kind: ping, from: a, to: b, interval: 250 ms, start: 1 s, count: 3, size: 90 B}")
    record = world.flows["x"].record
    assert list(record.sent_at) == [NS_PER_S, NS_PER_S + 250 * NS_PER_MS, NS_PER_S + 500 * NS_PER_MS]
    assert (record.received, record.octets_sent) == (3, 270)


def test_two_flows_between_two_nodes_are_told_apart() -> None:
    flow = "kind: cbr, from: a, to: b, size: 100 B, rate: 8 kbit/s"
    ports = {port for _, port in sent(f"{{name: x, {flow}}}, {{name: y, {flow}}}")}
    assert len(ports) == 2


def test_two_pings_between_two_nodes_hear_their_own_answers_only() -> None:
    ping = "kind: ping, from: a, to: b, interval: 100 ms"
    world = run(f"{{name: x, {ping}}}, {{name: y, {ping}, size: 200 B}}")
    for name in ("x", "y"):
        record = world.flows[name].record
        assert (record.received, record.damaged, record.duplicates) == (record.sent, 0, 0)


@pytest.mark.parametrize(
    ("source", "target", "dst"),
    [
        ("a", "b", "198.51.100.2"),
        ("a", "c", "2001:db8:1::3"),
        ("b", "a", "192.0.2.1"),
        ("c", "a", "2001:db8::1"),
        ("a", "r", "192.0.2.254"),
        ("a", "'r:b'", "198.51.100.254"),
        ("c", "'r:a'", "2001:db8::254"),
    ],
)
def test_the_target_is_the_first_address_of_a_version_that_the_source_has(
    source: str, target: str, dst: str
) -> None:
    world = run(f"{{name: x, kind: ping, from: {source}, to: {target}, count: 1}}")
    assert world.flows["x"].dst == pack_address(dst)
    assert world.flows["x"].record.received == 1


def test_ends_of_different_ip_versions_are_refused() -> None:
    assert "b and c have no IP version in common" in refused("{name: x, kind: ping, from: b, to: c}")


def test_a_size_below_the_headers_of_ipv6_is_refused() -> None:
    """28 octets hold IPv4 and UDP; only the addresses tell that this is IPv6."""
    flow = "{name: x, kind: cbr, from: a, to: c, size: 40 B, rate: 8 kbit/s}"
    assert "40 octets do not hold an IP and a UDP header" in refused(flow)
    assert "do not hold an IP and an ICMP header" in refused(
        "{name: x, kind: ping, from: a, to: c, size: 40 B}"
    )


def test_a_replay_is_two_flows_and_keeps_its_times() -> None:
    world = run(
        f"{{name: web, kind: replay, file: {CAPTURE}, client: 192.0.2.10, from: a, to: b, start: 500 ms}}"
    )
    assert set(world.flows) == {"web.up", "web.down"}
    up, down = (world.flows[name].record for name in ("web.up", "web.down"))
    assert up.sent > 10
    assert down.sent > up.sent, "a download"
    assert min(*up.sent_at, *down.sent_at) == 500 * NS_PER_MS
    assert (up.received, down.received) == (up.sent, down.sent)


def test_what_a_replay_leaves_out_is_a_warning_at_its_file(tmp_path: Path) -> None:
    path = tmp_path / "three.pcapng"
    with path.open("wb") as stream:
        writer = PcapngWriter(stream, ["eth"], application="test")
        for number in (1, 1, 3):
            src = pack_address(f"198.18.0.{number}")
            writer.write(0, 0, udp.build((src, 7), (pack_address("198.18.0.9"), 7), b"x"), outbound=True)
    world = run(f"{{name: web, kind: replay, file: {path}, from: a, to: b}}")
    (warning,) = world.warnings
    assert (warning.key, warning.text) == (
        "traffic.0.file",
        "1 packet is not replayed: 1 between other hosts",
    )


def test_a_replay_without_its_client_is_refused() -> None:
    flow = f"{{name: web, kind: replay, file: {CAPTURE}, client: 203.0.113.99, from: a, to: b}}"
    assert "203.0.113.99" in refused(flow)


def run(traffic: str) -> World:
    world = build(load_text(LINE.replace("TRAFFIC", traffic)))
    world.sim.run(3 * NS_PER_S)
    return world


def sent(traffic: str) -> set[tuple[bytes, int]]:
    """Where datagrams come from."""
    world = build(load_text(LINE.replace("TRAFFIC", traffic)))
    found: set[tuple[bytes, int]] = set()
    node = world.nodes["a"]
    send = node.send

    def note(packet: Packet, now: int) -> None:
        header = ip.parse(packet.data)
        found.add((header.src, udp.parse(packet.data, header.upper_offset).src_port))
        send(packet, now)

    node.send = note  # type: ignore[method-assign]
    world.sim.run(NS_PER_S)
    return found


def refused(traffic: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        build(load_text(LINE.replace("TRAFFIC", traffic)))
    return str(caught.value)
