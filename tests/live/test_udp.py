"""Live sockets by themselves."""

from __future__ import annotations

import select

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
