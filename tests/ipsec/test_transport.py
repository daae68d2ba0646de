"""Transport mode between two hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.spec import ChildSpec
from sim.wire import ip, udp
from sim.wire.checksum import internet_checksum, pseudo_header_sum
from sim.wire.esp import Mode
from sim.wire.selector import Selector
from tests.ipsec.pair import (
    A4,
    A6,
    B4,
    B6,
    SPI_A,
    SUITES,
    Pair,
    between,
    make_pair,
    mirrored,
    packet_of,
    reason_of,
)
from tests.ipsec.test_tunnel import with_options


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("encap", [False, True], ids=["plain", "udp"])
@given(size=st.integers(48, 1500), tos=st.integers(0, 255), ttl=st.integers(1, 255), df=st.booleans())
def test_open_gives_what_seal_took(
    suite: str, version: int, encap: bool, size: int, tos: int, ttl: int, df: bool
) -> None:
    pair = transport_pair(suite, version, encap=encap)
    packet = host_datagram(version, size, tos=tos, ttl=ttl, df=df)
    before = bytes(packet)

    sealed = pair.seal(packet)

    assert ip.parse(sealed).protocol == (17 if encap else 50)
    assert ip.addresses(sealed) == ip.addresses(packet)
    assert pair.open(sealed) == packet == before


def test_header_fields_stay_those_of_the_packet() -> None:
    packet = host_datagram(4, 100, tos=0xB8, ttl=17, identification=77, df=True)
    sealed = ip.parse(transport_pair().seal(packet))

    assert (sealed.tos, sealed.ttl, sealed.identification, sealed.df) == (0xB8, 17, 77, True)


def test_options_stay_in_front_of_esp() -> None:
    pair = transport_pair()
    packet = with_options(host_datagram(4))
    sealed = pair.seal(packet)

    assert sealed[:2] == b"\x46\0"
    assert sealed[20:24] == packet[20:24]
    assert internet_checksum(sealed[:24]) == 0
    assert pair.open(sealed) == packet


@pytest.mark.parametrize("flags", [0x2000, 0x2005, 0x0005])
def test_c88_fragments_are_refused(flags: int) -> None:
    pair = transport_pair(local_ts=(Selector.host(A4),), remote_ts=(Selector.host(B4),))
    packet = host_datagram(4)
    packet[6:8] = flags.to_bytes(2, "big")
    ip.write_checksum(packet)

    assert reason_of(pair.a.outbound(packet, 0)) == "transport mode needs a whole datagram"
    assert pair.a.sad[SPI_A].outbound.seq == 0


EXTENSIONS = {
    # What stands before the upper layer, and how much of it stands before ESP as well (RFC 4303 3.1.1).
    "destination": ([60], 0),
    "hop by hop": ([0], 1),
    "routing": ([43], 1),
    "atomic fragment": ([44], 1),
    "hop by hop, destination": ([0, 60], 1),
    "hop by hop, destination, routing, destination": ([0, 60, 43, 60], 3),
    "routing, fragment, destination": ([43, 44, 60], 2),
}
SAMPLE = {
    0: bytes.fromhex("0000050200000100"),  # router alert, padding
    43: bytes.fromhex("00020000 00000000") + A6,  # type 0, at its end
    44: bytes.fromhex("0000000000001234"),
    60: bytes.fromhex("0000010400000000"),  # padding
}


@pytest.mark.parametrize("name", EXTENSIONS)
@pytest.mark.parametrize("suite", ["aes128gcm16", "aes128-sha1", "ah-sha256"])
@pytest.mark.parametrize("encap", [False, True], ids=["plain", "udp"])
def test_esp_goes_behind_headers_for_the_way_and_before_those_for_the_end(
    suite: str, name: str, encap: bool
) -> None:
    if suite.startswith("ah-") and encap:
        return
    kinds, in_front = EXTENSIONS[name]
    pair = transport_pair(suite, version=6, encap=encap)
    packet = with_extensions(host_datagram(6), kinds)

    sealed = pair.seal(packet)

    header = ip.parse(sealed)
    assert header.protocol == (17 if encap else 51 if suite.startswith("ah-") else 50)
    assert header.upper_offset == 40 + sum(len(SAMPLE[kind]) for kind in kinds[:in_front])
    assert pair.open(sealed) == packet


@pytest.mark.parametrize("offset", [1, 8, 0xFFF8])
def test_c88_ipv6_fragments_are_refused(offset: int) -> None:
    pair = transport_pair(version=6)
    packet = with_extensions(host_datagram(6), [44])
    packet[42:44] = offset.to_bytes(2, "big")

    assert reason_of(pair.a.outbound(packet, 0)) in {
        "transport mode needs a whole datagram",
    }


def with_extensions(packet: bytearray, kinds: list[int]) -> bytearray:
    """An IPv6 packet with extension headers in this order before its upper layer."""
    chain = [*kinds, packet[6]]
    middle = b"".join(
        bytes((after,)) + SAMPLE[kind][1:] for kind, after in zip(kinds, chain[1:], strict=True)
    )
    out = packet[:40] + middle + packet[40:]
    out[4:7] = (len(out) - 40).to_bytes(2, "big") + bytes((chain[0],))
    return out


@pytest.mark.parametrize("protocol", [6, 17])
def test_c64_c68_upper_checksum_holds_after_a_nat_has_changed_the_source(protocol: int) -> None:
    """RFC 3948 3.1.2: the checksum inside still covers the address that the NAT took away."""
    inside = bytes((192, 168, 1, 10))
    pair = transport_pair(encap=True, local_ts=(Selector.host(inside),))
    pair.b.remove(pair.spec.spi_out)
    pair.b.install(outside_view(pair), 0)
    packet = upper_packet(protocol, inside, B4)
    sealed = pair.seal(packet)
    sealed[12:16] = A4  # the NAT
    ip.write_checksum(sealed)

    opened = packet_of(pair.open(sealed))

    assert opened == upper_packet(protocol, A4, B4)


def test_c68_udp_without_checksum_stays_without() -> None:
    pair = transport_pair(encap=True)
    packet = udp.build((A4, 1), (B4, 2), b"data", checksum=False)

    assert pair.open(pair.seal(packet)) == packet


@pytest.mark.parametrize("next_header", [6, 17])
def test_upper_layer_too_short_for_a_checksum_does_no_harm(next_header: int) -> None:
    pair = transport_pair(encap=True)
    for size in range(20):
        packet = ip.build(A4, B4, next_header, bytes(range(1, size + 1)))
        opened = packet_of(pair.open(pair.seal(packet)))

        assert len(opened) == len(packet)


@pytest.mark.parametrize("encap", [False, True])
def test_packet_that_would_exceed_65535_octets_is_dropped(encap: bool) -> None:
    pair = transport_pair(encap=encap)
    longest = pair.a.max_inner(65535, SPI_A)

    assert len(pair.seal(host_datagram(4, longest))) <= 65535
    assert reason_of(pair.a.outbound(host_datagram(4, longest + 4), 0)) == "too big to encapsulate"


def transport_pair(suite: str = "aes128gcm16", version: int = 4, **settings: Any) -> Pair:
    return make_pair(suite, mode=Mode.TRANSPORT, outer=version, **settings)


def host_datagram(version: int, size: int = 100, **fields: Any) -> bytearray:
    """From A itself to B itself."""
    src, dst = (A4, B4) if version == 4 else (A6, B6)
    return between((src, 1000), (dst, 2000), size, **fields)


def outside_view(pair: Pair) -> ChildSpec:
    """B's side of the SA, where A appears at the NAT's address (RFC 7296 2.23.1)."""
    return replace(mirrored(pair.spec), local_ts=(Selector.host(B4),), remote_ts=(Selector.host(A4),))


def upper_packet(protocol: int, src: bytes, dst: bytes) -> bytearray:
    """A UDP or TCP packet with a right checksum."""
    if protocol == 17:
        return udp.build((src, 1000), (dst, 2000), b"some data")
    segment = bytearray.fromhex("03e807d0 00000001 00000000 50022000 0000 0000")
    pseudo = pseudo_header_sum(src, dst, 6, len(segment))
    segment[16:18] = internet_checksum(segment, pseudo).to_bytes(2, "big")
    return ip.build(src, dst, 6, segment)
