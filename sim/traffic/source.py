"""What all traffic sources share: a record, and a source address like that of a bound socket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.traffic.record import FlowRecord
from sim.wire.ip import IpHeader

Find = Callable[[], bytes | None]
"""The address of a flow's target at this moment; None while it has none."""

NO_TARGET = "no virtual IP yet: the target has none"


EMSGSIZE = "longer than the path takes whole: the socket refuses it (EMSGSIZE)"


class Pmtud(Enum):
    """What a source makes of the path MTU, by the names of Linux's IP_MTU_DISCOVER.

    The size of its packets stays what it is. IPv6 has no DF bit: there `dont` is as `want`.
    """

    WANT = "want"
    """DF, until a packet is longer than the path is known to take: then it goes in fragments, without DF."""
    DO = "do"
    """DF always; what is longer than the path is known to take is refused by the socket."""
    DONT = "dont"
    """No DF: routers cut what is too long."""
    PROBE = "probe"
    """DF always, and nothing is learned: what is too long is lost."""


class TrafficFlow(ABC):
    """Sends packets of its own from one node to an address of another, and notes what arrives.

    The source address is the node's for that destination when the first packet leaves, and stays, as that of
    a connected socket does. Only when the node has left that address, and the SAs for it are gone or others
    have come up, is the flow bound again, as an application does that notices. While the node has no route at
    all, packets count as sent and lost.

    Where the target's address is only known while time runs, `find` tells it; until it does, packets are
    dropped, and `dst` is just of the right family. A flow follows its target when that has lost the address.
    """

    def __init__(
        self,
        record: FlowRecord,
        source: IpNode,
        dst: bytes,
        target: IpNode,
        find: Find | None = None,
        pmtud: Pmtud = Pmtud.WANT,
    ) -> None:
        self.record = record
        self.source = source
        self.dst = dst
        self.target = target
        self._find = find
        self._found = find is None
        self.src: bytes | None = None
        self._pmtud = pmtud
        source.path_mtus.claims.append(self._has_sent)
        source.on_binding_change.append(self._binding_changed)
        if find is not None:
            target.on_binding_change.append(self._target_changed)

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def has_packets(self) -> bool:
        """Whether there is anything to send."""
        return True

    @abstractmethod
    def start(self) -> None:
        """Arm the first packet; once, before the run."""

    @abstractmethod
    def arrived(self, packet: Packet, node: IpNode, now: int) -> bool:
        """See `sim.net.packet.Flow`."""

    @abstractmethod
    def _tick(self, now: int) -> None:
        """Send what is due and arm for the next packet."""

    def _sent_this(self, quoted: IpHeader, quote: bytes) -> bool:
        """Whether the octets behind the header that an ICMP error quotes are of this flow."""
        return False

    def _has_sent(self, quoted: IpHeader, quote: bytes) -> bool:
        return (quoted.src, quoted.dst) == (self.src, self.dst) and self._sent_this(quoted, quote)

    def _takes_whole(self, size: int) -> bool:
        """Whether the path takes packets of so many octets, as far as the source knows."""
        return self._pmtud is Pmtud.PROBE or size <= self.source.mtu_to(self.dst)

    def _has_df(self, size: int) -> bool:
        """Whether an IPv4 packet gets the DF bit."""
        if self._pmtud is Pmtud.WANT:
            return self._takes_whole(size)
        return self._pmtud is not Pmtud.DONT

    def _refuses(self, packet: Packet, now: int) -> bool:
        """Whether the socket does not take a packet."""
        if self._pmtud is not Pmtud.DO or self._takes_whole(len(packet.data)):
            return False
        self.source.drop(packet, EMSGSIZE, now)
        return True

    def _binding_changed(self, _now: int) -> None:
        """Leave an address that the node has left, unless its SAs still go on with it (RFC 4555)."""
        if self.src is not None and self.source.is_outdated(self.src, self.dst):
            self.src = self.source.bind_address(self.dst) or self.src

    def _target_changed(self, _now: int) -> None:
        """Forget an address that the target has no longer."""
        if self._found and not self.target.is_local(self.dst):
            self._found, self.src = False, None

    def _bound(self) -> bytes | None:
        """The source address, bound now unless it is already; None when there is no route, or no target."""
        if not self._found and not self._look_up():
            return None
        if self.src is None:
            self.src = self.source.bind_address(self.dst)
        return self.src

    def _look_up(self) -> bool:
        address = self._find() if self._find is not None else None
        if address is not None:
            self.dst, self._found = address, True
        return self._found

    def _undelivered(self, seq: int, now: int) -> None:
        """There is nothing to put into a packet's header: say so where it is the target that is missing."""
        if not self._found:
            self.source.drop(Packet(bytearray(), now, self, seq), NO_TARGET, now)
