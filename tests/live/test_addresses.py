"""What the kernel says about this host's ways out."""

from __future__ import annotations

import subprocess
import sys

from tests.live.namespaces import namespace, require

ASK = """
from sim.live.addresses import way_out
from sim.wire.address import pack_address as p
print([way_out(p(a), p(b)) for a, b in [
    ("192.0.2.1", "198.51.100.1"), ("10.1.0.1", "10.1.7.7"), ("192.0.2.1", "10.1.0.1"),
    ("192.0.2.1", "203.0.113.1"), ("192.0.2.2", "198.51.100.1"),
    ("fd00::1", "fd00::2"), ("fd00::1", "fd01::2"),
]])
"""


def test_the_way_out_is_the_interface_that_the_kernel_routes_by() -> None:
    """A gateway with two networks and one route; "" is to itself, None no route or no address of ours."""
    ip = require()
    with namespace("gateway") as name:
        for words in (
            "link add wan type veth peer wan-far", "link add lan type veth peer lan-far",
            "address add 192.0.2.1/24 dev wan", "address add 10.1.0.1/16 dev lan",
            "address add fd00::1/64 dev lan nodad", "link set wan up", "link set lan up",
            "link set wan-far up", "link set lan-far up",
            "route add 198.51.100.0/24 via 192.0.2.254",
        ):  # fmt: skip
            subprocess.run([ip, "-n", name, *words.split()], check=True)
        command = [ip, "netns", "exec", name, sys.executable, "-c", ASK]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.strip() == "['wan', 'lan', '', None, None, 'lan', None]"
