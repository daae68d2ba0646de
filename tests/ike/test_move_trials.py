"""Every exchange that a move can meet, every kind of move, and one lost message at each position.

In the end the same SAs are at both ends, which agree on addresses and encapsulation, and packets pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sim.ike.config import ReturnRoutability
from sim.ike.context import Datagram
from sim.ike.events import ChildSaUp
from sim.units import NS_PER_S
from sim.wire import udp
from sim.wire.address import pack_address
from tests.ike.calm import _children, _engine, _ike_sas, check_nothing_left
from tests.ike.pair import (
    CONNECTION_A,
    CONNECTION_B,
    HOME,
    LATENCY,
    NAT,
    NET2_A,
    NET2_B,
    NET_A,
    NET_B,
    A,
    B,
    NatBox,
    Pair,
)
from tests.ike.test_matrix import (
    Held,
    create,
    delete_child,
    delete_ike,
    held,
    liveness,
    rekey_child,
    rekey_ike,
)

CAFE, TRAIN = pack_address("192.0.2.77"), pack_address("192.0.2.78")
A6, B6 = pack_address("2001:db8:a::1"), pack_address("2001:db8:b::1")
Move = Callable[[Pair], None]


def _to(*addresses: bytes) -> Move:
    return lambda pair: pair.set_addresses(pair.a, list(addresses))


def _after_a_gap(pair: Pair) -> None:
    pair.set_addresses(pair.a, [])
    pair.drive(NS_PER_S)
    pair.set_addresses(pair.a, [CAFE])


def _with_an_overlap(pair: Pair) -> None:
    pair.set_addresses(pair.a, [CAFE, A])
    pair.drive(2 * NS_PER_S)
    pair.set_addresses(pair.a, [CAFE])


def _twice(pair: Pair) -> None:
    pair.set_addresses(pair.a, [TRAIN])
    pair.drive(3 * LATENCY // 2)
    pair.set_addresses(pair.a, [CAFE])


def _there_and_back(pair: Pair) -> None:
    pair.set_addresses(pair.a, [A6])
    pair.drive(5 * LATENCY // 2)
    pair.set_addresses(pair.a, [A])


MOVES: dict[str, tuple[bytes, Move]] = {
    "v4 to v4": (A, _to(CAFE)),
    "v4 to v6": (A, _to(A6)),
    "into a NAT": (A, _to(HOME)),
    "out of a NAT": (HOME, _to(CAFE)),
    "gap": (A, _after_a_gap),
    "overlap": (A, _with_an_overlap),
    "two in a row": (A, _twice),
    "there and back": (A, _there_and_back),
}
"""Where the initiator is before, and how it moves."""

EXCHANGES = {
    "idle": None,
    "rekey child": rekey_child,
    "rekey ike": rekey_ike,
    "liveness": liveness,
    "create": create,
    "delete child": delete_child,
    "delete ike": delete_ike,
}
OUTCOMES: dict[str, Held] = {
    "create": (1, ["net", "net2"]),
    "delete child": (1, []),
    "delete ike": (0, []),
}


class HomeNat(NatBox):
    """Only what comes from home is behind it."""

    def __call__(self, datagram: Datagram) -> Datagram | None:
        at_home = datagram.src[0] == HOME or datagram.dst[0] == self.outside
        return super().__call__(datagram) if at_home else datagram


@pytest.mark.parametrize("proof", list(ReturnRoutability), ids=lambda proof: proof.value)
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("move", MOVES)
def test_c75_c80_a_move_in_the_middle_of_anything_ends_well(
    move: str, exchange: str, side: str, proof: ReturnRoutability
) -> None:
    calm = trial(move, exchange, side, proof)
    check(calm, exchange)
    for loser in ("a", "b"):
        for position in range(sum(sent.side == loser for sent in calm.sent) - calm.before[loser]):
            try:
                check(trial(move, exchange, side, proof, loser, position), exchange)
            except AssertionError as error:
                error.add_note(f"message {position} of {loser} is lost")
                raise


class Trial(Pair):
    before: dict[str, int]


def trial(
    move: str, exchange: str, side: str, proof: ReturnRoutability, loser: str = "", position: int = 0
) -> Trial:
    start, act = MOVES[move]
    pair = Trial(
        replace(CONNECTION_A, children=(NET_A, NET2_A), keepalive=0),
        replace(CONNECTION_B, children=(NET_B, NET2_B), keepalive=0, return_routability=proof),
        a_addr=start,
    )
    HomeNat(pair)
    pair.set_addresses(pair.b, [B, B6])
    pair.establish()
    pair.calm()
    pair.before = {each: sum(sent.side == each for sent in pair.sent) for each in ("a", "b")}
    if loser:
        pair.fates[loser] = [(0,)] * position + [()]
    command, end = EXCHANGES[exchange], pair.a if side == "a" else pair.b
    if command is not None:
        command(pair, end)
        end.pump(pair.now)
    act(pair)
    pair.calm()
    return pair


def check(pair: Pair, exchange: str) -> None:
    assert held(pair) == OUTCOMES.get(exchange, (1, ["net"]))
    for end in (pair.a, pair.b):
        check_nothing_left(end)
    assert _ike_sas(pair.a) == _ike_sas(pair.b)
    assert _children(pair.a, own_first=True) == _children(pair.b, own_first=False)
    twins = {up.spi_in: up for up in pair.b.children.values()}
    for up in pair.a.children.values():
        _check_path(pair, up, twins[up.spi_out])
        _check_packets(up, twins[up.spi_out])


def _check_path(pair: Pair, a: ChildSaUp, b: ChildSaUp) -> None:
    """Both ends say the same of the way between them, and it is the one that there is."""
    natted = pair.a_addr == HOME
    assert a.local[0] == pair.a_addr
    assert a.remote == b.local
    assert a.encap is b.encap is natted
    if natted:
        nat = pair.rewrite
        assert isinstance(nat, HomeNat)
        assert b.remote == nat.mappings[a.local]
        assert b.remote[0] == NAT
    else:
        assert b.remote == a.local
    views = [end.endpoint.sas[0] for end in (pair.a, pair.b)]
    assert [(view.local, view.remote) for view in views] == [(a.local, a.remote), (b.local, b.remote)]


def _check_packets(a: ChildSaUp, b: ChildSaUp) -> None:
    for sender, receiver in ((a, b), (b, a)):
        beyond_nat = replace(sender, remote=receiver.local)
        packet = udp.build((sender.local_ts[0].start, 1000), (sender.remote_ts[0].start, 2000), b"probe")
        sealed = _engine(beyond_nat).outbound(packet[:], 0)
        assert isinstance(sealed, bytearray), sealed
        assert _engine(receiver).inbound(sealed, 0) == packet
