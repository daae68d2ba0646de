"""How one side uses an AGGFRAG SA (RFC 9347 4): settings that IKE and the data plane share, no octets.

Names are those of strongSwan's `charon.iptfs`; what strongSwan has not is called as in RFC 9348.
"""

from __future__ import annotations

from sim.units import NS_PER_S
from sim.wire.aggfrag import Requirement
from sim.wire.value import value


@value
class Iptfs:
    """Durations are ns, sizes octets of whole IP packets, the rate bit/s of them.

    Sending: `packet_size` is the largest outer packet, 0 for the path's MTU. Without `l3_fixed_rate` packets
    wait up to `init_delay` for others and leave as they are. With it an outer packet of exactly that size
    leaves at every interval, filled up with padding; with `congestion_control` that rate is the highest, and
    what the peer reports of the path decides. `ecn` lets routers mark instead of drop. `max_queue_size`
    bounds what waits. `dont_frag` lets an outer packet carry whole inner packets only.

    Receiving: `accept_fragments` false asks the peer for the same. Up to `reorder_window` later outer packets
    wait for a missing one, and none longer than `drop_time`.
    """

    packet_size: int = 0
    init_delay: int = 0
    max_queue_size: int = 1 << 20
    dont_frag: bool = False
    l3_fixed_rate: int = 0
    congestion_control: bool = False
    ecn: bool = False
    accept_fragments: bool = True
    reorder_window: int = 3
    drop_time: int = NS_PER_S

    @property
    def requirements(self) -> Requirement:
        """What the peer is asked for."""
        demanded = Requirement.NONE
        if not self.accept_fragments:
            demanded |= Requirement.DONT_FRAGMENT
        if self.congestion_control:
            demanded |= Requirement.CONGESTION_CONTROL
        return demanded


DEFAULT_IPTFS = Iptfs()
