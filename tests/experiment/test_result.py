"""The tables of a result, and what a notebook shows of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sim
from sim.scenario.load import load_text
from tests.scenario.base import TEXT

EVENT_COLUMNS = ["at_s", "at", "node", "event", "connection", "child", "detail", "src", "dst", "size"]


@pytest.fixture(scope="module")
def result() -> sim.Result:
    return sim.run(load_text(TEXT, overrides=["links.4.loss=5 %"]), seed=3)


def test_flows_has_a_row_for_every_packet_sent(result: sim.Result) -> None:
    (summary,) = result.summary["flows"]
    flows = result.flows
    assert list(flows.columns) == ["flow", "seq", "sent_s", "received_s", "latency_ms"]
    assert list(flows.seq) == list(range(summary["sent"]))
    assert set(flows.flow) == {"up"}
    assert flows.sent_s.iloc[:3].tolist() == [0.5, 0.51, 0.52]
    assert flows.received_s.notna().sum() == summary["received"]


def test_what_did_not_arrive_has_no_time_and_no_latency(result: sim.Result) -> None:
    lost = result.flows[result.flows.received_s.isna()]
    assert len(lost) > 0
    assert lost.latency_ms.isna().all()
    arrived = result.flows.dropna()
    expected = (arrived.received_s - arrived.sent_s) * 1000
    assert np.allclose(arrived.latency_ms, expected)
    assert arrived.latency_ms.max() == pytest.approx(result.summary["flows"][0]["latency_ms"]["max"])


def test_events_are_in_the_order_of_time(result: sim.Result) -> None:
    events = result.events
    assert list(events.columns) == EVENT_COLUMNS
    assert events["at"].is_monotonic_increasing
    assert (events.at_s * 1e9).round().astype("int64").tolist() == events["at"].tolist()
    assert {"ike sent", "ike received", "ike up", "child up", "move", "path changed"} <= set(events.event)


def test_sas_has_a_row_for_every_child_sa_at_each_end(result: sim.Result) -> None:
    sas = result.sas
    assert sas.node.tolist() == ["alice", "moon"]
    assert sas.connection.tolist() == ["rw", "rw"]
    assert sas.name.tolist() == ["net", "net"], "the child's own name"
    assert sas.spi_in.tolist() == sas.spi_out.tolist()[::-1]
    assert sas.packets_out[0] >= sas.packets_in[1] > 0


def test_the_tables_of_a_run_without_anything_have_their_columns() -> None:
    full = sim.run(load_text(TEXT))
    empty = sim.run(load_text(TEXT, overrides=["traffic=[]", "tunnels={}", "checks=[]", "events=[]"]))
    for name in ("flows", "events", "sas"):
        table: pd.DataFrame = getattr(empty, name)
        assert len(table) == 0
        assert list(table.columns) == list(getattr(full, name).columns), name


def test_a_result_is_ok_when_every_check_is() -> None:
    assert sim.run(load_text(TEXT)).ok
    assert not sim.run(load_text(TEXT, overrides=["links.4.loss=10 %"])).ok
    assert sim.run(load_text(TEXT, overrides=["checks=[]"])).ok


def test_a_notebook_shows_connections_flows_and_checks(result: sim.Result) -> None:
    html = result._repr_html_()
    for words in ("base", "established", "198.51.100.1[4500]", "lost on link", "up", "max"):
        assert words in html


def test_what_a_peer_calls_itself_is_shown_as_it_is() -> None:
    """Identities are the peer's: brackets in them are no markup."""
    overrides = [
        "tunnels.rw.auth={psk: a, local_id: 'x[/b]@y', responder: {psk: b}}",
        "checks=[{connection: rw, is: established}]",
    ]
    assert "x[/b]@y" in sim.run(load_text(TEXT, overrides=overrides))._repr_html_()
