"""IPComp inside ESP and AH (RFC 3173, RFC 2394)."""

from __future__ import annotations

import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.compress import THRESHOLD, Tally, compress, decompress
from sim.ipsec.verdict import Drop, PacketError, Reason
from sim.wire import ip, ipcomp, udp
from sim.wire.esp import Mode
from sim.wire.ip import Protocol
from tests.ipsec.pair import A4, A6, B4, B6, HOST_A4, HOST_A6, HOST_B4, HOST_B6, SPI_A, SPI_B, Pair, make_pair

MODES = [Mode.TUNNEL, Mode.TRANSPORT]
CPI_A, CPI_B = 0x1000, 0x2000
"""What A and B inflate under."""


@pytest.mark.parametrize("suite", ["aes128gcm16", "aes256-sha256", "ah-sha256"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_a_packet_that_compresses_arrives_as_it_was(mode: Mode, version: int, suite: str) -> None:
    pair = compressing(suite, mode=mode, outer=version)
    packet = message(pair, b"abc" * 400, version)
    plain = make_pair(suite, mode=mode, outer=version).seal(packet)

    sealed = pair.seal(packet)

    assert len(sealed) < len(plain) - 1000
    assert pair.open(sealed) == packet


@given(st.binary(max_size=400), st.integers(1, 40), st.sampled_from(MODES), st.sampled_from([4, 6]))
def test_any_packet_makes_the_round_trip(unit: bytes, times: int, mode: Mode, version: int) -> None:
    pair = compressing(mode=mode, outer=version)
    packet = message(pair, unit * times, version)
    assert pair.open(pair.seal(packet)) == packet
    sa = pair.a.sad[SPI_A].outbound
    assert sa.tally is not None
    assert sa.tally.full_bytes >= sa.tally.sent_bytes > 0


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (bytes(THRESHOLD - 29), "one octet less than the threshold, with the headers"),
        (random.Random(1).randbytes(1000), "it would not shrink"),
    ],
)
def test_what_is_short_or_would_not_shrink_travels_without_the_header(payload: bytes, why: str) -> None:
    """RFC 3173 2.2: the octets are those of an SA without IPComp, and the receiver takes them."""
    pair, plain = compressing(), make_pair()
    packet = message(pair, payload, 4)

    sealed = pair.seal(packet)

    assert sealed == plain.seal(packet), why
    assert pair.open(sealed) == packet
    assert pair.b.sad[SPI_B].inbound.drops == {}


def test_the_threshold_is_that_of_linux() -> None:
    """90 octets of payload are compressed, 89 are not: strongSwan's scenario shows 84 and 8,212."""
    for size, packets in ((84, 0), (89, 0), (90, 1), (8212, 1)):
        pair = compressing()
        pair.seal(message(pair, bytes(size - 28), 4))
        assert tally(pair).packets == packets, size


def test_a_ping_of_8212_octets_fits_into_one_small_packet() -> None:
    pair = compressing()
    packet = message(pair, bytes.fromhex("deadbeef") * 2046, 4)
    assert len(packet) == 8212
    assert len(pair.seal(packet)) < 200


def test_the_opposite_ways_have_cpis_of_their_own() -> None:
    pair = compressing()
    answer = udp.build((HOST_B4, 7), (HOST_A4, 9), bytes(1000))
    sealed = pair.b.outbound(answer, 0)
    assert isinstance(sealed, bytearray)
    assert len(sealed) < 200
    assert pair.a.inbound(sealed, 0) == answer


@pytest.mark.parametrize("mode", MODES)
def test_in_udp_the_inside_is_compressed_all_the_same(mode: Mode) -> None:
    """As in strongSwan's scenario ikev2/compress-nat."""
    pair = compressing(mode=mode, encap=True)
    packet = message(pair, bytes(1000), 4)
    sealed = pair.seal(packet)
    assert len(sealed) < 150
    assert pair.open(sealed) == packet


def test_an_unknown_cpi_is_a_counted_drop() -> None:
    pair, other = compressing(), make_pair(cpi_in=CPI_A, cpi_out=CPI_B + 1)
    pair.a = other.a
    assert_dropped(pair, message(pair, bytes(500), 4), Reason.UNKNOWN_CPI)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\x07",  # a block type that there is not
        compress(bytearray(500))[:-1],
        zlib.compress(bytes(500)),  # with a wrapper, which RFC 2394 leaves out
        random.Random(2).randbytes(300),
    ],
    ids=["empty", "damaged", "cut off", "wrapped", "noise"],
)
def test_a_malformed_stream_is_a_counted_drop(stream: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = compressing()
    monkeypatch.setattr("sim.ipsec.compress.compress", lambda payload: stream)
    assert_dropped(pair, message(pair, bytes(2000), 4), Reason.COMPRESSION)


@pytest.mark.parametrize("mode", MODES)
def test_a_bomb_is_not_inflated_beyond_what_a_packet_holds(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = compress(bytearray(100_000_000))
    pair = compressing(mode=mode)
    monkeypatch.setattr("sim.ipsec.compress.compress", lambda payload: bomb[:1000])
    assert_dropped(pair, message(pair, bytes(2000), 4), Reason.COMPRESSION)
    with pytest.raises(PacketError):
        decompress(memoryview(bomb), ip.MAX_PACKET_BYTES)


@pytest.mark.parametrize("mode", MODES)
def test_the_largest_packet_is_inflated_and_one_octet_more_is_not(mode: Mode) -> None:
    room = ip.MAX_PACKET_BYTES if mode is Mode.TUNNEL else ip.MAX_PACKET_BYTES - 20
    assert len(decompress(memoryview(compress(bytearray(room))), room)) == room
    with pytest.raises(PacketError):
        decompress(memoryview(compress(bytearray(room + 1))), room)


def test_what_was_compressed_is_not_compressed_again() -> None:
    """RFC 3173 2.1; twice compressed is dropped, and IPComp from above travels as it is."""
    pair = compressing(mode=Mode.TRANSPORT)
    packet = message(pair, bytes(500), 4)
    packet[9] = Protocol.IPCOMP
    ip.write_checksum(packet)
    assert isinstance(pair.a.sad[SPI_A].outbound.seal(packet, 0), bytearray)
    assert tally(pair).packets == 0


def test_a_stream_inside_a_stream_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = compressing()
    emit = ipcomp.emit
    monkeypatch.setattr("sim.wire.ipcomp.emit", lambda kind, cpi: emit(Protocol.IPCOMP, cpi))
    assert_dropped(pair, message(pair, bytes(500), 4), Reason.COMPRESSION)


def test_padding_behind_the_stream_is_ignored() -> None:
    assert decompress(memoryview(compress(bytearray(b"abc")) + bytes(50)), 100) == b"abc"


@given(st.binary(max_size=80), st.sampled_from(MODES))
def test_any_octets_inbound_give_a_packet_or_a_drop(body: bytes, mode: Mode) -> None:
    """What an authentic peer may send under its own CPI or another one."""
    pair = compressing(mode=mode)
    sealer = pair.a.sad[SPI_A].outbound
    room = 20
    raw = sealer.wrapper.seal(room, bytearray(body), bytes((Protocol.IPCOMP,)))
    frame = make_pair(mode=mode).seal(message(pair, bytes(100), 4))
    raw[:20] = frame[:20]
    raw[2:4] = len(raw).to_bytes(2, "big")
    assert isinstance(pair.b.inbound(raw, 0), bytearray | Drop)


def test_what_did_not_leave_does_not_count() -> None:
    pair = compressing()
    packet = message(pair, bytes(500), 4)
    pair.seal(packet)
    before = tally(pair).full_bytes, tally(pair).sent_bytes, tally(pair).packets
    pair.seal(packet)
    pair.a.sad[SPI_A].outbound.discount(len(packet))
    assert (tally(pair).full_bytes, tally(pair).sent_bytes, tally(pair).packets) == before


def test_the_same_packets_give_the_same_octets() -> None:
    packets = [message(compressing(), bytes((n,)) * 700, 4) for n in range(5)]
    first, second = compressing(), compressing()
    assert [first.seal(p) for p in packets] == [second.seal(p) for p in packets]


# -- helpers ---------------------------------------------------------------------------------------------


def compressing(suite: str = "aes128gcm16", **settings: Any) -> Pair:
    return make_pair(suite, cpi_in=CPI_A, cpi_out=CPI_B, **settings)


def message(pair: Pair, payload: bytes, version: int) -> bytearray:
    """A UDP packet that the pair protects."""
    hosts = {4: (HOST_A4, HOST_B4), 6: (HOST_A6, HOST_B6)}
    ends = {4: (A4, B4), 6: (A6, B6)}
    src, dst = (hosts if pair.spec.mode is Mode.TUNNEL else ends)[version]
    return udp.build((src, 1000), (dst, 2000), payload, df=True)


def tally(pair: Pair) -> Tally:
    found = pair.a.sad[SPI_A].outbound.tally
    assert found is not None
    return found


def assert_dropped(pair: Pair, packet: bytearray, reason: Reason) -> None:
    verdict = pair.open(pair.seal(packet))
    assert isinstance(verdict, Drop)
    assert verdict.reason is reason
    assert pair.b.sad[SPI_B].inbound.drops == {reason: 1}
