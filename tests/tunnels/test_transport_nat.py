"""Transport mode through a simulated NAT: what TCP and UDP sent arrives right (RFC 3948 3.1.2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from sim.net.packet import Packet
from sim.wire.address import format_address, pack_address
from tests.tunnels.lab import Lab

TEXT = Path("topologies/transport-nat.yaml").read_text()
QUIET = ("traffic=[]", "checks=[]", "duration=1000 s")
ALICE, MOON, NAT = (pack_address(a) for a in ("192.168.1.10", "198.51.100.1", "203.0.113.10"))


@pytest.fixture(scope="module")
def lab() -> Lab:
    lab = Lab(*QUIET, "events=[]", text=TEXT).run()
    (pair,) = lab.stack("moon").engine.sad.values()
    assert pair.inbound.spec.original == (ALICE, MOON)
    return lab


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["tcp", "udp", "udp without"]),
    payload=st.binary(max_size=1200),
    ports=st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
    back=st.booleans(),
)
def test_c68_checksums_hold_behind_the_nat_in_both_directions(
    lab: Lab, kind: str, payload: bytes, ports: tuple[int, int], back: bool
) -> None:
    """Both ways of making them fit: moon knows alice's address, alice does not know how moon sees her."""
    ports = (ports[0] + (ports[0] in (500, 4500)), ports[1] + (ports[1] in (500, 4500)))
    src, dst, sender, receiver = (MOON, NAT, "moon", "alice") if back else (ALICE, MOON, "alice", "moon")
    box = lab.boxes[receiver]
    lab.world.nodes[sender].send(Packet(made(kind, src, dst, ports, payload), lab.now, box), lab.now)
    before = len(box.octets)
    lab.run(200_000_000)

    assert len(box.octets) == before + 1
    arrived = IP(box.octets[-1])
    assert (arrived.src, arrived.dst) == tuple(map(format_address, (MOON, ALICE) if back else (NAT, MOON)))
    layer = arrived[TCP if kind == "tcp" else UDP]
    assert bytes(layer.payload) == payload
    if kind == "udp without":
        assert layer.chksum == 0
    else:
        shown, layer.chksum = layer.chksum, None
        assert IP(bytes(arrived))[type(layer)].chksum == shown


def made(kind: str, src: bytes, dst: bytes, ports: tuple[int, int], payload: bytes) -> bytearray:
    upper: Scapy = (
        TCP(sport=ports[0], dport=ports[1]) if kind == "tcp" else UDP(sport=ports[0], dport=ports[1])
    )
    if kind == "udp without":
        upper.chksum = 0
    packet = IP(src=format_address(src), dst=format_address(dst)) / upper
    return bytearray(bytes(packet / Raw(payload) if payload else packet))
