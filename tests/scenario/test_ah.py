"""AH in topologies: `ah_proposals`, what goes with it and what does not, and swanctl.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.swanctl.export import export

AH = Path("topologies/ah.yaml")
LANS = "tunnels.sites.children.lans"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (f"{LANS}.esp_proposals=[aes128gcm16]", "either ESP or AH protects a Child SA"),
        (f"{LANS}.ah_proposals=[]", "has no proposal"),
        (f"{LANS}.ah_proposals=[aes128-sha256]", "AH encrypts nothing"),
        ("tunnels.sites.encap=true", "AH, which 'lans' has, cannot travel in UDP"),
        (f"{LANS}.per_cpu_sas=encap", "per_cpu_sas: encap is for ESP"),
        (f"{LANS}.tfc_padding=200 B", "tfc_padding is of ESP"),
    ],
)
def test_what_does_not_go_with_ah_is_refused(override: str, says: str) -> None:
    overrides = [override]
    if override.endswith("ah_proposals=[]"):
        overrides.append(f"{LANS}.esp_proposals=[]")
    with pytest.raises(ScenarioError, match=says):
        sim.load(AH, overrides)


@pytest.mark.parametrize("key", ["ipcomp=true", "per_cpu_sas=yes", "fragment=before", "rekey_packets=30"])
def test_what_goes_with_ah_works(key: str) -> None:
    result = sim.run(sim.load(AH, [f"{LANS}.{key}"]), seed=5)
    assert result.ok, result.summary["checks"]


def test_both_ends_have_it_and_no_proposal_for_esp() -> None:
    connections = expand(sim.load(AH)).connections
    for node in ("moon", "sun"):
        child = connections[node]["sites"].children["lans"]
        assert (child.ah_proposals, child.esp_proposals) == (("sha256",), ())


def test_the_summary_says_ah() -> None:
    result = sim.run(AH, seed=5)
    rows = [child for row in result.summary["connections"] for child in row["children"]]
    assert {(row["protocol"], row["encap"]) for row in rows} == {("AH", False)}
    told = result.events[result.events.event == "child up"].detail
    assert told.str.contains("AH plain").all()


def test_an_export_has_ah_proposals_alone() -> None:
    files = export(sim.load(AH))
    text = str(files)
    assert "ah_proposals = sha256" in text
    assert "esp_proposals" not in text


def test_weak_algorithms_are_told_for_ah_too() -> None:
    from sim.scenario.weak import weak_suites

    scenario = sim.load(AH, [f"{LANS}.ah_proposals=[sha256-modp1024]"])
    found = [str(problem) for problem in weak_suites(scenario)]
    assert any("modp1024 is weak: SHOULD NOT be used for AH (RFC 8247 2.4)" in text for text in found)
