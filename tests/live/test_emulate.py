"""Real hosts over a simulated network: packets cross it in real time, and the devices follow the events."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sim.live.emulate import _stopped_by_signals
from sim.live.netns import run_ip
from tests.live import namespaces
from tests.live.emulation import COMMAND, emulation
from tests.peers import require
from tests.scenario.base import changed

pytestmark = pytest.mark.peers

NAMES = [f"emu-{os.getpid()}-{which}" for which in "ab"]
PAIR = """\
name: pair
duration: 30 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  r: {kind: router, interfaces: {a: 192.0.2.254/24, b: 198.51.100.254/24}}
  b: {kind: host, interfaces: {eth: 198.51.100.1/24}}
links:
  - {ends: [a:eth, r:a], delay: 20 ms, mtu: 1300 B}
  - {ends: [r:b, b:eth], delay: 5 ms}
traffic:
  - {name: echo, kind: ping, from: b, to: a, interval: 100 ms}
  - {name: stream, kind: cbr, from: a, to: b, size: 500 B, rate: 1 Mbit/s}
checks:
  - {flow: echo, min_received: 5}
  - {flow: stream, max_loss: 0 %}
"""


def test_two_real_hosts_ping_each_other_with_the_delay_of_the_links(tmp_path: Path) -> None:
    with emulation(written(tmp_path, PAIR), f"a=t@{NAMES[0]}", f"b=t@{NAMES[1]}") as run:
        assert "mtu 1300" in run_ip("link", "show", "t", netns=NAMES[0])
        text = ping(NAMES[0], "198.51.100.1", "-c", "20", "-i", "0.05")
    assert "20 received" in text
    assert 50 <= float(re.findall(r"min/avg/max/mdev = ([\d.]+)", text)[0]) < 60
    realtime = run.summary["realtime"]
    assert realtime["stopped"] is True
    assert [row["to_host"]["count"] for row in realtime["attached"]] == [20, 20]
    assert [row["from_host"]["count"] for row in realtime["attached"]] == [20, 20]
    assert realtime["left_out"] == ["flow echo", "flow stream", "check: flow echo", "check: flow stream"]
    assert not any((Path("/run/netns") / name).exists() for name in NAMES)


def test_signals_end_the_run_and_afterwards_do_what_they_did_before() -> None:
    """While the files are written, SIGTERM must not kill on the spot."""
    came: list[str] = []

    async def main() -> None:
        stopped = asyncio.Event()
        with _stopped_by_signals(asyncio.get_running_loop(), stopped.set):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(stopped.wait(), 60)
        assert came == []
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: came.append("before"))
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == ["before"]


def test_a_real_host_answers_the_pings_of_a_simulated_one(tmp_path: Path) -> None:
    with emulation(written(tmp_path, PAIR), f"a=t@{NAMES[0]}") as run:
        time.sleep(1.5)
    assert run.status == 0, "flow echo has its 5 answers, and stream is not asked for"
    assert [check["name"] for check in run.summary["checks"]] == ["flow echo"]
    (echo,) = run.summary["flows"]
    assert echo["received"] >= 5
    assert 50 <= echo["latency_ms"]["min"] < 60


def test_addresses_and_routes_follow_a_move(tmp_path: Path) -> None:
    """The namespace was there before, so it stays."""
    with namespaces.namespace("move") as name, emulation(
        written(tmp_path, changed(("duration: 3 s", "duration: 60 s"))),
        f"alice:wlan=w@{name}", f"alice:lte=l@{name}",
    ) as run:  # fmt: skip
        assert "default dev w" in run_ip("route", netns=name)
        assert "203.0.113.77" not in run_ip("address", netns=name)
        deadline = time.monotonic() + 20
        while "default dev l" not in run_ip("route", netns=name):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        deadline = time.monotonic() + 5
        while "192.168.1.10" in run_ip("address", netns=name):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "2 received" in ping(name, "198.51.100.1", "-c", "2")
    assert run.summary["realtime"]["left_out"][0] == "connection rw at alice"


def test_a_gateway_forwards_for_the_network_behind_it(tmp_path: Path) -> None:
    text = PAIR.replace("kind: router", "kind: gateway")
    with emulation(written(tmp_path, text), f"r:a=x@{NAMES[0]}", f"r:b=y@{NAMES[0]}") as run:
        time.sleep(1.5)
    (echo,) = run.summary["flows"]
    assert echo["received"] > 5
    assert "flow stream" in run.summary["realtime"]["left_out"]


def test_a_name_that_is_taken_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with namespaces.namespace("taken") as name:
        run_ip("link", "add", "name", "t", "type", "veth", netns=name)
        (tmp_path / "lab.yaml").write_text(PAIR)
        attach = ("--attach", f"b=t@{NAMES[1]}", "--attach", f"a=t@{name}")
        done = subprocess.run(
            [*COMMAND, str(tmp_path / "lab.yaml"), *attach], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "choose another name" in done.stderr
        assert not (Path("/run/netns") / NAMES[1]).exists()


def test_an_unknown_node_is_one_sentence() -> None:
    done = subprocess.run(
        [*COMMAND, "topologies/two-hosts.yaml", "--attach", "venus=t@x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "--attach venus=t@x: there is no node venus; known: sun, moon\n",
    )


def ping(netns: str, *words: str) -> str:
    command = ["ip", "netns", "exec", netns, require("ping"), "-n", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def written(folder: Path, text: str) -> Path:
    path = folder / "lab.yaml"
    path.write_text(text)
    return path
