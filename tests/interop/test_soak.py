"""Two Child SAs with strongSwan under load, loss and constant rekeying: nothing leaks, nothing grows.

One of them is rekeyed with a key exchange of its own. One minute by default; SOAK_S=600 (`make soak`) is the
extended run.
"""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import replace

import pytest

from tests.interop.connection import FurtherChild
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
WITH_KE = FurtherChild("fresh", "10.1.9.1/32", "10.2.9.1/32", "aes128gcm16-x25519")
CHILDREN = 2
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
    for namespace, addresses in ((initiator, (INSIDE, "10.1.9.1")), (responder, (OUTSIDE, "10.2.9.1"))):
        for address in addresses:
            namespace.inner_address(f"{address}/32")
    one, other = connections("masquerade", "aes128gcm16-prfsha256-x25519")
    one, other = replace(one, further=(WITH_KE,)), replace(other, further=(WITH_KE.mirrored(),))
    theirs = replace(one, child_settings={"rekey_time": f"{REKEY_S}s", "life_time": "1h", "rand_time": "0s"})
    daemon = StrongSwan(initiator, settings=_DAEMON)
    daemon.load(theirs.swanctl())
    (lab.folder / "swanctl.conf").write_text(other.swanctl())
    peer = start_peer(lab, responder, initiate=False)
    lose(router, LOSS)
    for child in ("net", WITH_KE.name):
        assert "successfully" in daemon.initiate(child), daemon.log()
    traffic = [
        start_pinging(initiator, OUTSIDE, size=1300, interval=0.01),
        start_pinging(responder, INSIDE, size=200, interval=0.01),
        start_pinging(initiator, "10.2.9.1", size=700, interval=0.02),
    ]

    until(lambda: rekeyings(daemon) >= SECONDS / REKEY_S / 3, daemon.log, SECONDS + 120)
    early = peer.resident_kib(), daemon.memory() // 1024
    until(lambda: rekeyings(daemon) >= SECONDS / REKEY_S, daemon.log, SECONDS + 120)
    late = peer.resident_kib(), daemon.memory() // 1024
    for pings in map(stop_pinging, traffic):
        assert pings.received / pings.sent > (1 - LOSS / 100) ** 2 - 0.05, pings.received / pings.sent

    asked = daemon.log().count("generating CREATE_CHILD_SA request")
    with_ke = len(re.findall(r"CREATE_CHILD_SA request \d+ \[ N\(REKEY_SA\)[^]]* KE ", daemon.log()))
    print(f"{rekeyings(daemon)} rekeyings of either Child SA, {asked} requests, {with_ke} with a KE payload")
    print(f"memory in KiB, ours and strongSwan's: {early} after a third, {late} at the end")
    assert with_ke
    assert late[0] - early[0] < GROWTH_KIB
    assert late[1] - early[1] < GROWTH_KIB
    until(lambda: len(children_of(peer)) == CHILDREN and len(daemon.sa().children) == CHILDREN, peer.output)
    assert len(daemon.sas()) == 1
    assert peer.stop(signal.SIGINT) == 0
    daemon.idle()


def rekeyings(daemon: StrongSwan) -> int:
    """How often each Child SA has new keys, the one that lags behind counts."""
    ups = re.findall(r"inbound CHILD_SA (\w+)\{\d+\} established", daemon.log())
    return min(ups.count(name) for name in ("net", WITH_KE.name))


def children_of(peer: Process) -> list[str]:
    """The inbound SPIs of our Child SAs that are installed, asked for by SIGUSR1."""
    asked = peer.output().count('"event": "status"')
    peer.send(signal.SIGUSR1)
    until(lambda: peer.output().count('"event": "status"') > asked, peer.output)
    status = [line for line in peer.output().splitlines() if '"event": "status"' in line][-1]
    rows = json.loads(status)["connections"]
    return [child["spi_in"] for row in rows for child in row["children"] if child["state"] == "installed"]
