"""A real strongSwan loads what is exported, shows the same values, and plays the nodes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from sim.crypto.suites import ESP_ONLY
from sim.ike.algorithms import ALIASES, TOKENS, is_aead, is_supported
from sim.ike.constants import TransformType
from sim.net.engine import Simulation
from sim.scenario.authority import PKI_SEED, with_pki
from sim.scenario.configs import connection_config
from sim.scenario.expand import expand
from sim.scenario.load import load
from sim.scenario.schema import Connection, Scenario
from sim.scenario.swanctl.export import export
from sim.scenario.swanctl.folder import write_private
from sim.scenario.swanctl.syntax import parse
from sim.scenario.swanctl.values import parse_selectors
from sim.units import NS_PER_S
from tests.interop import vici
from tests.interop.netns import Lab, Namespace
from tests.interop.strongswan import StrongSwan
from tests.peers import require_plugin

pytestmark = pytest.mark.peers

TOPOLOGIES = sorted(Path("topologies").glob("*.yaml"))
_DETAILS = "filelog {{ details {{ path = {folder}/details.log\n flush_line = yes\n cfg = 2\n }} }}"


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_strongswan_loads_every_node_and_shows_the_same_values(path: Path, lab: Lab) -> None:
    scenario = load(path, _classical(load(path)))
    files = _exported(scenario, lab)
    for node, connections in with_pki(expand(scenario), Simulation(PKI_SEED).rand).connections.items():
        daemon = _start(lab.namespace(node), files / node)
        said = _load(daemon, files / node)
        assert f"successfully loaded {len(connections)} connections, 0 unloaded" in said
        for name, connection in connections.items():
            assert (f"loaded ike secret 'ike-{name}'" in said) is (connection.psk is not None)
            by_key = connection.local.key is not None
            assert (re.search(rf"loaded certificate from '.*x509/{name}.pem'", said) is not None) is by_key
            assert (re.search(rf"loaded \w+ key from '.*private/{name}.pem'", said) is not None) is by_key
        listed = _listed(daemon)
        assert listed.keys() == connections.keys()
        for name, connection in connections.items():
            _compare(listed[name], connection)
        details = (daemon.folder / "details.log").read_text()
        for connection in connections.values():
            for child in connection.children.values():
                assert f"copy_df = {int(child.copy_df)}" in details
                assert f"replay_window = {child.replay_window}" in details
                assert f"ipcomp = {int(child.ipcomp)}" in details
            assert f"mobike = {int(connection.mobike)}" in details
            assert f"encap = {int(connection.encap)}" in details
        daemon.stop()


def test_strongswan_knows_every_word_of_our_proposals(lab: Lab) -> None:
    """Aliases are written as strongSwan spells them; ML-KEM is what only version 6 has, implicit IVs none."""
    words = [word for word in (*TOKENS, *ALIASES) if is_supported(TOKENS[ALIASES.get(word, word)])]
    words = [word for word in words if not word.endswith("iiv")]
    kinds: dict[int, list[str]] = {}
    for word in words:
        kinds.setdefault(TOKENS[ALIASES.get(word, word)].type, []).append(word)
    aeads = [word for word in kinds[TransformType.ENCR] if is_aead(TOKENS[ALIASES.get(word, word)].id)]
    ciphers = [word for word in kinds[TransformType.ENCR] if word not in {*aeads, "null"}]
    groups = [word for word in kinds[TransformType.KE] if word != "modpnone" and "mlkem" not in word]
    macs, prfs = kinds[TransformType.INTEG], kinds[TransformType.PRF]
    secret = [word for word in aeads if TOKENS[ALIASES.get(word, word)].id not in ESP_ONLY]
    ike = ["-".join([*some, *prfs, "x25519"]) for some in batched(secret, 10)]  # it takes 511 octets
    ike += ["-".join([*ciphers, *macs, *prfs, "x25519"]), "-".join(["aes128", "sha256", *groups])]
    esp = ["-".join([*some, "modpnone", *kinds[TransformType.ESN]]) for some in batched(aeads, 10)]
    esp += ["-".join([*ciphers, "null", *macs, *groups])]
    changes = {"tunnels.sites.proposals": ike, "tunnels.sites.children.lans.esp_proposals": esp}
    files = _exported(load("topologies/site-to-site.yaml", changes), lab)

    said = _load(_start(lab.namespace("sun"), files / "sun"), files / "sun")

    assert "successfully loaded 1 connections, 0 unloaded" in said


def test_two_strongswans_play_the_gateways_of_a_scenario(lab: Lab) -> None:
    scenario = load("topologies/site-to-site.yaml")
    files = _exported(scenario, lab)
    moon, sun = _gateways(lab, "192.0.2.1/24", "198.51.100.1/24")
    for namespace, peer in ((moon, "198.51.100.1"), (sun, "192.0.2.1")):
        namespace.ip("route", "add", peer, "dev", "eth0")
    one, other = _start(moon, files / "moon"), _start(sun, files / "sun")
    _load(other, files / "sun")

    _load(one, files / "moon")  # start_action = start

    assert one.sa().child.spi_in == other.sa().child.spi_out
    assert one.sa().suite == "AES_CBC/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"
    assert (one.sa().name, one.sa().child.name) == ("sites", "lans")


def test_two_strongswans_with_different_secrets_refuse_each_other(lab: Lab) -> None:
    files = _exported(load("topologies/wrong-psk.yaml"), lab)
    moon, sun = _gateways(lab, "192.0.2.1/24", "192.0.2.2/24")
    one, other = _start(moon, files / "moon"), _start(sun, files / "sun")
    _load(other, files / "sun")

    _load(one, files / "moon")

    one.expect("received AUTHENTICATION_FAILED notify error")
    other.expect("but MAC mismatched")


def test_two_strongswans_authenticate_by_eap_as_exported(lab: Lab) -> None:
    require_plugin("eap-mschapv2")
    auth = "tunnels.rw.auth.responder.password"
    files = _exported(load("topologies/wrong-password.yaml", {auth: "what carol believes"}), lab)
    carol, moon = _gateways(lab, "192.0.2.1/24", "192.0.2.2/24")
    one, other = _start(carol, files / "carol"), _start(moon, files / "moon")
    _load(other, files / "moon")

    _load(one, files / "carol")  # start_action = start

    one.expect(r"IKE_SA rw\[1\] established")
    other.expect("received EAP identity 'carol@example.org'")


def _classical(scenario: Scenario) -> dict[str, object]:
    """Without what only strongSwan 6 has: additional key exchanges, SAs for single CPUs, and AGGFRAG mode."""
    found: dict[str, object] = {}
    for name, tunnel in scenario.tunnels.items():
        found[f"tunnels.{name}.proposals"] = list(map(_without_additional, tunnel.proposals))
        for child, settings in tunnel.children.items():
            key = f"tunnels.{name}.children.{child}.esp_proposals"
            found[key] = list(map(_without_additional, settings.esp_proposals))
            found[f"tunnels.{name}.children.{child}.per_cpu_sas"] = "no"
            if settings.mode == "iptfs":
                found |= {f"tunnels.{name}.children.{child}.{key}": value for key, value in _WHOLE.items()}
    return found


_WHOLE = {"mode": "tunnel", "iptfs": {}}


def _without_additional(proposal: str) -> str:
    return "-".join(word for word in proposal.split("-") if not re.match(r"ke\d_", word))


def _exported(scenario: Scenario, lab: Lab) -> Path:
    folder = lab.folder / "exported"
    write_private(folder, export(scenario).files)
    return folder


def _gateways(lab: Lab, moon_cidr: str, sun_cidr: str) -> tuple[Namespace, Namespace]:
    moon, sun = lab.namespace("moon"), lab.namespace("sun")
    lab.link(moon, moon_cidr, sun, sun_cidr)
    moon.inner_address("10.1.0.1/32")
    sun.inner_address("10.2.0.1/32")
    return moon, sun


def _start(namespace: Namespace, folder: Path) -> StrongSwan:
    """A daemon with what the exported strongswan.conf says, and a log of what it understands."""
    view = parse(folder / "strongswan.conf").section("charon")
    assert view is not None
    settings = [f"{key} = {setting.value}" for key, setting in view.settings.items()]
    return StrongSwan(namespace, settings="\n".join([*settings, _DETAILS.format(folder=namespace.folder)]))


def _load(daemon: StrongSwan, folder: Path) -> str:
    """Certificates and keys lie in folders of the daemon's own, where swanctl looks for them."""
    for part in (path for path in folder.iterdir() if path.is_dir()):
        shutil.copytree(part, daemon.folder / part.name, dirs_exist_ok=True)
    return daemon.swanctl("--load-all", "--noprompt", "--file", str(folder / "swanctl.conf"))


def _listed(daemon: StrongSwan) -> vici.Section:
    found: vici.Section = {}
    for kind, body in vici.messages(daemon.swanctl("--list-conns", "--raw")):
        if kind == "list-conn":
            found |= body
    return found


_CLASSES = {
    "psk": "pre-shared key",
    "pubkey": "public key",
    "eap-mschapv2": "EAP",
    "eap-tls": "EAP",
}


def _compare(shown: vici.Value, connection: Connection) -> None:
    assert isinstance(shown, dict)
    assert shown["version"] == "IKEv2"
    assert shown["local_addrs"] == list(connection.local_addrs or ["%any"])
    assert shown["remote_addrs"] == list(connection.remote_addrs or ["%any"])
    assert int(str(shown.get("dpd_delay", 0))) * NS_PER_S == connection.dpd_delay
    default = connection_config("x", connection).local.default_id()
    own = connection.local_id or (str(default) if default else None)
    sides = {
        "local-1": (own, connection.local.auth),
        "remote-1": (connection.remote_id, connection.remote.auth),
    }
    for side, (identity, auth) in sides.items():
        proof = shown[side]
        assert isinstance(proof, dict)
        assert proof["class"] == _CLASSES[auth]
        assert proof.get("id") == identity
    children = shown["children"]
    assert isinstance(children, dict)
    assert children.keys() == connection.children.keys()
    for name, child in connection.children.items():
        part = children[name]
        assert isinstance(part, dict)
        assert str(part["mode"]).lower() == child.mode
        for key, selectors in (("local-ts", child.local_ts), ("remote-ts", child.remote_ts)):
            texts = part[key]
            assert isinstance(texts, list)
            assert parse_selectors(", ".join(texts)) == selectors  # protocols and ports by name


def batched(words: list[str], size: int) -> list[list[str]]:
    return [words[start : start + size] for start in range(0, len(words), size)]
