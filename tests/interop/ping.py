"""Ping as the judge of a tunnel: what was sent, what came back and how long nothing did."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import struct
import time
from dataclasses import dataclass
from itertools import pairwise

from sim.live.netns import inside
from tests.interop.netns import Namespace, Process

_HEADERS = 28  # IPv4 and ICMP
_IN_FLIGHT = 4
_ICMP = struct.Struct(">BBHHH")
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_IP_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 3
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


def ping(source: Namespace, target: str, *, size: int = 84, count: int = 1, wait: float = 20.0) -> Pings:
    """Send `count` pings of `size` octets (the IP packet), unfragmented, a few in flight.

    Unlike the program `ping`, which ends two round trips after its last request, this waits for late replies:
    until nothing has come for `wait` seconds.
    """
    with inside(source.name, _open) as sock:
        return _exchange(sock, target, bytes(size - _HEADERS), count, wait)


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


def _open() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    return sock


def _exchange(sock: socket.socket, target: str, payload: bytes, count: int, wait: float) -> Pings:
    sock.connect((target, 0))
    mine = int.from_bytes(os.urandom(2), "big")
    missing: set[int] = set()
    sent = 0
    heard_at = time.monotonic()
    while (sent < count or missing) and time.monotonic() - heard_at < wait:
        if sent < count and len(missing) < _IN_FLIGHT:
            sock.send(_request(mine, sent & 0xFFFF, payload))
            missing.add(sent & 0xFFFF)
            sent += 1
            continue
        if select.select([sock], [], [], 0.01)[0]:
            packet = sock.recv(65535)
            kind, _, _, who, seq = _ICMP.unpack_from(packet, 20)
            if (kind, who) == (_ECHO_REPLY, mine) and packet[28:] == payload and seq in missing:
                missing.remove(seq)
                heard_at = time.monotonic()
    return Pings(sent, sent - len(missing))


def _request(identifier: int, seq: int, payload: bytes) -> bytes:
    head = _ICMP.pack(_ECHO_REQUEST, 0, 0, identifier, seq)
    octets = head + payload + bytes(len(payload) % 2)
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets)) % 0xFFFF
    return _ICMP.pack(_ECHO_REQUEST, 0, 0xFFFF - total, identifier, seq) + payload
