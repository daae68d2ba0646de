"""AH in both modes and both IP versions (RFC 4302)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.crypto.suites import ENCRYPTION
from sim.ipsec.spec import ChildSpec
from sim.wire import ah, ip
from sim.wire.address import pack_address
from sim.wire.esp import Mode
from sim.wire.selector import Selector
from tests.ipsec.pair import (
    A4,
    A6,
    AH_SUITES,
    B4,
    B6,
    SPI_A,
    SPI_B,
    Pair,
    bare_engine,
    between,
    datagram,
    make_pair,
    make_spec,
    mirrored,
    packet_of,
    reason_of,
)
from tests.ipsec.test_transport import with_extensions
from tests.ipsec.test_tunnel import with_options

WAYS = [(Mode.TUNNEL, o, i) for o in (4, 6) for i in (4, 6)] + [(Mode.TRANSPORT, v, v) for v in (4, 6)]
ROUTE_V4 = bytes.fromhex("830b04") + pack_address("203.0.113.1") + B4 + b"\0"
"""Loose source route by a router to B, which is the last in it."""


@pytest.mark.parametrize("suite", AH_SUITES)
@pytest.mark.parametrize(("mode", "outer", "inner"), WAYS)
@pytest.mark.parametrize("esn", [False, True], ids=["32 bits", "esn"])
@given(size=st.integers(48, 1500), tos=st.sampled_from([0, 0xB8]), ttl=st.integers(1, 255))
def test_c89_open_gives_what_seal_took(
    suite: str, mode: Mode, outer: int, inner: int, esn: bool, size: int, tos: int, ttl: int
) -> None:
    pair = make_pair(suite, mode=mode, outer=outer, esn=esn)
    packet = inner_packet(pair, inner, size, tos=tos, ttl=ttl)
    before = bytes(packet)

    sealed = pair.seal(packet)

    assert ip.parse(sealed).protocol == ip.Protocol.AH
    assert pair.open(sealed) == packet == before


@pytest.mark.parametrize("suite", AH_SUITES)
@pytest.mark.parametrize("outer", [4, 6])
def test_c89_the_length_of_ah_is_a_multiple_of_4_or_of_8_octets(suite: str, outer: int) -> None:
    sealed = make_pair(suite, outer=outer).seal(datagram(100))
    header = ah.parse(sealed, ip.parse(sealed).upper_offset)

    assert header.size % (4 if outer == 4 else 8) == 0
    assert header.spi == SPI_B
    assert header.seq == 1
    assert len(sealed) == (20 if outer == 4 else 40) + header.size + 100


@pytest.mark.parametrize(
    ("suite", "v4", "v6"),
    [
        ("ah-sha1", 24, 24),
        ("ah-aesxcbc", 24, 24),
        ("ah-aescmac", 24, 24),
        ("ah-sha256", 28, 32),
        ("ah-sha384", 36, 40),
        ("ah-sha512", 44, 48),
        ("ah-aes128gmac", 36, 40),  # RFC 4543 erratum 3643
    ],
)
def test_c89_sizes_of_ah(suite: str, v4: int, v6: int) -> None:
    for outer, size in ((4, v4), (6, v6)):
        sealed = make_pair(suite, outer=outer).seal(datagram(100))
        assert ah.parse(sealed, 20 if outer == 4 else 40).size == size


def test_c89_overhead_is_the_published_one() -> None:
    """AH with SHA2-256-128: 48 octets in IPv4, 72 in IPv6; and 44 at most with a MAC of 96 bits."""
    for outer, added, largest in ((4, 48, 1452), (6, 72, 1428)):
        pair = make_pair("ah-sha256", outer=outer)
        for size in (64, 1400, largest):
            assert len(pair.seal(datagram(size))) == size + added
            assert pair.a.overhead(SPI_A, size) == added
        assert pair.a.max_inner(1500, SPI_A) == largest
    hosts = make_pair("ah-sha256", mode=Mode.TRANSPORT)
    assert len(hosts.seal(between((A4, 1), (B4, 2), 1472))) == 1500
    assert hosts.a.max_inner(1500, SPI_A) == 1472
    assert {len(make_pair("ah-sha1").seal(datagram(size))) - size for size in range(28, 200)} == {44}


@pytest.mark.parametrize("suite", ["ah-sha1", "ah-aescmac", "ah-aes256gmac"])
@pytest.mark.parametrize(("mode", "outer", "inner"), WAYS)
def test_c89_every_bit_is_refused_but_those_that_change_on_the_way(
    suite: str, mode: Mode, outer: int, inner: int
) -> None:
    pair = make_pair(suite, mode=mode, outer=outer)
    sealed = pair.seal(inner_packet(pair, inner, 60))
    at = ip.parse(sealed).upper_offset
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        outcome = fresh(pair).b.inbound(repaired(flipped), 0)
        if may_change(sealed, bit // 8, bit % 8):
            assert isinstance(outcome, bytearray) or "congestion" in reason_of(outcome), bit
        else:
            assert not isinstance(outcome, bytearray), bit
        if at + 12 <= bit // 8:
            assert reason_of(outcome) == "integrity check failed"


def may_change(packet: bytearray, octet: int, bit: int) -> bool:
    """RFC 4302 3.3.3.1: whether a router may change a bit, so that AH does not cover it."""
    if packet[0] >> 4 == 4:
        # A fragment is another matter: nobody hands it to AH.
        return octet in (1, 8, 10, 11) or (octet == 6 and bit in (0, 1))
    return (octet == 0 and bit > 3) or octet in (1, 2, 3, 7)


def repaired(packet: bytearray) -> bytearray:
    """With the checksum that a router would have given it."""
    if packet[0] == 0x45:
        ip.write_checksum(packet)
    return packet


def test_c89_fails_through_a_nat() -> None:
    """A NAT changes the source, and makes the header checksum right: the ICV covers the address."""
    pair = make_pair("ah-sha256")
    sealed = pair.seal(datagram())
    sealed[12:16] = pack_address("203.0.113.10")
    ip.write_checksum(sealed)

    assert reason_of(pair.open(sealed)) == "integrity check failed"
    assert pair.b.sad[SPI_B].inbound.window.top == 0


def test_c89_mutable_options_are_not_covered_and_immutable_ones_are() -> None:
    pair = make_pair("ah-sha256", mode=Mode.TRANSPORT)
    stamped = bytes.fromhex("440c05010000000000000000")  # a timestamp, still empty
    alert = bytes.fromhex("94040000")
    sealed = pair.seal(with_options(between((A4, 1), (B4, 2)), stamped + alert))
    touched, altered = bytearray(sealed), bytearray(sealed)
    touched[24:28] = b"\1\2\3\4"
    altered[35] = 1
    for packet in (touched, altered):
        ip.write_checksum(packet)

    assert reason_of(fresh(pair).b.inbound(altered, 0)) == "integrity check failed"
    opened = packet_of(pair.b.inbound(touched, 0))
    assert opened[24:28] == b"\1\2\3\4"


def test_c89_the_end_of_a_source_route_is_foretold() -> None:
    router = pack_address("203.0.113.1")
    pair = make_pair("ah-sha256", mode=Mode.TRANSPORT, remote_ts=(Selector.host(router),))
    sealed = pair.seal(with_options(between((A4, 1), (router, 2)), ROUTE_V4))
    arrived = bytearray(sealed)  # the router sends it on to B, and notes where it left from
    arrived[16:20] = B4
    arrived[22] = 12
    arrived[23:27] = pack_address("203.0.113.2")
    ip.write_checksum(arrived)
    pair.b.remove(SPI_B)
    pair.b.install(replace(mirrored(pair.spec), local_ts=(Selector.host(B4),)), 0)

    assert isinstance(pair.b.inbound(arrived, 0), bytearray)


@pytest.mark.parametrize("kind", [0, 2])
def test_c89_a_routing_header_is_signed_as_it_arrives(kind: int) -> None:
    router = pack_address("2001:db8:9::1")
    pair = make_pair("ah-sha256", outer=6, mode=Mode.TRANSPORT, remote_ts=(Selector.host(router),))
    packet = with_extensions(between((A6, 1), (router, 2)), [43])
    packet[42:44] = bytes((kind, 1))
    packet[48:64] = B6
    sealed = pair.seal(packet)
    arrived = bytearray(sealed)
    arrived[24:40], arrived[48:64], arrived[43] = B6, router, 0
    pair.b.remove(SPI_B)
    pair.b.install(replace(mirrored(pair.spec), local_ts=(Selector.host(B6),)), 0)

    assert isinstance(pair.b.inbound(arrived, 0), bytearray)


@pytest.mark.parametrize(("kind", "left"), [(0, 2), (4, 1)])
def test_c89_a_route_that_nobody_can_foretell_is_refused(kind: int, left: int) -> None:
    pair = make_pair("ah-sha256", outer=6, mode=Mode.TRANSPORT)
    packet = with_extensions(between((A6, 1), (B6, 2)), [43])
    packet[42:44] = bytes((kind, left))

    assert "foretell" in reason_of(pair.a.outbound(packet, 0))


@pytest.mark.parametrize(("option", "changes"), [(0x3E, True), (0x1E, False)])
@pytest.mark.parametrize("header", [0, 60])
def test_c89_ipv6_options_say_whether_they_are_covered(option: int, changes: bool, header: int) -> None:
    pair = make_pair("ah-sha256", outer=6, mode=Mode.TRANSPORT)
    chain = [header] if header == 0 else [header, 43]
    packet = with_extensions(between((A6, 1), (B6, 2)), chain)
    packet[42:48] = bytes((option, 4, 1, 2, 3, 4))
    sealed = pair.seal(packet)
    sealed[45] ^= 0xFF

    outcome = pair.b.inbound(sealed, 0)

    assert isinstance(outcome, bytearray) == changes


def test_c89_ah_of_an_esp_sa_and_esp_of_an_ah_sa_are_dropped() -> None:
    esp, signed = make_pair("aes128gcm16"), make_pair("ah-sha256")
    for pair, other in ((esp, signed), (signed, esp)):
        outcome = pair.open(other.seal(datagram()))
        assert reason_of(outcome) == "SPI of an SA of the other protocol, ESP or AH"


def test_unknown_spi_of_ah() -> None:
    pair = make_pair("ah-sha256")
    sealed = pair.seal(datagram())
    pair.b.remove(SPI_B)

    assert reason_of(pair.b.inbound(sealed, 0)) == "unknown SPI"


def test_replay_and_esn_high_half() -> None:
    pair = make_pair("ah-sha256", esn=True)
    pair.a.sad[SPI_A].outbound.wrapper.seq = 5 << 32
    pair.b.sad[SPI_B].inbound.window.accept(5 << 32)
    sealed = pair.seal(datagram())

    assert ah.parse(sealed, 20).seq == 1
    assert isinstance(pair.open(sealed), bytearray)
    assert reason_of(pair.open(sealed)) == "replayed"
    other = make_pair("ah-sha256", esn=True)
    assert reason_of(other.open(sealed)) == "integrity check failed"


@pytest.mark.parametrize(("esn", "last"), [(False, 2**32 - 1), (True, 2**64 - 1)])
def test_sequence_numbers_do_not_wrap(esn: bool, last: int) -> None:
    pair = make_pair("ah-sha256", esn=esn)
    pair.a.sad[SPI_A].outbound.wrapper.seq = last - 1

    assert isinstance(pair.a.outbound(datagram(), 0), bytearray)
    assert reason_of(pair.a.outbound(datagram(), 0)) == "sequence numbers exhausted"


@pytest.mark.parametrize("outer", [4, 6])
def test_truncation_never_raises(outer: int) -> None:
    pair = make_pair("ah-sha256", outer=outer)
    sealed = pair.seal(datagram())
    head = 20 if outer == 4 else 40
    for size in range(head, len(sealed)):
        cut = sealed[:size]
        if outer == 4:
            cut[2:4] = size.to_bytes(2, "big")
            ip.write_checksum(cut)
        else:
            cut[4:6] = (size - 40).to_bytes(2, "big")
        reason = reason_of(pair.open(cut))
        assert reason in {"malformed AH", "integrity check failed"}


@pytest.mark.parametrize("outer", [4, 6])
@given(data=st.data())
def test_any_octets_behind_the_ip_header_are_a_drop(outer: int, data: st.DataObject) -> None:
    """Right SPI and length, and anything else; headers in front of AH as well."""
    pair = fresh(make_pair("ah-sha256", outer=outer))
    size = 28 if outer == 4 else 32
    start = bytes((data.draw(st.integers(0, 255)), size // 4 - 2, 0, 0)) + SPI_B.to_bytes(4, "big")
    body = data.draw(st.one_of(st.just(start), st.binary(max_size=12))) + data.draw(st.binary(max_size=90))
    src, dst = (A4, B4) if outer == 4 else (A6, B6)
    kind = data.draw(st.sampled_from([51] if outer == 4 else [51, 0, 43, 60, 44]))

    outcome = pair.b.inbound(ip.build(src, dst, kind, body), 0)

    assert not isinstance(outcome, bytearray)
    assert pair.b.sad[SPI_B].inbound.window.top == 0


def test_a_length_that_does_not_fit_the_icv_is_refused() -> None:
    pair = make_pair("ah-sha256")
    sealed = pair.seal(datagram())
    for words in set(range(256)) - {sealed[21]}:
        wrong = bytearray(sealed)
        wrong[21] = words
        assert reason_of(pair.open(wrong)) == "malformed AH"


def test_fragments_of_ah_are_dropped() -> None:
    pair = make_pair("ah-sha256")
    sealed = pair.seal(datagram())
    sealed[6] = 0x20
    ip.write_checksum(sealed)

    assert reason_of(pair.open(sealed)) == "fragment of an ESP or AH packet"


def test_addresses_of_the_other_ip_version_change_the_padding() -> None:
    """MOBIKE may move a tunnel from IPv4 to IPv6, where AH ends on 8 octets (RFC 4302 3.3.3.2.1)."""
    pair = make_pair("ah-sha256")
    pair.seal(datagram())
    pair.a.move(SPI_A, (A6, 0), (B6, 0), encap=False)
    sealed = pair.seal(datagram())

    assert ah.parse(sealed, 40).size == 32
    assert isinstance(pair.open(sealed), bytearray)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encap": True}, "AH cannot travel in UDP"),
        ({"integrity": None}, "AH needs an integrity algorithm"),
        ({"keys_out": (b"x", bytes(32))}, "takes no encryption key"),
        ({"keys_in": (b"", bytes(31))}, "takes 32 octets of key, not 31"),
        ({"keys_out": (b"", bytes(33))}, "takes 32 octets of key, not 33"),
    ],
)
def test_what_does_not_fit_ah_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bare_engine(A4).install(replace(make_spec("ah-sha256"), **changes), 0)  # type: ignore[arg-type]


def test_ah_moved_behind_a_nat_goes_on_without_udp() -> None:
    pair = make_pair("ah-sha256")
    pair.a.move(SPI_A, (A4, 4500), (B4, 4500), encap=True)

    assert ip.parse(pair.seal(datagram())).protocol == ip.Protocol.AH


def test_gmac_as_integrity_of_esp_is_refused() -> None:
    spec: ChildSpec = make_spec("ah-aes128gmac")
    encryption = next(row for row in ENCRYPTION.values() if row.name == "AES_CBC_128")
    wrong = replace(spec, protocol=ip.Protocol.ESP, encryption=encryption, keys_in=(bytes(16), bytes(20)))
    with pytest.raises(ValueError, match="is for AH"):
        bare_engine(A4).install(wrong, 0)


def inner_packet(pair: Pair, version: int, size: int, **fields: Any) -> bytearray:
    if pair.spec.mode is Mode.TUNNEL:
        return datagram(size, version=version, **fields)
    return between((pair.spec.local[0], 1), (pair.spec.remote[0], 2), size, **fields)


def fresh(pair: Pair) -> Pair:
    """The same SA at a B that has received nothing."""
    b = bare_engine(B4, B6)
    b.install(mirrored(pair.spec), 0)
    return Pair(pair.a, b, pair.spec)
