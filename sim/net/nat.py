"""A NAT box: a router that translates between its inside ports and its one outside port (RFC 3022).

    from inside:  TTL, MTU -> mapping -> rewrite the source      -> outside
    from outside: mapping, filter -> TTL, MTU -> rewrite the destination -> inside

TTL and MTU come before the rewriting, so that an ICMP error quotes the packet that its sender knows.
Fragments are reassembled first. ICMP errors pass with the packet that they quote translated (RFC 5508).
UDP, TCP and ICMP echo are translated; a protocol without ports cannot be. IPv6 is forwarded as it is.
What comes from outside uninvited is dropped in silence, except for a ping of the box itself, and for what a
connection tracker takes for its own.
"""

from __future__ import annotations

from sim.net.conntrack import ConnectionTracker
from sim.net.engine import Simulation
from sim.net.nat_profile import NAT_PRESETS, DependsOn, NatProfile, PortAssignment
from sim.net.nat_table import NatTable
from sim.net.node import IpNode, destination, is_fragment, is_unicast
from sim.net.packet import Packet
from sim.net.port import Port
from sim.net.translate import (
    DST,
    SRC,
    UntranslatableError,
    endpoints,
    is_echo,
    is_icmp_error,
    quoted_endpoints,
    rewrite,
    rewrite_error,
)
from sim.wire import ip
from sim.wire.address import Sock
from sim.wire.buffer import WireError
from sim.wire.icmp import IcmpError, IcmpType
from sim.wire.ip import Protocol

__all__ = ["NAT_PRESETS", "DependsOn", "NatBox", "NatProfile", "NatTable", "PortAssignment"]

_NO_ADDRESS = bytes(4)


class NatBox(IpNode):
    """All ports but the one named `outside` are inside. Its first IPv4 address is the external address."""

    forwarding = True

    def __init__(self, sim: Simulation, name: str, *, outside: str, profile: NatProfile) -> None:
        super().__init__(sim, name)
        self.outside = outside
        table = ConnectionTracker if profile.tracks_connections else NatTable
        self.nat: NatTable | ConnectionTracker = table(profile, _NO_ADDRESS, sim.rng(f"nat:{name}").randrange)

    def port_changed(self) -> None:
        """Mappings do not survive a change of the external address, as with Linux's masquerade."""
        port = self.ports.get(self.outside)
        address = port.first_address(4) if port is not None else None
        if (address or _NO_ADDRESS) != self.nat.address:
            self.nat.move(address or _NO_ADDRESS)
        super().port_changed()

    def accepted(self, packet: Packet, port: Port, now: int) -> None:
        if packet.data[0] >= 0x60:
            self.input(packet, now)
            return
        if is_fragment(packet.data):
            whole = self.reassemble(packet, now)
            if whole is None:
                return
            packet = whole
        try:
            if port.name == self.outside:
                self._from_outside(packet, now)
            else:
                self._from_inside(packet, now)
        except UntranslatableError as reason:
            self.drop(packet, str(reason), now)
        except WireError:
            self.drop(packet, "malformed ICMP message", now)

    def _from_inside(self, packet: Packet, now: int) -> None:
        dst = destination(packet.data)
        if dst == self.nat.address and self._is_hairpin(packet.data):
            self._hairpin(packet, now)
            return
        if self.is_local(dst) or not is_unicast(dst):
            self.input(packet, now)
            return
        port = self.routes.lookup(dst)
        if port is None or port.name != self.outside:
            self.input(packet, now)
        elif self.nat.address == _NO_ADDRESS:
            self.drop(packet, "NAT without an external address", now)
        elif is_icmp_error(packet.data):
            self._error_from_inside(packet, port, now)
        elif is_echo(packet.data, IcmpType.ECHO_REPLY):
            self.drop(packet, "no mapping", now)  # no request came in, so nothing asked for it
        else:
            protocol, src, remote = endpoints(packet.data)
            if not self._may_leave(packet, port, now):
                return
            external = self.nat.outbound(protocol, src, remote, now)
            if external is None:
                self.drop(packet, "NAT has no port left", now)
                return
            rewrite(packet.data, SRC, external)
            self.transmit(packet, now)

    def _from_outside(self, packet: Packet, now: int) -> None:
        dst = destination(packet.data)
        if dst != self.nat.address:
            self.drop(packet, "no mapping", now)
        elif is_icmp_error(packet.data):
            self._error_from_outside(packet, now)
        elif is_echo(packet.data, IcmpType.ECHO_REQUEST):
            self.deliver(packet, now)
        else:
            protocol, remote, external = endpoints(packet.data)
            internal = self.nat.inbound(protocol, remote, external, now)
            if internal is not None:
                self._to_inside(packet, internal, now)
            elif self.nat.uninvited(protocol, remote, external, now):
                self.deliver(packet, now)
            elif self.nat.internal_of(protocol, external, now) is not None:
                self.drop(packet, "filtered", now)
            elif protocol == Protocol.UDP and external[1] in self.udp:
                self.deliver(packet, now)
            else:
                self.drop(packet, "no mapping", now)

    def _to_inside(self, packet: Packet, internal: Sock, now: int) -> None:
        port = self.routes.lookup(internal[0])
        if port is None:
            self.drop(packet, "no route", now)
        elif self._may_leave(packet, port, now):
            rewrite(packet.data, DST, internal)
            self.transmit(packet, now)

    def _error_from_inside(self, packet: Packet, port: Port, now: int) -> None:
        """About a packet that came in: quoted is what the inside saw of it."""
        protocol, remote, internal = quoted_endpoints(packet.data)
        external = self.nat.external_of(protocol, internal, remote, now)
        if external is None:
            self.drop(packet, "no mapping", now)
        elif self._may_leave(packet, port, now):
            rewrite_error(packet.data, SRC, self.nat.address, DST, external)
            self.transmit(packet, now)

    def _error_from_outside(self, packet: Packet, now: int) -> None:
        """About a packet that went out, or about one that the box itself has sent."""
        protocol, external, remote = quoted_endpoints(packet.data)
        internal = self.nat.internal_of(protocol, external, now, remote)
        if internal is None:
            self.deliver(packet, now)
            return
        port = self.routes.lookup(internal[0])
        if port is None:
            self.drop(packet, "no route", now)
        elif self._may_leave(packet, port, now):
            rewrite_error(packet.data, DST, internal[0], SRC, internal)
            self.transmit(packet, now)

    def _is_hairpin(self, data: bytearray) -> bool:
        ported = data[9] in (Protocol.UDP, Protocol.TCP)
        return self.nat.profile.hairpinning and ported and self.nat.address != _NO_ADDRESS

    def _hairpin(self, packet: Packet, now: int) -> None:
        """From inside to inside by way of the external address (RFC 4787 6)."""
        protocol, src, dst = endpoints(packet.data)
        external = self.nat.outbound(protocol, src, dst, now)
        if external is None:
            self.drop(packet, "NAT has no port left", now)
            return
        internal = self.nat.inbound(protocol, external, dst, now)
        if internal is None:
            mapped = self.nat.internal_of(protocol, dst, now) is not None
            self.drop(packet, "filtered" if mapped else "no mapping", now)
            return
        rewrite(packet.data, SRC, external)
        self._to_inside(packet, internal, now)

    def _may_leave(self, packet: Packet, port: Port, now: int) -> bool:
        """Count the hop, and refuse a packet whose size or TTL does not allow the next one."""
        data = packet.data
        if len(data) > port.mtu and data[6] & 0x40:
            self.refuse(packet, "packet too big", IcmpError.TOO_BIG, now, port.mtu)
        elif not ip.decrement_ttl(data):
            self.refuse(packet, "TTL exceeded", IcmpError.TTL_EXCEEDED, now)
        else:
            return True
        return False
