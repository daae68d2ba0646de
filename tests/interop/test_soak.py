"""A tunnel with strongSwan under load, loss and constant rekeying: nothing leaks, nothing grows.

One minute by default; SOAK_S=600 is the extended run.
"""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import replace

import pytest

from tests.interop.nat import lose
from tests.interop.netns import Lab, Process, until
from tests.interop.ping import start_pinging, stop_pinging
from tests.interop.scene import INSIDE, OUTSIDE, connections
from tests.interop.strongswan import StrongSwan
from tests.interop.test_command import start_peer

SECONDS = float(os.environ.get("SOAK_S", "60"))
REKEY_S = 10
LOSS = 5
GROWTH_KIB = 1024
"""What a process may grow by after the first third, whatever the duration: an allocator is not exact."""
_DAEMON = "delete_rekeyed_delay = 1\nretransmit_timeout = 0.5"

pytestmark = pytest.mark.peers


@pytest.mark.slow  # memory that leaks shows only over many rekeyings, which strongSwan does every ten seconds
@pytest.mark.timeout(SECONDS + 240)
def test_nothing_leaks_under_loss_and_rekeying(lab: Lab) -> None:
    initiator, router, responder = (
        lab.namespace("initiator"),
        lab.namespace("router"),
        lab.namespace("responder"),
    )
    lab.link(initiator, "192.168.1.2/24", router, "192.168.1.1/24")
    lab.link(router, "203.0.113.1/24", responder, "203.0.113.2/24")
    initiator.ip("route", "add", "default", "via", "192.168.1.1")
    responder.ip("route", "add", "default", "via", "203.0.113.1")
    initiator.inner_address(f"{INSIDE}/32")
    responder.inner_address(f"{OUTSIDE}/32")
    one, other = connections("masquerade", "aes128gcm16-prfsha256-x25519")
    theirs = replace(one, child_settings={"rekey_time": f"{REKEY_S}s", "life_time": "1h", "rand_time": "0s"})
    daemon = StrongSwan(initiator, settings=_DAEMON)
    daemon.load(theirs.swanctl())
    (lab.folder / "swanctl.conf").write_text(other.swanctl())
    peer = start_peer(lab, responder, initiate=False)
    lose(router, LOSS)
    assert "successfully" in daemon.initiate("net"), daemon.log()
    traffic = [
        start_pinging(initiator, OUTSIDE, size=1300, interval=0.01),
        start_pinging(responder, INSIDE, size=200, interval=0.01),
    ]

    until(lambda: rekeyings(daemon) >= SECONDS / REKEY_S / 3, daemon.log, SECONDS + 120)
    early = peer.resident_kib(), daemon.memory() // 1024
    until(lambda: rekeyings(daemon) >= SECONDS / REKEY_S, daemon.log, SECONDS + 120)
    late = peer.resident_kib(), daemon.memory() // 1024
    for pings in map(stop_pinging, traffic):
        assert pings.received / pings.sent > (1 - LOSS / 100) ** 2 - 0.05, pings.received / pings.sent

    print(f"memory in KiB, ours and strongSwan's: {early} after a third, {late} at the end")
    assert late[0] - early[0] < GROWTH_KIB
    assert late[1] - early[1] < GROWTH_KIB
    until(lambda: len(children_of(peer)) == 1 and len(daemon.sa().children) == 1, peer.output)
    assert len(daemon.sas()) == 1
    assert peer.stop(signal.SIGINT) == 0
    daemon.idle()


def rekeyings(daemon: StrongSwan) -> int:
    return len(re.findall(r"inbound CHILD_SA net\{\d+\} established", daemon.log()))


def children_of(peer: Process) -> list[str]:
    """The inbound SPIs of our Child SAs that are installed, asked for by SIGUSR1."""
    asked = peer.output().count('"event": "status"')
    peer.send(signal.SIGUSR1)
    until(lambda: peer.output().count('"event": "status"') > asked, peer.output)
    status = [line for line in peer.output().splitlines() if '"event": "status"' in line][-1]
    rows = json.loads(status)["connections"]
    return [child["spi_in"] for row in rows for child in row["children"] if child["state"] == "installed"]
