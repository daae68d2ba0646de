"""What is exported is imported again as the same scenario, and what strongSwan cannot do is told."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sim.cli import app
from sim.net.engine import Simulation
from sim.scenario.authority import PKI_SEED, with_pki
from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.load import dump, load, load_text
from sim.scenario.schema import Scenario
from sim.scenario.swanctl import read
from sim.scenario.swanctl.export import Export, export
from sim.scenario.swanctl.folder import write_private
from tests.scenario.base import TEXT, changed, line_of

TOPOLOGIES = sorted(Path("topologies").glob("*.yaml"))


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_a_topology_comes_back_as_it_was(path: Path, tmp_path: Path) -> None:
    scenario = with_pki(_that_strongswan_knows(expand(load(path))), Simulation(PKI_SEED).rand)
    assert _and_back(scenario, tmp_path) == scenario


def _that_strongswan_knows(scenario: Scenario) -> Scenario:
    """Without what the export leaves out, and says so."""
    plain = scenario.plain()
    for connections in plain["connections"].values():
        for connection in connections.values():
            for child in connection["children"].values():
                child.pop("populate_from_packet", None)
    return scenario.rewritten(plain, {})


_IDS = st.one_of(
    st.none(),
    st.sampled_from(["%any", "10.0.0.1", "2001:db8::1", "@10.0.0.1", "a@example.org", "@#00ff", "@a@b"]),
    st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="=@*"), min_size=1, max_size=12
    ),
)
_SECRETS = (
    st.binary(min_size=1, max_size=20)
    | st.text(min_size=1, max_size=20).map(str.encode)
    | st.sampled_from(
        [b'a"b', b"a\\b", b"a#b", b" a ", "ä ö".encode(), b"0xzz", b"0Sm8=", b"{", b"}", b"\n", b"a\tb"]
    )
)
_SECONDS = st.integers(0, 100_000).map("{} s".format)
_SELECTORS = st.lists(
    st.sampled_from(
        [
            *("10.1.0.0/16", "10.1.0.7/32[6/80]", "10.0.0.1-10.0.0.9", "2001:db8::/32", "0.0.0.0/0[17/any]"),
            *("10.2.0.0/16[any/opaque]", "10.2.0.0/16[1/2048]", "10.3.0.0/16[17/1024-2047]"),
        ]
    ),
    max_size=3,
)
_NAMES = st.sampled_from(["net", "include", "local", "children", "a-b", "0", "_"])


def _without_outer_header(child: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in child.items() if key not in ("copy_dscp", "copy_ecn")}


_CHILDREN = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["tunnel", "transport"]),
        "local_ts": _SELECTORS,
        "remote_ts": _SELECTORS,
        "esp_proposals": st.lists(
            st.sampled_from(
                ["aes128gcm16", "aes256-sha1-esn", "chacha20poly1305-x25519", "aes-sha2_256-modpnone"]
            ),
            min_size=1,
            max_size=3,
        ),
        "replay_window": st.integers(32, 4096),
        "copy_df": st.booleans(),
        "ipcomp": st.booleans(),
        "per_cpu_sas": st.sampled_from(["no", "yes", "encap"]),
        "copy_dscp": st.sampled_from(["out", "in", "yes", "no"]),
        "copy_ecn": st.booleans(),
        "start_action": st.sampled_from(["none", "trap", "start"]),
    }
).map(lambda child: child if child["mode"] == "tunnel" else _without_outer_header(child))
_CONNECTIONS = st.fixed_dictionaries(
    {
        "local_addrs": st.lists(st.sampled_from(["192.0.2.1", "2001:db8::2"]), max_size=2, unique=True),
        "remote_addrs": st.lists(st.sampled_from(["192.0.2.7", "2001:db8::7"]), min_size=1, unique=True),
        "local_id": _IDS,
        "remote_id": _IDS,
        "psk": _SECRETS.map(lambda octets: "0x" + octets.hex()),
        "proposals": st.lists(
            st.sampled_from(
                ["aes128gcm16-prfsha256-x25519", "aes256-sha256-modp2048", "aes-sha1-prfsha512-ecp256"]
            ),
            min_size=1,
            max_size=3,
        ),
        "mobike": st.booleans(),
        "remote_port": st.sampled_from([500, 4500, 65535]),
        "encap": st.booleans(),
        "dpd_delay": _SECONDS,
        "keep_alive": _SECONDS | st.just("1500 ms"),
        "retransmit": st.sampled_from(["strongswan", "libreswan", "iked"]),
        "qcd": st.booleans(),
        "resumption": st.booleans(),
        "keepalive_policy": st.sampled_from(["fixed", "adaptive"]),
        "keepalive_max": _SECONDS,
        "radio_tail": _SECONDS,
        "follow_redirects": st.booleans(),
        "redirect_to": st.none() | st.sampled_from(["198.51.100.2", "2001:db8::2"]),
        "redirect_when": st.sampled_from(["init", "auth"]),
        "return_routability": st.sampled_from(["before", "after", "none"]),
        "nat_traversal": st.booleans(),
        "fragmentation": st.sampled_from(["yes", "accept", "force", "no"]),
        "dscp": st.integers(0, 63),
        "fragment_size": st.sampled_from(["0 B", "200 B", "1280 B", "65535 B"]),
        "children": st.dictionaries(_NAMES, _CHILDREN, min_size=1, max_size=3),
    }
).map(lambda connection: connection | {"encap": connection["encap"] and connection["nat_traversal"]})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(connections=st.dictionaries(_NAMES, _CONNECTIONS, min_size=1, max_size=2))
def test_connections_come_back_as_they_were(connections: dict[str, Any], tmp_path: Path) -> None:
    """Only several connections can have secrets that strongSwan could not tell apart; then it says so."""
    plain = expand(load_text(TEXT)).plain()
    base = load_text(dump(expand(load_text(TEXT))))
    scenario = base.rewritten(plain | {"connections": {"moon": connections}}, {})
    refusal = _refusal(scenario)
    if refusal:
        assert "could not tell whose secret" in refusal
        assert len(connections) > 1
    else:
        assert _and_back(scenario, tmp_path) == scenario


def test_files_hold_secrets_and_belong_to_their_owner_alone(tmp_path: Path) -> None:
    for path in write_private(tmp_path / "a" / "b", export(load_text(TEXT)).files):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {path.name for path in (tmp_path / "a" / "b" / "alice").iterdir()} == {
        "swanctl.conf",
        "strongswan.conf",
    }


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    (tmp_path / "moon").mkdir()
    (tmp_path / "moon" / "strongswan.conf").mkdir()
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "swanctl.conf").write_text("older")
    with pytest.raises(IsADirectoryError):
        write_private(tmp_path, export(load_text(TEXT)).files)
    assert (tmp_path / "alice" / "swanctl.conf").read_text() == "older"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["swanctl.conf"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "auth: {psk: secret}",
            "auth: {psk: secret}\n    dpd_delay: 1500 ms",
            "whole seconds: 2 s are written",
        ),
        (
            "auth: {psk: secret}",
            "auth: {psk: secret}\n    keep_alive: 100 ms",
            "whole seconds: 1 s are written",
        ),
        (
            "auth: {psk: secret}",
            "auth: {psk: secret}\n    retransmit: libreswan",
            "cannot repeat the requests",
        ),
        ("auth: {psk: secret}", "auth: {psk: secret}", "takes a new address of its peer without a test"),
    ],
)
def test_what_strongswan_does_otherwise_is_told_with_its_line(old: str, new: str, words: str) -> None:
    text = changed((old, new))
    notes = [str(note) for note in export(load_text(text, "lab.yaml")).notes]
    line = line_of(text, "rw:")
    assert any(note.startswith(f"lab.yaml:{line}: connections.alice.rw.") and words in note for note in notes)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("copy_df: false, df: set", "Linux clears DF"),
        ("fragment: before", "Linux cuts what is too long after"),
        ("icmp_check: true", "only where no selector covers"),
        ("mss_clamp: auto", "a rule of nftables"),
    ],
)
def test_how_linux_handles_sizes_otherwise_is_told(settings: str, words: str) -> None:
    text = changed(("net: {remote_ts", f"net: {{{settings}, remote_ts"))
    notes = [str(note) for note in export(load_text(text)).notes]
    assert sum(words in note for note in notes) == 2, "for each end"


def test_an_implicit_iv_that_strongswan_lacks_is_told() -> None:
    """RFC 8750; the words are written all the same, as the peer may not be strongSwan."""
    for suite, told in (("aes128gmac", False), ("aes128gcm16iiv-aes128gcm16", True)):
        text = changed(("{remote_ts: [10.1", f"{{esp_proposals: [{suite}], remote_ts: [10.1"))
        notes = [str(note) for note in export(load_text(text)).notes]
        assert any("no implicit IVs (RFC 8750)" in note for note in notes) is told


@pytest.mark.parametrize(("ours", "theirs"), [("mtu", "mtu"), ("1000 B", "1000")])
def test_tfc_padding_is_written_as_strongswan_has_it(ours: str, theirs: str) -> None:
    text = changed(("{remote_ts: [10.1", f"{{tfc_padding: {ours}, remote_ts: [10.1"))
    written = [file for file in export(load_text(text)).files.values() if f"tfc_padding = {theirs}\n" in file]
    assert written


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{init_delay: 5 ms, packet_size: 1400 B, reorder_window: 7, dont_frag: true}", False),
        ("{}", False),
        ("{l3_fixed_rate: 2 Mbit/s, congestion_control: true, accept_fragments: false}", True),
        ("{drop_time: 1500 ns}", True),
    ],
)
def test_aggfrag_mode_comes_back_and_what_strongswan_lacks_is_told(
    settings: str, told: bool, tmp_path: Path
) -> None:
    child = f"{{mode: iptfs, iptfs: {settings}, remote_ts: [10.1"
    scenario = expand(load_text(changed(("{remote_ts: [10.1", child))))
    assert _and_back(scenario, tmp_path) == scenario
    assert any("sends at no rate" in str(note) for note in export(scenario).notes) is told


def test_nothing_is_told_where_strongswan_does_the_same() -> None:
    text = changed(("auth: {psk: secret}", "auth: {psk: secret}\n    return_routability: false"))
    assert export(load_text(text)).notes == ()


def test_secrets_that_strongswan_could_not_tell_apart_are_refused() -> None:
    plain = expand(load_text(TEXT)).plain()
    moon = plain["connections"]["moon"]
    moon["other"] = moon["rw"] | {"psk": "another"}
    scenario = load_text(TEXT).rewritten(plain, {})
    with pytest.raises(ScenarioError, match=r"connections\.moon\..*could not tell whose secret"):
        export(scenario)


def test_a_wildcard_for_a_peer_is_written_as_it_is_and_nobody_is_called_so() -> None:
    auth = 'auth: {psk: secret, responder: {remote_id: "*@example.org"}, local_id: a@example.org}'
    text = changed(("auth: {psk: secret}", auth))
    (conf,) = [file for path, file in export(load_text(text)).files.items() if "moon/swanctl" in str(path)]
    assert conf.count('id = "*@example.org"') == 1
    assert 'id-1 = "*@example.org"' in conf
    text = changed(("auth: {psk: secret}", 'auth: {psk: secret, remote_id: "*.example"}'))
    with pytest.raises(ScenarioError, match=r"lab\.yaml:\d+: .*remote_id: .*wildcard is only for a peer"):
        load_text(text, "lab.yaml")


def test_a_scenario_without_connections_is_refused() -> None:
    start, end = TEXT.index("tunnels:"), TEXT.index("events:")
    text = TEXT[:start] + TEXT[end : TEXT.index("checks:")]
    with pytest.raises(ScenarioError, match="nothing to export"):
        export(load_text(text))


def test_the_command_names_what_it_wrote_and_what_it_could_not_say(tmp_path: Path) -> None:
    topology = tmp_path / "lab.yaml"
    topology.write_text(TEXT)
    done = CliRunner().invoke(app, ["export", str(topology), "--swanctl", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert done.stdout.split() == [
        f"{tmp_path}/out/{node}/{name}"
        for node in ("alice", "moon")
        for name in ("swanctl.conf", "strongswan.conf")
    ]
    assert f"note: {topology}:" in done.stderr
    assert set(read(tmp_path / "out" / "moon" / "swanctl.conf").connections) == {"rw"}


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    topology = tmp_path / "lab.yaml"
    topology.write_text(TEXT)
    done = CliRunner().invoke(app, ["export", str(topology), "--swanctl", str(topology)])
    assert done.exit_code == 2
    assert "Not a directory" in done.stderr or "File exists" in done.stderr


def _refusal(scenario: Scenario) -> str:
    try:
        export(scenario)
    except ScenarioError as error:
        return str(error)
    return ""


def _and_back(scenario: Scenario, folder: Path) -> Scenario:
    """The scenario with what is imported from its export in place of its connections."""
    exported: Export = export(scenario)
    write_private(folder, exported.files)
    plain = scenario.plain()
    plain["pools"] = {}
    for node in plain["connections"]:
        config = read(folder / node / "swanctl.conf")
        assert config.warnings == []
        plain["connections"][node] = {
            name: conn.model_dump(mode="json", by_alias=True, exclude_none=True)
            for name, conn in config.connections.items()
        }
        if config.pools:
            plain["pools"][node] = {
                name: pool.model_dump(mode="json", exclude_none=True) for name, pool in config.pools.items()
            }
    return scenario.rewritten(plain, {})


def test_faults_are_left_out_and_named() -> None:
    text = TEXT + "faults:\n  - {node: alice, do: drop}\n"
    notes = [str(note) for note in export(load_text(text, "lab.yaml")).notes]
    where = f"lab.yaml:{line_of(text, 'do: drop')}: faults.0: "
    assert f"{where}strongSwan does nothing wrong on purpose: `drop` is left out" in notes
