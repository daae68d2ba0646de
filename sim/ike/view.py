"""A row of the summary for one IKE SA: what a user asks about it, and nothing that could be changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.ike.events import Reason
from sim.wire.address import Sock
from sim.wire.esp import Mode
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


@dataclass(frozen=True, slots=True)
class ChildView:
    child: str
    mode: Mode
    spi_in: int
    spi_out: int
    local_ts: tuple[Selector, ...]
    remote_ts: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class SaView:
    """`established_at` is -1 for an SA that never came up; `reason` and `text` say why it ended.

    `vips` are virtual IPs, this host's or leased to the peer; `dns` came with this host's own.
    """

    ike_id: int
    connection: str
    initiator: bool
    state: str
    spi_i: bytes
    spi_r: bytes
    local: Sock
    remote: Sock
    local_id: str
    remote_id: str
    nat_local: bool
    nat_remote: bool
    encap: bool
    mobike: bool
    proposal: str
    established_at: int
    sent: int
    received: int
    retransmits: int
    reason: Reason
    text: str
    children: tuple[ChildView, ...]
    vips: tuple[bytes, ...] = ()
    dns: tuple[bytes, ...] = ()


def view_of(sa: IkeSa) -> SaView:
    path, configuration = sa.path, sa.configuration
    children = tuple(
        ChildView(c.config.name, c.mode, c.spi_in, c.spi_out, c.local_ts, c.remote_ts)
        for c in sa.children.values()
        if not c.expired
    )
    return SaView(
        sa.ike_id,
        sa.connection.name,
        sa.initiator,
        sa.state.value,
        sa.spi_i,
        sa.spi_r,
        path.local,
        path.remote,
        str(sa.local_id or ""),
        str(sa.remote_id or ""),
        path.nat_local,
        path.nat_remote,
        path.encap,
        sa.mobike,
        sa.proposal,
        sa.established_at,
        sa.sent,
        sa.received,
        sa.retransmits,
        sa.reason,
        sa.text,
        children,
        () if configuration is None else configuration.vips,
        () if configuration is None else configuration.dns,
    )
