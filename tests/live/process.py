"""`ipsec-sim peer` as a user runs it: processes on loopback, free ports, addresses of their own."""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0
"""How long an event may take on a machine that is busy with other tests."""
SECRET = "a secret that nobody may read"

Event = dict[str, Any]
_numbers = itertools.count(2)


def free_ports(*addresses: str) -> tuple[int, int]:
    """Two UDP ports that are free at all these addresses."""
    found: list[int] = []
    while len(found) < 2:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((addresses[0], 0))
            port = probe.getsockname()[1]
        if port not in found and all(_free(address, port) for address in addresses[1:]):
            found.append(port)
    return found[0], found[1]


def own_address() -> str:
    """A loopback address that no other test uses, also not of another worker."""
    number = next(_numbers)
    return f"127.{1 + os.getpid() % 250}.{1 + number // 250}.{1 + number % 250}"


def _free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


class Peer:
    """One running peer; `events` collects what it has said so far."""

    def __init__(self, *words: str, netns: str = "") -> None:
        where = ["ip", "netns", "exec", netns] if netns else []
        command = [*where, sys.executable, "-m", "sim.cli", "peer", "--json", *words]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        self.events: list[Event] = []
        self.errors = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._readers = [threading.Thread(target=read) for read in (self._read_events, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def wait_for(self, name: str, **values: object) -> Event:
        """The next event of that name with these values."""
        while True:
            line = self._lines.get(timeout=PATIENCE_S)
            assert line is not None, f"ended without {name!r}: {self.events} {self.errors}"
            event: Event = json.loads(line)
            self.events.append(event)
            if event["event"] == name and values.items() <= event.items():
                return event

    def listens(self) -> bool:
        """Whether the next event is there; it must be that it listens."""
        assert self.process.poll() is None, self.errors
        if self._lines.empty():
            return False
        self.wait_for("listening")
        return True

    def status(self) -> Event:
        self.process.send_signal(signal.SIGUSR1)
        return self.wait_for("status")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """The exit status, once it has ended; the rest of its events are in `events`."""
        status = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join()
        while (line := self._lines.get()) is not None:
            self.events.append(json.loads(line))
        return status

    def kill(self) -> None:
        """As a power failure would."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def memory_kib(self) -> int:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line


class Site:
    """Two ends on loopback that know each other: `a` calls, `b` answers whoever knows the secret.

    `netns` is the network namespace whose loopback that is, "" for ours.
    """

    def __init__(
        self, folder: Path, *, secret_of_a: str = SECRET, settings: str = "", netns: str = ""
    ) -> None:
        self.netns = netns
        self.a, self.b = own_address(), own_address()
        self.ports = free_ports(self.a, self.b)
        self.words = ("--port", str(self.ports[0]), "--natt-port", str(self.ports[1]))
        self.file_a, self.file_b = folder / "a.yaml", folder / "b.yaml"
        child = "local_ts: [10.{}.0.0/16], remote_ts: [10.{}.0.0/16], start_action: {}"
        self.file_a.write_text(
            f"connections:\n  ab:\n    local_addrs: [{self.a}]\n    remote_addrs: [{self.b}]\n"
            f"    local_id: a\n    remote_id: b\n    psk: {secret_of_a}\n{settings}"
            f"    children:\n      net: {{{child.format(1, 2, 'trap')}}}\n"
        )
        self.file_b.write_text(
            f"connections:\n  ab:\n    local_addrs: [{self.b}]\n    local_id: b\n    psk: {SECRET}\n"
            f"{settings}    children:\n      net: {{{child.format(2, 1, 'none')}}}\n"
        )
        self._running: list[Peer] = []

    def start(self, file: Path, *words: str) -> Peer:
        """A peer that listens already."""
        peer = self.start_only(str(file), *self.words, *words)
        peer.wait_for("listening")
        return peer

    def start_only(self, *words: str) -> Peer:
        peer = Peer(*words, netns=self.netns)
        self._running.append(peer)
        return peer

    def stop(self) -> None:
        for peer in self._running:
            peer.kill()


@contextmanager
def site(folder: Path, *, secret_of_a: str = SECRET, settings: str = "", netns: str = "") -> Iterator[Site]:
    """A site whose processes are gone afterwards."""
    made = Site(folder, secret_of_a=secret_of_a, settings=settings, netns=netns)
    try:
        yield made
    finally:
        made.stop()
