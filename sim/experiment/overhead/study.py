"""The study itself: every variant with every size, and what a path's MTU and a link's rate make of it.

Sizes are octets of whole IP packets. Goodput counts whole inner packets, as in the flows of a run. A carrier
is asked for each size once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sim.experiment.overhead.carriers import WAYS, Carrier
from sim.experiment.overhead.carry import Carry, carry
from sim.experiment.overhead.errors import OverheadError
from sim.experiment.overhead.inner import IP_HEADER_BYTES, TCP_HEADER_BYTES, Inner
from sim.experiment.overhead.pieces import Piece
from sim.experiment.overhead.variant import Variant
from sim.wire.esp import Mode
from sim.wire.ip import MAX_PACKET_BYTES

LEAST_MTU = {4: 68, 6: 1280}
"""What every link carries (RFC 791 3.2, RFC 8200 5)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One inner packet of `size` octets in one variant.

    `wire` are the octets of the packet that carries it, were the path's MTU no limit; `packets` and
    `on_path` how many packets travel for it, and how many octets, where that MTU is one. The rates are those
    of a link that carries nothing else; IP-TFS fills its packets there with several inner ones.
    """

    size: int
    wire: int
    packets: int
    on_path: int
    packets_per_s: float
    goodput_bps: float

    @property
    def added(self) -> int:
        return self.wire - self.size

    @property
    def percent(self) -> float:
        """What is added, of the inner packet."""
        return 100 * self.added / self.size


@dataclass(frozen=True, slots=True)
class Limits:
    """What fits into the path's MTU in one packet: the largest inner packet, 0 if none, and TCP's MSS for it.

    The MSS is that of a segment without options (RFC 9293 3.7.1); None where an inner packet of that IP
    version cannot be, or has no room for data.
    """

    largest: int
    mss_v4: int | None
    mss_v6: int | None


@dataclass(frozen=True, slots=True)
class Terms:
    """Path and link. `framing` is what a link adds to each packet: 38 octets for Ethernet with its gap."""

    mtu: int = 1500
    rate_bps: int = 10**9
    framing: int = 0


class Column:
    """One variant, asked for sizes."""

    def __init__(self, variant: Variant, inner: Inner, terms: Terms) -> None:
        self.variant = variant
        self._inner = inner
        self._terms = terms
        self._carry: Carry = carry(variant, inner, terms.mtu)
        self._wire: dict[int, int] = {}
        self._worst = self if not variant.ipcomp else Column(_incompressible(variant), inner, terms)

    def wire(self, size: int) -> int:
        if size not in self._wire:
            self._inner.check(size)
            self._wire[size] = self._carry.wire(size)
        return self._wire[size]

    def cell(self, size: int) -> Cell:
        wire = self.wire(size)
        sent = [wire] if wire <= self._terms.mtu else self._carry.on_path(size, self._terms.mtu)
        packets, octets = self._carry.busy(size) or (len(sent), sum(sent))
        per_s = self._terms.rate_bps / (8 * (octets + self._terms.framing * packets))
        return Cell(size, wire, len(sent), sum(sent), per_s * packets, per_s * size * 8)

    def byte_map(self, size: int) -> list[Piece]:
        self._inner.check(size)
        return self._carry.byte_map(size)

    def limits(self) -> Limits:
        """With IPComp those of packets that would not shrink: they travel as they are (RFC 3173 2.2)."""
        largest = self._worst._largest()
        versions = {self._inner.version} if self._keeps_header else {4, 6}
        v4, v6 = (_mss(largest, version) if version in versions else None for version in (4, 6))
        return Limits(largest, v4, v6)

    def jumps(self, first: int, last: int) -> list[int]:
        """The sizes from `first` to `last` after which one octet more adds more than itself.

        With IPComp those of packets that would not shrink.
        """
        least = max(first, self._inner.least)
        return [size for size in range(least, last + 1) if self._worst._jumps_after(size)]

    @property
    def _keeps_header(self) -> bool:
        """Whether the packet's own IP header stays outside, so that nothing of another version travels."""
        transport = self.variant.mode is Mode.TRANSPORT and self.variant.carrier in _IPSEC
        return transport or self.variant.carrier is Carrier.PLAIN

    def _jumps_after(self, size: int) -> bool:
        try:
            return self.wire(size + 1) > self.wire(size) + 1
        except OverheadError:
            return False  # nothing longer can be carried

    def _largest(self) -> int:
        """By bisection: a larger inner packet never becomes a smaller one on the wire."""
        low, high = self._inner.least - 1, min(self._terms.mtu, MAX_PACKET_BYTES - 1)
        while low < high:
            middle = (low + high + 1) // 2
            if self.wire(middle) <= self._terms.mtu:
                low = middle
            else:
                high = middle - 1
        return low if low >= self._inner.least else 0


def _incompressible(variant: Variant) -> Variant:
    return replace(variant, ipcomp=False)


_IPSEC = (Carrier.ESP, Carrier.AH)


@dataclass(frozen=True, slots=True)
class Study:
    """What `sim.overhead` and `ipsec-sim overhead` show."""

    inner: Inner
    sizes: tuple[int, ...]
    terms: Terms
    columns: tuple[Column, ...]

    @property
    def shared(self) -> str:
        """What all labels that say it have in common: " in IPv4, NAT-T", or less of it."""
        variants = [column.variant for column in self.columns if column.variant.carrier is not Carrier.PLAIN]
        outers = {variant.outer for variant in variants}
        natt = {variant.natt for variant in variants if WAYS[variant.carrier].natt}
        return (f" in IPv{outers.pop()}" if len(outers) == 1 else "") + (", NAT-T" if natt == {True} else "")

    def label(self, column: Column) -> str:
        """The label of a variant without what is `shared`."""
        label = column.variant.label
        for word in ("NAT-T", "IPv4", "IPv6"):
            if word in self.shared:
                label = label.replace(f", {word}", "")
        return label


def study(variants: Sequence[Variant], inner: Inner, sizes: tuple[int, ...], terms: Terms) -> Study:
    """OverheadError for sizes and MTUs that no packet can have."""
    version = max(variant.outer for variant in variants)
    if not LEAST_MTU[version] <= terms.mtu <= MAX_PACKET_BYTES:
        raise OverheadError(
            f"an MTU of {terms.mtu} bytes: with IPv{version} it is {LEAST_MTU[version]} to {MAX_PACKET_BYTES}"
        )
    if terms.framing < 0:
        raise OverheadError(f"{terms.framing} bytes of framing: 0 or more, 38 for Ethernet")
    for size in (min(sizes), max(sizes)):
        inner.check(size)
    return Study(inner, sizes, terms, tuple([Column(variant, inner, terms) for variant in variants]))


def _mss(largest: int, version: int) -> int | None:
    room = largest - IP_HEADER_BYTES[version] - TCP_HEADER_BYTES
    return room if room > 0 else None
