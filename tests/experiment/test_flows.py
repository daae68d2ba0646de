"""Rows of flows, and what explains their outages."""

from __future__ import annotations

import numpy as np
import pytest

import sim
from sim.scenario.load import load_text
from tests.scenario.base import TEXT


def test_an_outage_is_an_event_with_its_cause() -> None:
    result = sim.run(load_text(TEXT, overrides=["events.0.gap=300 ms"]))
    (outage,) = result.summary["flows"][0]["outages"]
    (row,) = result.events[result.events.event == "outage"].to_dict("records")
    assert (row["node"], row["at_s"]) == ("alice", pytest.approx(outage["to_s"]))
    assert row["detail"].startswith("up: nothing arrived from ")
    assert row["detail"].endswith("at 2.000 s alice moves from wlan to lte, lte is up after 300 ms")
    assert outage["from_s"] == pytest.approx(2.0, abs=0.02)
    assert 0.3 <= outage["to_s"] - outage["from_s"] < 0.5


def test_latencies_are_those_of_the_packets_that_arrived() -> None:
    result = sim.run(
        load_text(TEXT, overrides=["links.4.loss=10 %", "links.4.jitter=2 ms", "links.4.delay=5 ms"])
    )
    row = result.summary["flows"][0]["latency_ms"]
    found = result.flows.latency_ms.dropna()
    assert row["min"] == pytest.approx(found.min())
    assert row["max"] == pytest.approx(found.max())
    for key, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert row[key] == pytest.approx(float(np.quantile(found, share)))


def test_a_ping_is_measured_there_and_back() -> None:
    text = """\
name: pair
duration: 2 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  b: {kind: host, interfaces: {eth: 192.0.2.2/24}}
links: [{ends: [a:eth, b:eth], delay: {up: 10 ms, down: 30 ms}, rate: 8 Mbit/s}]
traffic:
  - {name: echo, kind: ping, from: a, to: b, interval: 500 ms, size: 1000 B}
  - {name: one way, kind: cbr, from: a, to: b, size: 1000 B, rate: 8 kbit/s, start: 1500 ms}
""".replace("one way", "oneway")
    echo, oneway = sim.run(load_text(text)).summary["flows"]
    assert echo["latency_ms"]["min"] == pytest.approx(10 + 1 + 30 + 1)
    assert echo["latency_ms"]["max"] == pytest.approx(10 + 1 + 30 + 1 + 1), "one waits behind the other flow"
    assert oneway["latency_ms"]["min"] == pytest.approx(10 + 1)


PAIR = """\
name: pair
duration: 2 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  b: {kind: host, interfaces: {eth: 192.0.2.2/24}}
links: [{ends: [a:eth, b:eth], delay: 60 ms, jitter: 50 ms, reorder: true}]
traffic:
  - {name: rate, kind: cbr, from: a, to: b, size: 1000 B, rate: 8 Mbit/s}
  - {name: echo, kind: ping, from: a, to: b, interval: 5 ms}
"""


def test_heavy_reordering_makes_no_outage_and_loses_nothing() -> None:
    for row in sim.run(load_text(PAIR)).summary["flows"]:
        assert row["reordered"] > 50
        assert (row["lost"], row["outages"]) == (0, [])


def test_what_did_not_arrive_was_dropped_or_is_under_way() -> None:
    """Known from the network, not from how long others took."""
    result = sim.run(load_text(PAIR, overrides=["links.0.loss=10 %", "duration=1037 ms"]))
    under_way = result.world.under_way()
    for row in result.summary["flows"]:
        record = result.world.flows[row["name"]].record
        assert row["lost"] == len({seq for seq, _, _ in record._drop_rows().tolist()}) > 10
        assert row["sent"] == row["received"] + row["lost"] + len(under_way[row["name"]])
        assert len(under_way[row["name"]]) > 5


def test_packets_that_wait_for_an_sa_are_not_lost() -> None:
    overrides = ["tunnels.rw.children.net.start=trap", "links.3.loss=100 %", "traffic.up.rate=40 kbit/s"]
    result = sim.run(load_text(TEXT, overrides=[*overrides, "events=[]", "checks=[]"]))
    (row,) = result.summary["flows"]
    assert (row["sent"], row["received"], row["lost"], row["outages"]) == (25, 0, 0, [])


def test_a_run_may_end_in_the_middle_of_an_outage() -> None:
    text = PAIR + "events: [{at: 1500 ms, node: b, do: down, interface: eth}]\n"
    for row in sim.run(load_text(text)).summary["flows"]:
        ((start, end),) = ((out["from_s"], out["to_s"]) for out in row["outages"])
        assert end == 2
        assert 1.4 < start < 1.62, "a request may have met the port closed, its answer not"
        assert row["lost"] > 50
