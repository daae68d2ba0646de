"""Ping as the judge of a tunnel: what was sent, what came back and how long nothing did."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from itertools import pairwise

from tests.interop.netns import Namespace, Process

_HEADERS = 28  # IPv4 and ICMP
_REPLY = re.compile(r"^\[[\d.]+\] \d+ bytes from .*?icmp_seq=(\d+) .*?time=([\d.]+) ms", re.MULTILINE)
_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received(?:, \+(\d+) (?:duplicates|errors))?")


@dataclass(frozen=True)
class Pings:
    """`seqs` are those of the replies, in the order in which they came."""

    sent: int
    received: int
    seqs: tuple[int, ...] = ()

    @property
    def longest_gap(self) -> int:
        """The most pings in a row without a reply, between two that had one."""
        seqs = sorted(set(self.seqs))
        return max((after - before - 1 for before, after in pairwise(seqs)), default=0)


def ping(source: Namespace, target: str, *, size: int = 84, count: int = 1, wait: int = 10) -> Pings:
    """Send `count` pings of `size` octets (the IP packet), unfragmented, each when the last was answered."""
    words = (
        "ping",
        "-n",
        "-q",
        "-f",
        "-M",
        "do",
        "-s",
        str(size - _HEADERS),
        "-c",
        str(count),
        "-W",
        str(wait),
    )
    return _read(source.run(*words, target, check=False))


def start_pinging(source: Namespace, target: str, *, size: int = 84, interval: float = 0.05) -> Process:
    """Ping until `stop_pinging`."""
    words = ("ping", "-n", "-D", "-s", str(size - _HEADERS), "-i", str(interval))
    return source.start(*words, target, label=f"ping-{target}")


def replies(pinging: Process) -> list[int]:
    """The sequence numbers of the replies until now."""
    return [int(found[1]) for found in _REPLY.finditer(pinging.output())]


def stop_pinging(pinging: Process) -> Pings:
    pinging.stop(signal.SIGINT)
    return _read(pinging.output())


def _read(text: str) -> Pings:
    summary = _SUMMARY.search(text)
    assert summary, text
    seqs = tuple(int(found[1]) for found in _REPLY.finditer(text))
    return Pings(int(summary[1]), int(summary[2]), seqs)
