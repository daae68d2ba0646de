"""Where outer fields come from, and what comes back (RFC 4301 5.1.2, 2983, 6040, 6437, 6864)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation

from sim.ipsec import express
from sim.ipsec.flow_label import by_flow
from sim.wire import ip
from sim.wire.checksum import internet_checksum
from sim.wire.esp import Mode
from sim.wire.fragment import fragment
from sim.wire.outer_fields import CopyDscp, FlowLabel, OuterFields
from tests.ipsec.pair import (
    A4,
    A6,
    B4,
    B6,
    HOST_A6,
    HOST_B6,
    SPI_A,
    SPI_B,
    Pair,
    between,
    datagram,
    make_pair,
    make_spec,
    packet_of,
    reason_of,
)

VERSIONS = [(4, 4), (4, 6), (6, 4), (6, 6)]
NOT_ECT, ECT_1, ECT_0, CE = range(4)
COLUMNS = (NOT_ECT, ECT_0, ECT_1, CE)
DROP = None
FIGURE_4 = {
    NOT_ECT: ((NOT_ECT, ""), (NOT_ECT, "!!!"), (NOT_ECT, "!!!"), (DROP, "!!!")),
    ECT_0: ((ECT_0, ""), (ECT_0, ""), (ECT_1, ""), (CE, "")),
    ECT_1: ((ECT_1, ""), (ECT_1, "!"), (ECT_1, ""), (CE, "")),
    CE: ((CE, ""), (CE, ""), (CE, "!!!"), (CE, "")),
}
"""RFC 6040 figure 4: rows are the arriving inner header, columns the outer one in the order of COLUMNS."""
CELLS = [
    (inner, outer, *cell) for inner, row in FIGURE_4.items() for outer, cell in zip(COLUMNS, row, strict=True)
]


@pytest.mark.parametrize(("inner", "outer"), VERSIONS)
@pytest.mark.parametrize(("copy", "shown"), [("out", 46), ("yes", 46), ("in", 0), ("no", 0)])
def test_c90_copy_dscp_says_whether_the_outer_header_shows_it(
    inner: int, outer: int, copy: str, shown: int
) -> None:
    pair = make_pair(outer=outer, outer_fields=OuterFields(copy_dscp=CopyDscp(copy)))
    sealed = pair.seal(datagram(version=inner, tos=46 << 2))
    assert ip.parse(sealed).tos == shown << 2


@pytest.mark.parametrize(("inner", "outer"), VERSIONS)
@pytest.mark.parametrize(("copy", "kept"), [("out", 10), ("yes", 46), ("in", 46), ("no", 10)])
@pytest.mark.parametrize("ecn", [NOT_ECT, ECT_0, CE])
def test_c90_copy_dscp_says_whether_the_outer_one_comes_back_in(
    inner: int, outer: int, copy: str, kept: int, ecn: int
) -> None:
    """A router on the way remarked it; congestion marks are folded all the same."""
    pair = make_pair(outer=outer, outer_fields=OuterFields(copy_dscp=CopyDscp(copy)))
    for _ in range(3):  # the first packet of an SA goes another way than those after it
        sealed = pair.seal(datagram(version=inner, tos=10 << 2 | ECT_0))
        set_tos(sealed, 46 << 2 | ecn)
        folded = CE if ecn == CE else ECT_0
        assert pair.open(sealed) == datagram(version=inner, tos=kept << 2 | folded)


def test_c90_a_dscp_that_comes_in_may_be_zero() -> None:
    pair = make_pair(outer_fields=OuterFields(copy_dscp=CopyDscp.IN))
    for _ in range(3):
        assert pair.open(pair.seal(datagram(tos=46 << 2))) == datagram(tos=0)


@pytest.mark.parametrize(("inner", "outer"), VERSIONS)
@given(dscp=st.integers(0, 63), ecn=st.integers(0, 3))
def test_c90_a_table_maps_dscps_and_a_fixed_value_is_for_the_rest(
    inner: int, outer: int, dscp: int, ecn: int
) -> None:
    fields = OuterFields(dscp_map=((46, 34), (0, 8)), dscp=1)
    sealed = make_pair(outer=outer, outer_fields=fields).seal(datagram(version=inner, tos=dscp << 2 | ecn))
    assert ip.parse(sealed).tos == {46: 34, 0: 8}.get(dscp, 1) << 2 | ecn


def test_c90_a_table_without_a_fixed_value_leaves_the_rest_to_copy_dscp() -> None:
    for copy, rest in ((CopyDscp.OUT, 10), (CopyDscp.NO, 0)):
        pair = make_pair(outer_fields=OuterFields(copy, dscp_map=((46, 34),)))
        shown = [ip.parse(pair.seal(datagram(tos=dscp << 2))).tos >> 2 for dscp in (46, 10)]
        assert shown == [34, rest]


@pytest.mark.parametrize(("inner", "outer"), VERSIONS)
@pytest.mark.parametrize("ecn", COLUMNS)
def test_c90_normal_mode_copies_ecn_and_compatibility_mode_shows_none(
    inner: int, outer: int, ecn: int
) -> None:
    """RFC 6040 figure 3."""
    for copy, shown in ((True, ecn), (False, NOT_ECT)):
        pair = make_pair(outer=outer, outer_fields=OuterFields(copy_ecn=copy))
        sealed = pair.seal(datagram(version=inner, tos=46 << 2 | ecn))
        assert ip.parse(sealed).tos == 46 << 2 | shown
        assert pair.open(sealed) == datagram(version=inner, tos=46 << 2 | ecn)


@pytest.mark.parametrize("copy_ecn", [True, False])
@pytest.mark.parametrize(("inner", "outer"), VERSIONS)
@pytest.mark.parametrize(("before", "arrived", "after", "mark"), CELLS)
def test_c90_every_cell_of_rfc_6040_figure_4(
    copy_ecn: bool, inner: int, outer: int, before: int, arrived: int, after: int | None, mark: str
) -> None:
    """The same at the exit whatever the mode on entry (4.2); what nothing sound makes is counted."""
    pair = make_pair(outer=outer, outer_fields=OuterFields(copy_ecn=copy_ecn))
    for count in (1, 2):
        sealed = pair.seal(datagram(version=inner, tos=46 << 2 | before))
        set_tos(sealed, 46 << 2 | arrived)
        opened = pair.open(sealed)
        if after is DROP:
            assert reason_of(opened) == "congestion mark on a packet without ECN"
        else:
            assert opened == datagram(version=inner, tos=46 << 2 | after)
        assert pair.b.sad[SPI_B].inbound.ecn_alarms == (count if mark == "!!!" else 0)


@pytest.mark.parametrize(("inner", "outer"), VERSIONS)
def test_c90_outer_ttl_is_built(inner: int, outer: int) -> None:
    for ttl in (1, 64, 255):
        pair = make_pair(outer=outer, outer_fields=OuterFields(ttl=ttl))
        sealed = pair.seal(datagram(version=inner, ttl=5))
        assert ip.parse(sealed).ttl == ttl
        set_ttl(sealed, 1)
        assert ip.parse(packet_of(pair.open(sealed))).ttl == 5


@pytest.mark.parametrize("encap", [False, True])
def test_c90_an_outer_ipv6_header_has_no_extension_headers(encap: bool) -> None:
    """RFC 4301 5.1.2.2: those of the inner packet stay inside."""
    pair = make_pair(outer=6, encap=encap)
    options = bytes.fromhex("1100050200000100")
    packet = datagram(version=6)
    whole = ip.build(HOST_A6, HOST_B6, ip.Protocol.IPV6_HOP, options + packet[40:])
    sealed = pair.seal(whole)
    assert sealed[6] == (ip.Protocol.UDP if encap else ip.Protocol.ESP)
    assert pair.open(sealed) == whole


@pytest.mark.parametrize("encap", [False, True])
def test_c90_identifications_of_what_may_be_fragmented_do_not_repeat_within_a_turn(encap: bool) -> None:
    """RFC 6864 4.3; an atomic datagram has 0, and takes none away."""
    pair = make_pair(encap=encap)
    seen = []
    for _ in range(0x10000 + 1):
        seen.append(ip.parse(pair.seal(datagram(40))).identification)
    assert len(set(seen[:0x10000])) == 0x10000
    assert seen[0] == seen[-1]
    assert ip.parse(pair.seal(datagram(40, df=True))).identification == 0
    assert ip.parse(pair.seal(datagram(40))).identification == seen[1]


def test_c90_sas_between_the_same_ends_share_identifications_and_a_move_repeats_none() -> None:
    """RFC 6864 4.3: fragments are told apart by them, and know no SPI."""
    pair = make_pair()
    second = replace(pair.spec, spi_in=SPI_A + 1, spi_out=SPI_B + 1, child="second")
    pair.a.install(second, 0)
    seen = [packet_of(pair.a.seal(spi, datagram(40), 0))[4:6] for spi in (SPI_A, SPI_A + 1) * 3]
    pair.a.move(SPI_A, pair.spec.local, (B4, 4501), encap=False)
    seen.append(packet_of(pair.a.seal(SPI_A, datagram(40), 0))[4:6])
    assert len({bytes(number) for number in seen}) == 7


# Transport mode


@pytest.mark.parametrize("version", [4, 6])
@given(tos=st.integers(0, 255), ttl=st.integers(1, 255), label=st.integers(0, 0xFFFFF))
def test_c90_transport_mode_leaves_the_fields(version: int, tos: int, ttl: int, label: int) -> None:
    """There is one header; congestion marks of the way arrive by themselves."""
    fields = OuterFields(CopyDscp.YES, False, 1, ((46, 34),), 7, FlowLabel.HASH)
    pair = make_pair(mode=Mode.TRANSPORT, outer=version, outer_fields=fields)
    src, dst = (A4, B4) if version == 4 else (A6, B6)
    packet = between((src, 1), (dst, 2), 100, tos=tos, ttl=ttl)
    if version == 6:
        packet[:4] = (6 << 28 | tos << 20 | label).to_bytes(4, "big")
    sealed = pair.seal(packet)
    assert (ip.parse(sealed).tos, ip.parse(sealed).ttl) == (tos, ttl)
    assert version == 4 or sealed[:4] == packet[:4]
    set_tos(sealed, tos | CE)
    set_tos(packet, tos | CE)
    assert pair.open(sealed) == packet


# Flow label


@pytest.mark.parametrize("inner", [4, 6])
def test_c90_an_inner_flow_has_one_label_and_another_flow_another(inner: int) -> None:
    """RFC 6438 3, RFC 6437 3: also when size and marks differ."""
    pair = make_pair(outer=6)
    labels = {
        ports: {
            label_of(pair.seal(datagram(size, version=inner, ports=ports, tos=tos)))
            for size in (60, 1000)
            for tos in (0, 46 << 2)
        }
        for ports in ((1, 2), (2, 1), (1, 3), (4, 2))
    }
    assert all(len(found) == 1 for found in labels.values())
    assert len(set.union(*labels.values())) == 4
    assert 0 not in set.union(*labels.values())


def test_c90_an_inner_label_tells_flows_apart_and_goes_out_where_it_is_copied() -> None:
    one, other = labelled(7), labelled(8)
    assert by_flow(one) != by_flow(other)
    assert by_flow(one) == by_flow(labelled(7, ports=(9, 9)))
    pair = make_pair(outer=6, outer_fields=OuterFields(flow_label=FlowLabel.COPY))
    assert [label_of(pair.seal(packet)) for packet in (one, other, datagram())] == [7, 8, 0]


def test_c90_no_label_shows_nothing() -> None:
    pair = make_pair(outer=6, outer_fields=OuterFields(flow_label=FlowLabel.NONE))
    assert {label_of(pair.seal(packet)) for packet in (labelled(7), datagram(), datagram(version=6))} == {0}


def test_c90_fragments_of_one_datagram_have_one_label() -> None:
    labels = {by_flow(piece) for piece in fragment(datagram(3000), 1500)}
    assert len(labels) == 1


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.sampled_from([4, 6]))
def test_c90_a_label_has_twenty_bits_and_is_never_zero(src: int, dst: int, inner: int) -> None:
    assert 0 < by_flow(datagram(version=inner, ports=(src, dst))) <= 0xFFFFF


def test_labels_spread_over_all_values() -> None:
    """RFC 6437 3: close to uniform; 4096 flows fill 16 buckets about evenly."""
    labels = [by_flow(datagram(60, ports=(1000 + n, 443))) for n in range(4096)]
    assert len(set(labels)) > 4070
    buckets = [sum(label >> 16 == n for label in labels) for n in range(16)]
    assert min(buckets) > 180
    assert max(buckets) < 340


# The short way and other judges


@pytest.mark.parametrize("encap", [False, True])
@given(tos=st.integers(0, 255))
def test_c90_the_short_way_writes_the_same_fields(encap: bool, tos: int) -> None:
    fields = OuterFields(CopyDscp.NO, False, 5, ((46, 34), (0, 8)), 33)
    spec = make_spec(encap=encap, outer_fields=fields)
    assert express.fits(spec)
    short, long = (make_pair(encap=encap, outer_fields=fields) for _ in range(2))
    without_express(long)
    for _ in range(3):
        packet = datagram(tos=tos, df=True)
        sealed = short.seal(packet)
        assert sealed == long.seal(packet)
        assert internet_checksum(sealed[:20]) == 0


def test_scapy_reads_the_outer_ipv6_header_as_we_meant_it() -> None:
    pair = make_pair(outer=6, outer_fields=OuterFields(ttl=9, dscp=10))
    packet = datagram(tos=ECT_0)
    theirs = IPv6(bytes(pair.seal(packet)))
    assert (theirs.tc, theirs.hlim, theirs.fl) == (10 << 2 | ECT_0, 9, by_flow(packet))
    encryption, _ = pair.spec.keys_out
    sa = SecurityAssociation(  # type: ignore[no-untyped-call]
        ESP,
        spi=SPI_B,
        crypt_algo="AES-GCM",
        crypt_key=encryption,
        tunnel_header=IPv6(src="2001:db8::1", dst="2001:db8:1::1"),
    )
    assert bytes(sa.decrypt(theirs)) == bytes(packet)  # type: ignore[no-untyped-call]


def without_express(pair: Pair) -> None:
    outbound = pair.a.pair(SPI_A)[1]
    outbound._seal = outbound._sealer.seal


def labelled(label: int, ports: tuple[int, int] = (1, 2)) -> bytearray:
    packet = datagram(version=6, ports=ports)
    packet[:4] = (6 << 28 | label).to_bytes(4, "big")
    return packet


def label_of(packet: bytearray) -> int:
    return int.from_bytes(packet[:4], "big") & 0xFFFFF


def set_tos(packet: bytearray, tos: int) -> None:
    """What a router on the way may do."""
    if packet[0] >> 4 == 4:
        packet[1] = tos
        ip.write_checksum(packet)
    else:
        packet[0] = 0x60 | tos >> 4
        packet[1] = packet[1] & 15 | (tos & 15) << 4


def set_ttl(packet: bytearray, ttl: int) -> None:
    packet[8 if packet[0] >> 4 == 4 else 7] = ttl
    ip.write_checksum(packet)
