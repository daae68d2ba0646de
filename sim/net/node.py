"""An IP node: what hosts, routers and NAT boxes share.

    receive -> sound? -> reassemble if ours -> hook.inbound -> input -> deliver
                                                                 +----> forward: TTL -> hook.outbound
                                                                                              |
    send (packets of our own) -> hook.outbound -------> transmit <----------------------------+
                                                           +----> route -> fragment -> port.send

RFC 791, RFC 1122 3.2, RFC 1812 5, RFC 8200, RFC 4443. A node follows the weak host model (RFC 1122
3.3.4.2): it accepts packets to any of its addresses on any port and routes its own by destination. An end
of tunnels with several ways out sends by the port of the source address instead: see `by_source`. Next hops
need no address resolution. Left out: multicast and broadcast, redirects, source routing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from struct import Struct
from typing import Protocol

from sim.net.by_source import by_source, other_ports, sender, source
from sim.net.engine import Simulation
from sim.net.gate import Gate, Rule
from sim.net.icmp_filter import filtered
from sim.net.limit import TokenBucket
from sim.net.local import HANDLERS, ProtocolHandler, UdpHandler
from sim.net.packet import Packet
from sim.net.pmtu import HostMtus
from sim.net.port import Port
from sim.net.routing import RouteTable
from sim.wire import icmp, ip, udp
from sim.wire.address import Sock
from sim.wire.buffer import WireError
from sim.wire.checksum import internet_checksum
from sim.wire.fragment import TINY, TOO_LONG, UNEVEN, Reassembler, fragment
from sim.wire.fragment6 import fragment6, locate
from sim.wire.icmp import IcmpError, IcmpMessage
from sim.wire.ip import IpHeader

_unpack_words = Struct(">QQI").unpack_from  # version to fragment offset, TTL to source, destination
_pack_second = Struct(">Q").pack_into
_ONE_HOP, _ONE_HOP_CARRY = ip.ONE_HOP << 32, ip.ONE_HOP_CARRY << 32
_FRAGMENT_BITS = ip.MF | ip.OFFSET_MASK
_v4_dst = Struct("16x4s").unpack_from
_v6_dst = Struct("24x16s").unpack_from
_CACHED_DESTINATIONS = 65536
_BEFORE_FRAGMENT = frozenset(
    {
        ip.Protocol.IPV6_HOP,
        ip.Protocol.IPV6_ROUTE,
        ip.Protocol.IPV6_DEST,
        ip.Protocol.IPV6_FRAGMENT,
    }
)
_FRAGMENT_ERRORS = {
    UNEVEN: IcmpError.FRAGMENT_UNEVEN,
    TOO_LONG: IcmpError.FRAGMENT_TOO_FAR,
    TINY: IcmpError.HEADERS_INCOMPLETE,
}
"""What the source of an IPv6 fragment is told (RFC 8200 4.5, RFC 7112 5)."""

Send = Callable[[Packet, int], None]
Way = tuple[Send, int]
"""What takes packets to a destination, and up to what size."""


class _Course:
    """Where IPv4 packets without options to one destination go; without a way they are for this node.

    `first`, `second` and `size` are of the last packet that was found right, and the same once more is right.
    `onward` is its second eight octets with the TTL counted down, 0 when that ends here.
    """

    __slots__ = ("first", "longest", "onward", "second", "send", "size")

    def __init__(self, way: Way | None) -> None:
        self.send: Send | None
        self.send, self.longest = way or (None, ip.MAX_PACKET_BYTES)
        self.first = self.second = self.size = self.onward = 0

    def fits(self, first: int, second: int, dst: int, size: int) -> bool:
        """Whether a packet is whole, without options, and its header checksum right."""
        if first >> 32 & 0xFF00FFFF != 0x45000000 | size or (first + second + dst) % 0xFFFF:
            return False
        self.first, self.second, self.size = first, second, size
        # TTL - 1, and the checksum by RFC 1624 equation 3, as in `ip.decrement_ttl`.
        less = _ONE_HOP if second >> 32 & 0xFFFF < 0xFEFF else _ONE_HOP_CARRY
        self.onward = second - less if second >> 57 else 0
        return True


Enter = Callable[[Packet, Port, int], None]
"""What takes a packet that arrived at a port."""

IcmpListener = Callable[[IcmpMessage, IpHeader, int], None]


class PacketHook(Protocol):
    """What may stand in a node's way in and out: IPsec. None means consumed, held or dropped by the hook."""

    def outbound(self, packet: Packet, now: int) -> Packet | None: ...

    def inbound(self, packet: Packet, now: int) -> Packet | None: ...

    def entry(self, receive: Enter) -> Enter:
        """What links call with packets: a short way for those it knows, `receive` for all others."""

    def forget(self) -> None:
        """An address, a route or a port changed."""

    def source_for(self, dst: bytes) -> bytes | None:
        """The own address that packets to `dst` should come from; None: let the routes decide."""

    def supersedes(self, src: bytes, dst: bytes) -> bool:
        """Whether packets to `dst` should no longer come from `src`, though the node still has it."""


class IpNode:
    """A node with ports, routes and a small stack. It takes any octets; what is no use is dropped."""

    forwarding = False

    def __init__(self, sim: Simulation, name: str) -> None:
        self.sim = sim
        self.name = name
        self.ports: dict[str, Port] = {}
        self.routes = RouteTable(self._forget)
        self.protocols: dict[int, ProtocolHandler] = dict(HANDLERS)
        """Local delivery by upper-layer protocol number."""
        self.udp: dict[int, UdpHandler] = {}
        self.drops: Counter[str] = Counter()
        """Dropped packets by reason."""
        self.on_drop: Callable[[IpNode, Packet, str, int], None] | None = None
        self.on_port_change: list[Callable[[int], None]] = []
        """Told the time whenever an address, the MTU or the state of a port changed."""
        self.on_binding_change: list[Callable[[int], None]] = []
        """Told the time whenever the hook may have another answer for `bind_address`."""
        self.on_icmp: list[IcmpListener] = []
        """Told of every sound ICMP message to this node that is no echo request."""
        self.icmp_limit = TokenBucket(rate_per_s=10, burst=10)  # RFC 4443 2.4 (f), RFC 1812 4.3.2.8
        self.icmp_suppressed = 0
        self.path_mtus = HostMtus(sim, self.udp)
        self.icmp_dropped: frozenset[str] = frozenset()
        """The kinds of ICMP that go no further here; see `drop_icmp`."""
        self.enter: Enter = self.receive
        """What links call: `receive`, or a hook's short way, which does the same."""
        self._gate = Gate(self.drop)
        self._hook: PacketHook | None = None
        self._local: set[bytes] = set()
        self._reassembler = Reassembler()
        self._reassembly_alarm = sim.alarm(self._reassembly_expired)
        self._identification = self._identification6 = 0
        self._ways: dict[bytes, Way] = {}
        self._onward: set[bytes] = set()  # destinations of packets to forward
        self._fast: dict[int, _Course] = {}  # by IPv4 destination as a number; only while there is no hook

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def hook(self) -> PacketHook | None:
        return self._hook

    @hook.setter
    def hook(self, hook: PacketHook | None) -> None:
        self._hook = hook
        self._fast.clear()
        self._choose_entry()

    def drop_icmp(self, kinds: frozenset[str]) -> None:
        """Drop ICMP of these kinds wherever it comes from, and whether it is for this node or not."""
        self.icmp_dropped = kinds
        self._choose_entry()

    def block(self, name: str, rule: Rule) -> None:
        """Drop what fits a rule and comes in at any port, and ICMP errors of our own, until `unblock`."""
        self._gate.rules[name] = rule
        self._choose_entry()

    def unblock(self, name: str) -> None:
        """Forget a rule; nothing happens when there is none of that name."""
        self._gate.rules.pop(name, None)
        self._choose_entry()

    def add_port(self, name: str, mtu: int = 1500) -> Port:
        if name in self.ports:
            raise ValueError(f"{self.name} has a port {name} already")
        port = self.ports[name] = Port(self, name, mtu)
        return port

    def add_route(self, prefix: bytes, length: int, port: Port, metric: int = 0) -> None:
        self.routes.add(prefix, length, port, metric)

    def remove_route(self, prefix: bytes, length: int, port: Port) -> None:
        self.routes.remove(prefix, length, port)

    def is_local(self, address: bytes) -> bool:
        return address in self._local

    def take_address(self, address: bytes) -> None:
        """A port has a new address; `port_changed` follows."""
        self._local.add(address)

    def leave_address(self, address: bytes) -> None:
        """A port has an address no longer; `port_changed` follows."""
        if not any(address == own for port in self.ports.values() for own, _ in port.addresses):
            self._local.discard(address)

    def has_left(self, address: bytes) -> bool:
        """Whether no port that is up has an address."""
        return not any(
            port.up and address == own for port in self.ports.values() for own, _ in port.addresses
        )

    def is_outdated(self, src: bytes, dst: bytes) -> bool:
        """Whether whoever sends to `dst` from `src` had better ask `bind_address` again."""
        return self.has_left(src) or (self._hook is not None and self._hook.supersedes(src, dst))

    def would_stray(self, src: bytes, dst: bytes) -> bool:
        """Whether there is a way to `dst`, but no port that is up has `src`: no socket would send from it."""
        return self.has_left(src) and self.routes.lookup(dst) is not None

    def leads(self, own: bytes, dst: bytes) -> bool:
        """Whether packets to `dst` can leave by a port that is up and has the address `own`."""
        return any(
            own == address and self.routes.leads(port, dst)
            for port in self.ports.values()
            for address, _ in port.addresses
        )

    def source_address(self, dst: bytes) -> bytes | None:
        """The address that packets to `dst` come from, or None when there is no route or no such family.

        It is the first address of the outgoing port, or of any port when that one has none.
        """
        if dst in self._local:
            return dst
        port = self.routes.lookup(dst)
        if port is None:
            return None
        candidates = (p.first_address(len(dst)) for p in (port, *self.ports.values()))
        return next((address for address in candidates if address is not None), None)

    def bind_address(self, dst: bytes) -> bytes | None:
        """What a socket that connects to `dst` is bound to: the hook's choice, or else `source_address`."""
        own = self._hook.source_for(dst) if self._hook is not None else None
        return own or self.source_address(dst)

    def next_identification(self) -> int:
        """A value for the IPv4 identification field of a packet that may be fragmented (RFC 6864)."""
        self._identification = (self._identification + 1) & 0xFFFF
        return self._identification

    def bind_udp(self, port: int, handler: UdpHandler) -> None:
        """Give datagrams to that port, at any of our addresses, to a handler; ValueError when it is taken."""
        if port in self.udp:
            raise ValueError(f"UDP port {port} of {self.name} is taken")
        self.udp[port] = handler

    def unbind_udp(self, port: int) -> None:
        del self.udp[port]

    def send_udp(self, payload: bytes, src: Sock, dst: Sock, now: int) -> None:
        """Send a datagram of our own, which may be fragmented."""
        data = udp.build(src, dst, payload, identification=self.next_identification())
        self.send(Packet(data, now), now)

    def receive(self, packet: Packet, port: Port, now: int) -> None:
        """A packet arrived at a port. Destinations that were forwarded to before take the first branch."""
        data = packet.data
        size = len(data)
        if size >= 20:
            first, second, dst = _unpack_words(data)
            course = self._fast.get(dst)
            if course is not None and (
                (first == course.first and second == course.second and size == course.size)
                or course.fits(first, second, dst, size)
            ):
                send = course.send
                if send is None:
                    hand_over = self.deliver if first & _FRAGMENT_BITS else self._hand_over
                    hand_over(packet, now)
                    return
                if course.onward and size <= course.longest:
                    _pack_second(data, 8, course.onward)
                    send(packet, now)
                    return
        if not is_sound(data):
            self.drop(packet, "malformed IP packet", now)
        elif is_fragment(data) and destination(data) in self._local:
            whole = self.reassemble(packet, now)
            if whole is not None:
                self.accepted(whole, port, now)
        else:
            self.accepted(packet, port, now)

    def accepted(self, packet: Packet, _port: Port, now: int) -> None:
        """A sound packet, whole if it is for this node, came in through a port."""
        if self._hook is not None:
            data = packet.data
            inner = self._hook.inbound(packet, now)
            if inner is None:
                return
            if inner.data is not data:
                self.unwrapped(inner, now)
                return
            packet = inner
        elif packet.data[0] < 0x60:
            self._learn(destination(packet.data))
        self.input(packet, now)

    def unwrapped(self, packet: Packet, now: int) -> None:
        """A packet that the hook took out of another."""
        if is_sound(packet.data):
            self.input(packet, now)
        else:
            self.drop(packet, "malformed IP packet", now)

    def input(self, packet: Packet, now: int) -> None:
        """Deliver or forward a packet whose header is sound."""
        dst = destination(packet.data)
        if dst in self._onward:
            self.forward(packet, now)
        elif dst in self._local:
            self.deliver(packet, now)
        elif not self.forwarding:
            self.drop(packet, "not for this host", now)
        elif not is_unicast(dst):
            self.drop(packet, "destination is not unicast", now)
        elif self.routes.lookup(dst) is None:
            self.refuse(packet, "no route", IcmpError.NET_UNREACHABLE, now)
        else:
            if len(self._onward) >= _CACHED_DESTINATIONS:
                self._forget()
            self._onward.add(dst)
            self.forward(packet, now)

    def forward(self, packet: Packet, now: int) -> None:
        """Send a packet on that came from elsewhere; there is a route for its destination."""
        if not ip.decrement_ttl(packet.data):
            self.refuse(packet, "TTL exceeded", IcmpError.TTL_EXCEEDED, now)
            return
        if self._hook is None:
            self.transmit(packet, now)
            return
        outer = self._hook.outbound(packet, now)
        if outer is not None:
            self.transmit(outer, now)

    def send(self, packet: Packet, now: int) -> None:
        """Send a packet that this node made, in fragments where its path is known to need them."""
        if len(packet.data) > self.path_mtus.smallest and self._send_long(packet, now):
            return
        self.send_whole(packet, now)

    def send_whole(self, packet: Packet, now: int) -> None:
        """As `send`, but whatever is known of the path: for what explores it."""
        if self._hook is None:
            self.transmit(packet, now)
            return
        outer = self._hook.outbound(packet, now)
        if outer is not None:
            self.transmit(outer, now)

    def mtu_to(self, dst: bytes) -> int:
        """The longest packet to `dst` that its path takes whole, as far as is known."""
        return min(self.way(dst)[1], self.path_mtus.of(dst))

    def _send_long(self, packet: Packet, now: int) -> bool:
        """Whether a packet went in fragments.

        IPv6 is cut before anything protects it, IPv4 that something protects is cut there.
        """
        data = packet.data
        mtu = self.path_mtus.of(destination(data))
        if len(data) <= mtu or (data[0] < 0x60 and (data[6] & 0x40 or self._hook is not None)):
            return False
        pieces = self._pieces(data, mtu)
        for piece in pieces:
            self.send_whole(packet.derive(piece), now)
        return bool(pieces)

    def transmit(self, packet: Packet, now: int) -> None:
        """Route a sound packet and send it as it is: past the hook, with its TTL."""
        data = packet.data
        dst: bytes
        (dst,) = _v4_dst(data) if data[0] < 0x60 else _v6_dst(data)  # `destination`, without the call
        send, longest = self._ways.get(dst) or self._find_way(dst)
        if len(data) <= longest:
            send(packet, now)
            return
        port = self.routes.lookup(dst)
        assert port is not None
        self._output(packet, self._others(dst, port).get(source(data), port), now)

    def transmit_within(self, packet: Packet, mtu: int, now: int) -> None:
        """As `transmit`, for a packet of our own that is to go in fragments of at most `mtu` octets."""
        data = packet.data
        for piece in (len(data) > mtu and self._pieces(data, mtu)) or [data]:
            self.transmit(packet.derive(piece), now)

    def deliver(self, packet: Packet, now: int) -> None:
        """Give a packet to its flow, or to the handler of its protocol."""
        if is_fragment(packet.data):
            whole = self.reassemble(packet, now)
            if whole is None:
                return
            packet = whole
        self._hand_over(packet, now)

    def _hand_over(self, packet: Packet, now: int) -> None:
        if packet.flow is not None and packet.flow.arrived(packet, self, now):
            return
        try:
            header = ip.parse(packet.data)
        except WireError:
            self.drop(packet, "malformed IP packet", now)
            return
        handler = self.protocols.get(header.protocol)
        if handler is None:
            reason = f"protocol {header.protocol} unreachable"
            self.refuse(packet, reason, IcmpError.PROTOCOL_UNREACHABLE, now)
        else:
            handler(self, packet, header, now)

    def reassemble(self, packet: Packet, now: int) -> Packet | None:
        """Keep a fragment; the whole packet when it was the last one that was missing."""
        known = self._reassembler.refused.copy()
        data = self._reassembler.add(packet.data, now)
        for reason in self._reassembler.refused - known:
            self.drop(packet, reason, now)
            if reason in _FRAGMENT_ERRORS and packet.data[0] >= 0x60:
                self.send_error(packet, _FRAGMENT_ERRORS[reason], now)
        self._reassembly_alarm.set(self._reassembler.next_timer())
        return None if data is None else packet.derive(data)

    def refuse(self, packet: Packet, reason: str, kind: IcmpError, now: int, mtu: int = 0) -> None:
        """Drop a packet and tell its source."""
        self.drop(packet, reason, now)
        self.send_error(packet, kind, now, mtu)

    def drop(self, packet: Packet, reason: str, now: int) -> None:
        self.drops[reason] += 1
        if self.on_drop is not None:
            self.on_drop(self, packet, reason, now)

    def send_error(self, packet: Packet, kind: IcmpError, now: int, mtu: int = 0) -> None:
        """Send an ICMP error about a sound packet to its source, if the RFCs and the rate limit allow it."""
        src, _ = ip.addresses(packet.data)
        own = self.bind_address(src)
        if own is None:
            return
        error = icmp.error(packet.data, own, kind, mtu)
        if error is None:
            return
        if self._gate.rules and (reason := self._gate.why_not(error)):
            self.drop(Packet(error, now), reason, now)
        elif self.icmp_limit.take(now):
            self.send(Packet(error, now), now)
        else:
            self.icmp_suppressed += 1

    def port_changed(self) -> None:
        """Forget what depended on addresses and ports, and tell the listeners."""
        self.routes.flush()
        self._forget()
        now = self.sim.now
        for listener in tuple(self.on_port_change):
            listener(now)

    def way(self, dst: bytes) -> Way:
        """What sends packets to `dst` at once, and the size up to which they fit; valid until `forget`."""
        return self._ways.get(dst) or self._find_way(dst)

    def _choose_entry(self) -> None:
        enter = self.receive if self._hook is None else self._hook.entry(self.receive)
        if self.icmp_dropped:
            enter = filtered(enter, self, self.icmp_dropped)
        self.enter = self._gate.entry(enter) if self._gate.rules else enter
        for port in self.ports.values():
            port.tell_links()

    def _find_way(self, dst: bytes) -> Way:
        if len(self._ways) >= _CACHED_DESTINATIONS:  # a scan over addresses must not eat the memory
            self._forget()
        port = self.routes.lookup(dst)
        if dst in self._local:
            way: Way = (self._loop_back, ip.MAX_V6_PACKET_BYTES)
        elif port is None:
            way = (self._no_route, ip.MAX_V6_PACKET_BYTES)
        elif others := self._others(dst, port):
            way = (by_source(port, others), min(port.mtu, *(other.mtu for other in others.values())))
        else:
            way = (sender(port), port.mtu)
        self._ways[dst] = way
        return way

    def _others(self, dst: bytes, port: Port) -> dict[bytes, Port]:
        """The other ways out of a host that may be at several addresses at once: see `by_source`."""
        return {} if self._hook is None else other_ports(self.ports, self.routes, dst, port)

    def _learn(self, dst: bytes) -> None:
        """Let the next packet to `dst` take the first branch of `receive`."""
        if dst in self._local:
            self._fast[int.from_bytes(dst, "big")] = _Course(None)
        elif self.forwarding and is_unicast(dst) and self.routes.lookup(dst) is not None:
            self._fast[int.from_bytes(dst, "big")] = _Course(self.way(dst))

    def _forget(self) -> None:
        self._fast.clear()
        self._ways.clear()
        self._onward.clear()
        if self._hook is not None:
            self._hook.forget()

    def _loop_back(self, packet: Packet, now: int) -> None:
        self.sim.at(now, lambda at: self.deliver(packet, at))

    def _no_route(self, packet: Packet, now: int) -> None:
        self.drop(packet, "no route", now)

    def _reassembly_expired(self, now: int) -> None:
        reason = "reassembly time exceeded"
        known = self._reassembler.refused[reason]
        firsts = self._reassembler.expire(now)
        for first in firsts:
            self.refuse(Packet(first, now), reason, IcmpError.REASSEMBLY_EXCEEDED, now)
        # The rest never saw a first fragment: there is nothing to report, or to show to `on_drop`.
        self.drops[reason] += self._reassembler.refused[reason] - known - len(firsts)
        self._reassembly_alarm.set(self._reassembler.next_timer())

    def _output(self, packet: Packet, port: Port, now: int) -> None:
        data = packet.data
        if len(data) <= port.mtu:
            port.send(packet, now)
        elif pieces := self._pieces(data, port.mtu):
            for piece in pieces:
                port.send(packet.derive(piece), now)
        else:
            self.refuse(packet, "packet too big", IcmpError.TOO_BIG, now, port.mtu)

    def _pieces(self, data: bytearray, mtu: int) -> list[bytearray]:
        """The fragments of a packet; none where only its source may make any, or nobody can."""
        if data[0] < 0x60:
            return [] if data[6] & 0x40 else fragment(data, mtu)
        if ip.addresses(data)[0] not in self._local:
            return []
        self._identification6 = (self._identification6 + 1) & 0xFFFFFFFF
        try:
            return fragment6(data, mtu, self._identification6)
        except ValueError:
            return []


def is_sound(data: bytearray) -> bool:
    """Whether the IP header is consistent and, in IPv4, its checksum right (RFC 1812 5.2.2)."""
    size = len(data)
    if size < 20:
        return False
    first, second, third = _unpack_words(data)
    if first >> 32 & 0xFF00FFFF == 0x45000000 | size:
        return not (first + second + third) % 0xFFFF
    if data[0] >> 4 == 4:
        header_bytes = (data[0] & 15) * 4
        if not 20 <= header_bytes <= size or (data[2] << 8 | data[3]) != size:
            return False
        return not internet_checksum(data[:header_bytes])
    return data[0] >> 4 == 6 and size >= 40 and (data[4] << 8 | data[5]) + 40 == size


def is_fragment(data: bytearray) -> bool:
    """Of a sound packet: whether it has to go through reassembly before anything looks at what it holds."""
    if data[0] < 0x60:
        return bool(data[6] & 0x3F or data[7])
    return data[6] in _BEFORE_FRAGMENT and locate(data) is not None


def destination(data: bytearray) -> bytes:
    """The destination address of a sound packet."""
    dst: bytes
    (dst,) = _v4_dst(data) if data[0] < 0x60 else _v6_dst(data)
    return dst


def is_unicast(address: bytes) -> bool:
    """Whether a router may forward to it (RFC 1812 5.3.7, RFC 4291 2.4)."""
    if len(address) == 4:
        return address[0] not in (0, 127) and address[0] < 224
    return address[0] != 0xFF and address[:2] != b"\xfe\x80" and any(address[:15])
