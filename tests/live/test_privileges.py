"""Without privileges or a TUN driver the command line says so in one sentence, with exit status 2."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import peers
from tests.live import namespaces
from tests.live.process import free_ports

pytestmark = pytest.mark.peers

ROOT = Path(__file__).parents[2]
TWO_HOSTS = str(ROOT / "topologies" / "two-hosts.yaml")
FRESH = f"priv-{os.getpid()}"
CONFIG = """\
connections:
  ab:
    local_addrs: [127.0.0.1]
    remote_addrs: [127.0.0.2]
    psk: x
    children: {net: {local_ts: [10.1.0.0/16], remote_ts: [10.2.0.0/16]}}
"""


@pytest.fixture
def netns() -> Iterator[str]:
    """Ports below 1024 are the root's there, whatever this machine allows."""
    with namespaces.namespace("priv") as name:
        yield name


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "peer.yaml").write_text(CONFIG)
    return str(tmp_path / "peer.yaml")


def test_a_peer_with_a_device_but_without_privileges(netns: str, config: str) -> None:
    sentence = refusal(netns, *powerless(), "peer", config, "--tun", "--port", "1500")
    assert sentence == "no right to make a TUN device: it needs root (CAP_NET_ADMIN)"


def test_a_peer_on_ports_of_the_root(netns: str, config: str) -> None:
    sentence = refusal(netns, *powerless(), "peer", config)
    assert sentence == (
        "UDP port 500 of 127.0.0.1 needs root: choose ports above 1023 with --port and --natt-port"
    )


def test_a_peer_without_a_tun_driver(netns: str, config: str) -> None:
    sentence = refusal(netns, *driverless(), "peer", config, "--tun")
    assert sentence.startswith("there is no /dev/net/tun: load the kernel module")


@pytest.mark.parametrize("there", [False, True], ids=["a new namespace", "one that is there"])
def test_an_emulation_without_privileges(netns: str, there: bool) -> None:
    name = netns if there else FRESH
    sentence = refusal(netns, *powerless(), "emulate", TWO_HOSTS, "--attach", f"sun=eth@{name}")
    assert "needs root (CAP_SYS_ADMIN" in sentence
    assert not Path("/run/netns", FRESH).exists()


def test_an_emulation_in_the_own_namespace_without_privileges(netns: str) -> None:
    sentence = refusal(netns, *powerless(), "emulate", TWO_HOSTS, "--attach", "sun=eth")
    assert sentence == "no right to make the TUN device eth: it needs root (CAP_NET_ADMIN)"


def test_an_emulation_without_a_tun_driver_takes_its_namespace_away_again(netns: str) -> None:
    sentence = refusal(netns, *driverless(), "emulate", TWO_HOSTS, "--attach", f"sun=eth@{FRESH}")
    assert sentence.startswith("there is no /dev/net/tun: load the kernel module")
    assert not Path("/run/netns", FRESH).exists()


def test_without_privileges_on_other_ports_a_peer_runs_and_says_what_it_does_otherwise(config: str) -> None:
    command = [*powerless(), sys.executable, "-m", "sim.cli", "peer", config]
    ports = [str(port) for port in free_ports("127.0.0.1")]
    options = ["--port", ports[0], "--natt-port", ports[1], "--ping", "10.2.0.9", "--count", "1"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("every connection runs with `encap: true`") == 1
    assert "listening" in done.stderr


def powerless() -> tuple[str, ...]:
    """How to run a program without any capability: what a plain user may do, with files it can read."""
    return (peers.require("setpriv"), "--bounding-set=-all", "--inh-caps=-all")


def driverless() -> tuple[str, ...]:
    """How to run a program where /dev/net is empty."""
    script = 'mount -t tmpfs none /dev/net && exec "$@"'
    return (peers.require("unshare"), "--mount", "--propagation", "slave", "sh", "-c", script, "sh")


def refusal(netns: str, *words: str) -> str:
    """The one sentence of a command that refuses to start in a namespace."""
    split = next(at for at, word in enumerate(words) if word in ("peer", "emulate"))
    how, what = words[:split], words[split:]
    command = ["ip", "netns", "exec", netns, *how, sys.executable, "-m", "sim.cli", *what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (sentence,) = done.stderr.splitlines()
    return sentence
