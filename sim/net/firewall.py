"""A stateful firewall: a router that lets in what answers, and translates nothing (RFC 6092 3, RFC 7288 3).

    from inside:  state of the conversation is made or refreshed -> TTL, MTU -> on
    from outside: allowed by a rule, or the state knows it       -> TTL, MTU -> on, else dropped in silence

IPv4 and IPv6. ESP and AH have no ports, so their state is of two addresses, with a timeout of its own: what
keeps a tunnel through it reachable is traffic, not a port. ICMP errors pass that are about something the
state knows. What is for the box itself, and what does not cross from one side to the other, is routed as by a
router."""

from __future__ import annotations

from dataclasses import dataclass

from sim.net.conversation import Conversation, conversation, is_error, quoted
from sim.net.engine import Simulation
from sim.net.filter_table import FilterTable
from sim.net.holdback import Holdback
from sim.net.nat_profile import DependsOn, EspPassThrough, Fragments, NatProfile, PortAssignment
from sim.net.node import IpNode, destination, is_fragment, is_unicast
from sim.net.packet import Packet
from sim.net.port import Port
from sim.net.translate import UntranslatableError
from sim.units import NS_PER_S
from sim.wire import ip
from sim.wire.address import Sock
from sim.wire.buffer import WireError
from sim.wire.ip import IpHeader, Protocol

NO_STATE = "firewall has no state for it"
_IPSEC = (Protocol.ESP, Protocol.AH)

FIREWALL = NatProfile(
    mapping=DependsOn.ENDPOINT_INDEPENDENT,
    filtering=DependsOn.ADDRESS_AND_PORT_DEPENDENT,
    port_assignment=PortAssignment.PRESERVING,
    udp_timeout=120 * NS_PER_S,
    esp=EspPassThrough.SPI,
)
"""What a firewall is where nothing else is said: the least that RFC 6092 allows for UDP (REC-14), and what a
NAT has by RFC 5382 and 5508 for TCP and ICMP."""


@dataclass(frozen=True, slots=True)
class Allow:
    """What comes in unasked: a protocol (1 stands for ICMP of both versions), a port of UDP or TCP, an
    address."""

    protocol: int
    port: int | None = None
    to: bytes | None = None

    def fits(self, talk: Conversation) -> bool:
        address, port = talk.dst
        return (
            talk.protocol == self.protocol
            and self.port in (None, port)
            and self.to in (None, address)
            and talk.asks
        )


class Firewall(IpNode):
    """All ports but the one named `outside` are inside. Of `profile` mapping, ports and pooling have no
    meaning; of `esp` any value but `none` lets ESP and AH out, and their answers in."""

    forwarding = True

    def __init__(
        self, sim: Simulation, name: str, *, outside: str, profile: NatProfile, allow: tuple[Allow, ...] = ()
    ) -> None:
        super().__init__(sim, name)
        self.outside = outside
        self.allow = allow
        self.state = FilterTable(profile, (bytes(4),), sim.rng(f"firewall:{name}").randrange)
        self._held = Holdback()

    @property
    def profile(self) -> NatProfile:
        return self.state.profile

    def configure(self, profile: NatProfile) -> None:
        """Work by other timeouts from now on; what is known stays, and lives as it was told to."""
        self.state.configure(profile)

    def reboot(self) -> None:
        """Forget everything but rules."""
        self.state.clear()

    def accepted(self, packet: Packet, port: Port, now: int) -> None:
        if not self._crosses(packet.data, port):
            self.input(packet, now)
            return
        pieces = [packet]
        whole: Packet | None = packet
        if is_fragment(packet.data):
            whole, pieces = self._gathered(packet, now)
        if whole is None:
            return
        reason = self._objection(whole.data, now, from_outside=port.name == self.outside)
        for piece in pieces:
            if reason:
                self.drop(piece, reason, now)
            else:
                self.input(piece, now)

    def _crosses(self, data: bytearray, port: Port) -> bool:
        """Whether a packet goes from one side to the other."""
        dst = destination(data)
        if self.is_local(dst) or not is_unicast(dst):
            return False
        if port.name == self.outside:
            return True
        onward = self.routes.lookup(dst)
        return onward is not None and onward.name == self.outside

    def _gathered(self, packet: Packet, now: int) -> tuple[Packet | None, list[Packet]]:
        """What to judge of a fragment, and what goes on with it: all pieces, this one, or nothing as yet."""
        kind = self.profile.fragments
        if kind is Fragments.REASSEMBLE:
            key = self._held.keep(packet, now)
            whole = self.reassemble(packet, now)
            return whole, [] if whole is None else self._held.release(key)
        if kind is Fragments.FIRST_ONLY and _is_first(packet.data):
            return packet, [packet]
        self.drop(packet, "firewall drops fragments", now)
        return None, []

    def _objection(self, data: bytearray, now: int, *, from_outside: bool) -> str:
        """Why a packet may not pass; empty when it may, which the state then knows."""
        try:
            header = ip.parse(data)
            if is_error(data, header):
                return "" if self._is_about_known(data, header, now, from_outside) else NO_STATE
            talk = conversation(data, header)
        except UntranslatableError as reason:
            return str(reason)
        except WireError:
            return "malformed ICMP message" if is_icmp(data) else "malformed IP packet"
        if talk.protocol in _IPSEC and self.profile.esp is EspPassThrough.NONE:
            return "firewall drops ESP and AH"
        return self._incoming(talk, now) if from_outside else self._outgoing(talk, now)

    def _outgoing(self, talk: Conversation, now: int) -> str:
        """An echo reply makes no state: it goes out where a rule let its request in."""
        if not talk.asks:
            let_in = any(
                rule.protocol == talk.protocol and rule.to in (None, talk.src[0]) for rule in self.allow
            )
            return "" if let_in else NO_STATE
        self.state.outbound(talk.protocol, talk.src, talk.dst, now, talk.flags)
        return ""

    def _incoming(self, talk: Conversation, now: int) -> str:
        passed: Sock | None = self.state.inbound(talk.protocol, talk.src, talk.dst, now, talk.flags)
        allowed = passed is not None or any(rule.fits(talk) for rule in self.allow)
        return "" if allowed else NO_STATE

    def _is_about_known(self, data: bytearray, header: IpHeader, now: int, from_outside: bool) -> bool:
        """Whether an ICMP error is about a packet of a conversation, or of what a rule lets in (RFC 5508
        4)."""
        _, about, _ = quoted(data, header)
        inside, remote = (about.src, about.dst) if from_outside else (about.dst, about.src)
        if self.state.knows(about.protocol, inside, remote, now):
            return True
        incoming = about._replace(src=remote, dst=inside)
        return any(rule.fits(incoming) for rule in self.allow)


def is_icmp(data: bytearray) -> bool:
    return data[6 if data[0] >= 0x60 else 9] in (Protocol.ICMP, Protocol.ICMPV6)


def _is_first(data: bytearray) -> bool:
    try:
        return not ip.parse(data).fragment_offset
    except WireError:
        return False
