"""How long SAs live: soft limits rekey, hard limits end (RFC 7296 2.8), and refused rekeyings (2.25).

Limits are each side's own. A soft limit comes earlier by a part of `rand_time` that the SPI decides, which
nobody can foresee, so that the two sides do not rekey at once and no SAs of one host all do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.ike.child import earlier
from sim.ike.constants import ExchangeType
from sim.ike.events import Reason
from sim.ike.exchanges import State
from sim.ike.tasks.base import Job
from sim.ike.tasks.child_rekey import RekeyChild
from sim.ike.tasks.delete import DeleteChild
from sim.ike.tasks.ike_rekey import RekeyIke
from sim.units import format_duration

if TYPE_CHECKING:
    from sim.ike.child import ChildSa
    from sim.ike.config import ChildConfig
    from sim.ike.sa import IkeSa


class Lifetimes:
    """The clocks of one IKE SA and of its Child SAs."""

    def __init__(self, sa: IkeSa) -> None:
        self._sa = sa
        self._refused_at = -1
        self.reauth_at = 0
        self.authenticated_at = -1

    # -- Child SAs ---------------------------------------------------------------------------------------

    def start_child(self, child: ChildSa, now: int) -> None:
        config, timers = child.config, self._sa.ctx.timers
        child.expires_at = now + config.life_time if config.life_time else 0
        if config.rekey_time:
            soft = earlier(config.rekey_time, config.rand_time, child.spi_in)
            timers.arm(("lifetime", child.spi_in), now + soft, lambda due: _child_due(child, due))
        elif config.life_time:
            timers.arm(("lifetime", child.spi_in), child.expires_at, lambda due: expire_child(child, due))

    def stop_child(self, child: ChildSa) -> None:
        self._sa.ctx.timers.cancel(("lifetime", child.spi_in))

    def retry_child(self, child: ChildSa, reason: Reason, now: int) -> None:
        """The peer refused for the time being: wait, and ask again for a while (RFC 7296 2.25)."""
        self._retry(("retry", child.spi_in), reason, lambda due: rekey_child(child, due), now)

    def retry_create(self, config: ChildConfig, reason: Reason, now: int) -> None:
        """As `retry_child`, for a Child SA that there is not yet; its IKE SA may be another one by then."""
        key = ("create", self._sa.ike_id, config.name)
        self._retry(key, reason, lambda due: create_child(self._sa, config, due), now)

    # -- the IKE SA --------------------------------------------------------------------------------------

    def start_ike(self, now: int) -> None:
        sa = self._sa
        config = sa.connection
        if config.rekey_time:
            soft = earlier(config.rekey_time, config.rand_time, int.from_bytes(sa.own_spi, "big"))
            sa.ctx.timers.arm(self._key, now + soft, lambda due: self._ike_due(now, due))
        if self.authenticated_at < 0:
            self.authenticated_at = now
        if config.reauth_time and not self.reauth_at:
            self.reauth_at = self.authenticated_at + self._reauth_time()
        if self.reauth_at:
            sa.ctx.timers.arm((sa.ike_id, "reauth"), max(now, self.reauth_at), self._reauth_due)

    def stop_ike(self) -> None:
        self._sa.ctx.timers.cancel(self._key)
        self._sa.ctx.timers.cancel((self._sa.ike_id, "reauth"))

    def limit_authentication(self, lifetime: int, now: int) -> None:
        """The responder takes our authentication for that long (RFC 4478 3): renew it when 9/10 are over."""
        at = now + lifetime * 9 // 10
        if not self.reauth_at or at < self.reauth_at:
            self.reauth_at = at
            self._sa.ctx.timers.arm((self._sa.ike_id, "reauth"), at, self._reauth_due)

    def inherit(self, old: Lifetimes) -> None:
        """Rekeying proves nobody's identity anew."""
        self.reauth_at, self.authenticated_at = old.reauth_at, old.authenticated_at

    def _reauth_time(self) -> int:
        """Who can call does so a little earlier, by chance; who cannot waits a little longer than it said."""
        sa = self._sa
        limit = sa.connection.reauth_time
        if not sa.connection.remote_addrs:
            return limit + limit // 10
        return earlier(limit, min(sa.connection.rand_time, limit // 10), int.from_bytes(sa.own_spi, "big"))

    def _reauth_due(self, now: int) -> None:
        """Who can call authenticates again; who cannot has said how long this one holds (RFC 4478 2)."""
        sa = self._sa
        text = f"authenticated {format_duration(now - self.authenticated_at)} ago"
        if sa.connection.remote_addrs:
            sa.reauthenticate(text, now)
        else:
            sa.end_politely(Reason.EXPIRED, f"{text}, and the peer did not do so again", now)

    def retry_ike(self, reason: Reason, now: int) -> None:
        """As `retry_child`, for the IKE SA."""
        self._retry((self._sa.ike_id, "retry"), reason, lambda due: rekey_ike(self._sa, due), now)

    def _ike_due(self, since: int, now: int) -> None:
        config = self._sa.connection
        rekey_ike(self._sa, now)
        if config.over_time:
            hard_at = since + config.rekey_time + config.over_time
            self._sa.ctx.timers.arm(self._key, max(now, hard_at), self._expire_ike)

    def _expire_ike(self, now: int) -> None:
        config = self._sa.connection
        text = f"its lifetime of {format_duration(config.rekey_time + config.over_time)} is over"
        self._sa.end_politely(Reason.EXPIRED, text, now)

    @property
    def _key(self) -> tuple[int, str]:
        return (self._sa.ike_id, "lifetime")

    def rekeyed(self) -> None:
        """A rekeying went well: refusals count anew."""
        self._refused_at = -1

    def _retry(self, key: tuple[object, ...], reason: Reason, again: Callable[[int], None], now: int) -> None:
        sa, config = self._sa, self._sa.ctx.config
        if self._refused_at < 0:
            self._refused_at = now
        if now - self._refused_at >= config.retry_for:
            text = f"the peer has refused for {format_duration(now - self._refused_at)}: {reason}"
            sa.end_politely(reason, text, now)
            return
        wait = earlier(config.retry_wait, config.retry_wait // 2, int.from_bytes(sa.own_spi, "big"))
        sa.ctx.timers.arm(key, now + wait, again)


def create_child(sa: IkeSa, config: ChildConfig, now: int) -> None:
    """Ask for a Child SA, in the IKE SA or in what has replaced it, unless there is one."""
    while sa.heir is not None:
        sa = sa.heir
    if sa.state is State.ESTABLISHED and not sa.has_child(config, None):
        sa.wanted.append((config, None))
        sa.create_wanted(now)


def rekey_child(child: ChildSa, now: int) -> None:
    """Ask for a successor, unless that is under way or the Child SA ends anyway."""
    if child.up and not (child.deleting or child.replaced or child.rekeying):
        child.ike.requests.submit(Job(ExchangeType.CREATE_CHILD_SA, [RekeyChild(child)]), now)


def rekey_ike(sa: IkeSa, now: int) -> None:
    """Ask for a successor of an IKE SA, unless that is under way or it ends anyway."""
    waiting = sa.requests.tasks(RekeyIke)
    if sa.state is State.ESTABLISHED and not sa.standby and not waiting:
        sa.requests.submit(Job(ExchangeType.CREATE_CHILD_SA, [RekeyIke()]), now)


def expire_child(child: ChildSa, now: int) -> None:
    """A hard limit: the Child SA is used no more (RFC 7296 2.8), from now on; its peer is told."""
    if not child.up:
        return
    text = "its lifetime is over"
    child.ike.give_up_child(child, Reason.EXPIRED, text)
    if not child.deleting:
        job = Job(ExchangeType.INFORMATIONAL, [DeleteChild(child, Reason.EXPIRED, text)])
        child.ike.requests.submit(job, now)


def _child_due(child: ChildSa, now: int) -> None:
    rekey_child(child, now)
    if child.expires_at:
        timers = child.ike.ctx.timers
        timers.arm(
            ("lifetime", child.spi_in), max(now, child.expires_at), lambda due: expire_child(child, due)
        )
