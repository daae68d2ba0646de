"""A stateful NAT64 (RFC 6146): many behind few, from IPv6 to IPv4, with the headers of RFC 7915.

    IPv6 inside                        the table of the NAT                 IPv4 outside
    client -> prefix::server     (client, port) <-> (external, port)      external -> server

The mappings, their axes, timeouts and ports are those of the box, which it shares with its NAT of IPv4. UDP,
TCP and ICMP echo are translated, and ICMP errors about them; nothing else has ports. Fragments are put
together first and cut again where the other side needs it. Hairpinning is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.net import siit
from sim.net.conversation import Conversation, conversation, is_error, quoted
from sim.net.nat_profile import Fragments
from sim.net.node import is_fragment
from sim.net.packet import Packet
from sim.net.port import Port
from sim.net.translate import UntranslatableError
from sim.wire import fragment6, icmp, ip
from sim.wire.address import Sock
from sim.wire.embedded import Prefix64
from sim.wire.fragment6 import FragmentHeader
from sim.wire.icmp import IcmpError
from sim.wire.ip import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, IPV6_MIN_MTU, IpHeader, Protocol

if TYPE_CHECKING:
    from sim.net.nat import NatBox

_TRANSLATED = frozenset({Protocol.UDP, Protocol.TCP, Protocol.ICMP})


class Nat64:
    """That of one box, for one prefix."""

    def __init__(self, box: NatBox, prefix: Prefix64) -> None:
        self._box = box
        self.prefix = prefix

    def takes(self, dst: bytes) -> bytes | None:
        """The IPv4 address that an IPv6 packet is for; None when it is none of the prefix."""
        return self.prefix.extract(dst)

    def from_inside(self, packet: Packet, now: int) -> None:
        """A sound IPv6 packet to an address of the prefix."""
        box = self._box
        src, dst = ip.addresses(packet.data)
        remote = self.prefix.extract(dst)
        assert remote is not None
        port = box.routes.lookup(remote)
        if self.prefix.extract(src) is not None:
            box.drop(packet, "NAT64 takes nothing that comes from its own prefix", now)  # RFC 6146 3.5
        elif box.is_local(remote):
            box.drop(packet, "NAT64 has no hairpinning", now)
        elif port is None or port.name != box.outside:
            box.refuse(packet, "no route", IcmpError.NET_UNREACHABLE, now)
        else:
            self._outward(packet, remote, port, now)

    def to_inside(self, packet: Packet, internal: Sock, now: int) -> None:
        """A whole IPv4 packet that the table lets in to `internal`, an IPv6 endpoint."""
        box, data = self._box, packet.data
        header = ip.parse(data)
        port = box.routes.lookup(internal[0])
        size = header.total_length - header.upper_offset + IPV6_HEADER_BYTES
        if port is None:
            box.drop(packet, "no route", now)
        elif header.df and size > port.mtu:
            box.refuse(packet, "packet too big", IcmpError.TOO_BIG, now, port.mtu - siit.GROWTH)
        elif not ip.decrement_ttl(data):
            box.refuse(packet, "TTL exceeded", IcmpError.TTL_EXCEEDED, now)
        else:
            talk = conversation(data, header)
            src = (self.prefix.embed(talk.src[0]), talk.src[1])
            whole = siit.to_v6(data, ip.parse(data), src, internal)
            pieces = [whole] if header.df else fragment6.fragment6(whole, IPV6_MIN_MTU, header.identification)
            for piece in pieces:
                box.transmit(packet.derive(piece), now)

    def error_to_inside(self, packet: Packet, internal: Sock, remote: Sock, now: int) -> None:
        """An ICMP error about a packet that `internal` sent to `remote`, an IPv4 endpoint."""
        box, data = self._box, packet.data
        header = ip.parse(data)
        message = icmp.parse(data, header.upper_offset)
        inner, _, at = quoted(data, header)
        port = box.routes.lookup(internal[0])
        if port is None:
            box.drop(packet, "no route", now)
        elif header.ttl <= 1:
            box.drop(packet, "TTL exceeded", now)  # about an error there is no error
        else:
            quote = siit.quote_to_v6(
                bytes(data[at:]), inner, internal, (self.prefix.embed(remote[0]), remote[1])
            )
            box.transmit(
                packet.derive(
                    siit.error_to_v6(
                        message, quote, self.prefix.embed(header.src), internal[0],
                        (self._outside_mtu(), port.mtu), header.tos, header.ttl - 1,
                    )
                ),
                now,
            )  # fmt: skip

    def _outward(self, packet: Packet, remote: bytes, port: Port, now: int) -> None:
        whole, identification = self._whole(packet, now)
        if whole is None:
            return
        header = ip.parse(whole.data)
        if is_error(whole.data, header):
            self._error_outward(whole, header, remote, port, now)
            return
        talk = conversation(whole.data, header)
        if talk.protocol not in _TRANSLATED:
            raise UntranslatableError(f"protocol {talk.protocol} has no ports")
        if not talk.asks:
            self._box.drop(whole, "no mapping", now)
        elif self._may_leave(whole, header, identification, port, now):
            self._send(whole, (remote, talk.dst[1]), talk, identification, now)

    def _send(
        self, packet: Packet, remote: Sock, talk: Conversation, identification: int | None, now: int
    ) -> None:
        box = self._box
        external = box.nat.outbound(talk.protocol, talk.src, remote, now, talk.flags)
        if external is None:
            box.drop(packet, box.nat.refusal(talk.protocol, talk.src, remote, now, talk.flags), now)
            return
        header = ip.parse(packet.data)
        new = siit.to_v4(packet.data, header, external, remote, identification, box.next_identification())
        box.transmit(packet.derive(new), now)

    def _may_leave(
        self, packet: Packet, header: IpHeader, identification: int | None, port: Port, now: int
    ) -> bool:
        """Count the hop, and refuse what is too long for IPv4's next link, and must not be cut there."""
        size = header.total_length - header.upper_offset + IPV4_HEADER_BYTES
        uncut = identification is None and size > siit.LONGEST_WITHOUT_DF
        if uncut and size > port.mtu:
            mtu = max(port.mtu + siit.GROWTH, IPV6_MIN_MTU)
            self._box.refuse(packet, "packet too big", IcmpError.TOO_BIG, now, mtu)
        elif not ip.decrement_ttl(packet.data):
            self._box.refuse(packet, "TTL exceeded", IcmpError.TTL_EXCEEDED, now)
        else:
            return True
        return False

    def _whole(self, packet: Packet, now: int) -> tuple[Packet | None, int | None]:
        """What to translate of a fragment, and the identification of its packet; what is none is whole."""
        if not is_fragment(packet.data):
            return packet, None
        if self._box.nat.profile.fragments is not Fragments.REASSEMBLE:
            self._box.drop(packet, "NAT drops fragments", now)
            return None, None
        identification = _fragment_header(packet.data).identification
        return self._box.reassemble(packet, now), identification

    def _error_outward(self, packet: Packet, header: IpHeader, remote: bytes, port: Port, now: int) -> None:
        """About a packet that came in: quoted is what the inside saw of it."""
        box, data = self._box, packet.data
        message = icmp.parse(data, header.upper_offset)
        inner, about, at = quoted(data, header)
        source = self.prefix.extract(about.src[0])
        if about.protocol not in _TRANSLATED or source is None:
            raise UntranslatableError("ICMP error about a packet without ports")
        there = (source, about.src[1])
        external = box.nat.external_of(about.protocol, about.dst, there, now)
        if external is None:
            box.drop(packet, "no mapping", now)
        elif header.ttl <= 1:
            box.drop(packet, "TTL exceeded", now)
        else:
            quote = siit.quote_to_v4(bytes(data[at:]), inner, there, external)
            mtus = (port.mtu, self._inside_mtu(about.dst[0]))
            new = siit.error_to_v4(message, quote, external[0], remote, mtus, header.tos, header.ttl - 1)
            box.transmit(packet.derive(new), now)

    def _inside_mtu(self, address: bytes) -> int:
        port = self._box.routes.lookup(address)
        return ip.MAX_PACKET_BYTES if port is None else port.mtu

    def _outside_mtu(self) -> int:
        return self._box.ports[self._box.outside].mtu


def _fragment_header(data: bytearray) -> FragmentHeader:
    place = fragment6.locate(data)
    assert place is not None  # `is_fragment` found it
    return fragment6.parse_header(data, place.at)
