"""One more Child SA with the selectors of another, for one resource of this host alone (RFC 9611).

    HDR, SK {N(SA_RESOURCE_INFO), SA, Ni, [KEi,] TSi, TSr}  -->
                                <--  HDR, SK {N(SA_RESOURCE_INFO), SA, Nr, [KEr,] TSi, TSr}
                                or:  HDR, SK {N(TS_MAX_QUEUE)}

What both sides know of it is in `sim.ike.resource`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike import resource
from sim.ike.constants import ExchangeType
from sim.ike.errors import reason_of
from sim.ike.events import Reason, ResourceRefused
from sim.ike.exchanges import State
from sim.ike.payloads import NotifyPayload
from sim.ike.tasks.base import Job
from sim.ike.tasks.child_initiate import InitiateChild
from sim.wire.esp import Mode
from sim.wire.resource import Share
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.child import ChildSa
    from sim.ike.message import Message
    from sim.ike.sa import IkeSa

_PASSING = (Reason.TEMPORARY_FAILURE, Reason.STATE_NOT_FOUND)


class InitiateResource(InitiateChild):
    """We ask, for a CPU of ours; `common` is the Child SA that it has used so far."""

    further = True

    def __init__(self, common: ChildSa, cpu: int) -> None:
        super().__init__(ExchangeType.CREATE_CHILD_SA, common.config)
        self._common = common
        self._cpu = cpu

    def needed(self, sa: IkeSa) -> bool:
        return self._common.up and not (self._common.deleting or self._common.replaced)

    def _resource(self) -> bytes | None:
        return resource.octets(self._cpu)

    def _share(self, sa: IkeSa, message: Message) -> Share | None:
        return resource.share_of(sa, self.config, self._cpu) if resource.is_told(message) else None

    def _wanted_selectors(self, sa: IkeSa) -> tuple[tuple[Selector, ...], tuple[Selector, ...]]:
        return self._common.local_ts, self._common.remote_ts

    def _wants_transport(self, sa: IkeSa) -> bool:
        return self._common.mode is Mode.TRANSPORT

    def _refused(self, sa: IkeSa, error: NotifyPayload | None, now: int) -> None:
        reason = reason_of(0 if error is None else error.type)
        self._fail(sa, reason, f"the peer refused it: {reason}")
        if reason in _PASSING:
            wait = sa.ctx.config.retry_wait
            key = ("resource", self._common.spi_in, self._cpu)
            sa.ctx.timers.arm(key, now + wait, lambda due: add_resource(self._common, self._cpu, due))

    def _fail(self, sa: IkeSa, reason: Reason, text: str) -> None:
        self.abandon(sa)
        sa.ctx.emit(
            ResourceRefused(sa.ike_id, sa.connection.name, self.config.name, self._cpu, True, reason, text)
        )


def add_resource(common: ChildSa, cpu: int, now: int) -> None:
    """Ask for a Child SA of a CPU's own, beside the one that all may use; nothing happens if that is gone."""
    sa = common.ike
    if common.up and sa.state is State.ESTABLISHED and not common.replaced:
        sa.requests.submit(Job(ExchangeType.CREATE_CHILD_SA, [InitiateResource(common, cpu)]), now)
