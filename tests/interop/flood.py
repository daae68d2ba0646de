"""Many datagrams through a tunnel, as quickly as it takes them, and what has become of each."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass
from functools import partial

from sim.live.netns import inside
from tests.interop.netns import Namespace

IN_FLIGHT = 16
"""Few enough for every queue on the way, so that what is lost was dropped by one of the two stacks."""
_NUMBER_BYTES = 4
_SHORTEST, _LONGEST = 32, 1328
"""Of whole IP packets: the largest fits into what strongSwan's TUN device and ESP in UDP leave of 1400."""


@dataclass(frozen=True)
class Flood:
    sent: int
    arrived: int
    spoilt: int
    """How many arrived with other octets than they had, or twice."""


def flood(source: Namespace, target: Namespace, addresses: tuple[str, str], count: int) -> Flood:
    """Send `count` datagrams of mixed sizes from one inner address to the other."""
    with (
        inside(source.name, partial(_bound, addresses[0])) as sender,
        inside(target.name, partial(_bound, addresses[1])) as receiver,
    ):
        sender.connect(receiver.getsockname())
        return _exchange(sender, receiver, count)


def payload(number: int) -> bytes:
    """What datagram `number` holds: sizes go through all remainders of every block size."""
    size = _SHORTEST + number * 37 % (_LONGEST - _SHORTEST + 1) - 28
    return number.to_bytes(_NUMBER_BYTES, "big") + bytes((number * 7 + at) & 0xFF for at in range(size - 4))


def _bound(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock


def _exchange(sender: socket.socket, receiver: socket.socket, count: int, patience: float = 10.0) -> Flood:
    sent = spoilt = 0
    missing: set[int] = set()
    heard_at = time.monotonic()
    while (sent < count or missing) and time.monotonic() - heard_at < patience:
        while sent < count and len(missing) < IN_FLIGHT:
            sender.send(payload(sent))
            missing.add(sent)
            sent += 1
        if not select.select([receiver], [], [], 0.1)[0]:
            continue
        data = receiver.recv(65535)
        number = int.from_bytes(data[:_NUMBER_BYTES], "big")
        heard_at = time.monotonic()
        if number in missing and data == payload(number):
            missing.remove(number)
        else:
            spoilt += 1
    return Flood(sent, sent - len(missing), spoilt)
