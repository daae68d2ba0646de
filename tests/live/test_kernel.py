"""`--tun`: two network namespaces talk through the tunnel, and MOBIKE follows their addresses."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sim.live.netns import run_ip
from tests import peers
from tests.live.namespaces import namespace
from tests.live.process import Peer

pytestmark = pytest.mark.peers


class Wire:
    """Two namespaces and a cable: `a` is 192.0.2.1, `b` is 192.0.2.2."""

    def __init__(self, a: str, b: str, folder: Path, stack: ExitStack) -> None:
        self.a, self.b = a, b
        self._folder = folder
        self._stack = stack
        run_ip("link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", b, netns=a)
        for netns, address in ((a, "192.0.2.1/24"), (b, "192.0.2.2/24")):
            run_ip("address", "add", address, "dev", "wire", netns=netns)
            run_ip("link", "set", "wire", "up", netns=netns)

    def up(self, local_ts: str = "10.1.0.0/16", remote_ts: str = "10.2.0.0/16") -> tuple[Peer, Peer]:
        """Both peers, with the tunnel between them trapped at `a`."""
        b = self.start(self.b, "b", f"local_ts: [{remote_ts}], remote_ts: [{local_ts}]")
        settings = f"local_ts: [{local_ts}], remote_ts: [{remote_ts}], start_action: trap"
        return self.start(self.a, "a", settings, "    remote_addrs: [192.0.2.2]\n"), b

    def start(self, netns: str, name: str, child: str, more: str = "") -> Peer:
        file = self._folder / f"{name}.yaml"
        file.write_text(
            f"connections:\n  ab:\n{more}    local_id: {name}\n    psk: veth\n"
            f"    children: {{net: {{{child}}}}}\n"
        )
        peer = Peer(str(file), "--tun-name", "tun0", netns=netns)
        self._stack.callback(peer.kill)
        peer.wait_for("listening")
        return peer

    def ping(self, netns: str, address: str, *words: str, count: int = 5) -> int:
        """How many of the pings were answered."""
        command = ["ip", "netns", "exec", netns, "ping", "-q", "-i", "0.1", "-W", "2", "-c", str(count)]
        done = subprocess.run([*command, *words, address], capture_output=True, text=True)
        found = re.search(r"(\d+) received", done.stdout)
        assert found, done.stdout + done.stderr
        return int(found[1])


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    peers.require("ping")
    with namespace("a") as a, namespace("b") as b, ExitStack() as stack:
        yield Wire(a, b, tmp_path, stack)


def test_the_first_packet_sets_the_tunnel_up_and_both_sides_ping(wire: Wire) -> None:
    a, b = wire.up()
    for size in ("64", "1372", "1400", "8000"):
        assert wire.ping(wire.a, "10.2.0.1", "-s", size) == 5
        assert wire.ping(wire.b, "10.1.0.1", "-s", size) == 5
    (row,) = a.status()["connections"]
    (child,) = row["children"]
    assert child["packets_in"] == child["packets_out"] > 40
    assert a.status()["drops"] == {}
    b.interrupt()
    assert b.end() == 0


def test_routes_and_rules_are_gone_when_the_peer_is(wire: Wire) -> None:
    before = routing(wire.a)
    a, _ = wire.up()
    assert "dev tun0" in routing(wire.a)
    a.interrupt()
    assert a.end() == 0
    assert routing(wire.a) == before


def test_a_tunnel_for_everything_does_not_swallow_its_own_packets(wire: Wire) -> None:
    wire.up(local_ts="10.1.0.1/32", remote_ts="0.0.0.0/0")
    run_ip("address", "add", "203.0.113.9/32", "dev", "lo", netns=wire.b)
    assert wire.ping(wire.a, "203.0.113.9") == 5
    assert "203.0.113.9 dev tun0" in run_ip("route", "get", "203.0.113.9", netns=wire.a)


def test_the_sas_follow_a_new_address_with_their_spis(wire: Wire) -> None:
    a, b = wire.up()
    assert wire.ping(wire.a, "10.2.0.1") == 5
    spi = a.wait_for("child up")["spi_in"]
    run_ip("address", "del", "192.0.2.1/24", "dev", "wire", netns=wire.a)
    run_ip("address", "add", "192.0.2.7/24", "dev", "wire", netns=wire.a)
    for peer, end in ((a, "local"), (b, "remote")):
        assert str(peer.wait_for("path changed")[end]).startswith("192.0.2.7[")
    assert wire.ping(wire.a, "10.2.0.1") == 5
    (row,) = a.status()["connections"]
    assert [(child["spi_in"], child["packets_in"]) for child in row["children"]] == [(spi, 10)]


def test_a_responder_that_loses_its_way_out_waits_for_it(wire: Wire) -> None:
    """Neither its LAN, which the tunnel protects, nor a spare interface leads to the peer (RFC 4555 3.5)."""
    for name, address in (("lan", "10.2.0.1/24"), ("spare", "172.16.0.1/24")):
        run_ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-far", netns=wire.b)
        run_ip("address", "add", address, "dev", name, netns=wire.b)
        run_ip("link", "set", f"{name}-far", "up", netns=wire.b)
        run_ip("link", "set", name, "up", netns=wire.b)
    _, b = wire.up()
    run_ip("route", "add", "192.0.2.1", "dev", "wire", netns=wire.b)
    assert wire.ping(wire.a, "10.2.0.1") == 5
    run_ip("address", "del", "192.0.2.2/24", "dev", "wire", netns=wire.b)
    assert "192.0.2.2[500]" not in b.wait_for("listening")["sockets"]
    run_ip("address", "add", "192.0.2.2/24", "dev", "wire", netns=wire.b)
    assert "192.0.2.2[500]" in b.wait_for("listening")["sockets"]
    assert wire.ping(wire.a, "10.2.0.1") == 5
    b.status()
    assert not [event for event in b.events if event["event"] == "path changed"]


def test_an_inner_packet_too_big_for_the_path_gets_an_answer_that_says_what_fits(wire: Wire) -> None:
    wire.up()
    assert wire.ping(wire.a, "10.2.0.1") == 5
    for netns in (wire.a, wire.b):
        run_ip("link", "set", "wire", "mtu", "1300", netns=netns)
    assert wire.ping(wire.a, "10.2.0.1", "-s", "1372", "-M", "do") == 0
    learned = run_ip("route", "get", "10.2.0.1", netns=wire.a)
    mtu = re.search(r"mtu (\d+)", learned)
    assert mtu, learned
    assert 1200 < int(mtu[1]) < 1300
    assert wire.ping(wire.a, "10.2.0.1", "-s", str(int(mtu[1]) - 28), "-M", "do") == 5


def test_a_peer_whose_device_is_removed_deletes_its_sas_and_names_the_device(wire: Wire) -> None:
    a, b = wire.up()
    assert wire.ping(wire.a, "10.2.0.1") == 5
    run_ip("link", "del", "tun0", netns=wire.a)
    assert a.end() == 2
    assert a.errors == "the TUN device tun0 was removed while it was in use\n"
    assert b.wait_for("ike down")["reason"] == "DELETED_BY_PEER"
    assert "fwmark" not in routing(wire.a)


def routing(netns: str) -> str:
    """Rules of both IP versions and IPv4's routes; those of IPv6 come and go with link-local addresses.

    Whether a link has its carrier yet is left out: that may take until after the first question.
    """
    questions = (("-4", "rule"), ("-6", "rule"), ("-4", "route", "show", "table", "all"))
    return "".join(run_ip(*words, netns=netns) for words in questions).replace(" linkdown", "")
