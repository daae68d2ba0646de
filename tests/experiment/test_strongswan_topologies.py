"""The scenarios of strongSwan's test bed on NATs, MOBIKE, liveness and reauthentication hold here."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

import sim
from sim.experiment.result import Result

FILES = sorted(Path("topologies/strongswan").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_must_hold_holds(path: Path) -> None:
    result = _run(path.stem)
    assert result.ok, [check for check in result.summary["checks"] if not check["ok"]]
    assert result.summary["checks"]
    assert not result.summary["warnings"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_addresses_are_those_of_the_test_bed(path: Path) -> None:
    nodes = sim.load(path).nodes
    found = {
        text.partition("/")[0] for node in nodes.values() for own in node.interfaces.values() for text in own
    }
    assert {
        "10.1.0.10",
        "10.1.0.20",
        "10.1.0.1",
        "192.168.0.1",
        "192.168.0.2",
        "10.2.0.1",
        "10.2.0.10",
    } <= found


@pytest.mark.parametrize("name", ["mobike", "mobike-virtual-ip", "mobike-virtual-ip-nat", "mobike-nat"])
def test_mobike_makes_no_ike_sa_anew(name: str) -> None:
    events = _run(name).events
    assert len(events[events.event == "ike up"]) == 2
    moves = events[(events.event == "path changed") & (events.node == "sun")]
    assert len(moves) >= (1 if name == "mobike-nat" else 2)


def test_encapsulation_comes_and_goes_with_the_nat() -> None:
    events = _run("mobike-virtual-ip-nat").events
    told = events[(events.event == "path changed") & (events.node == "sun")].detail.str.cat(sep="; ")
    assert told.index("ESP in UDP") < told.index("plain ESP")


@pytest.mark.parametrize(
    ("name", "mode", "protocol"),
    [
        ("host2host-cert", "tunnel", "esp"),
        ("host2host-psk", "tunnel", "esp"),
        ("host2host-transport", "transport", "esp"),
        ("host2host-ah", "transport", "ah"),
    ],
)
def test_hosts_have_the_sas_of_their_scenario(name: str, mode: str, protocol: str) -> None:
    sas = _run(name).sas
    assert set(sas["mode"]) == {mode}
    assert {text.lower() for text in sas.protocol} == {protocol}


@pytest.mark.parametrize(("name", "lost"), [("reauth-mbb", False), ("reauth-late", True)])
def test_only_make_before_break_reauthenticates_without_loss(name: str, lost: bool) -> None:
    result = _run(name)
    assert len(result.events[result.events.event == "ike up"]) >= 4
    assert (result.summary["flows"][0]["lost"] > 0) is lost


@pytest.mark.parametrize("name", ["dpd-restart", "dpd-trap"])
def test_who_gave_its_peer_up_comes_back_with_another_ike_sa(name: str) -> None:
    events = _run(name).events
    ups = events[(events.event == "ike up") & (events.node == "carol")]
    assert len(ups) == 2
    assert ups.at_s.iloc[1] > 100


@cache
def _run(name: str) -> Result:
    return sim.run(Path("topologies/strongswan") / f"{name}.yaml")
