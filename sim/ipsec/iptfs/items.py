"""What passes between an AGGFRAG SA and whoever drives the engine: one packet in, none, one or many out.

    inner packet -> Engine.outbound -> Queued     ... later: Departure, an outer packet that leaves
    outer packet -> Engine.inbound  -> Aggregate  ... now or later: Delivery, one for each inner packet

Both verdicts have a `tag`, which the driver may set to whatever it knows of the packet. Tags come back: a
Departure has those of the inner packets that end in it, in order; a Delivery names the Aggregate in which it
ended and the how-manieth to end there it was. So a network that keeps facts beside the octets, who sent them
and when, loses none, whatever is lost or out of order on the way.
"""

from __future__ import annotations

from sim.ipsec.verdict import Reason, Verdict
from sim.wire.value import value


class Queued(Verdict):
    """The packet waits for its turn, in pieces if need be; its octets are the SA's from now on."""

    __slots__ = ("tag",)

    def __init__(self) -> None:
        self.tag: object = None


class Aggregate(Verdict):
    """An authentic outer packet, `seq` among its SA's, that came at `at` (ns); `marked` is congestion."""

    __slots__ = ("at", "marked", "payload", "seq", "tag")

    def __init__(self, payload: bytearray, seq: int, at: int, marked: bool) -> None:
        self.payload = payload
        self.seq = seq
        self.at = at
        self.marked = marked
        self.tag: object = None


@value
class Departure:
    """An outer packet to send now, and the tags of the inner packets that end in it."""

    outer: bytearray
    tags: tuple[object, ...]


@value
class Delivery:
    """An inner packet, number `index` of those that end in `carrier`; with a `reason`, to be dropped.

    One that never came whole has no octets and the index -1.
    """

    inner: bytearray
    carrier: Aggregate
    index: int
    reason: Reason | None = None
