"""tshark reads our ICMP errors, fragments and clamped SYNs, and finds nothing wrong with them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import sim
from sim.scenario.load import load_text
from tests.interop.test_topologies import WARNING, frames
from tests.peers import require
from tests.tunnels.test_pmtu import SIX

pytestmark = pytest.mark.peers

CHILD = "tunnels.sites.children.lans"
WEB = Path("topologies/captures/web-download.pcap").absolute()
BIG6 = "traffic=[{name: big, kind: cbr, from: alice, to: bob, size: 1400 B, rate: 200 kbit/s}]"


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("traffic.big.pmtud=dont", f"{CHILD}.fragment=before"),
        ("traffic.big.pmtud=dont", f"{CHILD}.fragment=after"),
        (
            f"{CHILD}.mss_clamp=auto",
            f"traffic=[{{name: w, kind: replay, file: {WEB}, from: alice, to: bob}}]",
        ),
    ],
)
def test_tshark_has_no_complaint_about_ipv4(overrides: tuple[str, ...], tmp_path: Path) -> None:
    require("tshark")
    path = Path("topologies/path-mtu.yaml")
    sim.run(sim.load(path, ["checks=[]", *overrides]), seed=7, out=tmp_path)
    for frame in frames(tmp_path):
        assert not frame.malformed, frame
        assert frame.worst < WARNING or "TCP" in frame.messages or "retransmission" in frame.messages, frame


def test_tshark_reads_packet_too_big_and_ipv6_fragments(tmp_path: Path) -> None:
    require("tshark")
    text = SIX.replace("duration: 100 s", "duration: 3 s")
    sim.run(load_text(text, overrides=["links.2.mtu=1340 B", BIG6]), out=tmp_path)
    for frame in frames(tmp_path):
        assert not frame.malformed, frame
        assert frame.worst < WARNING, frame
    told = fields(
        tmp_path / "capture.pcapng", "icmpv6.type == 2 && !esp", "icmpv6.mtu", "icmpv6.checksum.status"
    )
    assert told
    assert {row[1] for row in told} == {"1"}, "a good checksum"
    assert {int(row[0]) for row in told} == {1286}
    assert fields(tmp_path / "capture.pcapng", "ipv6.fragment && !esp", "ipv6.fraghdr.offset")


def fields(capture: Path, display: str, *names: str) -> list[list[str]]:
    command = [shutil.which("tshark") or "tshark", "-r", str(capture), "-Y", display, "-T", "fields"]
    command += [part for name in names for part in ("-e", name)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in out.splitlines()]
