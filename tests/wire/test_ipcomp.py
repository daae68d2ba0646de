"""The IPComp header and its indexes (RFC 3173 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire import ipcomp
from sim.wire.buffer import WireError
from sim.wire.ipcomp import Transform, is_usable


@given(st.integers(0, 255), st.integers(0, 0xFFFF), st.binary(max_size=9))
def test_what_is_emitted_is_parsed(next_header: int, cpi: int, rest: bytes) -> None:
    octets = ipcomp.emit(next_header, cpi) + rest
    for data in (octets, bytearray(octets), memoryview(octets)):
        assert ipcomp.parse(data) == (next_header, cpi)


@given(st.binary(max_size=3))
def test_a_header_that_is_cut_off_is_none(data: bytes) -> None:
    with pytest.raises(WireError, match=f"{len(data)} octets are too few"):
        ipcomp.parse(data)


def test_flags_are_ignored() -> None:
    assert ipcomp.parse(b"\x04\xff\x01\x00") == (4, 256)


@pytest.mark.parametrize(
    ("cpi", "usable"),
    [
        *((0, False), (1, False), (2, True), (3, False), (63, False), (64, False), (255, False)),
        *((256, True), (61439, True), (61440, False), (65535, False)),
    ],
)
def test_a_cpi_is_negotiated_or_the_methods_own(cpi: int, usable: bool) -> None:
    """0 to 63 are well-known, 64 to 255 reserved, from 61440 on private (RFC 3173 3.3)."""
    assert is_usable(cpi, Transform.DEFLATE) is usable
