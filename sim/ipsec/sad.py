"""The security associations of one node, in pairs (RFC 4301 4.4.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from sim.crypto.cipher import Rand
from sim.ipsec import protocols
from sim.ipsec.ah import AhMode
from sim.ipsec.compress import Tally
from sim.ipsec.events import Event, PeerMoved, SelectorMismatch, SequenceExhausted
from sim.ipsec.fragments import FirstFragments
from sim.ipsec.icmp_errors import is_icmp_error, quoted_traffic
from sim.ipsec.nesting import is_ipsec
from sim.ipsec.outer import Number, Numbers
from sim.ipsec.policy import Policy, covers_both
from sim.ipsec.protocols import ModeSealer, Opener, Sealer
from sim.ipsec.replay import ReplayWindow, check_size
from sim.ipsec.spec import ChildSpec
from sim.ipsec.traffic import KEY_V4_BYTES, FlowKey, Traffic, classify, flow_key, key_v4, memorable
from sim.ipsec.verdict import DROP, Drop, PacketError, Reason, Verdict
from sim.units import NS_PER_S
from sim.wire.address import Sock
from sim.wire.buffer import WireError
from sim.wire.esp import Mode
from sim.wire.ip import IpHeader, Protocol

_PLAIN_IPV4 = 0x45
MAX_FLOWS = 4096
"""How many flows an SA or an engine remembers; one more, and it starts afresh."""

_MISMATCH_EVERY = 60 * NS_PER_S
_MISMATCH_BYTES = 64
"""As much as an ICMP error quotes at least, with room for a longer header (RFC 7296 3.10.1)."""
_DUMMY = int(Protocol.NO_NEXT)

Report = Callable[[Event], None]
Alert = Callable[[int], None]
"""Called with the time when an event waits that the packet path itself does not drain."""
Handler = Callable[[bytearray, int], bytearray | Verdict]
"""What to do with a packet that leaves, and when."""
OpenPlain = Callable[[bytearray, int, int], bytearray | None]
OpenMode = Callable[[bytearray, int, bytearray, int], bytearray]


class Usage(NamedTuple):
    """When a pair of SAs last carried an authenticated packet, in ns; -1 for never."""

    last_in_at: int
    last_out_at: int


class Moved(NamedTuple):
    """Where an SA has moved to, the peer's address and ours, and when the peer last was alive before."""

    ends: bytes
    alive_at: int

    def fits(self, packet: bytearray) -> bool:
        """Whether an outer packet has come that way."""
        at = _ADDRESSES_AT[packet[0] >> 4]
        return packet[at : at + len(self.ends)] == self.ends


_ADDRESSES_AT = {4: 12, 6: 8}
"""Where the two addresses of an IP header are, by its version."""


class OutboundSa:
    """One SA for sending. `packets` and `bytes` count inner packets; `drops` counts by reason.

    Its cipher is made for the first packet: of thousands of SAs most are idle, and a cipher is large.
    """

    def __init__(self, spec: ChildSpec, rand: Rand, report: Report, alert: Alert) -> None:
        """ValueError for settings that do not fit together."""
        self._rand = rand
        self._report = report
        self._alert = alert
        self._wrapper: Sealer | None = None
        self._seal: Callable[[bytearray], bytearray] | None = None
        self.tally = Tally() if spec.cpi_out else None
        self.shape: Callable[[bytearray], bytearray] | None = None
        """What becomes of a packet before it is sealed; set before the first one."""
        self.least: Callable[[], int] = _no_size
        """How many octets `shape` pads packets to: see `tfc`."""
        self.number: Number = Numbers().next
        """What numbers outer packets; set before the first one."""
        self.dummies = 0
        self.packets = 0
        self.bytes = 0
        self.last_at = -1
        self.drops: Counter[Reason] = Counter()
        self.settle(spec)

    @property
    def wrapper(self) -> Sealer:
        """What makes this SA's ESP or AH."""
        if self._wrapper is None:
            self._wrapper = protocols.sealer(self.spec, self._rand)
        return self._wrapper

    @property
    def spi(self) -> int:
        return self.spec.spi_out

    @property
    def seq(self) -> int:
        """The number of the last packet sent; the first has 1."""
        return self.wrapper.seq

    def settle(self, spec: ChildSpec) -> None:
        """Use the addresses of `spec` from now on; ValueError when they do not fit."""
        protocols.check(spec, spec.keys_out)
        self.spec = spec
        self._seal = None

    @property
    def handler(self) -> Handler:
        """What takes packets that the policy assigns to this SA."""
        return self.seal

    def seal(self, packet: bytearray, now: int) -> bytearray | Drop:
        """The protected form of a packet that the policy assigns to this SA."""
        seal = self._seal or self._start()
        try:
            sealed = seal(packet)
        except PacketError as error:
            return self._dropped(error.reason, now)
        self.packets += 1
        self.bytes += len(packet)
        self.last_at = now
        return sealed

    def dummy(self, size: int, now: int) -> bytearray | Drop:
        """A packet with nothing but `size` octets of noise in it, which its receiver drops (RFC 4303 2.6).

        It counts in `dummies` alone. ValueError for AH, which hides nothing.
        """
        mode, spec = self._sealer, self.spec
        if isinstance(mode, AhMode):
            raise ValueError("dummy packets hide among those of ESP: AH has none (RFC 4303 2.6)")
        try:
            sealed = mode.dummy(bytearray(self._rand(size)), spec.local[0], spec.remote[0])
        except PacketError as error:
            return self._dropped(error.reason, now)
        self.dummies += 1
        self.last_at = now
        return sealed

    def may_carry(self, error: Traffic) -> bool:
        """Whether an ICMP error about what comes in on the pair may go out on this SA (RFC 4301 6.2)."""
        spec = self.spec
        ends = error.src, error.dst
        return spec.handling.icmp and (
            spec.mode is not Mode.TRANSPORT or ends == (spec.local[0], spec.remote[0])
        )

    def discount(self, size: int) -> None:
        """What was sealed from `size` octets did not leave; its sequence number stays used."""
        self.packets -= 1
        self.bytes -= size
        if self.tally is not None:
            self.tally.uncount()

    def size(self, inner: int) -> int:
        """The size of the protected form of a packet of `inner` octets without IP options."""
        return self._sealer.size(max(inner, self.least()))

    def max_inner(self, mtu: int) -> int:
        """The longest such packet whose protected form fits into `mtu`; 0 if none does."""
        return self._sealer.max_inner(mtu)

    @property
    def _sealer(self) -> ModeSealer:
        if self._seal is None:
            self._start()
        return self._mode

    def _start(self) -> Callable[[bytearray], bytearray]:
        """What seals for the present addresses, made for the first packet that needs it."""
        spec, wrapper = self.spec, self.wrapper
        mode = self._mode = protocols.mode_sealer(spec, wrapper, self.number, self.tally)
        self._seal = _after(self.shape, protocols.express_seal(spec, mode, wrapper))
        return self._seal

    def _dropped(self, reason: Reason, now: int) -> Drop:
        if reason is Reason.SEQUENCE_EXHAUSTED and not self.drops[reason]:
            self._report(SequenceExhausted(self.spec.spi_in, self.spec.spi_out))
            self._alert(now)
        self.drops[reason] += 1
        return DROP[reason]


class InboundSa:
    """One SA for receiving. `packets` and `bytes` count inner packets that were let through.

    Its cipher and its window are made for the first packet, as with an OutboundSa.
    """

    def __init__(self, spec: ChildSpec, rand: Rand, report: Report) -> None:
        """ValueError for settings that do not fit together."""
        protocols.check(spec, spec.keys_in)
        check_size(spec.replay_window)
        self._rand = rand
        self._report = report
        self._wrapper: Opener | None = None
        self.on_first: Callable[[], None] | None = None
        """Called once, for the first packet that is authentic."""
        self.claim: Callable[[bytearray, int], bool] | None = None
        """Called with each packet that fits; False refuses it, as another SA has its conversation."""
        self.packets = 0
        self.bytes = 0
        self.last_at = self._mismatch_at = -1
        self._moved: Moved | None = None
        self.drops: Counter[Reason] = Counter()
        self.tally = Tally() if spec.cpi_in else None
        self.held_ipsec = False
        """Whether the last packet that came out is ESP or AH itself; `Engine.open_again` takes note."""
        self.open_plain: OpenPlain = _asleep
        """What ESP at an offset of an IPv4 packet held, if it is plain: see `express`. Then comes `admit`."""
        self.shape: Callable[[bytearray], bytearray] | None = None
        """What becomes of a packet that was let through; set before the first one."""
        self.settle(spec)

    @property
    def ecn_alarms(self) -> int:
        """Packets whose inner and outer ECN fields nothing sound makes (RFC 6040 4.2)."""
        return self._mode.alarms if self._wrapper else 0

    @property
    def window(self) -> ReplayWindow:
        return (self._wrapper or self._start()).window

    @property
    def spi(self) -> int:
        return self.spec.spi_in

    def settle(self, spec: ChildSpec) -> None:
        """Expect the peer at the addresses of `spec` from now on."""
        self.spec = spec
        self._peer = spec.remote

    def move(self, spec: ChildSpec) -> None:
        """As `settle`; until a packet has come that way, others are no sign of life (RFC 4555 3.12)."""
        ends, before = spec.remote[0] + spec.local[0], self.spec
        self.settle(spec)
        if ends != before.remote[0] + before.local[0]:
            self._moved = Moved(ends, self.alive_at)
            self.open_plain = _never if self._wrapper else _asleep

    @property
    def alive_at(self) -> int:
        """When a packet last came from where the peer should be to where we are; -1 for never."""
        return self.last_at if self._moved is None else self._moved.alive_at

    def open(self, packet: bytearray, at: int, low: int, peer: Sock | None, now: int) -> bytearray | Verdict:
        """The inner packet of ESP or AH at `at`, which shows the sequence number `low`; `packet` is spent.

        `peer` is where the packet says that it comes from, None unless it came in UDP. A packet may use
        UDP or not, whatever the SA does (RFC 7296 2.23).
        """
        inner = self.open_plain(packet, at, low) if packet[0] == _PLAIN_IPV4 else None
        if inner is None:
            return self.open_any(packet, at, low, peer, now)
        total = len(inner)
        if (
            total >= KEY_V4_BYTES
            and inner[0] == _PLAIN_IPV4
            and inner[2] << 8 | inner[3] == total
            and key_v4(inner) in self._flows
        ):
            # As `admit`: what is plain outside changes nothing inside, and the flow is no new one.
            self.last_at = now
            if peer is not None and peer != self._peer:
                self._follow(peer)
            self.packets += 1
            self.bytes += total
            return inner
        return self.admit(packet, at, inner, peer, now)

    def open_any(self, packet: bytearray, at: int, low: int, peer: Sock | None, now: int) -> bytearray | Drop:
        """As `open`, the long way, which any packet can take."""
        try:
            payload, next_header, newest = (self._wrapper or self._start()).open(packet, at, low)
        except PacketError as error:
            return self._dropped(error.reason)
        return self.admit(packet, at, payload, peer if newest else None, now, next_header)

    def admit(
        self,
        packet: bytearray,
        at: int,
        payload: bytearray,
        peer: Sock | None,
        now: int,
        next_header: int = Protocol.IPV4,
    ) -> bytearray | Drop:
        """The inner packet, if what ESP held is what the SA is for.

        `peer` is None unless this packet is the newest and came in UDP.
        """
        self._noted(packet, peer, now)
        try:
            if next_header == _DUMMY:
                raise PacketError(Reason.DUMMY)  # RFC 4303 2.6: no error, just nothing
            inner = self._open_mode(packet, at, payload, next_header)
            if flow_key(inner) not in self._flows:
                self._check_selectors(inner)
            if self.claim is not None and not self.claim(inner, now):
                raise PacketError(Reason.NOT_TOLD_APART)
        except PacketError as error:
            return self._dropped(error.reason)
        self.packets += 1
        self.bytes += len(inner)
        return inner

    def _noted(self, packet: bytearray, peer: Sock | None, now: int) -> None:
        """An authentic packet came, from `peer` if that is news."""
        self.last_at = now
        if self._moved is not None and self._moved.fits(packet):
            self._moved, self.open_plain = None, self._shortest()
        if self.on_first is not None:
            on_first, self.on_first = self.on_first, None
            on_first()
        if peer is not None and peer != self._peer:
            self._follow(peer)

    def admit_known(self, inner: bytearray, peer: Sock | None, now: int) -> None:
        """As `admit`, for a whole packet from `open_plain` whose flow this SA has admitted before."""
        self.last_at = now
        if peer is not None and peer != self._peer:
            self._follow(peer)
        self.packets += 1
        self.bytes += len(inner)

    def _dropped(self, reason: Reason) -> Drop:
        self.drops[reason] += 1
        return DROP[reason]

    def _start(self) -> Opener:
        spec = self.spec
        wrapper = self._wrapper = protocols.opener(spec, self._rand)
        mode = self._mode = protocols.mode_opener(spec, self.tally)
        self._open_mode = mode.open if self.shape is None else _shaped(mode.open, self.shape)
        self._flows: set[FlowKey] = set()
        self._firsts: FirstFragments[bool] = FirstFragments()
        if self.open_plain is _asleep:
            self.open_plain = _never if self._moved else self._shortest()
        return wrapper

    def _shortest(self) -> OpenPlain:
        wrapper = self._wrapper
        express = None if self.shape or wrapper is None else protocols.express_open(self.spec, wrapper)
        return express or _never

    def _check_selectors(self, inner: bytearray) -> None:
        """RFC 4301 5.2 step 4: what came through the SA is what the SA is for."""
        try:
            traffic, header = classify(inner)
        except WireError:
            raise PacketError(Reason.MALFORMED_INNER) from None
        if header.is_fragment and self.spec.fragments:
            self._check_fragment(inner, traffic, header)
            return
        if traffic in self._flows:
            return
        if is_icmp_error(traffic) and self._check_quoted(inner, traffic, header):
            return  # and the next one is checked again: it may quote another packet
        if not covers_both(traffic, self.spec.remote_ts, self.spec.local_ts):
            self._tell_mismatch(inner)
            raise PacketError(Reason.SELECTOR_MISMATCH)
        if is_ipsec(traffic):
            self.held_ipsec = True
            return  # nor remembered, so that the next one is noticed as well
        if len(self._flows) >= MAX_FLOWS:
            self._flows.clear()
        self._flows.add(memorable(inner, traffic, header))

    def _check_fragment(self, inner: bytearray, traffic: Traffic, header: IpHeader) -> None:
        """RFC 4301 7.3: later fragments belong here if their first one did."""
        if covers_both(traffic, self.spec.remote_ts, self.spec.local_ts):
            if not header.fragment_offset:
                self._firsts.keep(header, True, self.last_at)
        elif not header.fragment_offset or not self._firsts.find(header, self.last_at):
            self._tell_mismatch(inner)
            raise PacketError(Reason.SELECTOR_MISMATCH)

    def _check_quoted(self, inner: bytearray, traffic: Traffic, header: IpHeader) -> bool:
        """Whether an ICMP error is about a packet of this pair (RFC 4301 6.2); if not, selectors decide."""
        spec, rules = self.spec, self.spec.handling
        quoted = quoted_traffic(inner, header)
        if rules.icmp and quoted is not None and covers_both(quoted, spec.local_ts, spec.remote_ts):
            return True
        if rules.icmp_check or (rules.icmp and not covers_both(traffic, spec.remote_ts, spec.local_ts)):
            raise PacketError(Reason.ICMP_PAYLOAD)
        return False

    def _tell_mismatch(self, inner: bytearray) -> None:
        if self._mismatch_at < 0 or self.last_at - self._mismatch_at >= _MISMATCH_EVERY:
            self._mismatch_at = self.last_at
            self._report(SelectorMismatch(self.spec.spi_in, bytes(inner[:_MISMATCH_BYTES])))

    def _follow(self, peer: Sock) -> None:
        self._peer = peer
        bound = self.spec.share is not None and self.spec.share.is_bound  # it may come from any port
        if self.spec.encap and not bound and peer != self.spec.remote:
            self._report(PeerMoved(self.spec.spi_in, peer))


class Pair(NamedTuple):
    """The two SAs of one Child SA and the policy that leads to them."""

    inbound: InboundSa
    outbound: OutboundSa
    policy: Policy

    @property
    def is_bound(self) -> bool:
        """Whether only one resource sends on it, beside a pair for all (RFC 9611)."""
        share = self.outbound.spec.share
        return share is not None and share.is_bound

    def move(self, local: Sock, remote: Sock, encap: bool) -> None:
        """AH is never in UDP: where that would be needed it goes on, and fails (RFC 4302 1)."""
        encap = encap and self.outbound.spec.protocol is Protocol.ESP
        spec = replace(self.outbound.spec, local=local, remote=remote, encap=encap)
        self.outbound.settle(spec)
        self.inbound.move(spec)


def _no_size() -> int:
    return 0


def _after(
    shape: Callable[[bytearray], bytearray] | None, seal: Callable[[bytearray], bytearray]
) -> Callable[[bytearray], bytearray]:
    return seal if shape is None else lambda packet: seal(shape(packet))


def _shaped(open_mode: OpenMode, shape: Callable[[bytearray], bytearray]) -> OpenMode:
    return lambda packet, at, payload, next_header: shape(open_mode(packet, at, payload, next_header))


def _never(_packet: bytearray, _at: int, _low: int) -> None: ...


def _asleep(_packet: bytearray, _at: int, _low: int) -> None:
    """Leaves the first packet to the long way, which starts the SA."""
