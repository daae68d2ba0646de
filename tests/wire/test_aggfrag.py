"""AGGFRAG payloads and USE_AGGFRAG (RFC 9347 2.2, 6.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire import aggfrag
from sim.wire.aggfrag import CongestionInfo, Header, Requirement
from sim.wire.buffer import WireError

INFO = CongestionInfo(
    loss_interval=0x01020304,
    rtt=0x3ABCDE,
    echo_delay=0x15555,
    transmit_delay=0x1AAAAA,
    t_val=0xCAFEBABE,
    t_echo=0xFEEDF00D,
    probing=True,
    ecn=True,
)


def test_the_plain_header_is_four_octets() -> None:
    assert aggfrag.emit(0x1234) == bytes.fromhex("0000 1234")
    assert aggfrag.parse(bytes.fromhex("00ff 1234")) == Header(0x1234, 4), "reserved bits mean nothing"


def test_the_congestion_header_packs_its_fields_as_figure_5_draws_them() -> None:
    """22 bits of RTT and two delays of 21 share 8 octets."""
    bits = f"{INFO.rtt:022b}{INFO.echo_delay:021b}{INFO.transmit_delay:021b}"
    expected = bytes.fromhex("01 03 0064 01020304") + int(bits, 2).to_bytes(8, "big")
    expected += bytes.fromhex("cafebabe feedf00d")
    assert aggfrag.emit(100, INFO) == expected
    assert aggfrag.parse(expected + b"more") == Header(100, 24, INFO)


def test_times_that_do_not_fit_become_the_longest() -> None:
    late = CongestionInfo(rtt=1 << 30, echo_delay=1 << 30, transmit_delay=1 << 30, loss_interval=1 << 40)
    info = aggfrag.parse(aggfrag.emit(0, late)).congestion
    assert info == CongestionInfo(0xFFFFFFFF, 0x3FFFFF, 0x1FFFFF, 0x1FFFFF)


@pytest.mark.parametrize("header", [aggfrag.emit(7), aggfrag.emit(7, INFO)])
def test_a_truncation_at_every_length_is_an_error(header: bytes) -> None:
    for size in range(len(header)):
        with pytest.raises(WireError, match="wanted"):
            aggfrag.parse(header[:size])


def test_another_sub_type_is_an_error() -> None:
    with pytest.raises(WireError, match="sub-type 2"):
        aggfrag.parse(bytes.fromhex("0200 0000"))


@pytest.mark.parametrize(
    ("octets", "length"),
    [
        ("", None), ("45", None), ("450001", None), ("4500 0014", 20), ("4500 ffff", 65535),
        ("60", None), ("6000 0000 00", None), ("6000 0000 0000", 40), ("6000 0000 0102", 298),
        ("00", aggfrag.PADDING), ("0f ff ff", aggfrag.PADDING),
    ],
)  # fmt: skip
def test_a_data_block_says_its_length_in_its_own_header(octets: str, length: int | None) -> None:
    assert aggfrag.block_length(b"\xa5" + bytes.fromhex(octets), 1) == length


@pytest.mark.parametrize("octets", ["10", "5000 0014", "f000", "4500 0013", "4500 0000"])
def test_what_is_no_data_block_is_an_error(octets: str) -> None:
    with pytest.raises(WireError):
        aggfrag.block_length(bytes.fromhex(octets))


@given(st.binary(max_size=40))
def test_arbitrary_octets_give_a_header_or_a_wire_error(data: bytes) -> None:
    try:
        header = aggfrag.parse(data)
    except WireError:
        return
    emitted = aggfrag.emit(header.offset, header.congestion)
    assert len(emitted) == header.size
    assert aggfrag.parse(emitted) == header
    assert emitted[2:] == data[2 : header.size]


@given(st.binary(max_size=12), st.integers(0, 14))
def test_arbitrary_octets_give_a_length_or_a_wire_error(data: bytes, at: int) -> None:
    try:
        length = aggfrag.block_length(data, at)
    except WireError:
        return
    assert length is None or length == aggfrag.PADDING or 20 <= length <= 65575


def test_c94_use_aggfrag_has_one_octet_of_flags() -> None:
    """RFC 9347 6.1.4: C is 2, D is 1; what is reserved and set demands something that nobody knows."""
    both = Requirement.DONT_FRAGMENT | Requirement.CONGESTION_CONTROL
    known = [Requirement.NONE, Requirement.DONT_FRAGMENT, Requirement.CONGESTION_CONTROL, both]
    assert [aggfrag.parse_requirements(bytes((n,))) for n in range(4)] == known
    assert {aggfrag.parse_requirements(bytes((n,))) for n in range(4, 256)} == {None}
    for wrong in (b"", b"\0\0"):
        with pytest.raises(WireError, match="not 1"):
            aggfrag.parse_requirements(wrong)
