"""The README's blocks for real hosts are run as they are printed there, in a private world of the kernel.

Namespaces for networks, mounts and processes stand in for a machine of its own: names such as `moon` do
no harm there, and what a block leaves behind ends with it. Packages and `.venv` are there already.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.netns import Lab
from tests.peers import require

README = Path(__file__).parents[2] / "README.md"
SIM = str(Path(sys.executable).parent / "ipsec-sim")
PATIENCE_S = 120

pytestmark = [
    pytest.mark.peers,
    pytest.mark.slow,  # a user's block waits by `sleep`, and its events come on the wall clock
]


def test_the_block_of_a_real_strongswan_pings_through_the_tunnel(lab: Lab) -> None:
    require("charon-systemd")
    require("swanctl")
    block = block_of("Talk to a real strongSwan")
    said = run(changed(block, {"/tmp/swan": str(lab.folder), "$PWD/.venv/bin/ipsec-sim": SIM}))
    assert "3 packets transmitted, 3 received" in said, said
    assert "ab: IKE SA up" in said, said


def test_the_block_of_a_simulated_wan_joins_two_hosts(lab: Lab) -> None:
    """Its 45 s are made 16, the events come earlier."""
    block = block_of("Put a simulated WAN between two real hosts")
    said = run(
        changed(
            block,
            {
                "apt-get install -y git make python3-venv iproute2 iputils-ping\n": "",
                "make .venv/project.stamp\n": "",
                ".venv/bin/ipsec-sim": SIM,
                "--until '45 s'": "--until '16 s' --set 'events.0.at=7 s' --set 'events.1.at=10 s'",
                "-c 70": "-c 20",
            },
        )
    )
    found = re.search(r"20 packets transmitted, (\d+) received", said)
    assert found, said
    assert int(found[1]) >= 16, said
    times = [float(time) for time in re.findall(r"icmp_seq=\d+ ttl=\d+ time=([\d.]+) ms", said)]
    assert min(times) >= 20, said  # 13 ms each way, less the jitter
    assert max(times) >= 50, "at the end it is LTE"
    assert "Real time" in said, said


def block_of(heading: str) -> str:
    """The first block of shell under a heading."""
    _, _, rest = README.read_text().partition(f"\n## {heading}\n")
    found = re.search(r"\n```\n(.*?)\n```\n", rest.partition("\n## ")[0], re.DOTALL)
    assert found, heading
    return found[1] + "\n"


def changed(block: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in block, f"the README does not say {old!r} any more"
        block = block.replace(old, new)
    return block


def run(block: str) -> str:
    """What the block printed; it must succeed."""
    private = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    begin = "set -e; mkdir -p /run/netns; mount -t tmpfs none /run/netns; ip link set lo up; set +e\n"
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", *private, "bash", "-c", begin + block],
        cwd=README.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
