"""Events about an IKE SA, its path and its Child SAs, made from their present state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sim.ike import transport_nat
from sim.ike.bound import may_follow
from sim.ike.child import ChildSa
from sim.ike.events import (
    ChildSaDown,
    ChildSaRetired,
    ChildSaUp,
    IkeKeysDerived,
    IkeSaUp,
    PathChanged,
    Reason,
)
from sim.wire.handling import Handling

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


def keys_derived(sa: IkeSa) -> IkeKeysDerived:
    keys = sa.keys
    return IkeKeysDerived(
        sa.ike_id, sa.spi_i, sa.spi_r, sa.suite, keys.sk_ei, keys.sk_er, keys.sk_ai, keys.sk_ar
    )


def ike_up(sa: IkeSa, replaces: int = 0) -> IkeSaUp:
    path = sa.path
    return IkeSaUp(
        sa.ike_id,
        sa.connection.name,
        sa.initiator,
        sa.spi_i,
        sa.spi_r,
        path.local,
        path.remote,
        str(sa.local_id),
        str(sa.remote_id),
        path.nat_local,
        path.nat_remote,
        path.encap,
        sa.mobike,
        sa.proposal,
        replaces,
        sa.ppk,
        sa.alternatives.resumed is not None,
    )


def path_changed(sa: IkeSa) -> PathChanged:
    path = sa.path
    return PathChanged(
        sa.ike_id,
        sa.connection.name,
        path.local,
        path.esp_remote or path.remote,
        path.encap,
        path.nat_local,
        path.nat_remote,
        tuple(
            spi_in for spi_in, child in sa.children.items() if not child.expired and may_follow(child, path)
        ),
        path.remote if path.esp_remote else None,
    )


def child_up(sa: IkeSa, child: ChildSa, replaces: int) -> ChildSaUp:
    path, config = sa.path, child.config
    return ChildSaUp(
        sa.ike_id,
        sa.connection.name,
        config.name,
        child.mode,
        child.spi_in,
        child.spi_out,
        child.suite,
        child.keys_in,
        child.keys_out,
        path.local,
        path.esp_remote or path.remote,
        path.encap,
        child.local_ts,
        child.remote_ts,
        config.replay_window,
        child.suite.esn,
        child.initiator,
        config.copy_df,
        replaces,
        child.soft_limit,
        (config.life_bytes, config.life_packets),
        cpi_in=child.cpi_in,
        cpi_out=child.cpi_out,
        share=child.share,
        outer=config.outer,
        original=child.original,
        handling=_handling(child),
        tracked=transport_nat.is_tracked(child),
        fragments=child.fragments,
        iptfs=config.iptfs,
        aggfrag=child.aggfrag,
    )


def _handling(child: ChildSa) -> Handling:
    """As configured, without TFC padding where the peer takes none (RFC 7296 1.3.1)."""
    handling = child.config.handling
    return replace(handling, tfc_padding=0) if child.takes_no_padding else handling


def child_retired(sa: IkeSa, child: ChildSa) -> ChildSaRetired:
    return ChildSaRetired(sa.ike_id, sa.connection.name, child.config.name, child.spi_in, child.spi_out)


def child_down(sa: IkeSa, child: ChildSa, reason: Reason, text: str) -> ChildSaDown:
    name = child.config.name
    return ChildSaDown(sa.ike_id, sa.connection.name, name, child.spi_in, child.spi_out, reason, text)
