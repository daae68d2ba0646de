"""`pki` gives nodes certificates, which depend on the seed alone; connections take theirs from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import sim
from sim.net.engine import Simulation
from sim.scenario.authority import with_pki
from sim.scenario.calendar import format_date, parse_date
from sim.scenario.expand import expand
from sim.scenario.load import load, load_text
from sim.scenario.peer_file import read_peer
from sim.scenario.schema import Scenario
from tests.crypto.authority import make_leaf, make_root
from tests.scenario.base import changed, line_of, problems

PUBKEY = changed(("auth: {psk: secret}", "auth: {method: pubkey}"), ("nodes:\n", "pki: auto\nnodes:\n"))
ROOT = make_root()
ALICE, MOON = make_leaf(ROOT, "CN=alice", names=["alice.example"]), make_leaf(ROOT, names=["moon.example"])


def made(text: str = PUBKEY, seed: int = 1, **overrides: object) -> Scenario:
    scenario = expand(load_text(text, overrides={key.replace("__", "."): v for key, v in overrides.items()}))
    return with_pki(scenario, Simulation(seed).rand)


def cert(scenario: Scenario, node: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(scenario.connections[node]["rw"].local.certs[0].encode())


def test_every_end_that_signs_has_a_certificate_and_trusts_the_ca() -> None:
    scenario = made()
    alice, moon = (scenario.connections[node]["rw"] for node in ("alice", "moon"))
    assert alice.remote.cacerts == moon.remote.cacerts
    (root,) = (x509.load_pem_x509_certificate(pem.encode()) for pem in alice.remote.cacerts)
    for node in ("alice", "moon"):
        cert(scenario, node).verify_directly_issued_by(root)
    assert alice.local.key != moon.local.key


def test_a_certificate_confirms_the_node_s_names_and_addresses() -> None:
    scenario = made(tunnels__rw__auth__local_id="alice@example.org")
    names = cert(scenario, "alice").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {
        *("alice@example.org", "alice", "192.168.1.10", "203.0.113.77"),
    }
    scenario = made(tunnels__rw__auth__local_id="C=CH, CN=me")
    assert [a.value for a in cert(scenario, "alice").subject] == ["CH", "me"]


def test_equal_seeds_make_equal_certificates_and_runs() -> None:
    assert made().plain() == made().plain()
    assert cert(made(), "alice") != cert(made(seed=2), "alice")
    hashes = {sim.run(load_text(PUBKEY), seed, capture=True).summary["capture_sha256"] for seed in (1, 1, 2)}
    assert len(hashes) == 2


def test_another_node_does_not_change_a_node_s_certificate() -> None:
    """Each key has a stream of its own."""
    more = PUBKEY.replace(
        "auth: {method: pubkey}", "auth: {method: pubkey, responder: {method: psk}, psk: x}"
    )
    assert cert(made(more), "alice") == cert(made(), "alice")


def test_the_kind_of_key_and_the_life_of_each_node_can_be_chosen() -> None:
    pki = {"key": "ed25519", "nodes": {"moon": {"key": "ecdsa-p384", "lifetime": "10 s"}}}
    scenario = made(pki=pki, date="2030-05-06 07:08:09")
    assert cert(scenario, "alice").public_key_algorithm_oid == x509.PublicKeyAlgorithmOID.ED25519
    moon = cert(scenario, "moon")
    assert moon.public_key_algorithm_oid == x509.PublicKeyAlgorithmOID.EC_PUBLIC_KEY
    assert moon.not_valid_after_utc.isoformat() == "2030-05-06T07:08:19+00:00"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("expired", "CERTIFICATE_EXPIRED"),
        ("not yet valid", "CERTIFICATE_NOT_YET_VALID"),
        ("revoked", "CERTIFICATE_REVOKED"),
        ("untrusted", "NO_TRUSTED_ISSUER"),
        ("other name", "ID_NOT_CONFIRMED"),
    ],
)
@pytest.mark.parametrize("intermediate", [False, True])
def test_a_fault_fails_for_its_reason(fault: str, reason: str, intermediate: bool) -> None:
    scenario = load(
        "topologies/expired-certificate.yaml",
        {
            "pki": {"intermediate": intermediate, "nodes": {"sun": {"fault": fault}}},
            "checks": [{"connection": "sites", "node": "moon", "is": "failed", "reason": reason}],
        },
    )
    assert sim.run(scenario).ok


def test_a_certificate_that_ends_within_the_run_counts_until_then() -> None:
    pki = {"nodes": {"moon": {"lifetime": "1 s"}}}
    early = load_text(PUBKEY, overrides={"pki": pki, "checks": []})
    assert sim.run(early).summary["connections"][0]["state"] == "established"
    late = load_text(
        PUBKEY,
        overrides={
            "pki": pki,
            "checks": [],
            "events": [],
            "tunnels.rw.children.net.start": "trap",
            "traffic.up.start": "2 s",
        },
    )
    row = sim.run(late).summary["connections"][0]
    assert (row["state"], row["reason"]) == ("failed", "CERTIFICATE_EXPIRED")


def test_without_pki_public_keys_are_refused_with_the_line() -> None:
    text = changed(("auth: {psk: secret}", "auth: {method: pubkey}"))
    (problem,) = problems(text)
    assert problem.startswith(f"lab.yaml:{line_of(text, 'method')}: tunnels.rw.auth.method: ")
    assert "write `pki: auto`" in problem
    (problem,) = problems(PUBKEY, "pki={nodes: {sun: {}}}")
    assert "pki.nodes.sun: there is no node `sun`" in problem


@pytest.mark.parametrize("identity", ["CN=,O=x", f"O=x, CN={'y' * 65}", "C=Germany, O=x"])
@pytest.mark.parametrize("key", ["local_id", "remote_id", "initiator.local_id", "responder.local_id"])
def test_rfc5280_a_an_identity_that_no_certificate_can_have_is_refused_with_its_line(
    identity: str, key: str
) -> None:
    with pytest.raises(sim.ScenarioError) as caught:
        sim.build(load_text(PUBKEY, "lab.yaml", {f"tunnels.rw.auth.{key}": identity}))
    (problem,) = caught.value.problems
    assert problem.where.startswith(f"--set tunnels.rw.auth.{key}=")
    assert problem.key == f"tunnels.rw.auth.{key}"
    assert problem.text.startswith(f"no certificate can confirm {identity!r}: ")


def test_a_node_s_name_that_no_certificate_can_have_is_refused_with_its_line() -> None:
    name = "m" * 65
    text = PUBKEY.replace("moon", name)
    with pytest.raises(sim.ScenarioError, match=f"nodes.{name}: no certificate can confirm"):
        sim.build(load_text(text))


@pytest.mark.parametrize("text", ["psk", "null", "pubkey-sha512", "ecdsa-256", "ike:pubkey-sha384-sha256"])
def test_every_way_to_authenticate_comes_up(text: str) -> None:
    scenario = load_text(
        PUBKEY, overrides={"tunnels.rw.auth": {"method": text, "psk": "x"}, "pki": {"key": "ecdsa-p256"}}
    )
    row = sim.run(scenario.lasting(10**9)).summary["connections"][0]
    state = "failed" if "sha512" in text else "established"  # the certificates are signed with SHA-256
    assert row["state"] == state, row


PEER = """\
connections:
  rw:
    remote_addrs: [192.0.2.1]
    local: {auth: pubkey, certs: [alice.pem], key: alice.key}
    remote: {auth: pubkey, cacerts: root.der}
    children: {net: {}}
"""


def test_names_of_files_stand_for_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "alice.pem").write_text(ALICE.cert_pem)
    (tmp_path / "alice.key").write_text(ALICE.key_pem)
    (tmp_path / "root.der").write_bytes(ROOT.cert.public_bytes(Encoding.DER))
    (tmp_path / "peer.yaml").write_text(PEER)
    connection = read_peer(tmp_path / "peer.yaml")[0]["rw"]
    assert connection.local.certs == (ALICE.cert_pem,)
    assert connection.local.key == ALICE.key_pem
    assert connection.remote.cacerts == (ROOT.cert_pem,)


def test_a_missing_file_is_told_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "peer.yaml").write_text(PEER)
    with pytest.raises(sim.ScenarioError) as caught:
        read_peer(tmp_path / "peer.yaml")
    assert "peer.yaml:4: connections.rw.local.certs: alice.pem: No such file or directory" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("side", "key", "text", "words"),
    [
        ("local", "key", "-----BEGIN PRIVATE KEY-----\n", "cannot be read"),
        ("local", "key", MOON.key_pem, "the private key is not that of the certificate of CN=alice"),
        ("local", "certs", [ALICE.key_pem], "holds no CERTIFICATE in PEM"),
        ("local", "auth", "rsa", "can make no signature"),
        ("remote", "cacerts", [ALICE.cert_pem.replace("MII", "M!I")], "no base64"),
        ("remote", "cacerts", [], "needs a CA, a certificate or a key to trust"),
        ("remote", "pubkeys", [ALICE.cert_pem], "holds no PUBLIC KEY in PEM"),
    ],
)
def test_what_a_file_should_not_hold_is_told_when_the_world_is_built(
    side: str, key: str, text: object, words: str
) -> None:
    scenario = made()
    plain = scenario.plain() | {"pki": None}
    connection = plain["connections"]["alice"]["rw"]
    connection["local"] |= {"certs": [ALICE.cert_pem], "key": ALICE.key_pem}
    connection[side][key] = text
    with pytest.raises(sim.ScenarioError, match=rf"connections\.alice\.rw\.{side}") as caught:
        sim.build(scenario.rewritten(plain, {}))
    assert words in str(caught.value)


def test_dates_are_text_and_seconds() -> None:
    assert parse_date("2026-01-01") == parse_date("2026-01-01T01:00:00+01:00") == 1_767_225_600
    assert format_date(1_767_225_601) == "2026-01-01 00:00:01"
    for wrong in ("", "today", "2026-13-01", "1969-12-31", "2999-01-01"):
        with pytest.raises(ValueError, match="date"):
            parse_date(wrong)
