"""EAP in topologies: what `auth` becomes at both ends, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sim
from sim.ike.credentials import Method
from sim.ike.eap.packets import EapType
from sim.scenario.configs import connection_config
from sim.scenario.errors import ScenarioError
from sim.scenario.load import load, load_text

TOPOLOGY = Path("topologies/eap-mschapv2.yaml")
WRONG = Path("topologies/wrong-password.yaml")


def test_c29_a_tunnel_with_eap_is_expanded_for_both_ends() -> None:
    expanded = sim.expand(load(TOPOLOGY)).connections
    carol = connection_config("rw", with_files(expanded["carol"]["rw"]))
    assert carol.local.method is Method.EAP
    assert carol.local.eap == (EapType.MSCHAPV2,)
    assert str(carol.local.eap_id) == "carol@example.org"
    assert carol.eap_secrets == {b"carol@example.org": b"correct horse battery staple"}
    moon = expanded["moon"]["rw"]
    assert (moon.local.auth, moon.remote.auth) == ("pubkey", "eap-mschapv2")
    assert moon.remote.eap_id == "%any"
    assert dict(moon.eap_secrets) == {"carol@example.org": b"correct horse battery staple"}


def with_files(connection: Any) -> Any:
    """The connection with a peer that has a secret instead of a certificate."""
    remote = connection.remote.model_copy(update={"auth": "psk"})
    return connection.model_copy(update={"remote": remote, "psk": b"x"})


@pytest.mark.parametrize("method", ["eap-mschapv2", "eap-md5", "eap-tls", "eap"])
@pytest.mark.parametrize("key", ["ecdsa-p256", "rsa-2048"])
def test_c29_every_method_works_from_a_topology(method: str, key: str) -> None:
    overrides = {"tunnels.rw.auth.initiator.method": method, "pki": {"key": key, "intermediate": True}}
    result = sim.run(load(TOPOLOGY, overrides))
    assert result.ok, result.summary["checks"]


def test_equal_seeds_give_equal_captures_with_mschapv2(tmp_path: Path) -> None:
    """Challenges come from the scenario's streams."""
    overrides = {
        "tunnels.rw.auth.responder.password": "what carol believes",
        "pki": {"key": "ed25519"},
        "checks": [{"connection": "rw", "is": "established"}],
    }
    for name in ("one", "two"):
        assert sim.run(load(WRONG, overrides), seed=3, out=tmp_path / name).ok
    one, two = ((tmp_path / name / "capture.pcapng").read_bytes() for name in ("one", "two"))
    assert one == two


def test_eap_tls_takes_equal_times_though_openssl_draws_its_own_numbers() -> None:
    """With keys whose signatures have one size; those of ECDSA vary by an octet or two."""
    overrides = {
        "pki": {"key": "ed25519"},
        "tunnels.rw.auth.initiator.method": "eap-tls",
    }
    first, second = (sim.run(load(TOPOLOGY, overrides), seed=3) for _ in range(2))
    assert first.summary["connections"] == second.summary["connections"]


def test_a_wrong_password_is_told_by_both_ends() -> None:
    result = sim.run(load(WRONG))
    assert result.ok
    by_node = {row["node"]: row for row in result.summary["connections"]}
    assert by_node["carol"]["reason"] == by_node["moon"]["reason"] == "WRONG_PASSWORD"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("auth.password", None, "has no password"),
        ("auth.initiator.method", "eap-ttls", "'eap-ttls' is no way to authenticate"),
        ("auth.initiator.method", "psk", "has no psk"),
        ("auth.method", "eap-tls", "eap-mschapv2 does not stand alone"),
        (
            "auth",
            {"method": "eap-mschapv2", "eap_id": "c", "password": "x"},
            "does not stand alone",
        ),
        (
            "auth",
            {"method": "psk", "psk": "x", "initiator": {"method": "eap-tls"}, "local_id": "c"},
            "eap-tls wants certificates of both",
        ),
        (
            "auth",
            {"method": "psk", "psk": "x", "responder": {"method": "eap-mschapv2"}},
            "by EAP the initiator proves who it is",
        ),
        ("auth", {"psk": "x", "password": "y"}, "eap_id and password are for a method such as eap-mschapv2"),
        (
            "auth",
            {"method": "pubkey", "password": "y", "initiator": {"method": "eap-mschapv2"}},
            "has no eap_id",
        ),
        ("auth.initiator.eap_id", "%any", "auth.initiator.eap_id: is whom the initiator authenticates as"),
        ("auth.second", {"id": "c", "password": "x"}, "second: is not supported besides EAP"),
        ("auth.second", {"method": "eap-tls", "id": "c", "password": "x"}, "eap-mschapv2"),
    ],
)
def test_what_cannot_work_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(TOPOLOGY, {f"tunnels.rw.{key}": value, "checks": []})
    assert message in str(caught.value)


@pytest.mark.parametrize("method", ["eap-mschapv2", "eap-tls", "eap"])
def test_a_ppk_together_with_eap_is_refused_with_its_line(method: str) -> None:
    change = {"tunnels.rw.auth.initiator.method": method, "tunnels.rw.ppk": "y", "tunnels.rw.ppk_id": "z"}
    with pytest.raises(
        ScenarioError, match=r"tunnels\.rw\.ppk: is not supported together with EAP"
    ) as caught:
        load(TOPOLOGY, change)
    assert caught.value.problems[0].where == "--set tunnels.rw.ppk=y"


def test_c33_a_second_round_together_with_a_ppk_is_refused() -> None:
    auth = {"psk": "x", "second": {"id": "c", "password": "x"}}
    change = {"tunnels.rw.auth": auth, "tunnels.rw.ppk": "y", "tunnels.rw.ppk_id": "z", "checks": []}
    with pytest.raises(ScenarioError, match="second: is not supported with a ppk"):
        load(TOPOLOGY, change)


def test_c33_a_second_round_by_password_brings_a_tunnel_up() -> None:
    auth = {"psk": "x", "second": {"method": "eap-md5", "id": "carol@example.org", "password": "hers"}}
    result = sim.run(load(TOPOLOGY, {"tunnels.rw.auth": auth}))
    assert result.ok, result.summary["checks"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"local": {"auth": "eap-md5"}}, "has no eap_secrets"),
        ({"local": {"auth": "psk", "eap_id": "c"}}, "eap_id is for a side that authenticates by EAP"),
        (
            {"local": {"auth": "eap-md5", "eap_id": "c"}, "eap_secrets": {"d": "x"}},
            "eap_secrets has no password for c",
        ),
        ({"eap_secrets": {"%any": "x"}}, "nobody's name"),
        ({"local": {"second": {"eap_id": "c"}}}, "eap_secrets has no password for c"),
        ({"local": {"second": {}}}, "write `id` or `eap_id`"),
        ({"local": {"second": {"id": "c"}}, "remote_addrs": []}, "which needs remote_addrs"),
        ({"remote": {"second": {}}}, "leave remote_addrs out"),
        (
            {"local": {"second": {"id": "c"}}, "eap_secrets": {"c": "x"}, "ppk": "y", "ppk_id": "z"},
            "together with a second round",
        ),
    ],
)
def test_what_cannot_work_at_one_end_is_refused(change: dict[str, object], message: str) -> None:
    text = """
name: t
duration: 1 s
nodes: {a: {kind: host, interfaces: {e: 10.0.0.1/24}}, b: {kind: host, interfaces: {e: 10.0.0.2/24}}}
links: [{ends: [a:e, b:e]}]
connections: {a: {c: {psk: x, remote_addrs: [10.0.0.2], children: {n: {}}}}}
"""
    overrides = {f"connections.a.c.{key}": value for key, value in change.items()}
    with pytest.raises(ScenarioError, match=message):
        load_text(text, overrides=overrides)
