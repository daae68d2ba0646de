"""A setting that is taken and does nothing is warned of, with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.scenario.load import load, load_text
from tests.scenario.base import TEXT

EAP = Path("topologies/eap-mschapv2.yaml")
EXPIRED = "topologies/expired-certificate.yaml"


def idle(*overrides: str) -> list[str]:
    return told(load_text(TEXT, "lab.yaml", ["pki=auto", "checks=[]", *overrides]))


def told(scenario: sim.Scenario) -> list[str]:
    return [f"{found.key}: {found.text}" for found in sim.build(scenario).warnings]


def test_a_psk_that_nobody_authenticates_by_is_warned_of() -> None:
    text = "has no effect: neither end authenticates by psk"
    both = "tunnels.rw.auth={method: pubkey, psk: x, responder: {psk: y}}"
    assert idle(both) == [f"tunnels.rw.auth.psk: {text}", f"tunnels.rw.auth.responder.psk: {text}"]
    assert idle("tunnels.rw.auth={method: pubkey, psk: x, initiator: {method: psk}}") == []


@pytest.mark.parametrize(("method", "count"), [("eap-tls", 1), ("eap", 0), ("eap-md5", 0)])
def test_a_password_with_eap_tls_is_warned_of(method: str, count: int) -> None:
    found = told(load(EAP, {"tunnels.rw.auth.initiator.method": method}))
    assert found == ["tunnels.rw.auth.password: has no effect: neither end authenticates by"
                     " eap or eap-md5 or eap-mschapv2"][:count]  # fmt: skip


def test_sas_for_cpus_that_nobody_may_ask_for_are_warned_of() -> None:
    key, quiet = "tunnels.rw.children.net", ("traffic=[]", "events=[]")
    text = "has no effect: the start action is none, so no packet may ask for an SA of its CPU"
    assert idle(f"{key}.per_cpu_sas=yes", f"{key}.start=none", *quiet) == [f"{key}.per_cpu_sas: {text}"]
    assert idle(f"{key}.per_cpu_sas=yes", *quiet) == []


def test_virtual_ips_that_nobody_leases_are_warned_of() -> None:
    vips = "tunnels.rw.vips=[0.0.0.0]"
    assert idle(vips, "traffic=[]", "events=[]", "tunnels.rw.children.net.start=none") == [
        "tunnels.rw.vips: moon has no `pools` for this tunnel, so it gives none"
    ]
    leased = ("pools={moon: {p: {addrs: 10.77.0.0/24}}}", "tunnels.rw.pools=[p]")
    assert idle(vips, *leased, "traffic=[]", "events=[]") == []


def test_another_name_of_who_has_none_is_warned_of() -> None:
    fault, by_key = "pki={nodes: {moon: {fault: other name}}}", "tunnels.rw.auth={method: pubkey}"
    (text,) = idle(fault, by_key)
    assert text.startswith("pki.nodes.moon.fault: has no effect: moon has no `local_id`")
    came_up = "checks=[{connection: rw, is: established, by: 1 s}]"
    assert sim.run(load_text(TEXT, overrides=["pki=auto", fault, by_key, came_up])).ok
    for key in ("remote_id", "responder.local_id", "initiator.remote_id"):
        assert idle(fault, by_key, f"tunnels.rw.auth.{key}=moon.example") == []
    assert told(load(EXPIRED, {"pki.nodes.sun.fault": "other name"})) == []


def test_no_topology_says_something_in_vain() -> None:
    for path in sorted(Path("topologies").glob("*.yaml")):
        found = [text for text in told(load(path)) if "has no" in text]
        assert not found, path
