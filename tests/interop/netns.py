"""Network namespaces with veth links between them, and the programs that run inside; gone after the test.

A `Lab` owns everything that one test makes in the kernel. Names hold the process id and a number, so that
several labs stand side by side. What a killed run left behind is swept away by the next one.
"""

from __future__ import annotations

import atexit
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_interface
from pathlib import Path
from typing import TypeVar

import pytest

from tests.peers import require, require_root

PATIENCE = 60.0
"""Seconds to wait for what must come: a busy machine is slow, and only a failure waits as long as this."""

T = TypeVar("T")

_PREFIX = "simlab"
_numbers = itertools.count()


class Lab:
    """The namespaces, links and processes of one test, and a short folder for sockets and logs."""

    def __init__(self) -> None:
        require_root()
        for program in ("ip", "setpriv", "ping"):
            require(program)
        sweep(_PREFIX)
        self.folder = Path(tempfile.mkdtemp(prefix="lab"))  # a path of a Unix socket has at most 107 octets
        self._namespaces: list[Namespace] = []
        self._closing: list[Callable[[], None]] = []
        atexit.register(self.close)

    def namespace(self, label: str) -> Namespace:
        """A new namespace with its loopback up."""
        name = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}-{label}"
        namespace = Namespace(name, label, self.folder / label)
        self._namespaces.append(namespace)
        namespace.folder.mkdir()
        _ip("netns", "add", name)
        namespace.ip("link", "set", "lo", "up")
        return namespace

    def link(self, one: Namespace, one_cidr: str, other: Namespace, other_cidr: str) -> tuple[str, str]:
        """Join two namespaces by a veth pair with these addresses; the names of its two ends."""
        ends = one.free_interface(), other.free_interface()
        peer = ("peer", "name", ends[1], "netns", other.name)
        _ip("link", "add", "name", ends[0], "netns", one.name, "type", "veth", *peer)
        for namespace, end, cidr in zip((one, other), ends, (one_cidr, other_cidr), strict=True):
            # Nobody else can have an IPv6 address here, and to find that out takes seconds (RFC 4862 5.4).
            unique = ("nodad",) if ":" in cidr else ()
            namespace.ip("address", "add", cidr, "dev", end, *unique)
            namespace.ip("link", "set", end, "up")
        return ends

    def on_close(self, call: Callable[[], None]) -> None:
        """Have this called before the namespaces go."""
        self._closing.append(call)

    def close(self) -> None:
        """End every process, delete every namespace and the folder; harmless when done twice."""
        atexit.unregister(self.close)
        with ExitStack() as stack:  # each step is done, also when one before it fails
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for namespace in self._namespaces:
                stack.callback(namespace.close)
            for call in self._closing:
                stack.callback(call)
            self._namespaces, self._closing = [], []


@dataclass
class Namespace:
    name: str
    label: str
    folder: Path
    """Logs and sockets of what runs here."""
    processes: list[Process] = field(default_factory=list)
    _interfaces: int = 0

    def free_interface(self) -> str:
        self._interfaces += 1
        return f"eth{self._interfaces - 1}"

    def ip(self, *words: str) -> str:
        return _ip("-n", self.name, *words)

    def run(self, *command: str, stdin: str = "", check: bool = True) -> str:
        """What a command printed; its complaint becomes the test's when it fails."""
        return _run(["ip", "netns", "exec", self.name, *command], stdin=stdin, check=check)

    def start(self, *command: str, label: str, env: Mapping[str, str] | None = None) -> Process:
        """Start a program here; it dies with the test's process at the latest."""
        log = self.folder / f"{label}.out"
        words = ["ip", "netns", "exec", self.name, "setpriv", "--pdeathsig", "KILL", *command]
        with log.open("w") as output:
            popen = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # Ctrl-C is for the test, which then ends its programs
            )
        process = Process(label, popen, log)
        self.processes.append(process)
        return process

    def inner_address(self, cidr: str) -> None:
        """An address that only a tunnel leads to."""
        self.ip("address", "add", cidr, "dev", "lo")

    def forward(self) -> None:
        self.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")

    def move(self, interface: str, cidr: str, gateway: str) -> None:
        """Give an interface another address instead of its own, with the default route over it.

        To delete an interface's primary address deletes its secondary ones and the routes over them as well.
        """
        self.ip("address", "flush", "dev", interface)
        self.ip("address", "add", cidr, "dev", interface)
        self.ip("route", "replace", "default", "via", gateway)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
        _end_the_rest(self.name)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)


@dataclass(frozen=True)
class Process:
    label: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def expect(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Wait until the output matches; the first match."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.output())
            if found is None and not self.alive and re.search(pattern, self.output()) is None:
                pytest.fail(f"{self.label} ended with {self.popen.returncode}:\n{self.output()}")
            return found

        return until(look, lambda: f"{self.label} did not say {pattern!r}:\n{self.output()}", patience)

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait for that; its exit status (or minus the signal that ended it)."""
        if self.alive:
            self.send(number)
        try:
            return self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.label} does not end on {number.name}:\n{self.output()}")

    def kill(self) -> None:
        if self.alive:
            self.popen.kill()
        self.popen.wait()

    def resident_kib(self) -> int:
        """Memory that it occupies, in KiB (VmRSS)."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0])


def until(look: Callable[[], T | None], complaint: Callable[[], str], patience: float = PATIENCE) -> T:
    """The first true value of `look`, asked again and again; the test fails with `complaint` at last."""
    give_up_at = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > give_up_at:
            pytest.fail(complaint())
        time.sleep(0.02)


def sweep(prefix: str) -> None:
    """Delete the namespaces named prefix-PID-... whose process is gone, and end what still runs there."""
    for path in Path("/run/netns").glob(f"{prefix}-*"):
        if not Path("/proc", path.name.split("-")[1]).exists():
            _end_the_rest(path.name)
            subprocess.run(["ip", "netns", "delete", path.name], capture_output=True, check=False)


def host(cidr: str) -> str:
    """The address of "10.0.0.1/24"."""
    return str(ip_interface(cidr).ip)


def _ip(*words: str) -> str:
    return _run(["ip", *words])


def _run(command: list[str], *, stdin: str = "", check: bool = True) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _end_the_rest(namespace: str) -> None:
    """What the programs started themselves and what outlived them; all in a namespace that we made."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    for pid in listed.stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
