"""Path tests: a request that nobody answers goes by all pairs of addresses (RFC 4555 3.10, 3.11).

    initiator                                   responder
    request, by the present path  -->           lost, and so is its first repetition
    the same, by every pair  -->                one copy arrives
                             <--  the response, by that pair
    UPDATE_SA_ADDRESSES by that pair  -->       moves

One loss is no failure, so the first repetition goes by the present path alone. The fastest pair that works is
taken. What has been at several addresses proves none of them, and says nothing of NATs: an update among the
requests is made anew. Only the initiator tests; the responder waits for it, at least five minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.candidates import peers, usable
from sim.ike.exchanges import State
from sim.ike.mobility import start_update
from sim.ike.tasks.base import Inbound
from sim.ike.tasks.mobike import UpdateAddresses
from sim.wire.address import Sock

if TYPE_CHECKING:
    from sim.ike.requests import Outstanding
    from sim.ike.sa import IkeSa

Pair = tuple[Sock, Sock]
"""Our address and the peer's."""

MAX_PAIRS = 32
"""Whatever a peer announces, a request has no more copies."""

_TESTED_FROM = 2
"""How often a request has left before its next copies are tests."""


def other_pairs(sa: IkeSa, tries: int) -> list[Pair]:
    """Where a request goes beside the present path when it has left `tries` times."""
    path = sa.path
    if tries < _TESTED_FROM or not (sa.mobike and sa.began):
        return []
    pairs = [
        ((local, path.local[1]), (remote, path.remote[1]))
        for remote in peers(sa)
        for local in usable(sa, remote)
    ]
    return [pair for pair in pairs if pair != (path.local, path.remote)][:MAX_PAIRS]


def heed_path(sa: IkeSa, outstanding: Outstanding, received: Inbound, now: int) -> None:
    """A response came: if it tells that another pair works, or that an update is void, update."""
    pair = (received.dst, received.src)
    if sa.state is not State.ESTABLISHED or not outstanding.tested:
        return
    updated = any(isinstance(task, UpdateAddresses) for task in outstanding.job.tasks)
    present = (sa.path.local, sa.path.remote)
    if pair in outstanding.tested or (updated and pair == present):
        start_update(sa, *pair, now)


def waits(sa: IkeSa) -> tuple[int, ...]:
    """When requests are repeated: as configured, but with MOBIKE a responder waits longer (RFC 4555 3.11).

    Not for the answer to its Delete: that SA is down already, and nothing is left to move.
    """
    policy = sa.connection.retransmit
    moves = sa.mobike and sa.state is not State.DELETING
    return policy.patient if moves and not sa.began else policy.delays
