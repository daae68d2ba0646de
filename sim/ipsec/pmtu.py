"""The path MTU of each outbound SA, from unprotected ICMP (RFC 4301 6.1.1, 8.2.1).

Anybody can send such a message. So it must quote a packet that one of our SAs may have sent: its outer
addresses, its SPI, and with UDP encapsulation its ports. A router that quotes no more than the UDP header
means all SAs between these ports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct

from sim.ipsec.resources import source_port
from sim.ipsec.sad import OutboundSa, Pair
from sim.ipsec.spec import ChildSpec
from sim.wire.esp import Mode
from sim.wire.icmp import IcmpMessage
from sim.wire.ip import Protocol
from sim.wire.pmtu import PathMtus, PmtuRules, TooBig, too_big
from sim.wire.selector import ANY_PORTS
from sim.wire.udp import UDP_HEADER_BYTES

_SPI = Struct(">I")
_PORTS = Struct(">HH")
_SPI_AT: dict[int, int] = {Protocol.ESP: 0, Protocol.AH: 4}


def cuts_before(spec: ChildSpec) -> bool:
    """Whether an SA takes a packet that may be fragmented in pieces (RFC 4301 8.2.1 leaves the choice).

    Not if its selectors name ports: later fragments do not show theirs, and the peer would drop them
    (RFC 4301 7). The outer packet must be cut then, whatever its DF bit was to be.
    """
    if spec.mode is not Mode.TUNNEL or any(ts.ports != ANY_PORTS for ts in spec.local_ts + spec.remote_ts):
        return False
    return spec.handling.fragment_before or (spec.df and not spec.copy_df)


class SaMtus(PathMtus[int]):
    """Path MTUs by the inbound SPI of the pair; of outer packets, whole."""

    def __init__(self, sad: Mapping[int, Pair], rules: PmtuRules) -> None:
        super().__init__(rules)
        self._sad = sad

    def hear(self, message: IcmpMessage, now: int) -> bool:
        """Take in what a message says about a packet of one of our SAs; whether anything is different now.

        Takes any message.
        """
        report = too_big(message)
        if report is None or report.quoted.fragment_offset:
            return False
        changed = [self.learn(spi_in, report.mtu, message.version, now) for spi_in in self._senders(report)]
        return any(changed)

    def _senders(self, report: TooBig) -> Iterator[int]:
        """The pairs that may have sent the packet that a report quotes."""
        for spi_in, pair in self._sad.items():
            if _may_have_sent(pair.outbound, report):
                yield spi_in


def _may_have_sent(sa: OutboundSa, report: TooBig) -> bool:
    spec, (_, quoted, quote) = sa.spec, report
    if (quoted.src, quoted.dst) != (spec.local[0], spec.remote[0]):
        return False
    at = quoted.upper_offset
    if quoted.protocol == Protocol.UDP:
        if not spec.encap or len(quote) < at + _PORTS.size:
            return False
        if _PORTS.unpack_from(quote, at) != (source_port(spec), spec.remote[1]):
            return False
        at += UDP_HEADER_BYTES
        return len(quote) < at + _SPI.size or _spi(quote, at) == spec.spi_out
    if spec.encap or quoted.protocol not in _SPI_AT:
        return False
    at += _SPI_AT[quoted.protocol]
    return len(quote) >= at + _SPI.size and _spi(quote, at) == spec.spi_out


def _spi(quote: bytes, at: int) -> int:
    return int(_SPI.unpack_from(quote, at)[0])
