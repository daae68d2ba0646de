"""The data plane of one node: what leaves is protected, what arrives is opened and checked (RFC 4301 5).

Pure given `now`; the control plane installs SAs and drains events. Packets of IKE itself, on its two UDP
ports of a local address, pass by all policies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from sim.ipsec.events import Event
from sim.ipsec.sad import InboundSa, OutboundSa, Sad, Usage
from sim.ipsec.spd import Spd
from sim.ipsec.spec import ChildSpec
from sim.ipsec.verdict import Verdict
from sim.wire.address import Sock


class Engine:
    """SPD, SAD and the two ways through them."""

    def __init__(self, *, rand: Callable[[int], bytes], ike_port: int = 500, natt_port: int = 4500) -> None:
        self._rand = rand
        self._events: deque[Event] = deque()
        self.spd = Spd(self._forget_flows)
        self.sad = Sad()

    @property
    def local_addresses(self) -> frozenset[bytes]:
        """The addresses at which ESP is opened; assign the whole set anew when one comes or goes."""
        raise NotImplementedError

    @local_addresses.setter
    def local_addresses(self, addresses: Iterable[bytes]) -> None:
        raise NotImplementedError

    def install(self, spec: ChildSpec, now: int) -> None:
        """Make both SAs and the policy for them, which goes before all others: the newest pair is used.

        ValueError for an inbound SPI that is in use, and for keys or settings that do not fit together.
        """
        raise NotImplementedError

    def remove(self, spi_in: int) -> None:
        """Forget a pair of SAs and its policy; nothing happens when there is none."""
        raise NotImplementedError

    def move(self, spi_in: int, local: Sock, remote: Sock, encap: bool) -> None:
        """Give a pair of SAs other outer addresses; SPIs, sequence numbers, window and counters stay."""
        raise NotImplementedError

    def pair(self, spi_in: int) -> tuple[InboundSa, OutboundSa]:
        """Both SAs of a pair; KeyError when there is none."""
        raise NotImplementedError

    def usage(self, spi_in: int) -> Usage | None:
        raise NotImplementedError

    def outbound(self, ip: bytearray, now: int) -> bytearray | Verdict:
        """The protected packet (a new one; `ip` is left as it was), or why there is none."""
        raise NotImplementedError

    def inbound(self, ip: bytearray, now: int) -> bytearray | Verdict:
        """The inner packet of ESP for this node; BYPASS for what arrives rightly in the clear; else Drop.

        Takes any octets whatever and never raises. Octets that fail a check change nothing but counters.
        """
        raise NotImplementedError

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def protecting(self, ip: bytearray) -> int | None:
        """The inbound SPI of the pair that would protect an outbound packet, for questions about its size."""
        raise NotImplementedError

    def overhead(self, spi_in: int, inner_bytes: int) -> int:
        """How many octets longer the protected form of an `inner_bytes` long IPv4 packet is."""
        raise NotImplementedError

    def max_inner(self, mtu: int, spi_in: int) -> int:
        """The longest packet whose protected form fits into `mtu` octets."""
        raise NotImplementedError

    def _forget_flows(self) -> None:
        raise NotImplementedError
