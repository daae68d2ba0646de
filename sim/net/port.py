"""Where a node meets a link: addresses, MTU, state, and the tap that a capture listens at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.wire.address import format_address

if TYPE_CHECKING:
    from sim.net.link import HalfLink
    from sim.net.node import IpNode
    from sim.net.packet import Packet

MIN_MTU = 68
MAX_MTU = 65535

Tap = Callable[["Port", bytearray, int, bool], None]
"""(port, octets, at_ns, outbound); the octets must be copied to be kept.

An outbound packet is seen when its last bit leaves, an inbound one when its last bit arrives. So the times
at one port never run backwards, and a packet that the queue dropped is never seen.
"""


class Port:
    """A network interface of one node.

    It is `up` while it is switched on and its link, if it has one, is up. An address stays local to its
    node when the port goes down (the weak host model, RFC 1122 3.3.4.2).
    """

    __slots__ = ("_enabled", "_mtu", "_tap", "addresses", "link", "link_in", "name", "node")

    def __init__(self, node: IpNode, name: str, mtu: int = 1500) -> None:
        self.node = node
        self.name = name
        self.addresses: list[tuple[bytes, int]] = []
        """(packed address, prefix length); change them with `add_address` and `remove_address`."""
        self.link: HalfLink | None = None
        """The outgoing direction of the link; `link_in` is the incoming one."""
        self.link_in: HalfLink | None = None
        self._mtu = _checked_mtu(mtu)
        self._enabled = True
        self._tap: Tap | None = None

    def __repr__(self) -> str:
        return f"{self.node.name}:{self.name}"

    @property
    def mtu(self) -> int:
        return self._mtu

    @mtu.setter
    def mtu(self, mtu: int) -> None:
        if mtu != self._mtu:
            self._mtu = _checked_mtu(mtu)
            self.node.port_changed()

    @property
    def up(self) -> bool:
        return self._enabled and (self.link is None or self.link.up)

    def set_up(self, up: bool) -> None:
        """Switch the port on or off; what still waits in its queue when it goes off is dropped."""
        if up == self._enabled:
            return
        self._enabled = up
        if not up and self.link is not None:
            self.link.drop_waiting("port down")
        self.tell_links()
        self.node.port_changed()

    @property
    def tap(self) -> Tap | None:
        return self._tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._tap = tap
        self.tell_links()

    def add_address(self, address: bytes, prefix_length: int) -> None:
        """Own an address, and reach its prefix through this port; ValueError when it is owned already."""
        if any(address == own for own, _ in self.addresses):
            raise ValueError(f"{self!r} has the address {format_address(address)} already")
        self.addresses.append((address, prefix_length))
        self.node.take_address(address)
        self.node.routes.add(address, prefix_length, self)
        self.node.port_changed()

    def remove_address(self, address: bytes) -> None:
        """Give an address up, and the route to its prefix with it; ValueError when it is not there."""
        for entry in self.addresses:
            if entry[0] == address:
                self.addresses.remove(entry)
                self.node.leave_address(address)
                self.node.routes.remove(address, entry[1], self)
                self.node.port_changed()
                return
        raise ValueError(f"{self!r} has no address {format_address(address)}")

    def first_address(self, size: int) -> bytes | None:
        """The first address of a family, by its octets: 4 or 16."""
        return next((address for address, _ in self.addresses if len(address) == size), None)

    def send(self, packet: Packet, now: int) -> None:
        """Hand a packet to the link; a port that is down or not connected drops it."""
        link = self.link
        if link is None:
            self.node.drop(packet, "port not connected", now)
        elif not self._enabled:
            self.node.drop(packet, "port down", now)
        elif not link.up:
            self.node.drop(packet, "link down", now)
        else:
            link.send(packet, now)

    def entry(self) -> Callable[[Packet, Port, int], None]:
        """What the link calls when a packet arrives; it changes with the tap and the state of the port."""
        if self._enabled and self._tap is None:
            return self.node.enter
        return _receive

    def tell_links(self) -> None:
        """What links ask of a port has changed: its state, its tap, or how its node takes packets."""
        for half in (self.link, self.link_in):
            if half is not None:
                half.port_changed()


def _receive(packet: Packet, port: Port, now: int) -> None:
    if not port._enabled:
        port.node.drop(packet, "port down", now)
        return
    if port._tap is not None:
        port._tap(port, packet.data, now, False)
    port.node.enter(packet, port, now)


def _checked_mtu(mtu: int) -> int:
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise ValueError(f"an MTU must be between {MIN_MTU} (RFC 791) and {MAX_MTU} octets, not {mtu}")
    return mtu
