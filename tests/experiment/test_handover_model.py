"""What a handover costs is a sum: detection, round trips, and the waits for lost requests (golden 2.8)."""

from __future__ import annotations

from itertools import accumulate

import pytest

import sim
from sim.ike.config import RETRANSMIT
from sim.scenario.load import load_text
from sim.units import NS_PER_MS

ONE_WAY_MS = 20
PERIOD_MS = 4
GAP_MS = 300
SCENARIO = """
name: handover
duration: 40 s
nodes:
  alice: {kind: host,    interfaces: {one: 192.0.2.10/24, two: 203.0.113.10/24}}
  core:  {kind: router,  interfaces: {one: 192.0.2.1/24, two: 203.0.113.1/24, moon: 198.51.100.254/24}}
  moon:  {kind: gateway, interfaces: {wan: 198.51.100.1/24, lan: 10.1.0.1/16}}
  bob:   {kind: host,    interfaces: {eth: 10.1.0.10/16}}
links:
  - {ends: [alice:one, core:one], delay: 20 ms}
  - {ends: [alice:two, core:two], delay: 20 ms}
  - {ends: [core:moon, moon:wan], delay: 0 ms}
  - {ends: [moon:lan, bob:eth], delay: 0 ms}
pools:
  moon: {people: {addrs: 10.99.0.0/24}}
tunnels:
  rw:
    initiator: alice
    responder: moon
    auth: {psk: secret, local_id: alice, remote_id: moon}
    vips: [0.0.0.0]
    pools: [people]
    children:
      net: {remote_ts: [10.1.0.0/16]}
traffic:
  - {name: up, kind: cbr, from: alice, to: bob, size: 100 B, rate: 200 kbit/s, start: 2 s}
  - {name: down, kind: cbr, from: bob, to: alice, size: 100 B, rate: 200 kbit/s, start: 2 s}
events:
  - {at: 5 s, node: alice, do: move, from: one, to: two, gap: 300 ms}
"""
ROUND_TRIPS = {"before": 2, "after": 1, "none": 1}
"""From the new address on until the gateway's packets come there."""


@pytest.mark.parametrize("lost", range(4))
@pytest.mark.parametrize("preset", sorted(RETRANSMIT))
@pytest.mark.parametrize("proof", ROUND_TRIPS)
def test_break_before_make_is_detection_and_round_trips_and_the_waits_for_lost_requests(
    proof: str, preset: str, lost: int
) -> None:
    """Golden 2.8, for each way of proving the route and each schedule, to one period of the flow."""
    faults = FAULT.format(count=lost) if lost else ""
    settings = [f"tunnels.rw.return_routability={proof}", f"tunnels.rw.retransmit={preset}"]
    waits_ms = [0, *accumulate(wait // NS_PER_MS for wait in RETRANSMIT[preset].delays)][lost]
    expected_ms = GAP_MS + waits_ms + ROUND_TRIPS[proof] * 2 * ONE_WAY_MS
    result = sim.run(load_text(SCENARIO + faults, overrides=settings), until=f"{6000 + expected_ms} ms")

    assert _outage_ms(result, "down") == pytest.approx(expected_ms, abs=2 * PERIOD_MS + 0.1)
    # Upwards nobody waits for an answer: the host moves at once, and its packets are taken from anywhere.
    assert _outage_ms(result, "up") == pytest.approx(GAP_MS + PERIOD_MS, abs=2 * PERIOD_MS + 0.1)


FAULT = """
faults:
  - {{node: alice, do: drop, exchange: INFORMATIONAL, message: request, count: {count}}}
"""


def _outage_ms(result: sim.Result, name: str) -> float:
    (flow,) = (flow for flow in result.summary["flows"] if flow["name"] == name)
    (outage,) = flow["outages"]
    return 1000 * float(outage["to_s"] - outage["from_s"])
