"""Warnings of weak algorithms name file, line and key, whoever reads the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sim
from sim.scenario.build import build
from sim.scenario.load import load_text
from sim.scenario.peer_file import read_peer
from tests.tunnels.lab import SITES

WEAK = SITES.replace(
    "    children:\n      lans: {",
    "    proposals: [aes256-sha256-x25519, aes128-sha1-modp1024]\n"
    "    children:\n      lans: {esp_proposals: [3des-sha1], ",
)
GROUP = "modp1024 is weak: SHOULD NOT be used for IKE (RFC 8247 2.4)"
CIPHER = "3des is weak: SHOULD NOT be used for ESP (RFC 8221 5)"


def test_a_tunnel_with_weak_algorithms_is_warned_of_once_for_both_ends() -> None:
    assert list(map(str, build(load_text(WEAK, "lab.yaml")).warnings)) == [
        f"lab.yaml:{line_of('proposals: [aes256')}: tunnels.sites.proposals.1: {GROUP}",
        f"lab.yaml:{line_of('lans:')}: tunnels.sites.children.lans.esp_proposals.0: {CIPHER}",
    ]


def test_the_summary_of_a_run_has_the_warnings() -> None:
    result = sim.run(load_text(WEAK, "lab.yaml", ["duration=1 s"]))
    assert [text.rpartition(": modp")[2] for text in result.summary["warnings"]][:1] == [
        GROUP.removeprefix("modp")
    ]
    assert CIPHER in result.summary["warnings"][1]


@pytest.mark.parametrize("command", ["validate", "run"])
def test_the_command_tells_them_and_goes_on(command: str, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(WEAK.replace("duration: 100 s", "duration: 1 s"))
    done = subprocess.run(
        [sys.executable, "-m", "sim.cli", command, str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    told = " ".join((done.stderr + done.stdout).split())
    assert told.count("modp1024 is weak") == 1
    assert "tunnels.sites.proposals.1" in told


def test_the_connections_of_a_live_peer_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "peer.yaml"
    file.write_text(
        "connections:\n  rw:\n    remote_addrs: [192.0.2.1]\n    psk: secret\n"
        "    proposals: [aes128-sha1-modp1536]\n    children: {net: {esp_proposals: [3des-sha1-modp1024]}}\n"
    )
    warnings = read_peer(file).warnings
    assert [str(warning).removeprefix(f"{file}:") for warning in warnings] == [
        f"5: connections.rw.proposals.0: {GROUP.replace('1024', '1536')}",
        f"6: connections.rw.children.net.esp_proposals.0: {CIPHER}",
        f"6: connections.rw.children.net.esp_proposals.0: {GROUP.replace('IKE', 'ESP')}",
    ]


def test_a_node_of_a_scenario_as_a_live_peer_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(WEAK)
    warnings = read_peer(file, "sun").warnings
    assert [GROUP in str(warnings[0]), CIPHER in str(warnings[1]), len(warnings)] == [True, True, 2]
    assert str(warnings[0]).startswith(f"{file}:{line_of('proposals: [aes256')}: ")


def test_what_is_not_weak_is_passed_over_in_silence() -> None:
    """SHA-1 is MUST-, and what the RFCs do not name is not weak."""
    text = WEAK.replace("aes128-sha1-modp1024", "aes128-sha1-modp2048").replace("3des-sha1", "aes128ctr-sha1")
    assert build(load_text(text)).warnings == []


def line_of(part: str) -> int:
    return next(number for number, line in enumerate(WEAK.splitlines(), 1) if part in line)
