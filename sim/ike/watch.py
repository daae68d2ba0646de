"""The two clocks of an established IKE SA: NAT keepalives and liveness checks.

RFC 3948 4 (a keepalive only when nothing else was sent), RFC 7296 2.4 (a check only when nothing was heard).
What the data plane sent and heard counts; it is asked only when a clock runs out.

Behind a NAT an initiator with MOBIKE watches its mapping, which ESP cannot tell of: a NAT that forgets gives
it a new one with the next packet, and the peer's ESP follows, while the peer's IKE must not (RFC 4555 3.8).
So it asks once at the start, and again whenever IKE was silent for the time between two checks; the answers
are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.constants import ExchangeType
from sim.ike.exchanges import State
from sim.ike.tasks.base import Job
from sim.ike.tasks.liveness import CheckLiveness

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


class Watch:
    def __init__(self, sa: IkeSa) -> None:
        self._sa = sa
        self._kept_at = -1
        self._mapping_asked = False

    def start(self, now: int) -> None:
        """Start the clocks that the SA's path and configuration ask for, and stop the others."""
        sa, timers = self._sa, self._sa.ctx.timers
        if sa.path.nat_local and sa.connection.keepalive and sa.state is State.ESTABLISHED:
            timers.arm(self._key("keepalive"), now + sa.connection.keepalive, self._keepalive_due)
        else:
            timers.cancel(self._key("keepalive"))
        if sa.connection.dpd_delay and sa.state is State.ESTABLISHED:
            first_at = now if self._mapping_unknown() else now + sa.connection.dpd_delay
            timers.arm(self._key("liveness"), first_at, self._liveness_due)

    def stop(self) -> None:
        self._sa.ctx.timers.cancel(self._key("keepalive"))
        self._sa.ctx.timers.cancel(self._key("liveness"))

    def check(self, now: int) -> None:
        """Ask the peer now, unless a question is on its way already."""
        sa = self._sa
        if sa.state is State.ESTABLISHED and not sa.requests.busy:
            self._mapping_asked = True
            sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [CheckLiveness()]), now)

    def look_after(self, now: int) -> None:
        """Something that nobody vouches for says that the peer has lost the SA (RFC 7296 2.4).

        A question that is on its way is only repeated: no stranger may lengthen or shorten our patience.
        """
        if self._sa.requests.outstanding:
            self._sa.requests.repeat(now)
        else:
            self.check(now)

    def _keepalive_due(self, now: int) -> None:
        sa = self._sa
        delay = sa.connection.keepalive
        at = max(sa.last_out_at, self._kept_at, self._last_esp("last_out_at")) + delay
        if at <= now:
            sa.ctx.keepalive(sa.path.local, sa.path.esp_remote or sa.path.remote, sa.connection.dscp)
            self._kept_at = now
            at = now + delay
        sa.ctx.timers.arm(self._key("keepalive"), at, self._keepalive_due)

    def _liveness_due(self, now: int) -> None:
        sa = self._sa
        delay = sa.connection.dpd_delay
        heard_at = (
            sa.last_in_at if self._watches_mapping() else max(sa.last_in_at, self._last_esp("last_in_at"))
        )
        at = heard_at + delay
        if at <= now or self._mapping_unknown():
            self.check(now)
            at = now + delay
        sa.ctx.timers.arm(self._key("liveness"), at, self._liveness_due)

    def _mapping_unknown(self) -> bool:
        """Whether a check could not notice yet that the NAT changes our mapping, for want of one before."""
        return self._watches_mapping() and not self._mapping_asked

    def _watches_mapping(self) -> bool:
        return self._sa.began and self._sa.mobike and self._sa.path.nat_local

    def _last_esp(self, name: str) -> int:
        sa = self._sa
        uses = (sa.ctx.usage(spi) for spi in sa.children)
        return max((getattr(use, name) for use in uses if use is not None), default=-1)

    def _key(self, kind: str) -> tuple[int, str]:
        return (self._sa.ike_id, kind)
