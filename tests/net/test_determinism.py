"""Equal seeds give equal runs, whatever the hash seed of the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from sim.net.jitter import Exponential
from sim.net.link import LinkParams, QueueLimit, connect
from sim.net.nat import NAT_PRESETS
from sim.net.packet import Packet
from sim.net.port import Port
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import icmp
from tests.net.scene import ALICE, BERT, SERVER, Home, plug

ROOT = Path(__file__).parents[2]
BAD = LinkParams(
    rate_bps=2_000_000,
    delay_ns=NS_PER_MS,
    jitter=Exponential(3 * NS_PER_MS),
    reorder=True,
    loss=0.1,
    queue=QueueLimit(packets=5),
)


def test_a_seed_names_a_run() -> None:
    assert digest(1) == digest(1) != digest(2)


def test_the_hash_seed_of_the_interpreter_changes_nothing() -> None:
    program = "from tests.net.test_determinism import digest; print(digest(3))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "12345")
    }
    assert seen == {digest(3)}


def test_another_node_shifts_nobody_elses_randomness() -> None:
    assert digest(1, extra=True) == digest(1)


def digest(seed: int, extra: bool = False) -> str:
    """What every tap of a NATed, lossy, jittery scene saw, with its times."""
    home = Home(replace(NAT_PRESETS["cgn"], udp_timeout=NS_PER_S), seed=seed)
    if extra:
        a, b = home.core.add_port("extra"), plug(home.other, "extra", "172.31.0.1/24")
        connect(home.sim, a, b, BAD)
    for node in (home.alice, home.bert, home.nat, home.core, home.server):
        for port in tuple(node.ports.values()):
            if port.link is not None and port.name != "extra":
                port.link.configure(**{name: getattr(BAD, name) for name in BAD.__slots__})
    seen = sha256()

    def tap(port: Port, data: bytearray, at: int, outbound: bool) -> None:
        seen.update(f"{port!r} {at} {outbound} ".encode() + data)

    for node in (home.alice, home.bert, home.nat, home.core, home.server):
        for port in node.ports.values():
            port.tap = tap
    for at in range(0, 3 * NS_PER_S, 7 * NS_PER_MS):
        home.sim.at(at, lambda now: traffic(home, now))
    home.sim.at(2 * NS_PER_S, lambda now: home.nat.nat.rebind(now))
    home.sim.run(5 * NS_PER_S)
    return seen.hexdigest()


def traffic(home: Home, now: int) -> None:
    home.alice.send_udp(bytes(now % 900), (ALICE, 500 + now % 3), (SERVER, 4500), now)
    home.bert.send_udp(bytes(now % 2000), (BERT, 500 + now % 3), (SERVER, 4500), now)
    home.alice.send(Packet(icmp.echo_request(ALICE, SERVER, 5, now % 65536), now), now)
