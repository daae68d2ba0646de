"""Linux as the judge of what we say about path MTUs: its route to a host takes what moon tells.

Linux `alice` - moon ==== slim (narrow) ==== sun - bob        all but alice is simulated
"""

from __future__ import annotations

import re

import pytest

from tests.interop.netns import Lab, Namespace, until
from tests.live.emulation import emulation
from tests.tunnels.lab import Lab as Simulated

pytestmark = pytest.mark.peers

TOPOLOGY = """\
name: linux-pmtu
duration: 5 min
nodes:
  alice: {kind: host, interfaces: {eth: [10.1.0.10/16, "fd01::10/64"]}}
  moon:  {kind: gateway, interfaces: {lan: [10.1.0.1/16, "fd01::1/64"], wan: 192.0.2.1/24}}
  slim:  {kind: router, interfaces: {moon: 192.0.2.254/24, sun: 198.51.100.254/24}}
  sun:   {kind: gateway, interfaces: {wan: 198.51.100.1/24, lan: [10.2.0.1/16, "fd02::1/64"]}}
  bob:   {kind: host, interfaces: {eth: [10.2.0.10/16, "fd02::10/64"]}}
links:
  - {ends: [alice:eth, moon:lan]}
  - {ends: [moon:wan, slim:moon]}
  - {ends: [slim:sun, sun:wan], mtu: 1400 B}
  - {ends: [sun:lan, bob:eth]}
tunnels:
  sites:
    initiator: moon
    responder: sun
    auth: {psk: secret}
    children:
      lans: {local_ts: [10.1.0.0/16, "fd01::/64"], remote_ts: [10.2.0.0/16, "fd02::/64"]}
"""
BOB = {4: "10.2.0.10", 6: "fd02::10"}
HEADERS = {4: 28, 6: 48}


def fits() -> int:
    """The longest packet that moon's SA makes no longer than 1400 octets."""
    lab = Simulated(text=TOPOLOGY).up()
    engine = lab.stack("moon").engine
    return engine.max_inner(1400, next(iter(engine.sad)))


def ping(alice: Namespace, version: int, size: int, *words: str, count: int = 1) -> str:
    """The output of pings that must not be fragmented; `size` is that of the packet."""
    payload = str(size - HEADERS[version])
    command = (
        "ping",
        f"-{version}",
        "-n",
        "-M",
        "do",
        "-c",
        str(count),
        "-W",
        "3",
        "-i",
        "0.2",
        "-s",
        payload,
    )
    return alice.run(*command, *words, BOB[version], check=False)


@pytest.mark.parametrize("version", [4, 6])
def test_c91_linux_lowers_the_mtu_of_its_route_to_what_moon_tells(lab: Lab, version: int) -> None:
    alice = lab.namespace("alice")
    path = lab.folder / "pmtu.yaml"
    path.write_text(TOPOLOGY)
    longest = fits()
    with emulation(path, f"alice=tun0@{alice.name}") as run:
        until(lambda: " 1 received" in ping(alice, version, 100) or None, lambda: "no tunnel")
        said = ping(alice, version, 1440, count=4)  # the first is lost, the second tells
        assert re.search(rf"mtu ?[=:] ?{longest}\b", said), said
        route = alice.ip("route", "get", BOB[version])
        assert f" mtu {longest}" in route, route
        assert " 3 received" in ping(alice, version, longest, count=3)
        assert " 0 received" in ping(alice, version, longest + 1)
    drops = {(drop["node"], drop["reason"]): drop["packets"] for drop in run.summary["drops"]}
    assert drops == {("slim", "packet too big"): 1, ("moon", "packet too big"): 1}


def test_c92_linux_hears_of_every_hop_through_the_tunnel(lab: Lab) -> None:
    """Time exceeded from moon in clear, from sun in the SA that covers none of its addresses, and bob."""
    alice = lab.namespace("alice")
    path = lab.folder / "pmtu.yaml"
    path.write_text(TOPOLOGY)
    only_bob = "tunnels.sites.children.lans.remote_ts=[10.2.0.10/32]"
    with emulation(path, f"alice=tun0@{alice.name}", overrides=(only_bob,)) as run:
        until(lambda: " 1 received" in ping(alice, 4, 100) or None, lambda: "no tunnel")
        for ttl, hop in ((1, "From 10.1.0.1 "), (2, "From 198.51.100.1 "), (3, "from 10.2.0.10")):
            said = ping(alice, 4, 100, "-t", str(ttl))
            assert hop in said, said
            assert ("Time to live exceeded" in said) is (ttl < 3), said
    assert run.summary["drops"] == [
        {"node": node, "reason": "TTL exceeded", "packets": 1} for node in ("moon", "sun")
    ]
