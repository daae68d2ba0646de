"""What a stateful firewall remembers: the table of a NAT that translates nothing (RFC 6092 3, RFC 7288 3).

Every internal endpoint stands for itself, so no two collide and none runs out. What remains of a NAT are its
filter, its timeouts and the states of TCP. ESP and AH have endpoints without ports: state by address alone.
"""

from __future__ import annotations

from sim.net.nat_ports import PortBook
from sim.net.nat_table import NatTable
from sim.wire.address import Sock


class IdentityBook(PortBook):
    """Gives every internal endpoint itself."""

    def take(self, _protocol: int, internal: Sock) -> Sock | None:
        return internal

    def take_another(self, _protocol: int, _internal: Sock, external: Sock) -> Sock | None:
        return external

    def give_back(self, _protocol: int, _internal: Sock, _external: Sock) -> None:
        """There is nothing to give back."""


class FilterTable(NatTable):
    """`outbound` gives its source and `inbound` its destination back, or None for what may not pass."""

    def _new_book(self) -> PortBook:
        return IdentityBook(self.profile, self.addresses, self._choose)

    def knows(self, protocol: int, inside: Sock, remote: Sock, now: int) -> bool:
        """Whether the filter lets `remote` send to `inside` at the moment; refreshes nothing."""
        mapping = self._live(protocol, inside, now)
        return mapping is not None and mapping.permits.get(self._filter_view(remote), now) > now
