"""Policies of children without an SA: what they protect never goes in clear (RFC 4301 4.4.1, 5.1).

Every child has one from the start, whatever its start action. Those that cannot ask for an SA drop, and come
last: they must not stand before another child that can ask for the same traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sim.ike.config import ChildConfig, ConnectionConfig, Shunt, StartAction
from sim.ipsec.policy import BYPASS_PRIORITY, DISCARD_PRIORITY, PROTECT_PRIORITY, Action, Policy
from sim.tunnels.virtual import any_address, is_virtual
from sim.wire.selector import Selector

PEERS_ALONE = "no SA: only the peer can set it up"
NOT_BY_ITSELF = "no SA: its start_action is none"

Callers = Mapping[str, tuple[Selector, ...]]
"""By connection without a remote address: what those who will call may have for their side of a Child SA."""


@dataclass(frozen=True, slots=True)
class Trap:
    """A policy without an SA, and why a packet may not start a negotiation; empty when it may."""

    policy: Policy
    mute: str


def traps(connections: Iterable[ConnectionConfig], own: Iterable[bytes], callers: Callers) -> list[Trap]:
    """Those of all children, in the order in which they must be looked at.

    `own` are the host's addresses, which a dynamic local selector may become. A child has none while nobody
    is known who could call: its SA brings its own policy.
    """
    addresses = sorted(own)
    found = [
        Trap(_policy(connection, child, local, remote), _why_not(connection, child))
        for connection in connections
        for child in connection.children
        for local in [_local(connection, child, addresses)]
        for remote in [child.remote_ts or _hosts(connection.remote_addrs) or callers.get(connection.name, ())]
        if remote
    ]
    return sorted(found, key=lambda trap: (trap.policy.priority, bool(trap.mute)))


def shunt_policies(shunts: Iterable[Shunt]) -> list[Policy]:
    """What bypasses and what is discarded, in their order."""
    found = [
        Policy(
            shunt.name,
            Action.BYPASS if shunt.bypass else Action.DISCARD,
            shunt.local_ts,
            shunt.remote_ts,
            priority=shunt.priority or (BYPASS_PRIORITY if shunt.bypass else DISCARD_PRIORITY),
        )
        for shunt in shunts
    ]
    return sorted(found, key=lambda policy: policy.priority)


def _policy(
    connection: ConnectionConfig,
    child: ChildConfig,
    local: tuple[Selector, ...],
    remote: tuple[Selector, ...],
) -> Policy:
    return Policy(
        f"{connection.name}/{child.name}",
        Action.PROTECT,
        local,
        remote,
        connection=connection.name,
        child=child.name,
        mode=child.mode,
        priority=priority_of(child),
    )


def priority_of(child: ChildConfig | None) -> int:
    """That of a child's policies, with an SA or without."""
    return child.priority if child and child.priority else PROTECT_PRIORITY


def _local(connection: ConnectionConfig, child: ChildConfig, own: list[bytes]) -> tuple[Selector, ...]:
    """Where packets need an SA from; with virtual IPs that is everywhere, for they come and go."""
    if is_virtual(connection, child):
        return any_address(connection)
    return child.local_ts or _hosts(connection.local_addrs or own)


def _why_not(connection: ConnectionConfig, child: ChildConfig) -> str:
    if not connection.remote_addrs:
        return PEERS_ALONE
    return NOT_BY_ITSELF if child.start is StartAction.NONE else ""


def _hosts(addresses: Iterable[bytes]) -> tuple[Selector, ...]:
    return tuple(Selector.host(address) for address in addresses)
