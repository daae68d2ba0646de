"""`ipsec-sim peer` as a user runs it: a swanctl.conf, strongSwan at the other end, tshark between."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.interop.netns import Lab, Namespace, Process
from tests.interop.ping import ping
from tests.interop.scene import INSIDE, OUTSIDE, Role, connections
from tests.interop.sniffer import Sniffer, write_capture
from tests.interop.strongswan import StrongSwan
from tests.interop.test_topologies import IKE_SA_INIT, WARNING, frames
from tests.interop.test_tshark import OFFLOADED
from tests.peers import require

PINGS = 50

pytestmark = pytest.mark.peers


def test_tshark_reads_what_we_send_to_strongswan(lab: Lab, role: Role) -> None:
    """Not one warning; every message and every packet is decrypted and authentic, from a file of --keys."""
    require("tshark")
    initiator, responder = lab.namespace("initiator"), lab.namespace("responder")
    lab.link(initiator, "203.0.113.1/24", responder, "203.0.113.2/24")
    initiator.inner_address(f"{INSIDE}/32")
    responder.inner_address(f"{OUTSIDE}/32")
    wire = Sniffer(responder)
    one, other = connections("veth", "aes128gcm16-prfsha256-x25519")
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
    write_capture(lab.folder / "capture.pcapng", wire.packets())

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
