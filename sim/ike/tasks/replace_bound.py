"""After a move: transport mode SAs, which stay behind, are replaced (RFC 4555 1.2).

HDR, SK {N(USE_TRANSPORT_MODE), SA, Ni, TSi, TSr}  -->      between the new addresses
                                                   <--  HDR, SK {N(USE_TRANSPORT_MODE), SA, Nr, TSi, TSr}
HDR, SK {D}  -->
             <--  HDR, SK {D}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.bound import fits, stayed_behind
from sim.ike.constants import ExchangeType
from sim.ike.events import Reason
from sim.ike.tasks.base import Job
from sim.ike.tasks.delete import DeleteChild
from sim.wire.address import format_address

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


def replace_bound(sa: IkeSa, now: int) -> None:
    """Both ends have new addresses: ask for what may be between those, and delete what was left behind."""
    left = [child for child in sa.children.values() if stayed_behind(child)]
    sa.wanted.extend((child.config, None) for child in left if fits(child.config, sa.path))
    sa.create_wanted(now)
    for child in left:
        where = " to ".join(map(format_address, child.ends or ()))
        text = f"a transport mode SA, from {where}, does not move with its IKE SA (RFC 4555 1.2)"
        job = Job(ExchangeType.INFORMATIONAL, [DeleteChild(child, Reason.MOVED, text)])
        sa.requests.submit(job, now)
