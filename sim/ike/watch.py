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
from sim.ike.events import KeepaliveSent
from sim.ike.exchanges import State
from sim.ike.mapping_life import MappingLife
from sim.ike.tasks.base import Job, Task
from sim.ike.tasks.liveness import CheckLiveness
from sim.ike.tasks.probe_mapping import HEADERS, ProbeMapping
from sim.wire.udp_encap import KEEPALIVE

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


_ANSWERED_WITHIN = 8
"""What comes from the peer in this part of an idle time is the answer to what we sent last."""


class Watch:
    def __init__(self, sa: IkeSa) -> None:
        self._sa = sa
        self._life: MappingLife | None = None
        self._kept_at = -1
        self._mapping_asked = False

    def start(self, now: int) -> None:
        """Start the clocks that the SA's path and configuration ask for, and stop the others."""
        sa, timers = self._sa, self._sa.ctx.timers
        if sa.path.nat_local and sa.connection.keepalive and sa.state is State.ESTABLISHED:
            timers.arm(self._key("keepalive"), now + self._interval(), self._keepalive_due)
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
        delay = self._interval()
        last = max(sa.last_out_at, self._kept_at, self._last_esp("last_out_at"))
        at = last + delay
        if at <= now:
            self._keep(last, now)
            at = now + self._interval()
        sa.ctx.timers.arm(self._key("keepalive"), at, self._keepalive_due)

    def set_pace(self, now: int) -> None:
        """The next keepalive is due by what is known of the mapping now."""
        if self._sa.path.nat_local and self._sa.state is State.ESTABLISHED:
            at = max(self._sa.last_out_at, self._kept_at) + self._interval()
            self._sa.ctx.timers.arm(self._key("keepalive"), max(now, at), self._keepalive_due)

    def _keep(self, last: int, now: int) -> None:
        """Refresh the mapping, by a keepalive or by a question; `last` is when we sent something."""
        sa, life = self._sa, self._life
        heard = max(sa.last_in_at, self._last_esp("last_in_at"))
        woke = now - max(last, heard) > sa.connection.radio_tail
        self._kept_at = now
        if life is not None and not sa.requests.busy and life.asks(known=sa.seen_as is not None):
            quiet = heard - last <= (now - last) // _ANSWERED_WITHIN
            job: list[Task] = [ProbeMapping(life, now - last, quiet=quiet, woke=woke)]
            sa.requests.submit(Job(ExchangeType.INFORMATIONAL, job), now)
        else:
            path = sa.path
            sa.ctx.keepalive(path.local, path.esp_remote or path.remote, sa.connection.dscp)
            size = HEADERS[len(path.local[0])] + len(KEEPALIVE)
            sa.ctx.emit(KeepaliveSent(sa.ike_id, sa.connection.name, size, woke))

    def _interval(self) -> int:
        """Fixed, or as long as this NAT has been found to keep a mapping."""
        sa, config = self._sa, self._sa.connection
        if not config.keepalive_adaptive or not sa.began:
            return config.keepalive
        if self._life is None:
            self._life = MappingLife(config.keepalive, config.keepalive_max)
        self._life.at((sa.path.local[0], sa.path.remote[0]))
        # Without a first answer there is nothing to compare with: that is had at the safe interval.
        return self._life.settled if sa.seen_as is None else self._life.interval

    def inherit(self, old: Watch) -> None:
        """What was found out holds after a rekeying."""
        self._life = old._life

    @property
    def interval(self) -> int:
        """Between keepalives, ns; 0 without a NAT of our own."""
        if not (self._sa.path.nat_local and self._sa.connection.keepalive):
            return 0
        life = self._life
        return self._sa.connection.keepalive if life is None else life.settled

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
