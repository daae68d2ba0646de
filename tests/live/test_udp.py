"""Live sockets by themselves."""

from __future__ import annotations

import select
import socket

import pytest

from sim.live.udp import Sent, may_send_plain_esp, open_socket
from sim.wire.address import pack_address


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_esp_without_udp_passes_between_addresses_of_each_ip_version(address: str) -> None:
    if not may_send_plain_esp():
        pytest.skip("raw sockets need root")
    local = (pack_address(address), 0)
    sock = open_socket(local, esp=True)
    if sock is None:
        pytest.skip(f"this host has no {address}")
    try:
        assert sock.send(b"\0\0\1\0 an ESP packet", local) is Sent.YES
        assert select.select([sock], [], [], 10)[0]
        received = sock.receive()
        assert received is not None
        payload, source, _ = received
        assert (bytes(payload), source[0]) == (b"\0\0\1\0 an ESP packet", local[0])
    finally:
        sock.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_tos_and_ttl_are_what_the_outer_header_says(address: str) -> None:
    v6 = ":" in address
    ours = open_socket((pack_address(address), 0))
    if ours is None:
        pytest.skip(f"this host has no {address}")
    level, asked = (socket.IPPROTO_IPV6, 51) if v6 else (socket.IPPROTO_IP, 12)  # *_RECVHOPLIMIT, IP_RECVTTL
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind((address, 0))
        theirs.settimeout(10)
        theirs.setsockopt(level, asked, 1)
        theirs.setsockopt(level, socket.IPV6_RECVTCLASS if v6 else socket.IP_RECVTOS, 1)
        there = pack_address(address), theirs.getsockname()[1]
        for tos, ttl in ((0xB8, 33), (0, 7)):
            assert ours.send(b"x", there, tos=tos, ttl=ttl) is Sent.YES
            _, ancillary, _, _ = theirs.recvmsg(10, 100)
            found = sorted(data[0] for _, _, data in ancillary)
            assert found == sorted((tos, ttl))
    ours.close()
