"""`ipsec-sim peer` as a user runs it: a swanctl.conf, strongSwan at the other end, tshark between."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.netns import Lab, Namespace, Process, until
from tests.interop.ping import ping
from tests.interop.scene import INSIDE, OUTSIDE, ROLES, SUITES, Role, connections
from tests.interop.strongswan import StrongSwan
from tests.interop.test_topologies import IKE_SA_INIT, WARNING, frames
from tests.peers import require

PINGS = 50
IKE_MESSAGES = 6
"""IKE_SA_INIT, IKE_AUTH and the DELETE, each with its answer."""
OFFLOADED = ("udp.check_checksum:FALSE", "ip.check_checksum:FALSE")
"""A veth leaves checksums of UDP to a network card that does not exist."""

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("suite", [suite for suite in SUITES if not suite.startswith("chacha")])
@pytest.mark.parametrize("role", ROLES)
def test_tshark_reads_what_we_send_to_strongswan(lab: Lab, role: Role, suite: str) -> None:
    """Not one warning; every message and every packet is decrypted and authentic (ChaCha20 it cannot)."""
    dumpcap = require("dumpcap")
    initiator, responder = lab.namespace("initiator"), lab.namespace("responder")
    lab.link(initiator, "203.0.113.1/24", responder, "203.0.113.2/24")
    initiator.inner_address(f"{INSIDE}/32")
    responder.inner_address(f"{OUTSIDE}/32")
    capture = lab.folder / "capture.pcapng"
    wire = responder.start(dumpcap, "-q", "-f", "udp", "-i", "eth0", "-w", str(capture), label="dumpcap")
    wire.expect("File:")
    one, other = connections("veth", suite)
    we_initiate = role == "we initiate"
    mine, yours = (one, other) if we_initiate else (other, one)
    daemon = StrongSwan(responder if we_initiate else initiator)
    daemon.load(yours.swanctl())
    conf = lab.folder / "swanctl.conf"
    conf.write_text(mine.swanctl())
    peer = start_peer(lab, initiator if we_initiate else responder, we_initiate)
    if not we_initiate:
        daemon.initiate("net")
    peer.expect('"event": "child up"')

    assert ping(initiator, OUTSIDE, size=1400, count=PINGS).received == PINGS
    assert peer.stop(signal.SIGINT) == 0, peer.output()
    daemon.idle()  # it was told
    # dumpcap forgets at its end what the kernel has not handed over yet.
    until(lambda: captured(capture) >= 2 * PINGS + IKE_MESSAGES, wire.output)
    wire.stop(signal.SIGINT)

    packets = exchanges = 0
    for frame in frames(lab.folder, *OFFLOADED):
        assert frame.worst < WARNING, frame
        assert not frame.malformed, frame
        if frame.spi:
            packets += 1
            assert frame.contained, frame
            assert (frame.icv_good, frame.icv_bad) == ("1", "0"), frame
        elif frame.exchange and frame.exchange != IKE_SA_INIT:
            exchanges += 1
            assert frame.decrypted, frame
            assert not frame.bad_ike_icv, frame
    assert packets == 2 * PINGS
    assert exchanges >= 4  # IKE_AUTH and the DELETE, each with its answer


def captured(path: Path) -> int:
    """How many packets a capture holds that is still being written."""
    command = (require("capinfos"), "-c", "-M", "-T", "-r", str(path))
    done = subprocess.run(command, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) if done.stdout.strip() else 0


def start_peer(lab: Lab, namespace: Namespace, initiate: bool) -> Process:
    words = [
        "--tun",
        "--json",
        "--keys",
        str(lab.folder / "keys"),
        *(["--initiate", "home"] if initiate else []),
    ]
    command = (sys.executable, "-m", "sim.cli", "peer", str(lab.folder / "swanctl.conf"), *words)
    peer = namespace.start(*command, label="peer")
    peer.expect('"event": "listening"')
    return peer
