"""Both sides set the same connection up at once: streams of four messages that cross in every order.

libreswan names nine such orders; these are all seventy. Two IKE SAs come of it, each with its Child SA, and
both stay: RFC 7296 asks for nothing else, and either may carry packets. INITIAL_CONTACT is not sent by a side
that knows of the other stream's IKE SA by then. `unique` settles only what was there before a newcomer
began, so that two sides which replace or refuse each other's at once are not left with none.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import heapify
from itertools import combinations

import pytest

from sim.ike.config import Unique
from sim.ike.events import ChildSaUp, IkeSaUp
from tests.ike.calm import check_calm
from tests.ike.pair import CONNECTION_A, CONNECTION_B, A, Pair

MESSAGES = range(8)
ORDERS = ["".join("a" if at in chosen else "b" for at in MESSAGES) for chosen in combinations(MESSAGES, 4)]


@pytest.mark.parametrize("order", ORDERS)
def test_crossing_streams(order: str) -> None:
    """Each letter is the next message of the stream that this side began: IKE_SA_INIT and IKE_AUTH."""
    pair = both_call(Unique.NO)
    for stream in order:
        deliver_next(pair, stream)
    pair.calm()
    check_calm(pair)

    assert {sa.initiator for sa in pair.a.endpoint.sas} == {True, False}
    assert len(pair.a.endpoint.sas) == len(pair.a.children) == 2


@pytest.mark.parametrize("policy", [Unique.REPLACE, Unique.KEEP])
@pytest.mark.parametrize("order", ORDERS)
def test_crossing_streams_and_unique(order: str, policy: Unique) -> None:
    """One is left where a stream was over before the other began, else both; never none."""
    pair = both_call(policy)
    for stream in order:
        deliver_next(pair, stream)
    pair.calm()
    check_calm(pair)

    apart = order in ("aaaabbbb", "bbbbaaaa")
    assert len(pair.a.children) == (1 if apart else 2)


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_stream_that_is_over_is_used_instead_of_another_one(first: str) -> None:
    """Who asks after the peer's stream is over has what it wants already."""
    pair = Pair(CONNECTION_A, replace(CONNECTION_B, remote_addrs=(A,)))
    for side in (first, "ab".replace(first, "")):
        pair.command(getattr(pair, side), lambda end: end.initiate("rw", "net", pair.now))
        pair.settle()
    check_calm(pair.calm())

    assert len(pair.a.all(IkeSaUp)) == len(pair.a.all(ChildSaUp)) == 1


# -- helpers ---------------------------------------------------------------------------------------------


def both_call(policy: Unique) -> Pair:
    pair = Pair(replace(CONNECTION_A, unique=policy), replace(CONNECTION_B, unique=policy, remote_addrs=(A,)))
    for end in (pair.a, pair.b):
        pair.command(end, lambda endpoint: endpoint.initiate("rw", "net", pair.now))
    return pair


def deliver_next(pair: Pair, stream: str) -> None:
    """Deliver what is in flight of the IKE SA that this side began, and nothing else."""
    began = next((s.octets[:8] for s in pair.sent if s.side == stream), b"")
    flight = next((f for f in pair._flights if began in f.datagram.data[:12]), None)
    if flight is not None:
        pair._flights.remove(flight)
        heapify(pair._flights)
        pair.now += 1
        pair._deliver(flight.datagram)
