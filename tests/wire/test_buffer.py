"""The reader that all codecs parse with."""

from __future__ import annotations

from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire.buffer import Reader, WireError

_HEAD = Struct(">BH")


def test_reads_in_order_and_counts() -> None:
    reader = Reader(memoryview(b"\x01\x02\x03abcdef"))
    assert reader.unpack(_HEAD) == (1, 0x0203)
    assert reader.take(2) == b"ab"
    assert (reader.offset, reader.remaining) == (5, 4)
    assert reader.rest() == b"cdef"
    reader.done()


def test_nothing_is_read_beyond_the_end_and_the_error_names_the_offset() -> None:
    reader = Reader(b"abc", base=100)
    reader.take(2)
    with pytest.raises(WireError, match="3 octets wanted at offset 102, 1 are left"):
        reader.unpack(_HEAD)
    assert reader.rest() == b"c"


def test_a_length_smaller_than_what_it_must_count_is_told_as_such() -> None:
    reader = Reader(b"abc", base=100)
    reader.take(2)
    with pytest.raises(WireError, match=r"^a length is 6 octets too small before offset 102$"):
        reader.take(-6)
    assert reader.rest() == b"c"


def test_octets_must_be_consumed_exactly() -> None:
    reader = Reader(b"bcd", base=11)
    assert reader.take(2) == b"bc"
    with pytest.raises(WireError, match="1 octets too many at offset 13"):
        reader.done()
    with pytest.raises(WireError, match="2 octets wanted at offset 13, 1 are left"):
        reader.take(2)
    assert reader.rest() == b"d"
    reader.done()


@given(st.binary(max_size=20), st.lists(st.integers(-2, 8), max_size=8))
def test_any_sizes_read_a_prefix_or_raise(data: bytes, sizes: list[int]) -> None:
    reader, taken = Reader(data), b""
    for size in sizes:
        try:
            taken += reader.take(size)
        except WireError:
            assert size < 0 or len(taken) + size > len(data)
    assert data.startswith(taken)
    assert reader.remaining == len(data) - len(taken)
