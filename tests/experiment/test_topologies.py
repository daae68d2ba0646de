"""The shipped topologies keep what they promise, whatever the seed."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim

TOPOLOGIES = sorted(Path("topologies").glob("**/*.yaml"))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_every_check_of_a_topology_holds(path: Path, seed: int) -> None:
    result = sim.run(path, seed)
    assert result.summary["checks"]
    assert [check for check in result.summary["checks"] if not check["ok"]] == []


def test_the_road_warrior_is_what_its_issue_asks_for() -> None:
    """Behind a NAT and in UDP before the move; one outage of `up`, and an event explains it."""
    result = sim.run("topologies/road-warrior-mobike.yaml", seed=7)
    ups = result.events[(result.events.event == "ike up") & (result.events.node == "alice")]
    assert ups.detail.str.contains("this end behind a NAT").all()
    assert result.events[result.events.event == "child up"].detail.str.contains("ESP in UDP").all()
    (flow,) = (flow for flow in result.summary["flows"] if flow["name"] == "up")
    (outage,) = flow["outages"]
    assert outage["from_s"] == pytest.approx(15, abs=0.1)
    told = result.events[(result.events.event == "outage") & result.events.detail.str.startswith("up:")]
    assert told.detail.str.contains("alice moves from wlan to lte").tolist() == [True]


def test_nothing_of_what_the_tunnel_protects_leaves_in_clear_when_it_fails(tmp_path: Path) -> None:
    from scapy.layers.inet import IP
    from scapy.utils import RawPcapNgReader

    sim.run("topologies/wrong-psk.yaml", seed=7, out=tmp_path)
    with RawPcapNgReader(str(tmp_path / "capture.pcapng")) as reader:
        seen = [(meta.ifname, IP(octets)) for octets, meta in reader]  # type: ignore[attr-defined]
    outside = [packet for name, packet in seen if name in (b"moon:wan", b"sun:wan")]
    assert outside
    assert {packet.dst for packet in outside} == {"192.0.2.1", "192.0.2.2"}
    for lan, far in ((b"moon:lan", "10.2.0.10"), (b"sun:lan", "10.1.0.10")):
        assert any(p.dst == far for name, p in seen if name == lan), "the traffic was there"
