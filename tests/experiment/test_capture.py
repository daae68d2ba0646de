"""The capture of a run, read by scapy: which interface, which direction, and exactly when."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scapy.utils import RawPcapNgReader

import sim
from sim.experiment.capture import HashingStream
from sim.scenario.load import load_text
from sim.units import NS_PER_MS, NS_PER_S, NS_PER_US
from tests.scenario.base import TEXT

# An octet takes 1 us on this link.
PAIR = """\
name: pair
duration: 2 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  b: {kind: host, interfaces: {eth: 192.0.2.2/24}}
links: [{ends: [a:eth, b:eth], rate: 8 Mbit/s, delay: {up: 3 ms, down: 7 ms}}]
traffic: [{name: echo, kind: ping, from: a, to: b, size: 100 B, start: 1 s, count: 1}]
"""
INBOUND, OUTBOUND = 1, 2  # pcapng's epb_flags, bits 0 and 1


class Frame(NamedTuple):
    at: int
    interface: str
    direction: int
    octets: bytes


def test_a_packet_is_stamped_when_its_last_bit_leaves_and_when_it_arrives(tmp_path: Path) -> None:
    sim.run(load_text(PAIR), out=tmp_path)
    found = [(frame.interface, frame.direction, frame.at) for frame in frames(tmp_path)]
    sent = NS_PER_S + 100 * NS_PER_US
    arrived = sent + 3 * NS_PER_MS
    answered = arrived + 100 * NS_PER_US
    assert found == [
        ("a:eth", OUTBOUND, sent),
        ("b:eth", INBOUND, arrived),
        ("b:eth", OUTBOUND, answered),
        ("a:eth", INBOUND, answered + 7 * NS_PER_MS),
    ]


def test_both_ends_of_a_link_see_the_same_octets(tmp_path: Path) -> None:
    sim.run(load_text(PAIR), out=tmp_path)
    first, second, third, fourth = (frame.octets for frame in frames(tmp_path))
    assert first == second != third == fourth
    assert len(first) == 100


def test_every_attachment_is_an_interface_in_the_order_of_the_file(tmp_path: Path) -> None:
    sim.run(load_text(TEXT), out=tmp_path)
    expected = [
        *("alice:wlan", "alice:lte", "home:lan", "home:wan", "core:home", "core:cell", "core:moon"),
        *("moon:wan", "moon:lan", "bob:eth"),
    ]
    with RawPcapNgReader(str(tmp_path / "capture.pcapng")) as reader:
        list(reader)
        names = [interface[2]["name"].decode() for interface in reader.interfaces]  # type: ignore[attr-defined]
    assert names == expected


def test_only_what_is_asked_for_is_captured(tmp_path: Path) -> None:
    sim.run(load_text(TEXT, overrides=["capture=['moon:*', 'alice:wlan']"]), out=tmp_path)
    assert {frame.interface for frame in frames(tmp_path)} == {"alice:wlan", "moon:wan", "moon:lan"}


def test_a_packet_that_is_lost_on_the_link_was_seen_leaving(tmp_path: Path) -> None:
    sim.run(load_text(PAIR, overrides=["links.0.loss=100 %"]), out=tmp_path)
    assert [(frame.interface, frame.direction) for frame in frames(tmp_path)] == [("a:eth", OUTBOUND)]


def test_times_never_run_backwards(tmp_path: Path) -> None:
    sim.run(load_text(TEXT), out=tmp_path)
    times = [frame.at for frame in frames(tmp_path)]
    assert times == sorted(times)
    assert len(times) > 1000


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    result = sim.run(load_text(TEXT), out=tmp_path)
    octets = (tmp_path / "capture.pcapng").read_bytes()
    assert result.summary["capture_sha256"] == hashlib.sha256(octets).hexdigest()


def test_a_capture_that_is_thrown_away_has_the_same_hash(tmp_path: Path) -> None:
    kept = sim.run(load_text(TEXT), out=tmp_path).summary["capture_sha256"]
    assert sim.run(load_text(TEXT), capture=True).summary["capture_sha256"] == kept
    assert sim.run(load_text(TEXT)).summary["capture_sha256"] is None


@pytest.mark.parametrize(
    "overrides", [[], ["links.4.jitter=1 ms", "links.4.loss=1 %", "links.0.rate=1 Mbit/s"]]
)
def test_listening_changes_nothing(overrides: list[str]) -> None:
    """A run with a capture is the run without one."""
    scenario = load_text(TEXT, overrides=overrides)
    with_capture, without = sim.run(scenario, capture=True), sim.run(scenario)
    assert with_capture.flows.equals(without.flows)
    assert with_capture.events.equals(without.events)


def test_the_hashing_stream_writes_through() -> None:
    target = BytesIO()
    stream = HashingStream(target)
    assert stream.write(b"abc") == 3
    stream.write(b"def")
    assert target.getvalue() == b"abcdef"
    assert stream.hexdigest() == hashlib.sha256(b"abcdef").hexdigest()


def frames(folder: Path) -> list[Frame]:
    with RawPcapNgReader(str(folder / "capture.pcapng")) as reader:
        return [_frame(octets, meta) for octets, meta in reader]


def _frame(octets: bytes, meta: Any) -> Frame:
    assert meta.tsresol == NS_PER_S
    return Frame(meta.tshigh << 32 | meta.tslow, meta.ifname.decode(), meta.direction, octets)
