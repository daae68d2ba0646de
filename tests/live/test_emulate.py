"""Real hosts over a simulated network: packets cross it in real time, and the devices follow the events."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sim.live.emulate import _stopped_by_signals
from sim.live.netns import run_ip
from tests.interop.netns import until
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

BUSY = """\
name: busy
duration: 60 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  r: {kind: router, interfaces: {a: 192.0.2.254/24, x: 10.0.0.254/24, y: 10.0.1.254/24}}
  x: {kind: host, interfaces: {eth: 10.0.0.1/24}}
  y: {kind: host, interfaces: {eth: 10.0.1.1/24}}
links:
  - {ends: [a:eth, r:a]}
  - {ends: [r:x, x:eth]}
  - {ends: [r:y, y:eth]}
traffic:
  - {name: flood, kind: cbr, from: x, to: y, size: 100 B, rate: 300 Mbit/s}
"""


def test_an_emulation_ends_with_the_test_that_was_killed(tmp_path: Path) -> None:
    """It ends politely, so its namespace is gone as well."""
    name = f"emu-{os.getpid()}-orphan"
    script = (
        "import os, signal; from pathlib import Path; from tests.live.emulation import emulation\n"
        f"with emulation(Path({str(written(tmp_path, PAIR))!r}), 'a=t@{name}'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL

    until(lambda: not Path("/run/netns", name).exists(), lambda: f"{name} is still there")


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


def test_an_interrupt_ends_with_the_whole_report_and_takes_away_what_was_made(tmp_path: Path) -> None:
    """The namespace that was there before stays, without our device."""
    folder = tmp_path / "out"
    with namespaces.namespace("kept") as kept:
        words = ("--attach", f"a=t@{NAMES[0]}", "--attach", f"b=t@{kept}", "--out", str(folder))
        with started(written(tmp_path, PAIR), *words) as process:
            wait_until_running(process)
            assert "4 received" in ping(NAMES[0], "198.51.100.1", "-c", "4", "-i", "0.05")
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Real time" in out
        assert not Path("/run/netns", NAMES[0]).exists()
        assert " t:" not in run_ip("link", "show", netns=kept)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["realtime"]["stopped"] is True
    assert [row["from_host"]["count"] for row in summary["realtime"]["attached"]] == [4, 4]
    assert (folder / "capture.pcapng").stat().st_size > 1000


def test_an_interrupt_with_a_check_that_fails_has_its_exit_status(tmp_path: Path) -> None:
    text = PAIR.replace("min_received: 5", "min_received: 5000")
    with emulation(written(tmp_path, text), f"a=t@{NAMES[0]}") as run:
        pass
    assert (run.status, run.summary["realtime"]["stopped"]) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_during_the_start_leaves_no_namespace(tmp_path: Path, number: signal.Signals) -> None:
    words = ("--attach", f"a=t@{NAMES[0]}", "--attach", f"b=t@{NAMES[1]}")
    with started(written(tmp_path, PAIR), *words) as process:
        deadline = time.monotonic() + 20
        while not Path("/run/netns", NAMES[0]).exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, 1), errors  # 1 where it was running already, and the check failed
    assert "Traceback" not in errors
    assert not any(Path("/run/netns", name).exists() for name in NAMES)


def test_more_than_real_time_allows_is_told_and_can_still_be_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with started(written(tmp_path, BUSY), "--attach", f"a=t@{NAMES[0]}", "--out", str(folder)) as process:
        wait_until_running(process)
        time.sleep(2)
        assert "3 received" in ping(NAMES[0], "192.0.2.254", "-c", "3", "-i", "0.05", "-W", "20")
        process.send_signal(signal.SIGINT)
        asked_at = time.monotonic()
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    realtime = json.loads((folder / "summary.json").read_text())["realtime"]
    print(f"\nbehind {realtime['behind_s']} s, ended after {time.monotonic() - asked_at:.1f} s")
    assert realtime["behind_s"] > 0.5
    assert realtime["events"]["over_10_ms"] > 1000
    assert realtime["events"]["max_s"] > 0.5
    (a,) = realtime["attached"]
    assert (a["to_host"]["count"], a["to_host"]["over_10_ms"]) == (3, 3)
    assert "real time was not kept" in out


def test_a_device_that_vanishes_is_named_after_the_report_so_far(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    words = ("--attach", f"a=t@{NAMES[0]}", "--json", "--out", str(folder))
    with started(written(tmp_path, PAIR), *words) as process:
        wait_until_running(process)
        time.sleep(0.5)
        run_ip("link", "del", "dev", "t", netns=NAMES[0])
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    sentence = (
        f"the TUN device t in namespace {NAMES[0]} was removed while it was in use: the run ended after "
    )
    assert errors.startswith(sentence)
    assert errors.count("\n") == 1
    summary = json.loads(out)
    assert summary == json.loads((folder / "summary.json").read_text())
    assert summary["realtime"]["lost"] + "\n" == errors
    assert summary["flows"][0]["received"] >= 2
    assert summary["realtime"]["attached"][0]["not_read"] is None
    assert not Path("/run/netns", NAMES[0]).exists()


def test_a_namespace_that_somebody_removed_is_no_error_in_the_end(tmp_path: Path) -> None:
    with started(written(tmp_path, PAIR), "--attach", f"a=t@{NAMES[0]}", "--json") as process:
        wait_until_running(process)
        time.sleep(0.7)
        run_ip("netns", "delete", NAMES[0])
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, ""), errors
    assert json.loads(out)["flows"][0]["received"] >= 5


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


@contextmanager
def started(topology: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """An emulation that may still be starting, and is gone afterwards."""
    require("ip")
    with subprocess.Popen(
        [*COMMAND, str(topology), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=60)


def wait_until_running(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    said = ""
    while "running for" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line


def ping(netns: str, *words: str) -> str:
    command = ["ip", "netns", "exec", netns, require("ping"), "-n", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def written(folder: Path, text: str) -> Path:
    path = folder / "lab.yaml"
    path.write_text(text)
    return path
