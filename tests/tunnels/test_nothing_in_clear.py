"""Whatever a handover costs, nothing of what the tunnel protects leaves in clear meanwhile (RFC 4301 5.1)."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.utils import RawPcapNgReader

import sim

TOPOLOGIES = sorted(path for path in Path("topologies/mobike").glob("*.yaml") if "mass" not in path.stem)
_OUTSIDE_OF = ("alice:", "moon:wan", "moon:new", "sun:wan")
_ESP, _UDP = 50, 17


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_c75_a_handover_leaks_nothing(path: Path, tmp_path: Path) -> None:
    sim.run(path, seed=3, out=tmp_path)
    with RawPcapNgReader(str(tmp_path / "capture.pcapng")) as reader:
        seen = [(meta.ifname.decode(), octets) for octets, meta in reader]  # type: ignore[attr-defined]
    outside = [octets for name, octets in seen if name.startswith(_OUTSIDE_OF)]
    assert outside
    for octets in outside:
        assert _is_ike_or_esp(octets), bytes(octets).hex()


def _is_ike_or_esp(octets: bytes) -> bool:
    packet = IPv6(octets) if octets[0] >> 4 == 6 else IP(octets)
    protocol = packet.nh if isinstance(packet, IPv6) else packet.proto
    ports = {packet.payload.fields.get(name) for name in ("sport", "dport")}
    return protocol == _ESP or (protocol == _UDP and bool({500, 4500} & ports))
