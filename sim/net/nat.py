"""A NAT box: a router that translates between its inside ports and its one outside port (RFC 3022).

    from inside:  TTL, MTU -> mapping -> rewrite the source      -> outside
    from outside: mapping, filter -> TTL, MTU -> rewrite the destination -> inside

TTL and MTU come before the rewriting, so that an ICMP error quotes the packet that its sender knows. ICMP
errors pass with the packet that they quote translated (RFC 5508). UDP, TCP and ICMP echo are translated; of
other protocols only ESP, by a habit of `nat_ipsec`, and what has an address to itself (`one_to_one`), where
nothing but addresses changes. IPv6 is forwarded as it is, unless the box has a NAT64 (`nat64`) or other
prefixes for its own (`nptv6`). What comes from outside uninvited is dropped in silence, except for a ping of
the box itself, and for what a connection tracker takes for its own.
"""

from __future__ import annotations

from sim.net.conntrack import ConnectionTracker
from sim.net.engine import Simulation
from sim.net.nat64 import Nat64
from sim.net.nat_ipsec import IpsecHabits
from sim.net.nat_profile import (
    NAT_PRESETS,
    DependsOn,
    Fragments,
    Hairpinning,
    NatProfile,
    PortAssignment,
    UdpChecksum,
)
from sim.net.nat_table import NatTable
from sim.net.node import IpNode, destination, is_fragment, is_unicast
from sim.net.nptv6 import PrefixPair
from sim.net.packet import Packet
from sim.net.port import Port
from sim.net.prefixes import PrefixSwap
from sim.net.translate import (
    DST,
    SRC,
    End,
    UntranslatableError,
    endpoints,
    is_echo,
    is_icmp_error,
    is_later_fragment,
    quoted_endpoints,
    rewrite,
    rewrite_address,
    rewrite_error,
    tcp_flags,
    upper_offset,
)
from sim.wire import ip
from sim.wire.address import Sock
from sim.wire.buffer import WireError
from sim.wire.embedded import Prefix64
from sim.wire.icmp import IcmpError, IcmpType
from sim.wire.ip import Protocol

__all__ = ["NAT_PRESETS", "DependsOn", "NatBox", "NatProfile", "NatTable", "PortAssignment"]

_NO_ADDRESS = bytes(4)


class NatBox(IpNode):
    """All ports but the one named `outside` are inside. Its IPv4 addresses are the external addresses."""

    forwarding = True

    def __init__(self, sim: Simulation, name: str, *, outside: str, profile: NatProfile) -> None:
        super().__init__(sim, name)
        self.outside = outside
        table = ConnectionTracker if profile.tracks_connections else NatTable
        self.nat: NatTable | ConnectionTracker = table(
            profile, (_NO_ADDRESS,), sim.rng(f"nat:{name}").randrange
        )
        self._habits = IpsecHabits(profile)
        self._own: dict[bytes, bytes] = {}  # internal to external addresses, one to one
        self._owner: dict[bytes, bytes] = {}  # and back
        self.nat64: Nat64 | None = None
        self._swap6: PrefixSwap | None = None

    @property
    def profile(self) -> NatProfile:
        return self.nat.profile

    def translate_prefix(self, prefix: Prefix64) -> None:
        """Be a NAT64 for IPv6 packets to addresses of a prefix."""
        self.nat64 = Nat64(self, prefix)

    def swap_prefixes(self, pairs: tuple[PrefixPair, ...]) -> None:
        """Let IPv6 prefixes of the inside be others outside (RFC 6296)."""
        self._swap6 = PrefixSwap(self, pairs)

    def embedded(self, dst: bytes) -> bytes | None:
        """The IPv4 address that an IPv6 one from inside stands for here; None when it is its own."""
        return self.nat64.takes(dst) if self.nat64 is not None and len(dst) == 16 else None

    def outward6(self, address: bytes) -> bytes | None:
        """The outside address of an IPv6 one of the inside whose prefix is swapped; None for others."""
        return self._swap6.outward(address) if self._swap6 is not None else None

    def one_to_one(self, internal: bytes, external: bytes) -> None:
        """Let an internal address have an external one to itself (RFC 3022 2.1), whatever the protocol.

        ValueError when either has a partner already.
        """
        if internal in self._own or external in self._owner:
            raise ValueError("an address stands for one other only")
        self._own[internal] = external
        self._owner[external] = internal
        self.port_changed()

    def configure(self, profile: NatProfile) -> None:
        """Work by another profile from now on; mappings stay, what habits of IPsec had learned is gone."""
        self.nat.configure(profile)
        self._habits = IpsecHabits(profile)

    def reboot(self) -> None:
        """Forget everything but rules; the ports that others took are free again."""
        self.nat.clear()
        self.nat.exhausted = False
        self._habits = IpsecHabits(self.nat.profile)

    def lets_in(self, dst: bytes, protocol: int, ports: tuple[int, int]) -> bytes | None:
        """Who gets unasked packets of a protocol (0: any) to one of some ports of an external address.

        None when there is no rule for them.
        """
        if dst in self._owner:
            return self._owner[dst]
        if len(dst) == 16:
            return self._swap6.inward(dst) if self._swap6 is not None else None
        if dst != self.nat.addresses[0]:
            return None
        for (of, port), (inside, _) in self.nat.forwards().items():
            if protocol in (0, of) and ports[0] <= port <= ports[1]:
                return inside
        return None

    def port_changed(self) -> None:
        """Mappings do not survive a change of the external addresses, as with Linux's masquerade."""
        port = self.ports.get(self.outside)
        found = [] if port is None else [own for own, _ in port.addresses if len(own) == 4]
        shared = tuple(own for own in found if own not in self._owner) or (_NO_ADDRESS,)
        if shared != self.nat.addresses:
            self.nat.move(shared)
        super().port_changed()

    def accepted(self, packet: Packet, port: Port, now: int) -> None:
        data = packet.data
        from_outside = port.name == self.outside
        if data[0] >= 0x60:
            self._accepted6(packet, now, from_outside=from_outside)
            return
        try:
            if self._owner and self._has_partner(data, from_outside=from_outside):
                self._swap(packet, now, from_outside=from_outside)
                return
            if is_fragment(data):
                whole = self._whole(packet, now)
                if whole is None:
                    return
                packet = whole
            if from_outside:
                self._from_outside(packet, now)
            else:
                self._from_inside(packet, now)
        except UntranslatableError as reason:
            self.drop(packet, str(reason), now)
        except WireError:
            self.drop(packet, "malformed ICMP message", now)

    def _accepted6(self, packet: Packet, now: int, *, from_outside: bool) -> None:
        """IPv6 from either side: another version, another prefix, or only another hop."""
        dst = destination(packet.data)
        try:
            if self.nat64 is not None and not from_outside and self.nat64.takes(dst) is not None:
                self.nat64.from_inside(packet, now)
            elif self._swap6 is None or not self._swap6.swapped(packet, now, from_outside=from_outside):
                self.input(packet, now)
        except UntranslatableError as reason:
            self.drop(packet, str(reason), now)
        except WireError:
            self.drop(packet, "malformed ICMP message", now)

    def _whole(self, packet: Packet, now: int) -> Packet | None:
        """What to translate of a fragment: all of the packet, or this piece, or nothing."""
        kind = self.nat.profile.fragments
        if kind is Fragments.REASSEMBLE:
            return self.reassemble(packet, now)
        if kind is Fragments.FIRST_ONLY and not is_later_fragment(packet.data):
            return packet
        self.drop(packet, "NAT drops fragments", now)
        return None

    # One to one

    def _has_partner(self, data: bytearray, *, from_outside: bool) -> bool:
        src, dst = ip.addresses(data)
        if from_outside:
            return dst in self._owner
        return src in self._own and not self.is_local(dst) and self._leads_outside(dst)

    def _leads_outside(self, dst: bytes) -> bool:
        port = self.routes.lookup(dst)
        return port is not None and port.name == self.outside

    def _swap(self, packet: Packet, now: int, *, from_outside: bool) -> None:
        """Exchange an address for its partner; ports, and with them fragments, stay as they are."""
        data = packet.data
        src, dst = ip.addresses(data)
        new = self._owner[dst] if from_outside else self._own[src]
        port = self.routes.lookup(new if from_outside else dst)
        if port is None:
            self.drop(packet, "no route", now)
        elif self._may_leave(packet, port, now):
            rewrite_address(data, DST if from_outside else SRC, new)
            self.transmit(packet, now)

    # Many behind few

    def _from_inside(self, packet: Packet, now: int) -> None:
        data = packet.data
        dst = destination(data)
        if dst in self.nat.addresses and self._is_hairpin(data):
            self._hairpin(packet, now)
            return
        if self.is_local(dst) or not is_unicast(dst):
            self.input(packet, now)
            return
        port = self.routes.lookup(dst)
        if port is None or port.name != self.outside:
            self.input(packet, now)
        elif self.nat.addresses[0] == _NO_ADDRESS:
            self.drop(packet, "NAT without an external address", now)
        elif is_icmp_error(data):
            self._error_from_inside(packet, port, now)
        elif is_echo(data, IcmpType.ECHO_REPLY):
            self.drop(packet, "no mapping", now)  # no request came in, so nothing asked for it
        elif not self._by_habit_out(packet, port, now):
            protocol, src, remote = endpoints(data)
            if not self._may_leave(packet, port, now):
                return
            src = self._habits.apart(data, src)
            flags = tcp_flags(data, protocol)
            external = self.nat.outbound(protocol, src, remote, now, flags)
            if external is None:
                self.drop(packet, self.nat.refusal(protocol, src, remote, now, flags), now)
                return
            self._translate(data, SRC, external)
            self.transmit(packet, now)

    def _by_habit_out(self, packet: Packet, port: Port, now: int) -> bool:
        """Whether the box does to a packet of IPsec what is no NAT's business."""
        if not self._habits.active:
            return False
        verdict = self._habits.outbound(packet.data, self.nat.addresses[0], now)
        return verdict is not None and self._follow_habit(packet, port, SRC, verdict, now)

    def _by_habit_in(self, packet: Packet, now: int) -> bool:
        if not self._habits.active:
            return False
        verdict = self._habits.inbound(packet.data, now)
        if verdict is None:
            return False
        port = None if isinstance(verdict, str) else self.routes.lookup(verdict[0])
        return self._follow_habit(packet, port, DST, verdict, now)

    def _follow_habit(
        self, packet: Packet, port: Port | None, end: End, verdict: Sock | str, now: int
    ) -> bool:
        if isinstance(verdict, str):
            self.drop(packet, verdict, now)
        elif port is None:
            self.drop(packet, "no route", now)
        elif self._may_leave(packet, port, now):
            if verdict[1]:
                self._translate(packet.data, end, verdict)
            else:
                rewrite_address(packet.data, end, verdict[0])
            self.transmit(packet, now)
        return True

    def _translate(self, data: bytearray, end: End, new: Sock) -> None:
        """Replace an endpoint, and leave a checksum of UDP as the box leaves it."""
        kind = self.nat.profile.udp_checksum
        if kind is UdpChecksum.UPDATE or data[9] != Protocol.UDP:
            rewrite(data, end, new)
            return
        at = upper_offset(data) + 6
        before = bytes(data[at : at + 2])
        rewrite(data, end, new)
        data[at : at + 2] = before if kind is UdpChecksum.STALE else b"\0\0"

    def _from_outside(self, packet: Packet, now: int) -> None:
        data = packet.data
        if destination(data) not in self.nat.addresses:
            self.drop(packet, "no mapping", now)
        elif is_icmp_error(data):
            self._error_from_outside(packet, now)
        elif is_echo(data, IcmpType.ECHO_REQUEST):
            self.deliver(packet, now)
        elif not self._by_habit_in(packet, now):
            protocol, remote, external = endpoints(data)
            internal = self.nat.inbound(protocol, remote, external, now, tcp_flags(data, protocol))
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
        if len(internal[0]) == 16 and self.nat64 is not None:
            self.nat64.to_inside(packet, internal, now)
            return
        port = self.routes.lookup(internal[0])
        if port is None:
            self.drop(packet, "no route", now)
        elif self._may_leave(packet, port, now):
            self._translate(packet.data, DST, (internal[0], internal[1] & 0xFFFF))
            self.transmit(packet, now)

    def _error_from_inside(self, packet: Packet, port: Port, now: int) -> None:
        """About a packet that came in: quoted is what the inside saw of it."""
        protocol, remote, internal = quoted_endpoints(packet.data)
        external = self.nat.external_of(protocol, internal, remote, now)
        if external is None:
            self.drop(packet, "no mapping", now)
        elif self._may_leave(packet, port, now):
            rewrite_error(packet.data, SRC, external[0], DST, external)
            self.transmit(packet, now)

    def _error_from_outside(self, packet: Packet, now: int) -> None:
        """About a packet that went out, or about one that the box itself has sent."""
        protocol, external, remote = quoted_endpoints(packet.data)
        internal = self.nat.internal_of(protocol, external, now, remote)
        if internal is None:
            self.deliver(packet, now)
            return
        if len(internal[0]) == 16 and self.nat64 is not None:
            self.nat64.error_to_inside(packet, internal, remote, now)
            return
        port = self.routes.lookup(internal[0])
        if port is None:
            self.drop(packet, "no route", now)
        elif self._may_leave(packet, port, now):
            rewrite_error(packet.data, DST, internal[0], SRC, (internal[0], internal[1] & 0xFFFF))
            self.transmit(packet, now)

    def _is_hairpin(self, data: bytearray) -> bool:
        ported = data[9] in (Protocol.UDP, Protocol.TCP)
        wanted = self.nat.profile.hairpinning is not Hairpinning.NONE
        return wanted and ported and self.nat.addresses[0] != _NO_ADDRESS

    def _hairpin(self, packet: Packet, now: int) -> None:
        """From inside to inside by way of an external address (RFC 4787 6)."""
        data = packet.data
        protocol, src, dst = endpoints(data)
        flags = tcp_flags(data, protocol)
        external = self.nat.outbound(protocol, src, dst, now, flags)
        if external is None:
            self.drop(packet, "NAT has no port left", now)
            return
        internal = self.nat.inbound(protocol, external, dst, now, flags)
        if internal is None:
            mapped = self.nat.internal_of(protocol, dst, now) is not None
            self.drop(packet, "filtered" if mapped else "no mapping", now)
            return
        if self.nat.profile.hairpinning is Hairpinning.EXTERNAL_SOURCE:
            rewrite(data, SRC, external)
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
