"""The laboratory itself: two real strongSwans talk to each other in it, and it leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.connection import Connection
from tests.interop.nat import forget, lose, masquerade
from tests.interop.netns import Lab, until
from tests.interop.ping import ping, replies, start_pinging, stop_pinging
from tests.interop.strongswan import StrongSwan

pytestmark = pytest.mark.peers

LEFT = Connection("10.9.0.1", "10.9.0.2", "10.1.0.0/24", "10.2.0.0/24")


def test_two_strongswans_ping_through_their_tunnel(lab: Lab) -> None:
    left, right = lab.namespace("left"), lab.namespace("right")
    lab.link(left, "10.9.0.1/24", right, "10.9.0.2/24")
    left.inner_address("10.1.0.1/32")
    right.inner_address("10.2.0.1/32")
    one, other = StrongSwan(left), StrongSwan(right)
    one.load(LEFT.swanctl())
    other.load(LEFT.mirrored().swanctl())

    said = one.initiate("net")

    assert "initiate completed successfully" in said, said
    assert ping(left, "10.2.0.1", size=1400, count=50).received == 50
    assert one.sa().child.spi_in == other.sa().child.spi_out
    assert one.sa().child.packets_out == other.sa().child.packets_in == 50
    one.terminate(ike="home")
    other.idle()


def test_a_real_nat_gives_a_new_port_after_it_has_forgotten(lab: Lab) -> None:
    inside, router, outside = lab.namespace("inside"), lab.namespace("router"), lab.namespace("outside")
    lab.link(inside, "192.168.1.2/24", router, "192.168.1.1/24")
    wan, _ = lab.link(router, "203.0.113.1/24", outside, "203.0.113.2/24")
    inside.ip("route", "add", "default", "via", "192.168.1.1")
    masquerade(router, wan, random_ports=True)
    seen = outside.start(sys.executable, "-c", _LISTEN, label="listen")
    seen.expect("ready")

    inside.run(sys.executable, "-c", _SEND)
    forget(router)
    inside.run(sys.executable, "-c", _SEND)

    seen.expect(r"(?s)(203\.0\.113\.1 \d+\n).*(203\.0\.113\.1 \d+\n)")
    assert len(set(seen.output().splitlines())) == 3


def test_a_lossy_router_drops_about_its_share(lab: Lab) -> None:
    left, router, right = lab.namespace("left"), lab.namespace("router"), lab.namespace("right")
    lab.link(left, "10.9.1.2/24", router, "10.9.1.1/24")
    lab.link(router, "10.9.2.1/24", right, "10.9.2.2/24")
    left.ip("route", "add", "default", "via", "10.9.1.1")
    right.ip("route", "add", "default", "via", "10.9.2.1")
    lose(router, 20)

    pinging = start_pinging(left, "10.9.2.2", interval=0.002)
    until(lambda: len(replies(pinging)) >= 300, pinging.output)
    result = stop_pinging(pinging)

    assert 0.5 < result.received / result.sent < 0.8  # 64 %, as both ways are lossy; sigma is 2 %


def test_the_lab_ends_its_programs_and_removes_its_namespaces() -> None:
    lab = Lab()
    namespace = lab.namespace("gone")
    sleeper = namespace.start("sleep", "1000", label="sleep")
    daemon = StrongSwan(namespace)

    lab.close()

    assert not sleeper.alive
    assert not daemon.process.alive
    assert not Path("/run/netns", namespace.name).exists()
    assert not lab.folder.exists()


def test_the_lab_removes_its_namespaces_when_an_end_fails() -> None:
    lab = Lab()
    namespace = lab.namespace("gone")

    def fail() -> None:
        raise RuntimeError("it does not end")

    lab.on_close(fail)
    with pytest.raises(RuntimeError):
        lab.close()

    assert not Path("/run/netns", namespace.name).exists()
    assert not lab.folder.exists()


def test_a_killed_run_is_swept_away_by_the_next_one() -> None:
    """Its programs die with it, and its namespaces go when the next lab is made."""
    script = (
        "import os, signal; from tests.interop.netns import Lab; lab = Lab(); n = lab.namespace('left');"
        "print(n.name, n.start('sleep', '1000', label='sleep').pid, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    name, pid = done.stdout.split()
    assert Path("/run/netns", name).exists()

    Lab().close()

    assert not Path("/run/netns", name).exists()
    until(lambda: not runs(int(pid)), lambda: f"process {pid} outlives its test")


def runs(pid: int) -> bool:
    """Whether there is such a process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


_LISTEN = """
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(("203.0.113.2", 4500))
print("ready", flush=True)
while True:
    print(*s.recvfrom(100)[1], flush=True)
"""
_SEND = """
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(("192.168.1.2", 4500))
s.sendto(b"x", ("203.0.113.2", 4500))
"""
