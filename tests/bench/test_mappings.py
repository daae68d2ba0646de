"""What a packet costs at a NAT does not grow with its mappings (counted, not timed)."""

from __future__ import annotations

import pytest

from sim.net.packet import Packet
from sim.wire import udp
from tests.bench.mappings import PRESETS, _peer, arriving, box, leaving
from tests.bench.test_policies import lines_of

FEW, MANY = 10, 20_000


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("outward", [True, False])
def test_a_packet_takes_no_more_steps_among_many_mappings(preset: str, outward: bool) -> None:
    assert _steps(preset, MANY, outward) == _steps(preset, FEW, outward)


@pytest.mark.parametrize("preset", PRESETS)
def test_both_measurements_pass_every_packet(preset: str) -> None:
    assert leaving(preset, FEW, 100).done == 100
    assert arriving(preset, FEW, 100).done == 100


def _steps(preset: str, count: int, outward: bool) -> int:
    nat, chosen = box(preset, count)
    inside, outside = chosen[-1]
    ends = (inside, _peer(inside)) if outward else (_peer(inside), outside)
    port = nat.ports["lan" if outward else "wan"]
    first, second = (Packet(udp.build(*ends, b"x"), 0) for _ in range(2))
    nat.receive(first, port, 0)
    return lines_of(lambda: nat.receive(second, port, 0))
