"""Nested SAs in a network: sizes, rekeying, and what the captures show (RFC 4301 4.1, 8.2)."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.wire import ah, ip
from sim.wire.ip import Protocol
from sim.wire.pcapng import read_capture

NESTED = Path("topologies/nested.yaml")
CAROL, BOB, SUN, DAVE = (bytes(map(int, text.split("."))) for text in (
    "203.0.113.10", "10.2.0.10", "198.51.100.1", "198.18.0.10",
))  # fmt: skip


def test_captures_show_esp_in_esp_and_ah_over_esp(tmp_path: Path) -> None:
    result = sim.run(NESTED, seed=3, out=tmp_path)
    assert result.ok, result.summary["checks"]
    seen = set()
    for captured in read_capture(tmp_path / "capture.pcapng"):
        header = ip.parse(captured.data)
        if header.protocol == Protocol.AH:
            inner = ah.parse(captured.data, header.upper_offset).next_header
            seen.add((captured.interface, header.src, header.dst, "AH", inner))
        elif header.protocol == Protocol.ESP:
            seen.add((captured.interface, header.src, header.dst, "ESP", 0))
    assert ("carol:eth", CAROL, DAVE, "AH", 50) in seen
    assert ("carol:eth", CAROL, SUN, "ESP", 0) in seen
    assert ("bob:eth", CAROL, BOB, "ESP", 0) in seen
    assert ("carol:eth", CAROL, BOB, "ESP", 0) not in seen
    assert ("carol:eth", CAROL, DAVE, "ESP", 0) not in seen


@pytest.mark.parametrize("size", [1320, 1400, 1500])
def test_packets_fit_what_both_sas_leave_of_the_path(size: int) -> None:
    """The source is told once what fits, and cuts what is larger from then on: no other packet is lost."""
    result = sim.run(sim.load(NESTED, [f"traffic.0.size={size} B"]), seed=3)
    (flow,) = (flow for flow in result.summary["flows"] if flow["name"] == "office")
    told = sum(row["packets"] for row in result.summary["drops"] if row["reason"] == "packet too big")
    assert flow["sent"] - told == flow["received"] > 500
    assert told <= 1
    assert [row["reason"] for row in result.summary["drops"]] == ["packet too big"] * told


def test_a_packet_asks_for_the_outer_sa_that_is_gone_and_does_not_leave_without_it(tmp_path: Path) -> None:
    change = "events=[{at: 3 s, node: carol, do: terminate, connection: office}]"
    result = sim.run(sim.load(NESTED, [change, "checks=[]"]), seed=3, out=tmp_path)
    (flow,) = (flow for flow in result.summary["flows"] if flow["name"] == "office")
    assert flow["received"] == flow["sent"]
    ups = result.events[(result.events.event == "child up") & (result.events.connection == "office")]
    assert (ups.at_s > 3).any()
    ends = [
        ip.addresses(captured.data)
        for captured in read_capture(tmp_path / "capture.pcapng")
        if captured.interface == "carol:eth" and captured.data[9] == Protocol.ESP
    ]
    assert (CAROL, BOB) not in ends
    assert (CAROL, SUN) in ends


@pytest.mark.parametrize("keys", [["traffic.0.pmtud=dont"], ["traffic.0.pmtud=probe"]])
def test_a_packet_that_is_too_long_asks_for_the_outer_sa_that_is_gone_as_well(keys: list[str]) -> None:
    """It is as if it were short: what goes in fragments needs both SAs, too."""
    change = "events=[{at: 3 s, node: carol, do: terminate, connection: office}]"
    result = sim.run(sim.load(NESTED, [change, "checks=[]", "traffic.0.size=1500 B", *keys]), seed=3)
    ups = result.events[(result.events.event == "child up") & (result.events.connection == "office")]
    assert (ups.at_s > 3).any() or "probe" in keys[0]
    (flow,) = (flow for flow in result.summary["flows"] if flow["name"] == "office")
    assert (flow["lost"] == 0) == ("dont" in keys[0])
