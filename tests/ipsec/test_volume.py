"""SAs whose life is measured in octets and packets (RFC 4301 4.4.2.1, RFC 7296 2.8)."""

from __future__ import annotations

import pytest

from sim.ipsec.verdict import Reason as Dropped
from sim.units import NS_PER_MS, NS_PER_S
from tests.tunnels.lab import ALICE, BOB, CHILD, Lab

PACKET = 1000


@pytest.mark.parametrize("limit", ["rekey_packets=40", "rekey_bytes=40000 B"])
@pytest.mark.parametrize(("src", "dst"), [(ALICE, BOB), (BOB, ALICE)])
def test_c44_a_soft_limit_asks_for_a_successor_without_loss(limit: str, src: bytes, dst: bytes) -> None:
    """Either direction counts for itself; both ends have the same limits, and one SA is left."""
    unit = limit.partition("=")[0].partition("_")[2]
    none = "0 B" if unit == "bytes" else "0"
    lab = Lab(f"{CHILD}.{limit}", f"{CHILD}.rand_{unit}={none}", f"{CHILD}.life_{unit}={none}").up()
    first = set(lab.stack("moon").engine.sad)
    send(lab, src, dst, 39)
    assert set(lab.stack("moon").engine.sad) == first
    send(lab, src, dst, 161)
    lab.run(10 * NS_PER_S)

    assert sum(len(box.seqs) for box in lab.boxes.values()) == 200
    assert len(lab.stack("moon").engine.sad) == len(lab.stack("sun").engine.sad) == 1
    assert not first & set(lab.stack("moon").engine.sad)


def test_c44_a_hard_limit_ends_the_sa() -> None:
    """Without a successor the SA carries that many packets and not one more; the next asks for another SA."""
    lab = Lab(f"{CHILD}.life_packets=30", f"{CHILD}.start=at once").up()
    (spi,) = lab.stack("moon").engine.sad
    outbound = lab.stack("moon").engine.sad[spi].outbound
    for _ in range(33):
        lab.send(ALICE, BOB, size=PACKET)
    lab.run(100 * NS_PER_MS)

    assert outbound.packets == 30
    assert lab.drops("moon").get(str(Dropped.EXPIRED)) == 1, "the one before IKE knew"
    assert spi not in lab.stack("moon").engine.sad
    assert len(lab.boxes["bob"].seqs) == 32


def test_c44_the_soft_limit_is_earlier_by_a_part_of_the_jitter() -> None:
    """What two SAs of the same configuration carry before they are rekeyed differs."""
    carried = set()
    for seed in range(1, 5):
        lab = Lab(f"{CHILD}.rekey_packets=100", f"{CHILD}.rand_packets=60", seed=seed).up()
        (spi,) = lab.stack("moon").engine.sad
        outbound = lab.stack("moon").engine.sad[spi].outbound
        assert 40 <= outbound.spec.soft_limit[1] <= 100
        carried.add(outbound.spec.soft_limit[1])

    assert len(carried) > 1


def send(lab: Lab, src: bytes, dst: bytes, count: int) -> None:
    for _ in range(count):
        lab.send(src, dst, size=PACKET)
        lab.run(10 * NS_PER_MS)
