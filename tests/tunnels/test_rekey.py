"""Packets while a Child SA is rekeyed: none is lost, whoever rekeys and however late its peer hears of it."""

from __future__ import annotations

import pytest

from sim.ike.context import Datagram
from sim.units import NS_PER_MS, NS_PER_S
from tests.tunnels.lab import ALICE, BOB, Lab

LATE = 300 * NS_PER_MS
EVERY = 10 * NS_PER_MS
ENDS = [("moon", "sun"), ("sun", "moon")]


@pytest.mark.parametrize(("asks", "answers"), ENDS)
@pytest.mark.parametrize("flows", [[(ALICE, BOB), (BOB, ALICE)], [(BOB, ALICE)], [(ALICE, BOB)]])
def test_nothing_is_lost_when_the_answer_to_a_rekeying_is_late(
    asks: str, answers: str, flows: list[tuple[bytes, bytes]]
) -> None:
    """Who agreed sends on the old SA until it has heard of the new one from its peer (RFC 7296 2.8)."""
    lab = Lab().up()
    old, sent = set(lab.stack(answers).engine.sad), 0
    hold_back(lab, answers)
    rekey(lab, asks)
    for _ in range(200):
        for src, dst in flows:
            lab.send(src, dst)
            sent += 1
        lab.run(EVERY)
    lab.run(NS_PER_S)

    assert sum(len(box.seqs) for box in lab.boxes.values()) == sent
    assert lab.drops("moon") == lab.drops("sun") == {}
    pairs = lab.stack(answers).engine.sad
    (new,) = set(pairs) - old
    assert pairs[new].outbound.packets + pairs[new].inbound.packets > 100, "the new SA is in use"


def test_the_one_who_agreed_uses_the_new_sa_from_its_first_packet_on() -> None:
    lab = Lab().up()
    (old,) = lab.stack("sun").engine.sad
    hold_back(lab, "moon", after=1)  # its Delete of the old SA; the request for a new one leaves at once
    rekey(lab, "moon")
    lab.run(100 * NS_PER_MS)
    (new,) = set(lab.stack("sun").engine.sad) - {old}
    assert outbound(lab, old, new) == [0, 0]
    lab.send(BOB, ALICE)
    lab.run(20 * NS_PER_MS)
    assert outbound(lab, old, new) == [1, 0]
    lab.send(ALICE, BOB)
    lab.run(20 * NS_PER_MS)
    lab.send(BOB, ALICE)
    lab.run(20 * NS_PER_MS)
    assert outbound(lab, old, new) == [1, 1]


def rekey(lab: Lab, name: str) -> None:
    stack = lab.stack(name)
    (spi_in,) = stack.engine.sad
    stack.endpoint.rekey(spi_in, lab.now)
    stack.pump(lab.now)


def outbound(lab: Lab, *spis: int) -> list[int]:
    """How many packets sun has sent on each pair."""
    return [lab.stack("sun").engine.sad[spi].outbound.packets for spi in spis]


def hold_back(lab: Lab, name: str, after: int = 0) -> None:
    """The IKE messages of a gateway, after some, take longer than its ESP."""
    stack, left = lab.stack(name), [after]
    transmit = stack.transmit

    def later(datagram: Datagram, now: int) -> None:
        if left[0]:
            left[0] -= 1
            transmit(datagram, now)
        else:
            lab.sim.at(now + LATE, lambda at: transmit(datagram, at))

    stack.transmit = later  # type: ignore[method-assign]
