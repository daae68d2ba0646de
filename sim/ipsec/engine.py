"""The data plane of one node: what leaves is protected, what arrives is opened and checked (RFC 4301 5).

Pure given `now`; the control plane installs SAs and drains events. Datagrams of IKE itself, on its two UDP
ports of a local address, pass by all policies, as the sockets of an IKE daemon do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from struct import Struct
from types import MappingProxyType
from typing import TypeVar

from sim.crypto.cipher import Rand
from sim.ipsec.clamp import clamp
from sim.ipsec.conversations import Conversations, Tracked
from sim.ipsec.events import Event
from sim.ipsec.fragments import FirstFragments
from sim.ipsec.icmp_errors import answer_to, is_icmp_error, quoted_traffic
from sim.ipsec.iptfs.fleet import Fleet
from sim.ipsec.nesting import MAX_DEPTH, around, made_by
from sim.ipsec.outer import Number, Numbers
from sim.ipsec.policy import Action, Policy, covers_both
from sim.ipsec.resources import Resources
from sim.ipsec.sad import MAX_FLOWS, Handler, InboundSa, OutboundSa, Pair, Usage
from sim.ipsec.spd import Spd
from sim.ipsec.spec import ChildSpec
from sim.ipsec.tfc import dummy_bytes, pad
from sim.ipsec.traffic import (
    UNEXAMINED,
    FlowKey,
    Traffic,
    classify,
    flow_key,
    hides_ports,
    memorable,
    selectors_of,
)
from sim.ipsec.verdict import BYPASS, DROP, Acquire, Drop, Reason, Verdict
from sim.ipsec.volume import MeteredInboundSa, MeteredOutboundSa
from sim.wire import ah
from sim.wire.address import Sock
from sim.wire.buffer import WireError
from sim.wire.esp import HEADER, HEADER_BYTES, Mode
from sim.wire.ip import IPV4_HEADER_BYTES, MF, OFFSET_MASK, IpHeader, Protocol
from sim.wire.selector import Selector
from sim.wire.udp import UDP_HEADER_BYTES

Outcome = bytearray | Verdict
Seal = Callable[[bytearray, int], bytearray | Drop]
Decision = TypeVar("Decision", Handler, Verdict)

# What ESP in IPv4 without options shows at fixed offsets: version and IHL, total length, flags and offset,
# protocol, addresses, and the 8 octets behind the header (SPI and sequence number, or the UDP header).
_LOCATE = Struct(">BxHxxHxBxx4s4sII")
_LOCATE_BYTES = _LOCATE.size
_locate = _LOCATE.unpack_from
_esp_header = HEADER.unpack_from
_ah_header = ah.HEADER.unpack_from
_in_udp = Struct(">4xHxxII").unpack_from  # length, then SPI or non-ESP marker, sequence number
_AH, _ESP, _UDP = (
    int(Protocol.AH),
    int(Protocol.ESP),
    int(Protocol.UDP),
)  # an IntEnum's member costs 0.07 us to look up
_IPSEC = frozenset({_AH, _ESP})
_SPI_AT = {_ESP: 0, _AH: 4, _UDP: UDP_HEADER_BYTES}  # behind the IP headers; zero in UDP is IKE's
_SPI_BYTES = 4
_FRAGMENT_BITS = MF | OFFSET_MASK


ETHERNET_MTU = 1500


class Engine:
    """SPD, SAD and the two ways through them.

    `spd` may be changed at any time; what was remembered of it is forgotten. `sad` shows the SAs, in pairs,
    by inbound SPI.
    """

    def __init__(self, *, rand: Rand, ike_port: int = 500, natt_port: int = 4500) -> None:
        self._rand = rand
        self._natt_port = natt_port
        self._ike_ports = frozenset({ike_port, natt_port})
        self._local: frozenset[bytes] = frozenset()
        self._pairs: dict[int, Pair] = {}
        self.openers: dict[int, InboundSa] = {}
        """What opens ESP, by SPI; to be looked at only."""
        self._ah_openers: dict[int, InboundSa] = {}
        self._conversations = Conversations()
        self._tracked = Tracked()
        self._quick: frozenset[bytes] = frozenset()  # the local addresses, where no policy is for ESP or AH
        self._depth = 0
        self.reopened = False
        """Set when what came out of an SA was opened once more; whoever looks at it takes it back."""
        self._leaving: dict[FlowKey, Handler] = {}
        self._arriving: dict[FlowKey, Verdict] = {}
        self._left_first: FirstFragments[Handler] = FirstFragments()
        self._came_first: FirstFragments[Verdict] = FirstFragments()
        self.events: deque[Event] = deque()
        """What happened, oldest first; `next_event` drains it. Empty is falsy: one look per packet."""
        self.changed: Callable[[], None] = _nothing
        """Called whenever a decision about packets may have become another one."""
        self.alert: Callable[[int], None] = lambda now: None
        """Called with the time when an event waits that no received packet will drain: see `volume`."""
        self.path_mtu: Callable[[OutboundSa], int] = lambda _sa: ETHERNET_MTU
        """What tells how long an outer packet may be, for those who clamp the MSS of TCP to it, or pad."""
        self.number: Number = Numbers().next
        """What numbers the outer packets of all SAs that are installed from now on."""
        self._resources = Resources(self.events.append, self._alert)
        self.aggfrag = Fleet(lambda sa: self.path_mtu(sa))
        """The SAs of AGGFRAG mode, which send by a clock: what they have for the driver, and when."""
        self.spd = Spd(self._forget_flows)
        self.sad: Mapping[int, Pair] = MappingProxyType(self._pairs)

    @property
    def local_addresses(self) -> frozenset[bytes]:
        """The addresses at which ESP and AH are opened; assign the whole set anew when one comes or goes."""
        return self._local

    @local_addresses.setter
    def local_addresses(self, addresses: Iterable[bytes]) -> None:
        self._local = frozenset(addresses)
        self._forget_flows()

    def install(
        self,
        spec: ChildSpec,
        now: int,
        behind: Iterable[Policy] = (),
        successor_of: int = 0,
        replaces: int = 0,
    ) -> None:
        """Make both SAs and the policy for them: the newest pair is used, or one for just a part before it.

        Nor is it used for what one of the policies in `behind` is for, where that is just a part of it. While
        the pair `successor_of` may be sent on, the new one waits until something has come in on it: its peer
        may not know of it yet (RFC 7296 2.8). `replaces` is the pair whose rekeying made this one, whoever
        asked for that.
        ValueError for an inbound SPI that is zero or in use, and for settings that do not fit together.
        """
        if not spec.spi_in or not spec.spi_out:
            raise ValueError("an SPI of an SA is not zero (RFC 4303 2.1)")
        if spec.spi_in in self._pairs:
            raise ValueError(f"the inbound SPI {spec.spi_in:#010x} is in use")
        report = self.events.append
        policy = _policy_for(spec)
        inbound: InboundSa
        outbound: OutboundSa
        if spec.mode is Mode.IPTFS:
            inbound, outbound = self.aggfrag.make(spec, self._rand, report, self._alert)
            self.aggfrag.inherit(spec.spi_in, replaces)
        elif spec.is_metered:
            inbound = MeteredInboundSa(spec, self._rand, report, self._alert)
            outbound = MeteredOutboundSa(spec, self._rand, report, self._alert)
        else:
            inbound = InboundSa(spec, self._rand, report)
            outbound = OutboundSa(spec, self._rand, report, self._alert)
        outbound.number = self.number
        if spec.handling.mss_clamp:
            clamp(inbound, outbound, lambda sa: self.path_mtu(sa))
        if spec.handling.tfc_padding:
            pad(outbound, lambda sa: self.path_mtu(sa))
        if spec.tracked:
            owner = self._tracked.add(spec.spi_in, successor_of)
            inbound.claim = lambda packet, now: self._conversations.claim(packet, owner, now)
        self._pairs[spec.spi_in] = Pair(inbound, outbound, policy)
        self._openers_of(spec)[spec.spi_in] = inbound
        if self._pairs[spec.spi_in].is_bound:
            self._bind(self._pairs[spec.spi_in], waits=successor_of in self._pairs)
            self.aggfrag.start(spec.spi_in, now)
            return
        old = self._pairs.get(successor_of)
        if old is None or old.policy not in self.spd:
            self.spd.add_sa(policy, behind)
            self.aggfrag.start(spec.spi_in, now)
            return
        self.spd.add_after(policy, old.policy)
        keeping = tuple(behind)

        def on_first() -> None:
            self._prefer(policy, keeping)
            self.aggfrag.rest(successor_of)
            self.aggfrag.start(spec.spi_in, inbound.last_at)

        inbound.on_first = on_first
        self.aggfrag.succeed(successor_of, spec.spi_in)

    def retire(self, spi_in: int) -> None:
        """Send nothing more on a pair of SAs, which goes on receiving; nothing happens when there is none."""
        pair = self._pairs.get(spi_in)
        self.aggfrag.rest(spi_in)
        if pair is not None and pair.policy in self.spd:
            self._resources.forget(pair)
            self.spd.remove(pair.policy)
        elif pair is not None and self._resources.discard(pair):
            self._forget_flows()

    def remove(self, spi_in: int) -> None:
        """Forget a pair of SAs and its policy; nothing happens when there is none."""
        self.retire(spi_in)
        pair = self._pairs.pop(spi_in, None)
        if pair is not None:
            del self._openers_of(pair.inbound.spec)[spi_in]
            gone = self._tracked.remove(spi_in) if pair.inbound.spec.tracked else None
            if gone is not None:
                self._conversations.forget(gone)
            self.aggfrag.forget(spi_in)

    def move(self, spi_in: int, local: Sock, remote: Sock, encap: bool) -> None:
        """Give a pair of SAs other outer addresses; SPIs, sequence numbers, window and counters stay.

        Nothing happens when there is no such pair. ValueError when the addresses do not fit together.
        """
        pair = self._pairs.get(spi_in)
        if pair is not None:
            pair.move(local, remote, encap)
            self._forget_flows()

    def pair(self, spi_in: int) -> tuple[InboundSa, OutboundSa]:
        """Both SAs of a pair; KeyError when there is none."""
        inbound, outbound, _ = self._pairs[spi_in]
        return inbound, outbound

    def usage(self, spi_in: int) -> Usage | None:
        """When a pair last carried something, from where the peer should be; None if there is no pair."""
        pair = self._pairs.get(spi_in)
        return Usage(pair.inbound.alive_at, pair.outbound.last_at) if pair else None

    def outbound(self, ip: bytearray, now: int) -> Outcome:
        """The protected packet (a new one; `ip` stays as it was), or why there is none.

        Queued means that `ip` is spent and leaves later: see `aggfrag`.
        """
        handler = self._leaving.get(flow_key(ip))
        if handler is None:
            handler = self._leaving_handler(ip, now)
        return handler(ip, now)

    def inbound(self, ip: bytearray, now: int) -> Outcome:
        """What ESP or AH for this node held; BYPASS for what arrives rightly in the clear; else Drop.

        Aggregate is ESP that may hold many inner packets: see `aggfrag`.

        Takes any octets whatever and never raises. Octets that fail a check change nothing but counters.
        `ip` is spent if it was one of these.
        """
        size = len(ip)
        if size >= _LOCATE_BYTES:
            first, total, fragment, protocol, src, dst, word, low = _locate(ip)
            if first == 0x45 and total == size and dst in self._quick and not fragment & _FRAGMENT_BITS:
                if protocol == _ESP:
                    opener = self.openers.get(word)
                    if opener is not None:
                        inner = opener.open(ip, IPV4_HEADER_BYTES, low, None, now)
                        return self._noticed(opener, inner, now) if opener.held_ipsec else inner
                    return self._open(ip, IPV4_HEADER_BYTES, word, low, None, now)
                if protocol == _UDP and word & 0xFFFF == self._natt_port:
                    return self._natt(ip, IPV4_HEADER_BYTES, (src, word >> 16), now)
                if protocol == _AH:
                    return self._open_ah(ip, IPV4_HEADER_BYTES, now)
        verdict = self._arriving.get(flow_key(ip))
        return self._inbound_slow(ip, now) if verdict is None else verdict

    def dummy(self, spi_in: int, now: int, size: int | None = None) -> bytearray | Verdict:
        """A packet that only hides when and how much is said, for the peer of a pair (RFC 4303 2.6).

        It holds `size` octets of noise, by default as many as padded packets have or 64, in any case no more
        than fit into the path. KeyError for an unknown pair, ValueError for one of AH.
        """
        outbound = self._pairs[spi_in].outbound
        return outbound.dummy(dummy_bytes(outbound, self.path_mtu, size), now)

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def protecting(self, ip: bytearray) -> int | None:
        """The inbound SPI of the pair that would protect an outbound packet, for questions about its size."""
        try:
            traffic, _ = classify(ip)
        except WireError:
            return None
        policy = self.spd.outbound(traffic)
        pair = self._pairs.get(policy.spi_in) if policy else None
        if pair is None or policy is None:
            return None
        if pair.outbound.spec.share is not None:
            return self._resources.serving(pair, traffic).inbound.spi
        return self._sender(ip, policy.spi_in) if self._tracked else policy.spi_in

    def around(self, spi_in: int) -> tuple[Pair, ...]:
        """The pairs around this one, from inside out; none unless they are nested."""
        return tuple(self._chain(self._pairs[spi_in])[0][1:]) if self.spd.nesting else ()

    def seal(self, spi_in: int, ip: bytearray, now: int) -> Outcome:
        """What a pair, and those around it, make of a packet."""
        return self._sealer(self._pairs[spi_in])(ip, now)

    def overhead(self, spi_in: int, inner_bytes: int) -> int:
        """How many octets longer a packet of `inner_bytes` octets, without IP options, becomes."""
        size = inner_bytes
        for pair in (self._pairs[spi_in], *self.around(spi_in)):
            size = pair.outbound.size(size)
        return size - inner_bytes

    def max_inner(self, mtu: int, spi_in: int) -> int:
        """The longest packet without IP options whose protected form fits into `mtu`; 0 if none does."""
        for pair in reversed((self._pairs[spi_in], *self.around(spi_in))):
            mtu = pair.outbound.max_inner(mtu)
        return mtu

    def open_again(self, inner: bytearray, now: int) -> Outcome:
        """What came out of an SA and is ESP or AH: opened by its own SA if it is for this node."""
        traffic, header = classify(inner)
        if header.dst not in self._local:
            return inner  # a host's, which passes here
        if self._depth + 1 >= MAX_DEPTH:
            return DROP[Reason.NESTED]
        self._depth += 1
        outcome = self._open_sound(inner, traffic, header, now)
        self._depth -= 1
        self.reopened = True
        return inner if outcome is BYPASS else outcome

    def _prefer(self, policy: Policy, behind: Iterable[Policy]) -> None:
        """The peer uses the pair of this policy: so do we, unless it was retired meanwhile."""
        if policy in self.spd:
            self.spd.remove(policy)
            self.spd.add_sa(policy, behind)
            self._tracked.prefer(policy.spi_in)

    def _alert(self, now: int) -> None:
        self.alert(now)

    def _open(self, ip: bytearray, at: int, spi: int, low: int, peer: Sock | None, now: int) -> Outcome:
        opener = self.openers.get(spi)
        if opener is None:
            return DROP[Reason.WRONG_PROTOCOL if spi in self._ah_openers else Reason.UNKNOWN_SPI]
        inner = opener.open(ip, at, low, peer, now)
        return self._noticed(opener, inner, now) if opener.held_ipsec else inner

    def _open_ah(self, ip: bytearray, at: int, now: int) -> Outcome:
        if len(ip) < at + ah.HEADER_BYTES:
            return DROP[Reason.MALFORMED_AH]
        _, _, _, spi, low = _ah_header(ip, at)
        opener = self._ah_openers.get(spi)
        if opener is None:
            return DROP[Reason.WRONG_PROTOCOL if spi in self.openers else Reason.UNKNOWN_SPI]
        inner = opener.open_any(ip, at, low, None, now)
        return self._noticed(opener, inner, now) if opener.held_ipsec else inner

    def _noticed(self, opener: InboundSa, inner: Outcome, now: int) -> Outcome:
        opener.held_ipsec = False
        return inner if isinstance(inner, Verdict) else self.open_again(inner, now)

    def _openers_of(self, spec: ChildSpec) -> dict[int, InboundSa]:
        """So an SPI leads only to an SA of the protocol that a packet has (RFC 4301 4.1)."""
        return self._ah_openers if spec.protocol is Protocol.AH else self.openers

    def _natt(self, ip: bytearray, at: int, peer: Sock, now: int) -> Outcome:
        """A datagram to the NAT traversal port, whose UDP header is at `at`: ESP, or IKE's (RFC 3948 2).

        The checksum is not looked at, be it zero or what a NAT made of it, in IPv6 too (RFC 6935 5): the ICV
        says more.
        """
        inner = at + UDP_HEADER_BYTES
        if len(ip) < inner + HEADER_BYTES:
            return BYPASS  # a keepalive, or too short for anything: IKE counts it
        length, spi, low = _in_udp(ip, at)
        if not spi:
            return BYPASS
        if length != len(ip) - at:
            return DROP[Reason.MALFORMED_ESP]
        return self._open(ip, inner, spi, low, peer, now)

    def _inbound_slow(self, ip: bytearray, now: int) -> Outcome:
        """Whatever is not ESP in plain IPv4, nor of a flow that is remembered."""
        try:
            traffic, header = classify(ip)
        except WireError:
            return DROP[Reason.MALFORMED_IP]
        if header.dst in self._local and (
            header.protocol in _IPSEC or (traffic.protocol == _UDP and traffic.dst_port == self._natt_port)
        ):
            return self._open_sound(ip, traffic, header, now)
        if header.fragment_offset and (known := self._came_first.find(header, now)) is not None:
            return known
        verdict = self._arriving.get(traffic) or self._arriving_verdict(traffic)
        if header.mf and not header.fragment_offset and verdict is BYPASS:
            self._came_first.keep(header, verdict, now)
        _remember(self._arriving, memorable(ip, traffic, header), verdict)
        return verdict

    def _open_sound(self, ip: bytearray, traffic: Traffic, header: IpHeader, now: int) -> Outcome:
        """ESP or AH for this node, in UDP or not; BYPASS for what is IKE's."""
        if self.spd.nesting and not self._depth and self._comes_bare(ip, header):
            return DROP[Reason.CLEAR_TEXT]
        if header.protocol in _IPSEC:
            return self._open_parsed(ip, header, now)
        if header.is_fragment:
            return DROP[Reason.FRAGMENT]
        return self._natt(ip, header.upper_offset, (traffic.src, traffic.src_port), now)

    def _comes_bare(self, ip: bytearray, header: IpHeader) -> bool:
        """Whether this ESP or AH should have come inside another SA (RFC 4301 5.2 step 4).

        Not where that one is inside this one: of two policies that fit each other's packets either may be it.
        """
        at = header.upper_offset + _SPI_AT[header.protocol]
        pair = self._pairs.get(int.from_bytes(ip[at : at + _SPI_BYTES], "big"))
        outer = None if pair is None else self._around(pair)
        return isinstance(outer, Verdict) or (outer is not None and pair not in self._chain(outer)[0])

    def _open_parsed(self, ip: bytearray, header: IpHeader, now: int) -> Outcome:
        at = header.upper_offset
        if header.is_fragment:
            return DROP[Reason.FRAGMENT]  # RFC 4303 and 4302 3.4.1: reassembly comes first
        if header.protocol == _AH:
            return self._open_ah(ip, at, now)
        if len(ip) < at + HEADER_BYTES:
            return DROP[Reason.MALFORMED_ESP]
        spi, low = _esp_header(ip, at)
        return self._open(ip, at, spi, low, None, now)

    def _arriving_verdict(self, traffic: Traffic) -> Verdict:
        """RFC 4301 5.2 step 3: may this come in the clear?

        What a gateway passes on crosses the boundary once, and is a policy's affair once: a packet from the
        inside is looked at when it leaves, and one from the outside was when it came.
        """
        if traffic.dst_port in self._ike_ports and traffic.protocol == _UDP and traffic.dst in self._local:
            return BYPASS
        policy = self.spd.inbound(traffic)
        if policy is None:
            if self._asks_for_ports(traffic, traffic.src, back=True):
                return DROP[Reason.HIDDEN_PORTS]
            crosses = traffic.dst not in self._local and self.spd.outbound(traffic) is not None
            return BYPASS if crosses else _CLEAR[self.spd.default]
        return DROP[Reason.CLEAR_TEXT] if policy.action is Action.PROTECT else _CLEAR[policy.action]

    def _leaving_handler(self, ip: bytearray, now: int) -> Handler:
        try:
            traffic, header = classify(ip)
        except WireError:
            return _constantly(DROP[Reason.MALFORMED_IP])
        if is_icmp_error(traffic) and (carrier := self._carrier(ip, traffic, header)) is not None:
            return carrier  # of this very message: the next one may quote another packet
        if header.fragment_offset and (known := self._left_first.find(header, now)) is not None:
            return known
        handler = self._leaving.get(traffic) or self._decide_leaving(traffic)
        if header.mf and not header.fragment_offset and self._shares_way(traffic):
            self._left_first.keep(header, handler, now)
        _remember(self._leaving, memorable(ip, traffic, header), handler)
        return handler

    def _shares_way(self, traffic: Traffic) -> bool:
        """Whether later fragments go where this first one goes: in clear, or by an SA that is for them."""
        policy = self.spd.outbound(traffic)
        if policy is None or policy.action is not Action.PROTECT:
            return (policy.action if policy else self.spd.default) is Action.BYPASS
        pair = self._pairs.get(policy.spi_in)
        return pair is not None and pair.outbound.spec.fragments

    def _carrier(self, ip: bytearray, traffic: Traffic, header: IpHeader) -> Handler | None:
        """RFC 4301 6.2: an ICMP error that no SA covers goes with what answers the packet that it quotes.

        None where that is not protected. Where it is and has no SA for it, the message would betray it.
        """
        quoted, own = quoted_traffic(ip, header), self.spd.outbound(traffic)
        trapped = own is not None and own.action is Action.PROTECT and own.spi_in not in self._pairs
        if quoted is None or (own is not None and not trapped):
            return None
        answer = answer_to(quoted)
        policy = None if self._is_ike(answer) else self.spd.outbound(answer)
        if policy is None or policy.action is not Action.PROTECT:
            return None
        pair = self._pairs.get(policy.spi_in)
        if pair is None or not pair.outbound.may_carry(traffic):
            return None if trapped else _constantly(DROP[Reason.ICMP_IN_CLEAR])
        return self._sealer(pair)

    def _is_ike(self, traffic: Traffic) -> bool:
        """Whether a packet that leaves is of our own IKE."""
        return traffic.src_port in self._ike_ports and traffic.protocol == _UDP and traffic.src in self._local

    def _decide_leaving(self, traffic: Traffic) -> Handler:
        """RFC 4301 5.1 step 2: what to do with a packet that leaves, and with all like it."""
        if self._is_ike(traffic):
            return _constantly(BYPASS)
        policy = self.spd.outbound(traffic)
        if policy is None:
            if self._asks_for_ports(traffic, traffic.dst, back=False):
                return _constantly(DROP[Reason.HIDDEN_PORTS])
            crosses = traffic.src not in self._local and self.spd.inbound(traffic) is not None
            return _constantly(BYPASS if crosses else _CLEAR[self.spd.default])
        if policy.action is not Action.PROTECT:
            return _constantly(_CLEAR[policy.action])
        pair = self._pairs.get(policy.spi_in)
        if pair is None:
            return _constantly(Acquire(policy, *selectors_of(traffic)))
        if pair.outbound.spec.tracked:
            return self._seal_tracked(policy.spi_in)
        return self._sealer(pair) if pair.outbound.spec.share is None else self._shared(pair, traffic)

    def _shared(self, common: Pair, traffic: Traffic) -> Handler:
        """The SA of the flow's own resource, or the common one, on which the first packet asks for one."""
        serving = self._resources.serving(common, traffic)
        share, seal = common.outbound.spec.share, self._sealer(serving)
        if serving is not common or share is None or not share.asks:
            return seal

        def ask_and_seal(ip: bytearray, now: int) -> Outcome:
            self._resources.want(common, traffic, now)
            return seal(ip, now)

        return ask_and_seal

    def _bind(self, pair: Pair, *, waits: bool) -> None:
        """A pair for one resource has no policy of its own; a successor waits as others do."""
        self._resources.add(pair, waits=waits)
        if waits:
            pair.inbound.on_first = lambda: self._prefer_bound(pair)
        self._forget_flows()

    def _prefer_bound(self, pair: Pair) -> None:
        self._resources.prefer(pair)
        self._forget_flows()

    def _seal_tracked(self, spi_in: int) -> Handler:
        """Seal answers for who asked, and what nobody has asked for with the newest pair."""

        def seal(ip: bytearray, now: int) -> Outcome:
            pair = self._pairs[self._sender(ip, spi_in)]
            return self._sealer(pair)(ip, now) if pair.policy in self.spd else DROP[Reason.EXPIRED]

        return seal

    def _sender(self, ip: bytearray, spi_in: int) -> int:
        """The pair that a packet leaves by, which policy gives to the pair `spi_in`."""
        if not self._pairs[spi_in].outbound.spec.tracked:
            return spi_in
        owner = self._conversations.owner_of_answer(ip)
        return spi_in if owner is None else self._tracked.sender(owner)

    def _sealer(self, pair: Pair) -> Handler:
        """What seals for a pair and for those around it, from inside out."""
        if not self.spd.nesting:
            return pair.outbound.handler
        chain, end = self._chain(pair)
        if end is not None:
            return _constantly(end)
        if len(chain) == 1:
            return pair.outbound.handler
        if any(each.outbound.spec.mode is Mode.IPTFS for each in chain):
            return _constantly(DROP[Reason.NESTED])  # what it makes leaves later, by itself
        return partial(_seal_all, [each.outbound.seal for each in chain])

    def _chain(self, pair: Pair) -> tuple[list[Pair], Verdict | None]:
        """A pair and those around it; a verdict where one is missing, forbidden or too many."""
        chain, used = [pair], {pair.policy.name}
        outer = self._around(pair)
        while isinstance(outer, Pair) and outer.policy.name not in used:
            if len(chain) == MAX_DEPTH:
                return chain, DROP[Reason.NESTED]
            chain.append(outer)
            used.add(outer.policy.name)
            outer = self._around(outer)
        return chain, outer if isinstance(outer, Verdict) else None

    def _around(self, pair: Pair) -> Pair | Verdict | None:
        """What becomes of the packets that a pair makes; None: they leave."""
        if not self.spd.nesting:
            return None
        made = made_by(pair.outbound.spec)
        policy = around(self.spd.towards(made.dst), made)
        if policy is None or policy.action is Action.BYPASS or policy.name == pair.policy.name:
            return None
        if policy.action is Action.DISCARD:
            return DROP[Reason.DISCARD_POLICY]
        return self._pairs.get(policy.spi_in) or Acquire(policy, *selectors_of(made))

    def _asks_for_ports(self, traffic: Traffic, remote: bytes, *, back: bool) -> bool:
        """Whether a packet whose ports cannot be seen may be one that may not go in clear."""
        if not hides_ports(traffic):
            return False
        any_port = traffic._replace(src_port=UNEXAMINED, dst_port=UNEXAMINED)
        return any(
            policy.action is not Action.BYPASS and covers_both(any_port, *_sides(policy, back=back))
            for policy in self.spd.towards(remote)
        )

    def _forget_flows(self) -> None:
        self._quick = frozenset() if self.spd.nesting else self._local
        self._left_first.clear()
        self._came_first.clear()
        self._leaving.clear()
        self._arriving.clear()
        self.changed()


_CLEAR: dict[Action, Verdict] = {Action.BYPASS: BYPASS, Action.DISCARD: DROP[Reason.DISCARD_POLICY]}


def _sides(policy: Policy, *, back: bool) -> tuple[tuple[Selector, ...], tuple[Selector, ...]]:
    """What a policy says of a packet's source and destination."""
    return (policy.remote_ts, policy.local_ts) if back else (policy.local_ts, policy.remote_ts)


def _policy_for(spec: ChildSpec) -> Policy:
    return Policy(
        name=f"{spec.connection}/{spec.child}",
        action=Action.PROTECT,
        local_ts=spec.local_ts,
        remote_ts=spec.remote_ts,
        connection=spec.connection,
        child=spec.child,
        mode=spec.mode,
        spi_in=spec.spi_in,
        priority=spec.priority,
    )


def _nothing() -> None: ...


def _seal_all(chain: Sequence[Seal], ip: bytearray, now: int) -> Outcome:
    for seal in chain:
        sealed = seal(ip, now)
        if isinstance(sealed, Drop):
            return sealed
        ip = sealed
    return ip


def _constantly(verdict: Verdict) -> Handler:
    return lambda ip, now: verdict


def _remember(flows: dict[FlowKey, Decision], key: FlowKey, value: Decision) -> None:
    if len(flows) >= MAX_FLOWS:
        flows.clear()
    flows[key] = value
