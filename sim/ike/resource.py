"""Several Child SAs with the same selectors, one for each resource (RFC 9611): what the two sides say of it.

The first Child SA between the selectors says with an empty SA_RESOURCE_INFO that more may follow, and stays
the one for all resources. The data of the others, four octets, is the number of the sender's own resource,
here a CPU, which is for people alone. A successor keeps the part of what it replaces, and says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.config import ChildConfig, PerCpuSas, StartAction
from sim.ike.constants import NotifyType
from sim.ike.errors import PeerError
from sim.ike.message import Message
from sim.ike.payloads import NotifyPayload
from sim.wire.resource import ALL, Share
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

MOST_PER_CPU = 2
"""How many Child SAs a responder takes for each of its own CPUs: its peer may have more of them."""

_CPU_BYTES = 4


def octets(cpu: int) -> bytes:
    """What SA_RESOURCE_INFO holds."""
    return b"" if cpu == ALL else cpu.to_bytes(_CPU_BYTES, "big")


def notify(data: bytes) -> NotifyPayload:
    return NotifyPayload(NotifyType.SA_RESOURCE_INFO, data)


def is_told(message: Message) -> bool:
    """Whether the peer says that there may be several."""
    return message.notify(NotifyType.SA_RESOURCE_INFO) is not None


def is_wanted(config: ChildConfig) -> bool:
    return config.per_cpu_sas is not PerCpuSas.NO


def share_of(sa: IkeSa, config: ChildConfig, cpu: int = ALL) -> Share:
    """The part of a Child SA whose peer knows that there may be several."""
    return Share(
        sa.ctx.config.cpus,
        cpu,
        asks=config.start is not StartAction.NONE,
        scatter=config.per_cpu_sas is PerCpuSas.ENCAP,
    )


def assigned(
    sa: IkeSa, config: ChildConfig, local: tuple[Selector, ...], remote: tuple[Selector, ...]
) -> Share:
    """What a responder makes of a request for one of several: the one for all, or one for a CPU of its own.

    That is the highest of those with the fewest. PeerError where there are enough of them.
    """
    cpus = sa.ctx.config.cpus
    same = [
        child.share
        for child in sa.children.values()
        if child.share is not None
        and (child.config, child.local_ts, child.remote_ts) == (config, local, remote)
        and not (child.deleting or child.replaced)
    ]
    if all(share.is_bound for share in same):
        return share_of(sa, config)
    bound = [share.cpu for share in same if share.is_bound]
    if len(bound) >= MOST_PER_CPU * cpus:
        text = f"there are {len(bound)} Child SAs for {cpus} CPUs, and one for all of them (RFC 9611)"
        raise PeerError(NotifyType.TS_MAX_QUEUE, text)
    return share_of(sa, config, min(reversed(range(cpus)), key=bound.count))
