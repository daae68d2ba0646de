"""What holds for any packet and any SA: open(seal(p)) is p, no flipped bit counts, nothing comes twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.wire import ip
from sim.wire.address import pack_address
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.esp import Mode
from sim.wire.ip import Protocol
from sim.wire.selector import Selector
from tests.ipsec.pair import (
    A4,
    A6,
    B4,
    B6,
    EVERY_SUITE,
    HOST_A4,
    HOST_A6,
    HOST_B4,
    HOST_B6,
    MODES,
    SPI_A,
    SPI_B,
    Pair,
    datagram,
    make_pair,
    mirrored,
    packet_of,
    reason_of,
)
from tests.ipsec.test_replay import NaiveWindow

WINDOWS = (32, 64, 128, 1024, 4096)
UPPER = (Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.ICMPV6, 47, 132, 253)
BIG = 65_535 - 40 - 8 - 300
"""Of a payload that still fits into an outer packet, whatever the suite."""


@dataclass(frozen=True)
class Sa:
    """How a pair of SAs may be set up."""

    suite: str
    mode: Mode
    outer: int
    inner: int
    encap: bool
    esn: bool
    seq: int
    window: int

    def pair(self) -> Pair:
        pair = make_pair(
            self.suite,
            mode=self.mode,
            outer=self.outer,
            encap=self.encap,
            esn=self.esn,
            replay_window=self.window,
        )
        if self.seq > 1:
            pair.a.sad[SPI_A].outbound.wrapper.seq = self.seq - 1
            pair.b.sad[SPI_B].inbound.window.accept(self.seq - 1)
        return pair

    @property
    def ends(self) -> tuple[bytes, bytes]:
        if self.mode is Mode.TUNNEL:
            return (HOST_A4, HOST_B4) if self.inner == 4 else (HOST_A6, HOST_B6)
        return (A4, B4) if self.inner == 4 else (A6, B6)

    @property
    def esp_at(self) -> int:
        """Where ESP begins in front of a packet without options."""
        return (20 if self.outer == 4 else 40) + 8 * self.encap


@st.composite
def sas(draw: st.DrawFn) -> Sa:
    mode, outer, esn = draw(st.sampled_from(MODES)), draw(st.sampled_from((4, 6))), draw(st.booleans())
    last = 2**64 - 2 if esn else 2**32 - 2
    return Sa(
        suite=draw(st.sampled_from(sorted(EVERY_SUITE))),
        mode=mode,
        outer=outer,
        inner=draw(st.sampled_from((4, 6))) if mode is Mode.TUNNEL else outer,
        encap=draw(st.booleans()),
        esn=esn,
        seq=draw(st.sampled_from((1, 2**31, 2**32 - 1, 2**32, last)).filter(lambda seq: seq <= last)),
        window=draw(st.sampled_from(WINDOWS)),
    )


@st.composite
def packets(draw: st.DrawFn, sa: Sa) -> bytearray:
    """Any packet that such an SA is for: options or extension headers, any upper layer, any size."""
    size = draw(st.integers(0, 1500) | st.integers(0, BIG) | st.integers(0, 12))
    payload = draw(st.binary(max_size=64))[:size].ljust(size, b"\x5a")
    # In transport mode a packet without an upper layer is a dummy, which ends at the receiver (RFC 4303 2.6),
    # and ESP inside is for another SA of the receiver.
    more = (Protocol.NO_NEXT, Protocol.ESP) if sa.mode is Mode.TUNNEL else ()
    protocol = draw(st.sampled_from((*UPPER, *more)))
    if sa.encap and sa.mode is Mode.TRANSPORT:
        payload = summed(protocol, *sa.ends, payload)  # it is made anew there (RFC 3948 3.1.2)
    return _v4(draw, sa, protocol, payload) if sa.inner == 4 else _v6(draw, sa, protocol, payload)


def _v4(draw: st.DrawFn, sa: Sa, protocol: int, payload: bytes) -> bytearray:
    options = draw(st.binary(max_size=10)) and draw(
        st.sampled_from(
            (
                b"",
                b"\x94\x04\x00\x00",  # router alert
                b"\x01\x07\x07\x04\x00\x00\x00\x00",  # NOP, record route
                b"\x86\x0a\x00\x00\x00\x01\x01\x04\x00\x00\x00\x00",  # CIPSO with a tag
                b"\x01" * 39 + b"\x00",  # as many as there may be
            )
        )
    )
    packet = ip.build(
        *sa.ends,
        protocol,
        payload,
        tos=draw(st.integers(0, 255)),
        ttl=draw(st.integers(1, 255)),
        identification=draw(st.integers(0, 65535)),
        df=draw(st.booleans()),
    )
    packet[20:20] = options
    packet[0] = 0x45 + len(options) // 4
    packet[2:4] = len(packet).to_bytes(2, "big")
    if sa.mode is Mode.TUNNEL and draw(st.booleans()):
        at = draw(st.integers(0, (65_535 - len(packet)) // 8))
        packet[6:8] = (draw(st.sampled_from((0, 0x2000))) | at).to_bytes(
            2, "big"
        )  # RFC 4303 3.3.4: a fragment
    ip.write_checksum(packet)
    return packet


def _v6(draw: st.DrawFn, sa: Sa, protocol: int, payload: bytes) -> bytearray:
    chain = draw(st.lists(st.sampled_from((Protocol.IPV6_DEST, Protocol.IPV6_ROUTE)), max_size=3))
    if draw(st.booleans()):
        chain.insert(0, Protocol.IPV6_HOP)
    body, after = bytearray(payload), protocol
    for kind in reversed(chain):
        body[0:0] = _extension(draw, kind, after)
        after = kind
    return ip.build(*sa.ends, after, body, tos=draw(st.integers(0, 255)), ttl=draw(st.integers(1, 255)))


def _extension(draw: st.DrawFn, kind: int, after: int) -> bytes:
    units = draw(st.integers(0, 3))
    if kind == Protocol.IPV6_ROUTE:
        return bytes((after, 0, 4, 0)) + bytes(4)  # a segment list at its end, and empty
    return bytes((after, units, 1, 4 + 8 * units)) + bytes(4 + 8 * units)  # PadN


@given(data=st.data())
@settings(max_examples=400)
def test_open_of_seal_is_the_packet(data: st.DataObject) -> None:
    """RFC 4303 3.3, 3.4: all of it, whatever the SA."""
    sa = data.draw(sas())
    pair = sa.pair()
    packet = data.draw(packets(sa))
    before = bytes(packet)

    sealed = pair.seal(packet)

    assert packet == before
    assert len(sealed) == len(packet) + pair.a.overhead(SPI_A, len(packet)) or sa.mode is Mode.TRANSPORT
    assert ip.parse(sealed).version == sa.outer
    assert packet_of(pair.open(sealed)) == before
    assert reason_of(pair.open(sealed)) == "replayed"


@given(data=st.data())
@settings(max_examples=300)
def test_no_flipped_bit_of_esp_is_accepted(data: st.DataObject) -> None:
    """SPI, sequence number, IV, ciphertext and ICV: all is authenticated."""
    sa = data.draw(sas())
    pair = sa.pair()
    packet = datagram(data.draw(st.integers(48, 300)), version=sa.inner)
    if sa.mode is Mode.TRANSPORT:
        packet = ip.build(*sa.ends, 253, bytes(data.draw(st.integers(0, 300))))
    sealed = pair.seal(packet)
    before = pair.state_b()
    for _ in range(20):
        bit = data.draw(st.integers(8 * sa.esp_at, 8 * len(sealed) - 1))
        forged = bytearray(sealed)
        forged[bit >> 3] ^= 0x80 >> (bit & 7)

        reason = reason_of(pair.open(forged, 9))

        late = "replayed", "older than the replay window"
        assert reason in ("unknown SPI", "integrity check failed", *late), bit
        if bit >= 8 * (sa.esp_at + 8):
            assert reason == "integrity check failed", bit
    assert pair.state_b() == before
    assert pair.open(sealed) == packet


@given(data=st.data())
@settings(max_examples=150)
def test_c86_any_order_loss_and_duplication_is_judged_as_by_a_set(data: st.DataObject) -> None:
    """Real packets through a real SA, with and without ESN, across the carry too."""
    sa = replace(data.draw(sas()), window=32)
    pair = sa.pair()
    room = (2**64 if sa.esn else 2**32) - sa.seq
    packet = datagram(60, version=sa.inner)
    if sa.mode is Mode.TRANSPORT:
        packet = ip.build(*sa.ends, 253, bytes(20))
    sealed = [pair.seal(packet) for _ in range(min(room, data.draw(st.integers(1, 90))))]
    naive = NaiveWindow(32)
    naive.seen.add(sa.seq - 1)
    for index in data.draw(st.lists(st.integers(0, len(sealed) - 1), max_size=120)):
        fresh = naive.take(sa.seq + index)

        assert (pair.open(sealed[index]) == packet) is fresh, index


@given(
    suite=st.sampled_from(sorted(EVERY_SUITE)),
    protocol=st.sampled_from((Protocol.TCP, Protocol.UDP)),
    version=st.sampled_from((4, 6)),
    payload=st.binary(min_size=20, max_size=1400),
    seen=st.integers(1, 2**32 - 2),
)
@settings(max_examples=200)
def test_c64_behind_a_nat_the_checksum_holds_after_opening(
    suite: str, protocol: int, version: int, payload: bytes, seen: int
) -> None:
    """RFC 3948 3.1.2: whatever address the NAT put in, and whatever it did to the ports of UDP outside."""
    inside = pack_address("192.168.1.10" if version == 4 else "fd00::10")
    outside = seen.to_bytes(4, "big") if version == 4 else A6[:12] + seen.to_bytes(4, "big")
    far = B4 if version == 4 else B6
    pair = make_pair(suite, mode=Mode.TRANSPORT, encap=True, outer=version, local_ts=(Selector.host(inside),))
    pair.b.remove(pair.spec.spi_out)
    theirs = replace(mirrored(pair.spec), local_ts=(Selector.host(far),), remote_ts=(Selector.host(outside),))
    pair.b.install(theirs, 0)
    sealed = pair.seal(checked(protocol, inside, far, payload))
    sealed[12:16] = sealed[12:16] if version == 6 else outside
    if version == 4:
        ip.write_checksum(sealed)
        sealed[20:22] = (seen & 0xFFFF | 1).to_bytes(2, "big")
    else:
        sealed[8:24] = outside
        sealed[40:42] = (seen & 0xFFFF | 1).to_bytes(2, "big")

    opened = packet_of(pair.open(sealed))

    assert ip.addresses(opened) == (outside, far)
    assert opened == checked(protocol, outside, far, payload)


@pytest.mark.parametrize("suite", sorted(EVERY_SUITE))
def test_every_suite_is_drawn_above(suite: str) -> None:
    """One round for each, as chance may leave one out."""
    for esn in (False, True):
        pair = make_pair(suite, esn=esn)
        for size in (28, 29, 30, 31, 1400):
            assert pair.open(pair.seal(datagram(size))) == datagram(size)


def checked(protocol: int, src: bytes, dst: bytes, payload: bytes) -> bytearray:
    return ip.build(src, dst, protocol, summed(protocol, src, dst, payload))


_SUMS = {int(Protocol.TCP): 16, int(Protocol.UDP): 6, int(Protocol.ICMPV6): 2}


def summed(protocol: int, src: bytes, dst: bytes, payload: bytes) -> bytes:
    """The payload with the right checksum (and length, of UDP), if it has room for one."""
    upper, at = bytearray(payload), _SUMS.get(protocol, -1)
    if at < 0 or len(upper) < at + 2:
        return payload
    if protocol == Protocol.UDP:
        upper[4:6] = len(upper).to_bytes(2, "big")
    upper[at : at + 2] = b"\0\0"
    checksum = internet_checksum(upper, pseudo_header_sum(src, dst, protocol, len(upper)))
    if checksum == 0 and protocol == Protocol.UDP:
        checksum = 0xFFFF
    upper[at : at + 2] = checksum.to_bytes(2, "big")
    return bytes(upper)
