"""The virtual IPs of one host: which connection has which, and for what packets must come from them."""

from __future__ import annotations

from collections.abc import Iterable

from sim.ike.config import ChildConfig, ConnectionConfig
from sim.ike.events import VirtualIpAssigned, VirtualIpReleased
from sim.ike.tasks.child_terms import ANY_ADDRESS
from sim.ipsec.policy import Policy
from sim.wire.selector import Selector

NO_VIP = "no virtual IP yet"
NOT_VIRTUAL = "no SA covers it: it does not come from the virtual IP"


class VirtualIps:
    """An address is this host's as long as one connection or another has it."""

    def __init__(self, connections: Iterable[ConnectionConfig]) -> None:
        self._dynamic = {
            (connection.name, child.name)
            for connection in connections
            for child in connection.children
            if is_virtual(connection, child)
        }
        self._of: dict[str, list[bytes]] = {}

    def of(self, connection: str) -> list[bytes]:
        """What a connection has, in the order of its `vips`."""
        return self._of.get(connection, [])

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(self._of.values())

    def __contains__(self, address: bytes) -> bool:
        return any(address in addresses for addresses in self._of.values())

    def assigned(self, event: VirtualIpAssigned) -> bool:
        """Note it; whether the address is new to this host."""
        new = event.address not in self
        mine = self._of.setdefault(event.connection, [])
        if event.address not in mine:
            mine.append(event.address)
        return new

    def released(self, event: VirtualIpReleased) -> bool:
        """Note it; whether the address is no longer this host's."""
        mine = self.of(event.connection)
        if event.address in mine:
            mine.remove(event.address)
        return event.address not in self

    def excludes(self, policy: Policy, src: bytes) -> bool:
        """Whether packets that a policy protects must come from another address than `src`, a virtual IP."""
        return (policy.connection, policy.child) in self._dynamic and src not in self.of(policy.connection)


def is_virtual(connection: ConnectionConfig, child: ChildConfig) -> bool:
    """Whether this side of a Child SA is the virtual IP, whichever that will be."""
    return bool(connection.vips) and not child.local_ts


def any_address(connection: ConnectionConfig) -> tuple[Selector, ...]:
    """Selectors for whatever this host may be called as long as it has no virtual IP of the connection."""
    return tuple(ANY_ADDRESS[size] for size in dict.fromkeys(map(len, connection.vips)))
