"""Linux as the judge of IPv6 fragments: it cuts requests that we join, and joins the answers that we cut."""

from __future__ import annotations

import pytest

from tests.interop.netns import Lab
from tests.live.emulation import emulation

pytestmark = pytest.mark.peers

TOPOLOGY = """\
name: fragments6
duration: 5 min
nodes:
  alice: {kind: host, interfaces: {eth: 2001:db8:a::10/64}}
  core:  {kind: router, interfaces: {a: 2001:db8:a::1/64, b: 2001:db8:b::1/64}}
  bob:   {kind: host, interfaces: {eth: 2001:db8:b::10/64}}
links:
  - {ends: [alice:eth, core:a], mtu: 1400 B}
  - {ends: [core:b, bob:eth], mtu: 1280 B}
"""


def test_linux_and_we_join_each_others_ipv6_fragments(lab: Lab) -> None:
    """A router that cuts no IPv6 tells Linux of 1280 octets, and it cuts smaller."""
    alice = lab.namespace("alice")
    path = lab.folder / "fragments6.yaml"
    path.write_text(TOPOLOGY)
    with emulation(path, f"alice=tun0@{alice.name}") as run:
        for size, count in ((1000, 2), (1352, 2), (4000, 5), (20000, 3)):
            said = alice.run(
                *("ping", "-6", "-n", "-i", "0.2", "-W", "5", "-c", str(count + 1), "-s", str(size)),
                "2001:db8:b::10",
                check=False,
            )
            received = int(said.split(" received")[0].split()[-1])
            assert received >= count, said
        counters = dict(
            line.split()[:2] for line in alice.run("cat", "/proc/net/snmp6").splitlines() if "Reasm" in line
        )
    assert int(counters["Ip6ReasmOKs"]) >= 8
    assert int(counters["Ip6ReasmFails"]) == 0
    drops = {(drop["node"], drop["reason"]) for drop in run.summary["drops"]}
    assert drops <= {("core", "packet too big")}
