"""Each message of each exchange lost, doubled or late once: both sides end with the same SAs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sim.ike.config import ReturnRoutability
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from tests.ike.pair import CONNECTION_A, CONNECTION_B, HOME, End, NatBox, Pair, ike

LTE = pack_address("192.168.7.7")
Step = Callable[[Pair], None]


def liveness(pair: Pair) -> None:
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))


def liveness_of_both(pair: Pair) -> None:
    liveness(pair)
    pair.command(pair.b, lambda end: end.check_liveness(1, pair.now))


def delete_child(pair: Pair) -> None:
    pair.command(pair.a, lambda end: end.delete_child(next(iter(pair.a.children)), pair.now))


def delete_child_crossing(pair: Pair) -> None:
    delete_child(pair)
    pair.command(pair.b, lambda end: end.delete_child(next(iter(pair.b.children)), pair.now))


def recreate_child(pair: Pair) -> None:
    delete_child(pair)
    pair.drive(40 * NS_PER_S)
    pair.initiate()


def move(pair: Pair) -> None:
    pair.a_addr = LTE


def move_during_liveness(pair: Pair) -> None:
    liveness_of_both(pair)
    move(pair)


def delete(pair: Pair) -> None:
    pair.command(pair.a, lambda end: end.delete("rw", pair.now))


def delete_crossing(pair: Pair) -> None:
    delete(pair)
    pair.command(pair.b, lambda end: end.delete("rw", pair.now))


STEPS: list[Step] = [
    liveness,
    liveness_of_both,
    delete_child,
    delete_child_crossing,
    recreate_child,
    move,
    move_during_liveness,
    delete,
    delete_crossing,
]
FATES = {"lost": None, "late": 3 * NS_PER_S}


def new_pair(*, proof: bool = True) -> Pair:
    check = ReturnRoutability.BEFORE if proof else ReturnRoutability.NONE
    pair = Pair(CONNECTION_A, replace(CONNECTION_B, return_routability=check), a_addr=HOME)
    NatBox(pair)
    return pair


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("number", range(4))
def test_a_set_up_survives_one_message(side: str, number: int, fate: str) -> None:
    pair = Pair(replace(CONNECTION_A, proposals=ike("aes128gcm16-prfsha256-modp2048-x25519")), a_addr=HOME)
    NatBox(pair)
    meet(pair, side, number, fate)
    pair.initiate()
    pair.drive(120 * NS_PER_S)

    assert pair.up
    consistent(pair)


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("step", STEPS)
def test_an_exchange_survives_one_message(step: Step, side: str, number: int, fate: str) -> None:
    pair = new_pair().establish()
    meet(pair, side, number, fate)
    step(pair)
    pair.drive(250 * NS_PER_S)

    consistent(pair)


@pytest.mark.parametrize("step", STEPS)
def test_an_exchange_survives_when_every_message_is_doubled(step: Step) -> None:
    pair = new_pair().establish()
    deliver = pair._deliver

    def twice(datagram) -> None:  # type: ignore[no-untyped-def]
        deliver(datagram)
        deliver(datagram)

    pair._deliver = twice  # type: ignore[method-assign]
    step(pair)
    pair.drive(250 * NS_PER_S)

    consistent(pair)


def test_replay_of_the_random_draws_gives_the_same_octets() -> None:
    """Every draw of an endpoint comes from `rand`: a session can be repeated octet for octet."""
    first, second = new_pair(), new_pair()
    for pair in (first, second):
        pair.establish()
        for step in (liveness_of_both, recreate_child, move, delete):
            step(pair)
            pair.drive(50 * NS_PER_S)

    assert [(s.at, s.datagram) for s in first.sent] == [(s.at, s.datagram) for s in second.sent]
    assert len(first.sent) > 15


def meet(pair: Pair, side: str, number: int, fate: str) -> None:
    """Let the number-th message of a side from now on meet a fate."""
    extra = FATES[fate]
    if extra is None:
        pair.drop(1, side, after=number)
    else:
        pair.delay(extra, side, after=number)


def consistent(pair: Pair) -> None:
    """Both sides hold the same SAs, at each other's addresses, and nothing is left over."""
    a, b = pair.a.endpoint, pair.b.endpoint
    assert _live(a) == _live(b)
    assert {c.spi_out for c in pair.a.children.values()} == set(pair.b.children)
    assert {c.spi_out for c in pair.b.children.values()} == set(pair.a.children)
    for end in (pair.a, pair.b):
        _nothing_left(end)
    nat = pair.rewrite
    assert isinstance(nat, NatBox)
    for child in pair.b.children.values():
        assert child.remote == nat.mappings[pair.a.addresses[0], 4500]


def _live(endpoint) -> list[tuple[bytes, str]]:  # type: ignore[no-untyped-def]
    return [(row.spi_i, row.state) for row in endpoint.sas if row.state != "closed"]


def _nothing_left(end: End) -> None:
    context = end.endpoint._ctx
    assert set(context.children) == set(end.children)
    assert set(context._spis) == set(end.children)
    assert set(context.by_spi.values()) == set(context.sas.values())
    assert context.half_open == 0
    for sa in context.sas.values():
        assert not sa.requests.busy
