"""tshark reads what boxes that translate IPv6, and a firewall, let pass, and finds every checksum right."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import sim
from tests.peers import require

pytestmark = pytest.mark.peers

_CHECKED = [
    *("-o", "ip.check_checksum:TRUE"),
    *("-o", "udp.check_checksum:TRUE"),
    *("-o", "tcp.check_checksum:TRUE"),
]
_BAD = " || ".join(
    [*(f"{kind}.checksum.status == 0" for kind in ("ip", "udp", "icmp", "icmpv6")), "_ws.malformed"]
)


@pytest.mark.parametrize(
    ("name", "passed"),
    [
        ("nat64", "ipv6 && udp.port == 4500 && udp.checksum.status == 1"),
        ("nat64", "ip && udp.port == 4500 && !ipv6"),
        ("nptv6", "ipv6.addr == 2001:db8:100::/48 && udp.checksum.status == 1"),
        ("firewall", "esp"),
    ],
)
def test_tshark_finds_every_packet_right(tmp_path: Path, name: str, passed: str) -> None:
    sim.run(f"topologies/nat/{name}.yaml", 1, until="3 s", out=tmp_path)
    assert _frames(tmp_path, _BAD) == []
    assert len(_frames(tmp_path, passed)) > 10


def _frames(folder: Path, wanted: str) -> list[str]:
    command = [require("tshark"), "-r", str(folder / "capture.pcapng"), *_CHECKED, "-Y", wanted]
    done = subprocess.run(
        [*command, "-T", "fields", "-e", "frame.number"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()
