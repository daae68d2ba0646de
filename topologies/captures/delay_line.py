"""A line with rate and delay between two TUN devices that it makes.

    delay_line.py CLIENT_DEVICE SERVER_DEVICE ONE_WAY_MS MBIT_PER_S

`record.sh` moves the two devices into the namespaces of the hosts that it records. A TUN device without
IFF_VNET_HDR asks the kernel for finished packets: one segment each, with its checksum, as on a real line.
Prints `ready` once both devices exist, and runs until it is ended.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import struct
import sys
import time

_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000


def main(client: str, server: str, one_way_ms: str, mbit_per_s: str) -> None:
    ends = [_open_tun(client), _open_tun(server)]
    print("ready", flush=True)
    _carry(ends, delay=float(one_way_ms) / 1e3, octet_time=8 / (float(mbit_per_s) * 1e6))


def _open_tun(name: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return tun


def _carry(ends: list[int], delay: float, octet_time: float) -> None:
    """Each direction serialises at its rate, then every packet flies for `delay` seconds."""
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    free_at = dict.fromkeys(ends, 0.0)
    flying: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        wait = max(0.0, flying[0][0] - time.monotonic()) if flying else None
        for tun in select.select(ends, [], [], wait)[0]:
            packet = os.read(tun, 65535)
            free_at[tun] = max(free_at[tun], time.monotonic()) + len(packet) * octet_time
            heapq.heappush(flying, (free_at[tun] + delay, count, other[tun], packet))
            count += 1
        while flying and flying[0][0] <= time.monotonic():
            _, _, tun, packet = heapq.heappop(flying)
            os.write(tun, packet)


if __name__ == "__main__":
    main(*sys.argv[1:])
